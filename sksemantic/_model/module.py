"""The one forward: adapter, backbone after the prompt, pooling, head."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from sksemantic._backbone.device import move, move_batch
from sksemantic._backbone.layers import edit_outputs, no_layers_error
from sksemantic._backbone.prefix.base import SplitLayer
from sksemantic._backbone.registry import load_backbone
from sksemantic._backbone.source import find_again
from sksemantic._backbone.torch_state import torch_generator
from sksemantic._inputs.prompt import Prompt
from sksemantic._inputs.template import Template
from sksemantic._model.adapters import (
    EmbeddingAdapter,
    PrefixAdapter,
    PromptAdapter,
    TextAdapter,
)
from sksemantic._model.condition import ConditionKeeper, KeptCondition
from sksemantic._model.frozen import (
    FrozenFeatures,
    model_inputs,
    run_conditioned,
)
from sksemantic._model.pooling import PAIR, join_pair, pool_batch

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from sksemantic._backbone.backbone import Backbone
    from sksemantic._backbone.prefix.base import Prefix, PromptStates
    from sksemantic._model.config import ModelConfig


class SemanticModule(nn.Module):
    """Trainable adapter and head around a frozen backbone.

    The backbone is not a submodule: the parameters are exactly the trained ones. The
    state dict has the features' mean and scale as well. `features` and `scores` change
    nothing: several threads may call them at once.
    """

    def __init__(
        self, backbone: "Backbone", prompt_ids: list[int], config: "ModelConfig"
    ) -> None:
        super().__init__()
        self.backbone = backbone  # not an nn.Module, hence neither moved nor saved
        self.prompt_ids = prompt_ids
        self.n_virtual_tokens = len(prompt_ids)
        self.config = config
        # Of each reading; a pair has three readings.
        self.pooling = "mean" if config.pooling == PAIR else config.pooling
        n_features = backbone.hidden_size * (3 if config.pooling == PAIR else 1)
        with torch.no_grad():
            ids = torch.tensor(prompt_ids, device=backbone.device)
            embeddings = backbone.embed(ids)  # (P, C)
            is_prefix = config.method == "prefix"
            read = (
                backbone.prefix_mechanism.read(embeddings[None]) if is_prefix else None
            )
        self.frozen = FrozenFeatures(
            backbone,
            config.method,
            prompt_ids,
            embeddings if read is None else read.prefix,
            self.pooling,
            _split_layer(read, backbone, config),
            has_unit_length=config.has_unit_length,
        )
        self.adapter = _build_adapter(embeddings, read, backbone, config)
        self.text_adapter = _build_text_adapter(read, backbone, config)
        self.head = nn.Linear(n_features, config.n_outputs, dtype=torch.float32)
        self.feature_mean: Tensor
        self.feature_scale: Tensor
        self.register_buffer(
            "feature_mean", torch.zeros(n_features, dtype=torch.float32)
        )
        self.register_buffer(
            "feature_scale", torch.ones(n_features, dtype=torch.float32)
        )
        self.to(backbone.device)
        self._condition_keeper = ConditionKeeper(self.adapter)

    @classmethod
    def seeded(
        cls,
        backbone: "Backbone",
        prompt_ids: list[int],
        config: "ModelConfig",
        seed: int,
    ) -> "SemanticModule":
        """Build a module whose initial values depend on the seed alone."""
        with torch_generator(seed):
            return cls(backbone, prompt_ids, config)

    def with_upper_half(self, seed: int) -> "SemanticModule":
        """Return an untrained module that tunes half of its layers, the upper ones."""
        first, stop = self.config.tuned_layers
        config = replace(self.config, tuned_layers=((first + stop) // 2, stop))
        return SemanticModule.seeded(self.backbone, self.prompt_ids, config, seed)

    def forward(
        self,
        *,
        with_features: bool = False,
        dropout_generator: torch.Generator | None = None,
        **batch: Tensor,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Return logits, or standardised targets, (n_rows, K) of a batch.

        With a generator some of the features are dropped, by numbers that no other
        thread draws; it is on the CPU. `with_features` returns the embeddings
        (n_rows, C) as well. A batch has `input_ids` and `attention_mask` (B, T). It may
        have `token_type_ids` (B, T) of pairs; `word_positions` (B, S), which tokens the
        head reads, padded with -1; and `pair_ids` and `pair_mask` (B, 2, T), the two
        texts of each pair on their own. It may be on the CPU: what is known of it there
        need not be read back from the device.
        """
        features = self.features(batch)
        standardised = self._standardised(features)
        if dropout_generator is not None:
            share = self.config.dropout
            drawn = torch.rand(
                features.shape, generator=dropout_generator, dtype=torch.float32
            )
            is_kept = move(drawn >= share, features.device)
            standardised = standardised * is_kept / (1 - share)
        scores = self.head(standardised)
        return (scores, features) if with_features else scores

    def scores(
        self, batch: dict[str, Tensor], condition: "Prefix | Tensor | None" = None
    ) -> Tensor:
        """Return what `forward` does (n_rows, K), nothing dropped."""
        return self.outputs_of(self.features(batch, condition))

    def outputs_of(self, features: Tensor) -> Tensor:
        """Return the head's outputs (n_rows, K) of embeddings (n_rows, C)."""
        return self.head(self._standardised(features))

    def condition(self) -> "Prefix | Tensor":
        """Run the adapter; return each layer's prefix, or the soft prompt (P, C)."""
        return self.adapter()

    def kept(self) -> KeptCondition:
        """Return `condition` without gradient; run the adapter only if it has changed.

        Threads may call.
        """
        return self._condition_keeper.get()

    def features(
        self, batch: dict[str, Tensor], condition: "Prefix | Tensor | None" = None
    ) -> Tensor:
        """Return the embeddings after the prompt (n_rows, C) in float32.

        Those of pairs that are read three times are (B, 3C). `batch` is as in
        `forward`; `condition`, what that method returned, is computed by default.
        """
        if condition is None:
            condition = self.condition()
        together = self._read(batch, condition)
        if "pair_ids" not in batch:
            return together
        ids, mask = (batch[name].flatten(0, 1) for name in ("pair_ids", "pair_mask"))
        inputs = {"input_ids": ids, "attention_mask": mask}
        single = self._read(inputs, condition)  # (2B, C)
        return join_pair(together, single[::2], single[1::2])

    def head_inputs(
        self, batch: dict[str, Tensor], condition: "Prefix | Tensor | None" = None
    ) -> Tensor:
        """Return what the head reads (n_rows, C) before it is standardised."""
        return self._scaled(self.features(batch, condition))

    def _scaled(self, features: Tensor) -> Tensor:
        """Return features (n, C) of length one, if the config says so."""
        return normalize(features) if self.config.has_unit_length else features

    def _standardised(self, features: Tensor) -> Tensor:
        features = self._scaled(features)
        return (features - self.feature_mean) / self.feature_scale

    def _read(self, batch: dict[str, Tensor], condition: Any) -> Tensor:
        """Return the embeddings (n_rows, C) of texts after the prompt."""
        split = self.frozen.split_layer
        inputs = move_batch(model_inputs(batch), self.backbone.device)
        if split is None:
            hidden = self.hidden_states(inputs, condition)
        else:
            states = self.frozen.states(batch)
            with self._edited_outputs(batch):
                mechanism = self.backbone.prefix_mechanism
                hidden = mechanism.run_upper(inputs, condition, split, states)
        return pool_batch(hidden, batch | inputs, self.pooling)

    def hidden_states(self, batch: dict[str, Tensor], condition: Any) -> Tensor:
        """Return the last hidden states (B, T, C) of a batch; every layer is run."""
        inputs, method = model_inputs(batch), self.config.method
        with self._edited_outputs(batch):
            return run_conditioned(self.backbone, method, inputs, condition)

    def _edited_outputs(self, batch: dict[str, Tensor]) -> "AbstractContextManager":
        """Let the text adapter change the states of the layers that are run inside."""
        edits = {} if self.text_adapter is None else self.text_adapter.edits()
        return edit_outputs(edits, batch["input_ids"].shape[1])


