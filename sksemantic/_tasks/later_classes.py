"""The classes of a warm start: those of the fit before, and those added now."""

import warnings
from typing import TYPE_CHECKING

from sksemantic._inputs.label_values import join_classes, positions
from sksemantic._warnings import user_stacklevel

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MOST_SHOWN = 5


def classes_of_warm_start(
    former: "NDArray", found: "NDArray", named: "NDArray | None" = None
) -> "NDArray":
    """Return all classes (K,): of the fit before, of y, and those that have texts.

    Warn of classes of the fit before that y does not have: the model will forget them.

    Parameters
    ----------
    former : ndarray
        Classes of the fit before.
    found : ndarray
        The different labels of y.
    named : ndarray or None
        The labels of `label_texts`, which then decide.

    Raises
    ------
    ValueError
        If y has one label only, or none of the fit before, and if `named` lacks some.
    """
    classes = join_classes(former, found) if named is None else named
    unnamed = former[positions(former, classes) < 0].tolist()
    if unnamed:
        raise ValueError(
            "The 'label_texts' parameter must name every class of the fit before in a "
            f"warm start. Got {classes.tolist()}, without {unnamed[:_MOST_SHOWN]}. To "
            "start afresh, call fit with warm_start=False."
        )
    if not len(found):
        return classes
    is_absent = positions(former, found) < 0
    if is_absent.all():
        raise ValueError(
            "y must hold labels of the fit before in a warm start, and may hold new "
            f"ones beside them. Got {found.tolist()[:_MOST_SHOWN]} only; the classes "
            f"were {former.tolist()}, and would be forgotten. Pass texts of all "
            "classes or, to start afresh, call fit with warm_start=False."
        )
    if named is None and len(found) < 2:
        raise ValueError(
            "A classifier needs texts of at least two classes. Got one class only, "
            f"{found.tolist()}. In a warm start, too, pass texts of all classes."
        )
    absent = former[is_absent].tolist()
    if absent:
        warnings.warn(
            f"y has no text of {len(absent)} class(es) of the fit before, "
            f"{absent[:_MOST_SHOWN]}: the model may forget them, as it is trained on "
            "texts of the others alone. Pass texts of all classes; else silence this "
            "with warnings.filterwarnings('ignore', 'y has no text of').",
            UserWarning,
            stacklevel=user_stacklevel(),
        )
    return classes
