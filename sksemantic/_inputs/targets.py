"""Checks of y and of parameters about labels, made before a backbone is loaded."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_array, check_consistent_length, column_or_1d

from sksemantic._inputs.columns import (
    name_rows,
    names_of_columns,
)
from sksemantic._inputs.label_values import (
    check_one_kind,
    flat_objects,
    python_values,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LARGEST_TARGET = 1e100
_INDICATORS = (
    "y must be an indicator matrix of shape (n_samples, n_labels) for several labels a "
    "text."
)


def check_labels(y: Any, n_texts: int) -> "NDArray":
    """Return y as a 1-D array of labels; refuse missing, mixed and continuous ones."""
    y = _one_dimensional(y, n_texts)
    missing = np.flatnonzero(pd.isna(y)).tolist()
    if missing:
        raise ValueError(
            f"Input y contains NaN: {len(missing)} labels are missing, the first in "
            f"row(s) {name_rows(missing)}. "
            + (
                "Label some texts, or say what the labels are called: 'label_texts'."
                if len(missing) == n_texts
                else "Drop these rows from X and y."
            )
        )
    for i, label in enumerate(y.tolist() if y.dtype == object else ()):
        if _is_set(label) or np.ndim(label):
            raise ValueError(
                f"{_INDICATORS} Got a {type(label).__name__} in row {i} instead. "
                "Convert them: MultiLabelBinarizer().fit_transform(y)."
            )
    if y.dtype == object:
        labels = python_values(y)
        kind = check_one_kind(labels)
        if kind not in ("str", "number", "bytes"):
            return np.fromiter(labels, object, len(labels))
        y = np.array(labels)
    if y.dtype.kind == "S":  # as newer releases of scikit-learn do
        raise TypeError(
            "y must hold labels that are no bytes. Decode them: "
            "[label.decode() for label in y]."
        )
    if y.dtype.kind == "f" and np.isinf(y).any():
        raise ValueError("Input y contains infinity; labels must be finite.")
    _refuse_fractions(y)
    check_classification_targets(y)
    return y


def _refuse_fractions(y: "NDArray") -> None:
    """Refuse numbers with fractions: scikit-learn's scores take them for no labels."""
    if y.dtype.kind == "f" and (fractions := np.flatnonzero(y % 1)).size:
        i = fractions[0]
        raise ValueError(
            f"Unknown label type: continuous. Got {y[i]:g} in row {i}. Numbers are for "
            "SKTuningRegressor; labels with halves and the like, ordered ones too, are "
            "labels as whole numbers or as str."
        )


def check_targets(y: Any, n_texts: int) -> "NDArray":
    """Return y as floats (n,) or (n, n_targets); refuse all but finite numbers."""
    array = as_array(y)
    is_table = array.ndim == 2 and array.shape[1] > 1
    y = array if is_table else _one_dimensional(y, n_texts)
    check_consistent_length(range(n_texts), y)
    if y.dtype.kind in "mM":
        raise ValueError(
            f"y must hold numbers for a regressor. Got {y.dtype} instead. Convert it, "
            "for example to days: y / np.timedelta64(1, 'D')."
        )
    if y.dtype.kind in "USO" and any(isinstance(value, str) for value in y.flat):
        raise ValueError(
            "y must hold numbers for a regressor. Got str instead. Use "
            "SKTuningClassifier for labels, or convert them: y.astype(float)."
        )
    y = check_array(
        y, ensure_2d=False, dtype=np.float64, input_name="y", ensure_all_finite=True
    )
    size = np.abs(y).reshape(len(y), -1).max(axis=1, initial=0)
    if size.max(initial=0) > _LARGEST_TARGET:
        raise ValueError(
            f"y must hold numbers of at most {_LARGEST_TARGET:g} in size, as their "
            f"squares are summed up. Got {size.max():g} in row {size.argmax()} instead."
        )
    return y


