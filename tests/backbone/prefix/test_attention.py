"""Prefix mechanism "attention": against a naive loop, and against float32."""

import pytest
import torch
from conftest import inputs_of, load_tiny, random_ids
from torch import nn

from sksemantic._backbone.layers import add_hooks
from sksemantic._backbone.prefix.attention import (
    PrefixJoiner,
    attend,
    attend_on_cpu,
)
from sksemantic.exceptions import UnsupportedBackboneError

WINDOW = 8  # of the tiny Gemma 3's sliding layers


def naive_attention(query, key, value, mask, prefix, scaling):
    """Attend one query at a time over [prefix; text], heads grouped."""
    prefix_key, prefix_value = prefix
    n_rows, n_heads, length, _ = query.shape
    group = n_heads // key.shape[1]
    output = torch.zeros_like(query)
    for b in range(n_rows):
        for h in range(n_heads):
            keys = torch.cat([prefix_key[h // group], key[b, h // group]])
            values = torch.cat([prefix_value[h // group], value[b, h // group]])
            for t in range(length):
                scores = keys @ query[b, h, t] * scaling
                scores[len(prefix_key[0]) :][~mask[b, t]] = -torch.inf
                output[b, h, t] = scores.softmax(dim=0) @ values
    return output.transpose(1, 2)  # (B, T, H, D)


@pytest.mark.parametrize("n_kv_heads", [4, 2, 1])
@pytest.mark.parametrize("kind", ["all", "causal", "padded"])
@torch.no_grad()
def test_attention_when_prefix_joined_then_equals_naive_loop(
    n_kv_heads, kind, tiny_llama
):
    length = 5
    layer = load_tiny(tiny_llama).model.layers[0].self_attn
    grouped = nn.Module()
    grouped.num_key_value_groups = layer.config.num_attention_heads // n_kv_heads
    query = torch.randn(2, 4, length, 8)
    key, value = torch.randn(2, 2, n_kv_heads, length, 8)
    prefix = tuple(torch.randn(2, n_kv_heads, 3, 8))
    seen = torch.ones(2, length, length, dtype=torch.bool)
    if kind == "causal":
        seen = seen.tril()
    if kind == "padded":
        seen[1, :, 3:] = False
    given = seen[:, None] if kind == "padded" else None

    with add_hooks(on_attention=PrefixJoiner([prefix])):
        output, _ = attend(
            grouped, query, key, value, given, is_causal=kind == "causal", scaling=0.3
        )

    expected = naive_attention(query, key, value, seen, prefix, 0.3)
    torch.testing.assert_close(output, expected, rtol=0, atol=1e-5)


def attend_and_derive(query, key, value, mask, few_scores):
    """Return attention's output, and the gradients of a weighted sum of it."""
    leaves = [t.detach().clone().requires_grad_() for t in (query, key, value)]
    module = nn.Module()
    module.num_key_value_groups = query.shape[1] // key.shape[1]
    output, _ = attend_on_cpu(
        module, *leaves, mask, is_causal=False, few_scores=few_scores
    )
    weights = torch.linspace(-1, 1, output.numel()).view(output.shape)
    (output.float() * weights).sum().backward()
    return output, [leaf.grad for leaf in leaves]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("n_groups", [1, 2])
@pytest.mark.parametrize("kind", ["none", "boolean", "additive"])
@pytest.mark.parametrize("few_scores", [0, 2**22])
def test_attention_when_trained_on_a_cpu_then_is_that_of_float32(
    few_scores, kind, n_groups, dtype
):
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(2, 4, 5, 8, generator=generator).to(dtype)
    key, value = torch.randn(2, 2, 4 // n_groups, 7, 8, generator=generator).to(dtype)
    seen = torch.ones(2, 1, 5, 7, dtype=torch.bool).tril(diagonal=2)
    least = torch.finfo(dtype).min
    additive = torch.zeros(seen.shape, dtype=dtype).masked_fill(~seen, least)
    mask = {"none": None, "boolean": seen, "additive": additive}[kind]

    output, gradients = attend_and_derive(query, key, value, mask, few_scores)

    leaves = [t.float().requires_grad_() for t in (query, key, value)]
    repeated = [t.repeat_interleave(n_groups, dim=1) for t in leaves[1:]]
    expected = nn.functional.scaled_dot_product_attention(
        leaves[0], *repeated, attn_mask=None if kind == "none" else seen
    ).transpose(1, 2)
    weights = torch.linspace(-1, 1, expected.numel()).view(expected.shape)
    (expected * weights).sum().backward()
    tolerance = 1e-5 if dtype == torch.float32 else 0.02
    assert output.dtype == dtype
    torch.testing.assert_close(output.float(), expected, rtol=0, atol=tolerance)
    for gradient, leaf in zip(gradients, leaves, strict=True):
        assert gradient.dtype == dtype
        torch.testing.assert_close(gradient.float(), leaf.grad, rtol=0, atol=tolerance)


@pytest.fixture
def gemma3(tiny_gemma3):
    """Return the mechanism, and a random prefix of four virtual tokens."""
    backbone = load_tiny(tiny_gemma3, "attention")
    assert backbone.model.config.layer_types[-1] == "sliding_attention"
    prefix = [tuple(torch.randn(2, 1, 4, 8).requires_grad_()) for _ in range(3)]
    return backbone.prefix_mechanism, prefix


def test_run_when_text_exceeds_sliding_window_then_last_token_sees_prefix(gemma3):
    mechanism, prefix = gemma3
    hidden = mechanism.run(inputs_of(*random_ids(3 * WINDOW)), prefix)
    # Of the last layer, nothing but its own attention reaches its last token.
    gradients = torch.autograd.grad(hidden[0, -1].square().sum(), prefix[-1])
    assert all(gradient.abs().max() > 0 for gradient in gradients)


def test_run_when_text_exceeds_sliding_window_then_window_still_holds(gemma3):
    mechanism, prefix = gemma3
    entering = []  # the last layer, which is a sliding one
    layer = mechanism.model.layers[-1]
    handle = layer.register_forward_pre_hook(lambda _, args: entering.append(args[0]))
    hidden = mechanism.run(inputs_of(*random_ids(3 * WINDOW)), prefix)
    handle.remove()
    (gradient,) = torch.autograd.grad(hidden[0, -1].square().sum(), entering)
    reached = gradient[0].abs().amax(dim=1) > 0  # (T,)
    assert reached.tolist() == [False] * 2 * WINDOW + [True] * WINDOW


def test_run_when_there_are_more_calls_than_layers_of_the_prefix_then_refused(gemma3):
    mechanism, prefix = gemma3
    with pytest.raises(UnsupportedBackboneError, match="attention calls differ"):
        mechanism.run(inputs_of([5, 6]), prefix[:2])
