"""Prefix mechanism "attention": the prefix joins keys and values in the attention call.

An attention function that is replaced does what it always does until `run` or `read`
is active in the calling thread: only then is a prefix joined, or the prompt recorded.
"""

import sys
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import eager_mask

from sksemantic._backbone.layers import add_hooks, current_hooks
from sksemantic._backbone.prefix.base import (
    Positions,
    PrefixMechanism,
    PromptStates,
    SplitLayer,
    expand_prefix,
    hidden_states_of,
    prefix_length,
    run_model,
)
from sksemantic._backbone.prefix.mask import make_sdpa_mask
from sksemantic.exceptions import UnsupportedBackboneError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from sksemantic._backbone.layers import AttentionCall
    from sksemantic._backbone.prefix.base import Prefix

SDPA_NAME = "sksemantic_sdpa"
EAGER_NAME = "sksemantic_eager"

# Of all heads of a batch: up to so many, plain products are faster than SDPA.
_FEW_SCORES = 2**22


def replace_attention(model: "PreTrainedModel") -> None:
    """Let a model use the attention functions of this module, if that is possible.

    A model that SDPA cannot serve (soft caps, sinks) keeps its own attention function.
    """
    if model._can_set_attn_implementation():
        name = SDPA_NAME if model._supports_sdpa else EAGER_NAME
        model.set_attn_implementation(name)
    # BigBird attends in sparse blocks, which take no cache, unless told otherwise.
    set_attention_type: Any = getattr(model, "set_attention_type", None)
    if set_attention_type is not None:
        set_attention_type("original_full")


def _join(
    module: torch.nn.Module, call: "AttentionCall", kwargs: dict[str, Any]
) -> "AttentionCall":
    """Return what is attended to, changed by the hook of the current call."""
    hook = current_hooks().on_attention
    if hook is None:
        return call
    if kwargs.get("position_bias") is not None:  # it has none for the prefix
        raise UnsupportedBackboneError("Its attention adds a bias by distance.")
    return hook(module, call)


def _show_weights(
    query: Tensor,
    key: Tensor,
    mask: Tensor | None,
    scaling: float | None,
    is_causal: bool = False,
) -> None:
    """Show the weights (B, H, T, S) to the hook of the current call, if it has one.

    A model's own soft caps and sinks are not in them.
    """
    hook = current_hooks().on_weights
    if hook is None:
        return
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    key = key.repeat_interleave(query.shape[1] // key.shape[1], dim=1)
    scores = (query.float() * scale) @ key.float().transpose(-1, -2)
    if mask is None and is_causal:
        mask = scores.new_ones(scores.shape[-2:], dtype=torch.bool).tril()
    hook(_add_mask(scores, mask).softmax(dim=-1))


def _add_mask(scores: Tensor, mask: Tensor | None) -> Tensor:
    """Return scores (B, H, T, S) with a mask: what is added, or which keys are seen."""
    if mask is not None and mask.dtype == torch.bool:
        least = torch.finfo(scores.dtype).min
        mask = torch.zeros_like(mask, dtype=scores.dtype).masked_fill_(~mask, least)
    return scores if mask is None else scores + mask


def attend(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    is_causal: bool | None = None,
    **kwargs: Any,
) -> tuple[Tensor, Tensor | None]:
    """Attend with SDPA, to the prefix as well if the current call has one."""
    if is_causal is None:
        is_causal = getattr(module, "is_causal", True)
    call = (key, value, attention_mask, is_causal)
    key, value, attention_mask, is_causal = _join(module, call, kwargs)
    _show_weights(query, key, attention_mask, kwargs.get("scaling"), is_causal)
    trains_on_cpu = key.requires_grad and key.device.type == "cpu"
    function: Any = attend_on_cpu if trains_on_cpu else sdpa_attention_forward
    return function(
        module, query, key, value, attention_mask, is_causal=is_causal, **kwargs
    )


def attend_on_cpu(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    is_causal: bool,
    few_scores: int = _FEW_SCORES,
    **kwargs: Any,
) -> tuple[Tensor, Tensor | None]:
    """Attend with gradient on a CPU, by plain products where they are faster."""
    n_scores = query.shape[:-1].numel() * key.shape[2]
    if n_scores <= few_scores and not (is_causal and attention_mask is None):
        return _multiply(query, key, value, attention_mask, kwargs.get("scaling")), None
    # SDPA's backward in half precision is 5 times as slow on CPUs as in float32.
    dtype = query.dtype
    query, key, value = query.float(), key.float(), value.float()
    if attention_mask is not None and attention_mask.is_floating_point():
        attention_mask = attention_mask.float()
    output, weights = sdpa_attention_forward(
        module, query, key, value, attention_mask, is_causal=is_causal, **kwargs
    )
    return output.to(dtype), weights


def _multiply(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    scaling: float | None,
) -> Tensor:
    """Attend by two plain products: for short texts twice as fast as SDPA on CPUs.

    Query (B, H, T, D); key, value (B, H_kv, S, D); returns (B, T, H, D).
    """
    batch, n_heads, length, size = query.shape
    n_groups = n_heads // key.shape[1]
    scale = size**-0.5 if scaling is None else scaling
    # The heads that share keys and values are put into one long query.
    shared = (query * scale).reshape(batch, -1, n_groups * length, size)
    scores = shared @ key.transpose(-1, -2)  # (B, H_kv, G * T, S)
    scores = scores.view(batch, n_heads, length, -1)
    scores = _add_mask(scores, mask)
    weights = scores.softmax(-1, dtype=torch.float32).to(value.dtype)
    weights = weights.view(batch, -1, n_groups * length, key.shape[2])
    return (weights @ value).view(batch, n_heads, length, -1).transpose(1, 2)


def _eager_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **kwargs: Any,
) -> tuple[Tensor, Tensor | None]:
    """Attend with the model's own function, which takes causality from the mask."""
    call = (key, value, attention_mask, False)
    key, value, attention_mask, _ = _join(module, call, kwargs)
    _show_weights(query, key, attention_mask, kwargs.get("scaling"))
    own = sys.modules[type(module).__module__].eager_attention_forward
    return own(module, query, key, value, attention_mask, **kwargs)


