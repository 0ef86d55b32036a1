"""What labels are called, for few labelled texts or none."""

import pickle
import shutil

import numpy as np
import pytest
import torch
from conftest import LABELS, TEXTS, load_tiny, scores_of, with_training
from safetensors.torch import load_file, save_file
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from sksemantic import SKTuningClassifier

NAMES = {"good": ["a good film", "a great film"], "bad": "a bad film"}
NONE = ["-1"] * len(TEXTS)
FEW = [label if i % 3 == 0 else -1 for i, label in enumerate(LABELS)]


@pytest.fixture
def tiny_llama_with_head(tiny_llama, tmp_path):
    """Save a Llama's own output embeddings beside it, as whole models are saved."""
    folder = tmp_path / "whole"
    shutil.copytree(tiny_llama, folder)
    weights = load_file(folder / "model.safetensors")
    shape = weights["embed_tokens.weight"].shape
    weights["lm_head.weight"] = torch.randn(shape, generator=torch.manual_seed(0))
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return str(folder), weights["lm_head.weight"]


def test_fit_when_no_label_is_given_then_predicts_by_the_texts(fast):
    clf = SKTuningClassifier(**fast, label_texts=NAMES).fit(TEXTS, NONE)
    assert clf.classes_.tolist() == ["bad", "good"]
    assert clf.comparison_ is None
    assert len(clf.history_) == 0
    logits = clf.predict_log_proba(TEXTS)
    logits -= logits.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(logits.mean(axis=0), 0, atol=1e-5)
    assert logits.std() == pytest.approx(1, abs=1e-4)
    embeddings = clf.transform(TEXTS)
    names = clf.transform(["a bad film", "a good film", "a great film"])
    names /= np.linalg.norm(names, axis=1, keepdims=True)
    likeness = embeddings @ np.stack([names[0], names[1:].mean(axis=0)]).T
    margins = likeness[:, 1] - likeness[:, 0]
    np.testing.assert_allclose(
        np.corrcoef(margins, logits[:, 1] - logits[:, 0])[0, 1], 1, atol=1e-5
    )
    again = pickle.loads(pickle.dumps(clf))
    np.testing.assert_array_equal(again.predict(TEXTS), clf.predict(TEXTS))


def test_fit_when_nothing_is_set_and_no_label_is_given_then_predicts(tiny_bert):
    clf = SKTuningClassifier(model=tiny_bert, label_texts=NAMES, device="cpu")
    assert set(clf.fit(TEXTS, NONE).predict(TEXTS)) == {"bad", "good"}
    clf.set_params(warm_start=True)
    with pytest.raises(ValueError, match="a warm start needs labelled texts"):
        clf.fit(TEXTS, NONE)


def test_fit_when_labelled_texts_have_no_weight_then_refused(fast):
    clf = SKTuningClassifier(**fast, label_texts=NAMES)
    weights = (np.array(FEW) == "-1").astype(float)
    with pytest.raises(ValueError, match="No labelled text has a weight"):
        clf.fit(TEXTS, FEW, sample_weight=weights)


@pytest.mark.parametrize("start", ["zeros", "random"])
def test_fit_when_head_is_to_start_otherwise_then_refused(start, fast):
    clf = SKTuningClassifier(**with_training(fast, head_init=start), label_texts=NAMES)
    with pytest.raises(ValueError, match=f"'head_init' entry .* Got '{start}'"):
        clf.fit(TEXTS, FEW)


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("gemma3", {0: "bad", 1: "good"}),
        ("llama", {0: "bad", 1: "good"}),
        ("gemma3", {0: ["bad", "awful"], 1: ["good", "great", "lovely"]}),
    ],
    ids=["gemma3", "llama", "several texts"],
)
def test_fit_when_causal_then_logits_are_those_of_the_next_token(
    name, names, fast, tiny, tiny_llama_with_head
):
    model = tiny(name) if name == "gemma3" else tiny_llama_with_head[0]
    prompt = "film: {text} it was"
    clf = SKTuningClassifier(**fast | {"model": model, "prompt": prompt})
    clf.set_params(label_texts=names).fit(TEXTS, [-1] * len(TEXTS))
    backbone = clf.get_module().backbone
    texts = [[own] if isinstance(own, str) else own for own in names.values()]
    ids = [backbone.encode([" " + text for text in own]) for own in texts]
    if name == "gemma3":
        output = backbone.model.get_input_embeddings().weight
    else:
        output = tiny_llama_with_head[1]
    vectors = np.stack(
        [np.mean([output[i].mean(dim=0).numpy() for i in own], axis=0) for own in ids]
    )
    expected = clf.transform(TEXTS) @ vectors.T
    margins = expected[:, 1] - expected[:, 0]
    found = clf.decision_function(TEXTS)
    np.testing.assert_allclose(np.corrcoef(margins, found)[0, 1], 1, atol=1e-5)


def test_fit_when_causal_and_enough_are_labelled_then_as_without_label_texts(
    fast, tiny_llama
):
    clf = SKTuningClassifier(**fast | {"model": tiny_llama})
    scores = [
        scores_of(clone(clf).set_params(label_texts=names).fit(TEXTS, LABELS), TEXTS)
        for names in (None, NAMES)
    ]  # these weights have no output embeddings: reading label texts would fail
    np.testing.assert_array_equal(*scores)


