"""What is worth keeping from one epoch, fold or fit to the next, within byte budgets.

Rows of any length (tokens, or hidden states of a text) are kept under a key each, in
shelves: one for each kind, such as the states entering the seventh layer of one
backbone behind one prompt. What does not fit into memory goes to unnamed temporary
files, the least recently used shelf first; what does not fit there either is dropped.
"""

import os
import shutil
import tempfile
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import RLock
from typing import TYPE_CHECKING, Any
from weakref import finalize

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

_MEMORY_SHARE = 1 / 8  # of what is available when the process first asks
_MOST_MEMORY = 2**30
_DISK_SHARE = 1 / 4  # of what is free in the folder for temporary files
_MOST_DISK = 2**36
_TEXTS_AT_ONCE = 2**13
_ENTRY_BYTES = 300  # of a text's place in a dictionary, about


@dataclass
class Budget:
    """How many bytes may be kept in memory, and how many in temporary files."""

    memory: int
    disk: int

    @property
    def total(self) -> int:
        """The bytes that may be kept anywhere."""
        return self.memory + self.disk

    @classmethod
    def default(cls) -> "Budget":
        """Return a share of what this machine has to spare."""
        disk = shutil.disk_usage(tempfile.gettempdir()).free
        return cls(
            memory=min(_MOST_MEMORY, int(_MEMORY_SHARE * available_memory())),
            disk=min(_MOST_DISK, int(_DISK_SHARE * disk)),
        )


def available_memory() -> int:
    """Return the bytes that new allocations may take, as far as the system tells."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            lines = dict(line.split(":", 1) for line in file)
        return 1024 * int(lines["MemAvailable"].split()[0])
    except (OSError, KeyError, ValueError):
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (AttributeError, OSError, ValueError):
        return 2**32


class _SpillFile:
    """Rows in a file that has no name, and ends with the processes that hold it.

    It is read and written at places, never mapped: pages of a mapped file count as the
    process's own memory, many times as many as were asked for.
    """

    def __init__(self) -> None:
        self._file: Any = tempfile.TemporaryFile(buffering=0)
        finalize(self, self._file.close)
        self._owner = os.getpid()
        self._size = 0

    @property
    def is_own(self) -> bool:
        """Whether this process made it; a forked one must not write there, too."""
        return self._owner == os.getpid()

    def append(self, values: "NDArray") -> int:
        """Write bytes (n,) to the end; return where they begin.

        Raises
        ------
        OSError
            If there is no room; what came before stays as it was.
        """
        start, left = self._size, values.data
        try:
            self._file.seek(start)
            while left:
                left = left[self._file.write(left) :]
        except OSError:
            self._file.truncate(start)  # give back what did not suffice
            raise
        self._size += len(values)
        return start

    def read(self, start: int, values: "NDArray") -> None:
        """Fill an array (n,) with the bytes from a place on."""
        left = values.data
        while left:
            if hasattr(os, "preadv"):  # leaves the place that forked processes share
                n_read = os.preadv(self._file.fileno(), [left], start)
            else:
                self._file.seek(start)
                n_read = self._file.readinto(left)
            if not n_read:
                raise OSError("A temporary file is shorter than it was.")
            start, left = start + n_read, left[n_read:]


class _Segment:
    """Rows that were put together, end to end (n, C), in memory or in a file."""

    def __init__(self, values: "Tensor") -> None:
        self.values: Tensor | None = values.contiguous()
        self.width: int = values.shape[1]
        self.dtype = values.dtype
        self.row_bytes = self.width * values.element_size()
        self.n_bytes = len(values) * self.row_bytes
        self._file: _SpillFile | None = None
        self._start = 0

    @property
    def is_spilled(self) -> bool:
        """Whether the rows lie in a file."""
        return self._file is not None

    def own(self) -> None:
        """Copy the rows, which so far are the caller's."""
        assert self.values is not None
        self.values = self.values.clone()

    def spill(self, file: _SpillFile) -> None:
        """Move the rows to the end of a file."""
        assert self.values is not None
        self._start = file.append(_as_bytes(self.values).reshape(-1))
        self._file, self.values = file, None

    def read(self, start: int, into: "Tensor") -> None:
        """Copy rows, from one on, into a place (T, C) that lies end to end."""
        if self._file is not None:
            place = self._start + start * self.row_bytes
            self._file.read(place, _as_bytes(into).reshape(-1))
        elif self.values is not None:
            into.copy_(self.values[start : start + len(into)])


