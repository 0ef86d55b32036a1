"""Frozen features: the features of texts before the first training step.

Before training, a module is its frozen backbone after the frozen prompt. The layers
below the first tuned one stay as they are. The features, and the states that enter the
first tuned layer, are computed once and kept in the activation cache.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize, pad

from sksemantic._backbone.backbone import BatchLimits
from sksemantic._backbone.device import move, move_batch
from sksemantic._cache import activations
from sksemantic._inputs.batching import collate, ordered_batches, texts_of
from sksemantic._inputs.dataset import TextDataset
from sksemantic._model.pooling import join_pair, pool_batch

if TYPE_CHECKING:
    from collections.abc import Hashable

    from numpy.typing import NDArray

    from sksemantic._backbone.backbone import Backbone
    from sksemantic._backbone.prefix.base import Prefix, SplitLayer

_MODEL_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
OnBatch = Callable[[dict[str, Tensor]], None]  # called after each batch, with it


def ignore(batch: dict[str, Tensor]) -> None:
    """Do nothing after a batch."""


class FrozenFeatures:
    """A frozen backbone after the frozen prompt.

    `condition` is the frozen prefix, or the soft prompt (P, C). `split_layer` is the
    first tuned layer; None if every layer is tuned, or the backbone's upper layers
    cannot be run alone. `has_unit_length` scales features to length one, those of long
    texts window by window.
    """

    def __init__(
        self,
        backbone: "Backbone",
        method: str,
        prompt_ids: list[int],
        condition: "Prefix | Tensor",
        pooling: str,
        split_layer: "SplitLayer | None" = None,
        *,
        has_unit_length: bool = False,
    ) -> None:
        self.backbone = backbone
        self.has_unit_length = has_unit_length
        self.pooling = pooling
        self.split_layer = split_layer
        self._method = method
        self._condition: Any = condition
        name = backbone.prefix_mechanism.name if method == "prefix" else None
        self._kind = (method, tuple(prompt_ids), name)
        self._features_kind = (*self._kind, "features", pooling)
        self._start = activations.moment

    def __deepcopy__(self, memo: dict[int, Any]) -> "FrozenFeatures":
        """Share: nothing in it ever changes."""
        return self

    def features(self, data: TextDataset, on_batch: OnBatch = ignore) -> "NDArray":
        """Return the embeddings (n_rows, C) in float32; (n, 3C) with `pair_texts`.

        `on_batch` is called with each batch that had to be run.
        """
        together = self._features(data.windows(), on_batch)
        if self.has_unit_length:
            together = normalize(torch.from_numpy(together)).numpy()
        together = data.mean_over_windows(together)
        if data.pair_texts is None:
            return together
        single = self._features(TextDataset(data.pair_texts), on_batch)  # (2n, C)
        features = map(torch.from_numpy, (together, single[::2], single[1::2]))
        return join_pair(*features).numpy()

    def is_kept(self, data: TextDataset) -> "NDArray":
        """Return which texts have kept features (n,), bool."""
        return activations.has(self.backbone, self._features_kind, data.keys())

    @torch.no_grad()
    def run_once(self, data: TextDataset, *, only_lower: bool = False) -> None:
        """Run some texts as one batch, or only what lies below the first tuned layer.

        Nothing is kept: this is for measuring time.
        """
        inputs, _ = collate(self.backbone.pad_id)(data)
        batch = {name: each.to(self.backbone.device) for name, each in inputs.items()}
        if only_lower:
            self._run_lower(batch)
        else:
            inputs = model_inputs(batch)
            run_conditioned(self.backbone, self._method, inputs, self._condition)

    def _features(self, data: TextDataset, on_batch: OnBatch) -> "NDArray":
        """Return the embeddings (n_rows, C); compute those that are not kept."""
        keys = data.keys()
        first = {key: i for i, key in reversed([*enumerate(keys)])}
        if len(first) < len(keys):  # a repeated text is computed once
            chosen = np.sort([*first.values()])
            unique = data.take(chosen)
            indices = np.searchsorted(chosen, [first[key] for key in keys])
            return self._features(unique, on_batch)[unique.rows_of(indices)]
        has_features, values = activations.get(self.backbone, self._features_kind, keys)
        has_states = activations.has(self.backbone, self._states_kind, keys)
        has_states &= ~has_features
        is_new = ~has_features & ~has_states
        if is_new.all():
            return self._compute(data, on_batch)
        n_rows = len(data.rows_of(np.arange(len(data))))
        features = np.empty((n_rows, self.backbone.hidden_size), np.float32)
        if values is not None:
            features[data.rows_of(np.flatnonzero(has_features))] = values.numpy()
        for chosen in map(np.flatnonzero, (is_new, has_states)):
            if len(chosen):
                from_states = has_states[chosen[0]]
                some = self._compute(
                    data.take(chosen), on_batch, from_states=from_states
                )
                features[data.rows_of(chosen)] = some
        return features

    @torch.no_grad()
    def keep_states(self, data: TextDataset, on_batch: OnBatch = ignore) -> None:
        """Keep the states that enter the first tuned layer, while there is room.

        `features` keeps them as well; this is for texts whose features are not needed.
        """
        if self.split_layer is None:
            return
        if data.pair_texts is not None:
            self.keep_states(TextDataset(data.pair_texts), on_batch)
        data = data.windows()
        first = {key: i for i, key in enumerate(data.keys())}  # each text once
        is_new = ~activations.has(self.backbone, self._states_kind, [*first])
        new = np.array([*first.values()], int)[is_new]
        token_bytes = self.backbone.hidden_size * self.backbone.model.dtype.itemsize
        room = activations.room(self._start)
        new = new[np.cumsum(data.lengths[new]) * token_bytes <= room]
        for batch, texts in self._batches(data.take(new).by_length()[0]):
            self._put_states(texts, batch, self._run_lower(batch))
            on_batch(batch)

    @torch.no_grad()
    def states(self, batch: dict[str, Tensor]) -> Tensor:
        """Return the states (B, T, C) that enter the first tuned layer.

        If the batch is on the CPU, nothing waits for the device.
        """
        device = self.backbone.device
        keys = texts_of(batch).keys()
        has_states, values = activations.get(self.backbone, self._states_kind, keys)
        if values is None:
            return self._run_lower(move_batch(batch, device))
        mask = batch["attention_mask"].bool().cpu()
        is_kept = torch.from_numpy(has_states)
        (tokens,) = (mask & is_kept[:, None]).flatten().nonzero(as_tuple=True)
        states = values.new_zeros((mask.numel(), values.shape[1]), device=device)
        states[move(tokens, device)] = move(values, device)
        states = states.view(*mask.shape, -1)  # (B, T, C)
        if not has_states.all():
            (rows,) = (~is_kept).nonzero(as_tuple=True)
            others = {name: each[rows] for name, each in batch.items()}
            lower = self._run_lower(move_batch(others, device))
            states[move(rows, device)] = lower
        return states

    @torch.no_grad()
    def _compute(
        self,
        data: TextDataset,
        on_batch: OnBatch,
        *,
        from_states: bool = False,
    ) -> "NDArray":
        """Run the backbone over texts, and keep their features and states.

        With `from_states` the states are looked up, and only the layers above run.
        """
        by_length, order = data.by_length()
        rows = data.rows_of(order)
        features = np.empty((len(rows), self.backbone.hidden_size), np.float32)
        n_done = 0
        for batch, texts in self._batches(by_length):
            hidden = self._run(batch, texts, from_states)
            some = pool_batch(hidden, batch, self.pooling).cpu()  # (n_rows, C)
            features[rows[n_done : n_done + len(some)]] = some.numpy()
            n_done += len(some)
            words = texts.word_positions
            n_rows = np.ones(len(texts), np.int64) if words is None else words.lengths
            self._put(self._features_kind, texts, some, n_rows)
            on_batch(batch)
        return features

    def _run(
        self, batch: dict[str, Tensor], texts: TextDataset, from_states: bool
    ) -> Tensor:
        """Return the last hidden states (B, T, C); keep those of the split layer."""
        inputs = model_inputs(batch)
        split = self.split_layer
        if split is None:
            return run_conditioned(self.backbone, self._method, inputs, self._condition)
        mechanism = self.backbone.prefix_mechanism
        if from_states:
            states = self.states(batch)
            return mechanism.run_upper(inputs, self._condition, split, states)
        hidden, states = mechanism.run_recording(inputs, self._condition, split)
        self._put_states(texts, batch, states)
        return hidden

    def _run_lower(self, batch: dict[str, Tensor]) -> Tensor:
        """Run the layers below the first tuned one; return states (B, T, C)."""
        assert self.split_layer is not None
        return self.backbone.prefix_mechanism.run_lower(
            model_inputs(batch), self._condition, self.split_layer
        )

    def _batches(
        self, data: TextDataset
    ) -> Iterator[tuple[dict[str, Tensor], TextDataset]]:
        """Yield large batches of texts that are sorted by length, and their dataset."""
        start = 0
        for batch in inference_batches(self.backbone, data):
            stop = start + len(batch["input_ids"])
            yield batch, data.take(np.arange(start, stop))
            start = stop

    @property
    def _states_kind(self) -> "Hashable":
        layer = None if self.split_layer is None else self.split_layer.layer
        return (*self._kind, "states", layer)

    def _put_states(
        self, texts: TextDataset, batch: dict[str, Tensor], states: Tensor
    ) -> None:
        """Keep the states (B, T, C) of a batch, without padding."""
        real = states[batch["attention_mask"].bool()]  # (n_tokens, C)
        self._put(self._states_kind, texts, real, texts.lengths)

    def _put(
        self, kind: "Hashable", texts: TextDataset, values: Tensor, lengths: "NDArray"
    ) -> None:
        """Keep values (sum of lengths, C); never drop what was used since the start."""
        keys = texts.keys()
        activations.put(self.backbone, kind, keys, values, lengths, since=self._start)


def inference_batches(
    backbone: "Backbone", data: TextDataset, *, with_gradient: bool = False
) -> Iterator[dict[str, Tensor]]:
    """Yield large batches of texts that are sorted by length, on the device."""
    limits = backbone.inference_limits
    if with_gradient:
        limits = BatchLimits(backbone.training_tokens)
    for X, _ in ordered_batches(data, pad_id=backbone.pad_id, limits=limits):
        yield move_batch(X, backbone.device)


def run_conditioned(
    backbone: "Backbone",
    method: str,
    inputs: dict[str, Tensor],
    condition: Any,
    prefix_mask: Tensor | None = None,
) -> Tensor:
    """Return the last hidden states (B, T, C) after a prefix or soft prompt (P, C).

    Or after one of each row; of prefixes, the mask (B, P) says which tokens are real.
    """
    if method == "prefix":
        return backbone.prefix_mechanism.run(inputs, condition, prefix_mask)
    text = backbone.embed(inputs["input_ids"])  # (B, T, C)
    prompt = condition.to(text).expand(len(text), -1, -1)  # (B, P, C)
    n_prompt = prompt.shape[1]
    joint = {
        "inputs_embeds": torch.cat([prompt, text], dim=1),
        "attention_mask": pad(inputs["attention_mask"], (n_prompt, 0), value=1),
    }
    if "token_type_ids" in inputs:  # those of a pair; the prompt is of the first type
        joint["token_type_ids"] = pad(inputs["token_type_ids"], (n_prompt, 0))
    return backbone.run(joint)[:, n_prompt:]


def model_inputs(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the entries of a batch that the backbone takes."""
    return {name: batch[name] for name in _MODEL_INPUTS if name in batch}
