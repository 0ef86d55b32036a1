"""One class for each text."""

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from torch.nn import functional as F

from sksemantic._inputs.label_values import distinct, positions
from sksemantic._tasks.base import Task
from sksemantic._tasks.linear_probe import LinearProbe, ProbeFitter, ProbeRows

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

_LOG_TEMPERATURES = -2.0, 3.0  # bounds of the search: 0.14 to 20


class ClassifierTask(Task):
    """What all tasks with classes or labels have in common.

    Parameters
    ----------
    classes : ndarray of shape (n_classes,)
        Labels, sorted.
    """

    is_multilabel = False

    def __init__(self, classes: "NDArray") -> None:
        self.classes = classes
        self.n_outputs = len(classes)

    def encode(self, y: "NDArray") -> "NDArray":
        """Return class indices (n,) of labels (n,)."""
        indices = positions(y, self.classes)
        if (indices < 0).any():
            unknown = distinct(y[indices < 0])
            raise ValueError(
                f"y contains {len(unknown)} label(s) that are not among the classes: "
                f"{unknown[:5].tolist()}. The classes are {self.classes.tolist()}; "
                "partial_fit adds none. To add a class, call fit with warm_start=True, "
                "with the texts of the other classes as well."
            )
        return indices

    def check_goes_on_from(self, former: Task) -> None:
        """Refuse another kind of target, and fewer classes."""
        assert isinstance(former, ClassifierTask)
        if self.name != former.name:
            raise ValueError(
                "This needs targets of the same kind as the fit before, "
                f"{former.name}. Got {self.name} instead. To start afresh, call fit "
                "with warm_start=False."
            )
        missing = former.classes[positions(former.classes, self.classes) < 0]
        if len(missing):
            raise ValueError(
                "This needs all classes of the fit before, "
                f"{former.classes.tolist()}. Got {self.classes.tolist()} instead, "
                f"without {missing.tolist()[:5]}. To start afresh, call fit with "
                "warm_start=False."
            )

    def former_outputs(self, former: Task) -> "NDArray":
        """Return the place that each class had before; -1 for a new one."""
        assert isinstance(former, ClassifierTask)
        return positions(self.classes, former.classes)

    def output_names(self) -> list[Any]:
        """Return the classes."""
        return self.classes.tolist()

    def shown_outputs(self, outputs: "NDArray") -> "NDArray":
        """Return the most probable class or label."""
        return outputs.argmax(axis=1)

    @abstractmethod
    def log_losses(self, scores: "NDArray", targets: "NDArray") -> "NDArray":
        """Return minus the log-probability of each row's target (n,)."""

    def predict(self, scores: "NDArray", threshold: Any = 0.5) -> "NDArray":
        """Return the most probable label (n,) by the head's outputs (n, K)."""
        return self.classes[scores.argmax(axis=1)]

    def probabilities(self, scores: "NDArray") -> "NDArray":
        """Return probabilities (n, n_classes)."""
        return np.exp(self.log_probabilities(scores))

    def log_probabilities(self, scores: "NDArray") -> "NDArray":
        """Return log-probabilities (n, n_classes)."""
        return log_softmax(scores, axis=1)

    def logits(self, scores: "NDArray") -> "NDArray":
        """Return log-odds (n,) of the second of two classes, else logits."""
        return scores[:, 1] - scores[:, 0] if scores.shape[1] == 2 else scores

    def to_state(self) -> dict[str, Any]:
        """Return the classes."""
        return {"classes": self.classes}


class Classification(ClassifierTask, name="classification"):
    """Multinomial classification: one output for each class."""

    loss_names = ("error rate", "log-loss")
    skorch_kind = "classes"
    can_contrast = can_contrast_first = True

    def loss(self, scores: "Tensor", targets: "Tensor") -> "Tensor":
        """Return the cross-entropy."""
        return F.cross_entropy(scores, targets, reduction="none")

    def losses(self, scores: "NDArray", targets: "NDArray") -> "NDArray":
        """Return 0/1 error, and the log-loss at the temperature that suits best.

        The linear probe's penalty is chosen by its log-loss, and a trained model is
        more certain: that alone does not make it worse.
        """
        log_loss = _log_losses(_at_best_temperature(scores, targets), targets)
        return np.stack([scores.argmax(axis=1) != targets, log_loss], axis=1)

    def log_losses(self, scores: "NDArray", targets: "NDArray") -> "NDArray":
        """Return the log-loss of each row (n,)."""
        return _log_losses(scores, targets)

    def fit_linear_probe(
        self,
        fitter: ProbeFitter,
        rows: ProbeRows,
        penalty: float | None = None,
        prior: "NDArray | LinearProbe | None" = None,
    ) -> LinearProbe:
        """Fit multinomial logistic regression."""
        if isinstance(prior, LinearProbe):
            return fitter.fit_near_head(prior, rows)
        if prior is not None:
            return fitter.fit_logistic_with_prior(prior, rows, penalty)
        return fitter.fit_logistic(rows, self.n_outputs, penalty)

    def explainable(self, outputs: "NDArray") -> "NDArray":
        """Return logits of mean zero: only their differences count."""
        return outputs - outputs.mean(axis=-1, keepdims=True)

    def lacks_classes(self, rows: ProbeRows) -> bool:
        """Return whether a class has no row of positive weight."""
        return len(np.unique(rows.with_weight().y)) < self.n_outputs

    def fit_new_outputs(
        self,
        fitter: ProbeFitter,
        rows: ProbeRows,
        head: LinearProbe,
        is_new: "NDArray",
    ) -> LinearProbe:
        """Fit the rows of new classes beside those of the others, which stay.

        A class without any text keeps what it has.
        """
        is_free = is_new & np.isin(np.arange(self.n_outputs), rows.y)
        return fitter.fit_near_head(head, rows, is_free)

    def strata(self, targets: "NDArray", n_texts: int) -> "NDArray":
        """Return the classes themselves."""
        return targets


def _log_losses(scores: "NDArray", targets: "NDArray") -> "NDArray":
    return -log_softmax(scores, axis=1)[np.arange(len(targets)), targets]


def _at_best_temperature(scores: "NDArray", targets: "NDArray") -> "NDArray":
    """Return scores divided by the temperature with the lowest log-loss.

    C. Guo et al., "On calibration of modern neural networks", ICML 2017, section 4.2.
    """
    if not np.isfinite(scores).all():  # of a model that diverged
        return scores
    best = minimize_scalar(
        lambda log_t: _log_losses(scores * np.exp(-log_t), targets).mean(),
        bounds=_LOG_TEMPERATURES,
        method="bounded",
    )
    return scores * np.exp(-best.x)
