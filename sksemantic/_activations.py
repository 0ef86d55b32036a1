"""What the frozen part of a module makes of texts: computed once, then looked up.

At step 0 a module is its frozen backbone behind the frozen prompt; the layers below the
first tuned one stay so. Both outlast epochs, cross-validation folds and fits.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from sksemantic._data import TextDataset, ordered_batches
from sksemantic._pooling import pool
from sksemantic._store import activations

if TYPE_CHECKING:
    from collections.abc import Hashable

    from numpy.typing import NDArray

    from sksemantic._backbone import Backbone
    from sksemantic._injection import Entry
    from sksemantic._injection._base import Prefix
    from sksemantic._store import Shelf

_SEGMENT = 2**23  # bytes that are put into the store at once


class FrozenPass:
    """A frozen backbone behind the frozen prompt.

    Parameters
    ----------
    backbone : Backbone
    kind : tuple
        All that decides what comes out, besides backbone and texts.
    pooling : {"mean", "last", "first"}
    run : callable
        Maps ids and mask (B, T) to the last hidden states (B, T, C).
    prefix : Prefix or None
        The frozen prefix, where the backbone is entered in the middle.
    entry : Entry or None
        There; None if every layer is tuned, or the backbone cannot be entered.
    """

    def __init__(
        self,
        backbone: "Backbone",
        kind: "tuple[Hashable, ...]",
        pooling: str,
        run: Callable[[dict[str, Tensor]], Tensor],
        prefix: "Prefix | None" = None,
        entry: "Entry | None" = None,
    ) -> None:
        self.backbone = backbone
        self.pooling = pooling
        self.entry = entry
        self._run = run
        self._prefix = prefix
        self._kind = (backbone.uid, *kind)

    def __deepcopy__(self, memo: dict[int, Any]) -> "FrozenPass":
        """Share: nothing in it ever changes."""
        return self

    def features(self, data: TextDataset) -> "NDArray":
        """Return the pooled embeddings (n, C), float32, and keep what was computed."""
        pooled = self._shelf("features", self.pooling)
        shelves = [pooled]
        if self.entry is not None:
            shelves.append(self._shelf("states", self.entry.layer))
        keys = data.rows.keys()
        has = np.logical_and.reduce([shelf.has(keys) for shelf in shelves])  # (n,)
        found = np.empty((len(data), self.backbone.hidden_size), np.float32)
        known = np.flatnonzero(has)
        if len(known):
            found[known] = pooled.get([keys[i] for i in known])[0][:, 0].numpy()
        # A text that comes twice is computed once.
        places: dict[bytes, int] = {}
        new = np.flatnonzero(~has)
        repeats = np.array([places.setdefault(keys[i], len(places)) for i in new], int)
        firsts = new[np.unique(repeats, return_index=True)[1]]
        if len(new):
            found[new] = self._compute(data.take(firsts), shelves)[repeats]
        return found

    @torch.no_grad()
    def states(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return the states (B, T, C) that enter the first tuned layer."""
        assert self.entry is not None
        assert self._prefix is not None
        shelf = self._shelf("states", self.entry.layer)
        lengths = attention_mask.sum(dim=1).tolist()
        ids = input_ids.to("cpu", torch.int32).numpy()
        keys = [row[:n].tobytes() for row, n in zip(ids, lengths, strict=True)]
        if shelf.has(keys).all():
            return shelf.get(keys)[0].to(input_ids.device)
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask}
        return self.backbone.injection.run_below(inputs, self._prefix, self.entry)

    def _shelf(self, *what: "Hashable") -> "Shelf":
        return activations.shelf((*self._kind, *what))

    @torch.no_grad()
    def _compute(self, data: TextDataset, shelves: "list[Shelf]") -> "NDArray":
        """Run the backbone over texts; keep features, and states if it is entered."""
        by_length, order = data.by_length()
        device = self.backbone.device
        found = np.empty((len(data), self.backbone.hidden_size), np.float32)
        buffers = [_Buffer(shelf) for shelf in shelves]
        start = 0
        for X, _ in ordered_batches(
            by_length, self.backbone.pad_id, self.backbone.inference_tokens
        ):
            mask = X["attention_mask"].to(device)
            inputs = {"input_ids": X["input_ids"].to(device), "attention_mask": mask}
            kept = []
            if self.entry is None or self._prefix is None:
                hidden = self._run(inputs)
            else:
                hidden, states = self.backbone.injection.run_recording(
                    inputs, self._prefix, self.entry
                )
                kept = [states[mask.bool()]]  # (n_tokens, C)
            features = pool(hidden, mask, self.pooling).cpu()  # (B, C)
            rows = slice(start, start + len(features))
            start = rows.stop
            found[order[rows]] = features.numpy()
            keys = by_length.rows.take(np.arange(rows.start, rows.stop)).keys()
            lengths = [np.ones(len(keys), np.int64), by_length.lengths[rows]]
            for buffer, values, n in zip(
                buffers, [features, *kept], lengths, strict=False
            ):
                buffer.add(keys, values.cpu(), n)
        for buffer in buffers:
            buffer.flush()
        return found


@dataclass
class _Buffer:
    """Gathers rows, and puts them on a shelf many at a time."""

    shelf: "Shelf"

    def __post_init__(self) -> None:
        self._forget()

    def _forget(self) -> None:
        self.keys: list[bytes] = []
        self.values: list[Tensor] = []
        self.lengths: list[NDArray] = []
        self.n_bytes = 0

    def add(self, keys: list[bytes], values: Tensor, lengths: "NDArray") -> None:
        """Take rows, laid end to end."""
        self.keys += keys
        self.values.append(values)
        self.lengths.append(lengths)
        self.n_bytes += values.numel() * values.element_size()
        if self.n_bytes > _SEGMENT:
            self.flush()

    def flush(self) -> None:
        """Put what there is on the shelf."""
        if self.keys:
            self.shelf.put(
                self.keys, torch.cat(self.values), np.concatenate(self.lengths)
            )
        self._forget()
