"""`partial_fit`: what it goes on from, and what it does not change."""

import copy

import numpy as np
import pandas as pd
import pytest
from conftest import LABELS, TEXTS, values_of
from skorch.callbacks import Callback


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
    ("name", "value", "former"),
    [
        ("prompt", "another one", "'.*'"),
        ("method", "prompt", "'prefix'"),
        ("adapter", "linear", "'low_rank'"),
        ("adapter_rank", 3, "8"),
        ("training__dropout", 0.1, "0.3"),
        ("training__text_rank", 2, "4"),
        ("training__pooling", "first", "'mean'"),
    ],
)
def test_model_when_changed_then_refused(name, value, former, fitted):
    clf = copy.deepcopy(fitted).set_params(**{name: value})
    message = f"'{name}' parameter must be {former}, as in .* Got {value!r} instead"
    with pytest.raises(ValueError, match=message):
        clf.partial_fit(TEXTS, LABELS)


def test_config_when_few_labels_have_texts_then_is_that_of_the_module(classifier):
    names = {"bad": "an awful film", "good": "a lovely film"}
    clf = classifier.set_params(label_texts=names).fit(TEXTS, LABELS)
    assert (clf.config_.model.text_rank, clf.config_.training.text_rank) == (0, 0)
    clf.set_params(label_texts=None).partial_fit(TEXTS, LABELS)
    assert (clf.config_.model.text_rank, clf.config_.training.text_rank) == (0, 0)


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
