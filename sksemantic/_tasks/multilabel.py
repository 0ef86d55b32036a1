"""Any number of labels for each text."""

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import expit, log_expit
from torch.nn import functional as F

from sksemantic._inputs.label_values import is_in_order, positions
from sksemantic._tasks.base import Task, log_odds
from sksemantic._tasks.classification import ClassifierTask
from sksemantic._tasks.linear_probe import LinearProbe, ProbeFitter, ProbeRows

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor


class MultiLabel(ClassifierTask, name="multilabel"):
    """One independent yes or no for each label.

    Parameters
    ----------
    classes : ndarray of shape (n_labels,)
        The numbers of the columns of y.
    label_names : ndarray of shape (n_labels,) or None
        The names of the columns of y, if it had any.
    """

    loss_names = ("log-loss",)
    skorch_kind = "labels"
    is_multilabel = True

    def __init__(
        self, classes: "NDArray", label_names: "NDArray | None" = None
    ) -> None:
        super().__init__(classes)
        self.label_names = label_names

    def output_names(self) -> list[Any]:
        """Return the names of the labels, or the numbers of their columns."""
        names = self.classes if self.label_names is None else self.label_names
        return names.tolist()

    def check_goes_on_from(self, former: Task) -> None:
        """Refuse fewer labels, others, and new ones among columns without names."""
        super().check_goes_on_from(former)
        assert isinstance(former, MultiLabel)
        now, before = self.label_names, former.label_names
        if now is None or before is None:
            if len(self.classes) == len(former.classes):
                return
            raise ValueError(
                f"y must have {len(former.classes)} columns, as in the fit before, "
                "unless they have names. Got "
                f"{len(self.classes)} instead: which of them are new? To add a label, "
                "pass y as a DataFrame, whose columns are named by the labels, in the "
                "first fit and in this one."
            )
        if not is_in_order(before, now):
            raise ValueError(
                "y must have the columns of the fit before, in their order: "
                f"{before.tolist()}. Got {now.tolist()} instead."
            )

    def former_outputs(self, former: Task) -> "NDArray":
        """Return the column that each label had before; -1 for a new one."""
        assert isinstance(former, MultiLabel)
        if self.label_names is None or former.label_names is None:
            return np.arange(self.n_outputs)
        return positions(self.label_names, former.label_names)

    def encode(self, y: "NDArray") -> "NDArray":
        """Return indicators (n, n_labels) as they are."""
        if y.shape[1] != len(self.classes):
            raise ValueError(
                f"y must have {len(self.classes)} columns, one for each label. Got "
                f"{y.shape[1]} instead. To add a label, call fit with warm_start=True."
            )
        return y

    def loss(self, scores: "Tensor", targets: "Tensor") -> "Tensor":
        """Return the binary cross-entropy, summed over the labels."""
        return F.binary_cross_entropy_with_logits(
            scores, targets, reduction="none"
        ).sum(dim=1)

    def losses(self, scores: "NDArray", targets: "NDArray") -> "NDArray":
        """Return the log-loss alone: to give no label at all is seldom very wrong."""
        return self.log_losses(scores, targets)[:, None]

    def log_losses(self, scores: "NDArray", targets: "NDArray") -> "NDArray":
        """Return the log-loss of each row (n,), summed over the labels."""
        signs = np.where(targets > 0, 1.0, -1.0)
        return -log_expit(signs * scores).sum(axis=1)

    def initial_bias(self, targets: "NDArray", weights: "NDArray") -> "NDArray":
        """Return the labels' log-odds: training would need long to reach rare ones."""
        return log_odds(targets > 0, weights[:, None])

    def fit_linear_probe(
        self,
        fitter: ProbeFitter,
        rows: ProbeRows,
        penalty: float | None = None,
        prior: "NDArray | LinearProbe | None" = None,
    ) -> LinearProbe:
        """Fit one logistic regression for each label."""
        return fitter.fit_each_logistic(rows, penalty)

    def strata(self, targets: "NDArray", n_texts: int) -> "NDArray":
        """Return each text's rarest label, or none."""
        counts = targets.sum(axis=0)  # (K,)
        by_rarity = np.argsort(counts, kind="stable")
        has_label = targets[:, by_rarity] > 0
        rarest = by_rarity[has_label.argmax(axis=1)]
        return np.where(has_label.any(axis=1), rarest, -1)

    def predict(self, scores: "NDArray", threshold: Any = 0.5) -> "NDArray":
        """Return indicators (n, n_labels) of the labels that reach the threshold."""
        return (expit(scores) >= threshold).astype(np.int64)

    def probabilities(self, scores: "NDArray") -> "NDArray":
        """Return each label's own probability (n, n_labels)."""
        return expit(scores)

    def log_probabilities(self, scores: "NDArray") -> "NDArray":
        """Return their logarithms (n, n_labels)."""
        return log_expit(scores)

    def to_state(self) -> dict[str, Any]:
        """Return the classes, and the names of the columns."""
        return super().to_state() | {"label_names": self.label_names}

    def logits(self, scores: "NDArray") -> "NDArray":
        """Return logits (n, n_labels)."""
        return scores
