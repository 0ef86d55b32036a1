import warnings

import numpy as np
import pandas as pd
import pytest

from sksemantic import UnlabelledWarning
from sksemantic._inputs.targets import as_array
from sksemantic._inputs.unlabelled import (
    missing_rows,
    unlabelled_rows,
    warn_of_missing_labels,
)


@pytest.mark.parametrize(
    ("y", "expected"),
    [
        ([0, -1, 1], [False, True, False]),
        (np.array([-1.0, 1.0]), [True, False]),
        (["a", "-1", -1], [False, True, True]),
        (pd.Series([True, False]), [False, False]),
    ],
)
def test_unlabelled_when_minus_one_then_found_among_labels_of_any_kind(y, expected):
    assert unlabelled_rows(y).tolist() == expected


@pytest.mark.parametrize(
    "y",
    [
        [1, None, 0],
        ["a", float("nan"), "b"],
        np.array([1.0, np.nan, 0.0]),
        pd.Series([1, pd.NA, 0], dtype="Int64"),
        pd.Series(["a", None, "b"], dtype="category"),
    ],
    ids=["list", "mixed", "float", "Int64", "category"],
)
def test_missing_when_labels_are_none_nan_or_na_then_found(y):
    assert missing_rows(as_array(y)).tolist() == [False, True, False]


def test_warning_when_labels_are_missing_then_counts_them_and_names_rows():
    is_missing = np.array([False, True, True, False])
    with pytest.warns(UnlabelledWarning, match=r"2 of 4 texts, .* row\(s\) 1, 2"):
        warn_of_missing_labels(is_missing)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_missing_labels(np.zeros(4, bool))
