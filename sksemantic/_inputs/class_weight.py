"""The `class_weight` parameter."""

from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils.class_weight import compute_class_weight

if TYPE_CHECKING:
    from numpy.typing import NDArray


def weights_of_classes(
    class_weight: Any, classes: "NDArray", indices: "NDArray"
) -> "NDArray":
    """Return the weight of each class (K,): 1 where `class_weight` does not say.

    Parameters
    ----------
    class_weight : dict or "balanced"
    classes : ndarray of shape (K,)
    indices : ndarray of shape (n,)
        The class of each text, or word.

    Raises
    ------
    ValueError
        If a weight is no finite number >= 0, if a label is none of the classes, or if
        fewer than two of the classes that occur have a positive weight.
    """
    weights = np.ones(len(classes))
    present = np.unique(indices)
    if not isinstance(class_weight, dict):
        weights[present] = compute_class_weight(
            class_weight, classes=present, y=indices
        )
        return weights
    labels = classes.tolist()
    _check_values(class_weight)
    foreign = [label for label in class_weight if label not in labels]
    if foreign and any(label not in class_weight for label in labels):
        raise ValueError(
            "The 'class_weight' parameter must have the labels of y as keys. Got "
            f"{foreign[:5]!r}, which are not among {labels!r:.200}."
        )
    for i, label in enumerate(labels):
        weights[i] = class_weight.get(label, 1.0)
    left = present[weights[present] > 0]
    if len(present) > 1 and len(left) < 2:
        without = [labels[i] for i in present if weights[i] == 0]
        raise ValueError(
            "The 'class_weight' parameter must leave at least two classes with a "
            f"positive weight. Got 0 for {without!r:.200}. To leave texts out, drop "
            "them from X and y."
        )
    return weights


def _check_values(class_weight: dict) -> None:
    """Refuse weights that are no finite numbers >= 0."""
    for label, weight in class_weight.items():
        is_number = isinstance(weight, Real) and not isinstance(weight, bool)
        if not is_number or not 0 <= weight < np.inf:
            raise ValueError(
                "The 'class_weight' parameter must map labels to finite numbers >= 0. "
                f"Got {weight!r} for the label {label!r} instead."
            )
