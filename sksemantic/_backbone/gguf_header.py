"""Checks of a GGUF file before anything reads it, by its header alone.

Its numbers say how long the lists are that a reader makes, and how large the modules.
"""

import mmap
import struct
from math import prod
from pathlib import Path
from typing import Any

from sksemantic._backbone.files import RefusedFiles

_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?"}
_NUMBERS |= {10: "Q", 11: "q", 12: "d"}
_STRING, _LIST = 8, 9
_LONGEST_TEXT = 1 << 24
_MOST_DIMENSIONS = 4
_MOST_TENSORS = 1 << 20
_SMALLEST_SIZE = 32  # bytes of a tensor with an entry in the header
_DEEPEST = 4


def read_gguf_header(file: Path) -> tuple[dict[str, Any], list[list[int]]]:
    """Return the values of a GGUF file, of lists their lengths, and all shapes."""
    try:
        with (
            file.open("rb") as opened,
            mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content,
        ):
            return _Reader(content).read()
    except (struct.error, ValueError, OverflowError, OSError) as exc:
        raise RefusedFiles(f"{file.name} has no header of GGUF ({exc})") from exc


class _Reader:
    """Goes through the header of a file; past its end `struct` raises an error."""

    def __init__(self, content: mmap.mmap) -> None:
        self.content = content
        self.place = 0

    def read(self) -> tuple[dict[str, Any], list[list[int]]]:
        if self.content[:4] != b"GGUF":
            raise ValueError("it does not begin with GGUF")
        self.place = 4
        version, n_tensors, n_values = self.take("<IQQ")
        if version not in (2, 3):
            raise ValueError(f"version {version}, where 2 or 3 is expected")
        if n_tensors > min(_MOST_TENSORS, len(self.content) // _SMALLEST_SIZE):
            raise ValueError(f"{n_tensors} tensors, for which it is too short")
        values = {}
        for _ in range(n_values):
            name = self.text()
            values[name] = self.value(self.take("<I")[0])
        return values, [self.shape() for _ in range(n_tensors)]

    def take(self, form: str) -> tuple[Any, ...]:
        found = struct.unpack_from(form, self.content, self.place)
        self.place += struct.calcsize(form)
        return found

    def skip(self, size: int) -> None:
        self.place += size
        if self.place > len(self.content):
            raise ValueError("it ends within its header")

    def text(self) -> str:
        (size,) = self.take("<Q")
        if size > _LONGEST_TEXT:
            raise ValueError(f"a text of {size} bytes")
        start = self.place
        self.skip(size)
        return self.content[start : self.place].decode("utf-8", errors="replace")

    def value(self, kind: int, depth: int = 0) -> Any:
        """Return a number or a text, or the length of a list."""
        if kind in _NUMBERS:
            return self.take("<" + _NUMBERS[kind])[0]
        if kind == _STRING:
            return self.text()
        if kind != _LIST or depth > _DEEPEST:
            raise ValueError(f"a value of the type {kind}")
        kind, length = self.take("<IQ")
        if kind in _NUMBERS:
            self.skip(length * struct.calcsize("<" + _NUMBERS[kind]))
        elif kind == _STRING:
            self.skip_texts(length)
        else:
            for _ in range(length):
                self.value(kind, depth + 1)
        return length

    def skip_texts(self, n: int) -> None:
        """Pass over texts: a vocabulary has hundreds of thousands."""
        place, size_of = self.place, struct.Struct("<Q").unpack_from
        for _ in range(n):
            place += 8 + size_of(self.content, place)[0]
        self.skip(place - self.place)

    def shape(self) -> list[int]:
        self.text()
        (n_dimensions,) = self.take("<I")
        if n_dimensions > _MOST_DIMENSIONS:
            raise ValueError(f"a tensor of {n_dimensions} dimensions")
        shape = list(self.take(f"<{n_dimensions}Q"))
        self.take("<IQ")
        if prod(shape) > 16 * len(self.content):
            raise ValueError(
                f"a tensor of the shape {shape}, for which it is too short"
            )
        return shape
