"""Texts and targets of a training file, ready for an estimator."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import typer

from sksemantic._cli.columns import (
    Target,
    as_X,
    check_columns,
    name_rows,
    read_target,
    read_texts,
)
from sksemantic._cli.errors import WorkError, count
from sksemantic._cli.options import Empty, Reading, Task, Training
from sksemantic._cli.tables import Table
from sksemantic._inputs.columns import missing_places


@dataclass(frozen=True)
class TrainingData:
    """The rows that are used of a file.

    Attributes
    ----------
    X : list of str or DataFrame
    target : Target
    n_rows : int
        Of the file.
    """

    X: Any
    target: Target
    n_rows: int

    def take(self, rows: list[int]) -> tuple[Any, list[Any]]:
        """Return texts and targets of some rows."""
        y = [self.target.values[i] for i in rows]
        if isinstance(self.X, list):
            return [self.X[i] for i in rows], y
        return self.X.iloc[rows], y

    def labelled(self) -> tuple[Any, list[Any]]:
        """Return texts and targets of the rows that have a target."""
        return self.take(self.target.labelled)


def read_training_data(path: str, reading: Reading, training: Training) -> TrainingData:
    """Read a file to train on, and say what is in it.

    Raises
    ------
    UsageError, WorkError
        If the columns are not there, or not as they must be.
    """
    table = Table.at(path, reading)
    frame = table.read()
    n_rows = len(frame)
    names, empty = training.text, reading.empty or Empty.error
    check_columns(frame, [*names, training.target], table)
    if empty is Empty.drop:
        lacking = missing_places(frame[training.target].tolist())
        frame = frame.drop(frame.index[lacking])
    frame, texts = read_texts(frame, names, empty, table)
    typer.echo(f"{table.shown}: {count(n_rows, 'row')}, {len(frame):,} used.")
    if not len(frame):
        raise WorkError(f"{table.shown} has no row without an empty cell.")
    values = frame[training.target].tolist()
    target = read_target(values, training.task, training.target)
    lacking = missing_places(target.values)
    if lacking and target.task is Task.regression:
        raise WorkError(
            f"{table.shown} has no number in {count(len(lacking), 'cell')} of the "
            f"column {training.target!r}, the first in {name_rows(frame, lacking)}. "
            "Leave these rows out with --empty drop."
        )
    typer.echo(_describe(target))
    return TrainingData(as_X(texts), target, n_rows)


def _describe(target: Target) -> str:
    """Say which task it is, and what the targets are."""
    lines = [f"{target.task.capitalize()}, {target.reason}."]
    known = [target.values[i] for i in target.labelled]
    if target.task is Task.regression:
        low, middle, high = np.quantile(known, [0, 0.5, 1])
        lines.append(f"Numbers from {low:g} to {high:g}, median {middle:g}.")
        return "\n".join(lines)
    counts: dict[str, int] = {}
    for label in map(str, known):
        counts[label] = counts.get(label, 0) + 1
    largest = sorted(counts, key=lambda label: (-counts[label], label))
    shown = ", ".join(f"{label} {counts[label]:,}" for label in largest[:20])
    more = f", and {len(counts) - 20} more" if len(counts) > 20 else ""
    lines.append(f"{len(counts)} classes: {shown}{more}.")
    n_unlabelled = len(target.values) - len(known)
    if n_unlabelled:
        lines.append(
            f"{count(n_unlabelled, 'row', 'has have')} no label. Rows without "
            "one count as unlabelled texts."
        )
    return "\n".join(lines)
