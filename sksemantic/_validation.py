"""Checks of X, y and weights, made before any backbone is loaded."""

from collections.abc import Iterator, Sized
from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    _check_feature_names,
    _check_n_features,
    _check_sample_weight,
    check_array,
    check_consistent_length,
    column_or_1d,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from sklearn.base import BaseEstimator

    from sksemantic._resolution import BackboneSource

_SHOWN_ROWS = 5
_EXPECTED = (
    "X must be a sequence of texts (a list, a tuple, a Series, a 1-D array of str) or, "
    "for several texts a row, a table or a sequence of tuples."
)

_WORDS_EXPECTED = (
    "X must be a sequence of texts, each a list of words or one str, which is split at "
    "white space."
)


@dataclass(frozen=True)
class Columns:
    """The texts of X: one column, or several where a row has several texts.

    Attributes
    ----------
    values : list of list of str
        The columns, of one length.
    names : tuple of str or None
        What they are called in a table with named columns.
    """

    values: list[list[str]]
    names: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.values[0])

    def take(self, rows: "NDArray") -> "Columns":
        """Return the rows at these indices."""
        values = [[column[i] for i in rows] for column in self.values]
        return Columns(values, self.names)

    @property
    def n_columns(self) -> int:
        """How many texts a row has."""
        return len(self.values)


def check_texts(X: Any) -> Columns:
    """Turn any accepted form of X into columns of str.

    Raises
    ------
    ValueError
        If X is one bare string, empty, ragged or has missing values.
    TypeError
        If X can be read only once, or holds anything but texts.
    """
    _refuse_containers(X)
    raw, names = _split_columns(X)
    if not raw or not raw[0]:
        raise ValueError(f"Found array with 0 sample(s): X is empty. {_EXPECTED}")
    values = []
    for i, texts in enumerate(raw):
        if not all(type(text) is str for text in texts):
            named = names is not None and len(raw) > 1
            place = f" of column {names[i]!r}" if named and names is not None else ""
            place = place or (f" of column {i}" if len(raw) > 1 else "")
            _refuse_non_texts(texts, place)
            texts = [str(text) for text in texts]  # np.str_ and other subclasses
        values.append(texts)
    return Columns(values, names)


def _refuse_containers(X: Any, expected: str = _EXPECTED) -> None:
    """Refuse what is not a sequence of rows at all."""
    if isinstance(X, str | bytes):
        raise ValueError(
            f"{expected} Got a single {type(X).__name__} instead. Pass [X] for one "
            "text."
        )
    if isinstance(X, Iterator):
        raise TypeError(
            f"{expected} Got {type(X).__name__} instead, which can be read only once, "
            "while texts are counted, tokenised and sorted. Pass list(X)."
        )
    if hasattr(X, "toarray") or isinstance(X, dict | set) or not hasattr(X, "__len__"):
        raise TypeError(f"{expected} Got {type(X).__name__} instead.")
    if getattr(X, "shape", None) == ():
        raise ValueError(f"{expected} Got a 0-dimensional array instead.")


def _split_columns(X: Any) -> tuple[list[list[Any]], tuple[str, ...] | None]:
    """Return the columns of X as lists, and their names if all are str."""
    shape: tuple[int, ...] = getattr(X, "shape", ())
    if len(shape) > 2:
        raise ValueError(f"{_EXPECTED} Got shape {tuple(shape)} instead.")
    if len(shape) == 2:
        columns = [_as_list(_column(X, i)) for i in range(shape[1])]
        return columns, _column_names(X)
    rows = _as_list(X)
    if rows and isinstance(rows[0], list | tuple | np.ndarray):
        return _transposed(rows), None
    return [rows], None


def _column(X: Any, i: int) -> Any:
    """Return a column of a table."""
    for accessor in ("iloc", "to_series", "column"):  # pandas, polars, pyarrow
        if hasattr(X, accessor):
            attribute = getattr(X, accessor)
            return attribute[:, i] if accessor == "iloc" else attribute(i)
    return X[:, i]


def _column_names(X: Any) -> tuple[str, ...] | None:
    """Return the names of a table's columns, if it has any and all are str."""
    names = getattr(X, "column_names", None)  # pyarrow
    if names is None:
        names = getattr(X, "columns", None)
    if names is None or not all(isinstance(name, str) for name in names):
        return None
    return tuple(map(str, names))


