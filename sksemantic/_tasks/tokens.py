"""One class for each word of a text."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from sksemantic._tasks.classification import Classification
from sksemantic._tasks.linear_probe import LinearProbe, ProbeFitter, ProbeRows

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor


class TokenClassification(Classification, name="token_classification"):
    """Classification of words.

    Parameters
    ----------
    classes : ndarray of shape (n_classes,)
        Labels, sorted.
    class_weights : ndarray of shape (n_classes,) or None
        Weight of each class in the losses.
    """

    can_contrast = False
    has_words = True

    def __init__(
        self, classes: "NDArray", class_weights: "NDArray | None" = None
    ) -> None:
        super().__init__(classes)
        self.class_weights = class_weights

    def loss(self, scores: "Tensor", targets: "Tensor") -> "Tensor":
        """Return the cross-entropy, weighted by class."""
        losses = super().loss(scores, targets)
        if self.class_weights is None:
            return losses
        return losses * torch.as_tensor(self.class_weights).to(losses)[targets]

    def losses(self, scores: "NDArray", targets: "NDArray") -> "NDArray":
        """Return 0/1 error and log-loss, weighted by class."""
        weights = self._weigh(targets, np.ones(len(targets)))
        return super().losses(scores, targets) * weights[:, None]

    def log_losses(self, scores: "NDArray", targets: "NDArray") -> "NDArray":
        """Return the log-loss of each word (n,), weighted by class."""
        losses = super().log_losses(scores, targets)
        return self._weigh(targets, losses)

    def fit_linear_probe(
        self,
        fitter: ProbeFitter,
        rows: ProbeRows,
        penalty: float | None = None,
        prior: "NDArray | LinearProbe | None" = None,
    ) -> LinearProbe:
        """Fit multinomial logistic regression, weighted by class."""
        rows = replace(rows, weights=self._weigh(rows.y, rows.weights))
        return super().fit_linear_probe(fitter, rows, penalty, prior)

    def fit_new_outputs(
        self,
        fitter: ProbeFitter,
        rows: ProbeRows,
        head: LinearProbe,
        is_new: "NDArray",
    ) -> LinearProbe:
        """Fit the rows of new classes, words weighted by class."""
        rows = replace(rows, weights=self._weigh(rows.y, rows.weights))
        return super().fit_new_outputs(fitter, rows, head, is_new)

    def initial_bias(self, targets: "NDArray", weights: "NDArray") -> "NDArray":
        """Return the classes' log-frequencies: most words are of one class."""
        weights = self._weigh(targets, weights)
        counts = np.bincount(targets, weights, minlength=self.n_outputs)
        return np.log(counts + 1) - np.log(counts + 1).mean()

    def strata(self, targets: "NDArray", n_texts: int) -> "NDArray":
        """Return one stratum: a text has words of several classes."""
        return np.zeros(n_texts, np.int64)

    def to_state(self) -> dict[str, Any]:
        """Return classes and class weights."""
        return super().to_state() | {"class_weights": self.class_weights}

    def _weigh(self, targets: "NDArray", weights: "NDArray") -> "NDArray":
        if self.class_weights is None:
            return weights
        return weights * self.class_weights[targets]
