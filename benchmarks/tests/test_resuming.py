import copy

import numpy as np
import pytest
from resuming import is_same


@pytest.fixture
def result():
    return {
        "weights": [np.ones((2, 3), np.float32)],
        "history": [{"epoch": 1.0, "train_loss": 0.5}],
        "comparison": None,
        "temperature": 2.0,
        "probe": [np.ones((2, 3)), np.zeros(2)],
        "predictions": np.array(["a", "b"]),
    }


def test_results_when_equal_then_are_the_same(result):
    assert is_same(result, copy.deepcopy(result))


@pytest.mark.parametrize("name", ["weights", "probe"])
def test_results_when_a_last_bit_differs_then_are_not_the_same(name, result):
    other = copy.deepcopy(result)
    other[name][0][0, 0] = np.nextafter(
        other[name][0][0, 0], other[name][0].dtype.type(2)
    )
    assert not is_same(result, other)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("history", [{"epoch": 1.0, "train_loss": 0.6}]),
        ("temperature", 2.1),
        ("predictions", np.array(["a", "a"])),
    ],
)
def test_results_when_anything_differs_then_are_not_the_same(name, value, result):
    assert not is_same(result, result | {name: value})