def _as_bytes(values: "Tensor") -> "NDArray":
    """Return the bytes (n, C * size) of rows (n, C), not copied."""
    import torch

    return values.view(torch.uint8).numpy()


class Shelf:
    """Rows of one kind: (T_i, C) each, under a key each."""

    def __init__(self, store: "Store") -> None:
        self._store = store
        self._segments: list[_Segment] = []
        self.clear()

    def clear(self) -> None:
        """Forget all rows."""
        self._index: dict[Hashable, int] = {}
        self._segments = []
        self._places = np.zeros((0, 3), np.int64)  # segment, start, length
        self._file: _SpillFile | None = None

    @property
    def memory(self) -> int:
        """Bytes held in memory."""
        return sum(s.n_bytes for s in self._segments if not s.is_spilled)

    @property
    def disk(self) -> int:
        """Bytes held in files."""
        return sum(s.n_bytes for s in self._segments if s.is_spilled)

    def has(self, keys: Sequence[Hashable]) -> "NDArray":
        """Return which keys there are rows for (n,), bool."""
        with self._store.lock:
            return np.fromiter((key in self._index for key in keys), bool, len(keys))

    def put(
        self, keys: Sequence[Hashable], values: "Tensor", lengths: "NDArray"
    ) -> None:
        """Keep rows, laid end to end (sum of lengths, C), if the budgets allow it.

        They are copied; the caller may go on and overwrite them.
        """
        with self._store.lock:
            segment = _Segment(values.detach().cpu())
            if not self._store.make_room(self, segment):
                return
            places = np.empty((len(keys), 3), np.int64)
            places[:, 0] = len(self._segments)
            places[:, 1] = np.cumsum(lengths) - lengths
            places[:, 2] = lengths
            first = len(self._places)
            self._index.update(zip(keys, range(first, first + len(keys)), strict=True))
            self._places = np.concatenate([self._places, places])
            self._segments.append(segment)

    def get(self, keys: Sequence[Hashable]) -> "tuple[Tensor, NDArray]":
        """Return the rows of these keys, padded with zeros (B, T, C), and lengths (B,).

        Raises
        ------
        KeyError
            If there is no row for a key.
        """
        import torch

        with self._store.lock:
            self._store.touch(self)
            rows = np.fromiter((self._index[key] for key in keys), np.int64, len(keys))
            segments, starts, lengths = self._places[rows].T
            like = self._segments[0]
            shape = len(keys), int(lengths.max(initial=0)), like.width
            found = torch.zeros(shape, dtype=like.dtype)
            rows = np.arange(len(keys))
            if shape[1] == 1:  # many of them, mostly: those in memory at once
                for number in np.unique(segments):
                    values = self._segments[number].values
                    if values is not None:
                        chosen = np.flatnonzero((segments == number) & (lengths == 1))
                        found[chosen, 0] = values[torch.from_numpy(starts[chosen])]
                spilled = [segment.is_spilled for segment in self._segments]
                rows = rows[np.array(spilled)[segments]]
            for i in rows:
                segment = self._segments[segments[i]]
                segment.read(int(starts[i]), found[i, : lengths[i]])
            return found, lengths

    def spill(self) -> None:
        """Move what is in memory to a file.

        Raises
        ------
        OSError
            If there is no room for it.
        """
        for segment in self._segments:
            if not segment.is_spilled:
                self.spill_one(segment)

    def spill_one(self, segment: _Segment) -> None:
        """Move a segment to the shelf's file."""
        if self._file is None or not self._file.is_own:
            self._file = _SpillFile()
        segment.spill(self._file)


