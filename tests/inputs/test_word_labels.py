import warnings

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch

from sksemantic import UnlabelledWarning
from sksemantic._inputs.word_labels import check_word_labels

WORDS = [["a", "b"], [], ["c"]]
PAIRS = [["a", "b"], ["c", "d"]]
NAN = float("nan")
STRINGS = [["X", None], ["O", "X"]]
NUMBERS = [[7, None], [0, 7]]
MASK = [[False, True], [False, False]]
STRING_FORMS = {
    "lists": [["X", None], ["O", "X"]],
    "tuples": [("X", NAN), ("O", "X")],
    "array": np.array([["X", None], ["O", "X"]], dtype=object),
    "array of lists": pd.Series([["X", pd.NA], ["O", "X"]]).to_numpy(),
    "Series": pd.Series([["X", pd.NA], ["O", "X"]]),
    "Series of Series": [pd.Series(["X", None]), pd.Series(["O", "X"])],
    "frame": pd.DataFrame({"labels": [["X", None], ["O", "X"]]}),
    "polars": pl.Series([["X", None], ["O", "X"]]),
    "polars frame": pl.DataFrame({"labels": [["X", None], ["O", "X"]]}),
    "pyarrow": pa.array([["X", None], ["O", "X"]]),
    "pyarrow table": pa.table({"labels": [["X", None], ["O", "X"]]}),
    "-100": [["X", -100], ["O", "X"]],
}
NUMBER_FORMS = {
    "-100": [[7, -100], [0, 7]],
    "array with -100": np.array([[7, -100], [0, 7]]),
    "int8": [np.array([7, -100], np.int8), [0, 7]],
    "-100 among floats": np.array([[7.0, -100.0], [0.0, 7.0]]),
    "floats": np.array([[7, NAN], [0, 7]]),
    "Int64": [pd.Series([7, pd.NA], dtype="Int64"), [0, 7]],
    "float Series": [pd.Series([7, None]), pd.Series([0, 7])],
    "masked array": np.ma.array([[7, 1], [0, 7]], mask=MASK),
    "tensor": torch.tensor([[7, -100], [0, 7]]),
}


@pytest.mark.parametrize(
    "y", [[["X", "O"], [], ["O"]], [[1, 0], (), np.array([2])], [[True, 0], [], [1]]]
)
def test_word_labels_when_one_a_word_then_are_lists(y):
    assert check_word_labels(y, WORDS).values == [list(labels) for labels in y]
    series = pd.Series([list(labels) for labels in y])
    assert check_word_labels(series, WORDS).values == series.tolist()


@pytest.mark.parametrize(
    ("y", "expected"),
    [(y, STRINGS) for y in STRING_FORMS.values()]
    + [(y, NUMBERS) for y in NUMBER_FORMS.values()],
    ids=[*STRING_FORMS, *(f"numbers, {name}" for name in NUMBER_FORMS)],
)
def test_word_labels_when_one_is_missing_then_is_none_in_any_form(y, expected):
    labels = check_word_labels(y, PAIRS)
    assert labels.values == expected
    kinds = {type(label) for label in labels.flat if label is not None}
    assert kinds == {type(expected[1][0])}


def test_word_labels_when_str_looks_like_the_mark_then_is_a_label():
    y = [["-100", "None"], ["nan", "-100"]]
    labels = check_word_labels(y, PAIRS)
    assert labels.values == y
    assert labels.labelled.tolist() == [0, 1]


def test_labelled_when_no_word_of_a_text_is_then_text_is_left_out():
    y = [["X", None], [], [None]]
    labels = check_word_labels(y, WORDS)
    assert labels.labelled.tolist() == [0]
    labels.refuse_none_labelled()
    for mark in (None, NAN, pd.NA, -100):
        with pytest.raises(ValueError, match="y has no labelled word: every label"):
            check_word_labels([[mark] * 2, [], [mark]], WORDS).refuse_none_labelled()


def test_warning_when_labels_are_missing_then_counts_words_and_names_rows():
    labels = check_word_labels([["X", -100], [NAN, pd.NA], [None]], [*PAIRS, ["e"]])
    expected = r"for 3 of 5 words, the first in row\(s\) 1, 2"
    with pytest.warns(UnlabelledWarning, match=expected):
        labels.warn_of_missing()


def test_warning_when_words_are_marked_on_purpose_then_is_none():
    labels = check_word_labels([[1, -100], [-100, 0]], PAIRS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        labels.warn_of_missing()


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (None, "requires y to be passed"),
        ("XO", "sequence of lists of labels.* Got str instead"),
        (3, "sequence of lists of labels.* Got int instead"),
        ([["X", "O"], []], r"inconsistent numbers of samples: \[3, 2\]"),
        ([["X", "O"], [], "O"], r"Got str \('O'\) in row 2 instead"),
        ([["X", "O"], [], None], r"Got NoneType \(None\) in row 2 instead"),
        ([["X"], [], ["O"]], r"Row 0 has 2 words and 1 labels: \['a', 'b'\]"),
        ([["X", 1], [], ["O"]], r"all str or all int\. Got int \(1\) in row 0"),
        ([[1, 0], [], [1.5]], r"all str or all int\. Got float \(1.5\) in row 2"),
        ([[1, 0], [], [np.inf]], r"all str or all int\. Got float \(inf\) in row 2"),
        (pd.DataFrame({"a": [1] * 4, "b": 2}), r"numbers of samples: \[3, 2\]"),
    ],
)
def test_word_labels_when_bad_then_error_says_what_is_wrong(y, message):
    with pytest.raises(ValueError, match=message):
        check_word_labels(y, WORDS)
