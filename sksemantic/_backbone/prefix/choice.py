"""Choose how a backbone is given its prefix, and test that it works."""

import os
from typing import TYPE_CHECKING

import torch

from sksemantic._backbone.layers import refuse_model_errors
from sksemantic._backbone.prefix.attention import AttentionPrefix
from sksemantic._backbone.prefix.base import Positions, outputs_agree, run_model
from sksemantic._backbone.prefix.hidden_states import HiddenStatesPrefix
from sksemantic._backbone.prefix.kv_cache import KVCachePrefix
from sksemantic.exceptions import UnsupportedBackboneError

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from sksemantic._backbone.prefix.base import Prefix, PrefixMechanism

PREFIX_MECHANISMS: "dict[str, type[PrefixMechanism]]" = {
    mechanism.name: mechanism
    for mechanism in (AttentionPrefix, KVCachePrefix, HiddenStatesPrefix)
}


def choose_prefix_mechanism(
    model: "PreTrainedModel", is_causal: bool, has_layer_hooks: bool, name: str = "auto"
) -> "PrefixMechanism":
    """Return the first mechanism that the backbone takes, or the one that is named.

    If there is none, the error says what was tried, and why it did not work.
    """
    positions = Positions.of(model, is_causal)
    names = list(PREFIX_MECHANISMS) if name == "auto" else [name]
    reasons = []
    for tried in names:
        try:
            # A model may fail on a cache it does not know, or on a prefix that its
            # attention does not expect. Its warnings are no reason to refuse it.
            with refuse_model_errors():
                mechanism = PREFIX_MECHANISMS[tried](model, positions, has_layer_hooks)
                if is_self_test_on():
                    self_test(mechanism, is_causal)
        except UnsupportedBackboneError as exc:
            reasons.append(f"  {tried}: {exc}")
        else:
            return mechanism
    raise UnsupportedBackboneError(
        f"{type(model).__name__} takes no semantic prefix by "
        f"prefix_mechanism={name!r}. Tried:\n"
        + "\n".join(reasons)
        + "\nUse method='prompt', another `prefix_mechanism` or another `model`."
    )


def is_self_test_on() -> bool:
    """Whether backbones are tested at first use; an environment variable says no."""
    return os.environ.get("SKSEMANTIC_SELF_TEST") != "0"


def self_test(mechanism: "PrefixMechanism", is_causal: bool) -> None:
    """Run one tiny batch: all of the prefix must matter, and be the right one.

    Some backbones accept a prefix and silently ignore it. With a causal one the output
    after the prompt's own prefix must be as if it had just read the prompt.
    """
    model = mechanism.model
    prompt, text = torch.arange(5, 11, device=model.device)[None].chunk(2, dim=1)
    with torch.no_grad():
        read = mechanism.read(model.get_input_embeddings()(prompt))
    prefix = [
        tuple(part.detach().float().requires_grad_() for part in layer)
        for layer in read.prefix
    ]
    with torch.enable_grad():
        hidden = mechanism.run(_inputs(text), prefix).float()
        _check_gradients(hidden, prefix)
    if is_causal:
        with torch.no_grad():
            both = run_model(model, _inputs(torch.cat([prompt, text], dim=1)))
        if not outputs_agree(hidden, both[:, prompt.shape[1] :], model):
            raise UnsupportedBackboneError(
                "After the prompt's own prefix the output is not what the backbone "
                "makes of prompt and text."
            )


def _inputs(ids: "Tensor") -> "dict[str, Tensor]":
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def _check_gradients(hidden: "Tensor", prefix: "Prefix") -> None:
    """Refuse a prefix that the output (1, T, C) does not depend on in every layer."""
    # A normalised layer's plain sum never changes: weigh the features unequally.
    weights = torch.linspace(-1, 1, hidden.shape[-1], device=hidden.device)
    parts = [part for layer in prefix for part in layer]
    gradients = torch.autograd.grad((hidden * weights).sum(), parts, allow_unused=True)
    without_effect = {
        i // len(prefix[0])
        for i, gradient in enumerate(gradients)
        if gradient is None or not (gradient.isfinite().all() and gradient.any())
    }
    if without_effect:
        raise UnsupportedBackboneError(
            "The output does not depend on the prefix of layers "
            f"{sorted(without_effect)}."
        )
