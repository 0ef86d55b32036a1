"""Frozen states: computed once, kept, and the same as running the whole backbone."""

from contextlib import contextmanager

import numpy as np
import pytest
import torch
from conftest import build_module, load_tiny, random_ids, stir
from sklearn.model_selection import GridSearchCV, cross_val_score

from sksemantic import SKTuningClassifier, cache_limits
from sksemantic._inputs.dataset import TextDataset, collate
from sksemantic._model.frozen import model_inputs
from sksemantic._model.inference import compute_features
from sksemantic._store import activations
from sksemantic._tasks.base import Classification
from sksemantic._training import holdout as _holdout

NAMES = ["bert", "roberta", "llama", "gemma3"]
every_backbone = pytest.mark.parametrize("name", NAMES)


@contextmanager
def counted(model):
    """Count the texts that go through the bottom layer and through the top one."""
    layers = next(m for m in model.modules() if isinstance(m, torch.nn.ModuleList))
    counts = {"bottom": 0, "top": 0}

    def count(name, layer):
        def add(module, args, output):
            counts[name] += len(output[0])

        attention = next(
            module
            for name, module in layer.named_modules()
            if name.endswith(("attention", "self_attn"))
        )
        return attention.register_forward_hook(add)

    hooks = [count("bottom", layers[0]), count("top", layers[-1])]
    try:
        yield counts
    finally:
        for hook in hooks:
            hook.remove()


def batch(*rows):
    inputs, _ = collate(0)(TextDataset(list(rows)))
    return inputs


@every_backbone
@pytest.mark.parametrize("is_kept", [True, False])
def test_features_when_lower_layers_are_looked_up_then_equal_the_whole_forward(
    name, is_kept, tiny
):
    backbone = load_tiny(tiny(name))
    module = build_module(backbone, tuned_layers=1)
    assert module.frozen.split_layer is not None
    stir(module)
    rows = random_ids(3, 17, 9)
    if is_kept:
        module.frozen.features(TextDataset(rows[:2] if name == "bert" else rows))
    found = module.features(batch(*rows))
    whole = backbone.prefix_mechanism.run(
        model_inputs(batch(*rows)),
        module.adapter(),
    )
    for i, row in enumerate(rows):
        kept = whole[i, : len(row)]
        expected = kept[-1] if module.pooling == "last" else kept.mean(dim=0)
        torch.testing.assert_close(found[i], expected, rtol=0, atol=1e-5)


@every_backbone
def test_gradient_when_lower_layers_are_looked_up_then_equals_the_whole_forwards(
    name, tiny
):
    backbone = load_tiny(tiny(name))
    module = build_module(backbone, tuned_layers=1)
    stir(module)
    rows = random_ids(3, 17, 9)
    gradients = []
    for frozen in (module.frozen, None):
        if frozen is None:
            module.frozen.split_layer = None
        module.zero_grad()
        # Not the squares: a final norm keeps their sum.
        module.features(batch(*rows)).cumsum(dim=1).sum().backward()
        gradients.append([p.grad.clone() for p in module.adapter.parameters()])
    for found, expected in zip(*gradients, strict=True):
        assert found.any()
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_frozen_features_when_looked_up_then_equal_the_computed_ones(tiny_bert):
    module = build_module(load_tiny(tiny_bert), tuned_layers=1)
    data = TextDataset(random_ids(4, 9, 1, 6) + random_ids(9, 1))
    with cache_limits(0, 0):
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
    slack = 12  # the prompt, and the tiny texts of the self-tests
    assert counts["bottom"] <= n_texts + slack
    assert counts["top"] > 3 * n_texts


def test_fit_when_nothing_may_be_kept_then_predictions_are_the_same(
    classifier, texts, labels
):
    classifier.set_params(tuned_layers=1, max_epochs=3)
    expected = classifier.fit(texts, labels).predict_proba(texts)
    with cache_limits(0, 0):
        found = classifier.fit(texts, labels).predict_proba(texts)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    with cache_limits(0):  # everything in files
        activations.clear()
        found = classifier.fit(texts, labels).predict_proba(texts)
        assert activations.disk > 0
        assert activations.memory == 0
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_cross_validation_when_top_layers_are_tuned_then_texts_are_encoded_once(
    classifier, texts, labels
):
    classifier.set_params(tuned_layers=1)
    backbone = load_tiny(classifier.model)
    with counted(backbone.model) as counts:
        cross_val_score(classifier, texts, labels, cv=4)
    n_texts = len(set(texts))
    # The first fold's held-out texts are met by predict, before any fit has kept them.
    assert counts["bottom"] <= 1.5 * n_texts + 4 * 12


def test_grid_search_when_rates_differ_then_frozen_pass_is_done_once(
    classifier, texts, labels
):
    backbone = load_tiny(classifier.model)
    search = GridSearchCV(
        classifier.set_params(tuned_layers=1), {"lr": [1e-3, 2e-3, 3e-3]}, cv=2
    )
    with counted(backbone.model) as counts:
        search.fit(texts, labels)
    assert counts["bottom"] <= 2 * len(set(texts)) + 7 * 12


def test_grid_search_when_prompts_differ_then_activations_do_too(
    classifier, texts, labels
):
    classifier.set_params(tuned_layers=1, prompt="rate the film")
    first = classifier.fit(texts, labels).linear_probe_.coef
    classifier.set_params(prompt="is it about a book")
    second = classifier.fit(texts, labels).linear_probe_.coef
    activations.clear()
    fresh = classifier.fit(texts, labels).linear_probe_.coef
    np.testing.assert_allclose(second, fresh, atol=1e-4)
    assert not np.allclose(first, second, atol=1e-4)


