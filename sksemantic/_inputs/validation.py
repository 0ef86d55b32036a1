"""Checks of what goes with X, and of parameters, before a backbone is loaded."""

import errno
from collections.abc import Sized
from numbers import Integral
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import (
    _check_feature_names,
    _check_n_features,
    _check_sample_weight,
    check_consistent_length,
    column_or_1d,
)

from sksemantic._inputs.columns import Columns

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sksemantic._backbone.source import BackboneSource

_LARGEST_RATIO = 1e30


def column_attributes(X: Any) -> dict[str, Any]:
    """Return `n_features_in_` and `feature_names_in_` of a table; nothing of others."""
    holder = BaseEstimator()
    if _is_table(X):
        _check_feature_names(holder, X, reset=True)
        _check_n_features(holder, X, reset=True)
    return vars(holder)


def check_columns(estimator: BaseEstimator, X: Any) -> None:
    """Refuse a table with other columns than the one the estimator was fitted on."""
    if _is_table(X) and hasattr(estimator, "n_features_in_"):
        _check_feature_names(estimator, X, reset=False)
        _check_n_features(estimator, X, reset=False)


def _is_table(X: Any) -> bool:
    return len(getattr(X, "shape", ())) == 2


def check_weights(sample_weight: Any, texts: "Sized") -> "NDArray | None":
    """Return weights (n,) as float64; refuse any but one number >= 0 for each text."""
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
    positive = weights[weights > 0]
    if positive.max() / _LARGEST_RATIO > positive.min():
        raise ValueError(
            "sample_weight must not differ by more than a factor of "
            f"{_LARGEST_RATIO:g}, which training in float32 cannot tell from zero. Got "
            f"{positive.min():g} and {positive.max():g}: set the small ones to 0."
        )
    return weights


def check_groups(groups: Any, texts: "Sized") -> "NDArray | None":
    """Return the group of each text (n,); refuse only one group in all."""
    if groups is None:
        return None
    groups = column_or_1d(np.asarray(groups))
    check_consistent_length(range(len(texts)), groups)
    missing = np.flatnonzero(pd.isna(groups))
    if len(missing):
        raise ValueError(
            "groups must name the group of every text. Got a missing value in row "
            f"{missing[0]} instead."
        )
    if len(np.unique(groups)) < 2:
        raise ValueError(
            "groups must name at least two groups: whole groups of texts are held "
            "out. Got one only."
        )
    return groups


def check_quantization(config: Any, source: "BackboneSource") -> dict[str, Any] | None:
    """Return a quantization config of transformers as a dictionary.

    Refuse one that names no method, and any for weights that are quantized already.
    """
    if config is None:
        return None
    values = dict(config) if isinstance(config, dict) else config.to_dict()
    if "quant_method" not in values:
        raise ValueError(
            "The 'quantization_config' entry of 'model_kwargs' must name its "
            "'quant_method', as transformers' own configs do. "
            f"Got {config!r} instead."
        )
    if source.gguf_file is not None:
        raise ValueError(
            "The 'quantization_config' entry of 'model_kwargs' must be None for a GGUF "
            f"file, which is quantized already ({source.gguf_file}). "
            f"Got {config!r} instead."
        )
    return values


def refuse_prefix_only(name: str, value: Any, *accepted: Any, also: Any = None) -> None:
    """Refuse a value that has no meaning with the prompt method.

    It may be one of `accepted`, or `also`, which the message leaves out.
    """
    if value not in (*accepted, also):
        raise ValueError(
            f"The '{name}' parameter must be {' or '.join(map(repr, accepted))} with "
            "method='prompt', which adapts input embeddings only. Got "
            f"{value!r} instead."
        )


def check_tuned_layers(tuned_layers: Any) -> None:
    """Refuse a pair of anything but two increasing numbers >= 0."""
    if not isinstance(tuned_layers, tuple | list):
        return
    is_range = len(tuned_layers) == 2 and all(
        isinstance(bound, Integral) and not isinstance(bound, bool)
        for bound in tuned_layers
    )
    if not (is_range and 0 <= tuned_layers[0] < tuned_layers[1]):
        raise ValueError(
            "The 'tuned_layers' parameter must be 'all', a number of layers, or a pair "
            "of the first layer and the one after the last, counted from 0 at the "
            f"bottom, such as (4, 16). Got {tuned_layers!r} instead."
        )


def mean_one(weights: "NDArray | None") -> "NDArray | None":
    """Bring the mean weight of the texts to one, so that rates keep their meaning.

    Raises
    ------
    ValueError
        If all weights are zero.
    """
    if weights is None or not len(weights):
        return None
    if not weights.sum() > 0:
        raise ValueError(
            "No labelled text has a weight: sample_weight, or class_weight, is zero "
            "for all of them."
        )
    return (weights / weights.mean()).astype(np.float32)


def random_source(random_state: Any, n_done: int) -> np.random.RandomState:
    """Return the source of chance: of a seed another one for each later epoch."""
    if n_done and isinstance(random_state, Integral):
        return np.random.RandomState([int(random_state), n_done])
    return check_random_state(random_state)


def resumable(source: np.random.RandomState) -> np.random.RandomState:
    """Return a source of chance whose state a fit may set; not numpy's global one."""
    if source is not np.random.mtrand._rand:
        return source
    return np.random.RandomState(source.randint(np.iinfo(np.int32).max))


def check_directory(name: str, directory: "str | Path") -> None:
    """Make a directory if there is none; refuse one that cannot be written to.

    Raises
    ------
    ValueError
    """
    try:
        Path(directory).mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=directory):
            pass
    except OSError as exc:
        if exc.errno == errno.ENOSPC:  # the disk is full: told once it is written to
            return
        raise ValueError(
            f"The '{name}' parameter must be a directory that can be written to, or "
            f"made. Got {str(directory)!r} instead: {exc}."
        ) from exc


def check_enough(texts: Sized) -> None:
    """Refuse a single text to fit to."""
    if len(texts) < 2:
        raise ValueError("X has 1 sample; fit needs at least 2 texts.")


def labelled_part(
    texts: Any, groups: "NDArray | None", labelled: "NDArray | None"
) -> "tuple[Any, NDArray | None]":
    """Return the texts that have labels, by index, and their groups; None for all."""
    if labelled is None:
        return texts, groups
    if isinstance(texts, Columns):
        chosen: Any = texts.take(labelled)
    else:
        chosen = [texts[i] for i in labelled]  # lists of words
    return chosen, None if groups is None else groups[labelled]
