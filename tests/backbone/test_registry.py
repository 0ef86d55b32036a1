"""Each backbone is loaded once for all who use it, and freed with the last of them."""

import gc
import os
import pickle
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from conftest import CPU, save_six_layers, save_tiny
from transformers import AlbertConfig

from sksemantic._backbone.loading import BackboneConfig, load_weights
from sksemantic._backbone.registry import (
    BackboneRegistry,
    WholeModel,
    load_backbone,
)
from sksemantic._backbone.source import resolve


@pytest.fixture(scope="module")
def albert(tmp_path_factory):
    """Save an ALBERT, whose layers share their weights."""
    return save_six_layers(AlbertConfig, tmp_path_factory.mktemp("albert"))


class CountingRegistry(BackboneRegistry):
    """Counts what it loads."""

    def __init__(self):
        self.n_loaded = 0
        super().__init__(self.load)

    def load(self, config):
        self.n_loaded += 1
        return load_weights(config)

    def tiny(self, directory, prefix_mechanism="auto", n_layers="all"):
        how = (CPU, torch.float32, prefix_mechanism)
        return self.get(BackboneConfig(resolve(directory), *how, n_layers=n_layers))


@pytest.fixture
def registry():
    return CountingRegistry()


def test_get_when_asked_by_another_name_then_is_the_same_copy(
    registry, tiny_bert, tmp_path, monkeypatch
):
    (tmp_path / "link").symlink_to(tiny_bert)
    monkeypatch.chdir(Path(tiny_bert).parent)
    names = [tiny_bert, Path(tiny_bert).name, str(tmp_path / "link")]
    assert len({id(registry.tiny(name)) for name in names}) == 1
    assert registry.n_loaded == 1


def test_get_when_mechanism_differs_then_weights_are_shared(registry, tiny_bert):
    first = registry.tiny(tiny_bert)
    assert registry.tiny(tiny_bert, first.prefix_mechanism.name) is first
    second = registry.tiny(tiny_bert, "kv_cache")
    assert second is not first
    assert second.prefix_mechanism.name == "kv_cache"
    assert first.model is second.model
    assert registry.n_loaded == 1


def test_get_when_files_have_changed_then_they_are_read_again(registry, own_copy):
    before = registry.tiny(str(own_copy))
    save_tiny("roberta", own_copy)
    os.utime(own_copy / "model.safetensors", ns=(0, 2**62))
    after = registry.tiny(str(own_copy))
    assert after is not before
    assert type(after.model).__name__ == "RobertaModel"


def test_get_when_the_last_user_is_gone_then_the_latest_alone_is_kept(
    registry, tiny_bert, tiny_roberta
):
    model = weakref.ref(registry.tiny(tiny_bert).model)
    gc.collect()
    assert model() is not None  # it waits for the next estimator
    registry.tiny(tiny_roberta)
    gc.collect()
    assert model() is None


def test_get_when_another_is_loaded_then_the_latest_is_freed_first(
    tiny_bert, tiny_roberta
):
    freed = []

    def load(config):
        freed.append(all(layer() is None for layer in layers))
        return load_weights(config)

    registry = BackboneRegistry(load)
    layers = []
    for name in (tiny_bert, tiny_roberta):
        config = BackboneConfig(resolve(name), CPU, torch.float32)
        layers.append(weakref.ref(registry.get(config).model.encoder.layer[0]))
    assert freed == [True, True]  # there were never two in memory


def test_release_when_called_then_what_nobody_holds_is_freed(registry, tiny_bert):
    model = weakref.ref(registry.tiny(tiny_bert).model)
    registry.release()
    gc.collect()
    assert model() is None
    backbone = registry.tiny(tiny_bert)
    registry.release()
    assert registry.tiny(tiny_bert) is backbone  # it is held here


def test_get_when_several_threads_ask_then_they_get_one_copy(registry, tiny_bert):
    with ThreadPoolExecutor(4) as pool:
        backbones = list(pool.map(registry.tiny, [tiny_bert] * 4))
    assert len({id(backbone) for backbone in backbones}) == 1
    assert registry.n_loaded == 1


def test_pickle_when_loaded_then_is_the_copy_that_the_process_holds(tall_llama):
    source = resolve(tall_llama)
    config = BackboneConfig(source, CPU, torch.float32, "kv_cache", n_layers=3)
    backbone = load_backbone(config)
    pickled = pickle.dumps(backbone)
    assert len(pickled) < 2000
    assert pickle.loads(pickled) is backbone


@pytest.mark.parametrize(
    ("is_causal", "works", "asked", "expected"),
    [
        (True, True, "auto", 4),
        (True, False, "auto", 6),
        (False, True, "auto", 6),
        (True, True, "all", 6),
        (True, True, 5, 5),
    ],
)
def test_n_layers_when_asked_for_then_auto_is_two_thirds_of_causal_models(
    is_causal, works, asked, expected
):
    assert WholeModel(6, is_causal, works).n_layers_to_keep(asked) == expected


def test_n_layers_when_too_many_then_error_says_how_many_there_are():
    with pytest.raises(ValueError, match=r"'n_layers' entry .* most 6.* Got 7"):
        WholeModel(6, is_causal=True).n_layers_to_keep(7)


def test_get_when_layers_are_the_same_then_is_one_copy_else_another(
    registry, tall_llama, tiny_bert
):
    kept = {n: registry.tiny(tall_llama, n_layers=n) for n in ("auto", 4, 3, "all")}
    assert [backbone.n_layers for backbone in kept.values()] == [4, 4, 3, 6]
    assert kept["auto"] is kept[4]
    assert registry.n_loaded == 3
    whole = registry.tiny(tiny_bert)
    assert registry.tiny(tiny_bert, n_layers="auto") is whole
    assert registry.n_loaded == 4


@pytest.mark.parametrize("first", ["auto", "all"])
def test_get_when_all_layers_are_needed_then_auto_keeps_them(
    registry, first, albert, tmp_path
):
    """The model is causal, so that fewer are tried: here by what is remembered."""
    backbone = registry.tiny(albert, n_layers=first)
    (key,) = registry._whole_models
    registry._whole_models[key] = WholeModel(6, is_causal=True)
    assert registry.tiny(albert, n_layers="auto") is backbone
    assert registry.n_loaded == 2
    assert registry.tiny(albert, n_layers="auto") is backbone
    assert registry.tiny(albert, n_layers="all") is backbone
    assert registry.n_loaded == 2  # it is not tried again


def test_get_when_all_layers_are_needed_then_a_number_is_refused(registry, albert):
    with pytest.raises(ValueError, match=r"'n_layers' entry of .* must be .* Got 3"):
        registry.tiny(albert, n_layers=3)
    assert registry.tiny(albert).n_layers == 6
