"""Files that are there whole, or not at all."""

import contextlib
import gzip
import io
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sksemantic._cli.command import forget_output
from sksemantic._cli.errors import UsageError, WorkError
from sksemantic._cli.options import Format
from sksemantic._cli.tables import STANDARD, import_pyarrow

Write = Callable[[pd.DataFrame], None]


def check_is_free(path: str, *, force: bool) -> None:
    """Refuse to write where something is, or where nothing can be written.

    Raises
    ------
    UsageError
    """
    place = Path(path)
    if place.exists() and not place.is_file():
        raise UsageError(
            f"{path!r} is no regular file, and is not replaced. '--out -' writes to "
            "standard output."
        )
    if place.exists() and not force:
        raise UsageError(f"{path!r} is there already. --force replaces it.")
    check_can_write(place.parent)


def check_can_write(directory: Path) -> None:
    """Refuse a directory that is not there, or cannot be written to.

    Raises
    ------
    UsageError
    """
    if not directory.is_dir():
        raise UsageError(f"There is no directory {str(directory)!r}.")
    if not os.access(directory, os.W_OK):
        raise UsageError(f"The directory {str(directory)!r} cannot be written to.")


@contextmanager
def replaced(path: str) -> Iterator[Path]:
    """Give a file beside a path, which takes its place once it is complete."""
    place = Path(os.path.realpath(path))
    part = place.with_name(f".{place.name}.{os.getpid()}.part")
    try:
        yield part
        os.replace(part, place)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


@contextmanager
def row_writer(path: str, format_: Format) -> Iterator[Write]:
    """Give a function that writes rows, part by part, to a file or standard output."""
    if path == STANDARD:
        with _standard_output() as file:
            yield _text_writer(file, format_)
        return
    with replaced(path) as part:
        if format_ is Format.parquet:
            with _parquet_writer(part) as write:
                yield write
            return
        opened: Any = gzip.open if path.lower().endswith(".gz") else open
        with opened(part, "wt", encoding="utf-8", newline="") as file:
            yield _text_writer(file, format_)


def _text_writer(file: Any, format_: Format) -> Write:
    """Return a function that writes rows to an open file."""
    columns: list[str] = []

    def write_cells(frame: pd.DataFrame) -> None:
        is_first = not columns
        columns.extend(frame.columns if is_first else ())
        new = [name for name in frame.columns if name not in columns]
        if new:
            raise WorkError(
                f"{new[0]!r} is in later rows only, and has no column in the output: "
                "write JSONL."
            )
        cells = frame.reindex(columns=columns).apply(_as_cells)
        cells.to_csv(
            file,
            sep="\t" if format_ is Format.tsv else ",",
            index=False,
            header=is_first,
            lineterminator="\n",
        )
        file.flush()

    def write_objects(frame: pd.DataFrame) -> None:
        for record in frame.astype(object).to_dict("records"):
            file.write(_as_json(_without_nan(record)) + "\n")
        file.flush()

    return write_objects if format_ is Format.jsonl else write_cells


def _without_nan(record: dict[str, Any]) -> dict[str, Any]:
    return {name: None if _is_nan(each) else each for name, each in record.items()}


def _is_nan(value: Any) -> bool:
    return (
        value is pd.NA or value is pd.NaT or isinstance(value, float) and isnan(value)
    )


def _as_json(value: Any) -> str:
    """Return JSON of a value; what it has no type for is a list, or a text."""
    return json.dumps(value, ensure_ascii=False, default=_plain)


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else str(value)


def _as_cells(column: "pd.Series[Any]") -> "pd.Series[Any]":
    """Return a column whose lists and objects are JSON, as cells cannot hold them."""
    nested = list | dict | np.ndarray
    if column.dtype.kind in "biufmM" or not any(isinstance(x, nested) for x in column):
        return column
    return column.astype(object).map(
        lambda value: _as_json(value) if isinstance(value, nested) else value
    )


@contextmanager
def _standard_output() -> Iterator[io.TextIOBase]:
    buffer = getattr(sys.stdout, "buffer", None)
    if buffer is None:  # replaced by something that holds text
        yield sys.stdout  # type: ignore[misc]
        return
    sys.stdout.flush()
    file = io.TextIOWrapper(buffer, encoding="utf-8", newline="")
    try:
        yield file
        file.flush()
    except BaseException:
        forget_output()  # else what is left to write would be waited for
        raise
    finally:
        with contextlib.suppress(BrokenPipeError):
            file.detach()


@contextmanager
def _parquet_writer(part: Path) -> Iterator[Write]:
    pyarrow, parquet = import_pyarrow()
    writers: list[Any] = []

    def write(frame: pd.DataFrame) -> None:
        table = pyarrow.Table.from_pandas(frame, preserve_index=False)
        if not writers:
            writers.append(parquet.ParquetWriter(part, table.schema))
        try:
            writers[0].write_table(table.cast(writers[0].schema))
        except (ValueError, KeyError) as exc:
            raise WorkError(
                f"Later rows have other types than the first: {exc} Write JSONL."
            ) from exc

    try:
        yield write
    finally:
        for writer in writers:
            writer.close()


def write_text(path: str, text: str) -> None:
    """Write a text to a file, or to standard output."""
    if path == STANDARD:
        with _standard_output() as file:
            file.write(text)
        return
    with replaced(path) as part:
        part.write_text(text, encoding="utf-8")
