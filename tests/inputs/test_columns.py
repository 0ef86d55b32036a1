from collections import UserList
from enum import Enum

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse
from conftest import TEXTS

from sksemantic._inputs.columns import check_texts, check_words


def column(values):
    """Return a one-column 2-D array of objects."""
    return np.array(values, dtype=object)[:, None]


FORMS = {
    "list": list,
    "tuple": tuple,
    "user list": UserList,
    "object array": lambda X: np.array(X, dtype=object),
    "str array": np.array,
    "object Series": lambda X: pd.Series(X, dtype=object),
    "string Series": lambda X: pd.Series(X, dtype="string[python]"),
    "arrow string Series": lambda X: pd.Series(X, dtype="string[pyarrow]"),
    "default Series": pd.Series,
    "categorical Series": lambda X: pd.Series(X, dtype="category"),
    "Series with an index": lambda X: pd.Series(X, index=range(len(X), 0, -1)),
    "pyarrow Array": pa.array,
    "pyarrow large strings": lambda X: pa.array(X, pa.large_string()),
    "pyarrow dictionary": lambda X: pa.array(X).dictionary_encode(),
    "polars Series": pl.Series,
    "pandas table": lambda X: pd.DataFrame({"text": X}),
    "polars table": lambda X: pl.DataFrame({"text": X}),
    "pyarrow table": lambda X: pa.table({"text": X}),
    "object column": column,
    "str column": lambda X: np.array(X)[:, None],
    "list of lists": lambda X: [[text] for text in X],
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_texts_when_in_any_form_then_are_plain_strings(form):
    (texts,) = check_texts(form(TEXTS)).values
    assert texts == TEXTS
    assert {type(text) for text in texts} == {str}


@pytest.mark.parametrize(
    "text", ["", " ", "\n\t", "\u200b", "ü", "漢字", "a\x00b", "🎬"]
)
def test_texts_when_empty_blank_or_odd_then_are_legal(text):
    assert check_texts([text]).values == [[text]]


HOLES = {
    "None": ["a", None, "b", None],
    "nan": ["a", float("nan"), "b", np.nan],
    "NA": ["a", pd.NA, "b", pd.NA],
    "NaT": ["a", pd.NaT, "b", pd.NaT],
}
HOLED = {
    **HOLES,
    "object array": np.array(HOLES["None"], dtype=object),
    "object Series": pd.Series(HOLES["nan"], dtype=object),
    "string Series": pd.Series(HOLES["None"], dtype="string[python]"),
    "categorical": pd.Series(HOLES["None"], dtype="category"),
    "pyarrow": pa.array(HOLES["None"]),
    "polars": pl.Series(HOLES["None"]),
    "polars table": pl.DataFrame({"text": HOLES["None"]}),
    "column": column(HOLES["None"]),
}


@pytest.mark.parametrize("X", HOLED.values(), ids=HOLED)
def test_texts_when_some_are_missing_then_error_names_the_rows_and_the_remedy(X):
    message = r"X contains 2 missing values .* in row\(s\) 1, 3\..*fillna\(''\)"
    with pytest.raises(ValueError, match=message):
        check_texts(X)


def test_texts_when_many_are_missing_then_only_the_first_rows_are_named():
    with pytest.raises(
        ValueError, match=r"8 missing .* row\(s\) 0, 1, 2, 3, 4, \.\.\."
    ):
        check_texts([None] * 8)


BAD_TEXTS = {
    "bare string": ("a film", ValueError, r"Got a single str instead\. Pass \[X\]"),
    "bare bytes": (b"a film", ValueError, "Got a single bytes instead"),
    "generator": (
        (text for text in TEXTS),
        TypeError,
        r"Got generator instead, which can be read only once.*Pass list\(X\)",
    ),
    "iterator": (map(str, TEXTS), TypeError, "Got map instead, which can be read only"),
    "dict": ({"text": TEXTS}, TypeError, "Got dict instead"),
    "None": (None, TypeError, "Got NoneType instead"),
    "scalar array": (np.array("a"), ValueError, "Got a 0-dimensional array instead"),
    "sparse": (scipy.sparse.csr_matrix(np.eye(3)), TypeError, r"Got csr_\w+ instead"),
    "number in a pair": (
        [("a", "b"), ("a", 1)],
        TypeError,
        r"Got int \(1\) in row 1 of column 1 instead",
    ),
    "hole in a pair": (
        pd.DataFrame({"a": ["x", None], "b": ["y", "z"]}),
        ValueError,
        r"1 missing values .* row\(s\) 1 of column 'a'",
    ),
    "deep array": (np.full((3, 1, 1), "a"), ValueError, r"shape \(3, 1, 1\) instead"),
    "ragged": ([("a",), ("a", "b")], ValueError, "Row 1 has 2 entries instead of 1"),
    "text among pairs": ([("a", "b"), "c"], ValueError, "Row 1 has a str instead of 2"),
    "empty tuples": ([(), ()], ValueError, "Row 0 has 0 entries instead of 1"),
    "numbers": (np.arange(3), TypeError, r"Got int \(0\) in row 0 instead; 3 row\(s\)"),
    "number among texts": (["a", "b", 7], TypeError, r"Got int \(7\) in row 2 instead"),
    "number column": (pd.DataFrame({"n": [1.5, 2]}), TypeError, r"Got float \(1\.5\)"),
    "bytes": (np.array([b"a"]), TypeError, r"Got bytes \(b'a'\).* Decode bytes"),
    "booleans": ([True, False], TypeError, r"Got bool \(True\) in row 0"),
    "empty list": ([], ValueError, r"Found array with 0 sample\(s\): X is empty"),
    "empty table": (pd.DataFrame({"text": []}), ValueError, "X is empty"),
}


@pytest.mark.parametrize(("X", "error", "message"), BAD_TEXTS.values(), ids=BAD_TEXTS)
def test_texts_when_bad_then_error_says_what_is_wrong(X, error, message):
    with pytest.raises(error, match=message):
        check_texts(X)


TABLES = {
    "pandas": pd.DataFrame({"one": ["a", "b"], "two": ["c", "d"]}),
    "polars": pl.DataFrame({"one": ["a", "b"], "two": ["c", "d"]}),
    "pyarrow": pa.table({"one": ["a", "b"], "two": ["c", "d"]}),
    "numbered": pd.DataFrame([("a", "c"), ("b", "d")]),
    "array": np.array([("a", "c"), ("b", "d")]),
    "object array": np.array([("a", "c"), ("b", "d")], dtype=object),
    "tuples": [("a", "c"), ("b", "d")],
    "lists": [["a", "c"], ["b", "d"]],
    "arrays": [np.array(["a", "c"]), np.array(["b", "d"])],
}


@pytest.mark.parametrize("name", TABLES)
def test_texts_when_several_a_row_then_are_columns_with_their_names(name):
    columns = check_texts(TABLES[name])
    has_names = name in ("pandas", "polars", "pyarrow")
    assert columns.names == (("one", "two") if has_names else None)
    assert columns.values == [["a", "b"], ["c", "d"]]
    assert (len(columns), columns.n_columns) == (2, 2)
    assert columns.take(np.array([1])).values == [["b"], ["d"]]


@pytest.mark.parametrize(
    "X",
    [
        ["a b", " c\n"],
        [["a", "b"], ("c",)],
        [np.array(["a", "b"]), "c"],
        np.array([["a", "b"], ["c"], None], dtype=object)[:-1],
        pd.Series(["a b", "c"]),
        pd.Series([["a", "b"], ["c"]]),
        pd.DataFrame({"text": ["a b", "c"]}),
    ],
)
def test_words_when_split_or_not_then_are_lists_of_str(X):
    words = check_words(X)
    assert words == [["a", "b"], ["c"]]
    assert {type(word) for text in words for word in text} == {str}


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        ("a b", ValueError, r"Got a single str instead\. Pass \[X\]"),
        ([], ValueError, r"Found array with 0 sample\(s\)"),
        ([["a"], None], TypeError, r"Got NoneType \(None\) in row 1 instead"),
        ([["a", 3]], TypeError, r"Got int \(3\) as word 1 of row 0 instead"),
        (np.full((2, 2), "a"), ValueError, r"Got shape \(2, 2\) instead"),
    ],
)
def test_words_when_bad_then_error_says_what_is_wrong(X, error, message):
    with pytest.raises(error, match=message):
        check_words(X)


