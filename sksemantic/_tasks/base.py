"""What the kinds of prediction do differently, in one place."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_expit, log_softmax
from torch.nn import functional as F

from sksemantic._tasks.linear_probe import (
    LinearProbe,
    fit_each_logistic,
    fit_logistic,
    fit_logistic_towards,
    fit_ridge,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

_LOG_TEMPERATURES = -2.0, 3.0
HUBER_DELTA = 1.35  # of the standardised target: 95 % as efficient as the mean (Huber)


class Task(ABC):
    """Kind of prediction: shapes, losses and the closed-form head that goes with it.

    Attributes
    ----------
    n_outputs : int
        K, the outputs of the head.
    kind : {"classes", "labels", "numbers"}
        What skorch's own scores are computed of.
    """

    n_outputs: int
    kind: ClassVar[str]

    @abstractmethod
    def loss(self, scores: "Tensor", targets: "Tensor") -> "Tensor":
        """Return the training loss of each unit (n,)."""

    @abstractmethod
    def losses(self, scores: "NDArray", targets: "NDArray") -> "NDArray":
        """Return each unit's losses (n, k), the one behind `score` first."""

    @abstractmethod
    def fit_linear_probe(
        self,
        features: "NDArray",
        targets: "NDArray",
        weights: "NDArray",
        rng: np.random.RandomState,
        penalty: float | None = None,
    ) -> LinearProbe:
        """Fit the closed-form head on standardised features."""

    def strata(self, targets: "NDArray", n_rows: int) -> "NDArray":
        """Return the group of each row that a split should keep in proportion."""
        return np.zeros(n_rows, np.int64)

    def start(self, targets: "NDArray", weights: "NDArray") -> "NDArray":
        """Return the intercepts (K,) that a head without weights starts with."""
        return np.zeros(self.n_outputs)


class Classification(Task):
    """Multinomial classification over `n_outputs` classes."""

    kind = "classes"

    def __init__(self, n_classes: int) -> None:
        self.n_outputs = n_classes
        self.prior: NDArray | None = None  # (K, C), what the labels' texts say

    def loss(self, scores: "Tensor", targets: "Tensor") -> "Tensor":
        """Return the cross-entropy."""
        return F.cross_entropy(scores, targets, reduction="none")

    def losses(self, scores: "NDArray", targets: "NDArray") -> "NDArray":
        """Return 0/1 error, and the log-loss at the temperature that suits best.

        A trained model is surer of itself than the closed form, whose penalty is chosen
        by its log-loss; that is no reason to say that it knows less.
        """
        log_loss = _log_losses(_tempered(scores, targets), targets)
        return np.stack([scores.argmax(axis=1) != targets, log_loss], axis=1)

    def fit_linear_probe(
        self,
        features: "NDArray",
        targets: "NDArray",
        weights: "NDArray",
        rng: np.random.RandomState,
        penalty: float | None = None,
    ) -> LinearProbe:
        """Fit logistic regression, drawn towards the prior if there is one."""
        if self.prior is not None:
            return fit_logistic_towards(
                self.prior, features, targets, weights, rng, penalty
            )
        return fit_logistic(features, targets, weights, self.n_outputs, rng, penalty)

    def strata(self, targets: "NDArray", n_rows: int) -> "NDArray":
        """Return the classes themselves."""
        return targets


def _log_losses(scores: "NDArray", targets: "NDArray") -> "NDArray":
    return -log_softmax(scores, axis=1)[np.arange(len(targets)), targets]


def _tempered(scores: "NDArray", targets: "NDArray") -> "NDArray":
    """Return scores over the temperature with the least log-loss.

    C. Guo et al., "On calibration of modern neural networks", ICML 2017, section 4.2.
    """
    if not np.isfinite(scores).all():  # of a model that diverged
        return scores
    found = minimize_scalar(
        lambda log_t: _log_losses(scores * np.exp(-log_t), targets).mean(),
        bounds=_LOG_TEMPERATURES,
        method="bounded",
    )
    return scores * np.exp(-found.x)


