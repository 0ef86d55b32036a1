"""Texts that stay on the disk: read some at a time, never all at once."""

from collections.abc import Iterator, Sequence
from typing import Any, overload

# A tokenizer holds some kilobytes for each text that it is given at once.
_ROWS_AT_ONCE = 4096


class DiskColumn(Sequence):
    """A column of Hugging Face's datasets, or of pyarrow, whose rows are lists."""

    def __init__(self, column: Any) -> None:
        self._column = column

    def __len__(self) -> int:
        return len(self._column)

    @overload
    def __getitem__(self, place: int) -> Any: ...

    @overload
    def __getitem__(self, place: slice) -> list[Any]: ...

    def __getitem__(self, place: int | slice) -> Any:
        found = self._column[place]
        for method in ("to_pylist", "as_py"):  # of pyarrow: rows, one row
            if hasattr(found, method):
                return getattr(found, method)()
        return found

    def __iter__(self) -> Iterator[Any]:
        for part in parts_of(self):
            yield from part


def is_on_disk(column: Any) -> bool:
    """Whether a column may be larger than the memory: it is read when it is asked."""
    is_of_datasets = hasattr(column, "source") and hasattr(column, "column_name")
    return is_of_datasets or hasattr(column, "combine_chunks")


def parts_of(rows: Sequence[Any]) -> Iterator[Any]:
    """Yield rows, some thousand at a time."""
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        yield rows[start : start + _ROWS_AT_ONCE]
