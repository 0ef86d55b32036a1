"""Checks of y and of parameters about labels, made before a backbone is loaded."""

from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_array, check_consistent_length, column_or_1d

from sksemantic._inputs.columns import SHOWN_ROWS, as_list, name_rows, refuse_surrogates

if TYPE_CHECKING:
    from numpy.typing import NDArray

_WORD_LABELS = "y must be a sequence of lists of labels, one label for each word."
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
            f"row(s) {name_rows(missing)}. Drop these rows from X and y."
        )
    for i, label in enumerate(y.tolist() if y.dtype == object else ()):
        if _is_set(label) or np.ndim(label):
            raise ValueError(
                f"{_INDICATORS} Got a {type(label).__name__} in row {i} instead. "
                "Convert them: MultiLabelBinarizer().fit_transform(y)."
            )
    kinds = {type(label).__name__ for label in y.tolist()}
    if len(kinds) > 1 and "str" in kinds:
        raise ValueError(
            "y must hold labels of one kind, all str or all numbers. Got a mix of "
            f"{', '.join(sorted(kinds))} instead."
        )
    if y.dtype == object:
        y = np.array(y.tolist())  # object columns of str, int or bool
    if y.dtype.kind == "f" and np.isinf(y).any():
        raise ValueError("Input y contains infinity; labels must be finite.")
    check_classification_targets(y)
    return y


def check_word_labels(y: Any, texts: list[list[str]]) -> list[list[Any]]:
    """Return the labels of each text's words: one for each word, all str or all int."""
    _refuse_none(y)
    if isinstance(y, str | bytes) or not hasattr(y, "__len__"):
        raise ValueError(f"{_WORD_LABELS} Got {type(y).__name__} instead.")
    rows = as_list(y)
    check_consistent_length(texts, rows)
    labels = [_labels_of(row, texts[i], i) for i, row in enumerate(rows)]
    flat = [(i, label) for i, row in enumerate(labels) for label in row]
    kind = str if any(isinstance(label, str) for _, label in flat) else Integral
    for i, label in flat:
        if not isinstance(label, kind):
            raise ValueError(
                "y must hold labels of one kind, all str or all int. Got "
                f"{type(label).__name__} ({label!r}) in row {i} instead."
            )
    return labels


def _labels_of(row: Any, words: list[str], i: int) -> list[Any]:
    """Return the labels of the text in row i."""
    row = row.tolist() if isinstance(row, np.ndarray) else row
    if not isinstance(row, list | tuple):
        raise ValueError(
            f"{_WORD_LABELS} Got {type(row).__name__} ({row!r:.60}) in row {i} instead."
        )
    if len(row) != len(words):
        raise ValueError(
            f"{_WORD_LABELS} Row {i} has {len(words)} words and {len(row)} labels: "
            f"{words[:SHOWN_ROWS]}... and {list(row[:SHOWN_ROWS])}..."
        )
    return list(row)


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
    return check_array(
        y, ensure_2d=False, dtype=np.float64, input_name="y", ensure_all_finite=True
    )


def check_indicators(y: Any, n_texts: int) -> "NDArray | None":
    """Return y as indicators (n, n_labels) of float32, or None if it is no table.

    Refuse sets of labels, and a table of anything but 0 and 1.
    """
    first = y[0] if isinstance(y, list | tuple) and len(y) else None
    is_set = _is_set(first)
    if is_set or (isinstance(first, list | tuple) and len({len(row) for row in y}) > 1):
        problem = "sets of labels" if is_set else "lists of different lengths"
        raise ValueError(
            f"{_INDICATORS} Got {problem} instead. Convert them: "
            "MultiLabelBinarizer().fit_transform(y)."
        )
    values = as_array(y)
    if values.ndim != 2 or values.shape[1] < 2:
        return None
    check_consistent_length(range(n_texts), values)
    missing = np.flatnonzero(pd.isna(values).any(axis=1)).tolist()
    if missing:
        raise ValueError(
            f"Input y contains NaN: {len(missing)} rows lack an indicator, the first "
            f"row(s) {name_rows(missing)}. Drop these rows from X and y."
        )
    bad = np.flatnonzero(~np.isin(values, (0, 1)).all(axis=1)).tolist()
    if bad:
        raise ValueError(
            f"y of shape {values.shape} must be an indicator matrix of 0 and 1. Got "
            f"{values[bad[0]].tolist()} in row {bad[0]} instead. Several classes at "
            "once (multi-output) are one SKTuningClassifier each; numbers are for "
            "SKTuningRegressor."
        )
    return values.astype(np.float32)


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


