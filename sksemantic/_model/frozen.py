"""What the frozen part of a module makes of texts: computed once, then looked up.

At step 0 a module is its frozen backbone behind the frozen prompt; the layers below the
first tuned one stay so. Both outlast epochs, cross-validation folds and fits.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from sksemantic._inputs.dataset import (
    TextDataset,
    ordered_batches,
    pair_key,
    word_positions_key,
)
from sksemantic._model.pooling import TOKENS, pick, pool
from sksemantic._store import activations

if TYPE_CHECKING:
    from collections.abc import Hashable

    from numpy.typing import NDArray

    from sksemantic._backbone.backbone import Backbone
    from sksemantic._backbone.prefix import SplitLayer
    from sksemantic._backbone.prefix.base import Prefix
    from sksemantic._store import Shelf

_MODEL_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
_SEGMENT = 2**23  # bytes that are put into the store at once


class FrozenFeatures:
    """A frozen backbone behind the frozen prompt.

    Parameters
    ----------
    backbone : Backbone
    kind : tuple
        All that decides what comes out, besides backbone and texts.
    pooling : {"mean", "last", "first", "tokens"}
    run : callable
        Maps ids and mask (B, T) to the last hidden states (B, T, C).
    prefix : Prefix or None
        The frozen prefix, where the backbone is entered in the middle.
    split_layer : SplitLayer or None
        There; None if every layer is tuned, or the backbone cannot be entered.
    """

    def __init__(
        self,
        backbone: "Backbone",
        kind: "tuple[Hashable, ...]",
        pooling: str,
        run: Callable[[dict[str, Tensor]], Tensor],
        prefix: "Prefix | None" = None,
        split_layer: "SplitLayer | None" = None,
    ) -> None:
        self.backbone = backbone
        self.pooling = pooling
        self.split_layer = split_layer
        self._run = run
        self._prefix = prefix
        self._kind = (backbone.uid, *kind)

    def __deepcopy__(self, memo: dict[int, Any]) -> "FrozenFeatures":
        """Share: nothing in it ever changes."""
        return self

    def features(self, data: TextDataset) -> "NDArray":
        """Return the embeddings (n_rows, C) in float32, (n, 3C) of pairs.

        What was computed is kept.
        """
        found = self._look_up(data)
        if data.parts is None:
            return found
        apart = self._look_up(TextDataset(data.parts))  # (2n, C)
        readings = map(torch.from_numpy, (found, apart[::2], apart[1::2]))
        return join_pair(*readings).numpy()

    def _look_up(self, data: TextDataset) -> "NDArray":
        """Return the embeddings (n_rows, C) of rows; compute those that are new."""
        pooled = self._shelf("features", self.pooling)
        keys = data.keys()
        has = pooled.has(keys)  # (n,)
        entered = np.zeros_like(has)
        if self.split_layer is not None:
            entered = self._shelf("states", self.split_layer.layer).has(keys) & ~has
        if not (has | entered).any() and len(set(keys)) == len(keys):
            return self._compute(data)
        n_rows = len(data.rows_of(np.arange(len(data))))
        found = np.empty((n_rows, self.backbone.hidden_size), np.float32)
        known = np.flatnonzero(has)
        if len(known):
            rows, lengths = pooled.get([keys[i] for i in known])  # (n, S, C)
            real = np.arange(rows.shape[1]) < lengths[:, None]
            found[data.rows_of(known)] = rows.numpy()[real]
        # A text that comes twice is computed once.
        for new, has_states in ((~has & ~entered, False), (entered, True)):
            if not new.any():
                continue
            chosen = np.flatnonzero(new)
            places: dict[bytes, int] = {}
            repeats = [places.setdefault(keys[i], len(places)) for i in chosen]
            fresh = data.take(chosen[np.unique(repeats, return_index=True)[1]])
            computed = self._compute(fresh, has_states=has_states)
            found[data.rows_of(chosen)] = computed[
                fresh.rows_of(np.array(repeats, int))
            ]
        return found

    @torch.no_grad()
    def keep_states(self, data: TextDataset) -> None:
        """Compute what enters the first tuned layer, for texts of which it is not kept.

        `features` keeps it as well; this is for texts whose features nobody needs.
        """
        if self.split_layer is None:
            return
        if data.parts is not None:
            self.keep_states(TextDataset(data.parts))
        shelf = self._shelf("states", self.split_layer.layer)
        rows = {key: i for i, key in enumerate(data.keys())}  # each text once
        new = np.fromiter(rows.values(), int, len(rows))[~shelf.has(list(rows))]
        n_values = int(data.lengths[new].sum()) * self.backbone.hidden_size
        n_bytes = n_values * self.backbone.model.dtype.itemsize
        if n_bytes + shelf.memory + shelf.disk > activations.budget.total:
            return  # they would not be kept
        buffer = _Buffer(shelf)
        for inputs, batch in self._batches(data.take(new).by_length()[0]):
            states = self._enter(inputs)
            kept = states[inputs["attention_mask"].bool()]  # (n_tokens, C)
            buffer.add(batch.keys(), kept.cpu(), batch.lengths)
        buffer.flush()

    @torch.no_grad()
    def states(self, inputs: dict[str, Tensor]) -> Tensor:
        """Return the states (B, T, C) that enter the first tuned layer."""
        assert self.split_layer is not None
        shelf = self._shelf("states", self.split_layer.layer)
        keys = _keys(inputs)
        if shelf.has(keys).all():
            return shelf.get(keys)[0].to(inputs["input_ids"].device)
        return self._enter(inputs)

    def _enter(self, inputs: dict[str, Tensor]) -> Tensor:
        """Run the layers below the first tuned one."""
        assert self.split_layer is not None
        assert self._prefix is not None
        read = model_inputs(inputs)
        return self.backbone.prefix_mechanism.run_lower(
            read, self._prefix, self.split_layer
        )

    def _batches(
        self, data: TextDataset
    ) -> "Iterator[tuple[dict[str, Tensor], TextDataset]]":
        """Yield large batches of texts that are sorted by length, and their rows."""
        start = 0
        for X, _ in ordered_batches(
            data, self.backbone.pad_id, self.backbone.inference_tokens
        ):
            stop = start + len(X["input_ids"])
            inputs = {name: each.to(self.backbone.device) for name, each in X.items()}
            yield inputs, data.take(np.arange(start, stop))
            start = stop

    def _shelf(self, *what: "Hashable") -> "Shelf":
        return activations.shelf((*self._kind, *what))

    @torch.no_grad()
    def _compute(self, data: TextDataset, *, has_states: bool = False) -> "NDArray":
        """Run the backbone over texts; keep features, and states if it can be entered.

        With `has_states` the texts' states are on their shelf, and only the layers
        above are run.
        """
        shelves = [self._shelf("features", self.pooling)]
        if self.split_layer is not None and not has_states:
            shelves.append(self._shelf("states", self.split_layer.layer))
        by_length, order = data.by_length()
        places = data.rows_of(order)
        found = np.empty((len(places), self.backbone.hidden_size), np.float32)
        n_done = 0
        buffers = [_Buffer(shelf) for shelf in shelves]
        for inputs, batch in self._batches(by_length):
            read = model_inputs(inputs)
            mask = read["attention_mask"]
            kept = []
            if self.split_layer is None or self._prefix is None:
                hidden = self._run(read)
            elif has_states:
                hidden = self.backbone.prefix_mechanism.run_upper(
                    read, self._prefix, self.split_layer, self.states(inputs)
                )
            else:
                hidden, states = self.backbone.prefix_mechanism.run_recording(
                    read, self._prefix, self.split_layer
                )
                kept = [states[mask.bool()]]  # (n_tokens, C)
            features = embed(hidden, inputs, self.pooling).cpu()  # (n_rows, C)
            found[places[n_done : n_done + len(features)]] = features.numpy()
            n_done += len(features)
            keys = batch.keys()
            n_rows = np.ones(len(batch), np.int64)
            lengths = [
                n_rows if batch.word_positions is None else batch.word_positions.lengths
            ]
            for buffer, values, n in zip(
                buffers, [features, *kept], [*lengths, batch.lengths], strict=False
            ):
                buffer.add(keys, values.cpu(), n)
        for buffer in buffers:
            buffer.flush()
        return found


def model_inputs(inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return what of a batch's inputs is for the backbone."""
    return {name: inputs[name] for name in _MODEL_INPUTS if name in inputs}