AttentionInterface.register(SDPA_NAME, attend)
AttentionInterface.register(EAGER_NAME, _eager_attention)
AttentionMaskInterface.register(SDPA_NAME, make_sdpa_mask)
AttentionMaskInterface.register(EAGER_NAME, eager_mask)


class AttentionPrefix(PrefixMechanism):
    """Give a backbone its prefix through its attention function."""

    name = "attention"

    def __init__(
        self, model: "PreTrainedModel", positions: Positions, has_layer_hooks: bool
    ) -> None:
        super().__init__(model, positions, has_layer_hooks)
        if not model._can_set_attn_implementation():
            raise UnsupportedBackboneError("Its attention function cannot be replaced.")
        if not positions.given:
            raise UnsupportedBackboneError("Its forward takes no position_ids.")

    def read(self, inputs_embeds: Tensor) -> PromptStates:
        """Run the backbone over one prompt (1, P, C); record its keys and values."""
        calls: list[tuple[int | None, Tensor, Tensor]] = []

        def record(module: torch.nn.Module, call: "AttentionCall") -> "AttentionCall":
            key, value, *_ = call
            calls.append((getattr(module, "layer_idx", None), key[0], value[0]))
            return call

        with add_hooks(on_attention=record):
            output = self.model(inputs_embeds=inputs_embeds, output_hidden_states=True)
        states = hidden_states_of(output)  # L + 1 of (P, C)
        layers = self._layers(calls, len(states) - 1)
        prefix: Prefix = [(key, value) for _, key, value in calls]  # (H_kv, P, D) each
        return PromptStates([states[i] for i in layers], prefix, layers)

    def run(
        self,
        inputs: dict[str, Tensor],
        prefix: "Prefix",
        prefix_mask: Tensor | None = None,
    ) -> Tensor:
        """Return the last hidden states (B, T, C) of a batch after the prefix."""
        if self.positions.own is None:
            n_prompt = prefix_length(prefix, prefix_mask)
            inputs = self.positions.of_text(n_prompt, inputs["input_ids"]) | inputs
        with add_hooks(on_attention=PrefixJoiner(prefix, prefix_mask)):
            return run_model(self.model, inputs)

    def _prefix_from(self, prefix: "Prefix", split_layer: SplitLayer) -> "Prefix":
        """Return the prefix of the layers whose attention is called."""
        return prefix[split_layer.n_lower :]

    @staticmethod
    def _layers(calls: "list[Any]", n_layers: int) -> list[int]:
        """Return the layer of each call; hybrid models attend in some only."""
        if len(calls) == n_layers:
            return list(range(n_layers))
        layers = [layer for layer, *_ in calls]
        if not calls or None in layers or len(set(layers)) < len(layers):
            raise UnsupportedBackboneError(
                f"{len(calls)} attention calls were seen in {n_layers} layers."
            )
        return layers


class PrefixJoiner:
    """Joins each layer's prefix to its keys and values, in the order of the calls.

    `real` (B, P) says which tokens of each row's prefix are seen; None: all are.
    """

    def __init__(self, prefix: "Prefix", real: Tensor | None = None) -> None:
        self._layers = iter(prefix)
        self._real = real
        self._widened: dict[int, tuple[Tensor | None, Tensor]] = {}

    def __call__(
        self, module: torch.nn.Module, call: "AttentionCall"
    ) -> "AttentionCall":
        key, value, mask, is_causal = call
        prefix = next(self._layers, None)
        if prefix is None or prefix[0].shape[-3::2] != key.shape[1::2]:
            raise UnsupportedBackboneError("Its attention calls differ between texts.")
        prefix_key, prefix_value = prefix  # (H_kv, P, D) or (B, H_kv, P, D) each
        if mask is not None or is_causal or self._real is not None:
            mask = self._widen(mask, prefix_key, key, is_causal)
        # (B, H_kv, P + T, D) each
        key = torch.cat([expand_prefix(prefix_key, key), key], dim=2)
        value = torch.cat([expand_prefix(prefix_value, value), value], dim=2)
        return key, value, mask, False  # the mask covers causality

    def _widen(
        self, mask: Tensor | None, prefix_key: Tensor, key: Tensor, is_causal: bool
    ) -> Tensor:
        """Let every query see the prefix; once per mask, not once per layer."""
        if id(mask) not in self._widened:
            narrow = mask  # (B, 1, T, T)
            if narrow is None and is_causal:  # the backbone left it to SDPA
                square = key.new_ones(key.shape[2], key.shape[2], dtype=torch.bool)
                narrow = square.tril()[None, None]
            elif narrow is None:
                narrow = key.new_zeros(1, 1, 1, key.shape[2])
            if self._real is not None:
                narrow = narrow.expand(len(key), -1, -1, -1)
            is_bool = narrow.dtype == torch.bool  # which are seen, or what is added
            seen, hidden = (1, 0) if is_bool else (0, torch.finfo(narrow.dtype).min)
            size = (*narrow.shape[:-1], prefix_key.shape[-2])
            before = narrow.new_full(size, seen)
            if self._real is not None:
                before.masked_fill_(~self._real[:, None, None], hidden)
            # The mask is kept too: once freed, another could get its id.
            self._widened[id(mask)] = mask, torch.cat([before, narrow], dim=-1)
        return self._widened[id(mask)][1]  # (B, 1, T, P + T)
