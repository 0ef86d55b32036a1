"""Texts without labels, beside those that have one."""

import warnings

import numpy as np
import pytest
from sklearn.preprocessing import normalize

from sksemantic import SKTuningClassifier, UnlabelledWarning

OTHERS = ["a long film", "an old play", "a film about a play", "a short story"] * 3


def quietly(clf, X, y, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnlabelledWarning)
        return clf.fit(X, y, **options)


@pytest.fixture
def X(texts):
    return [*texts, *OTHERS]


@pytest.fixture
def y(labels):
    return [*labels, *[None] * len(OTHERS)]


def test_fit_when_labels_are_missing_then_warns_once_and_learns_the_others(
    default_params, X, y, texts, labels
):
    clf = SKTuningClassifier(**default_params)
    with pytest.warns(UnlabelledWarning, match="12 of 36 texts, ") as caught:
        clf.fit(X, y)
    assert len(caught) == 1
    assert clf.classes_.tolist() == ["bad", "good"]
    assert clf.score(texts, labels) > 0.9


def test_unlabelled_when_contrasted_first_then_count_for_the_features_scale(
    default_params, X, y
):
    clf = quietly(SKTuningClassifier(**default_params), X, y)
    assert clf.config_.training.objective == "contrast"
    features = normalize(clf.transform(X))
    weights = clf.get_module().state_dict()
    np.testing.assert_allclose(
        weights["feature_mean"], features.mean(axis=0), atol=1e-5
    )
    np.testing.assert_allclose(
        weights["feature_scale"], features.std(axis=0), rtol=1e-3
    )


def test_fit_when_rows_of_indicators_are_missing_then_they_count_for_the_scale(
    fast, X, labels
):
    tags = np.full((len(X), 2), np.nan)
    tags[: len(labels)] = np.array(labels)[:, None] == ["bad", "good"]
    with pytest.warns(UnlabelledWarning, match="12 of 36 texts, "):
        clf = SKTuningClassifier(**fast).fit(X, tags)
    frozen = SKTuningClassifier(**fast | {"max_epochs": 1, "lr": 1e-9}).fit(
        X, np.where(np.isnan(tags), [[0, 1]], tags)
    )
    mean, other = (c.get_module().state_dict()["feature_mean"] for c in (clf, frozen))
    np.testing.assert_allclose(mean, other, atol=1e-5)
    assert clf.predict(X).shape == (36, 2)


@pytest.mark.parametrize(
    "options", [{"training": {"objective": "task"}}, {"ordinal": ["bad", "good"]}]
)
def test_fit_when_labels_are_missing_in_other_trainings_then_those_learn_too(
    options, default_params, X, y, texts, labels
):
    clf = quietly(SKTuningClassifier(**default_params | options, max_epochs=40), X, y)
    assert clf.score(texts, labels) > 0.9


def test_fit_when_labels_are_missing_then_weights_and_groups_follow_the_texts(
    default_params, X, y
):
    order = np.random.RandomState(0).permutation(len(X))
    X, y = [X[i] for i in order], [y[i] for i in order]
    weights = np.arange(len(X)) % 3 + 1.0
    options = {"sample_weight": weights, "groups": np.arange(len(X)) // 3}
    training = {"objective": "task"}
    clf = SKTuningClassifier(**default_params, max_epochs=2, training=training)
    assert quietly(clf, X, y, **options).comparison_ is not None


def test_estimate_when_labels_are_missing_then_counts_all_texts(default_params, X, y):
    with pytest.warns(UnlabelledWarning):
        estimate = SKTuningClassifier(**default_params).estimate_fit_time(X, y)
    assert estimate.n_texts == len(X)
