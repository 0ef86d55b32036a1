"""Mechanism B: the prefix joins keys and values inside the attention call.

A backbone set to `ATTENTION_NAME` behaves as it always does until `run` or `read` is
active in the calling thread; only then is a prefix joined, or the prompt recorded.
One shared backbone therefore serves any number of estimators, in any thread.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from sksemantic._injection._base import PromptStates
from sksemantic.exceptions import UnsupportedBackboneError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from sksemantic._injection._base import Prefix

ATTENTION_NAME = "sksemantic_prefix"

_Call = tuple[Tensor, Tensor, Tensor | None, bool]
_ACTIVE: ContextVar[Callable[..., _Call] | None] = ContextVar("join", default=None)


def _attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    is_causal: bool | None = None,
    **kwargs: Any,
) -> tuple[Tensor, Tensor | None]:
    """Attend with SDPA, after the active call, if any, has joined its prefix."""
    if is_causal is None:
        is_causal = getattr(module, "is_causal", True)
    join = _ACTIVE.get()
    if join is not None:
        key, value, attention_mask, is_causal = join(
            key, value, attention_mask, is_causal
        )
    dtype = query.dtype
    if key.requires_grad and key.device.type == "cpu":
        # SDPA's backward in half precision is 5 times as slow on CPUs as in float32.
        query, key, value = query.float(), key.float(), value.float()
        if attention_mask is not None and attention_mask.is_floating_point():
            attention_mask = attention_mask.float()
    output, weights = sdpa_attention_forward(
        module, query, key, value, attention_mask, is_causal=is_causal, **kwargs
    )
    return output.to(dtype), weights


AttentionInterface.register(ATTENTION_NAME, _attention)
AttentionMaskInterface.register(ATTENTION_NAME, sdpa_mask)


class AttentionInjection:
    """Give a backbone its prefix through its attention function.

    Parameters
    ----------
    model : PreTrainedModel
        A frozen backbone; its attention implementation is set to `ATTENTION_NAME`.

    Raises
    ------
    UnsupportedBackboneError
        If the model's attention cannot be replaced, or needs more than SDPA offers.
    """

    def __init__(self, model: "PreTrainedModel") -> None:
        if not (model._can_set_attn_implementation() and model._supports_sdpa):
            raise UnsupportedBackboneError(
                f"{type(model).__name__} does not let its attention function be "
                "replaced, so it cannot take a semantic prefix. Use a BERT, RoBERTa, "
                "Llama or Gemma 3 class backbone."
            )
        self.model = model
        model.set_attn_implementation(ATTENTION_NAME)

    def read(self, inputs_embeds: Tensor) -> PromptStates:
        """Run the backbone over one prompt (1, P, C) and record what each layer saw."""
        keys: list[Tensor] = []
        values: list[Tensor] = []

        def record(
            key: Tensor, value: Tensor, mask: Tensor | None, is_causal: bool
        ) -> _Call:
            keys.append(key[0])  # (H_kv, P, D)
            values.append(value[0])
            return key, value, mask, is_causal

        with _active(record):
            output = self.model(
                inputs_embeds=inputs_embeds, output_hidden_states=True, use_cache=False
            )
        states = [state[0] for state in output.hidden_states[: len(keys)]]  # (P, C)
        self._check(states, keys)
        return PromptStates(states, keys, values)

    def run(self, inputs: dict[str, Tensor], prefix: "Prefix | None" = None) -> Tensor:
        """Return the last hidden states (B, T, C) of a batch behind the prefix."""
        if prefix is None:
            return self.model(**inputs, use_cache=False).last_hidden_state
        with _active(_Joiner(prefix)):
            return self.model(**inputs, use_cache=False).last_hidden_state

    def _check(self, states: list[Tensor], keys: list[Tensor]) -> None:
        n_layers = self.model.config.num_hidden_layers
        if len(keys) != n_layers or len(states) != n_layers:
            raise UnsupportedBackboneError(
                f"{type(self.model).__name__} has {n_layers} layers, but {len(keys)} "
                "attention calls were seen while it read the prompt: it cannot take a "
                "semantic prefix in every layer."
            )


class _Joiner:
    """Joins each layer's prefix to its keys and values, in the order of the calls."""

    def __init__(self, prefix: "Prefix") -> None:
        self._layers = iter(prefix)
        self._wide: dict[int, tuple[Tensor | None, Tensor]] = {}

    def __call__(
        self, key: Tensor, value: Tensor, mask: Tensor | None, is_causal: bool
    ) -> _Call:
        prefix_key, prefix_value = next(self._layers)  # (H_kv, P, D) each
        if mask is not None or is_causal:
            mask = self._widen(mask, prefix_key, key)
        key = _join(prefix_key, key)  # (B, H_kv, P + T, D)
        value = _join(prefix_value, value)
        return key, value, mask, False  # the mask says all there is to causality

    def _widen(self, mask: Tensor | None, prefix_key: Tensor, key: Tensor) -> Tensor:
        """Let every query see the prefix; once per mask, not once per layer."""
        if id(mask) not in self._wide:
            narrow = _triangle(key) if mask is None else mask  # (B, 1, T, T)
            seen = narrow.new_ones((*narrow.shape[:-1], prefix_key.shape[1]))
            # The mask itself is kept too: a freed one could hand its id to another.
            self._wide[id(mask)] = mask, torch.cat([seen, narrow], dim=-1)
        return self._wide[id(mask)][1]  # (B, 1, T, P + T)


def _join(prefix: Tensor, states: Tensor) -> Tensor:
    """Put a prefix (H, P, D) in front of each of a batch's states (B, H, T, D)."""
    expanded = prefix.to(states).expand(states.shape[0], -1, -1, -1)  # (B, H, P, D)
    return torch.cat([expanded, states], dim=2)


def _triangle(key: Tensor) -> Tensor:
    """Build the causal mask (1, 1, T, T) that the backbone left to SDPA."""
    length = key.shape[2]
    mask = torch.ones(length, length, dtype=torch.bool, device=key.device)
    return mask.tril()[None, None]


@contextmanager
def _active(join: Callable[..., _Call]) -> Iterator[None]:
    """Join or record in the current context only, and always let go again."""
    token = _ACTIVE.set(join)
    try:
        yield
    finally:
        _ACTIVE.reset(token)