def test_warm_start_when_refitted_then_frozen_features_are_not_taken_for_trained(
    classifier, texts, labels
):
    classifier.set_params(tuned_layers=1, warm_start=True, max_epochs=3)
    classifier.set_params(head_init="random").fit(texts, labels)
    trained = classifier.transform(texts)
    frozen = classifier.net_.module_.frozen.features(
        classifier._check_and_tokenise(texts)
    )
    assert np.abs(trained - frozen).max() > 1e-3
    classifier.fit(texts, labels)
    assert np.isfinite(classifier.transform(texts)).all()


@pytest.mark.parametrize("fresh", [True, False])
def test_fit_when_there_are_very_many_texts_then_closed_form_reads_a_part(
    fresh, classifier, texts, labels, monkeypatch
):
    monkeypatch.setattr(_holdout, "_MOST_PROBE_ROWS", 4)
    seen = spy_on_references(monkeypatch)
    texts = [f"{text} {i}" for i, text in enumerate(texts)]
    classifier.set_params(tuned_layers=1, max_epochs=3, warm_start=not fresh)
    if not fresh:
        classifier.fit(texts[::-1], labels[::-1])
        activations.clear()
    seen.clear()
    with counted(load_tiny(classifier.model).model) as counts:
        classifier.fit(texts, labels)
    slack = 12  # the prompt, and the tiny texts of the self-tests
    assert counts["bottom"] <= len(texts) + slack  # once each, for three epochs
    assert seen == [4, 4 + classifier.comparison_.n_texts]


def spy_on_references(monkeypatch):
    """Return a list of how many units each closed form is fitted on."""
    seen = []
    fit = Classification.fit_linear_probe

    def spy(self, features, *args):
        seen.append(len(features))
        return fit(self, features, *args)

    monkeypatch.setattr(Classification, "fit_linear_probe", spy)
    return seen


def test_fit_when_few_of_very_many_texts_count_then_closed_form_reads_those(
    classifier, texts, labels, monkeypatch
):
    monkeypatch.setattr(_holdout, "_MOST_PROBE_ROWS", 8)
    seen = spy_on_references(monkeypatch)
    weights = np.zeros(len(texts))
    weights[[0, 3, 6, 9, 12, 15, 18, 21]] = 1.0  # four of each class
    classifier.set_params(max_epochs=1, validation_fraction=0.01)
    classifier.fit(texts, labels, sample_weight=weights)
    n_held = classifier.comparison_.n_texts if classifier.comparison_ else 0
    assert seen[0] == 8 - n_held
    assert np.isfinite(classifier.predict_proba(texts)).all()


def test_fit_when_states_are_there_but_no_features_then_upper_layers_alone_run(
    classifier, texts, labels, monkeypatch
):
    monkeypatch.setattr(_holdout, "_MOST_PROBE_ROWS", 4)
    classifier.set_params(tuned_layers=1, max_epochs=1).fit(texts, labels)
    n_bytes = activations.memory
    monkeypatch.undo()
    with counted(load_tiny(classifier.model).model) as counts:
        classifier.fit(texts, labels)
    assert counts["bottom"] <= 12  # the prompt, and the tiny texts of the self-tests
    n_more = len(set(texts)) * 32 * 4  # their features
    assert activations.memory <= n_bytes + n_more
    frozen = classifier.net_.module_.frozen
    data = classifier._check_and_tokenise(texts)
    found = frozen.features(data)
    activations.clear()
    np.testing.assert_allclose(found, frozen.features(data), atol=1e-5)


def test_keep_states_when_the_budget_is_used_up_then_runs_nothing(
    classifier, texts, labels
):
    classifier.set_params(tuned_layers=1, max_epochs=1).fit(texts, labels)
    frozen = classifier.net_.module_.frozen
    data = classifier._check_and_tokenise(texts)
    activations.clear()
    frozen.features(data.take(np.arange(12)))
    with (
        cache_limits(activations.memory, 0),
        counted(load_tiny(classifier.model).model) as counts,
    ):
        frozen.keep_states(data)
    assert counts["bottom"] == 0


def test_fit_when_a_class_is_rare_then_the_closed_form_knows_it(
    classifier, texts, labels, monkeypatch
):
    monkeypatch.setattr(_holdout, "_MOST_PROBE_ROWS", 10)
    labels = np.array(labels, dtype=object)
    labels[[0, 1]] = "rare"
    classifier.set_params(max_epochs=1).fit(texts, labels)
    assert classifier.linear_probe_.intercept.min() > -10


def test_fit_when_there_are_many_unlabelled_texts_then_a_part_is_read(
    classifier, texts, labels, monkeypatch
):
    monkeypatch.setattr(_holdout, "_MOST_PROBE_ROWS", 20)
    more = [f"{text} {i}" for i, text in enumerate(3 * texts)]
    label_texts = {label: f"a {label} one" for label in set(labels)}
    y = [*labels, *[-1] * len(more)]
    classifier.set_params(label_texts=label_texts, max_epochs=1, tuned_layers=1)
    with counted(load_tiny(classifier.model).model) as counts:
        classifier.fit([*texts, *more], y)
    slack = 12 + len(label_texts)
    assert counts["bottom"] <= len(texts) + 20 + slack
    assert np.isfinite(classifier.predict_proba(texts)).all()
