"""Scores of many modules that share a backbone, by common batches.

Each row of a batch has the prefix of its own module, and its own text adapter: the
frozen layers are the same for all of them. Where a module's own batches would be small,
as with many models and few texts for each, this is as fast as one module with all of
the texts.
"""

from collections.abc import Hashable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from sksemantic._backbone.device import move_batch
from sksemantic._backbone.layers import edit_outputs
from sksemantic._backbone.prefix.stacking import stack_prefixes
from sksemantic._backbone.threads import shared_cpus
from sksemantic._inputs.batching import collate, cut_into_batches
from sksemantic._inputs.dataset import Ragged, TextDataset
from sksemantic._model.adapters import edits_of_rows
from sksemantic._model.frozen import (
    OnBatch,
    ignore,
    model_inputs,
    run_conditioned,
)
from sksemantic._model.pooling import TOKENS, join_pair, pool_batch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sksemantic._model.module import SemanticModule

Request = tuple["SemanticModule", TextDataset]


def compute_scores_of_many(
    requests: Sequence[Request], on_batch: OnBatch = ignore
) -> "list[NDArray]":
    """Return what `compute_scores` does for each request, from common batches.

    `on_batch` is called with each batch.
    """
    with torch.inference_mode(), shared_cpus():
        readings = [_Reading(*request) for request in requests]
        groups: dict[Hashable, list[_Texts]] = {}
        for texts in (texts for reading in readings for texts in reading.parts):
            groups.setdefault(texts.group, []).append(texts)
        for group in groups.values():
            _read_together(group, on_batch)
        return [reading.scores() for reading in readings]


class _Texts:
    """Texts without windows that a module reads one by one; later their features."""

    def __init__(self, module: "SemanticModule", data: TextDataset) -> None:
        self.module = module
        self.data = data
        self.kept = module.kept()
        self.features = torch.empty(0)  # (n_rows, C)

    @property
    def words(self) -> Ragged:
        """Where the words of each text are; none, if the text is read as a whole."""
        return self.data.word_positions or Ragged.of([[]] * len(self.data))

    @property
    def group(self) -> Hashable:
        """What texts must have in common to be rows of one batch."""
        module = self.module
        is_prefix = module.config.method == "prefix"
        mechanism = module.backbone.prefix_mechanism if is_prefix else None
        mixes_lengths = mechanism is not None and mechanism.can_mix_lengths(
            self.kept.condition
        )
        return (
            id(module.backbone),
            is_prefix,
            None if mixes_lengths else module.n_virtual_tokens,
            self.data.token_ids.second_starts is not None,
        )


class _Reading:
    """All that has to be read for one request: of equal texts one."""

    def __init__(self, module: "SemanticModule", data: TextDataset) -> None:
        self.module = module
        self.data = data
        self.different, self.places = data.windows().different()
        self.parts = [_Texts(module, self.different)]
        if self.different.pair_texts is not None:
            alone = TextDataset(self.different.pair_texts)
            self.parts.append(_Texts(module, alone))

    def scores(self) -> "NDArray":
        """Return the head's outputs (n_rows, K), once the features are there."""
        features = self.parts[0].features
        if len(self.parts) > 1:
            single = self.parts[1].features
            features = join_pair(features, single[::2], single[1::2])
        rows = self.module.outputs_of(features).cpu().numpy()
        rows = rows[self.different.rows_of(self.places)]
        return self.data.mean_over_windows(rows)


def _read_together(parts: "list[_Texts]", on_batch: OnBatch) -> None:
    """Set the features of texts of which any may be rows of one batch."""
    backbone = parts[0].module.backbone
    words = Ragged.joined([part.words for part in parts])
    ids = Ragged.joined([part.data.token_ids for part in parts])
    joint = TextDataset(ids, word_positions=words)
    conditions = _Conditions(parts)
    owners = np.repeat(np.arange(len(parts)), [len(part.data) for part in parts])
    # A text has one row of features, or one for each of its words.
    is_by_word = np.array([part.module.pooling == TOKENS for part in parts])
    n_rows = np.where(is_by_word[owners], words.lengths, 1)
    rows = Ragged(np.zeros(n_rows.sum(), np.int32), n_rows)
    features = torch.empty(len(rows.flat), backbone.hidden_size, device=backbone.device)
    pad = collate(backbone.pad_id)
    order = np.lexsort((owners, joint.lengths))
    for places in cut_into_batches(joint.lengths[order], backbone.inference_limits):
        chosen = order[places]
        inputs, _ = pad(joint.take(chosen))
        batch = move_batch(inputs, backbone.device)
        hidden = conditions.run(batch, owners[chosen])
        for pooling, at in conditions.by_pooling(owners[chosen]):
            some = {name: each[at] for name, each in batch.items()}
            found = torch.from_numpy(rows.positions(chosen[at]))
            features[found] = pool_batch(hidden[at], some, pooling)
        on_batch(batch)
    counts = np.bincount(owners, n_rows, len(parts)).astype(int).tolist()
    for part, own in zip(parts, features.split(counts), strict=True):
        part.features = own


class _Conditions:
    """What several modules put before their texts, and how they change them."""

    def __init__(self, parts: "list[_Texts]") -> None:
        places: dict[int, int] = {}
        # Which of the different modules each one has.
        self._places = np.array(
            [places.setdefault(id(part.module), len(places)) for part in parts]
        )
        different = {id(part.module): part for part in parts}.values()
        self._modules = [part.module for part in different]
        self._kept = [part.kept for part in different]
        adapters = [module.text_adapter for module in self._modules]
        self._maps = [adapter.weights() if adapter else {} for adapter in adapters]
        self._poolings = np.array([module.pooling for module in self._modules])

    def run(self, batch: dict[str, Tensor], owners: "NDArray") -> Tensor:
        """Return the last hidden states (B, T, C) of rows of these modules (B,)."""
        present, inverse = np.unique(self._places[owners], return_inverse=True)
        modules = [self._modules[i] for i in present]
        if len(modules) == 1:
            return modules[0].hidden_states(batch, self._kept[present[0]].condition)
        rows = torch.from_numpy(inverse)
        method, mask = modules[0].config.method, None
        condition: Any
        if method == "prefix":
            packed = [self._kept[i].packed for i in present]
            condition, mask = stack_prefixes(packed, rows)
        else:
            condition = torch.stack([self._kept[i].condition for i in present])[rows]
        edits = edits_of_rows([self._maps[i] for i in present], rows)
        with edit_outputs(edits, batch["input_ids"].shape[1]):
            return run_conditioned(
                modules[0].backbone, method, model_inputs(batch), condition, mask
            )

    def by_pooling(self, owners: "NDArray") -> "Iterator[tuple[str, Any]]":
        """Yield each pooling among rows of these modules, and which rows have it."""
        poolings = self._poolings[self._places[owners]]
        for pooling in np.unique(poolings):
            is_all = (poolings == pooling).all()
            at = slice(None) if is_all else np.flatnonzero(poolings == pooling)
            yield str(pooling), at
