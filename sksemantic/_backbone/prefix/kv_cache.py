"""Prefix mechanism "kv_cache": the prefix is a cache of past keys and values.

For backbones whose attention cannot be replaced, but which take such a cache.
"""

from inspect import signature
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers import DynamicCache

from sksemantic._backbone.prefix.base import (
    Positions,
    PrefixMechanism,
    PromptStates,
    expand_prefix,
    hidden_states_of,
    prefix_length,
    run_model,
)
from sksemantic.exceptions import UnsupportedBackboneError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from sksemantic._backbone.prefix.base import Prefix


class KVCachePrefix(PrefixMechanism):
    """Give a backbone its prefix as a cache of past keys and values."""

    name = "kv_cache"

    def __init__(
        self, model: "PreTrainedModel", positions: Positions, has_layer_hooks: bool
    ) -> None:
        super().__init__(model, positions, has_layer_hooks)
        if positions.own is not None and not positions.given:
            raise UnsupportedBackboneError("Its forward takes no position_ids.")
        parameters = signature(model.forward).parameters
        # transformers 5.24 renames `past_key_values`, and 5.40 removes it.
        self._cache_name = "cache" if "cache" in parameters else "past_key_values"

    def max_text_length(self, max_positions: int, n_prompt: int) -> int:
        """Keep texts within the sliding window, beyond which the prefix is not seen."""
        length = super().max_text_length(max_positions, n_prompt)
        window = getattr(self.model.config, "sliding_window", None)
        return min(length, window - n_prompt) if window else length

    def read(self, inputs_embeds: Tensor) -> PromptStates:
        """Run the backbone over one prompt (1, P, C); record what the layers cache."""
        cache = DynamicCache()
        mask = inputs_embeds.new_ones(inputs_embeds.shape[:2], dtype=torch.long)
        output = self.model(
            inputs_embeds=inputs_embeds,
            attention_mask=mask,
            output_hidden_states=True,
            **{self._cache_name: cache},
        )
        states = hidden_states_of(output)[:-1]  # (P, C) each
        layers: list[Any] = cache.layers
        n_cached = sum(getattr(layer, "keys", None) is not None for layer in layers)
        if not n_cached == len(layers) == len(states):
            raise UnsupportedBackboneError(
                f"{n_cached} of its {len(states)} layers use a cache."
            )
        prefix: Prefix = [(layer.keys[0], layer.values[0]) for layer in layers]
        return PromptStates(states, prefix, list(range(len(prefix))))

    def run(
        self,
        inputs: dict[str, Tensor],
        prefix: "Prefix",
        prefix_mask: Tensor | None = None,
    ) -> Tensor:
        """Return the last hidden states (B, T, C) of a batch after the prefix."""
        ids, mask = inputs["input_ids"], inputs["attention_mask"]
        n_prompt = prefix_length(prefix, prefix_mask)
        if prefix_mask is None:
            prefix_mask = mask.new_ones(len(ids), prefix[0][0].shape[-2])
        like = torch.empty(len(ids), dtype=self.model.dtype, device=ids.device)  # (B,)
        # A cache grows in place: one for each forward.
        cache = DynamicCache(
            [tuple(expand_prefix(part, like) for part in layer) for layer in prefix]
        )
        joint: dict[str, Any] = self.positions.of_text(n_prompt, ids) | inputs
        joint["attention_mask"] = torch.cat([prefix_mask.to(mask), mask], dim=1)
        return run_model(self.model, joint | {self._cache_name: cache})
