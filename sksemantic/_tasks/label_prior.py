"""The label prior: coefficients that the labels' texts make, and a probe near them."""

from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedKFold

from sksemantic._tasks.linear_probe import (
    DEFAULT_PROBE_CONFIG,
    LinearProbe,
    LinearProbeConfig,
    best_penalty,
    with_weight,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray


def label_prior(vectors: "NDArray", features: "NDArray", scale: "NDArray") -> "NDArray":
    """Return the coefficients (K, C) on standardised features that the vectors make.

    The logits of every label have mean zero over the given texts, so that none is
    preferred before a text is read, and a standard deviation of one over texts and
    labels. Both depend on the texts alone: no labels are needed.

    Parameters
    ----------
    vectors : ndarray of shape (K, C)
    features : ndarray of shape (n, C)
        Standardised, so that they have mean zero.
    scale : ndarray of shape (C,)
        What the raw features were divided by.
    """
    coef = (vectors - vectors.mean(axis=0)) * scale
    spread = (features @ coef.T).std()
    return coef / spread if spread > 0 else coef


def fit_logistic_with_prior(
    prior: "NDArray",
    features: "NDArray",
    y: "NDArray",
    weights: "NDArray",
    rng: np.random.RandomState,
    penalty: float | None = None,
    config: LinearProbeConfig = DEFAULT_PROBE_CONFIG,
) -> LinearProbe:
    """Fit multinomial logistic regression whose coefficients stay near a prior's.

    Minimises, over weights W (K, C) and intercepts b (K,), the log-loss of all texts +
    penalty / 2 * ||W - prior||^2 + ||b||^2 / 2: the maximum a posteriori under a normal
    distribution around the prior. Few texts hardly change W, many decide it.

    Parameters
    ----------
    prior : ndarray of shape (K, C)
    features : ndarray of shape (n, C)
        Standardised; n may be 0.
    y, weights, rng, penalty, config
        As for `fit_logistic`.
    """
    features, y, weights = with_weight(features, y, weights)
    cv_loss = float("nan")
    if penalty is None:
        penalty = config.prior_penalty
        n_fewest = np.bincount(y, minlength=len(prior)).min()
        if n_fewest >= config.min_texts_for_prior_penalty:
            losses = _prior_cv_losses(prior, features, y, weights, rng, config)
            penalty, cv_loss = best_penalty(config.prior_penalties, losses)
    coef, intercept = _maximum_a_posteriori(
        prior, features, y, weights, penalty, config.max_iter
    )
    return LinearProbe(coef, intercept, penalty, cv_loss)


def _prior_cv_losses(
    prior: "NDArray",
    features: "NDArray",
    y: "NDArray",
    weights: "NDArray",
    rng: np.random.RandomState,
    config: LinearProbeConfig,
) -> "NDArray":
    """Return the cross-validated log-loss of each penalty of the distance."""
    rows = rng.permutation(len(y))[: config.max_cv_rows]
    features, y, weights = features[rows], y[rows], weights[rows]
    losses = np.zeros(len(config.prior_penalties))
    for train, test in StratifiedKFold(config.n_folds).split(features, y):
        data = features[train], y[train], weights[train]
        for i, penalty in enumerate(config.prior_penalties):
            coef, intercept = _maximum_a_posteriori(
                prior, *data, penalty, config.max_iter
            )
            probabilities = softmax(features[test] @ coef.T + intercept, axis=1)
            losses[i] += log_loss(
                y[test],
                probabilities,
                labels=np.arange(len(prior)),
                sample_weight=weights[test],
            )
    return losses / config.n_folds


def _maximum_a_posteriori(
    prior: "NDArray",
    features: "NDArray",
    y: "NDArray",
    weights: "NDArray",
    penalty: float,
    max_iter: int,
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
    solution = minimize(
        loss, start, jac=True, method="L-BFGS-B", options={"maxiter": max_iter}
    ).x
    return solution[:size].reshape(prior.shape), solution[size:]
