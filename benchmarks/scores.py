"""Scores of the benchmarks: from true and predicted targets to numbers by name."""

import warnings
from functools import partial

import numpy as np
from scipy.special import expit, logit, softmax
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    f1_score,
    mean_absolute_error,
    r2_score,
)
from splits import TARGETS


def score_labels(y_true, y_pred):
    """Return the accuracy, and the mean F1 of the classes."""
    return {
        "accuracy": accuracy_score(y_true, y_pred),
        "f1_macro": f1_score(y_true, y_pred, average="macro"),
    }


def score_accuracy(y_true, y_pred):
    """Return the accuracy."""
    return {"accuracy": accuracy_score(y_true, y_pred)}


def score_likeness(y_true, y_pred):
    """Return the correlations of Spearman and Pearson."""
    return {
        "spearman": spearman(y_true, y_pred),
        "pearson": pearsonr(y_true, y_pred).statistic,
    }


def spearman(y_true, y_pred):
    """Return the correlation of the ranks."""
    return spearmanr(y_true, y_pred).statistic


def score_targets(y_true, y_pred):
    """Return the mean R2, and that of each target."""
    each = r2_score(y_true, y_pred, multioutput="raw_values")
    return {"r2": each.mean(), **dict(zip(TARGETS, each, strict=True))}


def score_types(y_true, y_pred):
    """Return the F1 of all decisions, and the mean F1 of the types."""
    f1 = partial(f1_score, y_true, y_pred, zero_division=0)
    return {"f1_micro": f1(average="micro"), "f1_macro": f1(average="macro")}


def score_entities(y_true, y_pred):
    """Return F1, precision and recall of whole entities."""
    from seqeval import metrics

    true, found = ([list(map(str, row)) for row in rows] for rows in (y_true, y_pred))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # no entity at all was found
        return {
            "f1": metrics.f1_score(true, found),
            "precision": metrics.precision_score(true, found),
            "recall": metrics.recall_score(true, found),
        }


def entity_f1(y_true, y_pred):
    """Return the F1 of whole entities."""
    return score_entities(y_true, y_pred)["f1"]


def score_ranking(y_true, probability):
    """Return the average precision of the rare class, 1."""
    return {"average_precision": average_precision_score(y_true, probability)}


def score_ranks(y_true, y_pred):
    """Return the mean distance in ranks, and the accuracy."""
    return {
        "mae": mean_absolute_error(y_true, y_pred),
        "accuracy": accuracy_score(y_true, y_pred),
    }


def score_numbers(y_true, y_pred):
    """Return the share of the variance that is explained."""
    return {"r2": r2_score(y_true, y_pred)}


def probability_rows(kind, model, X, y):
    """Return probabilities (n, K), and the targets: columns (n,), or indicators (n, K).

    Words are rows of their own. Labels that the model has never seen are left out.
    """
    found = model.predict_proba(X)
    if kind == "labels":
        return np.asarray(found, float), np.asarray(y)
    if kind == "words":
        found = np.concatenate([each for each in found if len(each)])
        y = [label for row in y for label in row]
    y, classes = np.asarray(y), model.classes_
    is_known = np.isin(y, classes)
    return found[is_known], np.searchsorted(classes, y[is_known])


def at_temperature(probabilities, targets, temperature):
    """Return the probabilities of logits that are divided by a temperature."""
    if targets.ndim == 2:
        return expit(logit(np.clip(probabilities, 1e-12, 1 - 1e-12)) / temperature)
    return softmax(np.log(np.clip(probabilities, 1e-30, 1)) / temperature, axis=1)


def log_loss_of(probabilities, targets, temperature=1.0):
    """Return the log-loss: of the class, or the mean over all labels."""
    found = at_temperature(probabilities, targets, temperature)
    if targets.ndim == 2:
        right = np.where(targets > 0, found, 1 - found)
    else:
        right = found[np.arange(len(targets)), targets]
    return float(-np.log(np.clip(right, 1e-15, 1)).mean())


def calibration_error(probabilities, targets, temperature=1.0, n_bins=15):
    """Return the expected calibration error, of the class that is predicted.

    C. Guo et al., "On calibration of modern neural networks", ICML 2017, section 2. Of
    several labels each counts on its own.
    """
    found = at_temperature(probabilities, targets, temperature)
    if targets.ndim == 2:
        sure = np.maximum(found, 1 - found).ravel()
        is_right = ((found > 0.5) == (targets > 0)).ravel()
    else:
        sure, is_right = found.max(axis=1), found.argmax(axis=1) == targets
    bins = np.minimum((sure * n_bins).astype(int), n_bins - 1)
    sums = np.bincount(bins, sure - is_right, minlength=n_bins)
    return float(np.abs(sums).sum() / len(sure))
