"""Texts and targets out of the columns of a file."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from sksemantic._cli.errors import UsageError, WorkError, count, did_you_mean
from sksemantic._cli.options import Empty, Task
from sksemantic._cli.tables import Table, delimiter_hint, format_hint
from sksemantic._inputs.columns import missing_places

_INTEGER = re.compile(r"-?(0|[1-9]\d*)\Z", re.ASCII)
_DECIMAL = re.compile(r"[-+]?(\d+\.\d*|\.\d+|\d+(?=[eE]))([eE][-+]?\d+)?\Z", re.ASCII)
_MOST_CLASSES = 20  # of whole numbers that are labels by default
_SHOWN_ROWS = 5


@dataclass(frozen=True)
class Target:
    """What is to be predicted.

    Attributes
    ----------
    task : Task
    values : list
        Labels, None where there is none, or numbers.
    reason : str
        Why it is this task, as a part of a sentence.
    """

    task: Task
    values: list[Any]
    reason: str

    @property
    def labelled(self) -> list[int]:
        """The rows that have a value."""
        return [i for i, value in enumerate(self.values) if value is not None]

    @property
    def has_integers(self) -> bool:
        """Whether all labels are whole numbers."""
        return all(type(self.values[i]) is int for i in self.labelled)


def check_columns(frame: pd.DataFrame, names: Sequence[str], table: Table) -> None:
    """Refuse names that the columns of a file do not have.

    Raises
    ------
    UsageError
    """
    known = [str(column) for column in frame.columns]
    for name in names:
        if name in known:
            continue
        message = f"{table.shown} has no column {name!r}.{did_you_mean(name, known)}"
        hint = format_hint(known) or delimiter_hint(known, table.delimiter)
        if hint:
            raise UsageError(f"{message} {hint}")
        raise UsageError(f"{message} Its columns are {', '.join(map(repr, known))}.")
    if len(set(names)) < len(names):
        raise UsageError(f"A column is named twice among {', '.join(names)}.")


def name_rows(frame: pd.DataFrame, rows: Sequence[int]) -> str:
    """Name some rows of a part of a file, counted from 1."""
    numbers = [str(frame.index[i] + 1) for i in rows[:_SHOWN_ROWS]]
    more = ", ..." if len(rows) > _SHOWN_ROWS else ""
    return f"row{'s' if len(rows) > 1 else ''} {', '.join(numbers)}{more}"


def read_texts(
    frame: pd.DataFrame, names: Sequence[str], empty: Empty, table: Table
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the rows that are used, and their texts.

    Raises
    ------
    WorkError
        If a cell holds no text, or is empty and `empty` is "error".
    """
    texts = frame[list(names)].astype(object)
    lacking: set[int] = set()
    for name in names:
        values = texts[name].tolist()
        places = missing_places(values)
        if places and empty is Empty.error:
            raise WorkError(
                f"{table.shown} has no text in {count(len(places), 'cell')} of the "
                f"column {name!r}, the first in {name_rows(frame, places)}. Leave "
                "these rows out with --empty drop, or read empty texts with --empty "
                "keep."
            )
        lacking |= {*places}
        for i in places:
            values[i] = ""
        for i, value in enumerate(values):
            if not isinstance(value, str):
                raise WorkError(
                    f"The column {name!r} of {table.shown} must hold texts. Got "
                    f"{type(value).__name__} ({value!r:.60}) in "
                    f"{name_rows(frame, [i])}."
                )
        texts[name] = values
    if empty is Empty.drop and lacking:
        kept = [i for i in range(len(frame)) if i not in lacking]
        return frame.iloc[kept], texts.iloc[kept]
    return frame, texts


def as_X(texts: pd.DataFrame, names: Sequence[str] | None = None) -> Any:
    """Return texts as estimators take them: a list, or a table of several columns.

    `names` are what the estimator calls the columns, if it does.
    """
    if texts.shape[1] == 1:
        return texts.iloc[:, 0].tolist()
    if names is not None and len(names) == texts.shape[1]:
        return texts.set_axis(list(names), axis=1)
    return texts


def read_target(values: Sequence[Any], task: Task | None, name: str) -> Target:
    """Return the labels or numbers of a column, and which of both they are.

    Raises
    ------
    UsageError
        If nobody can tell, or the numbers of a regression are none.
    """
    places = {*missing_places(values)}
    known = [value for i, value in enumerate(values) if i not in places]
    if not known:
        raise WorkError(f"The column {name!r} is empty in all rows.")
    numbers = [_number(value) for value in known]
    chosen, reason = _task_of(known, numbers, name)
    if task is not None:
        chosen, reason = task, "as --task says"
    if chosen is None:
        raise UsageError(reason)
    if chosen is Task.regression:
        if None in numbers:
            value = known[numbers.index(None)]
            raise UsageError(
                f"The column {name!r} must hold numbers for a regression. Got "
                f"{value!r:.60}."
            )
        found = [float(number) for number in numbers if number is not None]
    elif all(isinstance(number, int) or _is_whole(number) for number in numbers):
        found = [int(number) for number in numbers if number is not None]
    else:
        found = known
    rest = iter(found)
    filled = [None if i in places else next(rest) for i in range(len(values))]
    return Target(chosen, filled, reason)


def _task_of(
    known: list[Any], numbers: list[int | float | None], name: str
) -> tuple[Task | None, str]:
    """Return the task that a column asks for, and why; None and what to do."""
    if None in numbers:
        return _task_of_labels(known, numbers, name)
    n_values = len(set(numbers))
    if not all(isinstance(number, int) for number in numbers):
        return Task.regression, f"because {name!r} holds numbers with a decimal point"
    if n_values <= _MOST_CLASSES:
        return (
            Task.classification,
            f"because {name!r} holds {n_values} different whole numbers; "
            "--task regression reads them as numbers",
        )
    return None, (
        f"The column {name!r} holds {n_values} different whole numbers, which may be "
        "labels or numbers. Say which: --task classification or --task regression."
    )


def _task_of_labels(
    known: list[Any], numbers: list[int | float | None], name: str
) -> tuple[Task | None, str]:
    """Return classification, and why; None where cells do not look like labels."""
    first = known[numbers.index(None)]
    n_numbers = len(numbers) - numbers.count(None)
    n_values = len({*map(str, known)})
    if n_values > _MOST_CLASSES and 2 * n_numbers > len(known):
        return None, (
            f"The column {name!r} holds numbers, and {numbers.count(None)} cell(s) "
            f"that are none, such as {first!r:.60}. Mend or empty these, or say "
            "--task classification if all are labels."
        )
    if n_values > _MOST_CLASSES and 2 * n_values > len(known):
        return None, (
            f"The column {name!r} holds {n_values} different values in {len(known)} "
            f"rows, such as {first!r:.60}, which hardly are labels. If they are, say "
            "--task classification."
        )
    return Task.classification, f"because {name!r} holds labels such as {first!r}"


def _number(value: Any) -> int | float | None:
    """Return the number that a cell holds; None for anything else."""
    if isinstance(value, str):
        if _INTEGER.match(value):
            return int(value)
        return float(value) if _DECIMAL.match(value) else None
    if isinstance(value, bool | np.bool_):
        return None
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating) and np.isfinite(value):
        return float(value)
    return None


def _is_whole(number: int | float | None) -> bool:
    return isinstance(number, float) and number.is_integer()
