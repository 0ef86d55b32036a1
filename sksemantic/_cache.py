"""The activation cache: what is kept in memory between epochs, folds and fits."""

import mmap
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from sksemantic._backbone.registry import release_backbones
from sksemantic._backbone.torch_state import fork_safe_lock

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MEMORY_SHARE = 1 / 8  # of what is available when the process first asks
# Enough for 100,000 short texts of Gemma 3 270M: 1.4 GB of states, 0.3 GB of features.
_MAX_MEMORY = 2**31


def _available_memory() -> int:
    """Return how many bytes are free, as the system reports it."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            lines = dict(line.split(":", 1) for line in file)
        return 1024 * int(lines["MemAvailable"].split()[0])
    except (OSError, KeyError, ValueError):
        return 2**33  # not on Linux: what most machines can spare


def _copy_outside_heap(values: Tensor) -> Tensor:
    """Return a copy in memory of its own, which the system takes back when it is freed.

    On the heap, blocks that are dropped leave gaps between those that stay: the process
    grew by a third more than what was kept, and gave nothing back in the end.
    """
    buffer = mmap.mmap(-1, values.nbytes, access=mmap.ACCESS_COPY)
    copy = torch.frombuffer(buffer, dtype=values.dtype).view(values.shape)
    return copy.copy_(values.detach())


@dataclass(eq=False)
class _Block:
    """Entries that were put together, end to end (sum of T_i, C)."""

    values: Tensor
    names: list[tuple[Hashable, Hashable]]  # kind and key of each
    last_use: int


@dataclass(eq=False)
class _Entries:
    """The entries of one backbone."""

    blocks: list[_Block] = field(default_factory=list)
    # By kind and key: the block, and the start and stop of the values in it.
    places: dict[tuple, tuple[_Block, int, int]] = field(default_factory=dict)


class ActivationCache:
    """Frozen activations by backbone, kind and key.

    An entry (T_i, C) has the activations of one text, which the key identifies. A kind
    is all else that decides the values, such as prompt and layer. Entries that are put
    together are a block, and the least recently used block is dropped first. The
    entries of a backbone are freed with it. Several threads may call all methods.

    `limit` is the most bytes to keep; None is a share of what is available at the
    first use.
    """

    _lock = fork_safe_lock()  # one for all: a process has one cache, but for its tests

    def __init__(self, limit: int | None = None) -> None:
        self._limit = limit
        self._limits: dict[object, int] = {}  # of the open `limited` blocks, in order
        self.moment = 0  # the number of uses so far, to tell later ones from earlier
        self.clear()

    def clear(self) -> None:
        """Drop everything."""
        with self._lock:
            self._entries: WeakKeyDictionary[Any, _Entries] = WeakKeyDictionary()

    @property
    def limit(self) -> int:
        """The most bytes to keep."""
        with self._lock:
            if self._limits:
                return [*self._limits.values()][-1]
            if self._limit is None:
                share = int(_MEMORY_SHARE * _available_memory())
                self._limit = min(_MAX_MEMORY, share)
            return self._limit

    @property
    def n_bytes(self) -> int:
        """The bytes that are kept."""
        with self._lock:
            return sum(block.values.nbytes for _, block in self._blocks())

    def room(self, since: int) -> int:
        """Return the bytes that are free or were last used before a moment."""
        with self._lock:
            in_use = [block for _, block in self._blocks() if block.last_use > since]
            return self.limit - sum(block.values.nbytes for block in in_use)

    def has(self, backbone: Any, kind: Hashable, keys: Sequence[Hashable]) -> "NDArray":
        """Return which keys have an entry (n,), bool."""
        with self._lock:
            places = self._use(backbone, kind, keys)
        return np.array([place is not None for place in places], bool)

    def get(
        self, backbone: Any, kind: Hashable, keys: Sequence[Hashable]
    ) -> "tuple[NDArray, Tensor | None]":
        """Return which keys have an entry (n,), and a copy of these (sum of T_i, C).

        The entries are end to end in the keys' order; None if there are none.
        """
        with self._lock:
            places = self._use(backbone, kind, keys)
        # Copied outside the lock: the values of a block never change.
        has_entry = np.array([place is not None for place in places], bool)
        found = [p[0].values[p[1] : p[2]] for p in places if p is not None]
        return has_entry, torch.cat(found) if found else None

    def put(
        self,
        backbone: Any,
        kind: Hashable,
        keys: Sequence[Hashable],
        values: Tensor,
        lengths: "NDArray",
        *,
        since: int | None = None,
    ) -> None:
        """Keep a copy of entries, end to end (sum of T_i, C), if there is room.

        The entries of the keys have the `lengths` T_i (n,). Those that were used after
        the moment `since`, by default now, are not dropped for these.
        """
        with self._lock:
            room = self.room(self.moment if since is None else since)
            if not 0 < values.nbytes <= room:
                return
            self._shrink(self.limit - values.nbytes)
            self.moment += 1
            copy = _copy_outside_heap(values)
            names = [(kind, key) for key in keys]
            block = _Block(copy, names, self.moment)
            entries = self._entries.setdefault(backbone, _Entries())
            entries.blocks.append(block)
            stops = np.cumsum(lengths)
            spans = zip((stops - lengths).tolist(), stops.tolist(), strict=True)
            for name, span in zip(names, spans, strict=True):
                entries.places[name] = (block, *span)

    @contextmanager
    def limited(self, memory: int | None) -> Iterator[None]:
        """Keep at most so many bytes inside the block; None for as many as before.

        Of blocks that overlap in time, in several threads, the latest one counts.
        """
        block = object()
        with self._lock:
            self._limits[block] = self.limit if memory is None else memory
            self._shrink(self.limit)
        try:
            yield
        finally:
            with self._lock:
                del self._limits[block]
                self._shrink(self.limit)

    def _blocks(self) -> list[tuple[_Entries, _Block]]:
        return [(each, b) for each in [*self._entries.values()] for b in each.blocks]

    def _use(
        self, backbone: Any, kind: Hashable, keys: Sequence[Hashable]
    ) -> list[tuple[_Block, int, int] | None]:
        """Return where the entries of keys are, and note that they were used."""
        self.moment += 1
        entries = self._entries.get(backbone, _Entries())
        places = [entries.places.get((kind, key)) for key in keys]
        for place in places:
            if place is not None:
                place[0].last_use = self.moment
        return places

    def _shrink(self, n_bytes: int) -> None:
        """Drop the least recently used blocks until no more than this is kept."""
        excess = self.n_bytes - n_bytes
        for entries, block in sorted(self._blocks(), key=lambda each: each[1].last_use):
            if excess <= 0:
                break
            excess -= block.values.nbytes
            entries.blocks.remove(block)
            for name in block.names:
                if entries.places.get(name, (None,))[0] is block:  # not put again since
                    del entries.places[name]


activations = ActivationCache()


def clear_cache() -> None:
    """Free what is kept between fits: activations and the latest backbone.

    Fitted estimators keep the backbone they use; it is freed with the last of them.

    Examples
    --------
    >>> import sksemantic
    >>> sksemantic.clear_cache()
    """
    activations.clear()
    release_backbones()


@contextmanager
def cache_limits(memory: int | None = None) -> Iterator[None]:
    """Limit the memory for the activations of texts that are kept between fits.

    Every fit looks up the outputs of the frozen layers below the first tuned one, and
    the features of the linear probe, before it computes them. By default they may take
    an eighth of the available memory, at most 2 GiB. The least recently used ones are
    dropped first; what does not fit is computed again in each epoch.

    Parameters
    ----------
    memory : int, default=None
        Bytes of main memory; 0 for none, None for as many as before.

    Raises
    ------
    ValueError
        If `memory` is no number of bytes.

    Examples
    --------
    >>> import sksemantic
    >>> with sksemantic.cache_limits(memory=0):
    ...     pass  # fit without keeping anything
    """
    is_number = isinstance(memory, int | np.integer) and not isinstance(memory, bool)
    if memory is not None and not (is_number and memory >= 0):
        raise ValueError(
            "The 'memory' parameter must be a number of bytes, 0 or more, or None. "
            f"Got {memory!r} instead."
        )
    with activations.limited(memory):
        yield
