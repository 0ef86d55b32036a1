"""Batches of rows as engines hand them over: to read columns, and to add one."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sksemantic._inputs.columns import as_list

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sksemantic._engines.column_type import ColumnType


def read_columns(batch: Any, names: list[str]) -> list[list[Any]]:
    """Return columns of a batch as lists.

    Raises
    ------
    TypeError
        If it is no batch, or has the texts of one row alone.
    ValueError
        If it lacks a column, has it twice, or its columns differ in length.
    """
    known = column_names(batch)
    missing = [name for name in names if name not in known]
    if missing:
        raise ValueError(
            f"The batch must have the column(s) {names}, as the 'text' parameter "
            f"says. Got the columns {known} instead."
        )
    twice = [name for name in names if known.count(name) > 1]
    if twice:
        raise ValueError(f"The batch has several columns {twice[0]!r}: rename them.")
    row = next((name for name in names if isinstance(batch[name], str)), None)
    if row is not None:
        raise TypeError(
            f"The column {row!r} of a batch must have a text for each row. Got a "
            "single str instead, as of one row: pass batches. Of a datasets.Dataset "
            "that is dataset.map(predictor, batched=True)."
        )
    if isinstance(batch, Mapping) and len({len(batch[name]) for name in known}) > 1:
        lengths = ", ".join(f"{name!r} {len(batch[name])}" for name in known)
        raise ValueError(f"The columns of a batch must be equally long. Got {lengths}.")
    return [as_list(batch[name]) for name in names]


def is_batch(batch: Any) -> bool:
    """Whether it is a batch of rows, of one of the libraries that are known."""
    return isinstance(batch, Mapping | pd.DataFrame) or _is_arrow(batch)


def column_names(batch: Any) -> list[Any]:
    """Return the names of a batch's columns."""
    if isinstance(batch, Mapping):
        return [*batch]
    if _is_arrow(batch):
        return [*batch.column_names]
    if isinstance(batch, pd.DataFrame):
        return [*batch.columns]
    raise TypeError(
        "A batch must be a pandas DataFrame, a table or record batch of pyarrow, or a "
        f"dictionary of columns. Got {type(batch).__name__} instead."
    )


def with_column(batch: Any, name: str, values: "NDArray", kind: "ColumnType") -> Any:
    """Return a batch of the same library with one column more, the last one.

    `values` has an entry for each row.
    """
    if isinstance(batch, Mapping):
        return {**batch, name: as_array(values, kind)}
    rows = [*map(_lists, values)] if kind.depth == 2 else [*values]
    if _is_arrow(batch):
        import pyarrow

        return batch.append_column(name, pyarrow.array(rows, kind.arrow()))
    column = pd.Series(rows, index=batch.index, dtype=kind.pandas)
    return batch.assign(**{name: column})


def as_array(values: "NDArray", kind: "ColumnType") -> "NDArray":
    """Return values as engines take arrays: of str as objects, without a fixed width.

    Lists of one length a row are an array of two dimensions.
    """
    if kind.is_ragged:
        return values
    return values.astype(object if kind.value == "str" else kind.value)


def _is_arrow(batch: Any) -> bool:
    return hasattr(batch, "append_column") and hasattr(batch, "column_names")


def _lists(row: Any) -> list[Any]:
    """Return the words of a row, each with a list."""
    return [*map(np.ndarray.tolist, row)]
