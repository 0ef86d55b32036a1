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
    intercept: "NDArray | None" = None,
    is_free: "NDArray | None" = None,
    intercept_penalty: float = 1.0,
) -> "tuple[NDArray, NDArray]":
    """Return coefficients W (K, C) and intercepts b (K,) near prior ones.

    They minimise log-loss + penalty / 2 * ||W - prior||^2 + intercept_penalty / 2 * ||b
    - intercept||^2: the maximum a posteriori under a normal distribution around the
    prior. `intercept` (K,) is zero by default. Rows that are not free (K,), bool, stay
    as they are.
    """
    prior_intercept = np.zeros(len(prior)) if intercept is None else intercept
    is_fixed = np.zeros(len(prior), bool) if is_free is None else ~is_free
    size, weights = prior.size, weights[:, None]
    targets = np.eye(len(prior))[y]

    def loss(flat: "NDArray") -> "tuple[float, NDArray]":
        coef, intercept = flat[:size].reshape(prior.shape), flat[size:]
        log_probabilities = log_softmax(features @ coef.T + intercept, axis=1)
        errors = weights * (np.exp(log_probabilities) - targets)  # (n, K)
        moved, shift = coef - prior, intercept - prior_intercept
        slopes = errors.T @ features + penalty * moved
        shift_slopes = errors.sum(axis=0) + intercept_penalty * shift
        slopes[is_fixed] = shift_slopes[is_fixed] = 0
        value = -(weights * targets * log_probabilities).sum()
        value += penalty / 2 * np.square(moved).sum()
        value += intercept_penalty / 2 * np.square(shift).sum()
        return value, np.concatenate([slopes.ravel(), shift_slopes])

    start = np.concatenate([prior.ravel(), prior_intercept])
    solution = minimize(
        loss, start, jac=True, method="L-BFGS-B", options={"maxiter": max_iter}
    ).x
    return solution[:size].reshape(prior.shape), solution[size:]