class TokenClassification(Classification):
    """Classification of words; the rows are texts.

    Parameters
    ----------
    n_classes : int
    class_weights : ndarray of shape (n_classes,) or None
        By which each class counts in the training loss.
    """

    def __init__(self, n_classes: int, class_weights: "NDArray | None" = None) -> None:
        super().__init__(n_classes)
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

    def fit_linear_probe(
        self,
        features: "NDArray",
        targets: "NDArray",
        weights: "NDArray",
        rng: np.random.RandomState,
        penalty: float | None = None,
    ) -> LinearProbe:
        """Fit logistic regression, weighted by class."""
        weights = self._weigh(targets, weights)
        return super().fit_linear_probe(features, targets, weights, rng, penalty)

    def _weigh(self, targets: "NDArray", weights: "NDArray") -> "NDArray":
        if self.class_weights is None:
            return weights
        return weights * self.class_weights[targets]

    def start(self, targets: "NDArray", weights: "NDArray") -> "NDArray":
        """Return the classes' log-frequencies: most words are of one class."""
        weights = self._weigh(targets, weights)
        counts = np.bincount(targets, weights, minlength=self.n_outputs)
        return np.log(counts + 1) - np.log(counts + 1).mean()

    def strata(self, targets: "NDArray", n_rows: int) -> "NDArray":
        """Return one group."""
        return np.zeros(n_rows, np.int64)


class MultiLabel(Task):
    """Any number of `n_outputs` labels for each text, as indicators (n, K)."""

    kind = "labels"

    def __init__(self, n_labels: int) -> None:
        self.n_outputs = n_labels

    def loss(self, scores: "Tensor", targets: "Tensor") -> "Tensor":
        """Return the binary cross-entropy, summed over the labels."""
        return F.binary_cross_entropy_with_logits(
            scores, targets, reduction="none"
        ).sum(dim=1)

    def losses(self, scores: "NDArray", targets: "NDArray") -> "NDArray":
        """Return the log-loss alone: to give no label at all is seldom very wrong."""
        signs = np.where(targets > 0, 1.0, -1.0)
        return -log_expit(signs * scores).sum(axis=1, keepdims=True)

    def start(self, targets: "NDArray", weights: "NDArray") -> "NDArray":
        """Return the labels' log-odds: rare ones would need long to come down there."""
        return _log_odds(targets, weights[:, None])

    def fit_linear_probe(
        self,
        features: "NDArray",
        targets: "NDArray",
        weights: "NDArray",
        rng: np.random.RandomState,
        penalty: float | None = None,
    ) -> LinearProbe:
        """Fit one logistic regression for each label."""
        return fit_each_logistic(features, targets, weights, rng, penalty)

    def strata(self, targets: "NDArray", n_rows: int) -> "NDArray":
        """Return each text's rarest label, or none."""
        counts = targets.sum(axis=0)  # (K,)
        by_rarity = np.argsort(counts, kind="stable")
        has = targets[:, by_rarity] > 0
        return np.where(has.any(axis=1), by_rarity[has.argmax(axis=1)], -1)


