"""Checks of y, weights and parameters, made before any backbone is loaded."""

from collections.abc import Sized
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

from sksemantic._inputs.columns import SHOWN_ROWS, as_list, name_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from sklearn.base import BaseEstimator

    from sksemantic._backbone.source import BackboneSource


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
            f"row(s) {name_rows(missing)}. Drop these rows from X and y."
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
    rows = as_list(y)
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
                f"{words[:SHOWN_ROWS]}... and {list(row[:SHOWN_ROWS])}..."
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


def refuse_unnamed(labels: "NDArray", named: "NDArray") -> None:
    """Refuse labels without a text, and texts of labels that cannot occur.

    Raises
    ------
    ValueError
        If the labels (n,) are not all among the `named` ones (K,).
    """
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


def check_threshold(threshold: Any, n_labels: int | None) -> "NDArray":
    """Return the threshold, or those of `n_labels` labels, as an array.

    Raises
    ------
    ValueError
        If they are not between 0 and 1, or as many as there are labels.
    """
    found = np.asarray(threshold, dtype=float)
    wanted = () if n_labels is None else (n_labels,)
    if found.shape not in ((), wanted) or not ((found > 0) & (found < 1)).all():
        raise ValueError(
            "The 'threshold' parameter must be one number between 0 and 1"
            + (f", or {n_labels} of them" if n_labels else "")
            + f". Got {threshold!r} instead."
        )
    return found


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


def refuse_prefix_only(name: str, value: Any, *accepted: Any, also: Any = None) -> None:
    """Refuse what the prompt method has no use for; `also` is accepted unmentioned.

    Raises
    ------
    ValueError
    """
    if value not in (*accepted, also):
        raise ValueError(
            f"The '{name}' parameter must be {' or '.join(map(repr, accepted))} with "
            "method='prompt', which adapts input embeddings only. Got "
            f"{value!r} instead."
        )


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
