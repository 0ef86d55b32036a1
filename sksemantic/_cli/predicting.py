"""`sksemantic predict`: predict the rows of a file, part by part."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import typer
from sklearn.base import is_classifier
from tqdm import tqdm

from sksemantic._cli.columns import as_X, check_columns, read_texts
from sksemantic._cli.errors import UsageError, count
from sksemantic._cli.models import load, text_columns
from sksemantic._cli.options import Empty, Format, Loading, Reading
from sksemantic._cli.tables import STANDARD, Table, format_of
from sksemantic._cli.writing import check_is_free, row_writer

_ROWS_AT_ONCE = 10_000
_DECIMALS = 6  # of probabilities


def run(
    model: str,
    file: str,
    *,
    out: str,
    proba: bool,
    only_predictions: bool,
    force: bool,
    reading: Reading,
    loading: Loading,
) -> None:
    """Carry out the command."""
    table = Table.at(file, reading)
    format_ = _output_format(out, table)
    if out != STANDARD:
        check_is_free(out, force=force)
    estimator, columns = load(model, loading)
    if proba and not is_classifier(estimator):
        raise UsageError("--proba needs a classifier, and this model predicts numbers.")
    names = None
    told: set[type[Warning]] = set()
    n_empty = 0
    with row_writer(out, format_) as write, _bar() as bar:
        for chunk in table.chunks(_ROWS_AT_ONCE):
            if names is None:
                known = [*map(str, chunk.columns)]
                names = text_columns(estimator, columns, loading, known)
                check_columns(chunk, names, table)
            chunk = _with_columns(chunk, names, table)
            rows, texts = read_texts(chunk, names, reading.empty or Empty.keep, table)
            n_empty += int(chunk[names].isna().any(axis=1).sum())
            bar.update(len(chunk))
            if not len(rows):
                continue
            with _told_once(told, rows.index):
                found = predict(estimator, texts, proba=proba, index=rows.index)
            write(found if only_predictions else _beside(rows, found, table))
    if n_empty:
        is_out = reading.empty is Empty.drop
        what = "left out" if is_out else "read as an empty text"
        typer.echo(f"{count(n_empty, 'row')} with an empty cell {what}.", err=True)


def predict(
    estimator: Any, texts: pd.DataFrame, *, proba: bool, index: pd.Index
) -> pd.DataFrame:
    """Return the predictions of texts, and the probabilities, as columns."""
    X = as_X(texts, getattr(estimator, "feature_names_in_", None))
    has_one_label = is_classifier(estimator) and not hasattr(estimator, "label_names_")
    probabilities = estimator.predict_proba(X) if proba else None
    if probabilities is not None and has_one_label and estimator.ordinal is False:
        predicted = estimator.classes_[probabilities.argmax(axis=1)]  # in one pass
    else:
        predicted = estimator.predict(X)
    found = _as_columns(predicted, "prediction", _names(estimator, predicted))
    if probabilities is not None:
        labels = [*map(str, _names(estimator, probabilities))]
        found |= _as_columns(np.round(probabilities, _DECIMALS), "probability", labels)
    return pd.DataFrame(found, index=index)


@contextmanager
def _told_once(told: set[type[Warning]], index: pd.Index) -> Iterator[None]:
    """Show a warning of each kind once, and which part of the file it is about."""
    with warnings.catch_warnings(record=True) as seen:
        yield
    for each in seen:
        if each.category not in told:
            told.add(each.category)
            part = f"Rows {index[0] + 1:,} to {index[-1] + 1:,}, counted from 0 in it"
            message = f"{part}: {each.message} Later parts are not warned of."
            warnings.warn(message, each.category, stacklevel=2)


def _names(estimator: Any, values: Any) -> list[str]:
    """Return what the columns of predictions, or of probabilities, are called."""
    if np.ndim(values) == 1:
        return []
    names = getattr(estimator, "label_names_", None)
    if names is None and is_classifier(estimator):
        names = estimator.classes_
    return [*map(str, range(values.shape[1]) if names is None else names)]


def _as_columns(values: Any, name: str, parts: list[str]) -> dict[str, list[Any]]:
    if np.ndim(values) == 1:
        return {name: values.tolist()}
    return {f"{name}_{part}": values[:, i].tolist() for i, part in enumerate(parts)}


def _beside(rows: pd.DataFrame, found: pd.DataFrame, table: Table) -> pd.DataFrame:
    """Return the predictions beside the columns of the file."""
    both = [name for name in found.columns if name in rows.columns]
    if both:
        raise UsageError(
            f"{table.shown} has a column {both[0]!r} already. Rename it, or write "
            "--only-predictions."
        )
    return pd.concat([rows, found], axis=1)


def _with_columns(chunk: pd.DataFrame, names: list[str], table: Table) -> pd.DataFrame:
    """Return a part of a file; objects of JSON may lack what others have."""
    absent = [name for name in names if name not in chunk.columns]
    if not absent or table.format is not Format.jsonl:
        return chunk
    return chunk.reindex(columns=[*chunk.columns, *absent])


def _output_format(out: str, table: Table) -> Format:
    """Return how the output is written: by its name, else as the input.

    Raises
    ------
    UsageError
        If its name tells no format.
    """
    if out == STANDARD:
        return Format.csv if table.format is Format.parquet else table.format
    found = format_of(out)
    if found is None and Path(out).is_dir():
        raise UsageError(f"--out {out!r} is a directory. Name a file in it.")
    if found is None:
        raise UsageError(
            f"The format of {out!r} is not known by its name: end it with .csv, .tsv, "
            ".jsonl or .parquet."
        )
    return found


def _bar() -> Any:
    """Return a bar on stderr, if that is a terminal."""
    return tqdm(unit=" rows", disable=None, leave=False)
