"""Frozen features: computed once, kept, and the same as running the whole backbone."""

import numpy as np
import pytest
import torch
from conftest import build_module, counted, load_tiny, random_ids, stir
from sklearn.model_selection import GridSearchCV, cross_val_score

from sksemantic import SKTuningClassifier, cache_limits
from sksemantic._cache import activations
from sksemantic._inputs.batching import collate
from sksemantic._inputs.dataset import Ragged, TextDataset
from sksemantic._model.frozen import model_inputs
from sksemantic._model.inference import compute_features

NAMES = ["bert", "roberta", "llama", "gemma3"]
every_backbone = pytest.mark.parametrize("name", NAMES)
SLACK = 12  # the prompt, and the tiny texts of the self-tests


def batch(*rows):
    inputs, _ = collate(0)(TextDataset(list(rows)))
    return inputs


@every_backbone
@pytest.mark.parametrize("n_kept", [0, 2, 3])
def test_features_when_lower_layers_are_looked_up_then_equal_the_whole_forward(
    name, n_kept, tiny
):
    backbone = load_tiny(tiny(name))
    module = stir(build_module(backbone, tuned_layers=1))
    rows = random_ids(3, 17, 9)
    if n_kept:
        module.frozen.features(TextDataset(rows[:n_kept]))
    with counted(backbone.model) as counts:
        found = module.features(batch(*rows))
    assert counts == {"bottom": 3 - n_kept, "top": 3}
    whole = backbone.prefix_mechanism.run(
        model_inputs(batch(*rows)), module.condition()
    )
    for i, row in enumerate(rows):
        kept = whole[i, : len(row)]
        expected = kept[-1] if module.pooling == "last" else kept.mean(dim=0)
        torch.testing.assert_close(found[i], expected, rtol=0, atol=1e-5)


@every_backbone
def test_gradient_when_lower_layers_are_looked_up_then_equals_the_whole_forwards(
    name, tiny
):
    module = stir(build_module(load_tiny(tiny(name)), tuned_layers=1))
    rows = random_ids(3, 17, 9)
    gradients = []
    for split_layer in (module.frozen.split_layer, None):
        module.frozen.split_layer = split_layer
        module.zero_grad()
        # Not the squares: a final norm keeps their sum.
        module.features(batch(*rows)).cumsum(dim=1).sum().backward()
        gradients.append([p.grad.clone() for p in module.adapter.parameters()])
    for found, expected in zip(*gradients, strict=True):
        assert found.any()
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_states_when_texts_have_words_or_pairs_then_are_looked_up_as_they_were_put(
    tiny_bert,
):
    # A batch's tensors must lead to the keys of the dataset that it was made of.
    rows = Ragged.of(random_ids(5, 8))
    words = TextDataset(rows, word_positions=Ragged.of([[1, 3], [2, 4, 6]]))
    pairs = TextDataset(Ragged(rows.flat, rows.lengths, np.array([2, 5])))
    backbone = load_tiny(tiny_bert)
    for data, pooling in ((words, "tokens"), (pairs, "mean")):
        module = build_module(backbone, tuned_layers=1, pooling=pooling)
        module.frozen.keep_states(data)
        inputs, _ = collate(0)(data)
        with counted(backbone.model) as counts:
            module.features(inputs)
        assert counts["bottom"] == 0


def test_frozen_features_when_looked_up_then_equal_the_computed_ones(tiny_bert):
    module = build_module(load_tiny(tiny_bert), tuned_layers=1)
    data = TextDataset(random_ids(4, 9, 1, 6) + random_ids(9, 1))
    with cache_limits(0):
        expected = module.frozen.features(data)
    computed = module.frozen.features(data.take(np.array([1, 0])))
    np.testing.assert_allclose(computed, expected[[1, 0]], atol=1e-6)
    np.testing.assert_allclose(module.frozen.features(data), expected, atol=1e-6)
    np.testing.assert_allclose(compute_features(module, data), expected, atol=1e-6)


def test_frozen_features_when_a_text_comes_twice_then_is_computed_once(tiny_bert):
    backbone = load_tiny(tiny_bert)
    module = build_module(backbone)
    one, other = random_ids(5, 7)
    with counted(backbone.model) as counts:
        found = module.frozen.features(TextDataset([one, other, one, one]))
    assert counts["top"] == 2
    np.testing.assert_array_equal(found[[0, 0]], found[[2, 3]])
    assert not np.allclose(found[0], found[1])


