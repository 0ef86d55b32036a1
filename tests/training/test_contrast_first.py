"""Few texts of each class: first the contrast alone, then a head for what it made."""

import warnings

import numpy as np
import pytest
import torch
from conftest import PROMPT, load_tiny
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import normalize

from sksemantic import SKTuningClassifier, SKTuningTokenClassifier
from sksemantic._inputs.batching import collate
from sksemantic._inputs.dataset import TextDataset
from sksemantic._tasks.label_prior import label_prior, maximum_a_posteriori
from sksemantic._training.losses import SupervisedContrast
from sksemantic._training.net import build_net
from sksemantic._training.progress import Progress
from sksemantic._training.time_limit import TimeLimit


@pytest.fixture
def contrasted(default_params, texts, labels):
    return SKTuningClassifier(**default_params).fit(texts, labels)


def test_fit_when_few_texts_then_they_are_contrasted_and_none_held_out(
    contrasted, texts, labels
):
    config = contrasted.config_
    assert (config.training.objective, config.model.has_unit_length) == (
        "contrast",
        True,
    )
    assert contrasted.comparison_ is None
    assert contrasted.temperature_ == 1
    losses = contrasted.history_[:, "train_loss"]
    assert losses[-1] < losses[0]
    assert "valid_loss" not in contrasted.history_[0]
    assert contrasted.score(texts, labels) == 1


@pytest.mark.real
def test_head_when_fitted_last_then_is_logistic_regression_on_trained_features(
    minilm, texts, labels
):
    contrasted = SKTuningClassifier(minilm, random_state=0).fit(texts, labels)
    features = normalize(contrasted.transform(texts).astype(np.float64))
    scale = features.std(axis=0)
    standardised = (features - features.mean(axis=0)) / scale
    expected = LogisticRegression(C=1 / 100, tol=1e-8).fit(standardised, labels)
    np.testing.assert_allclose(
        contrasted.predict_proba(texts), expected.predict_proba(standardised), atol=5e-3
    )


def test_training_when_the_loss_is_low_then_ends_a_few_steps_later(
    default_params, texts, labels
):
    clf = SKTuningClassifier(**default_params)
    whole = clf.set_params(training__cool_down_below=0).fit(texts, labels)
    assert len(whole.history_) == 40
    soon = clf.set_params(training__cool_down_below=100).fit(texts, labels)
    assert len(soon.history_) == 1 + 4


@pytest.mark.parametrize("n", [1, 2])
def test_fit_when_classes_have_one_text_or_two_then_predicts_their_own(
    n, default_params
):
    X = ["a good film", "a bad film", "a great play", "a dull play"][: 2 * n]
    clf = SKTuningClassifier(**default_params).fit(X, ["yes", "no"] * n)
    assert clf.predict(X).tolist() == ["yes", "no"] * n


def test_weights_when_zero_then_a_text_teaches_nothing(default_params, texts, labels):
    wrong = np.concatenate([labels, ["bad"]])
    weights = np.append(np.ones(len(texts)), 0.0)
    clf = SKTuningClassifier(**default_params).fit([*texts, texts[0]], wrong, weights)
    assert clf.score(texts, labels) == 1


def test_long_texts_when_contrasted_then_are_read_in_windows(
    default_params, texts, labels
):
    long_texts = [" ".join([text] * 8) for text in texts]
    clf = SKTuningClassifier(**default_params, long_texts="windows", max_length=12)
    clf.fit(long_texts, labels)
    assert clf.config_.training.objective == "contrast"
    assert clf.score(long_texts, labels) > 0.8


def test_interrupt_when_contrasting_then_the_head_is_fitted_all_the_same(
    default_params, texts, labels
):
    clf = SKTuningClassifier(**default_params)
    calls = []

    def press(*args):
        calls.append(torch.is_grad_enabled())
        if sum(calls) == 4 and calls[-1]:
            raise KeyboardInterrupt

    hook = load_tiny(default_params["model"]).model.register_forward_hook(press)
    try:
        with pytest.warns(UserWarning, match="interrupted in epoch"):
            clf.fit(texts, labels)
    finally:
        hook.remove()
    assert len(clf.history_) < 10
    assert clf.score(texts, labels) > 0.5


def test_step_when_texts_are_run_by_length_then_features_are_in_their_order(tiny_bert):
    classifier = SKTuningClassifier(model=tiny_bert, prompt=PROMPT, random_state=0)
    texts = ["a film", "a very good film of old", "good"] * 12
    module, template = classifier.fit(texts, [0, 1, 2] * 12)._load(classifier._model)
    dataset = TextDataset(template.rows([texts]), np.arange(36) % 3)
    batch, _ = collate(module.backbone.pad_id)(dataset)
    net = build_net(
        module,
        classifier._model.task,
        classifier.config_.training,
        [],
        np.random.RandomState(0),
        torch.Generator(),
        TimeLimit(None, Progress()),
    )
    with torch.no_grad():
        expected = module.features(batch)
        found = net.forward_for_loss(batch)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


NOUNS = {"film": 1, "book": 1, "year": 2}
WORDS = [
    f"a {word} {noun} of the year".split()
    for word in ("good", "great", "dull", "awful")
    for noun in ("film", "book", "song", "play")
]
TAGS = [[NOUNS.get(word, 0) for word in words] for words in WORDS]


