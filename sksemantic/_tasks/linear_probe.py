"""The linear probe: logistic or ridge regression on frozen features.

It is what the trained model is compared with, and is kept instead of it if it is
clearly better.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import log_softmax
from sklearn import config_context
from sklearn.linear_model import LogisticRegression, Ridge, RidgeCV
from sklearn.model_selection import StratifiedKFold

from sksemantic._tasks.blas_threads import one_blas_thread
from sksemantic._tasks.label_prior import maximum_a_posteriori
from sksemantic._tasks.linear_probe_config import LinearProbeConfig
from sksemantic._tasks.unpatched import fit_unpatched

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ABSENT_CLASS_MARGIN = 10.0  # logits below the others: finite, but never chosen


@dataclass(frozen=True)
class LinearProbe:
    """A linear head fitted on standardised frozen features.

    Attributes
    ----------
    coef : ndarray of shape (n_outputs, C)
    intercept : ndarray of shape (n_outputs,)
    penalty : float
        L2 penalty chosen by cross-validation: 1 / C of logistic regression, alpha of
        ridge regression.
    cv_loss : float
        Its cross-validated loss: log-loss, or squared error of the standardised
        targets. NaN where there were too few texts to cross-validate.
    """

    coef: "NDArray"
    intercept: "NDArray"
    penalty: float
    cv_loss: float

    def scores(self, features: "NDArray") -> "NDArray":
        """Return logits, or standardised targets, (n, n_outputs)."""
        return features @ self.coef.T + self.intercept


@dataclass(frozen=True)
class ProbeRows:
    """What a linear probe is fitted on.

    Attributes
    ----------
    features : ndarray of shape (n, C)
        Standardised.
    y : ndarray of shape (n,) or (n, K)
        Class indices, of which some may not occur; or columns of 0 and 1, NaN where a
        row does not count; or standardised targets.
    weights : ndarray of shape (n,)
    """

    features: "NDArray"
    y: "NDArray"
    weights: "NDArray"

    @property
    def arrays(self) -> "tuple[NDArray, NDArray, NDArray]":
        """Features, y and weights."""
        return self.features, self.y, self.weights

    def take(self, rows: "NDArray") -> "ProbeRows":
        """Return some rows, by index or mask."""
        return ProbeRows(self.features[rows], self.y[rows], self.weights[rows])

    def with_weight(self) -> "ProbeRows":
        """Return the rows of positive weight; copied only if there are others."""
        keep = self.weights > 0
        return self if keep.all() else self.take(keep)


class ProbeFitter:
    """Fits linear probes. A penalty that is given is used without cross-validation."""

    def __init__(self, config: LinearProbeConfig, rng: np.random.RandomState) -> None:
        self.config = config
        self.rng = rng

    @one_blas_thread()
    def fit_logistic(
        self, rows: ProbeRows, n_classes: int, penalty: float | None = None
    ) -> LinearProbe:
        """Fit multinomial logistic regression, its penalty by cross-validation."""
        rows = rows.with_weight()
        cv_loss = float("nan")
        if penalty is None:
            penalty, cv_loss = _best(self.config.penalties, self._cv_losses(rows))
        coef = np.zeros((n_classes, rows.features.shape[1]))
        present = np.unique(rows.y)
        coef[present], logits = self._logits_of(rows, penalty)
        intercept = np.full(n_classes, logits.min() - _ABSENT_CLASS_MARGIN)
        intercept[present] = logits
        return LinearProbe(coef, intercept, penalty, cv_loss)

    @one_blas_thread()
    def fit_each_logistic(
        self, rows: ProbeRows, penalty: float | None = None
    ) -> LinearProbe:
        """Fit one logistic regression for each column, with one penalty for all.

        It is chosen by the cross-validated log-loss of the most balanced columns.
        """
        y, config = rows.y, self.config
        has_value = np.isfinite(y) & (rows.weights > 0)[:, None]  # (n, K)
        n_values = np.maximum(has_value.sum(axis=0), 1)
        shares = np.where(has_value, y, 0).sum(axis=0) / n_values
        columns = [
            ProbeRows(rows.features[keep], y[keep, k], rows.weights[keep])
            for k, keep in enumerate(has_value.T)
        ]
        cv_loss = float("nan")
        if penalty is None:
            balanced = np.argsort(np.abs(shares - 0.5))[: config.max_cv_columns]
            each = [self._cv_losses(columns[k]) for k in balanced]
            losses = [some for some in each if some is not None]
            mean = np.mean(losses, axis=0) if losses else None
            penalty, cv_loss = _best(config.penalties, mean)
        coef = np.zeros((y.shape[1], rows.features.shape[1]))
        intercept = np.where(shares > 0.5, 1, -1) * config.certain_log_odds
        for k, column in enumerate(columns):
            if 0 < shares[k] < 1:
                model = self._logistic(column, penalty)
                coef[k], intercept[k] = model.coef_[0], model.intercept_[0]
        return LinearProbe(coef, intercept, penalty, cv_loss)

    def fit_logistic_with_prior(
        self, prior: "NDArray", rows: ProbeRows, penalty: float | None = None
    ) -> LinearProbe:
        """Fit multinomial logistic regression near the coefficients of a label prior.

        Few rows, or none, hardly change them; see `maximum_a_posteriori`.
        """
        rows, config = rows.with_weight(), self.config
        cv_loss = float("nan")
        if penalty is None:
            n_of_class = max(1, len(rows.y)) / len(prior)
            of_few = config.prior_penalty_of_one / n_of_class
            penalty = max(config.prior_penalty, of_few)
            n_fewest = np.bincount(rows.y, minlength=len(prior)).min()
            if n_fewest >= config.min_texts_for_prior_penalty:
                losses = self._prior_cv_losses(prior, rows)
                penalty, cv_loss = _best(config.prior_penalties, losses)
        fitted = maximum_a_posteriori(prior, *rows.arrays, penalty, config.max_iter)
        return LinearProbe(*fitted, penalty, cv_loss)

    @one_blas_thread()
    def fit_near_head(
        self, head: LinearProbe, rows: ProbeRows, is_free: "NDArray | None" = None
    ) -> LinearProbe:
        """Fit multinomial logistic regression near a head, with the head's penalty.

        Only the rows of `is_free` (K,) are fitted, by default all; then intercepts have
        the penalty as well, else a class without any text would soon have none left.
        """
        arrays = rows.with_weight().arrays
        coef, intercept = maximum_a_posteriori(
            head.coef,
            *arrays,
            head.penalty,
            self.config.max_iter,
            head.intercept,
            is_free,
            1.0 if is_free is not None else head.penalty,
        )
        return replace(head, coef=coef, intercept=intercept)

    def fit_ridge(
        self,
        rows: ProbeRows,
        penalty: float | None = None,
        reweigh: Callable[["NDArray"], "NDArray"] | None = None,
    ) -> LinearProbe:
        """Fit ridge regression, its penalty by leave-one-out squared error.

        `reweigh` maps errors (n,) to weights: another loss than the squared error, by
        iteratively reweighted least squares.
        """
        rows = rows.with_weight()
        features, y, weights = rows.arrays
        penalties = self.config.ridge_penalties if penalty is None else [penalty]
        model = RidgeCV(alphas=penalties)
        with config_context(enable_metadata_routing=False):  # the user's, for our fit
            fit_unpatched(model, features, y, sample_weight=weights)
        coef = model.coef_.reshape(y.shape[1], -1)
        intercept = np.reshape(model.intercept_, -1)
        if reweigh is not None:
            for k in range(y.shape[1]):
                ridge = Ridge(alpha=model.alpha_)
                errors = y[:, k] - features @ coef[k] - intercept[k]
                for _ in range(self.config.n_reweightings):
                    again = weights * reweigh(errors)
                    fit_unpatched(ridge, features, y[:, k], sample_weight=again)
                    errors = y[:, k] - ridge.predict(features)
                coef[k], intercept[k] = ridge.coef_, ridge.intercept_
        return LinearProbe(
            coef, intercept, float(model.alpha_), float(-model.best_score_)
        )

    def _logits_of(self, rows: ProbeRows, penalty: float) -> "tuple[NDArray, NDArray]":
        """Return coefficients (K, C) and intercepts (K,) of the K classes of rows."""
        if np.ptp(rows.y) == 0:  # the others are too rare to have been drawn
            return np.zeros((1, rows.features.shape[1])), np.zeros(1)
        model = self._logistic(rows, penalty)
        if len(model.classes_) > 2:
            return model.coef_, model.intercept_
        signs = np.array([-0.5, 0.5])  # scikit-learn keeps one row: spread it over two
        return signs[:, None] * model.coef_, signs * model.intercept_

    def _logistic(self, rows: ProbeRows, penalty: float) -> LogisticRegression:
        model = LogisticRegression(
            C=1 / penalty, max_iter=self.config.max_iter, tol=self.config.tol
        )
        fit_unpatched(model, rows.features, rows.y, sample_weight=rows.weights)
        return model

    def _draw(self, rows: ProbeRows) -> ProbeRows:
        order = self.rng.permutation(len(rows.y))
        return rows.take(order[: self.config.max_cv_rows])

    def _cv_losses(self, rows: ProbeRows) -> "NDArray | None":
        """Return the cross-validated log-loss of each penalty.

        None if there are too few rows of a class.
        """
        rows, config = self._draw(rows), self.config
        classes, y, counts = np.unique(rows.y, return_inverse=True, return_counts=True)
        n_folds = min(config.n_folds, counts.min(initial=config.n_folds))
        if n_folds < 2 or len(classes) < 2:
            return None
        rows = replace(rows, y=y)
        return _mean_losses(rows, n_folds, config.penalties, self._logits_of)

    def _prior_cv_losses(self, prior: "NDArray", rows: ProbeRows) -> "NDArray":
        """Return the cross-validated log-loss of each penalty of the distance."""
        config = self.config

        def fit(rows: ProbeRows, penalty: float) -> "tuple[NDArray, NDArray]":
            return maximum_a_posteriori(prior, *rows.arrays, penalty, config.max_iter)

        rows = self._draw(rows)
        return _mean_losses(rows, config.n_folds, config.prior_penalties, fit)


def _mean_losses(
    rows: ProbeRows,
    n_folds: int,
    penalties: tuple[float, ...],
    fit: "Callable[[ProbeRows, float], tuple[NDArray, NDArray]]",
) -> "NDArray":
    """Return the log-loss of each penalty, the mean of stratified folds.

    `fit` returns coefficients (K, C) and intercepts (K,).
    """
    losses = np.zeros(len(penalties))
    for train, test in StratifiedKFold(n_folds).split(rows.features, rows.y):
        read, held_out = rows.take(train), rows.take(test)
        for i, penalty in enumerate(penalties):
            coef, intercept = fit(read, penalty)
            losses[i] += _log_loss(held_out, held_out.features @ coef.T + intercept)
    return losses / n_folds


def _log_loss(rows: ProbeRows, logits: "NDArray") -> float:
    of_classes = log_softmax(logits, axis=1)  # (n, K)
    of_rows = -of_classes[np.arange(len(rows.y)), rows.y]
    return float(np.average(of_rows, weights=rows.weights))


def _best(
    penalties: tuple[float, ...], losses: "NDArray | None"
) -> tuple[float, float]:
    """Return the penalty of the lowest loss, and the loss; the middle one without."""
    if losses is None:
        return penalties[len(penalties) // 2], float("nan")
    return penalties[np.argmin(losses)], float(losses.min())