class Store:
    """Shelves within one budget, least recently used first to go.

    Parameters
    ----------
    budget : Budget or None
        None: a share of what the machine has to spare, when it is first needed.
    """

    def __init__(self, budget: Budget | None = None) -> None:
        self.lock = RLock()
        self._budget = budget
        self._shelves: OrderedDict[Hashable, Shelf] = OrderedDict()

    @property
    def budget(self) -> Budget:
        """The bytes that may be kept."""
        if self._budget is None:
            self._budget = Budget.default()
        return self._budget

    @property
    def memory(self) -> int:
        """Bytes held in memory."""
        return sum(shelf.memory for shelf in self._shelves.values())

    @property
    def disk(self) -> int:
        """Bytes held in files."""
        return sum(shelf.disk for shelf in self._shelves.values())

    def shelf(self, key: Hashable) -> Shelf:
        """Return the shelf of one kind of rows, a new one if need be."""
        with self.lock:
            if key not in self._shelves:
                self._shelves[key] = Shelf(self)
            return self._shelves[key]

    def touch(self, shelf: Shelf) -> None:
        """Make a shelf the most recently used one."""
        for key, other in self._shelves.items():
            if other is shelf:
                self._shelves.move_to_end(key)
                return

    def make_room(self, shelf: Shelf, segment: _Segment) -> bool:
        """Bring the budgets in order for a new segment; whether it can be kept."""
        with self.lock:
            if segment.n_bytes == 0 or shelf not in self._shelves.values():
                return False  # empty, or cleared meanwhile
            self.touch(shelf)
            others = [*self._shelves.values()][:-1]
            if self._free_memory(segment.n_bytes, others):
                segment.own()
                return True
            if not self._free_disk(segment.n_bytes, others):
                return False
            try:
                shelf.spill_one(segment)
            except OSError:  # the disk is fuller than it said
                return False
            return True

    def _free_memory(self, n_bytes: int, shelves: list[Shelf]) -> bool:
        """Spill shelves in this order until so much fits into memory, if it can."""
        for i, shelf in enumerate(shelves):
            if self.memory + n_bytes <= self.budget.memory:
                break
            if not self._free_disk(shelf.memory, shelves[:i]):
                shelf.clear()
                continue
            try:
                shelf.spill()
            except OSError:
                shelf.clear()
        return self.memory + n_bytes <= self.budget.memory

    def _free_disk(self, n_bytes: int, shelves: list[Shelf]) -> bool:
        """Drop shelves in this order until so much fits on disk, if it can."""
        for shelf in shelves:
            if self.disk + n_bytes <= self.budget.disk:
                break
            shelf.clear()
        return self.disk + n_bytes <= self.budget.disk

    def clear(self) -> None:
        """Forget everything; files are gone with it."""
        with self.lock:
            for shelf in self._shelves.values():
                shelf.clear()
            self._shelves.clear()

    def drop(self, owner: int) -> None:
        """Forget the shelves of an owner: the first part of their key."""
        with self.lock:
            for key in [k for k in self._shelves if isinstance(k, tuple)]:
                if key[0] == owner:
                    self._shelves.pop(key).clear()

    @contextmanager
    def limited(self, memory: int | None, disk: int | None) -> Iterator[None]:
        """Keep within another budget; at the end all beyond the former is dropped."""
        with self.lock:
            former = self.budget
            self._budget = Budget(
                former.memory if memory is None else memory,
                former.disk if disk is None else disk,
            )
            self._shrink()
        try:
            yield
        finally:
            with self.lock:
                self._budget = former
                self._shrink()

    def _shrink(self) -> None:
        """Spill, then drop, until the budget is kept."""
        shelves = [*self._shelves.values()]
        self._free_memory(0, shelves)
        self._free_disk(0, shelves)


activations = Store()


class TokenCache:
    """Token ids of texts seen before, by tokenizer; forgotten all at once when full."""

    def __init__(self, most_bytes: int = 2**26) -> None:
        self.most_bytes = most_bytes
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._ids: dict[tuple[Hashable, str], NDArray] = {}
        self._n_bytes = 0

    def encode(
        self,
        owner: Hashable,
        texts: list[str],
        encode: "Callable[[list[str]], list[list[int]]]",
    ) -> "list[NDArray]":
        """Return the ids (T_i,), int32, of each text; only new ones are encoded."""
        known = self._ids
        new = list(dict.fromkeys(t for t in texts if (owner, t) not in known))
        fresh: dict[str, NDArray] = {}
        for start in range(0, len(new), _TEXTS_AT_ONCE):
            chunk = new[start : start + _TEXTS_AT_ONCE]
            rows = [np.array(ids, np.int32) for ids in encode(chunk)]
            fresh.update(zip(chunk, rows, strict=True))
        found = [fresh[t] if t in fresh else known[owner, t] for t in texts]
        size = sum(_ENTRY_BYTES + 4 * len(ids) + len(t) for t, ids in fresh.items())
        if self._n_bytes + size > self.most_bytes:
            self.clear()
        if size <= min(self.most_bytes, activations.budget.memory):
            self._ids.update({(owner, text): ids for text, ids in fresh.items()})
            self._n_bytes += size
        return found


tokens = TokenCache()