@pytest.fixture
def tagger(default_params):
    training = {"objective": "contrast"}
    return SKTuningTokenClassifier(**default_params, training=training)


def test_words_when_contrasted_first_then_are_learned(tagger):
    tagger.fit(WORDS, TAGS)
    assert tagger.config_.model.has_unit_length
    assert tagger.comparison_ is None
    losses = tagger.history_[:, "train_loss"]
    assert losses[-1] < losses[0]
    assert tagger.score(WORDS, TAGS) > 0.95


def test_words_when_contrasted_first_then_those_of_no_label_or_weight_do_not_count(
    tagger,
):
    masked = [
        [-100 if (i + j) % 3 == 0 else tag for j, tag in enumerate(tags)]
        for i, tags in enumerate(TAGS)
    ]
    wrong = [[2] * len(words) for words in WORDS[:4]]
    weights = np.repeat([1.0, 0.0], [len(WORDS), 4])
    tagger.fit([*WORDS, *WORDS[:4]], [*masked, *wrong], weights)
    assert tagger.score(WORDS, TAGS) > 0.9


def test_step_when_words_are_contrasted_then_loss_is_that_of_their_features(tagger):
    module, template = tagger.fit(WORDS, TAGS)._load(tagger._model)
    texts = [WORDS[0][:2], WORDS[1], WORDS[2][:4]]
    rows, positions, _ = template.word_rows(texts)
    targets = np.array([0, 1, 0, 1, 0, 2, 0, 0, 1, 0, 2, 0])
    weights = np.array([1.0, 2.0, 0.5], np.float32)
    dataset = TextDataset(rows, targets, weights, positions)
    inputs, y = collate(module.backbone.pad_id)(dataset)
    net = build_net(
        module,
        tagger._model.task,
        tagger.config_.training,
        [],
        np.random.RandomState(0),
        torch.Generator(),
        TimeLimit(None, Progress()),
    )
    with torch.no_grad():
        features = net.forward_for_loss(inputs)
        found = net.get_loss(features, y, X=inputs)
    expected = np.concatenate(tagger.transform(texts).tolist())
    np.testing.assert_allclose(features, expected, rtol=1e-3, atol=1e-4)
    of_words = torch.tensor(np.repeat(weights, [2, 6, 4]))
    loss = SupervisedContrast(0.1)(torch.tensor(expected), y, of_words)
    torch.testing.assert_close(found, loss, rtol=1e-3, atol=1e-4)


def test_fit_when_epochs_are_given_then_there_are_no_more(
    default_params, texts, labels
):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        clf = SKTuningClassifier(**default_params, max_epochs=3).fit(texts, labels)
    assert len(clf.history_) == 3


@pytest.mark.real
def test_head_when_labels_have_texts_then_stays_near_the_trained_models_label_prior(
    minilm, texts, labels
):
    names = {"bad": "a bad film", "good": "a good film"}
    clf = SKTuningClassifier(minilm, random_state=0, label_texts=names)
    clf.fit(texts, labels)
    assert clf.config_.training.objective == "contrast"
    features, vectors = (
        normalize(clf.transform(X).astype(np.float64))
        for X in (texts, list(names.values()))
    )
    scale = features.std(axis=0)
    features = (features - features.mean(axis=0)) / scale
    prior = label_prior(vectors, features, scale)
    y = np.searchsorted(clf.classes_, labels)
    coef, intercept = maximum_a_posteriori(
        prior, features, y, np.ones(len(y)), penalty=100.0, max_iter=500
    )
    expected = softmax(features @ coef.T + intercept, axis=1)
    np.testing.assert_allclose(clf.predict_proba(texts), expected, atol=5e-3)


def test_fit_when_a_label_has_a_text_and_no_example_then_it_is_known(
    default_params, texts, labels
):
    names = {"bad": "a bad film", "good": "a good film", "other": "a long play"}
    clf = SKTuningClassifier(**default_params, label_texts=names).fit(texts, labels)
    assert clf.config_.training.objective == "contrast"
    assert clf.predict_proba(texts)[:, 2].max() > 1e-3


def test_ordered_classes_when_few_then_are_contrasted_and_keep_their_order(
    default_params,
):
    words = {"awful": "low", "fine": "mid", "great": "high"}
    X = [
        f"{word} {noun}" for noun in ("film", "book", "song", "play") for word in words
    ]
    order = ["low", "mid", "high"]
    clf = SKTuningClassifier(**default_params, ordinal=order, warm_start=True)
    clf.fit(X, [*words.values()] * 4)
    assert clf.config_.training.objective == "contrast"
    assert clf.score(X, [*words.values()] * 4) == 1
    steps = clf.get_module().head.weight
    assert len(steps) == 2
    clf.set_params(ordinal=["worst", *order])
    clf.fit([*X, *["bad bad film"] * 4], [*[*words.values()] * 4, *["worst"] * 4])
    assert clf.config_.training.objective == "contrast"
    found = clf.predict([*X[:3], "bad bad film"])
    assert found.tolist() == ["low", "mid", "high", "worst"]


def test_early_stopping_when_the_contrast_is_asked_for_then_says_it_has_no_effect(
    default_params, texts, labels
):
    clf = SKTuningClassifier(**default_params, early_stopping=True, max_epochs=2)
    clf.set_params(training__objective="contrast")
    with pytest.warns(UserWarning, match="no effect where training's 'objective' is"):
        clf.fit(texts, labels)