@pytest.mark.parametrize(
    ("check", "X", "place"),
    [
        (check_texts, ["fine", "bad \ud83d half"], "position 4 of X, in row 1"),
        (check_texts, [("fine", "\udc00")], "position 0 of X, in row 0"),
        (check_words, ["fine", "bad \ud83d half"], "position 4 of X, in row 1"),
        (check_words, [["fine", "a\ud83d"]], "position 1 of X, in word 1 of row 0"),
    ],
)
def test_texts_when_a_character_is_cut_in_two_then_refused(check, X, place):
    with pytest.raises(ValueError, match=f"lone surrogate .* at {place}"):
        check(X)


class Film(str, Enum):  # noqa: UP042
    GOOD = "a good film"


def test_texts_when_of_a_subclass_then_the_text_itself_is_read():
    assert check_texts([Film.GOOD]).values == [["a good film"]]
    assert check_words([[Film.GOOD]]) == [["a good film"]]


class Column:
    """What `Dataset["text"]` is, of Hugging Face: rows are read when they are asked."""

    column_name, source = "text", None

    def __init__(self, rows):
        self.rows, self.most = rows, 0

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, place):
        found = self.rows[place]
        self.most = max(self.most, len(found) if isinstance(place, slice) else 1)
        return found

    def __iter__(self):
        raise AssertionError("one row at a time is slow")


