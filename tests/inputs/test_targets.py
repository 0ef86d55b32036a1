import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from scipy.sparse import csr_array
from sklearn.exceptions import DataConversionWarning

from sksemantic._inputs.targets import (
    check_indicators,
    check_labels,
    check_targets,
    check_threshold,
)

N = 24
NUMBERS = np.arange(N, dtype=float)
TWO_KINDS = np.array([0, 1] * (N // 2))
BOTH = pytest.mark.parametrize("check", [check_labels, check_targets])


@BOTH
@pytest.mark.parametrize(
    ("y", "message"),
    [
        (None, "requires y to be passed"),
        ([0], rf"inconsistent numbers of samples: \[{N}, 1\]"),
        (TWO_KINDS[1:], rf"inconsistent numbers of samples: \[{N}, {N - 1}\]"),
    ],
)
def test_y_when_not_one_a_text_then_refused(check, y, message):
    with pytest.raises(ValueError, match=message):
        check(y, N)


@BOTH
def test_y_when_a_column_then_is_flattened_with_a_warning(check):
    with pytest.warns(DataConversionWarning, match="column-vector"):
        assert check(TWO_KINDS[:, None], N).tolist() == TWO_KINDS.tolist()


STRINGS = np.array(["no", "yes"])[TWO_KINDS]
LABEL_FORMS = {
    "list of int": TWO_KINDS.tolist(),
    "list of str": STRINGS.tolist(),
    "int array": TWO_KINDS,
    "whole floats": TWO_KINDS.astype(float),
    "bool array": TWO_KINDS == 1,
    "str array": STRINGS,
    "object array of str": STRINGS.astype(object),
    "object array of bool": (TWO_KINDS == 1).astype(object),
    "object Series of str": pd.Series(STRINGS, dtype=object),
    "default Series of str": pd.Series(STRINGS),
    "string Series": pd.Series(STRINGS, dtype="string[python]"),
    "arrow string Series": pd.Series(STRINGS, dtype="string[pyarrow]"),
    "nullable int Series": pd.Series(TWO_KINDS, dtype="Int64"),
    "categorical Series of str": pd.Series(STRINGS, dtype="category"),
    "categorical Series of bool": pd.Series(TWO_KINDS == 1, dtype="category"),
    "Categorical with an unused category": pd.Categorical(
        STRINGS, categories=["yes", "maybe", "no"]
    ),
    "pyarrow": pa.array(STRINGS),
    "polars Series of str": pl.Series(STRINGS.tolist()),
    "polars categorical": pl.Series(STRINGS.tolist(), dtype=pl.Categorical),
    "table": pd.DataFrame({"label": STRINGS}),
}


@pytest.mark.parametrize("y", LABEL_FORMS.values(), ids=LABEL_FORMS)
@pytest.mark.filterwarnings(
    "ignore:A column-vector y:sklearn.exceptions.DataConversionWarning"
)
def test_labels_when_in_any_form_then_are_an_array_of_their_kind(y):
    labels = check_labels(y, N)
    assert labels.tolist() == np.asarray(y).ravel().tolist()
    assert labels.dtype.kind in "Uifub"
    assert len(np.unique(labels)) == 2


BAD_LABELS = {
    "inf": ([np.inf, 0.0, 1.0] * 8, "Input y contains infinity"),
    "numbers": (NUMBERS + 0.5, "Unknown label type: continuous"),
    "None among str": (["a", None, "b"] * 8, r"8 labels are missing.*row\(s\) 1, 4, 7"),
    "nan": ([0.0, np.nan, 1.0] * 8, "8 labels are missing"),
    "NA": (pd.Series([1, pd.NA, 0] * 8, dtype="Int64"), "8 labels are missing"),
    "polars null": (pl.Series(["a", None, "b"] * 8), "8 labels are missing"),
    "str and int": (
        np.array(["a", 1] * 12, dtype=object),
        "labels of one kind.* Got a mix of kinds instead",
    ),
    "str and -1": (
        np.array(["a", "b", -1] * 8, dtype=object),
        "number in row 2. In fit None marks a text without a label",
    ),
    "all None": ([None] * 24, "24 labels are missing.* say what the labels are called"),
}


@pytest.mark.parametrize(("y", "message"), BAD_LABELS.values(), ids=BAD_LABELS)
def test_labels_when_bad_then_error_says_what_is_wrong(y, message):
    with pytest.raises(ValueError, match=message):
        check_labels(y, N)


BAD_TARGETS = {
    "nan": (np.where(NUMBERS == 3, np.nan, NUMBERS), "Input y contains NaN"),
    "inf": (np.where(NUMBERS == 3, np.inf, NUMBERS), "Input y contains infinity"),
    "str": (
        STRINGS,
        r"must hold numbers for a regressor\. Got str .*SKTuningClassifier",
    ),
    "numerals": (["1", "2"] * 12, r"Got str instead.*y\.astype\(float\)"),
    "None": ([1.0, None] * 12, "Input y contains NaN"),
    "complex": (NUMBERS + 1j, "[Cc]omplex"),
    "one str": ([1.0] * 23 + ["b"], "must hold numbers for a regressor"),
}


@pytest.mark.parametrize(("y", "message"), BAD_TARGETS.values(), ids=BAD_TARGETS)
def test_targets_when_bad_then_error_says_what_is_wrong(y, message):
    with pytest.raises(ValueError, match=message):
        check_targets(y, N)


TARGET_FORMS = {
    "ints": NUMBERS.astype(int),
    "float32": NUMBERS.astype(np.float32),
    "bool": NUMBERS > 11,
    "Series": pd.Series(NUMBERS),
    "nullable Series": pd.Series(NUMBERS, dtype="Float64"),
    "polars": pl.Series(NUMBERS),
    "pyarrow": pa.array(NUMBERS),
}


@pytest.mark.parametrize("y", TARGET_FORMS.values(), ids=TARGET_FORMS)
def test_targets_when_in_any_form_then_are_floats(y):
    targets = check_targets(y, N)
    assert targets.dtype == np.float64
    assert targets.tolist() == np.asarray(y, dtype=float).tolist()


def test_targets_when_several_a_text_then_stay_a_table():
    y = NUMBERS.reshape(8, 3)
    assert check_targets(y, 8).tolist() == y.tolist()


TABLE = np.array([[0, 1, 0], [1, 1, 0]])


@pytest.mark.parametrize(
    "y",
    [TABLE.tolist(), TABLE == 1, pd.DataFrame(TABLE), csr_array(TABLE)],
)
def test_indicators_when_in_any_form_then_are_float32(y):
    indicators = check_indicators(y, 2)
    assert indicators.dtype == np.float32
    assert indicators.tolist() == TABLE.tolist()


@pytest.mark.parametrize(
    "y",
    [
        [[None, None], [0, 1]],
        [[np.nan, np.nan], [0, 1]],
        pd.DataFrame({"a": [pd.NA, 0], "b": [pd.NA, 1]}, dtype="Int64"),
        pl.DataFrame({"a": [None, False], "b": [None, True]}),
    ],
    ids=["None", "NaN", "Int64", "polars"],
)
def test_indicators_when_a_row_is_missing_then_it_is_nan(y):
    np.testing.assert_array_equal(check_indicators(y, 2), [[np.nan, np.nan], [0, 1]])


@pytest.mark.parametrize("y", [[0, 1], ["a", "b"], TABLE[:, :1]])
def test_indicators_when_y_is_no_table_then_none(y):
    assert check_indicators(y, 2) is None


@pytest.mark.parametrize(
    ("y", "message"),
    [
        ([{"a"}, set()], "Got sets of labels instead.*MultiLabelBinarizer"),
        ([["a"], []], "Got lists of different lengths instead.*MultiLabelBinarizer"),
        (np.eye(3), r"inconsistent numbers of samples: \[2, 3\]"),
        (
            [[1, None], [0, 1]],
            r"1 row\(s\) lack an indicator and .* row\(s\) 0\. Got \[1, None\]",
        ),
        ([[np.nan, np.nan], [0, np.nan]], r"Got \[0.0, nan\] in row 1\. Fill in"),
        (np.full((2, 2), np.nan), "contains NaN: all 2 rows are missing"),
        ([[np.nan, np.nan], [0, 2]], r"matrix of 0 and 1. Got \[0.0, 2.0\] in row 1"),
        ([[0, 1], [0, 2]], r"matrix of 0 and 1. Got \[0, 2\] in row 1 instead"),
    ],
)
def test_indicators_when_bad_then_error_says_what_is_wrong(y, message):
    with pytest.raises(ValueError, match=message):
        check_indicators(y, 2)


@pytest.mark.parametrize(
    ("threshold", "n_labels"), [(0.3, None), (0.3, 2), ([0.3, 0.9], 2)]
)
def test_threshold_when_between_0_and_1_then_is_an_array(threshold, n_labels):
    np.testing.assert_array_equal(check_threshold(threshold, n_labels), threshold)


@pytest.mark.parametrize(
    ("threshold", "n_labels", "expected"),
    [
        (0, None, "between 0 and 1. Got 0 instead"),
        ([0.5, 0.5], None, r"between 0 and 1. Got \[0.5, 0.5\] instead"),
        ([0.5, 0.5], 3, "between 0 and 1, or 3 of them. Got"),
        ([0.5, 1.0], 2, "between 0 and 1, or 2 of them. Got"),
    ],
)
def test_threshold_when_bad_then_refused(threshold, n_labels, expected):
    with pytest.raises(ValueError, match=f"'threshold' .* {expected}"):
        check_threshold(threshold, n_labels)


@pytest.mark.parametrize(
    "y",
    [
        pd.Series([["a"], ["b"]] * (N // 2)),
        pd.Series([["a"], ["a", "b"]] * (N // 2)),
        pd.Series([{"a"}, {"a", "b"}] * (N // 2)),
    ],
    ids=["equal lists", "lists", "sets"],
)
def test_labels_when_a_row_has_several_then_refused_with_a_remedy(y):
    with pytest.raises(ValueError, match=r"in row 0 instead.*MultiLabelBinarizer"):
        check_labels(y, N)


@pytest.mark.skipif(not hasattr(np.dtypes, "StringDType"), reason="needs numpy 2")
def test_labels_when_strings_of_variable_length_then_are_read():
    y = np.array(STRINGS, dtype=np.dtypes.StringDType())
    assert check_labels(y, N).tolist() == STRINGS.tolist()


@BOTH
def test_y_when_a_sparse_column_then_is_read(check):
    with pytest.warns(DataConversionWarning):
        assert check(csr_array(TWO_KINDS[:, None]), N).tolist() == TWO_KINDS.tolist()


@BOTH
def test_y_when_values_are_masked_then_refused(check):
    assert check(np.ma.array(TWO_KINDS), N).tolist() == TWO_KINDS.tolist()
    with pytest.raises(ValueError, match="1 values are masked"):
        check(np.ma.array(TWO_KINDS, mask=np.arange(N) == 3), N)


def test_targets_when_dates_then_refused():
    with pytest.raises(ValueError, match="numbers for a regressor. Got datetime64"):
        check_targets(np.arange(N).astype("datetime64[D]"), N)
