"""From the labels of words to the targets of a `TokenClassification`."""

from typing import TYPE_CHECKING, Any

import numpy as np

from sksemantic._inputs.class_weight import weights_of_classes
from sksemantic._inputs.label_values import distinct, positions
from sksemantic._inputs.word_labels import check_word_labels
from sksemantic._tasks.base import Targets
from sksemantic._tasks.classification import ClassifierTask
from sksemantic._tasks.later_classes import classes_of_warm_start
from sksemantic._tasks.tokens import TokenClassification

if TYPE_CHECKING:
    from numpy.typing import NDArray

_UNLABELLED = -1  # code of a word that is not trained on


def encode_word_labels(
    y: Any,
    texts: list[list[str]],
    weights: "NDArray | None",
    class_weight: Any,
    former: ClassifierTask | None,
) -> Targets:
    """Check y, and return it as targets of the words of all texts that have a label.

    Words without a label have the code -1. `former` is the task of the fit before, if
    training goes on from there.

    Raises
    ------
    ValueError
        If y does not fit the texts, or has fewer than two labels.
    """
    labels = check_word_labels(y, texts)
    labels.refuse_none_labelled()
    labelled = labels.labelled
    flat = [label for i in labelled for label in labels.values[i]]
    is_labelled = np.array([label is not None for label in flat])
    values = np.array([label for label in flat if label is not None])
    classes = distinct(values)
    if len(classes) < 2:
        raise ValueError(
            f"y must hold at least two labels. Got one only, {classes.tolist()[0]!r}."
        )
    if former is not None:
        classes = classes_of_warm_start(former.classes, classes)
    codes = np.full(len(flat), _UNLABELLED)
    codes[is_labelled] = own = positions(values, classes)
    class_weights = None
    if class_weight is not None:
        class_weights = weights_of_classes(class_weight, classes, own)
        class_weights /= class_weights[own].mean()
    task = TokenClassification(classes, class_weights)
    if former is not None:
        task.check_goes_on_from(former)
    labels.warn_of_missing()
    if len(labelled) == len(texts):
        return Targets(task, codes, weights)
    weights = None if weights is None else weights[labelled]
    return Targets(task, codes, weights, labelled)
