"""The course of a training: loss and score by epoch."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from sksemantic._displays.drawing import axes_for, own_estimator

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D
    from numpy.typing import ArrayLike, NDArray

_LABELS = {
    "train": "training texts",
    "held-out": "held-out texts",
    "probe": "linear probe, held-out texts",
}


@dataclass(eq=False)
class TuningCurveDisplay:
    """Loss and accuracy by epoch, beside those of the linear probe.

    Made by `from_estimator`; `plot` draws it.

    Parameters
    ----------
    train_loss : ndarray of shape (n_epochs,)
        Mean loss of the training texts; with few texts of a class the contrastive loss.
    valid_loss : ndarray of shape (n_epochs,)
        Mean loss of the held-out texts; NaN once they have joined the training, or
        where none is held out.
    valid_score : ndarray of shape (n_epochs,) or None, default=None
        Accuracy on the held-out texts; None for numbers and several labels per text.
    probe_loss, probe_score : float or None, default=None
        Of the linear probe on the held-out texts.
    loss_name : str, default="loss"
    has_contrast : bool, default=False
        Whether `train_loss` is the sum of this loss and the contrastive loss.
    estimator_name : str or None, default=None

    Attributes
    ----------
    axes_ : list of matplotlib Axes
        Of the loss and, if there is one, of the score.
    figure_ : matplotlib Figure
    lines_ : dict of str to matplotlib Line2D
        By "train_loss", "valid_loss", "valid_score", "probe_loss" and "probe_score".

    Examples
    --------
    >>> from sksemantic import SKTuningClassifier, TuningCurveDisplay
    >>> clf = SKTuningClassifier().fit(X, y)  # doctest: +SKIP
    >>> TuningCurveDisplay.from_estimator(clf)  # doctest: +SKIP
    """

    __module__ = "sksemantic"  # where users find it

    train_loss: "NDArray"
    valid_loss: "NDArray"
    valid_score: "NDArray | None" = None
    probe_loss: float | None = None
    probe_score: float | None = None
    loss_name: str = "loss"
    has_contrast: bool = False
    estimator_name: str | None = None

    def __repr__(self) -> str:
        """Return how many epochs there are."""
        return f"<TuningCurveDisplay of {len(self.train_loss)} epochs>"

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, ax: "Axes | ArrayLike | None" = None, **kwargs: Any
    ) -> Self:
        """Draw the training of a fitted estimator.

        Parameters
        ----------
        estimator : SKTuningClassifier, SKTuningRegressor or SKTuningTokenClassifier
            Fitted; or a search or pipeline with one at its end.
        ax, **kwargs : object
            As in `plot`.

        Returns
        -------
        TuningCurveDisplay

        Raises
        ------
        TypeError
            If the estimator is another one.
        ValueError
            If the estimator was not trained: few labels with `label_texts`.
        """
        own: Any = own_estimator(estimator, reads_texts=False)
        history = own.history_
        if not history:
            raise ValueError(
                f"This {type(own).__name__} was not trained, its linear probe "
                "predicts: there is no epoch to draw. With label_texts that is so "
                "below 4 labelled texts a class."
            )
        comparison = own.comparison_
        scores = _column(history, "valid_acc")
        has_score = bool(np.isfinite(scores).any())
        probe: tuple[float, ...] = ()
        if comparison is not None:
            probe = comparison.linear_probe
        display = cls(
            train_loss=_column(history, "train_loss"),
            valid_loss=_column(history, "valid_loss"),
            valid_score=scores if has_score else None,
            probe_loss=probe[-1] if probe else None,
            probe_score=1 - probe[0] if has_score and len(probe) > 1 else None,
            loss_name=_loss_name(own),
            has_contrast=_has_contrast(own),
            estimator_name=type(own).__name__,
        )
        return display.plot(ax=ax, **kwargs)

    @property
    def joined_after(self) -> int | None:
        """The epoch after which the held-out texts joined the training, or None."""
        n_watched = int(np.isfinite(self.valid_loss).sum())
        return n_watched if 0 < n_watched < len(self.valid_loss) else None

    def plot(self, *, ax: "Axes | ArrayLike | None" = None, **kwargs: Any) -> Self:
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes, or two of them, default=None
            Where to draw; a single one gets the loss alone. By default a new figure.
        **kwargs : object
            Passed to matplotlib's `plot` for the curves.

        Returns
        -------
        self : TuningCurveDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        n_panels = 1 if self.valid_score is None else 2
        axes, self.figure_ = axes_for(
            ax, "TuningCurveDisplay", n_panels, figsize=(5.5 * n_panels, 4.2)
        )
        self.axes_ = axes
        self.lines_: dict[str, Line2D] = {}
        options = {"marker": "o", "markersize": 4, **kwargs}
        curves = {"train_loss": (self.train_loss, "train", "C0")}
        curves["valid_loss"] = (self.valid_loss, "held-out", "C1")
        self._draw(axes[0], self.loss_name, curves, self.probe_loss, options)
        if self.valid_score is not None and len(axes) > 1:
            curves = {"valid_score": (self.valid_score, "held-out", "C1")}
            self._draw(axes[1], "accuracy", curves, self.probe_score, options)
        return self

    def _draw(
        self,
        ax: "Axes",
        what: str,
        curves: "dict[str, tuple[NDArray, str, str]]",
        probe: float | None,
        options: dict[str, Any],
    ) -> None:
        epochs = np.arange(1, len(self.train_loss) + 1)
        for name, (values, label, color) in curves.items():
            if np.isfinite(values).any():
                with_contrast = name == "train_loss" and self.has_contrast
                shown = _LABELS[label] + (", with contrast" if with_contrast else "")
                style = {"color": color, "label": shown, **options}
                (self.lines_[name],) = ax.plot(epochs, values, **style)
        if probe is not None:
            name = "probe_loss" if "train_loss" in curves else "probe_score"
            style = {"color": "0.4", "linestyle": "--", "label": _LABELS["probe"]}
            self.lines_[name] = ax.axhline(probe, **style)
        if self.joined_after is not None:
            style = {"color": "0.8", "label": "held-out texts join", "zorder": 0}
            ax.axvline(self.joined_after + 0.5, **style)
        ax.set(xlabel="epoch", ylabel=what)
        if "train_loss" in curves:  # the first panel has the title of both
            ax.set_title(self.estimator_name or "")
        ax.set_xlim(0.5, len(epochs) + 0.5)  # the same in both panels
        ax.locator_params(axis="x", integer=True)
        # Below the panel: inside it covers some of the curves.
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)


def _column(history: Any, name: str) -> "NDArray":
    """Return a number of each epoch; NaN where there is none."""
    return np.array([float(row.get(name, np.nan)) for row in history])


def _loss_name(estimator: Any) -> str:
    is_contrast = estimator.config_.training.objective == "contrast"
    return "contrastive loss" if is_contrast else "loss"


def _has_contrast(estimator: Any) -> bool:
    training = estimator.config_.training
    return training.objective == "task" and training.contrast > 0
