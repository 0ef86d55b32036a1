"""Every mechanism does the same: it runs as if the prompt stood before the text."""

import shutil
import threading
from types import SimpleNamespace

import pytest
import torch
from conftest import (
    BACKBONES,
    DECODERS,
    ENCODERS,
    batch_of,
    load_tiny,
    random_ids,
)
from transformers import AutoModel

from sksemantic._backbone.prefix.base import (
    Positions,
    SplitLayer,
    outputs_agree,
)

PROMPT_IDS = [2, 10, 11]
PREFIX_MECHANISMS = ("attention", "kv_cache", "hidden_states")


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


@torch.no_grad()
def run(backbone, rows, prefix):
    inputs = batch_of(rows, backbone.pad_id)
    if prefix is None:
        return backbone.run(inputs)
    return backbone.prefix_mechanism.run(inputs, prefix)


def layers_of(backbone):
    model = backbone.model
    return model.layers if hasattr(model, "layers") else model.encoder.layer


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
    ("name", "length"), [("llama", 5), ("llama", 40), ("gemma3", 5)]
)
@torch.no_grad()
def test_run_when_causal_then_equals_bare_model_on_prompt_and_text(
    name, length, prefix_mechanism, tiny
):
    backbone = load_tiny(tiny(name), prefix_mechanism)
    (text,) = random_ids(length)
    output = run(backbone, [text], read(backbone).prefix)
    bare = bare_model(tiny(name))(torch.tensor([PROMPT_IDS + text]))
    expected = bare.last_hidden_state[:, len(PROMPT_IDS) :]
    torch.testing.assert_close(output, expected, rtol=0, atol=1e-5)


def bare_run_under_block_mask(directory, text, first=0, **inputs):
    """Run the bare model on prompt and text, the prompt's tokens seeing it alone."""
    n_prompt, total = len(PROMPT_IDS), len(PROMPT_IDS) + len(text)
    mask = torch.ones(1, 1, total, total, dtype=torch.bool)
    mask[:, :, :n_prompt, n_prompt:] = False
    positions = torch.cat([torch.arange(n_prompt), torch.arange(len(text))]) + first
    bare = bare_model(directory)(
        torch.tensor([PROMPT_IDS + text]),
        attention_mask=mask,
        position_ids=positions[None],
        **inputs,
    )
    return bare.last_hidden_state[:, n_prompt:]


@pytest.mark.parametrize(("name", "first"), [("bert", 0), ("roberta", 2)])
@pytest.mark.parametrize("length", [5, 40])
@torch.no_grad()
def test_run_when_encoder_then_equals_bare_model_under_block_mask(
    name, first, length, prefix_mechanism, tiny
):
    backbone = load_tiny(tiny(name), prefix_mechanism)
    (text,) = random_ids(length)
    output = run(backbone, [text], read(backbone).prefix)
    expected = bare_run_under_block_mask(tiny(name), text, first)
    torch.testing.assert_close(output, expected, rtol=0, atol=1e-5)


@torch.no_grad()
def test_run_when_text_is_a_pair_then_its_token_types_count(
    prefix_mechanism, tiny_bert
):
    backbone = load_tiny(tiny_bert, prefix_mechanism)
    (text,) = random_ids(9)
    types = torch.tensor([[0, 0, 0, 0, 1, 1, 1, 1, 1]])
    prefix = read(backbone).prefix
    inputs = batch_of([text]) | {"token_type_ids": types}
    output = backbone.prefix_mechanism.run(inputs, prefix)
    of_both = torch.cat([torch.zeros(1, len(PROMPT_IDS), dtype=int), types], dim=1)
    expected = bare_run_under_block_mask(tiny_bert, text, token_type_ids=of_both)
    torch.testing.assert_close(output, expected, rtol=0, atol=1e-5)
    without_types = backbone.prefix_mechanism.run(batch_of([text]), prefix)
    assert (output - without_types).abs().max() > 1e-2