@pytest.mark.parametrize("form", [Column, lambda X: pa.chunked_array([X[:7], X[7:]])])
def test_texts_when_on_the_disk_then_are_read_some_at_a_time(form, monkeypatch):
    monkeypatch.setattr("sksemantic._inputs.disk_column._ROWS_AT_ONCE", 5)
    column = form(TEXTS)
    (texts,) = check_texts(column).values
    assert [*texts] == TEXTS
    assert (texts[3], texts[2:4]) == (TEXTS[3], TEXTS[2:4])
    assert len(texts) == len(TEXTS)
    assert getattr(column, "most", 5) == 5


@pytest.mark.parametrize("form", [Column, lambda X: pa.chunked_array([X])])
def test_texts_when_one_on_the_disk_is_missing_then_is_named(form):
    with pytest.raises(ValueError, match=r"first in row\(s\) 2\."):
        check_texts(form(["a", "b", None]))
    with pytest.raises(ValueError, match="X is empty"):
        check_texts(form([]) if form is Column else pa.chunked_array([], pa.string()))


def test_texts_when_in_a_whole_dataset_then_error_says_how_to_get_a_column():
    datasets = pytest.importorskip("datasets")
    whole = datasets.Dataset.from_dict({"text": TEXTS})
    splits = datasets.DatasetDict({"train": whole})
    with pytest.raises(TypeError, match=r"whole Dataset .* such as X\['text'\]"):
        check_texts(whole)
    with pytest.raises(TypeError, match=r"DatasetDict .* X\['train'\]\['text'\]"):
        check_texts(splits)
    with pytest.raises(
        TypeError, match="IterableDataset .* Pass a column of a Dataset"
    ):
        check_texts(whole.to_iterable_dataset())
    assert [*check_texts(whole["text"]).values[0]] == TEXTS
