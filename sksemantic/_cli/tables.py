"""Rows of a file, in parts or all at once."""

import gzip
import io
import json
import sys
import warnings
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd

from sksemantic._cli.errors import UsageError, WorkError
from sksemantic._cli.options import Format, Reading

STANDARD = "-"
_ENDINGS = {
    ".csv": Format.csv,
    ".tsv": Format.tsv,
    ".tab": Format.tsv,
    ".jsonl": Format.jsonl,
    ".ndjson": Format.jsonl,
    ".parquet": Format.parquet,
    ".pq": Format.parquet,
}
_DELIMITERS = {";": "';'", "\t": "'\\t'", "|": "'|'", ",": "','"}
_ROWS_READ = 10_000
_MOST_OF_HEADER = 10_000  # characters
# What a reader raises on a file that is not what its name says.
_BROKEN = (OSError, EOFError, ValueError, zlib.error)


def format_of(path: str) -> Format | None:
    """Return the format that a file's name tells, if it does."""
    name = path.lower().removesuffix(".gz")
    return _ENDINGS.get(Path(name).suffix)


@dataclass(frozen=True)
class Table:
    """A file of rows; nothing of it is kept.

    Attributes
    ----------
    path : str
        "-" for standard input.
    format : Format
    delimiter : str
        Of CSV and TSV.
    encoding : str
    """

    path: str
    format: Format
    delimiter: str
    encoding: str

    @classmethod
    def at(cls, path: str, reading: Reading) -> "Table":
        """Return the table of a path.

        Raises
        ------
        UsageError
            If there is no such file, or nobody knows its format.
        """
        _check_is_there(path)
        format_ = reading.format or format_of(path)
        if format_ is None and path == STANDARD:
            format_ = Format.csv
        if format_ is None:
            raise UsageError(
                f"The format of {path!r} is not known by its name. Name it: "
                f"--format {'|'.join(Format)}."
            )
        if format_ is Format.parquet and path == STANDARD:
            raise UsageError("Parquet cannot be read from standard input.")
        default = "\t" if format_ is Format.tsv else ","
        given = default if reading.delimiter is None else reading.delimiter
        delimiter = given.replace("\\t", "\t")
        if len(delimiter) != 1:
            raise UsageError(
                f"--delimiter must be one character, or '\\t'. Got {given!r} instead."
            )
        return cls(path, format_, delimiter, reading.encoding)

    @property
    def shown(self) -> str:
        """What it is called in messages."""
        return "standard input" if self.path == STANDARD else self.path

    def read(self) -> pd.DataFrame:
        """Return all rows.

        Raises
        ------
        WorkError
            If the file cannot be read, or has no row.
        """
        return pd.concat([*self.chunks()], ignore_index=True)

    def chunks(self, n_rows: int = _ROWS_READ) -> Iterator[pd.DataFrame]:
        """Yield the rows in parts, indexed from 0 on.

        Raises
        ------
        WorkError
            If the file cannot be read, or has no row.
        """
        n_done = 0
        for chunk in self._explained(self._raw_chunks(n_rows)):
            chunk.index = pd.RangeIndex(n_done, n_done + len(chunk))
            n_done += len(chunk)
            if len(chunk):
                yield chunk
        if not n_done:
            raise WorkError(f"{self.shown} has no rows.")

    def _raw_chunks(self, n_rows: int) -> Iterator[pd.DataFrame]:
        if self.format is Format.parquet:
            yield from _parquet_chunks(self.path, n_rows)
            return
        with self._open() as file:
            if self.format is Format.jsonl:
                yield from _json_chunks(file, n_rows)
            else:
                yield from _csv_chunks(file, self.delimiter, n_rows)

    def _explained(self, chunks: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        """Yield the chunks; say which file could not be read, and why."""
        while True:
            try:
                chunk = next(chunks, None)
            except UnicodeDecodeError as exc:
                raise WorkError(
                    f"{self.shown} is not in {exc.encoding}: {exc.reason}. Name its "
                    "encoding, such as --encoding cp1252."
                ) from exc
            except pd.errors.EmptyDataError as exc:
                raise WorkError(f"{self.shown} is empty.") from exc
            except LookupError as exc:
                raise UsageError(f"--encoding: {exc}.") from exc
            except _BROKEN as exc:
                hint = self._hint_at_delimiter()
                raise WorkError(
                    f"{self.shown} cannot be read as {self.format}: {str(exc).strip()}"
                    + (f". {hint}" if hint else "")
                ) from exc
            if chunk is None:
                return
            yield chunk

    def _hint_at_delimiter(self) -> str:
        """Return what to do if the header of the file has another delimiter."""
        if self.path == STANDARD or self.format not in (Format.csv, Format.tsv):
            return ""
        try:
            with self._open() as file:
                header = file.readline(_MOST_OF_HEADER).strip()
        except _BROKEN:
            return ""
        is_cut = self.delimiter in header
        return "" if is_cut else delimiter_hint([header], self.delimiter)

    @contextmanager
    def _open(self) -> Iterator[io.TextIOBase]:
        if self.path != STANDARD:
            opened: Any = gzip.open if self.path.lower().endswith(".gz") else open
            with opened(self.path, "rt", encoding=self.encoding, newline="") as file:
                yield file
            return
        wrapped = io.TextIOWrapper(sys.stdin.buffer, encoding=self.encoding, newline="")
        try:
            yield wrapped
        finally:
            wrapped.detach()


def delimiter_hint(columns: list[str], delimiter: str) -> str:
    """Return what to do if the header seems to be cut at the wrong character."""
    for other, shown in _DELIMITERS.items():
        if len(columns) == 1 and other in columns[0] and other != delimiter:
            return (
                f"Its only column is {columns[0]!r}: if {shown} is between the cells, "
                f"add --delimiter {shown}."
            )
    return ""


def format_hint(columns: list[str]) -> str:
    """Return what to do if the header seems to be a row of JSON."""
    return "Is it JSON? Add --format jsonl." if columns[0].startswith("{") else ""


def _check_is_there(path: str) -> None:
    if path == STANDARD:
        return
    if Path(path).is_dir():
        raise UsageError(f"{path!r} is a directory. Name one file in it.")
    if not Path(path).exists():
        raise UsageError(f"There is no file {path!r}.")


def _csv_chunks(
    file: io.TextIOBase, delimiter: str, n_rows: int
) -> Iterator[pd.DataFrame]:
    """Yield rows whose cells are str, or missing where there is nothing."""
    # A text of "NA" or "None" is a text; row names are not guessed.
    parts = pd.read_csv(
        file,
        sep=delimiter,
        dtype=str,
        keep_default_na=False,
        na_values=[""],
        index_col=False,
        chunksize=n_rows,
    )
    while True:
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always", pd.errors.ParserWarning)
            part = next(parts, None)
        if part is None:
            return
        if any(each.category is pd.errors.ParserWarning for each in seen):
            names = [*map(str, part.columns)]
            raise ValueError(
                f"the first row has more cells than the header. Quote cells that "
                f"contain {delimiter!r}. {delimiter_hint(names, delimiter)}"
            )
        yield part


def _json_chunks(file: Iterable[str], n_rows: int) -> Iterator[pd.DataFrame]:
    """Yield rows whose cells are as JSON holds them."""
    records = _records(file)
    while batch := [*islice(records, n_rows)]:
        yield pd.DataFrame(batch, dtype=object)


def _records(file: Iterable[str]) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError as exc:
            raise ValueError(f"line {number} is no JSON ({exc})") from exc
        if not isinstance(record, dict):
            raise ValueError(f"line {number} is no JSON object, but {line[:60]!r}")
        yield record


def _parquet_chunks(path: str, n_rows: int) -> Iterator[pd.DataFrame]:
    """Yield rows whose columns keep the types of the file."""
    pyarrow, parquet = import_pyarrow()
    with parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=n_rows):
            table = pyarrow.Table.from_batches([batch]).replace_schema_metadata(None)
            yield table.to_pandas(types_mapper=pd.ArrowDtype)


def import_pyarrow() -> tuple[Any, Any]:
    """Return pyarrow and its module for Parquet.

    Raises
    ------
    WorkError
        If it is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as exc:
        raise WorkError("Parquet files need pyarrow: pip install pyarrow.") from exc
    return pyarrow, pyarrow.parquet