def test_run_when_backward_then_every_layer_gets_gradient(backbone):
    prefix = random_prefix(backbone)
    parts = [part.requires_grad_() for layer in prefix for part in layer]
    hidden = backbone.prefix_mechanism.run(batch_of(random_ids(6, 4)), prefix)
    (hidden * torch.randn_like(hidden)).sum().backward()
    for part in parts:
        assert part.grad.abs().max() > 0


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


@pytest.mark.parametrize("name", [ENCODERS[0], DECODERS[0]])
def test_run_when_two_threads_interleave_then_each_gets_its_own_prefix(
    name, prefix_mechanism, tiny
):
    backbone = load_tiny(tiny(name), prefix_mechanism)
    rows = random_ids(6)
    prefixes = [random_prefix(backbone, length, length) for length in (2, 5)]
    expected = [run(backbone, rows, prefix) for prefix in prefixes]

    barrier = threading.Barrier(2, timeout=10)
    layers = layers_of(backbone)

    def wait_for_the_other(*args):
        barrier.wait()

    hooks = [  # before and after the first layer
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


def test_run_when_in_the_middle_then_no_module_shows_it(backbone):
    """What one thread does is not to be seen on a model that others run as well."""

    def attributes():
        return [
            (name, {k: v for k, v in vars(module).items() if "hooks" not in k})
            for name, module in backbone.model.named_modules()
        ]

    seen = []
    prefix = random_prefix(backbone)
    layer = layers_of(backbone)[-1]
    handle = layer.register_forward_pre_hook(lambda *args: seen.append(attributes()))
    before = attributes()
    run(backbone, random_ids(6), prefix)
    handle.remove()
    assert seen == [before]


def last_layer(read):
    return SplitLayer(read.layers[-1], len(read.layers) - 1)


def test_can_split_when_layer_is_the_first_or_not_there_then_is_false(backbone):
    prompt, mechanism = read(backbone), backbone.prefix_mechanism
    n_layers = backbone.n_layers
    can = [mechanism.can_split(prompt, SplitLayer(i, i)) for i in range(n_layers + 1)]
    assert can == [False, *[True] * (n_layers - 1), False]


def test_can_split_when_the_last_layer_fails_alone_then_is_false(
    prefix_mechanism, tiny_llama, tmp_path
):
    backbone = load_tiny(
        shutil.copytree(tiny_llama, tmp_path / "llama"), prefix_mechanism
    )
    prompt, (first, last) = read(backbone), layers_of(backbone)
    ran = []
    first.mlp.register_forward_hook(lambda *args: ran.append(True))

    def need_the_first(*args):
        if not ran:
            raise KeyError("what the first layer passes on")

    backbone.model.register_forward_pre_hook(lambda *args: ran.clear())
    last.register_forward_hook(need_the_first)
    assert not backbone.prefix_mechanism.can_split(prompt, last_layer(prompt))


@pytest.mark.parametrize(
    ("name", "own"), [("bert", 0), ("roberta", 2), ("llama", None), ("gemma3", None)]
)
def test_positions_when_read_off_a_model_then_are_its_own(name, own, tiny):
    backbone = load_tiny(tiny(name))
    assert Positions.of(backbone.model, backbone.is_causal) == Positions(True, own)


@pytest.mark.parametrize(("name", "expected"), [("bert", 128), ("llama", 253)])
def test_max_text_length_when_positions_continue_then_prompt_takes_some(
    name, expected, prefix_mechanism, tiny
):
    backbone = load_tiny(tiny(name), prefix_mechanism)
    assert backbone.max_text_length("prefix", 3) == expected
    assert backbone.max_text_length("prompt", 3) == backbone.max_positions - 3


@pytest.mark.parametrize(
    ("dtype", "error", "agrees"),
    [
        (torch.float32, 5e-4, True),
        (torch.float32, 5e-3, False),
        (torch.bfloat16, 0.05, True),
        (torch.bfloat16, 0.5, False),
    ],
)
def test_outputs_agree_when_they_differ_then_by_what_the_precision_allows(
    dtype, error, agrees
):
    model = SimpleNamespace(dtype=dtype)
    output = torch.ones(1, 3, 4)
    assert outputs_agree(output, output * (1 + error), model) == agrees
    assert not outputs_agree(output[:, :2], output, model)