def check_label_texts(label_texts: dict) -> "tuple[NDArray, list[list[str]]]":
    """Return the labels, sorted, and the texts of each.

    Refuse fewer than two labels, labels of mixed kinds, and one without any text.
    """
    expected = (
        "The 'label_texts' parameter must map every label to a text, or to a list of "
        "texts, such as {0: 'terrible', 1: 'great'}."
    )
    if len(label_texts) < 2:
        raise ValueError(f"{expected} Got {len(label_texts)} label(s) only.")
    keys = np.empty(len(label_texts), dtype=object)
    keys[:] = [*label_texts]
    labels = check_labels(keys, len(label_texts))
    texts_of = {}
    for label, given in zip(labels.tolist(), label_texts.values(), strict=True):
        texts = [given] if isinstance(given, str) else given
        is_list = isinstance(texts, list | tuple) and len(texts) > 0
        if not is_list or not all(isinstance(t, str) and t.strip() for t in texts):
            raise ValueError(f"{expected} Got {given!r} for the label {label!r}.")
        for text in texts:
            refuse_surrogates(text, f"the 'label_texts' parameter, label {label!r}")
        texts_of[label] = [text.strip() for text in texts]
    labels = np.unique(labels)
    return labels, [texts_of[label] for label in labels.tolist()]


def refuse_unnamed(labels: "NDArray", named: "NDArray") -> None:
    """Refuse labels (n,) that are not among the `named` ones (K,)."""
    if len(labels) and (labels.dtype.kind in "US") != (named.dtype.kind in "US"):
        raise ValueError(
            "The 'label_texts' parameter must have the labels of y as keys, of the "
            f"same kind. Got {named.tolist()} for the labels "
            f"{np.unique(labels).tolist()[:5]}, which never occur in it."
        )
    unnamed = np.setdiff1d(labels, named)
    if len(unnamed):
        raise ValueError(
            "The 'label_texts' parameter must name every label of y. Got "
            f"{named.tolist()}, without {unnamed.tolist()[:5]}. Unlabelled texts "
            "have the label -1."
        )


def unlabelled_rows(y: Any) -> "NDArray":
    """Return which entries of y are -1 (n,), among labels of any kind."""
    values = y.tolist() if hasattr(y, "tolist") else list(y)
    return np.array(
        [not isinstance(v, bool) and (v == -1 or v == "-1") for v in values], bool
    )


def as_array(y: Any) -> "NDArray":
    """Return y as a dense array; refuse masked values."""
    if hasattr(y, "toarray"):
        y = y.toarray()
    if np.ma.isMaskedArray(y) and np.ma.count_masked(y):
        raise ValueError(
            f"Input y contains NaN: {np.ma.count_masked(y)} values are masked. Drop "
            "these rows from X and y."
        )
    array = np.asarray(y)
    return array.astype(object) if array.dtype.kind == "T" else array


def _is_set(value: Any) -> bool:
    return isinstance(value, set | frozenset)


def _one_dimensional(y: Any, n_texts: int) -> "NDArray":
    """Return y as an array (n,) of the length of X."""
    _refuse_none(y)
    y = column_or_1d(as_array(y), warn=True)
    check_consistent_length(range(n_texts), y)
    return y


def _refuse_none(y: Any) -> None:
    if y is None:
        raise ValueError(
            "This estimator requires y to be passed, but the target y is None."
        )
