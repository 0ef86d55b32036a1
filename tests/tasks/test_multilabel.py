import numpy as np
import pytest
import torch
from conftest import GOOD, TEXTS, thorough
from scipy.special import expit

from sksemantic import SKTuningClassifier
from sksemantic._tasks.multilabel import MultiLabel

IS_GOOD = np.array([any(word in text for word in GOOD) for text in TEXTS])
IS_FILM = np.array(["film" in text for text in TEXTS])
TAGS = np.stack([IS_GOOD, IS_FILM, IS_GOOD & IS_FILM], axis=1).astype(int)


def test_fit_when_indicators_then_labels_come_out(fast):
    clf = SKTuningClassifier(**thorough(fast)).fit(TEXTS, TAGS)
    assert clf.classes_.tolist() == [0, 1, 2]
    predicted = clf.predict(TEXTS)
    assert predicted.dtype.kind == "i"
    assert clf.score(TEXTS, TAGS) == (predicted == TAGS).all(axis=1).mean() > 0.8
    proba = clf.predict_proba(TEXTS)
    logits = clf.decision_function(TEXTS)
    np.testing.assert_allclose(proba, expit(logits / clf.temperature_))
    np.testing.assert_allclose(np.exp(clf.predict_log_proba(TEXTS)), proba, rtol=1e-6)


def test_threshold_when_set_after_fit_then_predict_follows(fast):
    clf = SKTuningClassifier(**fast).fit(TEXTS, TAGS)
    probabilities = clf.predict_proba(TEXTS)
    for threshold in (0.3, [0.2, 0.5, 0.8]):
        found = clf.set_params(threshold=threshold).predict(TEXTS)
        np.testing.assert_array_equal(found, probabilities >= np.array(threshold))
    with pytest.raises(ValueError, match="'threshold' parameter must be .*3 of them"):
        clf.set_params(threshold=[0.1, 0.2]).predict(TEXTS)


def test_fit_when_a_label_is_constant_then_is_predicted_as_such(fast):
    tags = TAGS.copy()
    tags[:, 1], tags[:, 2] = 0, 1
    clf = SKTuningClassifier(**thorough(fast)).fit(TEXTS, tags)
    np.testing.assert_array_equal(clf.predict(TEXTS)[:, 1:], tags[:, 1:])


def test_partial_fit_when_several_labels_then_goes_on(fast):
    clf = SKTuningClassifier(**fast)
    with pytest.raises(ValueError, match=r"np.arange\(n_labels\)"):
        clf.partial_fit(TEXTS, TAGS)
    clf.partial_fit(TEXTS, TAGS, classes=np.arange(3))
    before = clf.predict_proba(TEXTS)
    clf.partial_fit(TEXTS[:5], TAGS[:5])
    assert 0 < np.abs(clf.predict_proba(TEXTS) - before).max() < 0.2
    with pytest.raises(ValueError, match="y must have 3 columns"):
        clf.partial_fit(TEXTS, TAGS[:, :2])


def test_losses_when_several_labels_then_are_those_trained_on():
    scores, targets = np.random.RandomState(0).randn(2, 5, 3)
    task = MultiLabel(np.arange(3))
    targets = (targets > 0).astype(np.float32)
    trained = task.loss(torch.tensor(scores), torch.tensor(targets).double())
    np.testing.assert_allclose(task.losses(scores, targets)[:, 0], trained)
