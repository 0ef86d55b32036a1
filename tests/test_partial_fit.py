"""`partial_fit`: what it goes on from, and what it does not change."""

import copy

import numpy as np
import pandas as pd
import pytest
from conftest import LABELS, TEXTS, values_of, with_training
from skorch.callbacks import Callback

from sksemantic import SKTuningClassifier


class OutOfMemory(Callback):
    def on_batch_end(self, net, **kwargs):
        raise MemoryError


def test_optimizer_when_a_call_fails_then_goes_on_from_where_it_was(fitted):
    clf = copy.deepcopy(fitted).partial_fit(TEXTS, LABELS)
    other = copy.deepcopy(clf)
    clf.set_params(training__callbacks=[OutOfMemory()])
    with pytest.raises(MemoryError):
        clf.partial_fit(TEXTS[:8], LABELS[:8])
    clf.set_params(training__callbacks="auto")
    for each in (clf, other):
        each.partial_fit(TEXTS, LABELS)
    np.testing.assert_array_equal(clf.predict_proba(TEXTS), other.predict_proba(TEXTS))


def test_rates_when_changed_then_the_new_ones_are_used(fitted):
    clf = copy.deepcopy(fitted).partial_fit(TEXTS, LABELS)
    before = values_of(clf.get_module())
    clf.set_params(lr=1e-9, training__head_lr=1e-9).partial_fit(TEXTS, LABELS)
    np.testing.assert_allclose(values_of(clf.get_module()), before, atol=1e-7)
    assert (clf.config_.training.lr, clf.config_.training.head_lr) == (1e-9, 1e-9)
    clf.set_params(lr=1e-2).partial_fit(TEXTS, LABELS)
    assert np.abs(values_of(clf.get_module()) - before).max() > 1e-3


@pytest.mark.parametrize(
    ("name", "value", "change"),
    [
        ("method", "prompt", "method was 'prefix' and would be 'prompt'"),
        ("adapter", "linear", "adapter was 'low_rank' and would be 'linear'"),
        ("adapter_rank", 3, "adapter_rank was 8 and would be 3"),
        ("training__text_rank", 2, "text_rank was 4 and would be 2"),
    ],
)
def test_model_when_its_weights_would_not_fit_then_refused(name, value, change, fitted):
    clf = copy.deepcopy(fitted).set_params(**{name: value})
    with pytest.raises(ValueError, match=f"goes on from the model .*{change}"):
        clf.partial_fit(TEXTS, LABELS)


def test_rows_when_they_have_another_number_of_texts_then_refused(fast, tiny_llama):
    clf = SKTuningClassifier(**fast | {"model": tiny_llama}).fit(TEXTS, LABELS)
    with pytest.raises(ValueError, match="n_texts was 1 and would be 2"):
        clf.partial_fit([*zip(TEXTS, TEXTS, strict=True)], LABELS)


@pytest.mark.parametrize(
    ("name", "value"),
    [("prompt", "another one"), ("max_length", 9), ("training__dropout", 0.1)],
)
def test_model_when_changed_then_config_has_the_new_value(name, value, fitted):
    clf = copy.deepcopy(fitted).set_params(**{name: value}).partial_fit(TEXTS, LABELS)
    assert vars(clf.config_.model)[name.removeprefix("training__")] == value


def test_random_state_when_a_number_then_every_epoch_draws_anew(fitted):
    clf = copy.deepcopy(fitted).set_params(lr=1e-12, training__head_lr=1e-12)
    for _ in range(2):
        clf.partial_fit(TEXTS, LABELS)
    first, second = clf.history_[-2:, "train_loss"]
    assert first != second  # the weights stay, the dropout does not


def test_columns_when_named_in_fit_then_stay_known(classifier):
    table = pd.DataFrame({"one": TEXTS, "other": TEXTS[::-1]})
    clf = classifier.fit(table, LABELS).partial_fit(
        [*zip(TEXTS, TEXTS[::-1], strict=True)], LABELS
    )
    assert clf.feature_names_in_.tolist() == ["one", "other"]
    with pytest.raises(ValueError, match="feature names should match"):
        clf.predict(table[["other", "one"]])


def test_features_when_contrasted_first_then_keep_their_length_of_one(default_params):
    clf = SKTuningClassifier(**default_params).fit(TEXTS, LABELS)
    assert clf.config_.training.objective == "contrast"
    before = clf.predict_proba(TEXTS)
    clf.set_params(lr=1e-9, training__head_lr=1e-9).partial_fit(TEXTS, LABELS)
    assert clf.config_.model.has_unit_length
    np.testing.assert_allclose(clf.predict_proba(TEXTS), before, atol=1e-3)
    clf.set_params(warm_start=True, max_epochs=1).fit(TEXTS, LABELS)
    assert clf.config_.model.has_unit_length


def test_contrast_when_asked_for_then_refused_and_model_stays(fast):
    clf = SKTuningClassifier(**with_training(fast, objective="contrast"))
    with pytest.raises(ValueError, match=r"set_params\(training__objective='task'\)"):
        clf.fit(TEXTS, LABELS).partial_fit(TEXTS, LABELS)
    clf.set_params(training__objective="task").partial_fit(TEXTS, LABELS)
