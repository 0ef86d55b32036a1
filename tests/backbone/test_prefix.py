"""A prefix is joined rightly: against the bare model, and against a naive loop."""

import threading

import pytest
import torch
from conftest import (
    BACKBONES,
    DECODERS,
    ENCODERS,
    load_tiny,
    random_ids,
)
from torch import nn
from transformers import AutoModel

from sksemantic._backbone.prefix.attention import _active, _attention, _Joiner
from sksemantic._inputs.dataset import TextDataset, collate

PROMPT_IDS = [2, 10, 11]
PREFIX_MECHANISMS = ("attention", "kv_cache", "hidden_states")
WINDOW = 8  # of the tiny Gemma 3's sliding layers


@pytest.fixture(params=PREFIX_MECHANISMS)
def prefix_mechanism(request):
    return request.param


@pytest.fixture(params=BACKBONES)
def backbone(request, prefix_mechanism, tiny):
    return load_tiny(tiny(request.param), prefix_mechanism)


def bare_model(directory):
    """Load the model anew, as anyone else would."""
    return AutoModel.from_pretrained(
        directory, attn_implementation="sdpa", dtype=torch.float32
    ).eval()


@torch.no_grad()
def read(backbone, prompt_ids=PROMPT_IDS):
    return backbone.prefix_mechanism.read(backbone.embed(torch.tensor([prompt_ids])))


def batch(rows, pad_id=0):
    """Pad rows."""
    inputs, _ = collate(pad_id)(TextDataset(rows))
    del inputs["sample_weight"]
    return inputs


@torch.no_grad()
def run(backbone, rows, prefix):
    inputs = batch(rows, backbone.pad_id)
    if prefix is None:
        return backbone.run(inputs)
    return backbone.prefix_mechanism.run(inputs, prefix)


