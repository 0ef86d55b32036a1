"""The closed-form head: what the user would have tried first.

Logistic or ridge regression on the standardised features of one frozen pass. It is kept
as yardstick and fallback for the trained model.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from sklearn import config_context
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedKFold

if TYPE_CHECKING:
    from numpy.typing import NDArray

_INVERSE_PENALTIES = np.logspace(-4, 0, 7)
_RIDGE_PENALTIES = np.logspace(-1, 5, 13)
_FOLDS = 3
_CV_ROWS = 3000  # enough to choose a penalty by; more only costs time
_MAX_ITER = 200


@dataclass(frozen=True)
class ClosedFormHead:
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
        target. NaN where there were too few texts to cross-validate.
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
) -> ClosedFormHead:
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
    keep = weights > 0
    features, y, weights = features[keep], y[keep], weights[keep]
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
    return ClosedFormHead(coef, intercept, 1 / inverse, cv_loss)


def _logistic(inverse_penalty: float) -> LogisticRegression:
    return LogisticRegression(C=inverse_penalty, max_iter=_MAX_ITER, tol=1e-3)


def _best_inverse_penalty(
    features: "NDArray", y: "NDArray", weights: "NDArray", rng: np.random.RandomState
) -> tuple[float, float]:
    """Cross-validate the penalty on at most `_CV_ROWS` rows."""
    rows = rng.permutation(len(y))[:_CV_ROWS]
    features, y, weights = features[rows], y[rows], weights[rows]
    counts = np.bincount(y)
    folds = min(_FOLDS, counts[counts > 0].min())
    if folds < 2:
        return float(_INVERSE_PENALTIES[3]), float("nan")
    losses = np.zeros(len(_INVERSE_PENALTIES))
    labels = np.unique(y)
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
    best = int(np.argmin(losses))
    return float(_INVERSE_PENALTIES[best]), float(losses[best] / folds)


def fit_ridge(
    features: "NDArray",
    y: "NDArray",
    weights: "NDArray",
    penalty: float | None = None,
) -> ClosedFormHead:
    """Fit ridge regression, its penalty by leave-one-out squared error.

    Parameters
    ----------
    features : ndarray of shape (n, C)
        Standardised.
    y : ndarray of shape (n,)
        Standardised targets.
    weights : ndarray of shape (n,)
    penalty : float or None
        Used as it is, instead of the best of a range.
    """
    keep = weights > 0
    penalties = _RIDGE_PENALTIES if penalty is None else [penalty]
    model = RidgeCV(alphas=penalties)
    with config_context(enable_metadata_routing=False):  # the user's, for our fit
        model.fit(features[keep], y[keep], sample_weight=weights[keep])
    return ClosedFormHead(
        model.coef_[None],
        np.array([model.intercept_]),
        model.alpha_,
        -model.best_score_,
    )
