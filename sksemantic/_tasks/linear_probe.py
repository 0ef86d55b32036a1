"""The linear probe: logistic or ridge regression on frozen features.

It is what the trained model is compared with, and what is kept instead of it if it is
clearly better.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from sklearn import config_context
from sklearn.linear_model import LogisticRegression, Ridge, RidgeCV
from sklearn.metrics import get_scorer
from sklearn.model_selection import GridSearchCV, StratifiedKFold

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ABSENT_CLASS_MARGIN = 10.0  # logits below the others: finite, but never chosen


@dataclass(frozen=True)
class LinearProbeConfig:
    """How linear probes are fitted.

    Attributes
    ----------
    penalties : tuple of float
        Of logistic regression (1 / C), to choose from. The middle one is taken where
        there are too few texts for cross-validation.
    ridge_penalties : tuple of float
    prior_penalties : tuple of float
        Of the squared distance to the label prior.
    prior_penalty : float, default=100.0
        Where there are too few texts to choose one. Measured on SST-2 and TREC with
        MiniLM and Gemma 3 270M.
    min_texts_for_prior_penalty : int, default=16
        Texts of every class from which on one is chosen.
    n_folds : int, default=3
        Of the cross-validation.
    max_cv_rows : int, default=3000
        Drawn at random for the cross-validation: more do not change the choice.
    max_cv_columns : int, default=5
        Of many labels, the most balanced ones: all labels share one penalty.
    certain_log_odds : float, default=5.0
        Of a label that all texts have, or none.
    max_iter : int, default=200
        Iterations of a solver.
    tol : float, default=1e-3
        Of logistic regression's solver.
    n_reweightings : int, default=20
        Ridge regressions fitted in turn for a loss other than the squared error.
    """

    penalties: tuple[float, ...] = tuple(np.logspace(4, 0, 7).tolist())
    ridge_penalties: tuple[float, ...] = tuple(np.logspace(-1, 5, 13).tolist())
    prior_penalties: tuple[float, ...] = tuple(np.logspace(0.5, 4, 8).tolist())
    prior_penalty: float = 100.0
    min_texts_for_prior_penalty: int = 16
    n_folds: int = 3
    max_cv_rows: int = 3000
    max_cv_columns: int = 5
    certain_log_odds: float = 5.0
    max_iter: int = 200
    tol: float = 1e-3
    n_reweightings: int = 20


DEFAULT_PROBE_CONFIG = LinearProbeConfig()


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


def fit_logistic(
    features: "NDArray",
    y: "NDArray",
    weights: "NDArray",
    n_classes: int,
    rng: np.random.RandomState,
    penalty: float | None = None,
    config: LinearProbeConfig = DEFAULT_PROBE_CONFIG,
) -> LinearProbe:
    """Fit multinomial logistic regression, its penalty by cross-validated log-loss.

    Parameters
    ----------
    features : ndarray of shape (n, C)
        Standardised.
    y : ndarray of shape (n,)
        Class indices; classes may be absent.
    weights : ndarray of shape (n,)
        Sample weights, class weights included.
    n_classes : int
    rng : RandomState
    penalty : float or None
        Used as it is, without cross-validation.
    config : LinearProbeConfig
    """
    features, y, weights = with_weight(features, y, weights)
    cv_loss = float("nan")
    if penalty is None:
        losses = _cv_losses(features, y, weights, rng, config)
        penalty, cv_loss = best_penalty(config.penalties, losses)
    model = _logistic(penalty, config).fit(features, y, sample_weight=weights)
    coef = np.zeros((n_classes, features.shape[1]))
    intercept = np.full(n_classes, -np.inf)
    if len(model.classes_) == 2:  # scikit-learn keeps one row: spread it over two
        coef[model.classes_] = np.vstack([-model.coef_, model.coef_]) / 2
        intercept[model.classes_] = np.array([-1, 1]) * model.intercept_ / 2
    else:
        coef[model.classes_], intercept[model.classes_] = model.coef_, model.intercept_
    is_absent = np.isneginf(intercept)
    intercept[is_absent] = intercept[~is_absent].min() - _ABSENT_CLASS_MARGIN
    return LinearProbe(coef, intercept, penalty, cv_loss)


def fit_each_logistic(
    features: "NDArray",
    y: "NDArray",
    weights: "NDArray",
    rng: np.random.RandomState,
    penalty: float | None = None,
    config: LinearProbeConfig = DEFAULT_PROBE_CONFIG,
) -> LinearProbe:
    """Fit one logistic regression for each column of y, with one penalty for all.

    The penalty is chosen by the cross-validated log-loss of the most balanced columns.

    Parameters
    ----------
    features : ndarray of shape (n, C)
        Standardised.
    y : ndarray of shape (n, K)
        0 or 1; NaN where a row does not count. Columns may be constant.
    weights, rng, penalty, config
        As for `fit_logistic`.
    """
    has_value = np.isfinite(y) & (weights > 0)[:, None]  # (n, K)
    n_values = np.maximum(has_value.sum(axis=0), 1)
    shares = np.where(has_value, y, 0).sum(axis=0) / n_values
    cv_loss = float("nan")
    if penalty is None:
        losses = []
        for k in np.argsort(np.abs(shares - 0.5))[: config.max_cv_columns]:
            rows = has_value[:, k]
            labels = y[rows, k].astype(int)
            each = _cv_losses(features[rows], labels, weights[rows], rng, config)
            losses += [] if each is None else [each]
        mean = np.mean(losses, axis=0) if losses else None
        penalty, cv_loss = best_penalty(config.penalties, mean)
    coef = np.zeros((y.shape[1], features.shape[1]))
    certain = config.certain_log_odds
    intercept = np.where(shares > 0.5, certain, -certain)
    for k in range(y.shape[1]):
        rows = has_value[:, k]
        if 0 < shares[k] < 1:
            model = _logistic(penalty, config)
            model.fit(features[rows], y[rows, k], sample_weight=weights[rows])
            coef[k], intercept[k] = model.coef_[0], model.intercept_[0]
    return LinearProbe(coef, intercept, penalty, cv_loss)


def fit_ridge(
    features: "NDArray",
    y: "NDArray",
    weights: "NDArray",
    penalty: float | None = None,
    reweigh: Callable[["NDArray"], "NDArray"] | None = None,
    config: LinearProbeConfig = DEFAULT_PROBE_CONFIG,
) -> LinearProbe:
    """Fit ridge regression, its penalty by leave-one-out squared error.

    Parameters
    ----------
    features : ndarray of shape (n, C)
        Standardised.
    y : ndarray of shape (n, K)
        Standardised targets.
    weights : ndarray of shape (n,)
    penalty : float or None
        Used as it is, instead of the best of a range.
    reweigh : callable or None
        Maps errors (n,) to weights: another loss than the squared error, fitted by
        iteratively reweighted least squares.
    config : LinearProbeConfig
    """
    features, y, weights = with_weight(features, y, weights)
    penalties = config.ridge_penalties if penalty is None else [penalty]
    model = RidgeCV(alphas=penalties)
    with config_context(enable_metadata_routing=False):  # the user's, for our fit
        model.fit(features, y, sample_weight=weights)
    coef = model.coef_.reshape(y.shape[1], -1)
    intercept = np.reshape(model.intercept_, -1)
    if reweigh is not None:
        for k in range(y.shape[1]):
            ridge = Ridge(alpha=model.alpha_)
            errors = y[:, k] - features @ coef[k] - intercept[k]
            for _ in range(config.n_reweightings):
                ridge.fit(features, y[:, k], sample_weight=weights * reweigh(errors))
                errors = y[:, k] - ridge.predict(features)
            coef[k], intercept[k] = ridge.coef_, ridge.intercept_
    return LinearProbe(coef, intercept, float(model.alpha_), float(-model.best_score_))


def with_weight(
    features: "NDArray", y: "NDArray", weights: "NDArray"
) -> "tuple[NDArray, NDArray, NDArray]":
    """Return the rows of positive weight; copied only if there are others."""
    keep = weights > 0
    if keep.all():
        return features, y, weights
    return features[keep], y[keep], weights[keep]


def _logistic(penalty: float, config: LinearProbeConfig) -> LogisticRegression:
    return LogisticRegression(C=1 / penalty, max_iter=config.max_iter, tol=config.tol)


def best_penalty(
    penalties: tuple[float, ...], losses: "NDArray | None"
) -> tuple[float, float]:
    """Return the penalty of the lowest loss, and the loss; the middle one without."""
    if losses is None:
        return penalties[len(penalties) // 2], float("nan")
    best = int(np.argmin(losses))
    return penalties[best], float(losses[best])


def _cv_losses(
    features: "NDArray",
    y: "NDArray",
    weights: "NDArray",
    rng: np.random.RandomState,
    config: LinearProbeConfig,
) -> "NDArray | None":
    """Return the cross-validated log-loss of each penalty, on rows drawn at random.

    None if there are too few rows of a class.
    """
    rows = rng.permutation(len(y))[: config.max_cv_rows]
    features, y, weights = features[rows], y[rows], weights[rows]
    counts = np.bincount(y)
    n_folds = min(config.n_folds, counts[counts > 0].min(initial=config.n_folds))
    if n_folds < 2 or (counts > 0).sum() < 2:
        return None
    with config_context(enable_metadata_routing=True):  # weights in fits and scores
        model = _logistic(1.0, config).set_fit_request(sample_weight=True)
        scorer = get_scorer("neg_log_loss").set_score_request(sample_weight=True)
        search = GridSearchCV(
            model,
            {"C": [1 / penalty for penalty in config.penalties]},
            scoring=scorer,
            cv=StratifiedKFold(n_folds),
            refit=False,
        )
        search.fit(features, y, sample_weight=weights)
    return -search.cv_results_["mean_test_score"]
