"""Backbones of which only the lower layers are run."""

import pickle
import shutil

import numpy as np
import pytest
import torch
from conftest import FAST, LABELS, TEXTS, load_tiny, save_wordpiece
from transformers import AlbertConfig, AlbertModel, LlamaConfig, LlamaModel

from sksemantic import SKTuningClassifier, SKTuningRegressor, SKTuningTokenClassifier
from sksemantic._backbone.prefix import cut, run_bare
from sksemantic.exceptions import UnsupportedBackboneError

SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "initializer_range": 0.3,
}


@pytest.fixture(scope="module")
def tall_llama(tmp_path_factory):
    """Save a Llama of six layers."""
    folder = tmp_path_factory.mktemp("tall")
    vocab_size = save_wordpiece(folder)
    config = LlamaConfig(vocab_size=vocab_size, tie_word_embeddings=True, **SIZES)
    torch.manual_seed(0)
    LlamaModel(config).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def albert(tmp_path_factory):
    """Save an ALBERT, whose layers share their weights."""
    folder = tmp_path_factory.mktemp("albert")
    vocab_size = save_wordpiece(folder)
    config = AlbertConfig(vocab_size=vocab_size, embedding_size=16, **SIZES)
    AlbertModel(config).save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize(
    ("name", "n_layers", "expected"),
    [("llama", "auto", 4), ("llama", "all", 6), ("llama", 3, 3), ("bert", "auto", 2)],
)
def test_fit_when_layers_are_chosen_then_so_many_are_run(
    name, n_layers, expected, tall_llama, tiny_bert
):
    model = tall_llama if name == "llama" else tiny_bert
    clf = SKTuningClassifier(**FAST | {"model": model}).set_params(
        model_kwargs__n_layers=n_layers
    )
    clf.fit(TEXTS, LABELS)
    assert clf.n_layers_ == expected
    backbone = clf.net_.module_.backbone
    assert backbone is load_tiny(model, n_layers=expected)
    layers = backbone.model.layers if name == "llama" else backbone.model.encoder.layer
    assert len(layers) == expected


@torch.no_grad()
def test_backbone_when_cut_then_puts_out_what_entered_the_next_layer(tall_llama):
    ids = torch.tensor([[5, 6, 7, 8]])
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    whole = load_tiny(tall_llama).model
    states = whole(**inputs, output_hidden_states=True).hidden_states
    for n_layers in (1, 4):
        found = run_bare(load_tiny(tall_llama, n_layers=n_layers).model, inputs)
        expected = whole.norm(states[n_layers])
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_load_when_cut_alike_then_is_one_copy_else_another(tall_llama, tiny_bert):
    kept = {n: load_tiny(tall_llama, n_layers=n) for n in ("auto", 4, 3, "all")}
    assert kept["auto"] is kept[4]
    assert len({id(backbone.model) for backbone in kept.values()}) == 3
    assert load_tiny(tiny_bert, n_layers="auto") is load_tiny(tiny_bert)


@pytest.mark.parametrize("make", [SKTuningClassifier, SKTuningRegressor])
def test_pickle_when_layers_are_cut_then_predicts_the_same(make, tall_llama):
    y = LABELS if make is SKTuningClassifier else np.arange(float(len(TEXTS)))
    estimator = make(**FAST | {"model": tall_llama}).fit(TEXTS, y)
    again = pickle.loads(pickle.dumps(estimator))
    np.testing.assert_array_equal(again.predict(TEXTS), estimator.predict(TEXTS))
    assert again.n_layers_ == 4
    assert again.net_.module_.backbone is estimator.net_.module_.backbone


def test_token_classifier_when_layers_are_cut_then_labels_words(tall_llama):
    tagger = SKTuningTokenClassifier(**FAST | {"model": tall_llama})
    y = [["X" if word == "film" else "O" for word in text.split()] for text in TEXTS]
    assert len(tagger.fit(TEXTS, y).predict(TEXTS)) == len(TEXTS)
    assert tagger.n_layers_ == 4


@pytest.mark.parametrize(("n_layers", "expected"), [("auto", 6), (4, 4)])
def test_label_texts_when_layers_are_auto_then_the_top_is_kept(
    n_layers, expected, tall_llama
):
    label_texts = {"good": "great", "bad": "awful"}
    clf = SKTuningClassifier(
        **FAST | {"model": tall_llama}, label_texts=label_texts
    ).set_params(model_kwargs__n_layers=n_layers)
    assert clf.fit(TEXTS, LABELS).n_layers_ == expected


