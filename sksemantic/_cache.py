"""The activation cache: what is kept in memory between epochs, folds and fits."""

from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from numbers import Integral
from threading import RLock
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from sksemantic._backbone.registry import release_backbones

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

_MEMORY_SHARE = 1 / 8  # of what is available when the process first asks
# Enough for 100,000 short texts of Gemma 3 270M: 1.4 GB of states, 0.3 GB of features.
_MAX_MEMORY = 2**31
# Memory is taken in large pieces: many small ones of different sizes leave gaps.
_CHUNK_BYTES = 2**23


def _available_memory() -> int:
    """Return how many bytes are free, as the system reports it."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            lines = dict(line.split(":", 1) for line in file)
        return 1024 * int(lines["MemAvailable"].split()[0])
    except (OSError, KeyError, ValueError):
        return 2**33  # not on Linux: what most machines can spare


@dataclass(eq=False)
class _Chunk:
    """Entries of one kind, end to end in one piece of memory."""

    values: "Tensor"  # (size, C), of which n_used are filled
    n_used: int = 0
    keys: list[Hashable] = field(default_factory=list)
    last_use: int = 0

    @property
    def n_bytes(self) -> int:
        return self.n_used * self.values.shape[1] * self.values.element_size()


@dataclass(eq=False)
class _Kind:
    """The entries of one kind."""

    # By key: the chunk, and the start and stop of the values in it.
    places: dict[Hashable, tuple[_Chunk, int, int]] = field(default_factory=dict)
    chunks: list[_Chunk] = field(default_factory=list)

    def drop(self, chunk: _Chunk) -> None:
        """Drop the entries of a chunk."""
        self.chunks.remove(chunk)
        for key in chunk.keys:
            if self.places.get(key, (None,))[0] is chunk:  # not put again since
                del self.places[key]


class ActivationCache:
    """Frozen activations by backbone, kind and key.

    An entry (T_i, C) has the activations of one text, which the key identifies. A kind
    is all else that decides the values, such as prompt and layer. Entries are kept in
    chunks, and the least recently used chunk is dropped first. The entries of a
    backbone are freed with it. All methods may be called from several threads.

    Parameters
    ----------
    limit : int or None
        The most bytes to keep. None: a share of what is available at the first use.
    chunk_bytes : int
        The size of a chunk.
    """

    def __init__(
        self, limit: int | None = None, chunk_bytes: int = _CHUNK_BYTES
    ) -> None:
        self._lock = RLock()
        self._limit = limit
        self._chunk_bytes = chunk_bytes
        self._n_uses = 0
        self.clear()

    def clear(self) -> None:
        """Drop everything."""
        with self._lock:
            self._kinds: WeakKeyDictionary[Any, dict] = WeakKeyDictionary()

    @property
    def limit(self) -> int:
        """The most bytes to keep."""
        with self._lock:
            if self._limit is None:
                share = int(_MEMORY_SHARE * _available_memory())
                self._limit = min(_MAX_MEMORY, share)
            return self._limit

    @property
    def n_bytes(self) -> int:
        """The bytes that are kept."""
        with self._lock:
            return sum(chunk.n_bytes for _, chunk in self._all_chunks())

    @property
    def moment(self) -> int:
        """The number of uses so far, to tell later uses from earlier ones."""
        return self._n_uses

    def room(self, since: int) -> int:
        """Return the bytes that are free or were last used before a moment."""
        with self._lock:
            in_use = (c for _, c in self._all_chunks() if c.last_use > since)
            return self.limit - sum(chunk.n_bytes for chunk in in_use)

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
            has_entry = np.array([place is not None for place in places], bool)
            entries = [place for place in places if place is not None]
            if not entries:
                return has_entry, None
            like = entries[0][0].values
            n = sum(stop - start for _, start, stop in entries)
            values = like.new_empty(n, like.shape[1])
            n_done = 0
            for chunk, start, stop in entries:
                values[n_done : n_done + stop - start] = chunk.values[start:stop]
                n_done += stop - start
            return has_entry, values

    def put(
        self,
        backbone: Any,
        kind: Hashable,
        keys: Sequence[Hashable],
        values: "Tensor",
        lengths: "NDArray",
        *,
        since: int | None = None,
    ) -> None:
        """Keep a copy of entries, end to end (sum of T_i, C), if there is room.

        Parameters
        ----------
        backbone, kind, keys
            What the entries are looked up by.
        values : Tensor of shape (sum of T_i, C)
        lengths : ndarray of shape (n,)
            T_i of each entry.
        since : int or None
            A moment: entries used after it are not dropped for these. None: now.
        """
        values = values.detach().cpu()
        n_bytes = values.numel() * values.element_size()
        with self._lock:
            since = self.moment if since is None else since
            if n_bytes == 0 or n_bytes > self.room(since):
                return
            self._shrink(self.limit - n_bytes)
            kinds = self._kinds.setdefault(backbone, {})
            entries = kinds.setdefault(kind, _Kind())
            chunk = self._chunk_with_room(entries, values)
            start = chunk.n_used
            chunk.values[start : start + len(values)] = values
            chunk.n_used += len(values)
            chunk.keys += keys
            self._n_uses += 1
            chunk.last_use = self._n_uses
            stops = start + np.cumsum(lengths)
            spans = zip((stops - lengths).tolist(), stops.tolist(), strict=True)
            for key, span in zip(keys, spans, strict=True):
                entries.places[key] = (chunk, *span)

    @contextmanager
    def limited(self, memory: int | None) -> Iterator[None]:
        """Keep at most so many bytes inside the block; None for as many as before."""
        former = self.limit
        self._set_limit(former if memory is None else memory)
        try:
            yield
        finally:
            self._set_limit(former)

    def _set_limit(self, limit: int) -> None:
        with self._lock:
            self._limit = limit
            self._shrink(limit)

    def _all_chunks(self) -> list[tuple[_Kind, _Chunk]]:
        kinds = [kind for each in [*self._kinds.values()] for kind in each.values()]
        return [(kind, chunk) for kind in kinds for chunk in kind.chunks]

    def _use(
        self, backbone: Any, kind: Hashable, keys: Sequence[Hashable]
    ) -> list[tuple[_Chunk, int, int] | None]:
        """Return where the entries of keys are, and note that they were used."""
        self._n_uses += 1
        entries = self._kinds.get(backbone, {}).get(kind)
        places = [entries.places.get(key) if entries else None for key in keys]
        for place in places:
            if place is not None:
                place[0].last_use = self._n_uses
        return places

    def _chunk_with_room(self, entries: _Kind, values: "Tensor") -> _Chunk:
        """Return the latest chunk, or a new one if it is too full."""
        n, width = values.shape
        chunk = entries.chunks[-1] if entries.chunks else None
        if chunk is None or chunk.n_used + n > len(chunk.values):
            size = max(n, self._chunk_bytes // (width * values.element_size()))
            chunk = _Chunk(values.new_empty(size, width))
            entries.chunks.append(chunk)
        return chunk

    def _shrink(self, n_bytes: int) -> None:
        """Drop the least recently used chunks until no more than this is kept."""
        kept = self._all_chunks()
        total = sum(chunk.n_bytes for _, chunk in kept)
        for kind, chunk in sorted(kept, key=lambda each: each[1].last_use):
            if total <= n_bytes:
                break
            kind.drop(chunk)
            total -= chunk.n_bytes


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
    if memory is not None and not _is_number_of_bytes(memory):
        raise ValueError(
            "The 'memory' parameter must be a number of bytes, 0 or more, or None. "
            f"Got {memory!r} instead."
        )
    with activations.limited(memory):
        yield


def _is_number_of_bytes(limit: object) -> bool:
    is_number = isinstance(limit, Integral) and not isinstance(limit, bool)
    return is_number and int(limit) >= 0  # type: ignore[call-overload]
