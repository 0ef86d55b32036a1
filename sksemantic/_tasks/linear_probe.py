"""The closed-form head: what the user would have tried first.

Logistic or ridge regression on the standardised features of one frozen pass. It is kept
as yardstick and fallback for the trained model.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from sklearn import config_context
from sklearn.linear_model import LogisticRegression, Ridge, RidgeCV
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedKFold

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

_INVERSE_PENALTIES = np.logspace(-4, 0, 7)
_RIDGE_PENALTIES = np.logspace(-1, 5, 13)
_FOLDS = 3
_CV_ROWS = 3000  # enough to choose a penalty by; more only costs time
_MAX_ITER = 200
_CV_COLUMNS = 5  # of many labels; they share one penalty
_CERTAIN = 5.0  # log-odds of what was always, or never, seen
_REWEIGHTINGS = 20
# Towards labels' texts: measured on SST-2 and TREC with MiniLM and Gemma 3 270M.
_SHRINKAGE = 100.0
_SHRINKAGES = np.logspace(0.5, 4, 8)
_FEWEST_TO_CHOOSE = 16  # texts of every class


@dataclass(frozen=True)
class LinearProbe:
    """A linear head fitted in closed form on standardised frozen features.

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
    """
    features, y, weights = _counted(features, y, weights)
    if penalty is None:
        inverse, cv_loss = _best_inverse_penalty(features, y, weights, rng)
    else:
        inverse, cv_loss = 1 / penalty, float("nan")
    model = _logistic(inverse).fit(features, y, sample_weight=weights)
    coef = np.zeros((n_classes, features.shape[1]))
    intercept = np.full(n_classes, -np.inf)
    if len(model.classes_) == 2:  # scikit-learn keeps one row: spread it over two
        coef[model.classes_] = np.vstack([-model.coef_, model.coef_]) / 2
        intercept[model.classes_] = np.array([-1, 1]) * model.intercept_ / 2
    else:
        coef[model.classes_], intercept[model.classes_] = model.coef_, model.intercept_
    absent = np.isneginf(intercept)
    intercept[absent] = intercept[~absent].min() - 10.0  # finite, but never chosen
    return LinearProbe(coef, intercept, 1 / inverse, cv_loss)


def fit_logistic_towards(
    prior: "NDArray",
    features: "NDArray",
    y: "NDArray",
    weights: "NDArray",
    rng: np.random.RandomState,
    penalty: float | None = None,
) -> LinearProbe:
    """Fit multinomial logistic regression that is drawn towards a prior head.

    Minimises, over weights W (K, C) and intercepts b (K,), the log-loss of all texts +
    penalty / 2 * ||W - prior||^2 + ||b||^2 / 2: the maximum a posteriori under a normal
    distribution around the prior, which few texts hardly move and many overrule.

    Parameters
    ----------
    prior : ndarray of shape (K, C)
    features : ndarray of shape (n, C)
        Standardised; n may be 0.
    y : ndarray of shape (n,)
        Class indices; classes may be absent.
    weights : ndarray of shape (n,)
    rng : RandomState
    penalty : float or None
        Used as it is. None: 100 for few texts, chosen by cross-validated log-loss where
        every class has at least 16.
    """
    features, y, weights = _counted(features, y, weights)
    cv_loss = float("nan")
    if penalty is None:
        penalty = _SHRINKAGE
        if np.bincount(y, minlength=len(prior)).min() >= _FEWEST_TO_CHOOSE:
            penalty, cv_loss = _best_shrinkage(prior, features, y, weights, rng)
    coef, intercept = _maximum_a_posteriori(prior, features, y, weights, penalty)
    return LinearProbe(coef, intercept, penalty, cv_loss)


def _counted(
    features: "NDArray", y: "NDArray", weights: "NDArray"
) -> "tuple[NDArray, NDArray, NDArray]":
    """Return the rows that count; copied only if there are others."""
    keep = weights > 0
    if keep.all():
        return features, y, weights
    return features[keep], y[keep], weights[keep]


def _maximum_a_posteriori(
    prior: "NDArray",
    features: "NDArray",
    y: "NDArray",
    weights: "NDArray",
    penalty: float,
) -> "tuple[NDArray, NDArray]":
    """Return coefficients (K, C) and intercepts (K,)."""
    size = prior.size
    targets = np.eye(len(prior))[y]

    def loss(flat: "NDArray") -> "tuple[float, NDArray]":
        coef, intercept = flat[:size].reshape(prior.shape), flat[size:]
        log_probabilities = log_softmax(features @ coef.T + intercept, axis=1)
        errors = weights[:, None] * (np.exp(log_probabilities) - targets)  # (n, K)
        moved = coef - prior
        slopes = errors.T @ features + penalty * moved
        value = -(weights[:, None] * targets * log_probabilities).sum()
        value += (penalty * np.square(moved).sum() + np.square(intercept).sum()) / 2
        return value, np.concatenate([slopes.ravel(), errors.sum(axis=0) + intercept])

    start = np.concatenate([prior.ravel(), np.zeros(len(prior))])
    found = minimize(
        loss, start, jac=True, method="L-BFGS-B", options={"maxiter": _MAX_ITER}
    ).x
    return found[:size].reshape(prior.shape), found[size:]


def _best_shrinkage(
    prior: "NDArray",
    features: "NDArray",
    y: "NDArray",
    weights: "NDArray",
    rng: np.random.RandomState,
) -> tuple[float, float]:
    """Cross-validate the penalty on at most `_CV_ROWS` rows."""
    rows = rng.permutation(len(y))[:_CV_ROWS]
    features, y, weights = features[rows], y[rows], weights[rows]
    losses = np.zeros(len(_SHRINKAGES))
    labels = np.arange(len(prior))
    for train, test in StratifiedKFold(_FOLDS).split(features, y):
        for i, penalty in enumerate(_SHRINKAGES):
            coef, intercept = _maximum_a_posteriori(
                prior, features[train], y[train], weights[train], penalty
            )
            probabilities = softmax(features[test] @ coef.T + intercept, axis=1)
            losses[i] += log_loss(
                y[test], probabilities, labels=labels, sample_weight=weights[test]
            )
    best = int(losses.argmin())
    return float(_SHRINKAGES[best]), float(losses[best] / _FOLDS)


def fit_each_logistic(
    features: "NDArray",
    y: "NDArray",
    weights: "NDArray",
    rng: np.random.RandomState,
    penalty: float | None = None,
) -> LinearProbe:
    """Fit one logistic regression for each column of y, with one penalty for all.

    The penalty is chosen by the cross-validated log-loss of the most balanced columns.

    Parameters
    ----------
    features : ndarray of shape (n, C)
        Standardised.
    y : ndarray of shape (n, K)
        0 or 1; NaN where a row does not count. Columns may be constant.
    weights : ndarray of shape (n,)
    rng : RandomState
    penalty : float or None
        Used as it is, without cross-validation.
    """
    counts = np.isfinite(y) & (weights > 0)[:, None]  # (n, K)
    shares = np.where(counts, y, 0).sum(axis=0) / np.maximum(counts.sum(axis=0), 1)
    cv_loss = float("nan")
    inverse = _INVERSE_PENALTIES[3] if penalty is None else 1 / penalty
    if penalty is None:
        losses = []
        for k in np.argsort(np.abs(shares - 0.5))[:_CV_COLUMNS]:
            rows = counts[:, k]
            found = _cv_losses(
                features[rows], y[rows, k].astype(int), weights[rows], rng
            )
            losses += [] if found is None else [found]
        if losses:
            mean = np.mean(losses, axis=0)
            inverse, cv_loss = _INVERSE_PENALTIES[mean.argmin()], float(mean.min())
    coef = np.zeros((y.shape[1], features.shape[1]))
    intercept = np.where(shares > 0.5, _CERTAIN, -_CERTAIN)
    for k in range(y.shape[1]):
        rows = counts[:, k]
        if 0 < shares[k] < 1:
            model = _logistic(inverse)
            model.fit(features[rows], y[rows, k], sample_weight=weights[rows])
            coef[k], intercept[k] = model.coef_[0], model.intercept_[0]
    return LinearProbe(coef, intercept, float(1 / inverse), cv_loss)


def _logistic(inverse_penalty: float) -> LogisticRegression:
    return LogisticRegression(C=inverse_penalty, max_iter=_MAX_ITER, tol=1e-3)


def _best_inverse_penalty(
    features: "NDArray", y: "NDArray", weights: "NDArray", rng: np.random.RandomState
) -> tuple[float, float]:
    losses = _cv_losses(features, y, weights, rng)
    if losses is None:
        return float(_INVERSE_PENALTIES[3]), float("nan")
    best = int(np.argmin(losses))
    return float(_INVERSE_PENALTIES[best]), float(losses[best])


def _cv_losses(
    features: "NDArray", y: "NDArray", weights: "NDArray", rng: np.random.RandomState
) -> "NDArray | None":
    """Return the cross-validated log-loss of each penalty, on at most `_CV_ROWS` rows.

    None if there are too few rows of a class.
    """
    rows = rng.permutation(len(y))[:_CV_ROWS]
    features, y, weights = features[rows], y[rows], weights[rows]
    counts = np.bincount(y)
    folds = min(_FOLDS, counts[counts > 0].min(initial=_FOLDS))
    labels = np.unique(y)
    if folds < 2 or len(labels) < 2:
        return None
    losses = np.zeros(len(_INVERSE_PENALTIES))
    for train, test in StratifiedKFold(folds).split(features, y):
        model = _logistic(1.0).set_params(warm_start=True)
        for i, inverse in enumerate(_INVERSE_PENALTIES):
            model.set_params(C=inverse).fit(
                features[train], y[train], sample_weight=weights[train]
            )
            probabilities = model.predict_proba(features[test])
            losses[i] += log_loss(
                y[test], probabilities, labels=labels, sample_weight=weights[test]
            )
    return losses / folds


def fit_ridge(
    features: "NDArray",
    y: "NDArray",
    weights: "NDArray",
    penalty: float | None = None,
    reweigh: "Callable[[NDArray], NDArray] | None" = None,
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
    """
    features, y, weights = _counted(features, y, weights)
    penalties = _RIDGE_PENALTIES if penalty is None else [penalty]
    model = RidgeCV(alphas=penalties)
    with config_context(enable_metadata_routing=False):  # the user's, for our fit
        model.fit(features, y, sample_weight=weights)
    coef = model.coef_.reshape(y.shape[1], -1)
    intercept = np.reshape(model.intercept_, -1)
    if reweigh is not None:
        for k in range(y.shape[1]):
            ridge = Ridge(alpha=model.alpha_)
            errors = y[:, k] - features @ coef[k] - intercept[k]
            for _ in range(_REWEIGHTINGS):
                ridge.fit(features, y[:, k], sample_weight=weights * reweigh(errors))
                errors = y[:, k] - ridge.predict(features)
            coef[k], intercept[k] = ridge.coef_, ridge.intercept_
    return LinearProbe(coef, intercept, model.alpha_, -model.best_score_)