def test_warm_start_when_causal_then_keeps_its_layers(fast, tall_llama):
    more, some = {**NAMES, "new": "news"}, (TEXTS[::5], LABELS[::5])
    clf = SKTuningClassifier(**fast | {"model": tall_llama, "max_epochs": 1})
    clf.set_params(warm_start=True, label_texts=NAMES)
    few, many = clone(clf).fit(*some), clone(clf).fit(TEXTS, LABELS)
    for fitted, n_layers in ((few, 6), (many, 4)):
        fitted.fit(TEXTS, LABELS).fit(*some)
        assert fitted.config_.model.backbone.n_layers == n_layers
        fitted.set_params(label_texts=more)
    assert "new" in few.fit(TEXTS, LABELS).classes_
    before = many.predict_proba(TEXTS)
    with pytest.raises(
        ValueError, match=r"no text of the new class.*\['new'\].*call fi"
    ):
        many.fit(TEXTS, LABELS)
    np.testing.assert_array_equal(many.predict_proba(TEXTS), before)
    assert "new" in many.fit([*TEXTS, "news"], [*LABELS, "new"]).classes_


def test_output_embeddings_when_there_are_none_then_says_so(tiny_llama):
    with pytest.raises(ValueError, match="saved without its language modelling head"):
        load_tiny(tiny_llama).output_embeddings([1, 2])


def test_fit_when_some_are_labelled_then_learns_from_there(fast):
    clf = SKTuningClassifier(**fast, label_texts=NAMES).fit(TEXTS, FEW)
    assert len(clf.history_) == 2  # trained, with none held out
    assert clf.comparison_ is None
    rows = [i for i, label in enumerate(FEW) if label != -1]
    assert clf.score([TEXTS[i] for i in rows], [FEW[i] for i in rows]) > 0.5


@pytest.mark.parametrize("missing", [-1, None])
@pytest.mark.filterwarnings("ignore::sksemantic.UnlabelledWarning")
def test_fit_when_labels_are_their_own_texts_then_as_with_a_dictionary(missing, fast):
    labels = {"good": "good_film", "bad": "bad-film"}
    y = [missing if label == -1 else labels[label] for label in FEW]
    named = {"good_film": "good film", "bad-film": "bad film"}
    own, given = (
        SKTuningClassifier(**fast, label_texts=texts).fit(TEXTS, y)
        for texts in ("labels", named)
    )
    np.testing.assert_array_equal(own.predict_proba(TEXTS), given.predict_proba(TEXTS))
    np.testing.assert_array_equal(own.linear_probe_.coef, given.linear_probe_.coef)


def test_search_when_over_label_texts_then_each_of_them_is_fitted(fast):
    options = [None, "labels", NAMES, {"good": ["great", "lovely"], "bad": ["awful"]}]
    clf = SKTuningClassifier(**fast | {"max_epochs": 1})
    search = GridSearchCV(clf, {"label_texts": options}, cv=2, error_score="raise")
    search.fit(TEXTS, LABELS)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.best_estimator_.label_texts in options
    for option in options:
        other = clone(clf).set_params(label_texts=option)
        assert clone(other).get_params()["label_texts"] == option
        assert ("label_texts=" in repr(other)) == (option is not None)


def test_fit_when_a_class_has_no_example_then_is_still_predicted(fast):
    labels = [label if label == "good" else -1 for label in LABELS]
    clf = SKTuningClassifier(**fast, label_texts=NAMES).fit(TEXTS, labels)
    assert "bad" in clf.predict([*TEXTS, "a bad film"])


def test_fit_when_very_few_are_labelled_then_is_the_linear_probe(fast):
    labels = LABELS[:1] + [-1] * 22 + LABELS[-1:]
    clf = SKTuningClassifier(**fast, label_texts=NAMES).fit(TEXTS, labels)
    assert len(clf.history_) == 0
    module = clf.get_module()
    np.testing.assert_allclose(
        module.head.weight.detach(), clf.linear_probe_.coef, rtol=1e-5
    )


def test_fit_when_weights_are_given_then_go_with_the_labelled(fast):
    clf = SKTuningClassifier(**fast, label_texts=NAMES)
    weights = np.where(np.array(LABELS) == "good", 20.0, 1.0)
    plain, weighted, kept = (
        clone(clf).fit(X, y, sample_weight=each, groups=np.arange(len(y)) % 4)
        for X, y, each in (
            (TEXTS, FEW, None),
            (TEXTS, FEW, weights),
            (TEXTS, FEW, np.where(np.array(FEW) == "-1", 1e3, weights)),
        )
    )
    proba = weighted.predict_proba(TEXTS)
    assert (proba[:, 1] - plain.predict_proba(TEXTS)[:, 1]).mean() > 0.01
    np.testing.assert_array_equal(kept.predict_proba(TEXTS), proba)


def test_fit_when_pairs_and_encoder_then_label_texts_are_refused(fast):
    pairs = [(text, text) for text in TEXTS]
    clf = SKTuningClassifier(**fast, label_texts=NAMES)
    with pytest.raises(ValueError, match="label_texts.* a causal model for pairs"):
        clf.fit(pairs, LABELS)
