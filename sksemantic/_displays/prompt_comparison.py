"""Which prompt is best: the results of a search, prompt by prompt."""

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from sklearn.utils import check_scalar

from sksemantic._displays.drawing import axes_for

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

_WIDTH = 40  # characters of a line of a prompt
_MOST_LINES = 4
_DEFAULT = "(the default prompt)"


@dataclass(eq=False)
class PromptComparisonDisplay:
    """Scores of prompts in a search, the best first, with spread and seconds.

    Made by `from_cv_results`; `plot` draws it.

    Parameters
    ----------
    prompts : list of str or None
        The best first. None is the estimator's default prompt.
    scores : ndarray of shape (n_prompts, n_splits)
        Of the best candidate with each prompt; NaN where a fit failed.
    seconds : ndarray of shape (n_prompts,)
        Mean seconds of its fits.
    score_name : str, default="score"

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    errorbar_ : matplotlib ErrorbarContainer
        Means, and standard deviations over the splits.
    """

    __module__ = "sksemantic"  # where users find it

    prompts: list[str | None]
    scores: "NDArray"
    seconds: "NDArray"
    score_name: str = "score"

    def __repr__(self) -> str:
        """Return how many prompts there are, and the best."""
        best = _shown(self.prompts[0]).partition("\n")[0]
        return (
            f"<PromptComparisonDisplay of {len(self.prompts)} prompts, best {best!r}>"
        )

    @classmethod
    def from_cv_results(
        cls,
        cv_results: Any,
        *,
        metric: str | None = None,
        ax: "Axes | None" = None,
        max_prompts: int | None = 30,
        **kwargs: Any,
    ) -> Self:
        """Draw the results of a search over prompts.

        Parameters
        ----------
        cv_results : dict, DataFrame or fitted search
            ``search.cv_results_``, or the search: `GridSearchCV`,
            `RandomizedSearchCV` and others with the same results. Other parameters
            may have been searched as well: each prompt is shown at its best.
        metric : str, default=None
            Which of several scores, as it is named in ``scoring``. By default that of
            the search's ``refit``.
        ax, max_prompts, **kwargs : object
            As in `plot`.

        Returns
        -------
        PromptComparisonDisplay

        Raises
        ------
        ValueError
            If no prompt was searched, or there is no such score.
        """
        results = getattr(cv_results, "cv_results_", cv_results)
        metric = _metric_of(cv_results, results) if metric is None else metric
        if not isinstance(results, Mapping) and not hasattr(results, "keys"):
            raise ValueError(
                "cv_results must be the cv_results_ of a search, or the fitted search "
                f"itself. Got {type(cv_results).__name__} instead."
            )
        results = {name: results[name] for name in results.keys()}  # noqa: SIM118
        prompts = np.ma.filled(results[_prompt_column(results)], None)
        means = np.asarray(results[_score_column(results, metric)], float)
        splits = [
            np.asarray(results[f"split{i}_test_{metric}"], float)
            for i in range(len(results))
            if f"split{i}_test_{metric}" in results
        ]
        by_split = np.stack(splits or [means], axis=1)
        best: dict[str | None, int] = {}
        for i in np.argsort(-means, kind="stable"):  # NaN come last
            best.setdefault(_text(prompts[i]), int(i))
        rows = list(best.values())
        display = cls(
            prompts=list(best),
            scores=by_split[rows],
            seconds=np.asarray(results["mean_fit_time"], float)[rows],
            score_name=metric,
        )
        return display.plot(ax=ax, max_prompts=max_prompts, **kwargs)

    def plot(
        self, *, ax: "Axes | None" = None, max_prompts: int | None = 30, **kwargs: Any
    ) -> Self:
        """Draw mean and spread of each prompt, its splits, and its seconds.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; in a figure with ``layout="constrained"`` the prompts and
            the seconds have room beside it. By default a new figure.
        max_prompts : int, default=30
            How many are drawn at most, the best; None draws all.
        **kwargs : object
            Passed to matplotlib's `errorbar`.

        Returns
        -------
        self : PromptComparisonDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        TypeError, ValueError
            If `max_prompts` is no number, or below 1.
        """
        if max_prompts is not None:
            check_scalar(max_prompts, "max_prompts", Integral, min_val=1)
        labels = [*map(_shown, self.prompts[:max_prompts])]
        scores, seconds = self.scores[:max_prompts], self.seconds[:max_prompts]
        n_lines = sum(label.count("\n") + 1 for label in labels)
        size = (8.0, 1.2 + 0.22 * n_lines + 0.25 * len(labels))
        (ax,), self.figure_ = axes_for(ax, "PromptComparisonDisplay", figsize=size)
        self.ax_ = ax
        places = np.arange(len(labels))
        means, spread = scores.mean(axis=1), scores.std(axis=1)
        n_splits = scores.shape[1]
        if n_splits > 1:
            ax.plot(scores, places, ".", color="0.7", zorder=3)
        options = {"fmt": "o", "color": "C0", "capsize": 3, **kwargs}
        self.errorbar_ = ax.errorbar(means, places, xerr=spread, **options)
        for place, mean, taken in zip(places, means, seconds, strict=True):
            note = f"{mean:.3f}, {taken:.1f} s" if np.isfinite(mean) else "failed"
            ax.annotate(
                note,
                (1, place),
                xycoords=("axes fraction", "data"),
                xytext=(6, 0),
                textcoords="offset points",
                va="center",
                fontsize="small",
            )
        ax.set_yticks(places, labels)
        ax.set_ylim(len(labels) - 0.5, -0.5)  # the best on top
        ax.grid(axis="x", alpha=0.3)
        splits = f"mean and standard deviation of {n_splits} splits (grey)"
        ax.set_xlabel(self.score_name + (f", {splits}" if n_splits > 1 else ""))
        if len(labels) < len(self.prompts):
            ax.set_title(f"the best {len(labels)} of {len(self.prompts)} prompts")
        return self


