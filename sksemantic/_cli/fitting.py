"""`sksemantic fit`: train on a file, and save what was learned."""

import warnings
from typing import Any

import numpy as np
import typer
from sklearn.model_selection import train_test_split

from sksemantic._cli.columns import as_X
from sksemantic._cli.errors import UsageError, WorkError
from sksemantic._cli.evaluating import Evaluation, evaluate, read_labelled
from sksemantic._cli.models import (
    FittedColumns,
    check_directory_is_free,
    save,
    size_of,
)
from sksemantic._cli.options import Reading, Task, Training
from sksemantic._cli.parameters import make_estimator
from sksemantic._cli.tables import STANDARD, Table
from sksemantic._cli.training_data import TrainingData, read_training_data
from sksemantic.exceptions import UnlabelledWarning

Rows = tuple[Any, list[Any]]


def run(
    train: str,
    *,
    out: str,
    prompt: str | None,
    test: str | None,
    test_size: float | None,
    force: bool,
    with_backbone: bool,
    reading: Reading,
    training: Training,
) -> None:
    """Carry out the command."""
    check_directory_is_free(out, force=force)
    _check_test(train, test, test_size, reading)
    data = read_training_data(train, reading, training)
    estimator = make_estimator(training, data.target, prompt)
    (X, y), held_out = _split(data, test, test_size, reading, training)
    _fit(estimator, X, y)
    if held_out is not None:
        typer.echo(f"Held out: {_without_report(evaluate(estimator, *held_out))}.")
    columns = FittedColumns(training.text, training.target)
    save(estimator, out, columns, with_backbone=with_backbone)
    typer.echo(f"Saved in {out}: {size_of(out) / 1e6:,.1f} MB.")


def _check_test(
    train: str, test: str | None, test_size: float | None, reading: Reading
) -> None:
    if test is not None and test_size is not None:
        raise UsageError("--test and --test-size exclude one another.")
    if test == STANDARD and train == STANDARD:
        raise UsageError("Only one file can be standard input.")
    if test is not None:
        Table.at(test, reading)


def _split(
    data: TrainingData,
    test: str | None,
    test_size: float | None,
    reading: Reading,
    training: Training,
) -> tuple[Rows, Rows | None]:
    """Return what is trained on, and what is held out."""
    everything = data.X, data.target.values
    if test is not None:
        texts, y = read_labelled(
            test, reading, training.text, training.target, data.target.task
        )
        return everything, (as_X(texts), y)
    if test_size is None:
        return everything, None
    rows = _held_out_rows(data, test_size, training.random_state)
    rest = sorted({*range(len(data.target.values))} - {*rows})
    return data.take(rest), data.take(rows)


def _held_out_rows(
    data: TrainingData, size: float, random_state: int | None
) -> list[int]:
    """Draw rows to hold out; of each class its share, if the classes are large enough.

    Raises
    ------
    WorkError
        If there are too few.
    """
    rows = data.target.labelled
    y = [data.target.values[i] for i in rows]
    counts = np.unique([*map(str, y)], return_counts=True)[1]
    smallest = min(size, 1 - size) * len(rows)
    can_stratify = counts.min() > 1 and smallest >= len(counts)
    is_labels = data.target.task is Task.classification
    stratify = [*map(str, y)] if is_labels and can_stratify else None
    try:
        _, held_out = train_test_split(
            rows, test_size=size, random_state=random_state, stratify=stratify
        )
    except ValueError as exc:
        raise WorkError(f"--test-size {size:g}: {exc}") from exc
    return sorted(held_out)


def _fit(estimator: Any, X: Any, y: list[Any]) -> None:
    with warnings.catch_warnings():
        # How many rows have no label was said when they were read.
        warnings.simplefilter("ignore", UnlabelledWarning)
        estimator.fit(X, y)


def _without_report(found: Evaluation) -> str:
    return str(found).partition("\n")[0]


def estimate_time(
    train: str, *, prompt: str | None, reading: Reading, training: Training
) -> None:
    """Carry out the command of this name."""
    data = read_training_data(train, reading, training)
    estimator = make_estimator(training, data.target, prompt)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnlabelledWarning)
        typer.echo(str(estimator.estimate_fit_time(data.X, data.target.values)))
