"""The numbers by which linear probes are fitted."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class LinearProbeConfig:
    """How linear probes are fitted.

    Attributes
    ----------
    penalties : tuple of float
        Of logistic regression (1 / C), to choose from. The middle one is taken where
        there are too few texts for cross-validation.
    ridge_penalties, prior_penalties : tuple of float
        The latter are of the squared distance to the label prior.
    prior_penalty : float, default=100.0
        Where there are too few texts to choose one. Measured on SST-2 and TREC with
        MiniLM and Gemma 3 270M.
    prior_penalty_of_one : float, default=500.0
        With one text a class; with k of them the k-th part of it, where that is more
        than `prior_penalty`.
    min_texts_for_prior_penalty : int, default=16
        Texts of every class from which on one is chosen.
    last_penalty : float, default=100.0
        Where features were trained on the same texts. Measured with MiniLM on SST-2,
        TREC and SMS: from 30 to 1,000 all are alike.
    n_folds : int, default=3
    max_cv_rows : int, default=3000
        Drawn at random for the cross-validation: more do not change the choice.
    max_cv_columns : int, default=5
        Of many labels, the most balanced ones: all labels share one penalty.
    certain_log_odds : float, default=5.0
        Of a label that all texts have, or none.
    max_iter : int, default=200
    tol : float, default=1e-3
        Of the solvers.
    n_reweightings : int, default=20
        Ridge regressions fitted in turn for a loss other than the squared error.
    """

    penalties: tuple[float, ...] = tuple(np.logspace(4, 0, 7).tolist())
    ridge_penalties: tuple[float, ...] = tuple(np.logspace(-1, 5, 13).tolist())
    prior_penalties: tuple[float, ...] = tuple(np.logspace(0.5, 4, 8).tolist())
    prior_penalty: float = 100.0
    prior_penalty_of_one: float = 500.0
    min_texts_for_prior_penalty: int = 16
    last_penalty: float = 100.0
    n_folds: int = 3
    max_cv_rows: int = 3000
    max_cv_columns: int = 5
    certain_log_odds: float = 5.0
    max_iter: int = 200
    tol: float = 1e-3
    n_reweightings: int = 20
