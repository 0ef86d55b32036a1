import csv
from collections import Counter

import numpy as np
import pandas as pd
import pytest

from sksemantic.datasets import load_definitions


@pytest.mark.parametrize("subset, n_each", [("train", 100), ("test", 50), ("all", 150)])
def test_definitions_when_loaded_then_as_many_of_each_kind(subset, n_each):
    bunch = load_definitions(subset=subset)
    assert len(bunch.data) == len(bunch.target) == len(bunch.words) == 7 * n_each
    assert Counter(bunch.target) == dict.fromkeys(bunch.target_names, n_each)
    assert bunch.frame is None
    assert "WordNet" in bunch.DESCR


def test_definitions_when_split_then_no_text_is_in_both_parts():
    everything = load_definitions(subset="all").data
    train = load_definitions().data
    assert len(set(everything)) == len(everything)
    assert everything == train + load_definitions(subset="test").data


def test_definitions_when_returned_as_pair_then_is_that_of_the_bunch():
    X, y = load_definitions(return_X_y=True)
    bunch = load_definitions()
    assert X == bunch.data
    assert isinstance(y, np.ndarray)
    np.testing.assert_array_equal(y, bunch.target)


def test_definitions_when_framed_then_columns_are_named():
    X, y = load_definitions(return_X_y=True, as_frame=True)
    assert isinstance(X, pd.Series) and isinstance(y, pd.Series)
    frame = load_definitions(as_frame=True).frame
    assert list(frame) == ["word", "definition", "kind"]
    pd.testing.assert_series_equal(frame["definition"], X)


def test_definitions_when_subset_is_unknown_then_error_names_the_three():
    with pytest.raises(ValueError, match="'train', 'test', 'all'.*got 'dev'"):
        load_definitions(subset="dev")


def test_definitions_when_read_as_file_then_every_row_is_whole():
    from importlib import resources

    file = resources.files("sksemantic.datasets") / "data" / "definitions.csv"
    rows = list(csv.reader(file.read_text("utf-8").splitlines()))
    assert {len(row) for row in rows} == {4}
    assert all(cell.strip() == cell != "" for row in rows for cell in row)
