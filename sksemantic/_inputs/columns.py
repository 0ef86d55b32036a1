"""Checks of X: texts in any form that users have them."""

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from numbers import Number
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sksemantic._inputs.disk_column import DiskColumn, is_on_disk

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHOWN_ROWS = 5
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
    """The texts of X: one column, or several where a row has several texts."""

    values: Sequence[Sequence[str]]  # the columns, of one length
    names: tuple[str, ...] | None = None  # in a table with named columns

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

    A ValueError refuses one bare string, no or ragged rows, and missing values; a
    TypeError what can be read only once, and anything but texts.
    """
    _refuse_containers(X)
    raw, names = _split_columns(X)
    if not raw or not raw[0]:
        raise ValueError(f"Found array with 0 sample(s): X is empty. {_EXPECTED}")
    values = []
    for i, texts in enumerate(raw):
        if not all(type(text) is str for text in texts):
            column = i if names is None else names[i]
            texts = [*texts]
            _refuse_non_texts(texts, f" of column {column!r}" if len(raw) > 1 else "")
            texts = [str.__str__(text) for text in texts]  # of subclasses, as np.str_
        for row, text in enumerate(texts):
            refuse_surrogates(text, f"X, in row {row}")
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
    if isinstance(X, Set):
        raise TypeError(
            f"{expected} Got {type(X).__name__} instead, which has no order: nobody "
            "could tell which result is of which text. Pass sorted(X)."
        )
    _refuse_datasets(X, expected)
    if hasattr(X, "toarray") or isinstance(X, Mapping) or not hasattr(X, "__len__"):
        raise TypeError(f"{expected} Got {type(X).__name__} instead.")
    if getattr(X, "shape", None) == ():
        raise ValueError(f"{expected} Got a 0-dimensional array instead.")


def _refuse_datasets(X: Any, expected: str) -> None:
    """Refuse datasets of Hugging Face that are no column, and say how to get one."""
    kind, names = type(X).__name__, getattr(X, "column_names", None)
    if hasattr(X, "features") and names is not None and hasattr(X, "__len__"):
        raise TypeError(
            f"{expected} Got a whole {kind} with the columns {names} instead. Pass one "
            f"of them, such as X[{names[0]!r}], which stays on the disk, or several as "
            "X.to_pandas()[[...]]."
        )
    if isinstance(X, Mapping) and isinstance(names, Mapping):  # a DatasetDict
        split = next(iter(X), "train")
        raise TypeError(
            f"{expected} Got a {kind} of the splits {[*X]} instead. Pass a column of "
            f"one of them, such as X[{split!r}]['text']."
        )
    if kind in ("IterableDataset", "IterableColumn"):
        raise TypeError(
            f"{expected} Got {kind} instead, which has no length and is read in order "
            "alone. Pass a column of a Dataset, which stays on the disk: "
            "Dataset.from_generator(...)['text'] or load_dataset(...)['train']['text']."
        )


def _split_columns(X: Any) -> tuple[list[Sequence[Any]], tuple[str, ...] | None]:
    """Return the columns of X as sequences, and their names if all are str."""
    shape: tuple[int, ...] = getattr(X, "shape", ())
    if len(shape) > 2:
        raise ValueError(f"{_EXPECTED} Got shape {tuple(shape)} instead.")
    if len(shape) == 2:
        names = names_of_columns(X)
        if names is not None:
            is_named = all(isinstance(name, str) for name in names)
            names = tuple(map(str, names)) if is_named else None
        return [as_list(_column(X, i)) for i in range(shape[1])], names
    rows: Any = DiskColumn(X) if is_on_disk(X) else as_list(X)
    if rows and isinstance(rows[0], list | tuple | np.ndarray):
        return [*_transposed([*rows])], None
    return [rows], None


def names_of_columns(table: Any) -> Any:
    """Return the names of a table's columns, or None; pyarrow has its own word."""
    return getattr(table, "column_names", getattr(table, "columns", None))


def _column(X: Any, i: int) -> Any:
    """Return a column of a table."""
    if hasattr(X, "iloc"):  # pandas
        return X.iloc[:, i]
    for method in ("to_series", "column"):  # polars, pyarrow
        if hasattr(X, method):
            return getattr(X, method)(i)
    return X[:, i]


