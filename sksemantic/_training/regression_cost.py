"""How long the linear probe will take."""

import time
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import softmax

if TYPE_CHECKING:
    from sksemantic._tasks.base import Task
    from sksemantic._training.config import TrainingConfig

# Measured with scikit-learn 1.9 on features of MiniLM and Gemma 3 270M.
_ITERATIONS = 60  # of a logistic regression with two classes
_ITERATIONS_OF_SEVERAL_CLASSES = 90
_SECONDS_A_FIT = 5e-3  # of checks and scores, whatever the size


def linear_probe_seconds(
    task: "Task", n_rows: int, n_features: int, config: "TrainingConfig"
) -> tuple[float, float]:
    """Return the seconds of a linear probe whose penalty is chosen, and of another.

    The other one has the same penalty, for all rows.
    """
    probe = config.linear_probe
    if task.skorch_kind == "numbers":
        seconds = 4 * _product_seconds(n_rows, n_features, n_features)
        return seconds, seconds
    is_each = task.skorch_kind == "labels"
    n_columns = task.n_outputs if is_each else 1
    n_classes = 2 if is_each else task.n_outputs
    n_drawn = min(n_rows, probe.max_cv_rows) * (probe.n_folds - 1) // probe.n_folds
    n_cross_validated = min(n_columns, probe.max_cv_columns)
    n_fits = len(probe.penalties) * probe.n_folds * n_cross_validated
    drawn = _fit_seconds(n_drawn, n_features, n_classes)
    whole = n_columns * _fit_seconds(n_rows, n_features, n_classes)
    return n_fits * drawn + whole, whole


def _fit_seconds(n_rows: int, n_features: int, n_classes: int) -> float:
    """Return the seconds of one logistic regression."""
    n_outputs = 1 if n_classes == 2 else n_classes
    n_iterations = _ITERATIONS if n_outputs == 1 else _ITERATIONS_OF_SEVERAL_CLASSES
    product = _product_seconds(n_rows, n_features, n_outputs)
    return _SECONDS_A_FIT + n_iterations * product


def _product_seconds(n_rows: int, n_features: int, n_outputs: int) -> float:
    """Return the seconds of one gradient: measured on some rows."""
    n_measured = min(max(n_rows, 1), 2000)
    features = np.ones((n_measured, n_features), np.float32)
    weights = np.ones((n_features, n_outputs), np.float32)
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        features.T @ softmax(features @ weights, axis=1)
        seconds.append(time.perf_counter() - start)
    return min(seconds) * n_rows / n_measured
