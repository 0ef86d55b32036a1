"""Prefix mechanism "hidden_states": the prompt's states are put into every layer.

Each layer gets the prompt's hidden states, trained or frozen, as the first P of its
input; its own output there is overwritten before the next layer. For backbones that
take no other mechanism: those with biases by distance, or that cache nothing.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import pad

from sksemantic._backbone.layers import add_hooks, no_layers_error
from sksemantic._backbone.prefix.base import (
    Positions,
    PrefixMechanism,
    PromptStates,
    expand_prefix,
    run_model,
)
from sksemantic.exceptions import UnsupportedBackboneError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from sksemantic._backbone.prefix.base import Prefix


class HiddenStatesPrefix(PrefixMechanism):
    """Give a backbone its prefix as the first hidden states of every layer."""

    name = "hidden_states"

    def __init__(
        self, model: "PreTrainedModel", positions: Positions, has_layer_hooks: bool
    ) -> None:
        super().__init__(model, positions, has_layer_hooks)
        if not has_layer_hooks:
            raise no_layers_error(model)

    def read(self, inputs_embeds: Tensor) -> PromptStates:
        """Run the backbone over one prompt (1, P, C); record what enters the layers."""
        length = inputs_embeds.shape[1]
        states: list[Tensor] = []

        def record(index: int, hidden: Tensor) -> Tensor:
            states.append(hidden[0, :length])  # (P, C); some models add padding
            return hidden

        with add_hooks(on_input=record):
            self.model(inputs_embeds=inputs_embeds)
        prefix: Prefix = [(state[None],) for state in states]
        return PromptStates(states, prefix, list(range(len(prefix))))

    def run(
        self,
        inputs: dict[str, Tensor],
        prefix: "Prefix",
        prefix_mask: Tensor | None = None,
    ) -> Tensor:
        """Return the last hidden states (B, T, C) of a batch after the prefix.

        All tokens of the prefix are real: a row's own would move its text.
        """
        if prefix_mask is not None:
            raise UnsupportedBackboneError("Its prefixes must have one length.")
        ids = inputs["input_ids"]  # (B, T)
        n_prompt = prefix[0][0].shape[-2]

        def overwrite(index: int, hidden: Tensor) -> Tensor:
            (states,) = prefix[index]  # (1, P, C) or (B, 1, P, C)
            prompt = expand_prefix(states, hidden)[:, 0]  # (B, P, C)
            return torch.cat([prompt, hidden[:, n_prompt:]], dim=1)

        # The states of these tokens are overwritten. A text's first is never padding.
        virtual_tokens = ids[:, :1].expand(-1, n_prompt)
        joint = {
            **inputs,
            "input_ids": torch.cat([virtual_tokens, ids], dim=1),
            "attention_mask": pad(inputs["attention_mask"], (n_prompt, 0), value=1),
        }
        if "token_type_ids" in inputs:  # of a pair; the prompt is of the first type
            joint["token_type_ids"] = pad(inputs["token_type_ids"], (n_prompt, 0))
        joint |= self.positions.of_both(n_prompt, ids)
        with add_hooks(on_input=overwrite):
            return run_model(self.model, joint)[:, n_prompt:]
