"""Mechanism A: the prefix is handed over as a cache of past keys and values.

For backbones whose attention cannot be replaced, but which can go on from a cache.
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
    expanded,
    run_bare,
    widened,
)
from sksemantic.exceptions import UnsupportedBackboneError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from sksemantic._backbone.prefix.base import Prefix


class KVCachePrefix(PrefixMechanism):
    """Give a backbone its prefix as a cache of past keys and values."""

    name = "kv_cache"

    def __init__(self, model: "PreTrainedModel", positions: Positions) -> None:
        super().__init__(model, positions)
        if positions.own is not None and not positions.given:
            raise UnsupportedBackboneError("Its forward takes no position_ids.")
        parameters = signature(model.forward).parameters
        # transformers 5.24 renames `past_key_values`, and 5.40 removes it.
        self._cache_name = "cache" if "cache" in parameters else "past_key_values"
        # BigBird attends in sparse blocks, which know no cache, unless told otherwise.
        set_attention_type: Any = getattr(model, "set_attention_type", None)
        if set_attention_type is not None:
            set_attention_type("original_full")

    def room(self, n_positions: int, n_prompt: int) -> int:
        """Keep texts within the sliding window, beyond which the prefix is not seen."""
        room = super().room(n_positions, n_prompt)
        window = getattr(self.model.config, "sliding_window", None)
        return min(room, window - n_prompt) if window else room

    def read(self, inputs_embeds: Tensor) -> PromptStates:
        """Run the backbone over one prompt (1, P, C) and keep what it cached."""
        cache = DynamicCache()
        output = self.model(
            inputs_embeds=inputs_embeds,
            attention_mask=torch.ones(
                inputs_embeds.shape[:2], dtype=torch.long, device=inputs_embeds.device
            ),
            output_hidden_states=True,
            **{self._cache_name: cache},
        )
        states = [state[0] for state in output.hidden_states[:-1]]  # (P, C) each
        if len(cache.layers) != len(states):
            raise UnsupportedBackboneError(
                f"{len(cache.layers)} of its {len(states)} layers use a cache."
            )
        layers: list[Any] = cache.layers
        prefix: Prefix = [(layer.keys[0], layer.values[0]) for layer in layers]
        return PromptStates(states, prefix, list(range(len(prefix))))

    def run(self, inputs: dict[str, Tensor], prefix: "Prefix") -> Tensor:
        """Return the last hidden states (B, T, C) of a batch behind the prefix."""
        ids, mask = inputs["input_ids"], inputs["attention_mask"]
        n_prompt = prefix[0][0].shape[1]
        like = torch.empty(len(ids), dtype=self.model.dtype, device=ids.device)  # (B,)
        # A cache grows in place: one for each forward.
        cache = DynamicCache(
            [(expanded(key, like), expanded(value, like)) for key, value in prefix]
        )
        positions = self.positions.of_text(n_prompt, ids.shape[1])
        if positions is not None:
            inputs = {"position_ids": positions.to(ids.device), **inputs}
        inputs = {**inputs, "attention_mask": widened(mask, n_prompt)}
        return run_bare(self.model, {**inputs, self._cache_name: cache})  # type: ignore[dict-item]
