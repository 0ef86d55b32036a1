"""Checks of X, y and weights, made before any backbone is loaded."""

from collections.abc import Iterator
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
    "X must be a sequence of texts: a list, a tuple, a Series, a 1-D array of str, or "
    "a table with one column."
)


def check_texts(X: Any) -> list[str]:
    """Turn any accepted form of X into a list of str.

    Raises
    ------
    ValueError
        If X is one bare string, empty, has several columns or missing values.
    TypeError
        If X can be read only once, or holds anything but texts.
    """
    _refuse_containers(X)
    column = _single_column(X)
    for method in ("to_pylist", "to_list", "tolist"):
        if hasattr(column, method):
            column = getattr(column, method)()
            break
    texts = list(column)
    if not texts:
        raise ValueError(f"Found array with 0 sample(s): X is empty. {_EXPECTED}")
    if isinstance(texts[0], list | tuple):
        texts = [_only_entry(row, i) for i, row in enumerate(texts)]
    if not all(type(text) is str for text in texts):
        _refuse_non_texts(texts)
        texts = [str(text) for text in texts]  # np.str_ and other subclasses
    return texts


def _refuse_containers(X: Any) -> None:
    """Refuse what is not a sequence of rows at all."""
    if isinstance(X, str | bytes):
        raise ValueError(
            f"{_EXPECTED} Got a single {type(X).__name__} instead. Pass [X] for one "
            "text."
        )
    if isinstance(X, Iterator):
        raise TypeError(
            f"{_EXPECTED} Got {type(X).__name__} instead, which can be read only once, "
            "while texts are counted, tokenised and sorted. Pass list(X)."
        )
    if hasattr(X, "toarray") or isinstance(X, dict | set) or not hasattr(X, "__len__"):
        raise TypeError(f"{_EXPECTED} Got {type(X).__name__} instead.")
    if getattr(X, "shape", None) == ():
        raise ValueError(f"{_EXPECTED} Got a 0-dimensional array instead.")


def _single_column(X: Any) -> Any:
    """Return the only column of a table, or X itself if it is no table."""
    shape: tuple[int, ...] = getattr(X, "shape", ())
    if len(shape) < 2:
        return X
    if len(shape) > 2 or shape[1] != 1:
        raise ValueError(
            f"{_EXPECTED} Got shape {tuple(shape)} instead. Select the text column, "
            "for example X['text'], or join columns into one text first."
        )
    for accessor in ("iloc", "to_series", "column"):  # pandas, polars, pyarrow
        if hasattr(X, accessor):
            attribute = getattr(X, accessor)
            return attribute[:, 0] if accessor == "iloc" else attribute(0)
    return X[:, 0]


def _only_entry(row: Any, i: int) -> Any:
    if not isinstance(row, list | tuple) or len(row) != 1:
        size = len(row) if hasattr(row, "__len__") else 1
        raise ValueError(
            f"{_EXPECTED} Row {i} has {size} entries instead of one text. Join them "
            "into one text first."
        )
    return row[0]


def _refuse_non_texts(texts: list[Any]) -> None:
    """Name the first rows that are missing or not str."""
    import pandas as pd

    missing = [i for i, text in enumerate(texts) if _is_missing(pd, text)]
    if missing:
        raise ValueError(
            f"X contains {len(missing)} missing values (None, NaN or NA), the first in "
            f"row(s) {_rows(missing)}. Input X contains NaN. Drop these rows or fill "
            "them, for example with X.fillna(''): empty texts are legal."
        )
    other = [i for i, text in enumerate(texts) if not isinstance(text, str)]
    if other:
        first = texts[other[0]]
        hint = " Decode bytes first." if isinstance(first, bytes) else ""
        raise TypeError(
            f"{_EXPECTED} Got {type(first).__name__} ({first!r:.60}) in row {other[0]} "
            f"instead; {len(other)} row(s) are not str: {_rows(other)}.{hint}"
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


def check_targets(y: Any, n_texts: int) -> "NDArray":
    """Return y as a 1-D float array of finite numbers.

    Raises
    ------
    ValueError
        If y is missing, has another length than X, or anything but finite numbers.
    """
    y = _one_dimensional(y, n_texts)
    if y.dtype.kind in "USO" and any(isinstance(value, str) for value in y.tolist()):
        raise ValueError(
            "y must hold numbers for a regressor. Got str instead. Use "
            "SKTuningClassifier for labels, or convert them: y.astype(float)."
        )
    return check_array(
        y, ensure_2d=False, dtype=np.float64, input_name="y", ensure_all_finite=True
    )


def _one_dimensional(y: Any, n_texts: int) -> "NDArray":
    if y is None:
        raise ValueError(
            "This estimator requires y to be passed, but the target y is None."
        )
    y = column_or_1d(np.asarray(y), warn=True)
    check_consistent_length(range(n_texts), y)
    return y


def check_weights(sample_weight: Any, texts: list[str]) -> "NDArray | None":
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