def load_model(
    config: "ModelConfig", device: torch.device, seed: int = 0
) -> tuple["SemanticModule", Template]:
    """Build a model by its config; its initial values depend on the seed."""
    backbone_config = replace(
        config.backbone,
        source=find_again(config.backbone.source),
        device=device,
        prefix_mechanism=config.backbone.prefix_mechanism or "auto",
    )
    backbone = load_backbone(backbone_config)
    prompt = Prompt.parse(config.prompt)
    template = Template(
        backbone,
        prompt,
        config.method,
        config.max_length,
        config.n_texts,
        config.long_texts,
    )
    return SemanticModule.seeded(backbone, template.prompt_ids, config, seed), template


def _build_adapter(
    embeddings: Tensor,
    read: "PromptStates | None",
    backbone: "Backbone",
    config: "ModelConfig",
) -> nn.Module:
    """Build the adapter of the prompt's frozen states, or of its embeddings."""
    rank = config.adapter_rank if config.adapter == "low_rank" else None
    tuned = range(*config.tuned_layers)
    if config.adapter == "embedding":
        frozen = None if read is None else read.prefix
        return EmbeddingAdapter(embeddings, backbone, frozen, tuned)
    if read is None:
        return PromptAdapter(embeddings, rank)
    return PrefixAdapter(read, tuned, rank)


def _build_text_adapter(
    read: "PromptStates | None", backbone: "Backbone", config: "ModelConfig"
) -> TextAdapter | None:
    """Build the adapter of the texts' own states, if the config has one."""
    if read is None or config.text_rank == 0:
        return None
    if not backbone.has_layer_hooks:
        raise no_layers_error(backbone.model)
    layers = [read.layers[i] for i in range(*config.tuned_layers)]
    return TextAdapter(layers, backbone.hidden_size, config.text_rank)


def _split_layer(
    read: "PromptStates | None", backbone: "Backbone", config: "ModelConfig"
) -> SplitLayer | None:
    """Return the first tuned layer; None if the layers above cannot be run alone."""
    if read is None:
        return None
    first, _ = config.tuned_layers
    split = SplitLayer(read.layers[first], first)
    return split if backbone.prefix_mechanism.can_split(read, split) else None
