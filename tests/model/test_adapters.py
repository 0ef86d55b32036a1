from dataclasses import replace

import pytest
import torch
from conftest import (
    BACKBONES,
    batch_of,
    build_module,
    features_of,
    inputs_of,
    load_tiny,
    random_ids,
    stir,
)

from sksemantic._model.adapters import PrefixAdapter, TextAdapter

ADAPTERS = ("low_rank", "linear", "embedding")
PROMPT_IDS = (2, 10, 11, 12, 3)
L, RANK = 2, 4  # layers of the tiny BERT and Llama, rank of the adapter

every_backbone = pytest.mark.parametrize("name", BACKBONES)
prefix_adapters = pytest.mark.parametrize("adapter", ADAPTERS)


@pytest.fixture(params=["bert", "llama"])
def backbone(request, tiny):
    return load_tiny(tiny(request.param))


def frozen_prefix(backbone):
    return backbone.prefix_mechanism.read(
        backbone.embed(torch.tensor([PROMPT_IDS]))
    ).prefix


def changed_layers(prefix, frozen):
    """Return the indices of the layers whose keys and values differ."""
    pairs = zip(prefix, frozen, strict=True)
    return [
        i
        for i, (new, old) in enumerate(pairs)
        if not torch.equal(new[0], old[0]) and not torch.equal(new[1], old[1])
    ]


@pytest.mark.parametrize("method", ["prefix", "prompt"])
@prefix_adapters
@torch.no_grad()
def test_adapter_when_untrained_or_reset_then_gives_the_frozen_prompt(
    method, adapter, backbone
):
    module = build_module(backbone, PROMPT_IDS, method=method, adapter=adapter)
    expected = frozen_prefix(backbone)
    if method == "prompt":
        expected = backbone.embed(torch.tensor(PROMPT_IDS))
    torch.testing.assert_close(module.adapter(), expected, rtol=0, atol=0)
    stir(module).adapter.reset()
    torch.testing.assert_close(module.adapter(), expected, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("tuned_layers", "expected"),
    [("all", [0, 1]), (2, [0, 1]), (1, [1]), ((0, 1), [0]), ((1, 2), [1])],
)
@prefix_adapters
@torch.no_grad()
def test_tuned_layers_when_trained_then_exactly_the_top_ones_change(
    adapter, tuned_layers, expected, backbone
):
    module = build_module(
        backbone, PROMPT_IDS, adapter=adapter, tuned_layers=tuned_layers
    )
    prefix = stir(module).adapter()
    assert changed_layers(prefix, frozen_prefix(backbone)) == expected


@pytest.mark.parametrize("method", ["prefix", "prompt"])
@prefix_adapters
def test_gradient_when_stirred_then_reaches_every_parameter(method, adapter, backbone):
    module = stir(build_module(backbone, PROMPT_IDS, method=method, adapter=adapter))
    module(**inputs_of([20, 21, 22])).square().sum().backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad.abs().max() > 0, name


@torch.no_grad()
def test_prefix_when_keys_and_values_are_larger_then_so_is_the_change(backbone):
    # One learning rate is to serve backbones of any scale.
    read = backbone.prefix_mechanism.read(backbone.embed(torch.tensor([PROMPT_IDS])))
    large = replace(read, prefix=[(10 * k, 100 * v) for k, v in read.prefix])
    prefixes = []
    for states in (read, large):
        torch.manual_seed(0)
        prefixes.append(stir(PrefixAdapter(states, range(L), RANK))())
    for (key, value), (large_key, large_value) in zip(*prefixes, strict=True):
        torch.testing.assert_close(large_key, 10 * key, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(large_value, 100 * value, rtol=1e-4, atol=1e-4)


ROWS = random_ids(4, 9, 6)


def stirred(backbone, **changes):
    """Return a module whose text adapter alone does something."""
    module = build_module(backbone, **{"text_rank": 2, **changes})
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.text_adapter.parameters():
            parameter.normal_(std=0.3, generator=generator)
    return module


@torch.no_grad()
def test_text_adapter_when_it_edits_then_changes_are_of_the_states_size():
    adapter = stir(TextAdapter([3], 8, 2))
    states = 5 * torch.randn(2, 4, 8) + 1
    first, last = (layer.weight for layer in adapter.maps[0])
    states[..., 3] *= 100  # as in causal models, in the same dimension everywhere
    scale = states.abs().mean(-1, keepdim=True)
    usual = (states / scale).clamp(-4, 4)
    expected = states + 0.5 * scale * (usual @ first.T @ last.T)
    torch.testing.assert_close(adapter.edits()[3](states), expected)
    assert list(adapter.edits()) == [3]
    nothing = torch.zeros(1, 1, 8)
    torch.testing.assert_close(adapter.edits()[3](nothing), nothing)


@every_backbone
def test_text_adapter_when_untrained_then_features_are_the_same(name, tiny):
    backbone = load_tiny(tiny(name))
    with_map = features_of(build_module(backbone, text_rank=2), ROWS)
    without = features_of(build_module(backbone), ROWS)
    torch.testing.assert_close(with_map, without, rtol=0, atol=0)


@every_backbone
def test_text_adapter_when_stirred_then_padding_and_other_texts_do_not_matter(
    name, tiny
):
    module = stirred(load_tiny(tiny(name)))
    plain = features_of(build_module(module.backbone), ROWS)
    edited = features_of(module, ROWS)
    assert (edited - plain).abs().min(dim=1).values.max() > 1e-4
    assert (edited - plain).abs().mean() > 1e-2
    alone = torch.cat([features_of(module, [row]) for row in ROWS])
    torch.testing.assert_close(edited, alone, rtol=0, atol=1e-5)


@pytest.mark.parametrize("prefix_mechanism", ["kv_cache", "hidden_states"])
@every_backbone
def test_text_adapter_when_prefix_comes_another_way_then_features_are_the_same(
    name, prefix_mechanism, tiny
):
    rows = random_ids(4, 5, 2)  # prompt and text fit into a sliding window
    usual, other = load_tiny(tiny(name)), load_tiny(tiny(name), prefix_mechanism)
    expected = features_of(stirred(usual), rows)
    assert (expected - features_of(build_module(usual), rows)).abs().max() > 1e-2
    edited = features_of(stirred(other), rows)
    torch.testing.assert_close(edited, expected, rtol=0, atol=1e-4)


@every_backbone
def test_text_adapter_when_lower_layers_are_skipped_then_changes_nothing(name, tiny):
    backbone = load_tiny(tiny(name))
    module = stirred(backbone, tuned_layers=1)
    assert module.frozen.split_layer is not None
    assert module.text_adapter.layers == [backbone.n_layers - 1]
    skipping = features_of(module, ROWS)
    module.frozen.split_layer = None
    torch.testing.assert_close(features_of(module, ROWS), skipping, rtol=0, atol=1e-5)


@every_backbone
def test_text_adapter_when_trained_then_gradient_reaches_every_map(name, tiny):
    module = stirred(load_tiny(tiny(name)))
    inputs = batch_of(ROWS, module.backbone.pad_id)
    module(**inputs).square().sum().backward()
    for parameter in module.text_adapter.parameters():
        assert parameter.grad.abs().max() > 0