def random_prefix(backbone, length=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    prefix = read(backbone, PROMPT_IDS[:1]).prefix
    return [
        tuple(
            torch.randn(p.shape[0], length, p.shape[2], generator=generator)
            for p in layer
        )
        for layer in prefix
    ]


@pytest.mark.parametrize(
    ("name", "length"), [("llama", 5), ("llama", 40), ("gemma3", WINDOW - 3)]
)
@torch.no_grad()
def test_run_when_causal_then_equals_bare_model_on_prompt_and_text(
    name, length, prefix_mechanism, tiny
):
    backbone = load_tiny(tiny(name), prefix_mechanism)
    (text,) = random_ids(length)
    behind_prefix = run(backbone, [text], read(backbone).prefix)
    bare = bare_model(tiny(name))(torch.tensor([PROMPT_IDS + text]))
    expected = bare.last_hidden_state[:, len(PROMPT_IDS) :]
    torch.testing.assert_close(behind_prefix, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("name", "first"), [("bert", 0), ("roberta", 2)])
@pytest.mark.parametrize("length", [5, 40])
@torch.no_grad()
def test_run_when_encoder_then_equals_bare_model_under_block_mask(
    name, first, length, prefix_mechanism, tiny
):
    backbone = load_tiny(tiny(name), prefix_mechanism)
    (text,) = random_ids(length)
    behind_prefix = run(backbone, [text], read(backbone).prefix)

    n_prompt, total = len(PROMPT_IDS), len(PROMPT_IDS) + length
    mask = torch.ones(1, 1, total, total, dtype=torch.bool)
    mask[:, :, :n_prompt, n_prompt:] = False  # the prompt is read alone
    positions = torch.cat([torch.arange(n_prompt), torch.arange(length)]) + first
    bare = bare_model(tiny(name))(
        torch.tensor([PROMPT_IDS + text]),
        attention_mask=mask,
        position_ids=positions[None],
    )
    expected = bare.last_hidden_state[:, n_prompt:]
    torch.testing.assert_close(behind_prefix, expected, rtol=0, atol=1e-5)


@torch.no_grad()
def test_run_when_text_is_a_pair_then_its_token_types_count(
    prefix_mechanism, tiny_bert
):
    backbone = load_tiny(tiny_bert, prefix_mechanism)
    (text,) = random_ids(9)
    n_prompt, total = len(PROMPT_IDS), len(PROMPT_IDS) + len(text)
    types = torch.tensor([[0, 0, 0, 0, 1, 1, 1, 1, 1]])
    inputs = batch([text]) | {"token_type_ids": types}
    prefix = read(backbone).prefix
    found = backbone.prefix_mechanism.run(inputs, prefix)

    mask = torch.ones(1, 1, total, total, dtype=torch.bool)
    mask[:, :, :n_prompt, n_prompt:] = False  # the prompt is read alone
    bare = bare_model(tiny_bert)(
        torch.tensor([PROMPT_IDS + text]),
        attention_mask=mask,
        position_ids=torch.cat([torch.arange(n_prompt), torch.arange(len(text))])[None],
        token_type_ids=torch.cat([torch.zeros(1, n_prompt, dtype=int), types], dim=1),
    )
    expected = bare.last_hidden_state[:, n_prompt:]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert (
        found - backbone.prefix_mechanism.run(batch([text]), prefix)
    ).abs().max() > 1e-2


@torch.no_grad()
def test_run_when_no_prefix_then_equals_bare_model(backbone):
    (text,) = random_ids(12)
    bare = bare_model(backbone.model.name_or_path)(torch.tensor([text]))
    torch.testing.assert_close(
        run(backbone, [text], None), bare.last_hidden_state, rtol=0, atol=1e-5
    )


def test_run_when_prefix_differs_then_output_differs(backbone):
    (text,) = random_ids(5)
    one, other = (
        run(backbone, [text], random_prefix(backbone, seed=s)) for s in (0, 1)
    )
    assert (one - other).abs().max() > 1e-2


def test_run_when_padded_then_equals_unpadded(backbone):
    rows = random_ids(3, 17, 9)
    prefix = random_prefix(backbone)
    padded = run(backbone, rows, prefix)
    for i, row in enumerate(rows):
        alone = run(backbone, [row], prefix)[0]
        torch.testing.assert_close(padded[i, : len(row)], alone, rtol=0, atol=1e-5)


def test_run_when_backward_then_every_layer_gets_gradient(backbone):
    prefix = random_prefix(backbone)
    parts = [part.requires_grad_() for layer in prefix for part in layer]
    hidden = backbone.prefix_mechanism.run(batch(random_ids(6, 4)), prefix)
    (hidden * torch.randn_like(hidden)).sum().backward()
    for part in parts:
        assert part.grad.abs().max() > 0


def test_run_when_text_exceeds_sliding_window_then_last_token_sees_prefix(tiny_gemma3):
    backbone = load_tiny(tiny_gemma3)
    assert backbone.model.config.layer_types[-1] == "sliding_attention"
    prefix = random_prefix(backbone)
    last_key, last_value = (part.requires_grad_() for part in prefix[-1])
    hidden = backbone.prefix_mechanism.run(batch(random_ids(3 * WINDOW)), prefix)
    hidden[0, -1].square().sum().backward()  # nothing but this layer's own attention
    assert last_key.grad.abs().max() > 0
    assert last_value.grad.abs().max() > 0


def test_run_when_behind_sliding_window_then_window_still_holds(tiny_gemma3):
    backbone = load_tiny(tiny_gemma3)
    prefix = random_prefix(backbone)
    (text,) = random_ids(3 * WINDOW)
    prefix[0][0].requires_grad_()
    seen = []  # what enters the last layer, which is a sliding one
    layer = backbone.model.layers[-1]
    keep = layer.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    hidden = backbone.prefix_mechanism.run(batch([text]), prefix)
    keep.remove()
    (gradient,) = torch.autograd.grad(hidden[0, -1].square().sum(), seen)
    reached = gradient[0].abs().amax(dim=1) > 0  # (T,)
    assert reached.tolist() == [False] * 2 * WINDOW + [True] * WINDOW


def test_read_when_done_then_states_keys_values_have_every_layer(backbone):
    states = read(backbone)
    config = backbone.model.config
    n_kv_heads = getattr(config, "num_key_value_heads", config.num_attention_heads)
    n_layers, n_prompt = config.num_hidden_layers, len(PROMPT_IDS)
    assert states.n_layers == n_layers
    assert [s.shape for s in states.states] == [(n_prompt, 32)] * n_layers
    expected = [(n_kv_heads, n_prompt, 8)] * 2  # keys and values
    if backbone.prefix_mechanism.name == "hidden_states":
        expected = [(1, n_prompt, 32)]
    for layer in states.prefix:
        assert [part.shape for part in layer] == expected


@torch.no_grad()
def test_read_when_done_then_states_are_those_entering_each_layer(
    prefix_mechanism, tiny_llama
):
    backbone = load_tiny(tiny_llama, prefix_mechanism)
    states = read(backbone).states
    ids = torch.tensor([PROMPT_IDS])
    torch.testing.assert_close(states[0], backbone.embed(ids)[0])
    expected = bare_model(tiny_llama)(ids, output_hidden_states=True).hidden_states[1]
    torch.testing.assert_close(states[1], expected[0])


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

    with _active(_Joiner([prefix])):
        output, _ = _attention(
            grouped, query, key, value, given, is_causal=kind == "causal", scaling=0.3
        )

    expected = naive_attention(query, key, value, seen, prefix, 0.3)
    torch.testing.assert_close(output, expected, rtol=0, atol=1e-5)


def attend_and_derive(query, key, value, mask):
    """Return attention's output, and the gradients of a weighted sum of it."""
    leaves = [t.detach().clone().requires_grad_() for t in (query, key, value)]
    module = nn.Module()
    module.is_causal = False
    module.num_key_value_groups = query.shape[1] // key.shape[1]
    output, _ = _attention(module, *leaves, mask)
    weights = torch.linspace(-1, 1, output.numel()).view(output.shape)
    (output.float() * weights).sum().backward()
    return output, [leaf.grad for leaf in leaves]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("n_groups", [1, 2])
@pytest.mark.parametrize("kind", ["none", "boolean", "additive"])
@pytest.mark.parametrize("few_scores", [0, 2**22])
def test_attention_when_trained_on_a_cpu_then_is_that_of_float32(
    few_scores, kind, n_groups, dtype, monkeypatch
):
    monkeypatch.setattr("sksemantic._backbone.prefix.attention._FEW_SCORES", few_scores)
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(2, 4, 5, 8, generator=generator).to(dtype)
    key, value = torch.randn(2, 2, 4 // n_groups, 7, 8, generator=generator).to(dtype)
    seen = torch.ones(2, 1, 5, 7, dtype=torch.bool).tril(diagonal=2)
    least = torch.finfo(dtype).min
    additive = torch.zeros(seen.shape, dtype=dtype).masked_fill(~seen, least)
    mask = {"none": None, "boolean": seen, "additive": additive}[kind]

    output, gradients = attend_and_derive(query, key, value, mask)

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
    for found, leaf in zip(gradients, leaves, strict=True):
        assert found.dtype == dtype
        torch.testing.assert_close(found.float(), leaf.grad, rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", [ENCODERS[0], DECODERS[0]])
def test_run_when_two_threads_interleave_then_each_gets_its_own_prefix(
    name, prefix_mechanism, tiny
):
    backbone = load_tiny(tiny(name), prefix_mechanism)
    rows = random_ids(6)
    prefixes = [random_prefix(backbone, length, length) for length in (2, 5)]
    expected = [run(backbone, rows, prefix) for prefix in prefixes]

    barrier = threading.Barrier(2, timeout=10)
    layers = getattr(backbone.model, "encoder", backbone.model)
    layers = getattr(layers, "layer", None) or layers.layers

    def wait_for_the_other(*args):
        barrier.wait()

    hooks = [  # before and behind the first layer
        layers[0].register_forward_pre_hook(wait_for_the_other),
        layers[0].register_forward_hook(wait_for_the_other),
    ]
    results = [None, None]

    def work(i):
        results[i] = run(backbone, rows, prefixes[i])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for hook in hooks:
        hook.remove()

    torch.testing.assert_close(results, expected)


def test_run_when_it_failed_before_then_bare_forward_is_unaffected(backbone):
    (text,) = random_ids(6)
    prefix = random_prefix(backbone)
    before = run(backbone, [text], None)

    def fail(*args):
        raise RuntimeError("in the middle")

    hook = backbone.model.register_forward_hook(fail)
    with pytest.raises(RuntimeError, match="in the middle"):
        run(backbone, [text], prefix)
    hook.remove()
    torch.testing.assert_close(run(backbone, [text], None), before, rtol=0, atol=0)
