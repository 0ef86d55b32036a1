"""The linear probe of a fit, through the public API."""

import numpy as np
import pytest
from conftest import counted, load_tiny
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from sksemantic._cache import activations

SLACK = 12  # the prompt, and the tiny texts of the backbone's own checks


def probe_of(features, y, penalty):
    """Return the coefficients of scikit-learn's logistic regression for two classes."""
    model = LogisticRegression(C=1 / penalty, tol=1e-3, max_iter=200)
    return model.fit(StandardScaler().fit_transform(features), y).coef_[0]


def test_probe_when_fitted_then_is_scikit_learns_on_frozen_features(
    classifier, texts, labels
):
    clf = classifier.fit(texts, labels)
    clf.get_module().adapter.reset()
    clf.get_module().text_adapter.reset()
    expected = probe_of(clf.transform(texts), labels, clf.linear_probe_.penalty)
    coef = clf.linear_probe_.coef
    np.testing.assert_allclose(coef[1] - coef[0], expected, atol=1e-3)
    assert 0 < clf.linear_probe_.cv_loss < 1


@pytest.mark.parametrize("is_fresh", [True, False])
def test_probe_when_there_are_very_many_texts_then_reads_a_part(
    is_fresh, classifier, texts, labels
):
    texts = [f"{text} {i}" for i, text in enumerate(texts)]
    classifier.set_params(tuned_layers=1, max_epochs=3, warm_start=not is_fresh)
    classifier.fit(texts[::-1], labels[::-1])  # later ones measure no batch
    model = load_tiny(classifier.model).model
    counts = {}
    for max_rows in (4, 1000):
        activations.clear()
        classifier.set_params(training__max_probe_rows=max_rows)
        with counted(model) as counts[max_rows]:
            classifier.fit(texts, labels)
        # The lower layer runs once for each text, not once for each epoch.
        assert counts[max_rows]["bottom"] <= len(texts) + SLACK
    n_held_out = classifier.comparison_.n_texts
    n_left_out = counts[1000]["top"] - counts[4]["top"]
    assert n_left_out == len(texts) - n_held_out - 4


def test_probe_when_a_class_is_rare_then_it_is_among_the_texts_read(
    classifier, texts, labels
):
    labels = np.array(labels, dtype=object)
    labels[[0, 1]] = "rare"
    classifier.set_params(max_epochs=1, training__max_probe_rows=10)
    classifier.fit(texts, labels)
    # A class that no text has gets an intercept 10 below the others.
    assert classifier.linear_probe_.intercept.min() > -9


def test_probe_when_there_are_many_unlabelled_texts_then_a_part_is_read(
    classifier, texts, labels
):
    more = [f"{text} {i}" for i, text in enumerate(3 * texts)]
    label_texts = {label: f"a {label} one" for label in set(labels)}
    classifier.set_params(label_texts=label_texts, max_epochs=1, tuned_layers=1)
    classifier.set_params(training__max_probe_rows=20)
    classifier.fit([*texts, *more], [*labels, *[-1] * len(more)])
    activations.clear()  # but of the batches' costs, which are measured once
    with counted(load_tiny(classifier.model).model) as counts:
        classifier.fit([*texts, *more], [*labels, *[-1] * len(more)])
    assert counts["bottom"] <= len(texts) + 20 + len(label_texts) + SLACK
