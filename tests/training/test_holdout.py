"""The linear probe reads a part of very many texts."""

import numpy as np
import pytest
from conftest import counted, load_tiny

from sksemantic._cache import activations
from sksemantic._tasks.base import Classification
from sksemantic._training import holdout as _holdout


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
    classifier.set_params(max_epochs=1, training__validation_fraction=0.01)
    classifier.fit(texts, labels, sample_weight=weights)
    n_held = classifier.comparison_.n_texts if classifier.comparison_ else 0
    assert seen[0] == 8 - n_held
    assert np.isfinite(classifier.predict_proba(texts)).all()


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