def _as_list(column: Any) -> list[Any]:
    for method in ("to_pylist", "to_list", "tolist"):
        if hasattr(column, method):
            return list(getattr(column, method)())
    return list(column)


def _transposed(rows: list[Any]) -> list[list[Any]]:
    """Turn rows of several texts into columns."""
    wanted = len(rows[0])
    for i, row in enumerate(rows):
        is_row = isinstance(row, list | tuple | np.ndarray)
        if wanted == 0 or not is_row or len(row) != wanted:
            got = f"{len(row)} entries" if is_row else f"a {type(row).__name__}"
            raise ValueError(
                f"{_EXPECTED} Row {i} has {got} instead of "
                f"{max(wanted, 1)} text(s), as the first row has. Every row needs the "
                "same number of texts."
            )
    return [list(column) for column in zip(*rows, strict=True)]


def _refuse_non_texts(texts: list[Any], place: str = "") -> None:
    """Name the first rows that are missing or not str."""
    import pandas as pd

    missing = [i for i, text in enumerate(texts) if _is_missing(pd, text)]
    if missing:
        raise ValueError(
            f"X contains {len(missing)} missing values (None, NaN or NA), the first in "
            f"row(s) {_rows(missing)}{place}. Input X contains NaN. Drop these rows or "
            "fill them, for example with X.fillna(''): empty texts are legal."
        )
    other = [i for i, text in enumerate(texts) if not isinstance(text, str)]
    if other:
        first = texts[other[0]]
        hint = " Decode bytes first." if isinstance(first, bytes) else ""
        raise TypeError(
            f"{_EXPECTED} Got {type(first).__name__} ({first!r:.60}) in row {other[0]}"
            f"{place} instead; {len(other)} row(s) are not str: {_rows(other)}.{hint}"
        )


def _is_missing(pd: Any, value: Any) -> bool:
    return value is None or (np.ndim(value) == 0 and pd.isna(value) is True)


def _rows(rows: list[int]) -> str:
    return ", ".join(map(str, rows[:_SHOWN_ROWS])) + (
        ", ..." if len(rows) > _SHOWN_ROWS else ""
    )


def check_columns(estimator: "BaseEstimator", X: Any, *, reset: bool) -> None:
    """Set or compare `n_features_in_` and `feature_names_in_`, for tables only."""
    if reset:
        for name in ("n_features_in_", "feature_names_in_"):
            estimator.__dict__.pop(name, None)
    is_table = len(getattr(X, "shape", ())) == 2
    if is_table and (reset or hasattr(estimator, "n_features_in_")):
        _check_feature_names(estimator, X, reset=reset)
        _check_n_features(estimator, X, reset=reset)


