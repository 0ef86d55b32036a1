"""The labels of words: one for each word of each text, or a mark for none."""

import warnings
from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from sklearn.utils.validation import check_consistent_length

from sksemantic._inputs.columns import SHOWN_ROWS, as_list, name_rows, only_column
from sksemantic._inputs.targets import refuse_none
from sksemantic._warnings import user_stacklevel
from sksemantic.exceptions import UnlabelledWarning

if TYPE_CHECKING:
    from numpy.typing import NDArray

_EXPECTED = "y must be a sequence of lists of labels, one label for each word."
_UNLABELLED_WORD = -100  # as transformers and torch mark it


@dataclass(frozen=True)
class WordLabels:
    """The labels of each text's words.

    Attributes
    ----------
    values : list of list of str or int
        One for each word; None for a word without a label.
    n_missing : ndarray of shape (n_texts,)
        How many words of each text have no label because it is missing (None, NaN or
        NA). That may be a mistake; -100 is not.
    """

    values: list[list[Any]]
    n_missing: "NDArray"

    @property
    def flat(self) -> list[Any]:
        """The labels of all words of all texts."""
        return [label for text in self.values for label in text]

    @property
    def labelled(self) -> "NDArray":
        """Which texts have a word with a label, by index."""
        has_any = [any(label is not None for label in text) for text in self.values]
        return np.flatnonzero(has_any)

    def refuse_none_labelled(self) -> None:
        """Refuse y without any label."""
        if not len(self.labelled):
            raise ValueError(
                "y has no labelled word: every label is None, NaN, NA or -100. Label "
                "some words."
            )

    def warn_of_missing(self) -> None:
        """Say how many words have no label, if any: it may be a mistake."""
        if not self.n_missing.any():
            return
        rows = np.flatnonzero(self.n_missing).tolist()
        warnings.warn(
            f"y has no label (None, NaN or NA) for {self.n_missing.sum()} of "
            f"{len(self.flat)} words, the first in row(s) {name_rows(rows)}: they are "
            "not trained on. If that is a mistake, label them; else mark them by -100, "
            "or silence this with warnings.simplefilter('ignore', UnlabelledWarning).",
            UnlabelledWarning,
            stacklevel=user_stacklevel(),
        )


def check_word_labels(y: Any, texts: list[list[str]]) -> WordLabels:
    """Return the labels of each text's words: one for each word, all str or all int.

    A missing value, or -100 as in transformers, marks a word without a label. NumPy and
    pandas make floats of ints beside NaN: whole ones are read as ints.
    """
    refuse_none(y)
    if isinstance(y, str | bytes) or not hasattr(y, "__len__"):
        raise ValueError(f"{_EXPECTED} Got {type(y).__name__} instead.")
    rows = as_list(only_column(y))
    check_consistent_length(texts, rows)
    found = [_labels_of(row, texts[i], i) for i, row in enumerate(rows)]
    n_missing = [sum(label is None for label in row) for row in found]
    labels = [[None if _is_mark(label) else label for label in row] for row in found]
    _refuse_other_kinds(labels)
    return WordLabels(labels, np.array(n_missing))


def _labels_of(row: Any, words: list[str], i: int) -> list[Any]:
    """Return the labels of the text in row i as they are, None for missing ones."""
    values = row.tolist() if hasattr(row, "tolist") else row
    if not isinstance(values, list | tuple):
        raise ValueError(
            f"{_EXPECTED} Got {type(row).__name__} ({row!r:.60}) in row {i} instead."
        )
    if len(values) != len(words):
        raise ValueError(
            f"{_EXPECTED} Row {i} has {len(words)} words and {len(values)} labels: "
            f"{words[:SHOWN_ROWS]}... and {list(values[:SHOWN_ROWS])}..."
        )
    return [_without_nan(label) for label in values]


def _without_nan(label: Any) -> Any:
    """Return None for a missing label, an int for a whole float, else the label."""
    if isinstance(label, str):
        return label
    if np.ndim(label) == 0 and pd.isna(label) is True:
        return None
    is_whole = isinstance(label, float | np.floating) and float(label).is_integer()
    return int(label) if is_whole else label


def _is_mark(label: Any) -> bool:
    """Whether it says that a word has no label; the str "-100" is a label."""
    is_int = isinstance(label, Integral)
    return label is None or (is_int and label == _UNLABELLED_WORD)


def _refuse_other_kinds(labels: list[list[Any]]) -> None:
    """Refuse labels that are not all str, or all int."""
    flat = [(i, x) for i, row in enumerate(labels) for x in row if x is not None]
    kind = str if any(isinstance(label, str) for _, label in flat) else Integral
    for i, label in flat:
        if not isinstance(label, kind):
            raise ValueError(
                "y must hold labels of one kind, all str or all int. Got "
                f"{type(label).__name__} ({label!r}) in row {i} instead."
            )
