"""The map that refines a text's own states behind each tuned layer."""

import pytest
import torch
from conftest import (
    BACKBONES,
    build_module,
    load_tiny,
    random_ids,
    stir,
)
from sklearn.base import clone

from sksemantic import SKTuningClassifier
from sksemantic._inputs.dataset import TextDataset, collate
from sksemantic._model.adapters import TextAdapter
from sksemantic._model.module import resolve_text_rank
from sksemantic.exceptions import UnsupportedBackboneError

every_backbone = pytest.mark.parametrize("name", BACKBONES)
ROWS = random_ids(4, 9, 6)


@torch.no_grad()
def features(module, rows=ROWS):
    inputs, _ = collate(module.backbone.pad_id)(TextDataset(rows))
    return module.features(inputs)


def stirred(backbone, **changes):
    """Return a module whose text adapter alone does something."""
    module = build_module(backbone, **{"text_rank": 2, **changes})
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.text_adapter.parameters():
            parameter.normal_(std=0.3, generator=generator)
    return module


@torch.no_grad()
def test_edits_when_made_then_are_in_units_of_the_states():
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
def test_features_when_untrained_then_are_those_of_the_prefix_alone(name, tiny):
    backbone = load_tiny(tiny(name))
    with_map = features(build_module(backbone, text_rank=2))
    without = features(build_module(backbone))
    torch.testing.assert_close(with_map, without, rtol=0, atol=0)


@every_backbone
def test_features_when_stirred_then_padding_and_company_do_not_matter(name, tiny):
    module = stirred(load_tiny(tiny(name)))
    plain = features(build_module(module.backbone))
    found = features(module)
    assert (found - plain).abs().min(dim=1).values.max() > 1e-4
    assert (found - plain).abs().mean() > 1e-2
    alone = torch.cat([features(module, [row]) for row in ROWS])
    torch.testing.assert_close(found, alone, rtol=0, atol=1e-5)


@pytest.mark.parametrize("prefix_mechanism", ["attention", "kv_cache", "hidden_states"])
@every_backbone
def test_features_when_prefix_comes_another_way_then_are_the_same(
    name, prefix_mechanism, tiny
):
    usual, other = load_tiny(tiny(name)), load_tiny(tiny(name), prefix_mechanism)
    before, after = (features(build_module(each)) for each in (usual, other))
    if (before - after).abs().max() > 1e-4:
        pytest.skip("with all its texts in a batch, this backbone takes no prefix so")
    expected = features(stirred(usual))
    torch.testing.assert_close(features(stirred(other)), expected, rtol=0, atol=1e-4)


@every_backbone
def test_features_when_lower_layers_are_skipped_then_are_the_same(name, tiny):
    backbone = load_tiny(tiny(name))
    module = stirred(backbone, tuned_layers=1)
    assert module.frozen.split_layer is not None
    assert module.text_adapter.layers == [backbone.n_layers - 1]
    entered = features(module)
    module.frozen.split_layer = None
    torch.testing.assert_close(features(module), entered, rtol=0, atol=1e-5)


@every_backbone
def test_gradient_when_trained_then_reaches_every_map(name, tiny):
    module = stirred(load_tiny(tiny(name)))
    inputs, _ = collate(module.backbone.pad_id)(TextDataset(ROWS))
    module(**inputs).square().sum().backward()
    for parameter in module.text_adapter.parameters():
        assert parameter.grad.abs().max() > 0


def test_edits_when_their_block_ends_then_backbone_is_as_before(tiny_bert):
    backbone = load_tiny(tiny_bert)
    before = features(build_module(backbone))
    features(stirred(backbone))
    torch.testing.assert_close(features(build_module(backbone)), before)


@pytest.mark.parametrize(
    ("name", "method", "adapter", "expected"),
    [
        *((name, "prefix", "low_rank", 4) for name in BACKBONES),
        ("bert", "prefix", "linear", 0),
        ("bert", "prefix", "embedding", 0),
        ("bert", "prompt", "low_rank", 0),
    ],
)
def test_rank_when_auto_then_only_with_the_default_adapter_is_there_one(
    name, method, adapter, expected, tiny
):
    backbone = load_tiny(tiny(name))
    assert resolve_text_rank("auto", backbone, method, adapter) == expected
    assert resolve_text_rank(5, backbone, "prefix", adapter) == 5


def test_rank_when_layers_are_shared_then_auto_is_none(tiny_bert, monkeypatch):
    def refuse(model):
        raise UnsupportedBackboneError("No list of 2 layers was found.")

    backbone = load_tiny(tiny_bert)
    monkeypatch.setattr("sksemantic._model.module.make_visitable", refuse)
    assert resolve_text_rank("auto", backbone, "prefix", "low_rank") == 0
    with pytest.raises(UnsupportedBackboneError, match="No list of 2 layers"):
        build_module(backbone, text_rank=2)


def test_fit_when_text_rank_is_given_then_it_learns_and_survives(
    classifier, texts, labels, tmp_path
):
    import pickle

    clf = clone(classifier).set_params(text_rank=3, head_init="random")
    for _ in range(2):
        clf.partial_fit(texts, labels, classes=["bad", "good"])
    maps = clf.net_.module_.text_adapter.maps
    assert all(last.weight.abs().max() > 0 for _, last in maps)
    again = pickle.loads(pickle.dumps(clf))
    assert (again.predict_proba(texts) == clf.predict_proba(texts)).all()


def test_fit_when_text_rank_meets_the_prompt_method_then_refused_before_any_loading():
    clf = SKTuningClassifier(model="./nowhere", method="prompt", text_rank=2)
    with pytest.raises(ValueError, match="'text_rank' parameter must be 'auto' or 0"):
        clf.fit(["a", "b"], [0, 1])


@pytest.mark.parametrize(("given", "expected"), [("auto", None), (2, 2)])
def test_fit_when_labels_have_texts_then_auto_is_none(
    given, expected, classifier, texts, labels
):
    told = {"good": "a good one", "bad": "a bad one"}
    clf = clone(classifier).set_params(label_texts=told, text_rank=given, max_epochs=1)
    adapter = clf.fit(texts, labels).net_.module_.text_adapter
    assert (adapter and adapter.maps[0][0].out_features) == expected
