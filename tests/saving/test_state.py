"""A fitted model in JSON values and tensors, and back."""

import json

import numpy as np
import pytest

from sksemantic._saving.checks import BrokenFile
from sksemantic._saving.reading import read_directory
from sksemantic._saving.state import from_files, to_files
from sksemantic._saving.values import from_json


@pytest.fixture
def files(fitted, tmp_path):
    """Return the values and tensors of a fitted classifier, to be changed."""
    fitted.save_pretrained(tmp_path)
    config, tensors = read_directory(tmp_path, "SKTuningClassifier")
    return config["fitted"], tensors


def test_model_when_written_again_then_is_the_same(files):
    values, tensors = files
    again, same = to_files(from_files(values, tensors))
    assert json.dumps(again) == json.dumps(to_files(from_files(*files))[0])
    assert repr(from_json(again)["task"]) == repr(values["task"])
    assert same.keys() == tensors.keys()
    assert all(np.array_equal(same[name], tensors[name]) for name in same)
    assert "location" not in again["model"]["backbone"]["source"]


HEAD = "weights.head.weight"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("code", np.zeros(1, np.float32), "which is unknown"),
        ("weights.head.bias", np.zeros(2, np.int8), "is of int8"),
        ("weights.head.bias", np.full(2, np.inf, np.float32), "not finite"),
        ("weights.head.bias", np.zeros(3, np.float32), r"must have the shape \(2,\)"),
        ("weights.feature_scale", np.zeros(32, np.float32), "must be positive"),
        (HEAD, np.zeros((0, 32), np.float32), "has not the model's outputs"),
        ("optimizer.99.step", np.zeros(1, np.float32), "is of no parameter"),
        ("optimizer.x.step", np.zeros(1, np.float32), "is of no parameter"),
        ("linear_probe.coef", np.zeros((1, 9), np.float32), "has another shape"),
    ],
)
def test_tensor_when_it_does_not_fit_then_refused(name, value, message, files):
    values, tensors = files
    values = values | {"optimizer": {"param_groups": []}}
    with pytest.raises(BrokenFile, match=message):
        from_files(values, tensors | {name: value})


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("dropout", 1.0, "at least 0 and below 1"),
        ("adapter_rank", 10**9, "model.adapter_rank is"),
        ("n_virtual_tokens", 0, "model.n_virtual_tokens is"),
        ("tuned_layers", (2, 1), "no range of layers"),
        ("prompt", 3, "model.prompt must be str"),
        ("backbone", None, "backbone must be dict"),
    ],
)
def test_model_when_a_number_cannot_be_then_refused(name, value, message, files):
    values, tensors = files
    values = values | {"model": values["model"] | {name: value}}
    with pytest.raises(BrokenFile, match=message):
        from_files(values, tensors)


@pytest.mark.parametrize(
    ("name", "value"),
    [("temperature", 0), ("temperature", float("inf")), ("optimizer", None)],
)
def test_entry_when_it_cannot_be_then_refused(name, value, files):
    values, tensors = files
    tensors["optimizer.0.step"] = np.zeros(1, np.float32)
    with pytest.raises(BrokenFile, match=name):
        from_files(values | {name: value}, tensors)