class Ordinal(Task):
    """Classification over ordered classes: K = n_classes - 1 conditional steps.

    Output k is the log-odds of lying above class k, given that one is not below it
    (CORN: Shi, Cao & Raschka 2021, arXiv 2111.08851).
    """

    kind = "labels"  # as far as skorch is concerned

    def __init__(self, n_classes: int) -> None:
        self.n_outputs = n_classes - 1

    def loss(self, scores: "Tensor", targets: "Tensor") -> "Tensor":
        """Return the negative log-likelihood of the class."""
        steps = torch.arange(self.n_outputs, device=scores.device)
        is_above = (targets[:, None] > steps).to(scores.dtype)
        each = F.binary_cross_entropy_with_logits(scores, is_above, reduction="none")
        return (each * (targets[:, None] >= steps)).sum(dim=1)

    @staticmethod
    def log_probabilities(scores: "NDArray") -> "NDArray":
        """Return the log-probability of each class (n, n_classes)."""
        reached = np.cumsum(log_expit(scores), axis=1)  # (n, K)
        zeros = np.zeros((len(scores), 1))
        stays = np.hstack([log_expit(-scores), zeros])
        return np.hstack([zeros, reached]) + stays

    @staticmethod
    def medians(scores: "NDArray") -> "NDArray":
        """Return the median class (n,), which has the least expected distance."""
        return (np.cumprod(expit(scores), axis=1) > 0.5).sum(axis=1)

    def losses(self, scores: "NDArray", targets: "NDArray") -> "NDArray":
        """Return the distance in classes, and the log-loss."""
        distance = np.abs(self.medians(scores) - targets)
        rows = np.arange(len(targets))
        log_loss = -self.log_probabilities(scores)[rows, targets]
        return np.stack([distance, log_loss], axis=1)

    def fit_linear_probe(
        self,
        features: "NDArray",
        targets: "NDArray",
        weights: "NDArray",
        rng: np.random.RandomState,
        penalty: float | None = None,
    ) -> LinearProbe:
        """Fit one logistic regression for each step."""
        steps = np.arange(self.n_outputs)
        is_above = np.where(
            targets[:, None] >= steps, targets[:, None] > steps, np.nan
        ).astype(float)
        return fit_each_logistic(features, is_above, weights, rng, penalty)

    def strata(self, targets: "NDArray", n_rows: int) -> "NDArray":
        """Return the classes themselves."""
        return targets

    def start(self, targets: "NDArray", weights: "NDArray") -> "NDArray":
        """Return each step's log-odds."""
        steps = np.arange(self.n_outputs)
        has_come = weights[:, None] * (targets[:, None] >= steps)
        return _log_odds(targets[:, None] > steps, has_come)


class Regression(Task):
    """Regression of standardised targets, (n,) or (n, K).

    Parameters
    ----------
    n_targets : int
    loss : {"squared_error", "huber", "absolute_error", "quantile"}
    quantile : float
        Which one, for the "quantile" loss.
    """

    kind = "numbers"

    def __init__(
        self, n_targets: int = 1, loss: str = "squared_error", quantile: float = 0.5
    ) -> None:
        self.n_outputs = n_targets
        self.loss_name = loss
        self.quantile = quantile if loss == "quantile" else 0.5

    def loss(self, scores: "Tensor", targets: "Tensor") -> "Tensor":
        """Return the chosen loss, averaged over the targets."""
        errors = targets.reshape(scores.shape) - scores
        if self.loss_name == "squared_error":
            each = errors.square()
        elif self.loss_name == "huber":
            zeros = torch.zeros_like(errors)
            each = F.huber_loss(errors, zeros, reduction="none", delta=HUBER_DELTA)
        else:
            each = torch.maximum(self.quantile * errors, (self.quantile - 1) * errors)
        return each.mean(dim=1)

    def losses(self, scores: "NDArray", targets: "NDArray") -> "NDArray":
        """Return the chosen loss (n, 1)."""
        with torch.no_grad():
            each = self.loss(
                torch.as_tensor(scores, dtype=torch.float64),
                torch.as_tensor(targets, dtype=torch.float64),
            )
        return each.numpy()[:, None]

    def fit_linear_probe(
        self,
        features: "NDArray",
        targets: "NDArray",
        weights: "NDArray",
        rng: np.random.RandomState,
        penalty: float | None = None,
    ) -> LinearProbe:
        """Fit ridge regression."""
        targets = targets.reshape(len(targets), self.n_outputs)
        reweigh = None
        if self.loss_name != "squared_error":
            reweigh = self._reweigh
        return fit_ridge(features, targets, weights, penalty, reweigh)

    def _reweigh(self, errors: "NDArray") -> "NDArray":
        """Return the weights that turn squared errors into the chosen loss.

        Iteratively reweighted least squares: half the loss's slope over the error.
        """
        size = np.maximum(np.abs(errors), 1e-3)
        if self.loss_name == "huber":
            return np.minimum(1.0, HUBER_DELTA / size)
        return np.where(errors > 0, self.quantile, 1 - self.quantile) / size


def _log_odds(is_so: "NDArray", weights: "NDArray") -> "NDArray":
    """Return the log-odds of each column (K,), one text added on either side."""
    yes = (weights * (is_so > 0)).sum(axis=0)
    no = (weights * ~(is_so > 0)).sum(axis=0)
    return np.log(yes + 1) - np.log(no + 1)
