"""A saved task is read only if its values fit together."""

import numpy as np
import pytest

from sksemantic import (
    SKTuningClassifier,
    SKTuningRegressor,
    SKTuningTokenClassifier,
)
from sksemantic._saving.checks import BrokenFile
from sksemantic._saving.tasks import check_kind, read_task

AB = np.array(["a", "b"])
TASKS = {
    "classification": {"classes": AB},
    "ordinal": {"classes": np.arange(3), "ranks": np.array([1, 0, 2])},
    "multilabel": {"classes": np.arange(2), "label_names": AB},
    "token_classification": {"classes": AB, "class_weights": np.array([1.0, 0.0])},
    "regression": {
        "center": np.zeros(2),
        "scale": np.ones(2),
        "is_multi_output": True,
        "loss": "huber",
        "quantile": 0.5,
    },
}


def read(name, n_outputs=2, **changes):
    values = TASKS.get(name, {}) | changes
    return read_task({"name": name, "values": values}, n_outputs)


@pytest.mark.parametrize("name", TASKS)
def test_task_when_right_then_is_of_its_kind(name):
    task = read(name)
    assert task.name == name
    assert {*task.to_state()} == {*TASKS[name]}


@pytest.mark.parametrize("name", TASKS)
def test_task_when_the_head_has_other_outputs_then_refused(name):
    with pytest.raises(BrokenFile, match="outputs, the head 5"):
        read(name, 5)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("exec", {}, "'exec' is none of"),
        ("classification", {"classes": ["a", "b"]}, "must be ndarray"),
        ("classification", {"classes": AB[:1]}, "at least two different"),
        ("classification", {"classes": np.array(["a", "a"])}, "two different"),
        ("classification", {"classes": AB[:, None]}, "at least two different|no label"),
        ("classification", {"more": 1}, "has 'more'"),
        ("ordinal", {"ranks": np.array([0, 2, 3])}, "places of the classes"),
        ("ordinal", {"ranks": np.array([0.0, 1.0, 2.0])}, "places of the classes"),
        ("multilabel", {"classes": AB}, "numbers of the columns"),
        ("multilabel", {"label_names": np.arange(2)}, "must be 2 names"),
        ("token_classification", {"class_weights": np.array([-1.0, 1])}, "possible"),
        ("token_classification", {"class_weights": np.ones(3)}, "2 numbers"),
        ("regression", {"scale": np.zeros(2)}, "scale must be 2 numbers"),
        ("regression", {"center": np.array([np.nan, 0])}, "center must be 2 numbers"),
        ("regression", {"loss": "exec"}, "has no loss"),
        ("regression", {"quantile": 2.0}, "or no quantile"),
        ("regression", {"is_multi_output": False}, "several targets for one"),
    ],
)
def test_task_when_its_values_do_not_fit_then_refused(name, changes, message):
    with pytest.raises(BrokenFile, match=message):
        read(name, **changes)


def test_label_when_it_cannot_be_one_then_refused():
    classes = np.fromiter([[1], "a"], object, 2)
    with pytest.raises(BrokenFile, match="is no label"):
        read("classification", classes=classes)


@pytest.mark.parametrize(
    ("cls", "kinds"),
    [
        (SKTuningClassifier, {"classification", "multilabel", "ordinal"}),
        (SKTuningRegressor, {"regression"}),
        (SKTuningTokenClassifier, {"token_classification"}),
    ],
)
def test_kind_when_of_another_estimator_then_refused(cls, kinds):
    class Own(cls):
        """As users derive them."""

    for name in kinds:
        check_kind(cls, {"task": {"name": name}})
        check_kind(Own, {"task": {"name": name}})
    for name in {*TASKS, None, 3} - kinds:
        with pytest.raises(BrokenFile, match=f"task.name {name!r} is none of"):
            check_kind(cls, {"task": {"name": name}})
    for fitted in ({}, {"task": None}, {"task": {}}, {"task": []}):
        with pytest.raises(BrokenFile, match="task.name None"):
            check_kind(cls, fitted)
