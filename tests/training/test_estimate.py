"""How long a fit would take, and how much memory."""

import time

import numpy as np
import pytest
import torch
from conftest import load_tiny

from sksemantic import SKTuningClassifier, SKTuningRegressor, SKTuningTokenClassifier
from sksemantic._training.estimate import SavedBytes
from sksemantic._training.forecast import Forecaster


def test_estimate_when_asked_then_nothing_is_fitted(classifier, texts, labels):
    before = classifier.get_params()
    estimate = classifier.estimate_fit_time(texts, labels)
    assert not classifier.__sklearn_is_fitted__()
    assert classifier.get_params() == before
    assert estimate.seconds == pytest.approx(sum(estimate.phases.values()))
    assert (estimate.n_texts, estimate.n_epochs) == (len(texts), 2)
    assert estimate.peak_bytes > 50e6  # no Python with torch is smaller


def test_estimate_when_batches_are_measured_then_this_does_not_count(
    classifier, texts, labels, monkeypatch
):
    measure = Forecaster.measure

    def slow_measure(*args):
        time.sleep(2)
        measure(*args)

    monkeypatch.setattr(Forecaster, "measure", slow_measure)
    phases = classifier.estimate_fit_time(texts, labels).phases
    assert phases["tokenising"] < 2
    assert "measuring" not in phases


def test_estimate_when_printed_then_is_a_sentence(classifier, texts, labels):
    text = str(classifier.estimate_fit_time(texts, labels))
    assert text.startswith("About ")
    assert f"for {len(texts)} texts of " in text
    assert text.endswith("in 2 epochs on cpu.")


def test_estimate_when_fitted_then_predictions_stay(classifier, texts, labels):
    before = classifier.fit(texts, labels).predict_proba(texts)
    classifier.estimate_fit_time(texts[::-1], labels[::-1])
    np.testing.assert_array_equal(classifier.predict_proba(texts), before)


def test_fit_when_estimated_before_then_is_the_same(fast, texts, labels):
    plain = SKTuningClassifier(**fast).fit(texts, labels)
    asked = SKTuningClassifier(**fast)
    asked.estimate_fit_time(texts, labels)
    np.testing.assert_array_equal(
        asked.fit(texts, labels).predict_proba(texts), plain.predict_proba(texts)
    )


@pytest.mark.parametrize("seed", [None, 0])
def test_estimate_when_random_numbers_are_a_stream_then_none_is_taken(
    seed, classifier, texts, labels
):
    stream = np.random.mtrand._rand if seed is None else np.random.RandomState(seed)
    classifier.set_params(random_state=None if seed is None else stream)
    before = stream.get_state()[1].tolist()
    classifier.estimate_fit_time(texts, labels)
    assert stream.get_state()[1].tolist() == before


def test_estimate_when_no_text_has_a_label_then_counts_them_all(classifier, texts):
    classifier.set_params(label_texts={0: "awful", 1: "great"})
    estimate = classifier.estimate_fit_time(texts, [-1] * len(texts))
    assert (estimate.n_texts, estimate.n_epochs) == (len(texts), 0)
    assert estimate.phases["frozen pass"] > 0
    assert 3 < estimate.mean_tokens < 20


def test_estimate_when_interrupted_then_ends_as_such(classifier, texts, labels):
    model = load_tiny(classifier.model).model
    hook = model.register_forward_hook(press_in_training)
    try:
        with pytest.raises(KeyboardInterrupt):
            classifier.estimate_fit_time([f"{t} now" for t in texts], labels)
    finally:
        hook.remove()


def press_in_training(*args):
    if torch.is_grad_enabled():
        raise KeyboardInterrupt


def test_estimate_when_there_is_more_to_do_then_is_longer(classifier, texts, labels):
    short = classifier.estimate_fit_time(texts, labels)
    classifier.set_params(max_epochs=20)
    long = classifier.estimate_fit_time(texts, labels)
    assert long.phases["training"] == pytest.approx(
        10 * short.phases["training"], rel=0.1
    )
    assert long.phases["linear probe"] > 0


def test_estimate_when_the_time_is_limited_then_is_no_longer(classifier, texts, labels):
    classifier.set_params(max_epochs=100_000, time_limit=7.0)
    assert 5 < classifier.estimate_fit_time(texts, labels).seconds <= 7


@pytest.mark.parametrize("kind", ["pairs", "numbers", "several labels", "label texts"])
def test_estimate_when_of_any_kind_then_answers(kind, fast, texts, labels, targets):
    estimator = SKTuningClassifier(**fast)
    X, y = texts, labels
    if kind == "pairs":
        X = [*zip(texts, texts[::-1], strict=True)]
    elif kind == "numbers":
        estimator, y = SKTuningRegressor(**fast), targets
    elif kind == "several labels":
        y = np.stack([targets > 2, targets > 3], axis=1).astype(int)
    else:
        estimator.set_params(label_texts={label: label for label in set(labels)})
    assert estimator.estimate_fit_time(X, y).seconds > 0


def test_estimate_when_words_are_labelled_then_answers(fast, texts):
    X = [text.split() for text in texts]
    y = [["long" if len(word) > 4 else "short" for word in words] for words in X]
    assert SKTuningTokenClassifier(**fast).estimate_fit_time(X, y).seconds > 0


def test_estimate_when_input_is_bad_then_raises_as_fit_does(classifier):
    with pytest.raises(ValueError, match="at least two"):
        classifier.estimate_fit_time(["a", "b"], ["same", "same"])


def test_saved_bytes_when_a_step_is_run_then_are_what_autograd_keeps():
    layer = torch.nn.Linear(4, 8)
    x = torch.ones(3, 4, requires_grad=True)
    with SavedBytes(layer) as saved:
        layer(x).relu()
    # The input of the layer (3, 4), and the output of ReLU (3, 8), in float32.
    assert saved.n_bytes == 4 * (3 * 4 + 3 * 8)
