"""Mechanism C: the prompt's hidden states stand in front of the text's in each layer.

Every layer finds the prompt's states, trained or frozen, in the first P places of its
input; what it makes of them itself is overwritten before the next layer. For backbones
that leave no other way: those with biases by distance, or that cache nothing.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import torch
from torch import Tensor, nn

from sksemantic._backbone.layers import find_layers
from sksemantic._backbone.prefix.base import (
    Positions,
    PrefixMechanism,
    PromptStates,
    expanded,
    run_bare,
    widened,
)

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from sksemantic._backbone.prefix.base import Prefix

_Visit = Callable[[int, Tensor], Tensor]
_ACTIVE: ContextVar[_Visit | None] = ContextVar("visit", default=None)
_hooked: "WeakSet[nn.Module]" = WeakSet()


class HiddenStatesPrefix(PrefixMechanism):
    """Give a backbone its prefix as the first hidden states of every layer."""

    name = "hidden_states"

    def __init__(self, model: "PreTrainedModel", positions: Positions) -> None:
        super().__init__(model, positions)
        if model not in _hooked:
            for index, layer in enumerate(find_layers(model)):
                layer.register_forward_pre_hook(_hook(index), with_kwargs=True)
            _hooked.add(model)

    def read(self, inputs_embeds: Tensor) -> PromptStates:
        """Run the backbone over one prompt (1, P, C) and record what enters a layer."""
        length = inputs_embeds.shape[1]
        states: list[Tensor] = []

        def record(index: int, hidden: Tensor) -> Tensor:
            states.append(hidden[0, :length])  # (P, C); some pad on their own
            return hidden

        with _active(record):
            self.model(inputs_embeds=inputs_embeds)
        prefix: Prefix = [(state[None],) for state in states]
        return PromptStates(states, prefix, list(range(len(prefix))))

    def run(self, inputs: dict[str, Tensor], prefix: "Prefix") -> Tensor:
        """Return the last hidden states (B, T, C) of a batch behind the prefix."""
        ids = inputs["input_ids"]  # (B, T)
        n_prompt = prefix[0][0].shape[1]

        def overwrite(index: int, hidden: Tensor) -> Tensor:
            (states,) = prefix[index]  # (1, P, C)
            prompt = expanded(states[0], hidden)  # (B, P, C)
            return torch.cat([prompt, hidden[:, n_prompt:]], dim=1)

        # Places to be overwritten; a text's first token is never padding.
        places = ids[:, :1].expand(-1, n_prompt)
        joint = {
            **inputs,
            "input_ids": torch.cat([places, ids], dim=1),
            "attention_mask": widened(inputs["attention_mask"], n_prompt),
        }
        if (
            "token_type_ids" in inputs
        ):  # those of a pair; the prompt is of the first type
            types = inputs["token_type_ids"]
            none = types.new_zeros(len(types), n_prompt)
            joint["token_type_ids"] = torch.cat([none, types], dim=1)
        positions = self.positions.of_both(n_prompt, ids.shape[1])
        if positions is not None:
            joint["position_ids"] = positions.to(ids.device)
        with _active(overwrite):
            return run_bare(self.model, joint)[:, n_prompt:]


def _hook(index: int) -> Callable[..., tuple[Any, Any] | None]:
    """Return a hook that lets the active call, if any, see and change the input."""

    def visit_input(
        module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Any, Any] | None:
        visit = _ACTIVE.get()
        if visit is None:
            return None
        if args:
            return (visit(index, args[0]), *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": visit(index, kwargs["hidden_states"])}

    return visit_input


@contextmanager
def _active(visit: _Visit) -> Iterator[None]:
    """Visit in the current context only, and always let go again."""
    token = _ACTIVE.set(visit)
    try:
        yield
    finally:
        _ACTIVE.reset(token)