def test_frozen_features_when_states_are_kept_then_upper_layers_alone_run(tiny_bert):
    backbone = load_tiny(tiny_bert)
    module = build_module(backbone, tuned_layers=1)
    data = TextDataset(random_ids(4, 9, 6))
    with cache_limits(0):
        expected = module.frozen.features(data)
    module.frozen.keep_states(data)
    n_bytes = activations.n_bytes
    with counted(backbone.model) as counts:
        found = module.frozen.features(data)
    assert counts == {"bottom": 0, "top": 3}
    assert activations.n_bytes == n_bytes + 3 * backbone.hidden_size * 4
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("n_fit", [0, 2, 4])
def test_keep_states_when_room_is_short_then_runs_those_that_fit_alone(
    n_fit, tiny_bert
):
    backbone = load_tiny(tiny_bert)
    module = build_module(backbone, tuned_layers=1)
    data = TextDataset(random_ids(5, 7, 6, 6))
    n_bytes = int(data.lengths[:n_fit].sum()) * backbone.hidden_size * 4
    with cache_limits(n_bytes + 1), counted(backbone.model) as counts:
        module.frozen.keep_states(data)
        assert counts["bottom"] == n_fit
        assert activations.n_bytes == n_bytes


@every_backbone
def test_fit_when_top_layers_are_tuned_then_each_text_passes_the_lower_ones_once(
    name, tiny, fast, texts, labels
):
    params = {**fast, "model": tiny(name), "tuned_layers": 1, "max_epochs": 3}
    clf = SKTuningClassifier(**params)
    backbone = load_tiny(params["model"], n_layers="auto")
    with counted(backbone.model) as counts:
        clf.fit(texts, labels)
        clf.predict(texts)
    n_texts = len(set(texts))
    assert counts["bottom"] <= n_texts + SLACK
    assert counts["top"] > 3 * n_texts


@pytest.mark.parametrize("limit", [0, 10_000])  # nothing, or half of the texts
def test_fit_when_little_may_be_kept_then_predictions_are_the_same(
    limit, classifier, texts, labels
):
    classifier.set_params(tuned_layers=1, max_epochs=3)
    expected = classifier.fit(texts, labels).predict_proba(texts)
    assert activations.n_bytes > 15_000
    activations.clear()
    with cache_limits(limit):
        found = classifier.fit(texts, labels).predict_proba(texts)
        assert limit / 2 <= activations.n_bytes <= limit
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_cross_validation_when_top_layers_are_tuned_then_texts_are_encoded_once(
    classifier, texts, labels
):
    classifier.set_params(tuned_layers=1)
    with counted(load_tiny(classifier.model).model) as counts:
        cross_val_score(classifier, texts, labels, cv=4)
    # The first fold's held-out texts are met by predict, before any fit has kept them.
    assert counts["bottom"] <= 1.5 * len(set(texts)) + 4 * SLACK


def test_grid_search_when_rates_differ_then_frozen_pass_is_done_once(
    classifier, texts, labels
):
    classifier.set_params(tuned_layers=1)
    search = GridSearchCV(classifier, {"lr": [1e-3, 2e-3, 3e-3]}, cv=2)
    with counted(load_tiny(classifier.model).model) as counts:
        search.fit(texts, labels)
    assert counts["bottom"] <= 2 * len(set(texts)) + 7 * SLACK


def test_fit_when_prompts_differ_then_activations_do_too(classifier, texts, labels):
    classifier.set_params(tuned_layers=1, prompt="rate the film")
    first = classifier.fit(texts, labels).linear_probe_.coef
    classifier.set_params(prompt="is it about a book")
    second = classifier.fit(texts, labels).linear_probe_.coef
    activations.clear()
    fresh = classifier.fit(texts, labels).linear_probe_.coef
    np.testing.assert_allclose(second, fresh, atol=1e-4)
    assert not np.allclose(first, second, atol=1e-4)


def test_transform_when_trained_then_is_not_taken_from_the_frozen_features(
    classifier, texts, labels
):
    classifier.set_params(tuned_layers=1, training__head_init="random")
    for _ in range(2):
        classifier.partial_fit(texts, labels, classes=["bad", "good"])
    trained = classifier.transform(texts)
    data = classifier._check_and_tokenise(texts)
    frozen = classifier.net_.module_.frozen.features(data)
    assert np.abs(trained - frozen).max() > 1e-3
