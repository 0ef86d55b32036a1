import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator

from sksemantic._inputs.validation import (
    check_columns,
    check_groups,
    check_quantization,
    check_tuned_layers,
    check_weights,
    column_attributes,
    refuse_prefix_only,
)

TEXTS = ["a", "b", "c"]


def test_columns_when_a_table_then_later_ones_must_have_the_same():
    estimator = BaseEstimator()
    check_columns(estimator, pd.DataFrame({"c": ["x"]}))  # not fitted on a table
    vars(estimator).update(column_attributes(pd.DataFrame({"a": ["x"], "b": ["y"]})))
    assert estimator.n_features_in_ == 2
    assert estimator.feature_names_in_.tolist() == ["a", "b"]
    check_columns(estimator, TEXTS)
    with pytest.raises(ValueError, match="feature names should match"):
        check_columns(estimator, pd.DataFrame({"a": ["x"], "c": ["y"]}))
    assert column_attributes(np.array([["x", "y"]])) == {"n_features_in_": 2}
    assert column_attributes(TEXTS) == {}


BAD_WEIGHTS = {
    "too few": ([1.0, 1.0], "shape|inconsistent"),
    "negative": ([1.0, 2.0, -1.0], r"must not be negative.*got -1\.0 in row 2 instead"),
    "nan": ([1.0, np.nan, 1.0], "NaN"),
    "inf": ([1.0, np.inf, 1.0], "infinity"),
    "all zero": ([0.0] * 3, "must not be all zero|at least one non-zero"),
    "large": ([1e39, 1.0, 0.0], r"factor of 1e\+30.* Got 1 and 1e\+39"),
    "small": ([1e-46, 1.0, 0.0], "factor of .* Got 1e-46 and 1"),
    "two columns": (np.ones((3, 2)), "1D array or scalar"),
    "str": (["heavy"] * 3, "could not convert string to float"),
}


@pytest.mark.parametrize(("weights", "message"), BAD_WEIGHTS.values(), ids=BAD_WEIGHTS)
def test_weights_when_bad_then_error_says_what_is_wrong(weights, message):
    with pytest.raises(ValueError, match=message):
        check_weights(weights, TEXTS)


def test_weights_when_good_then_are_float64():
    weights = check_weights(pd.Series([0, 1, 2]), TEXTS)
    assert weights.dtype == np.float64
    assert weights.tolist() == [0, 1, 2]
    assert check_weights(None, TEXTS) is None


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (["a", "b"], r"inconsistent numbers of samples: \[3, 2\]"),
        (["a"] * 3, "at least two groups"),
        (np.ones((3, 2)), "1d array"),
        (["a", None, "b"], "missing value in row 1"),
    ],
)
def test_groups_when_bad_then_error_says_what_is_wrong(groups, message):
    with pytest.raises(ValueError, match=message):
        check_groups(groups, TEXTS)


def test_groups_when_good_then_are_an_array():
    assert check_groups(["a", "b", "a"], TEXTS).tolist() == ["a", "b", "a"]
    assert check_groups(None, TEXTS) is None


CONFIG = {"quant_method": "torchao"}
SAFETENSORS, GGUF = (SimpleNamespace(gguf_file=name) for name in (None, "q4.gguf"))


def test_quantization_when_given_then_is_a_dictionary():
    config = SimpleNamespace(to_dict=lambda: CONFIG)
    assert check_quantization(config, SAFETENSORS) == CONFIG
    assert check_quantization(CONFIG, SAFETENSORS) == CONFIG
    assert check_quantization(None, GGUF) is None


@pytest.mark.parametrize(
    ("config", "source", "message"),
    [
        ({"bits": 4}, SAFETENSORS, "must name its 'quant_method'.* Got {'bits': 4}"),
        (CONFIG, GGUF, r"must be None for a GGUF file.*\(q4.gguf\)"),
    ],
)
def test_quantization_when_bad_then_refused(config, source, message):
    message = f"The 'quantization_config' entry of 'model_kwargs' {message}"
    with pytest.raises(ValueError, match=message):
        check_quantization(config, source)


def test_value_when_for_the_prefix_method_alone_then_refused():
    for value in ("auto", 0, "all"):
        refuse_prefix_only("text_rank", value, "auto", 0, also="all")
    with pytest.raises(ValueError, match="'text_rank' .* 'auto' or 0 with .* Got 3 "):
        refuse_prefix_only("text_rank", 3, "auto", 0, also="all")


@pytest.mark.parametrize("layers", [(1,), (2, 2), (-1, 2), (0, 1.5), [0, True]])
def test_tuned_layers_when_no_range_then_refused(layers):
    message = f"'tuned_layers' parameter must be 'all', .*Got {re.escape(repr(layers))}"
    with pytest.raises(ValueError, match=message):
        check_tuned_layers(layers)


@pytest.mark.parametrize("layers", ["auto", "all", 3, (0, 2), [1, np.int64(3)]])
def test_tuned_layers_when_good_then_accepted(layers):
    check_tuned_layers(layers)