def embed(hidden: Tensor, inputs: dict[str, Tensor], pooling: str) -> Tensor:
    """Return what the head reads of the last hidden states (B, T, C): (n_rows, C)."""
    if pooling == TOKENS:
        return pick(hidden, inputs["word_positions"])
    return pool(hidden, inputs["attention_mask"], pooling)


def join_pair(together: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Return the features (n, 3C) of pairs from those (n, C) of three readings.

    What both texts are together, and by how much and in what they agree when each is
    read on its own: |u - v| and u * v (Conneau et al. 2017, arXiv 1705.02364, sec. 3),
    of vectors brought to length one, by whose angle encoders say how alike texts are.
    """
    first, second = normalize(first, dim=-1), normalize(second, dim=-1)
    apart = [(first - second).abs(), first * second]
    return torch.cat([together, *apart], dim=1)


def _keys(inputs: dict[str, Tensor]) -> list[bytes]:
    """Return the keys of a batch's rows, the same as their dataset's."""
    lengths = inputs["attention_mask"].sum(dim=1).tolist()
    ids = inputs["input_ids"].to("cpu", torch.int32).numpy()
    rows = [row[:n] for row, n in zip(ids, lengths, strict=True)]
    keys = [row.tobytes() for row in rows]
    if "token_type_ids" in inputs:
        n_second = inputs["token_type_ids"].sum(dim=1).tolist()
        second_starts = [
            n - second for n, second in zip(lengths, n_second, strict=True)
        ]
        keys = [pair_key(row, i) for row, i in zip(rows, second_starts, strict=True)]
    if "word_positions" in inputs:
        word_positions = inputs["word_positions"].cpu().numpy()
        keys = [
            word_positions_key(k, s[s >= 0])
            for k, s in zip(keys, word_positions, strict=True)
        ]
    return keys


class _Buffer:
    """Gathers rows, and puts them on a shelf many at a time.

    They are gathered in one place that is used again and again: memory that is taken
    and given back in large pieces, with small ones in between, falls to bits.
    """

    def __init__(self, shelf: "Shelf") -> None:
        self._shelf = shelf
        self._place: Tensor | None = None
        self._keys: list[bytes] = []
        self._lengths: list[NDArray] = []
        self._n_used = 0

    def add(self, keys: list[bytes], values: Tensor, lengths: "NDArray") -> None:
        """Take rows, laid end to end."""
        if self._place is None:
            row_bytes = values.shape[1] * values.element_size()
            self._place = values.new_empty(_SEGMENT // row_bytes, values.shape[1])
        if self._n_used + len(values) > len(self._place):
            self.flush()
        if len(values) > len(self._place):
            self._shelf.put(keys, values, lengths)
            return
        self._place[self._n_used : self._n_used + len(values)] = values
        self._n_used += len(values)
        self._keys += keys
        self._lengths.append(lengths)

    def flush(self) -> None:
        """Put what there is on the shelf."""
        if self._keys and self._place is not None:
            self._shelf.put(
                self._keys, self._place[: self._n_used], np.concatenate(self._lengths)
            )
        self._keys, self._lengths, self._n_used = [], [], 0
