"""What stands for a fit: the same everywhere, and another one if anything changes."""

import enum

import numpy as np
import pytest
import torch
from sklearn.base import clone
from skorch.callbacks import Callback, EpochScoring

from sksemantic import SKTuningClassifier
from sksemantic._inputs.validation import random_source
from sksemantic._saving.digest import KEY_LENGTH, digest, facts_of
from sksemantic._training.progress import Progress


class Colour(enum.Enum):
    RED = 1


def facts(estimator, X, y, **fit_params):
    request = estimator._check(X, y, fit_params.get("sample_weight"))
    rng = random_source(estimator.random_state, 0)
    return facts_of(estimator._prepare(request, Progress(), rng))


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (np.arange(3), np.arange(3.0)),
        (np.zeros((2, 3)), np.zeros((3, 2))),
        (np.array(["a", "b"]), np.array(["ab", ""])),
        (["a", "b"], ["ab"]),
        ([["a"], "b"], [["a", "b"]]),
        ({"a": 1}, {"a": "1"}),
        ({"a": 1, "b": 2}, {"a": 1, "b": 3}),
        (1, True),
        (None, "None"),
        (np.array([Colour.RED, 1], object), np.array([Colour.RED, 2], object)),
    ],
)
def test_digest_when_values_are_others_then_is_another(a, b):
    assert digest(a) != digest(b)


def test_digest_when_in_another_process_then_is_the_same(run_python):
    code = """
        import enum, numpy, torch
        from sksemantic._saving.digest import digest
        class Colour(enum.Enum):
            RED = 1
        labels = numpy.array([Colour.RED, "x", None], dtype=object)
        print(digest([labels, torch.ones(2), {"a": (1, 2.5)}]))
    """
    labels = np.array([Colour.RED, "x", None], dtype=object)
    here = digest([labels, torch.ones(2), {"a": (1, 2.5)}])
    assert run_python(code, PYTHONHASHSEED="7").strip() == here
    assert len(here) == KEY_LENGTH


def test_facts_when_nothing_changes_then_are_the_same(classifier, texts, labels):
    first = facts(classifier, texts, labels)
    again = facts(clone(classifier), np.array(texts), labels.tolist())
    assert again == first


@pytest.mark.parametrize("quiet", [{"verbose": 1}, {"checkpoint_dir": "elsewhere"}])
def test_facts_when_only_what_is_shown_or_kept_changes_then_are_the_same(
    quiet, classifier, texts, labels
):
    first = facts(classifier, texts, labels)
    assert facts(clone(classifier).set_params(**quiet), texts, labels) == first


CHANGES = {
    "X": ("X", {}),
    "y": ("y", {}),
    "labels": ("labels", {}),
    "sample_weight": ("sample_weight", {}),
    "training": (None, {"lr": 0.5}),
    "model": (None, {"prompt": "another one"}),
    "random_state": (None, {"random_state": 8}),
    "callbacks": (None, {"training__callbacks": [EpochScoring("accuracy")]}),
}


@pytest.mark.parametrize("name", CHANGES)
def test_facts_when_something_changes_then_it_is_named(name, classifier, texts, labels):
    first = facts(classifier, texts, labels)
    what, changes = CHANGES[name]
    X, y, weights = list(texts), labels.copy(), None
    if what == "X":
        X[3] = "another text"
    if what == "y":
        y[3] = "good"
    if what == "labels":
        y = np.where(y == "good", "fine", "bad")
    if what == "sample_weight":
        weights = np.linspace(1, 2, len(X))
    other = clone(classifier).set_params(**changes)
    found = facts(other, X, y, sample_weight=weights)
    different = {key for key in first if first[key] != found[key]}
    # The numbers of the targets' scale, and of the groups, may follow.
    assert name in different
    assert different <= {name, "labels", "X"}


def test_facts_when_there_is_no_seed_then_chance_is_no_part_of_them(
    classifier, texts, labels
):
    classifier.set_params(random_state=None)
    assert facts(classifier, texts, labels) == facts(classifier, texts, labels)


def test_facts_when_a_callback_has_parameters_then_are_those(classifier, texts, labels):
    class Mine(Callback):
        def __init__(self, size):
            self.size = size

    def described(size):
        options = {"training__callbacks": [("named", Mine(size))]}
        return facts(classifier.set_params(**options), texts, labels)["callbacks"]

    assert described(1) == described(1)
    assert described(1) != described(2)
    assert isinstance(classifier, SKTuningClassifier)


def test_facts_when_the_fit_before_had_other_labels_then_are_others(fast, texts):
    found = []
    for former in ([0, 1], [1, 2]):
        clf = SKTuningClassifier(**fast, warm_start=True)
        clf.fit(texts, former * 12)
        found.append(facts(clf, texts, [0, 1, 2] * 8)["fit before"])
    assert found[0] != found[1]