@pytest.mark.parametrize("method", ["prefix", "prompt"])
def test_tuned_layers_when_layers_are_cut_then_are_the_upper_of_those(
    method, tall_llama
):
    clf = SKTuningClassifier(**FAST | {"model": tall_llama}, method=method)
    clf.fit(TEXTS, LABELS)
    if method == "prefix":  # four layers, the lowest of them not tuned
        assert clf.net_.module_.frozen.split_layer.layer == 1
        assert len(clf.net_.module_.adapter()) == 3 + 1
    assert clf.n_layers_ == 4


def test_fit_when_layers_are_shared_then_auto_keeps_all_and_a_number_is_refused(albert):
    clf = SKTuningClassifier(**FAST | {"model": albert})
    assert clf.fit(TEXTS, LABELS).n_layers_ == 6
    with pytest.raises(ValueError, match=r"'n_layers' parameter must be .* Got 3"):
        clf.set_params(model_kwargs__n_layers=3).fit(TEXTS, LABELS)
    assert clf.n_layers_ == 6  # what was there before is still there


@pytest.mark.parametrize("method", ["prefix", "prompt"])
def test_warm_start_when_another_number_of_layers_is_run_then_refused(
    method, tall_llama
):
    clf = (
        SKTuningClassifier(
            **FAST | {"model": tall_llama}, method=method, warm_start=True
        )
        .set_params(model_kwargs__n_layers=5)
        .fit(TEXTS, LABELS)
    )
    with pytest.raises(ValueError, match="'n_layers'.* ran 5 layers; now .* be 6"):
        clf.set_params(model_kwargs__n_layers=6).fit(TEXTS, LABELS)
    clf.set_params(model_kwargs__n_layers=5).fit(TEXTS, LABELS)


def test_tuned_layers_when_too_many_for_a_cut_backbone_then_error_says_how(tall_llama):
    clf = SKTuningClassifier(**FAST | {"model": tall_llama}, tuned_layers=5)
    with pytest.raises(ValueError, match=r"at most 4.*n_layers='all' runs all"):
        clf.fit(TEXTS, LABELS)
    assert (
        clf.set_params(model_kwargs__n_layers="all").fit(TEXTS, LABELS).n_layers_ == 6
    )


@torch.no_grad()
@pytest.mark.parametrize("fails", ["raises", "differs"])
def test_cut_when_the_model_cannot_do_without_then_it_is_left_as_it_was(
    fails, monkeypatch
):
    torch.manual_seed(0)
    model = LlamaModel(LlamaConfig(vocab_size=50, **SIZES)).eval()
    ids = torch.tensor([[5, 6, 7]])
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    expected = run_bare(model, inputs)
    forward = type(model).forward

    def with_all(self, **kwargs):
        if len(self.layers) == 6:
            return forward(self, **kwargs)
        if fails == "raises":
            raise IndexError
        return forward(self, **kwargs | {"input_ids": kwargs["input_ids"] + 1})

    monkeypatch.setattr(type(model), "forward", with_all)
    with pytest.raises(UnsupportedBackboneError, match="upper layers"):
        cut(model, 4)
    assert len(model.layers) == 6
    assert model.config.num_hidden_layers == 6
    torch.testing.assert_close(run_bare(model, inputs), expected, rtol=0, atol=0)


def test_cut_when_memory_runs_out_then_says_so_and_restores(monkeypatch):
    model = LlamaModel(LlamaConfig(vocab_size=50, **SIZES)).eval()
    forward = type(model).forward

    def without_memory(self, **kwargs):
        if len(self.layers) < 6:
            raise torch.cuda.OutOfMemoryError
        return forward(self, **kwargs)

    monkeypatch.setattr(type(model), "forward", without_memory)
    with pytest.raises(torch.cuda.OutOfMemoryError):
        cut(model, 4)
    assert len(model.layers) == model.config.num_hidden_layers == 6


def test_cut_when_the_config_has_no_setter_then_says_that_it_cannot(monkeypatch):
    model = LlamaModel(LlamaConfig(vocab_size=50, **SIZES)).eval()

    def refuse(self, value):
        raise NotImplementedError

    number = property(lambda self: 6, refuse)
    monkeypatch.setattr(LlamaConfig, "num_hidden_layers", number, raising=False)
    with pytest.raises(UnsupportedBackboneError, match="upper layers"):
        cut(model, 4)
    assert len(model.layers) == 6


@pytest.mark.parametrize("first", ["auto", "all"])
def test_load_when_auto_cannot_cut_then_later_loads_find_the_copy(
    first, tall_llama, tmp_path, monkeypatch
):
    def refuse(model, n_layers):
        raise UnsupportedBackboneError("No.")

    folder = str(shutil.copytree(tall_llama, tmp_path / "copy"))
    monkeypatch.setattr("sksemantic._backbone.loading.cut", refuse)
    backbone = load_tiny(folder, n_layers=first)
    assert backbone.n_layers == 6
    assert load_tiny(folder, n_layers="auto") is backbone
    assert load_tiny(folder, n_layers="all") is backbone
