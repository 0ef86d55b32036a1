"""How good predictions are, for people and for machines."""

import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import typer
from scipy.stats import spearmanr
from sklearn.base import is_classifier
from sklearn.metrics import (
    accuracy_score,
    classification_report,
    f1_score,
    mean_absolute_error,
    r2_score,
)

from sksemantic._cli.columns import (
    as_X,
    check_columns,
    read_target,
    read_texts,
)
from sksemantic._cli.errors import UsageError, WorkError, count
from sksemantic._cli.models import FittedColumns, load, text_columns
from sksemantic._cli.options import Empty, Loading, Reading, Task
from sksemantic._cli.tables import Table
from sksemantic._inputs.columns import missing_places

_NAMES = {"accuracy": "accuracy", "macro_f1": "macro-F1", "r2": "R2"}
_NAMES |= {"mean_absolute_error": "mean absolute error", "spearman": "Spearman"}


@dataclass(frozen=True)
class Evaluation:
    """Scores of predictions.

    Attributes
    ----------
    n_rows : int
    scores : dict of str to float
        NaN where there is none, such as a correlation of equal numbers.
    report : str
        Class by class; empty for numbers.
    classes : dict of str to dict
        The same for machines.
    """

    n_rows: int
    scores: dict[str, float]
    report: str = ""
    classes: dict[str, Any] | None = None

    def __str__(self) -> str:
        scores = ", ".join(f"{_NAMES[k]} {v:.4f}" for k, v in self.scores.items())
        line = f"{count(self.n_rows, 'row')}: {scores}"
        return f"{line}\n\n{self.report.rstrip()}" if self.report else line

    def to_json(self) -> str:
        """Return all of it as JSON, with null for what is no number."""
        values: dict[str, Any] = {"n_rows": self.n_rows}
        values |= {k: v if math.isfinite(v) else None for k, v in self.scores.items()}
        if self.classes is not None:
            values["classes"] = self.classes
        return json.dumps(values, indent=1, ensure_ascii=False)


def evaluate(estimator: Any, X: Any, y: list[Any]) -> Evaluation:
    """Compare the predictions of texts with what they should be."""
    known = {*map(str, getattr(estimator, "classes_", ()))}
    if known and not known & {*map(str, y)}:
        raise UsageError(
            f"No target is a class of the model, such as {y[0]!r:.60}: its classes are "
            f"{', '.join(sorted(known)[:10])}."
        )
    predicted = estimator.predict(X)
    if np.ndim(predicted) > 1:
        raise WorkError(
            "The model predicts several values a row, which this command does not "
            "evaluate."
        )
    return (
        score_labels(y, predicted) if is_classifier(estimator) else score(y, predicted)
    )


def score_labels(y: list[Any], predicted: Any) -> Evaluation:
    """Compare labels, as they are written."""
    true, found = [*map(str, y)], [*map(str, predicted)]
    report = classification_report(true, found, zero_division=0, output_dict=True)
    labels = sorted({*true, *found})
    return Evaluation(
        n_rows=len(true),
        scores={
            "accuracy": float(accuracy_score(true, found)),
            "macro_f1": float(f1_score(true, found, average="macro", zero_division=0)),
        },
        report=classification_report(true, found, zero_division=0),
        classes={
            label: {
                "precision": float(report[label]["precision"]),
                "recall": float(report[label]["recall"]),
                "f1": float(report[label]["f1-score"]),
                "n_rows": int(report[label]["support"]),
            }
            for label in labels
        },
    )


def score(y: list[Any], predicted: Any) -> Evaluation:
    """Compare numbers."""
    true, found = np.asarray(y, float), np.asarray(predicted, float)
    can_rank = len(true) > 1 and np.ptp(true) > 0 and np.ptp(found) > 0
    return Evaluation(
        n_rows=len(true),
        scores={
            "r2": float(r2_score(true, found)) if len(true) > 1 else math.nan,
            "mean_absolute_error": float(mean_absolute_error(true, found)),
            "spearman": float(spearmanr(true, found).statistic)
            if can_rank
            else math.nan,
        },
    )


def read_labelled(
    path: str, reading: Reading, names: list[str], target: str, task: Task
) -> tuple[Any, list[Any]]:
    """Return texts and targets of the rows of a file that have a target."""
    table = Table.at(path, reading)
    frame = table.read()
    check_columns(frame, [*names, target], table)
    lacking = missing_places(frame[target].tolist())
    if lacking:
        typer.echo(f"{count(len(lacking), 'row')} without a target left out.", err=True)
        frame = frame.drop(frame.index[lacking])
    if not len(frame):
        raise WorkError(f"{table.shown} has no row with a value of {target!r}.")
    frame, texts = read_texts(frame, names, reading.empty or Empty.keep, table)
    if not len(frame):
        raise WorkError(f"{table.shown} has no row with a text.")
    return texts, read_target(frame[target].tolist(), task, target).values


def run(
    model: str,
    file: str,
    *,
    target: str | None,
    as_json: bool,
    reading: Reading,
    loading: Loading,
) -> None:
    """Carry out the command."""
    Table.at(file, reading)  # refuses a file that is not there, before any loading
    estimator, columns = load(model, loading)
    names, target = _columns_of(estimator, columns, loading, target)
    task = Task.classification if is_classifier(estimator) else Task.regression
    texts, y = read_labelled(file, reading, names, target, task)
    X = as_X(texts, getattr(estimator, "feature_names_in_", None))
    found = evaluate(estimator, X, y)
    typer.echo(found.to_json() if as_json else str(found))


def _columns_of(
    estimator: Any, columns: FittedColumns, loading: Loading, target: str | None
) -> tuple[list[str], str]:
    """Return the columns of the texts, and of the target."""
    target = target or columns.target
    if target is None:
        raise UsageError(
            "The model does not know which column has the target. Name it: --target."
        )
    return text_columns(estimator, columns, loading, []), target