def check_indicators(y: Any, n_texts: int) -> "NDArray | None":
    """Return y as indicators (n, n_labels) of float32, or None if it is no table.

    A row without any value is NaN in all columns. Refuse sets of labels, a row with
    some values missing, and a table of anything but 0 and 1.
    """
    rows = [row for row in y if row is not None] if isinstance(y, list | tuple) else []
    first = rows[0] if rows else None
    is_set = _is_set(first)
    is_ragged = isinstance(first, list | tuple) and len({*map(np.size, rows)}) > 1
    if is_set or is_ragged:
        problem = "sets of labels" if is_set else "lists of different lengths"
        raise ValueError(
            f"{_INDICATORS} Got {problem} instead. Convert them: "
            "MultiLabelBinarizer().fit_transform(y)."
        )
    values = as_array(_with_whole_rows(y))
    if values.ndim != 2 or values.shape[1] < 2:
        return None
    check_consistent_length(range(n_texts), values)
    is_missing = pd.isna(values)
    has_none = is_missing.all(axis=1)
    partly = np.flatnonzero(is_missing.any(axis=1) & ~has_none).tolist()
    if partly:
        raise ValueError(
            f"Input y contains NaN: {len(partly)} row(s) lack an indicator and have "
            f"others, the first in row(s) {name_rows(partly)}. Got "
            f"{values[partly[0]].tolist()} in row {partly[0]}. Fill in what is "
            "missing, or all of the row with NaN for a text without labels."
        )
    if has_none.all():
        raise ValueError(
            f"Input y contains NaN: all {n_texts} rows are missing. Some texts need "
            "labels."
        )
    known = np.flatnonzero(~has_none)
    bad = known[~np.isin(values[known], (0, 1)).all(axis=1)].tolist()
    if bad:
        raise ValueError(
            f"y of shape {values.shape} must be an indicator matrix of 0 and 1. Got "
            f"{values[bad[0]].tolist()} in row {bad[0]} instead. Several classes at "
            "once (multi-output) are one SKTuningClassifier each; numbers are for "
            "SKTuningRegressor."
        )
    indicators = np.full(values.shape, np.nan, np.float32)
    indicators[known] = values[known]
    return indicators


def column_names(y: Any) -> "NDArray | None":
    """Return the names (n_labels,) of a table's columns, if it has any."""
    names = names_of_columns(y)
    return None if names is None else np.array([*map(str, names)], dtype=object)


def check_threshold(threshold: Any, n_labels: int | None) -> "NDArray":
    """Return the threshold, or those of `n_labels` labels, all between 0 and 1."""
    values = np.asarray(threshold, dtype=float)
    shape = () if n_labels is None else (n_labels,)
    if values.shape not in ((), shape) or not ((values > 0) & (values < 1)).all():
        raise ValueError(
            "The 'threshold' parameter must be one number between 0 and 1"
            + (f", or {n_labels} of them" if n_labels else "")
            + f". Got {threshold!r} instead."
        )
    return values


def take_labels(y: Any, rows: "NDArray") -> "NDArray":
    """Return some labels as an array; integers beside missing ones stay such."""
    if isinstance(y, pd.Series):
        return as_array(y.iloc[rows])
    return as_array(y)[rows]


def as_array(y: Any) -> "NDArray":
    """Return y as a dense array; refuse masked values."""
    if hasattr(y, "toarray"):
        y = y.toarray()
    if np.ma.isMaskedArray(y) and np.ma.count_masked(y):
        raise ValueError(
            f"Input y contains NaN: {np.ma.count_masked(y)} values are masked. Drop "
            "these rows from X and y."
        )
    objects = flat_objects(y)
    array = np.asarray(y) if objects is None else objects
    return array.astype(object) if array.dtype.kind == "T" else array


def _with_whole_rows(y: Any) -> Any:
    """Return y with a row of missing values for each row of a list that is None."""
    if not isinstance(y, list | tuple):
        return y
    rows = [row for row in y if isinstance(row, list | tuple)]
    if not rows or len(rows) == len(y):
        return y
    nothing = [None] * len(rows[0])
    return [nothing if row is None else row for row in y]


def _is_set(value: Any) -> bool:
    return isinstance(value, set | frozenset)


def _one_dimensional(y: Any, n_texts: int) -> "NDArray":
    """Return y as an array (n,) of the length of X."""
    refuse_none(y)
    y = column_or_1d(as_array(y), warn=True)
    check_consistent_length(range(n_texts), y)
    return y


def refuse_none(y: Any) -> None:
    if y is None:
        raise ValueError(
            "This estimator requires y to be passed, but the target y is None."
        )
