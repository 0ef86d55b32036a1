"""Labels of any kind: str, numbers, and objects such as dates and members of an Enum.

NumPy turns a list of several kinds into an array of one, such as ``["good", nan]`` into
``["good", "nan"]``. So labels are compared as Python has them, before that.
"""

from collections.abc import Hashable, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def flat_objects(values: Any) -> "NDArray | None":
    """Return a list or tuple as an object array (n,); None where it is nested."""
    if not isinstance(values, list | tuple):
        return None
    if any(isinstance(value, str | bytes) or np.ndim(value) == 0 for value in values):
        return np.fromiter(values, object, len(values))
    return None


def check_one_kind(labels: Sequence[Any]) -> str:
    """Return the kind of all labels, see `kind_of`; refuse a mix, and unhashable ones.

    Labels are Python's own values.
    """
    kinds: dict[str, int] = {}
    for i, label in enumerate(labels):
        if not isinstance(label, Hashable):
            raise ValueError(
                f"y must hold labels. Got {type(label).__name__} ({label!r:.60}) in "
                f"row {i} instead, which cannot be compared by its hash."
            )
        kinds.setdefault(kind_of(label), i)
    if len(kinds) > 1:
        found = ", ".join(f"{kind} in row {i}" for kind, i in kinds.items())
        hint = " In fit None marks a text without a label." if -1 in labels else ""
        raise ValueError(
            "y must hold labels of one kind, all str or all numbers. Got a mix of "
            f"kinds instead, first {found}.{hint}"
        )
    return next(iter(kinds), "str")


def kind_of(label: Any) -> str:
    """Return "str", "number" (bool among them), or the name of another type."""
    if isinstance(label, Enum):
        return type(label).__name__
    if isinstance(label, str):
        return "str"
    return "number" if isinstance(label, int | float) else type(label).__name__


def python_values(labels: "NDArray") -> list[Any]:
    """Return labels as Python's own values: `np.str_` and others become plain."""
    return [
        label.item() if isinstance(label, np.generic) else label
        for label in labels.tolist()
    ]


def distinct(labels: "NDArray") -> "NDArray":
    """Return the different labels (K,): sorted or, of an Enum, as it defines them."""
    if labels.dtype != object:
        return np.unique(labels)
    found = set(labels.tolist())
    first = next(iter(found), None)
    if isinstance(first, Enum):
        ordered = [member for member in type(first) if member in found]
    else:
        try:
            ordered = sorted(found)
        except TypeError:  # of a type without an order
            ordered = sorted(found, key=repr)
    return np.fromiter(ordered, object, len(ordered))


def positions(labels: "NDArray", classes: "NDArray") -> "NDArray":
    """Return the index of each label (n,) among the classes (K,); -1 where it is none.

    Classes that are no objects are sorted.
    """
    is_text = [array.dtype.kind in "US" for array in (labels, classes)]
    if object in (labels.dtype, classes.dtype):
        index = {label: i for i, label in enumerate(classes.tolist())}
        return np.array([index.get(label, -1) for label in labels.tolist()], int)
    if is_text[0] != is_text[1]:  # NumPy would compare 1 and "1" as str
        return np.full(len(labels), -1)
    found = np.minimum(np.searchsorted(classes, labels), len(classes) - 1)
    return np.where(classes[found] == labels, found, -1)


def is_in_order(few: "NDArray", many: "NDArray") -> bool:
    """Return whether all of `few` are among `many`, in the same order."""
    places = positions(few.astype(object), many.astype(object))
    return bool((places >= 0).all() and (np.diff(places) > 0).all())


def join_classes(former: "NDArray", found: "NDArray") -> "NDArray":
    """Return all classes, those of the fit before and those found now, see `distinct`.

    Raises
    ------
    ValueError
        If they are of different kinds.
    """
    if np.array_equal(former, found) or not len(found):
        return former
    kinds = [kind_of(python_values(each)[0]) for each in (former, found)]
    if kinds[0] != kinds[1]:
        raise ValueError(
            f"y must hold labels of the kind of the fit before, {kinds[0]}, such as "
            f"{former.tolist()[0]!r}. Got {kinds[1]}, {found.tolist()[0]!r}, instead. "
            "To start afresh, call fit with warm_start=False."
        )
    if object in (former.dtype, found.dtype):
        former, found = former.astype(object), found.astype(object)
    return distinct(np.concatenate([former, found]))
