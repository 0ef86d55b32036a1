"""Which texts have no label, and who is told."""

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sksemantic._inputs.columns import name_rows
from sksemantic._warnings import user_stacklevel
from sksemantic.exceptions import UnlabelledWarning

if TYPE_CHECKING:
    from numpy.typing import NDArray


def missing_rows(y: "NDArray") -> "NDArray":
    """Return which entries of y (n,) are missing (n,), bool: None, NaN or NA."""
    return np.asarray(pd.isna(y), bool)


def labelled_rows(indicators: "NDArray") -> "NDArray | None":
    """Return the rows of indicators (n, n_labels) that are not NaN; None for all.

    The others are told as unlabelled texts.
    """
    has_none = np.isnan(indicators[:, 0])
    warn_of_missing_labels(has_none)
    return np.flatnonzero(~has_none) if has_none.any() else None


def warn_of_missing_labels(is_missing: "NDArray") -> None:
    """Say how many texts have no label (n,), if any: it may be a mistake."""
    missing = np.flatnonzero(is_missing).tolist()
    if not missing:
        return
    warnings.warn(
        f"y has no label (None, NaN or NA) for {len(missing)} of {len(is_missing)} "
        f"texts, the first in row(s) {name_rows(missing)}: they are read as unlabelled "
        "texts, whose classes nobody knows. If that is a mistake, drop these rows from "
        "X and y; else silence this with warnings.simplefilter('ignore', "
        "UnlabelledWarning).",
        UnlabelledWarning,
        stacklevel=user_stacklevel(),
    )


def warn_of_minus_one(is_minus_one: "NDArray") -> None:
    """Say that -1 is a class, where it may be meant to mark texts without a label."""
    n_texts, n_minus = len(is_minus_one), int(is_minus_one.sum())
    warnings.warn(
        f"y has -1 for {n_minus} of {n_texts} texts, which is read as a class of its "
        "own. To mark texts without a label put None in its place, for example "
        "[None if label == -1 else label for label in y]; if it is a class, silence "
        "this with warnings.simplefilter('ignore', UnlabelledWarning).",
        UnlabelledWarning,
        stacklevel=user_stacklevel(),
    )


def unlabelled_rows(y: Any) -> "NDArray":
    """Return which entries of y are -1 (n,), among labels of any kind."""
    values = y.tolist() if hasattr(y, "tolist") else list(y)
    return np.array([*map(_is_minus_one, values)], bool)


def _is_minus_one(label: Any) -> bool:
    """Whether a label is -1, as a number or a str."""
    label = label.item() if isinstance(label, np.generic) else label
    is_plain = isinstance(label, int | float | str) and not isinstance(label, bool)
    return is_plain and label in (-1, "-1")