def only_column(y: Any) -> Any:
    """Return the only column of a table with named columns; anything else as it is."""
    shape: tuple[int, ...] = getattr(y, "shape", ())
    is_table = len(shape) == 2 and names_of_columns(y) is not None
    return _column(y, 0) if is_table and shape[1] == 1 else y


def as_list(column: Any) -> list[Any]:
    """Return a column of any library as a list."""
    for method in ("to_pylist", "to_list", "tolist"):
        if hasattr(column, method):
            return list(getattr(column, method)())
    return list(column)


def _transposed(rows: list[Any]) -> list[list[Any]]:
    """Turn rows of several texts into columns."""
    n_columns = len(rows[0])
    for i, row in enumerate(rows):
        is_row = isinstance(row, list | tuple | np.ndarray)
        if n_columns == 0 or not is_row or len(row) != n_columns:
            got = f"{len(row)} entries" if is_row else f"a {type(row).__name__}"
            raise ValueError(
                f"{_EXPECTED} Row {i} has {got} instead of "
                f"{max(n_columns, 1)} text(s), as the first row has. Every row needs "
                "the same number of texts."
            )
    return [list(column) for column in zip(*rows, strict=True)]


def missing_places(values: Sequence[Any]) -> list[int]:
    """Return the places of missing values: None, NaN or NA."""
    return [
        i
        for i, value in enumerate(values)
        if value is None or (np.ndim(value) == 0 and pd.isna(value) is True)
    ]


def _refuse_non_texts(texts: list[Any], place: str) -> None:
    """Refuse texts that are missing or not str; name the first of them."""
    missing = missing_places(texts)
    if missing:
        raise ValueError(
            f"X contains {len(missing)} missing values (None, NaN or NA), the first in "
            f"row(s) {name_rows(missing)}{place}. Input X contains NaN. Drop these "
            "rows or fill them, for example with X.fillna(''): empty texts are legal."
        )
    other = [i for i, text in enumerate(texts) if not isinstance(text, str)]
    if other:
        first = texts[other[0]]
        hint = ""
        if isinstance(first, bytes):
            hint = " Decode bytes first."
        elif isinstance(first, Number) and place:
            hint = (
                " Columns of numbers go beside the texts, in a ColumnTransformer: see "
                "'Text beside numbers' in the user guide."
            )
        raise TypeError(
            f"{_EXPECTED} Got {type(first).__name__} ({first!r:.60}) in row {other[0]}"
            f"{place} instead; {len(other)} row(s) are not str: {name_rows(other)}."
            f"{hint}"
        )


def refuse_surrogates(text: str, place: str) -> None:
    """Refuse half a pair of UTF-16, which is no character: no tokenizer takes it."""
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        raise ValueError(
            f"Texts must be valid Unicode. Got the lone surrogate "
            f"{text[exc.start]!r} at position {exc.start} of {place}, which is what is "
            "left of a character cut in two. Remove it: "
            "text.encode(errors='replace').decode()."
        ) from exc


def name_rows(rows: list[int]) -> str:
    """Name some rows, the first few of them."""
    more = ", ..." if len(rows) > SHOWN_ROWS else ""
    return ", ".join(map(str, rows[:SHOWN_ROWS])) + more


def check_words(X: Any) -> list[list[str]]:
    """Turn texts, split or not, into lists of words; refuse what `check_texts` does."""
    _refuse_containers(X, _WORDS_EXPECTED)
    shape: tuple[int, ...] = getattr(X, "shape", ())
    if len(shape) >= 2:
        if shape[1:] != (1,):
            raise ValueError(f"{_WORDS_EXPECTED} Got shape {tuple(shape)} instead.")
        X = _column(X, 0)
    texts = [_words_of(text, i) for i, text in enumerate(as_list(X))]
    if not texts:
        raise ValueError(f"Found array with 0 sample(s): X is empty. {_WORDS_EXPECTED}")
    return texts


def _words_of(text: Any, i: int) -> list[str]:
    """Return the words of the text in row i."""
    if isinstance(text, str):
        refuse_surrogates(text, f"X, in row {i}")
        return text.split()
    if isinstance(text, pd.Series):
        text = text.tolist()
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
        refuse_surrogates(word, f"X, in word {place} of row {i}")
    return [str.__str__(word) for word in text]
