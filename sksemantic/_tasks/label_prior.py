"""The label prior: a head that the labels' texts make, and what rows make of it."""

from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax

if TYPE_CHECKING:
    from numpy.typing import NDArray


def label_prior(vectors: "NDArray", features: "NDArray", scale: "NDArray") -> "NDArray":
    """Return the coefficients (K, C) on standardised features that the vectors make.

    The logits of every label have mean zero over the given texts, so that none is
    preferred before a text is read, and a standard deviation of one over texts and
    labels. Both depend on the texts alone: no labels are needed. `vectors` are (K, C);
    `features` (n, C) are standardised, and were divided by `scale` (C,).
    """
    coef = (vectors - vectors.mean(axis=0)) * scale
    spread = (features @ coef.T).std()
    return coef / spread if spread > 0 else coef


def maximum_a_posteriori(
    prior: "NDArray",
    features: "NDArray",
    y: "NDArray",
    weights: "NDArray",
    penalty: float,
    max_iter: int,
) -> "tuple[NDArray, NDArray]":
    """Return coefficients W (K, C) and intercepts b (K,) near a label prior.

    They minimise log-loss + penalty / 2 * ||W - prior||^2 + ||b||^2 / 2: the maximum a
    posteriori under a normal distribution around the prior.
    """
    size, weights = prior.size, weights[:, None]
    targets = np.eye(len(prior))[y]

    def loss(flat: "NDArray") -> "tuple[float, NDArray]":
        coef, intercept = flat[:size].reshape(prior.shape), flat[size:]
        log_probabilities = log_softmax(features @ coef.T + intercept, axis=1)
        errors = weights * (np.exp(log_probabilities) - targets)  # (n, K)
        moved = coef - prior
        slopes = errors.T @ features + penalty * moved
        value = -(weights * targets * log_probabilities).sum()
        value += (penalty * np.square(moved).sum() + np.square(intercept).sum()) / 2
        return value, np.concatenate([slopes.ravel(), errors.sum(axis=0) + intercept])

    start = np.concatenate([prior.ravel(), np.zeros(len(prior))])
    solution = minimize(
        loss, start, jac=True, method="L-BFGS-B", options={"maxiter": max_iter}
    ).x
    return solution[:size].reshape(prior.shape), solution[size:]