def check_labels(y: Any, n_texts: int) -> "NDArray":
    """Return y as a 1-D array of labels without missing values.

    Raises
    ------
    ValueError
        If y is missing, has another length than X, missing labels, or is continuous.
    """
    y = _one_dimensional(y, n_texts)
    import pandas as pd

    missing = np.flatnonzero(pd.isna(y)).tolist()
    if missing:
        raise ValueError(
            f"Input y contains NaN: {len(missing)} labels are missing, the first in "
            f"row(s) {_rows(missing)}. Drop these rows from X and y."
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


def check_words(X: Any) -> list[list[str]]:
    """Turn texts, split or not, into lists of words.

    Raises
    ------
    ValueError
        If X is one bare string, empty, or has missing values.
    TypeError
        If X holds anything but texts or lists of words.
    """
    _refuse_containers(X, _WORDS_EXPECTED)
    shape: tuple[int, ...] = getattr(X, "shape", ())
    if len(shape) >= 2:
        if shape[1:] != (1,):
            raise ValueError(f"{_WORDS_EXPECTED} Got shape {tuple(shape)} instead.")
        X = _column(X, 0)
    texts = [_words_of(text, i) for i, text in enumerate(_as_list(X))]
    if not texts:
        raise ValueError(f"Found array with 0 sample(s): X is empty. {_WORDS_EXPECTED}")
    return texts


def _words_of(text: Any, i: int) -> list[str]:
    """Return the words of the text in row i."""
    if isinstance(text, str):
        return text.split()
    if not isinstance(text, list | tuple | np.ndarray):
        raise TypeError(
            f"{_WORDS_EXPECTED} Got {type(text).__name__} ({text!r:.60}) in row {i} "
            "instead."
        )
    for place, word in enumerate(text):
        if not isinstance(word, str):
            raise TypeError(
                f"{_WORDS_EXPECTED} Got {type(word).__name__} ({word!r:.60}) as word "
                f"{place} of row {i} instead."
            )
    return [str(word) for word in text]


def check_word_labels(y: Any, texts: list[list[str]]) -> list[list[Any]]:
    """Return the labels of each text's words as lists.

    Raises
    ------
    ValueError
        If y is not one list of labels for each text, of the length of its words, or
        mixes str and numbers.
    """
    expected = "y must be a sequence of lists of labels, one label for each word."
    if y is None:
        raise ValueError(
            "This estimator requires y to be passed, but the target y is None."
        )
    if isinstance(y, str | bytes) or not hasattr(y, "__len__"):
        raise ValueError(f"{expected} Got {type(y).__name__} instead.")
    rows = _as_list(y)
    check_consistent_length(texts, rows)
    labels: list[list[Any]] = []
    for i, (row, words) in enumerate(zip(rows, texts, strict=True)):
        if isinstance(row, np.ndarray):
            row = row.tolist()
        if not isinstance(row, list | tuple):
            raise ValueError(
                f"{expected} Got {type(row).__name__} ({row!r:.60}) in row {i} instead."
            )
        if len(row) != len(words):
            raise ValueError(
                f"{expected} Row {i} has {len(words)} words and {len(row)} labels: "
                f"{words[:_SHOWN_ROWS]}... and {list(row[:_SHOWN_ROWS])}..."
            )
        labels.append(list(row))
    kinds = {
        "str" if isinstance(label, str) else "int" if _is_int(label) else "other"
        for row in labels
        for label in row
    }
    if "other" in kinds or len(kinds) > 1:
        bad = next(
            (i, label)
            for i, row in enumerate(labels)
            for label in row
            if not isinstance(label, str) and ("str" in kinds or not _is_int(label))
        )
        raise ValueError(
            "y must hold labels of one kind, all str or all int. Got "
            f"{type(bad[1]).__name__} ({bad[1]!r}) in row {bad[0]} instead."
        )
    return labels


def _is_int(label: Any) -> bool:
    return isinstance(label, Integral)


def check_targets(y: Any, n_texts: int) -> "NDArray":
    """Return y as a float array (n,) or (n, n_targets) of finite numbers.

    Raises
    ------
    ValueError
        If y is missing, has another length than X, or anything but finite numbers.
    """
    found = np.asarray(y)
    is_table = found.ndim == 2 and found.shape[1] > 1
    y = found if is_table else _one_dimensional(y, n_texts)
    check_consistent_length(range(n_texts), y)
    if y.dtype.kind in "USO" and any(isinstance(value, str) for value in y.flat):
        raise ValueError(
            "y must hold numbers for a regressor. Got str instead. Use "
            "SKTuningClassifier for labels, or convert them: y.astype(float)."
        )
    return check_array(
        y, ensure_2d=False, dtype=np.float64, input_name="y", ensure_all_finite=True
    )


def check_label_texts(label_texts: dict) -> "tuple[NDArray, list[list[str]]]":
    """Return the labels, sorted, and the texts of each.

    Raises
    ------
    ValueError
        If there are fewer than two labels, labels of mixed kinds, or a label without
        any text.
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
    found = {}
    for label, given in zip(labels.tolist(), label_texts.values(), strict=True):
        texts = [given] if isinstance(given, str) else given
        is_list = isinstance(texts, list | tuple) and len(texts) > 0
        if not is_list or not all(isinstance(t, str) and t.strip() for t in texts):
            raise ValueError(f"{expected} Got {given!r} for the label {label!r}.")
        found[label] = [text.strip() for text in texts]
    labels = np.unique(labels)
    return labels, [found[label] for label in labels.tolist()]


def unlabelled_rows(y: Any) -> "NDArray":
    """Return which entries of y are -1 (n,), among labels of any kind."""
    values = y.tolist() if hasattr(y, "tolist") else list(y)
    return np.array(
        [not isinstance(v, bool) and (v == -1 or v == "-1") for v in values], bool
    )


def check_indicators(y: Any, n_texts: int) -> "NDArray | None":
    """Return y as indicators (n, n_labels) of float32, or None if it is no table.

    Raises
    ------
    ValueError
        If y has another length than X, holds sets of labels, or anything but 0 and 1.
    """
    if hasattr(y, "toarray"):
        y = y.toarray()
    first = y[0] if isinstance(y, list | tuple) and len(y) else None
    if isinstance(first, set | frozenset):
        raise ValueError(
            "y must be an indicator matrix of shape (n_samples, n_labels) for several "
            "labels a text. Got sets of labels instead. Convert them: "
            "MultiLabelBinarizer().fit_transform(y)."
        )
    if isinstance(first, list | tuple) and len({len(row) for row in y}) > 1:
        raise ValueError(
            "y must be an indicator matrix of shape (n_samples, n_labels) for several "
            "labels a text. Got lists of different lengths instead. Convert them: "
            "MultiLabelBinarizer().fit_transform(y)."
        )
    values = np.asarray(y)
    if values.ndim != 2 or values.shape[1] < 2:
        return None
    check_consistent_length(range(n_texts), values)
    import pandas as pd

    missing = np.flatnonzero(pd.isna(values).any(axis=1)).tolist()
    if missing:
        raise ValueError(
            f"Input y contains NaN: {len(missing)} rows lack an indicator, the first "
            f"row(s) {_rows(missing)}. Drop these rows from X and y."
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


def _one_dimensional(y: Any, n_texts: int) -> "NDArray":
    if y is None:
        raise ValueError(
            "This estimator requires y to be passed, but the target y is None."
        )
    y = column_or_1d(np.asarray(y), warn=True)
    check_consistent_length(range(n_texts), y)
    return y


def check_weights(sample_weight: Any, texts: "Sized") -> "NDArray | None":
    """Return finite, non-negative weights (n,) as float32, or None.

    Raises
    ------
    ValueError
        If the weights are not one number >= 0 for each text.
    """
    if sample_weight is None:
        return None
    weights = _check_sample_weight(
        sample_weight, np.empty((len(texts), 1)), dtype=np.float64
    )
    if (weights < 0).any():
        row = int(np.argmax(weights < 0))
        raise ValueError(
            "sample_weight must not be negative. Negative values in data passed to "
            f"`sample_weight`: got {weights[row]} in row {row} instead."
        )
    if not weights.sum() > 0:
        raise ValueError("sample_weight must not be all zero: no text would count.")
    return weights.astype(np.float32)


def check_groups(groups: Any, texts: "Sized") -> "NDArray | None":
    """Return the group of each text (n,), or None.

    Raises
    ------
    ValueError
        If there is not one group for each text, or only one in all.
    """
    if groups is None:
        return None
    groups = column_or_1d(np.asarray(groups))
    check_consistent_length(range(len(texts)), groups)
    if len(np.unique(groups)) < 2:
        raise ValueError(
            "groups must name at least two groups: whole groups of texts are held "
            "back. Got one only."
        )
    return groups


def check_quantization(config: Any, source: "BackboneSource") -> dict[str, Any] | None:
    """Return a quantization config of transformers as a dictionary.

    Raises
    ------
    ValueError
        If it does not say by which method, or the weights are packed already.
    """
    if config is None:
        return None
    values = dict(config) if isinstance(config, dict) else config.to_dict()
    if "quant_method" not in values:
        raise ValueError(
            "The 'quantization_config' parameter must name its 'quant_method', as "
            f"transformers' own configs do. Got {config!r} instead."
        )
    if source.gguf_file is not None:
        raise ValueError(
            "The 'quantization_config' parameter must be None for a GGUF file, which "
            f"is quantized already ({source.gguf_file}). Got {config!r} instead."
        )
    return values


def check_tuned_layers(tuned_layers: Any) -> None:
    """Refuse a range of layers that is none.

    Raises
    ------
    ValueError
    """
    if not isinstance(tuned_layers, tuple | list):
        return
    is_range = len(tuned_layers) == 2 and all(
        isinstance(bound, Integral) and not isinstance(bound, bool)
        for bound in tuned_layers
    )
    if not (is_range and 0 <= tuned_layers[0] < tuned_layers[1]):
        raise ValueError(
            "The 'tuned_layers' parameter must be 'all', a number of layers, or a pair "
            "of the first layer and the one behind the last, counted from 0 at the "
            f"bottom, such as (4, 16). Got {tuned_layers!r} instead."
        )
