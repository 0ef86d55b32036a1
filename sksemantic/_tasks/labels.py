"""From the labels of a classifier to the targets of one of its tasks."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils.validation import check_consistent_length

from sksemantic._inputs.class_weight import weights_of_classes
from sksemantic._inputs.label_texts import (
    LABELS,
    check_label_texts,
    refuse_no_label,
    refuse_unnamed,
    texts_of_labels,
)
from sksemantic._inputs.label_values import distinct, positions
from sksemantic._inputs.targets import (
    as_array,
    check_indicators,
    check_labels,
    check_threshold,
    column_names,
    take_labels,
)
from sksemantic._inputs.unlabelled import (
    labelled_rows,
    missing_rows,
    unlabelled_rows,
    warn_of_minus_one,
    warn_of_missing_labels,
)
from sksemantic._tasks.base import Targets
from sksemantic._tasks.classification import Classification, ClassifierTask
from sksemantic._tasks.later_classes import classes_of_warm_start
from sksemantic._tasks.multilabel import MultiLabel
from sksemantic._tasks.ordinal import Ordinal

if TYPE_CHECKING:
    from numpy.typing import NDArray

_DEFAULT_THRESHOLD = 0.5


@dataclass(frozen=True)
class LabelEncoder:
    """Encodes y by those parameters of a classifier that say what its labels are."""

    class_weight: Any
    ordinal: Any
    label_texts: Any
    threshold: Any

    def encode(
        self,
        y: Any,
        n_texts: int,
        weights: "NDArray | None",
        former: ClassifierTask | None,
        classes: "NDArray | None",
    ) -> Targets:
        """Check y, and return it as the targets of the task that it asks for.

        `former` is the task of the fit before, if training goes on from there. Without
        `classes` they are those of y, or of `label_texts`.
        """
        indicators = check_indicators(y, n_texts)
        if indicators is not None:
            names = column_names(y)
            return self._encode_indicators(indicators, names, weights, former, classes)
        if classes is not None:  # of `partial_fit`: every text is trained on
            y = check_labels(y, n_texts)
            task = self._make_task(classes, former)
            return Targets(task, task.encode(y), self._weigh_classes(task, y, weights))
        named = label_texts = None
        if isinstance(self.label_texts, dict):
            named, label_texts = check_label_texts(self.label_texts)
        labelled = self._labelled(y, n_texts)
        if labelled is not None:
            if self._are_labels_texts:
                refuse_no_label(labelled)
            y = take_labels(y, labelled)
            weights = None if weights is None else weights[labelled]
            n_texts = len(labelled)
        y = check_labels(y, n_texts) if n_texts or named is None else named[:0]
        if named is not None:
            refuse_unnamed(y, named)
        found = distinct(y)
        if former is not None and not former.is_multilabel:
            found = classes_of_warm_start(former.classes, found, named)
        elif named is not None:
            found = named
        task = self._make_task(found, former)
        if self._are_labels_texts:
            label_texts = texts_of_labels(task.classes)
        weights = self._weigh_classes(task, y, weights)
        return Targets(task, task.encode(y), weights, labelled, label_texts)

    def _encode_indicators(
        self,
        indicators: "NDArray",
        names: "NDArray | None",
        weights: "NDArray | None",
        former: ClassifierTask | None,
        classes: "NDArray | None",
    ) -> Targets:
        """Return indicators (n, n_labels) as targets; rows of NaN are unlabelled."""
        numbers = np.arange(indicators.shape[1] if classes is None else len(classes))
        if classes is not None and not np.array_equal(classes, numbers):
            raise ValueError(
                "classes must be the numbers of the columns of y, "
                f"np.arange({len(numbers)}), with several labels a text. Got "
                f"{classes.tolist()} instead."
            )
        if classes is not None and np.isnan(indicators).any():
            raise ValueError(
                "Input y contains NaN: partial_fit trains on every text, and needs a "
                "row of indicators for each. Drop rows without from X and y."
            )
        task = self._make_task(numbers, former, MultiLabel(numbers, names))
        labelled = labelled_rows(indicators)
        if labelled is not None:
            indicators = indicators[labelled]
            weights = None if weights is None else weights[labelled]
        return Targets(task, task.encode(indicators), weights, labelled)

    def labelled_rows(self, y: Any) -> "NDArray | None":
        """Return which texts have a label, by index, or one of several; None if all.

        Nothing is checked, and no one is told.
        """
        if y is None:
            return None
        labels = as_array(y)
        if labels.ndim == 2 and labels.shape[1] > 1:
            has_none = missing_rows(labels).any(axis=1)
        elif labels.size == len(labels):
            has_none = self._has_no_label(y, labels.ravel())
        else:
            return None
        return np.flatnonzero(~has_none) if has_none.any() else None

    def _labelled(self, y: Any, n_texts: int) -> "NDArray | None":
        """Return which texts have a label, by index; None if all have.

        A missing value stands for no label, and -1 does if the labels have texts and it
        is not one of them.
        """
        if y is None:
            return None
        labels = as_array(y)
        if labels.ndim == 2 and labels.shape[1] == 1:  # a table of one column
            labels = labels[:, 0]
        if labels.ndim != 1:
            return None
        check_consistent_length(range(n_texts), labels)
        has_none = missing_rows(labels)
        if not has_none.all():
            warn_of_missing_labels(has_none)
        elif self.label_texts is None:
            return None  # and is refused
        self._tell_of_minus_one(labels)
        has_none = self._has_no_label(y, labels)
        return np.flatnonzero(~has_none) if has_none.any() else None

    def _tell_of_minus_one(self, labels: "NDArray") -> None:
        """Warn where -1 is a class, but looks as if it marked texts without a label.

        It does beside missing labels, and as most of the labels among several others.
        """
        if self.label_texts is not None:
            return
        is_minus_one, is_missing = unlabelled_rows(labels), missing_rows(labels)
        n_minus, n_missing = is_minus_one.sum(), is_missing.sum()
        if not n_minus:
            return
        n_labels = len({*labels[~is_missing].tolist()})
        is_most = n_labels > 2 and 2 * n_minus > len(labels) - n_missing
        if n_missing or is_most:
            warn_of_minus_one(is_minus_one)

    def _has_no_label(self, y: Any, labels: "NDArray") -> "NDArray":
        """Return which entries of y, and of its array, mark a text without a label."""
        has_none = missing_rows(labels)
        if self._are_labels_texts or self._names_no_minus_one:
            has_none |= unlabelled_rows(y)
        return has_none

    @property
    def _are_labels_texts(self) -> bool:
        return isinstance(self.label_texts, str) and self.label_texts == LABELS

    @property
    def _names_no_minus_one(self) -> bool:
        """Whether labels have texts, but -1 has none."""
        texts = self.label_texts
        return isinstance(texts, dict) and not {-1, "-1"} & {*texts}

    def _make_task(
        self,
        classes: "NDArray",
        former: ClassifierTask | None,
        multilabel: MultiLabel | None = None,
    ) -> ClassifierTask:
        """Return the task of a fresh fit, or the former one if no class is new."""
        is_multilabel = multilabel is not None
        if len(classes) < 2:
            raise ValueError(
                "A classifier needs texts of at least two classes. Got one class only, "
                f"{classes.tolist()[:1]}."
            )
        is_flag = isinstance(self.ordinal, bool | np.bool_)
        is_ordinal = bool(self.ordinal) if is_flag else True
        if is_multilabel and (is_ordinal or self.class_weight is not None):
            name = "ordinal" if is_ordinal else "class_weight"
            raise ValueError(
                f"The {name!r} parameter must be left alone with several labels a "
                f"text. Got {getattr(self, name)!r} instead. To favour rare labels, "
                "lower `threshold`."
            )
        if self.label_texts is not None and (is_multilabel or is_ordinal):
            raise ValueError(
                "The 'label_texts' parameter must be None with several labels a text, "
                f"and with ordered classes. Got {self.label_texts!r} instead."
            )
        task: ClassifierTask = multilabel or Classification(classes)
        if is_ordinal:
            task = Ordinal.from_parameter(classes, self.ordinal)
        self.check_threshold(task)
        if former is None:
            return task
        task.check_goes_on_from(former)
        return former if len(task.classes) == len(former.classes) else task

    def check_threshold(self, task: ClassifierTask) -> "NDArray":
        """Return the threshold, or those of several labels."""
        n_labels = len(task.classes) if task.is_multilabel else None
        found = check_threshold(self.threshold, n_labels)
        if n_labels is None and found != _DEFAULT_THRESHOLD:
            raise ValueError(
                "The 'threshold' parameter must be left at 0.5 with one label a text: "
                "it is for several. Got "
                f"{self.threshold!r} instead. To move the threshold between two "
                "classes, wrap the estimator in sklearn.model_selection."
                "FixedThresholdClassifier or TunedThresholdClassifierCV."
            )
        return found

    def _weigh_classes(
        self, task: ClassifierTask, y: "NDArray", weights: "NDArray | None"
    ) -> "NDArray | None":
        """Multiply the weights of texts by those of their classes."""
        if self.class_weight is None or not len(y):
            return weights
        if weights is None:
            weights = np.ones(len(y), np.float32)
        indices = positions(y, task.classes)
        of_classes = weights_of_classes(self.class_weight, task.classes, indices)
        return weights * of_classes[indices]


def check_classes(classes: Any, known: "NDArray | None") -> "NDArray":
    """Return the `classes` of `partial_fit`, or those that are known from before."""
    if classes is None:
        if known is None:
            raise ValueError(
                "classes must be passed on the first call to partial_fit: all labels "
                "that will ever occur, for example np.unique(y_all), or the number of "
                "columns as np.arange(n_labels) for several labels a text."
            )
        return known
    passed = distinct(check_labels(classes, np.asarray(classes, object).size))
    if known is not None and not np.array_equal(passed, known):
        raise ValueError(
            f"`classes={classes!r}` is not the same as on the last call to "
            f"partial_fit or fit, was: {known!r}. To add a class, call fit with "
            "warm_start=True, with the texts of the other classes as well."
        )
    return passed
