"""What classification and regression do differently, in one place."""

from typing import TYPE_CHECKING, Protocol

import numpy as np
from scipy.special import log_softmax

from sksemantic._reference import ClosedFormHead, fit_logistic, fit_ridge

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Task(Protocol):
    """Kind of prediction: shapes, losses and the closed-form head that goes with it."""

    n_outputs: int

    def fit_reference(
        self,
        features: "NDArray",
        targets: "NDArray",
        weights: "NDArray",
        rng: np.random.RandomState,
        penalty: float | None = None,
    ) -> ClosedFormHead:
        """Fit the closed-form head on standardised features."""
        ...

    def losses(self, scores: "NDArray", targets: "NDArray") -> "NDArray":
        """Return each row's losses (n, k), the one behind `score` first."""
        ...

    def strata(self, targets: "NDArray") -> "NDArray":
        """Return the group of each row that a split should keep in proportion."""
        ...


class Classification:
    """Multinomial classification over `n_outputs` classes."""

    def __init__(self, n_classes: int) -> None:
        self.n_outputs = n_classes

    def fit_reference(
        self,
        features: "NDArray",
        targets: "NDArray",
        weights: "NDArray",
        rng: np.random.RandomState,
        penalty: float | None = None,
    ) -> ClosedFormHead:
        """Fit logistic regression."""
        return fit_logistic(features, targets, weights, self.n_outputs, rng, penalty)

    def losses(self, scores: "NDArray", targets: "NDArray") -> "NDArray":
        """Return 0/1 error and log-loss of each row, (n, 2)."""
        rows = np.arange(len(targets))
        log_loss = -log_softmax(scores, axis=1)[rows, targets]
        return np.stack([scores.argmax(axis=1) != targets, log_loss], axis=1)

    def strata(self, targets: "NDArray") -> "NDArray":
        """Return the classes themselves."""
        return targets


class Regression:
    """Regression of one standardised target."""

    n_outputs = 1

    def fit_reference(
        self,
        features: "NDArray",
        targets: "NDArray",
        weights: "NDArray",
        rng: np.random.RandomState,
        penalty: float | None = None,
    ) -> ClosedFormHead:
        """Fit ridge regression."""
        return fit_ridge(features, targets, weights, penalty)

    def losses(self, scores: "NDArray", targets: "NDArray") -> "NDArray":
        """Return the squared error of each row, (n, 1)."""
        return np.square(scores[:, :1] - targets[:, None])

    def strata(self, targets: "NDArray") -> "NDArray":
        """Return one group."""
        return np.zeros(len(targets), np.int64)
