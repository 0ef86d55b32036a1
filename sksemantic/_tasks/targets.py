"""What a classifier is to predict: classes, ordered classes, or several labels."""

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import expit, log_expit, log_softmax

from sksemantic._tasks.base import Classification, MultiLabel, Ordinal, Task

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Classes:
    """One class for each text.

    Parameters
    ----------
    classes : ndarray of shape (n_classes,)
        Labels, sorted.

    Attributes
    ----------
    is_multilabel : bool
    are_apart : bool
        Whether texts are of the same class or of different ones, nothing between.
    """

    is_multilabel = False
    are_apart = True

    def __init__(self, classes: "NDArray") -> None:
        self.classes = classes

    @property
    def task(self) -> Task:
        """The task of the head."""
        return Classification(len(self.classes))

    def encode(self, labels: "NDArray") -> "NDArray":
        """Return class indices (n,).

        Raises
        ------
        ValueError
            If there is a label that is no class.
        """
        unknown = np.setdiff1d(labels, self.classes)
        if len(unknown):
            raise ValueError(
                f"y contains {len(unknown)} label(s) that are not among the classes: "
                f"{unknown[:5].tolist()}. The classes are {self.classes.tolist()}; "
                "they are fixed by the first call."
            )
        return np.searchsorted(self.classes, labels)

    def decide(self, scores: "NDArray", threshold: Any) -> "NDArray":
        """Return the predicted labels of the head's outputs (n, K)."""
        return self.classes[scores.argmax(axis=1)]

    def probabilities(self, scores: "NDArray") -> "NDArray":
        """Return probabilities (n, n_classes)."""
        return np.exp(self.log_probabilities(scores))

    def log_probabilities(self, scores: "NDArray") -> "NDArray":
        """Return log-probabilities (n, n_classes)."""
        return log_softmax(scores, axis=1)

    def logits(self, scores: "NDArray") -> "NDArray":
        """Return log-odds (n,) of the second of two classes, else logits."""
        return scores[:, 1] - scores[:, 0] if scores.shape[1] == 2 else scores


class OrderedClasses(Classes):
    """One of ordered classes for each text.

    Parameters
    ----------
    classes : ndarray of shape (n_classes,)
    ordinal : True or array-like of shape (n_classes,)
        The classes in their order; True if that is how they are sorted.

    Raises
    ------
    ValueError
        If `ordinal` does not say what order the classes have.
    """

    are_apart = False

    def __init__(self, classes: "NDArray", ordinal: Any) -> None:
        super().__init__(classes)
        self.ranks = _ranks(classes, ordinal)

    @property
    def task(self) -> Task:
        """The task of the head."""
        return Ordinal(len(self.classes))

    def encode(self, labels: "NDArray") -> "NDArray":
        """Return ranks (n,)."""
        return self.ranks[super().encode(labels)]

    def decide(self, scores: "NDArray", threshold: Any) -> "NDArray":
        """Return the median classes (n,)."""
        return self.classes[np.argsort(self.ranks)[Ordinal.medians(scores)]]

    def log_probabilities(self, scores: "NDArray") -> "NDArray":
        """Return log-probabilities (n, n_classes)."""
        return Ordinal.log_probabilities(scores)[:, self.ranks]

    def logits(self, scores: "NDArray") -> "NDArray":
        """Return log-odds (n,) of the second of two classes, else log-probabilities."""
        return super().logits(self.log_probabilities(scores))


class LabelSet(Classes):
    """Any number of labels for each text, as indicators.

    Parameters
    ----------
    classes : ndarray of shape (n_labels,)
        The numbers of the columns.
    """

    is_multilabel = True
    are_apart = False

    @property
    def task(self) -> Task:
        """The task of the head."""
        return MultiLabel(len(self.classes))

    def encode(self, labels: "NDArray") -> "NDArray":
        """Return indicators (n, n_labels) as they are.

        Raises
        ------
        ValueError
            If there are more or fewer columns than labels.
        """
        if labels.shape[1] != len(self.classes):
            raise ValueError(
                f"y must have {len(self.classes)} columns, one for each label. Got "
                f"{labels.shape[1]} instead."
            )
        return labels

    def decide(self, scores: "NDArray", threshold: Any) -> "NDArray":
        """Return indicators of the labels that are probable enough."""
        return (expit(scores) >= threshold).astype(np.int64)

    def probabilities(self, scores: "NDArray") -> "NDArray":
        """Return each label's own probability (n, n_labels)."""
        return expit(scores)

    def log_probabilities(self, scores: "NDArray") -> "NDArray":
        """Return their logarithms (n, n_labels)."""
        return log_expit(scores)

    def logits(self, scores: "NDArray") -> "NDArray":
        """Return logits (n, n_labels)."""
        return scores


def _ranks(classes: "NDArray", ordinal: Any) -> "NDArray":
    """Return the rank of each class."""
    if isinstance(ordinal, bool | np.bool_):
        if classes.dtype.kind not in "biuf":
            raise ValueError(
                "The 'ordinal' parameter must list the classes in their order if "
                f"they are no numbers: ordinal={classes.tolist()!r}, put in order. "
                f"Got {ordinal!r} instead."
            )
        return np.arange(len(classes))
    order = np.asarray(ordinal)
    if order.shape != classes.shape or not np.array_equal(np.sort(order), classes):
        raise ValueError(
            "The 'ordinal' parameter must list every class of y once: "
            f"{classes.tolist()}. Got {order.tolist()} instead."
        )
    return np.argsort(np.searchsorted(classes, order))
