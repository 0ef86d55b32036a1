import copy

import numpy as np
import pytest
import torch
from conftest import LABELS, TEXTS, build_module, load_tiny, stir
from scipy.special import expit, softmax

from sksemantic import SKTuningClassifier, SKTuningRegressor, TrainingConfig
from sksemantic._inputs.dataset import TextDataset
from sksemantic._model.inference import compute_scores
from sksemantic._tasks.classification import Classification
from sksemantic._tasks.multilabel import MultiLabel
from sksemantic._tasks.ordinal import Ordinal
from sksemantic._tasks.tokens import TokenClassification
from sksemantic._training.calibration import Calibration, fit_temperature

CLASSES = Classification(np.arange(3))


def drawn(task, n, seed=0):
    """Return logits (n, K), and targets that are drawn with these probabilities."""
    rng = np.random.RandomState(seed)
    logits = 2 * rng.randn(n, task.n_outputs)
    if isinstance(task, MultiLabel):
        return logits, (rng.rand(*logits.shape) < expit(logits)).astype(np.float32)
    proba = np.exp(task.log_probabilities(logits))
    if isinstance(task, Ordinal):
        proba = proba[:, np.argsort(task.ranks)]
    return logits, np.array([rng.choice(len(p), p=p) for p in proba])


@pytest.mark.parametrize("factor", [0.5, 3.0, 10.0])
@pytest.mark.parametrize(
    "task",
    [
        CLASSES,
        MultiLabel(np.arange(3)),
        Ordinal(np.arange(4), np.array([2, 0, 1, 3])),
        TokenClassification(np.arange(3)),
    ],
    ids=lambda task: task.name,
)
def test_temperature_when_logits_are_too_large_then_is_their_factor(task, factor):
    logits, targets = drawn(task, 4000)
    found = fit_temperature(
        task, factor * logits, targets, np.ones(4000), TrainingConfig()
    )
    assert found == pytest.approx(factor, rel=0.1)


def test_temperature_when_few_are_held_out_then_is_near_the_configs():
    scores, targets = np.array([[9.0, 0, 0]] * 2), np.zeros(2, int)  # both are right
    for expected in (1.5, 2.5):
        config = TrainingConfig(temperature=expected)
        found = fit_temperature(CLASSES, scores, targets, np.ones(2), config)
        assert found == pytest.approx(expected, rel=0.1)
    free = TrainingConfig(temperature_weight=0.0)
    assert fit_temperature(CLASSES, scores, targets, np.ones(2), free) < 0.5


def test_temperature_when_weights_are_given_then_they_count():
    logits, targets = drawn(CLASSES, 400)
    scores = np.concatenate([logits, 6 * logits])
    both = np.concatenate([targets, targets])
    found = [
        fit_temperature(CLASSES, scores, both, np.repeat(w, 400), TrainingConfig())
        for w in ([1.0, 0.0], [0.0, 1.0])
    ]
    assert found[0] == pytest.approx(1, rel=0.2)
    assert found[1] == pytest.approx(6, rel=0.2)


@pytest.mark.parametrize("growth", [1.0, 3.0])
def test_temperature_when_scores_have_grown_since_then_has_grown_as_much(
    growth, tiny_bert
):
    module = stir(build_module(load_tiny(tiny_bert), n_outputs=3)).eval()
    rng = np.random.RandomState(0)
    rows = [rng.randint(5, 30, size=6).tolist() for _ in range(60)]
    train, held_out = TextDataset(rows[:20]), TextDataset(rows[20:])
    scores = compute_scores(module, held_out)
    held_out.targets = np.array(
        [rng.choice(3, p=p) for p in softmax(scores / 4, axis=1)]
    )
    calibration = Calibration(CLASSES, TrainingConfig(), train)
    calibration.compare(module, scores, held_out)
    with torch.no_grad():
        module.head.weight.mul_(growth)
        module.head.bias.mul_(growth)
    expected = fit_temperature(
        CLASSES, growth * scores, held_out.targets, np.ones(40), TrainingConfig()
    )
    assert calibration.temperature(module) == pytest.approx(expected, rel=1e-3)


def test_fit_when_texts_are_held_out_then_probabilities_have_a_temperature(fitted):
    assert fitted.temperature_ not in (1.0, 2.5)
    decision = fitted.decision_function(TEXTS)
    proba = expit(decision / fitted.temperature_)
    np.testing.assert_allclose(fitted.predict_proba(TEXTS)[:, 1], proba, rtol=1e-6)
    again = copy.deepcopy(fitted)
    assert again.temperature_ == fitted.temperature_
    again.partial_fit(TEXTS, LABELS)
    assert again.temperature_ == fitted.temperature_


def test_fit_when_none_is_held_out_then_temperature_is_that_of_the_config(fast):
    rows = [*np.flatnonzero(np.array(LABELS) == "good")[:2]]
    rows += [*np.flatnonzero(np.array(LABELS) == "bad")[:2]]
    texts, labels = ([values[i] for i in rows] for values in (TEXTS, LABELS))
    clf = SKTuningClassifier(**fast).fit(texts, labels)
    assert clf.comparison_ is None
    assert clf.temperature_ == 2.5


def test_regressor_when_fitted_then_has_no_temperature(fast, targets):
    reg = SKTuningRegressor(**fast).fit(TEXTS, targets)
    assert not hasattr(reg, "temperature_")
    assert reg._model.result.temperature == 1.0


def test_fit_when_all_texts_are_empty_then_works(fast):
    clf = SKTuningClassifier(**fast).fit([""] * 12, ["a", "b"] * 6)
    np.testing.assert_allclose(clf.predict_proba(["", ""]), 0.5, atol=0.05)