def _prompt_column(results: Mapping[str, Any]) -> str:
    names = [
        name
        for name in results
        if name == "param_prompt"
        or name.startswith("param_")
        and name.endswith("__prompt")
    ]
    if len(names) != 1:
        searched = sorted(n.removeprefix("param_") for n in results if "param_" in n)
        raise ValueError(
            "cv_results must be of a search over one parameter 'prompt', of the "
            f"estimator or of a step of a pipeline. Searched were {searched}."
        )
    return names[0]


def _metric_of(search: Any, results: Mapping[str, Any]) -> str:
    """Return which score the best candidate of a search was chosen by."""
    refit = getattr(search, "refit", None)
    is_one_of_several = isinstance(refit, str) and f"mean_test_{refit}" in results
    return str(refit) if is_one_of_several else "score"


def _score_column(results: Mapping[str, Any], metric: str) -> str:
    name = f"mean_test_{metric}"
    if name not in results:
        prefix = "mean_test_"
        found = sorted(n.removeprefix(prefix) for n in results if n.startswith(prefix))
        raise ValueError(
            f"The search has the scores {found}, and no {metric!r}: pass metric= with "
            "one of them."
        )
    return name


def _text(prompt: Any) -> str | None:
    """Return a prompt; None for one that is None, masked, or NaN in a table."""
    return str(prompt) if isinstance(prompt, str) else None


def _shown(prompt: str | None) -> str:
    """Return a prompt in a few lines."""
    if prompt is None:
        return _DEFAULT
    lines = [
        part
        for line in prompt.split("\n")
        for part in textwrap.wrap(line, _WIDTH) or [""]
    ]
    if len(lines) > _MOST_LINES:
        lines = [
            *lines[: _MOST_LINES - 1],
            lines[_MOST_LINES - 1][: _WIDTH - 4] + " ...",
        ]
    return "\n".join(lines).replace("$", r"\$")  # no mathematics
