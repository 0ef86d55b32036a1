"""Values in JSON come back with their types; nothing else is read."""

import datetime
import enum
import json
import math
from decimal import Decimal

import numpy as np
import pytest

from sksemantic._saving.values import Unsavable, from_json, to_json

DAY = datetime.date(2026, 1, 2)
NOON = datetime.datetime(2026, 1, 2, 12, tzinfo=datetime.UTC)


def through_json(value):
    return from_json(json.loads(json.dumps(to_json(value), allow_nan=False)))


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        3,
        -2.5,
        "text \ud800".encode("utf-8", "replace").decode(),
        "$float",
        [1, [2.0, "x"], None],
        (1, ("a",)),
        {"a": 1, "b": {"c": (1, 2)}},
        {"$tuple": [1]},
        {1: "one", None: "none", (1, 2): "pair"},
        {DAY: 1},
        float("inf"),
        -math.inf,
        DAY,
        NOON,
        NOON.time(),
        datetime.timedelta(days=-1, seconds=5, microseconds=7),
        Decimal("1.50"),
        b"\x00\xff",
    ],
)
def test_value_when_written_and_read_then_is_equal_and_of_its_type(value):
    found = through_json(value)
    assert found == value
    assert type(found) is type(value)


def test_value_when_not_a_number_then_stays_so():
    assert math.isnan(through_json(float("nan")))


@pytest.mark.parametrize(
    "array",
    [
        np.array(["good", "bad"]),
        np.array([1, 2], np.int8),
        np.array([[0.5, np.nan], [np.inf, 1]]),
        np.array([True, False]),
        np.array(["2026-01-02", "2025-01-01"], "datetime64[D]"),
        np.fromiter([DAY, DAY], object),
        np.fromiter([Decimal(1), "x", None], object),
        np.zeros((0, 3)),
        np.array([], dtype="<U5"),
    ],
)
def test_array_when_written_and_read_then_has_dtype_shape_and_values(array):
    found = through_json(array)
    assert (found.dtype, found.shape) == (array.dtype, array.shape)
    np.testing.assert_array_equal(found, array)


@pytest.mark.parametrize("value", [np.float32(0.5), np.int64(3), np.str_("a")])
def test_value_when_of_numpy_then_is_pythons(value):
    assert through_json(value) == value.item()


class Mood(enum.Enum):
    GOOD = 1


class Text(str):
    __slots__ = ()


@pytest.mark.parametrize(
    "value",
    [Mood.GOOD, [Mood.GOOD], Text("a"), object(), {"a": {1, 2}}, 1j, print, range(3)],
)
def test_value_when_of_another_type_then_refused(value):
    with pytest.raises(Unsavable):
        to_json(value)


@pytest.mark.parametrize(
    "saved",
    [
        {"$import": "os.system"},
        {"$float": 1.5},
        {"$float": "x"},
        {"$date": "yesterday"},
        {"$date": ["2026-01-01"]},
        {"$decimal": "one"},
        {"$bytes": "zz"},
        {"$tuple": 3},
        {"$dict": [[1]]},
        {"$dict": [[[1], 2]]},
        {"$date": "2026-01-01", "$float": "1"},
        {"$array": []},
        {"$array": {"dtype": "<U4", "shape": [2], "values": ["a"]}},
        {"$array": {"dtype": "<U4", "shape": [-1], "values": ["a"]}},
        {"$array": {"dtype": "<U1", "shape": [1], "values": ["long"]}},
        {"$array": {"dtype": "<U999999999", "shape": [1], "values": ["a"]}},
        {"$array": {"dtype": "V8", "shape": [1], "values": [1]}},
        {"$array": {"dtype": "O", "shape": [1], "values": [1]}},
        {"$array": {"dtype": "<f8", "shape": [1], "values": ["x"]}},
        {"$array": {"dtype": "<i1", "shape": [1], "values": [1000]}},
        {"$array": {"dtype": ["<f8"], "shape": [1], "values": [1.0]}},
        {"$array": {"dtype": "<f8", "shape": [1 << 40, 0], "values": []}},
        {"$array": {"dtype": "<f8", "values": []}},
        {"$timedelta": "1"},
        {"$timedelta": "1 2 99999999999999999999"},
    ],
)
def test_saved_when_it_is_not_what_is_written_then_refused(saved):
    with pytest.raises(ValueError, match="."):
        from_json(saved)


def test_saved_when_nested_without_end_then_refused():
    saved = 1
    for _ in range(1000):
        saved = [saved]
    with pytest.raises(ValueError, match="deep"):
        from_json(saved)
