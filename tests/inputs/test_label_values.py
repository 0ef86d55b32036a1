"""Labels of any kind are told apart as Python does, and put in order."""

import datetime
import enum
from decimal import Decimal

import numpy as np
import pytest

from sksemantic._inputs.label_values import (
    check_one_kind,
    distinct,
    flat_objects,
    positions,
    python_values,
)


class Mood(enum.Enum):
    GOOD, BAD = "g", "b"


class Grade(enum.IntEnum):
    LOW, HIGH = 1, 2


DAYS = [datetime.date(2026, 2, 1), datetime.date(2026, 1, 1)]


def objects(*values):
    return np.fromiter(values, object, len(values))


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (np.array(["b", "a", "b"]), ["a", "b"]),
        (np.array([3, 1, 3]), [1, 3]),
        (objects(*DAYS, DAYS[0]), DAYS[::-1]),
        (objects(Decimal("2"), Decimal("1.5")), [Decimal("1.5"), Decimal("2")]),
        (objects(Mood.BAD, Mood.GOOD, Mood.BAD), [Mood.GOOD, Mood.BAD]),
        (objects(Grade.HIGH, Grade.LOW), [Grade.LOW, Grade.HIGH]),
        (objects(2 + 1j, 1 + 2j), [1 + 2j, 2 + 1j]),  # without an order: by repr
    ],
)
def test_distinct_when_of_any_kind_then_is_in_order(labels, expected):
    found = distinct(labels)
    assert found.tolist() == expected
    assert positions(labels, found).tolist() == [
        expected.index(label) for label in labels.tolist()
    ]


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (np.array(["1", "2"]), np.array([1, 2])),
        (np.array([1, 2]), np.array(["1", "2"])),
        (np.array(["c", "bb"]), np.array(["a", "b"])),
        (np.array([0, 9]), np.array([1, 2])),
        (objects(Mood.GOOD), np.array(["GOOD", "g"])),
        (objects(datetime.date(2020, 1, 1)), objects(*DAYS)),
    ],
)
def test_positions_when_labels_are_no_classes_then_are_negative(labels, classes):
    assert (positions(labels, classes) == -1).all()


@pytest.mark.parametrize(
    ("labels", "kind"),
    [
        (["a", np.str_("b")], "str"),
        ([1, 2.5, True], "number"),
        ([Mood.GOOD, Mood.BAD], "Mood"),
        ([Grade.LOW], "Grade"),
        (DAYS, "date"),
        ([Decimal(1)], "Decimal"),
        ([b"a"], "bytes"),
        ([], "str"),
    ],
)
def test_kind_when_all_are_of_one_then_is_that(labels, kind):
    assert check_one_kind(labels) == kind


@pytest.mark.parametrize(
    "labels",
    [["a", 1], [1, "1"], [Mood.GOOD, "g"], [Grade.LOW, 1], [DAYS[0], "2026-01-01"]],
)
def test_kind_when_there_are_two_then_both_are_named(labels):
    with pytest.raises(ValueError, match="one kind.* in row 0, .* in row 1"):
        check_one_kind(labels)


def test_kind_when_a_label_has_no_hash_then_it_is_named():
    with pytest.raises(ValueError, match="Got dict .* in row 1"):
        check_one_kind(["a", {}])


def test_values_when_of_numpy_then_are_pythons():
    values = python_values(objects(np.str_("a"), np.int64(1), np.bool_(True), None))
    assert [type(value) for value in values] == [str, int, bool, type(None)]


@pytest.mark.parametrize("values", [["a", float("nan")], ("good", 1), [None, "x"]])
def test_flat_objects_when_kinds_are_mixed_then_nothing_is_converted(values):
    found = flat_objects(values)
    assert [*map(id, found.tolist())] == [*map(id, values)]


@pytest.mark.parametrize("values", [[[0, 1], [1, 0]], np.array([1, 2]), "text"])
def test_flat_objects_when_there_are_none_then_is_none(values):
    assert flat_objects(values) is None
