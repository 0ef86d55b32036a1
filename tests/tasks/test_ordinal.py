import numpy as np
import pytest
import torch
from conftest import GOOD, NOUNS, TEXTS, thorough
from scipy.special import expit

from sksemantic import SKTuningClassifier
from sksemantic._tasks.ordinal import Ordinal

IS_GOOD = np.array([any(word in text for word in GOOD) for text in TEXTS])
KINDS = np.array([next(i for i, n in enumerate(NOUNS) if n in t) for t in TEXTS])


def test_ordinal_when_scored_then_probabilities_are_conditional_products():
    scores = np.random.RandomState(0).randn(7, 3)
    above = expit(scores)
    expected = np.stack(
        [
            1 - above[:, 0],
            above[:, 0] * (1 - above[:, 1]),
            above[:, 0] * above[:, 1] * (1 - above[:, 2]),
            above.prod(axis=1),
        ],
        axis=1,
    )
    task = Ordinal(np.arange(4), np.arange(4))
    found = task.probabilities(scores)
    np.testing.assert_allclose(found, expected)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    medians = (np.cumsum(expected, axis=1) < 0.5).sum(axis=1)
    np.testing.assert_array_equal(task.predict(scores), medians)


def test_ordinal_when_trained_then_loss_is_the_log_loss_of_the_class():
    scores = np.random.RandomState(0).randn(8, 3)
    targets = np.arange(8) % 4
    task = Ordinal(np.arange(4), np.arange(4))
    trained = task.loss(torch.tensor(scores), torch.tensor(targets))
    np.testing.assert_allclose(task.losses(scores, targets)[:, 1], trained)


@pytest.mark.parametrize(
    ("labels", "ordinal"),
    [
        (np.array([1, 2, 5, 9]), True),
        (np.array(["low", "mid", "high", "top"]), ["low", "mid", "high", "top"]),
    ],
    ids=["numbers", "names"],
)
def test_fit_when_classes_are_ordered_then_predicts_them(labels, ordinal, fast):
    y = labels[KINDS]
    clf = SKTuningClassifier(**thorough(fast), ordinal=ordinal).fit(TEXTS, y)
    np.testing.assert_array_equal(clf.classes_, np.unique(labels))
    assert clf.get_module().head.out_features == 3
    assert clf.score(TEXTS, y) > 0.8
    probabilities = clf.predict_proba(TEXTS)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    most_probable = clf.classes_[probabilities.argmax(axis=1)]
    assert (most_probable == y).mean() > 0.8
    decision = clf.decision_function(TEXTS)
    np.testing.assert_allclose(np.exp(decision).sum(axis=1), 1)
    assert (decision.argmax(axis=1) == probabilities.argmax(axis=1)).mean() > 0.8


def test_fit_when_two_classes_are_ordered_then_is_binary(fast):
    clf = SKTuningClassifier(**fast, ordinal=True).fit(TEXTS, IS_GOOD.astype(int))
    proba = clf.predict_proba(TEXTS)
    log_odds = np.log(proba[:, 1] / proba[:, 0])
    decision = clf.decision_function(TEXTS)
    np.testing.assert_allclose(decision / clf.temperature_, log_odds, rtol=1e-6)
    np.testing.assert_array_equal(clf.predict(TEXTS), proba.argmax(axis=1))
