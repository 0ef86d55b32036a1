"""What was read from a file is compared with types, as annotations write them."""

from dataclasses import dataclass
from typing import Any

import pytest

from sksemantic._saving.checks import BrokenFile, check, check_entries, check_fields


@dataclass
class Row:
    """A dataclass with one field that older files lack."""

    name: str
    size: float
    flags: tuple[bool, ...] = ()


@pytest.mark.parametrize(
    ("hint", "value"),
    [
        (int, 3),
        (float, 3),
        (float, 0.5),
        (str | None, None),
        (list[int], []),
        (list[int], [1, 2]),
        (tuple[int, ...], [1, 2, 3]),
        (tuple[int, str], [1, "a"]),
        (dict[str, list[float]], {"a": [1, 2.5]}),
        (dict[str, Any], {"a": object}),
        (Any, object()),
    ],
)
def test_value_when_of_the_type_then_passes(hint, value):
    check(hint, value, "here")


@pytest.mark.parametrize(
    ("hint", "value"),
    [
        (int, True),
        (int, 3.0),
        (float, True),
        (float, "3"),
        (str | None, 3),
        (list[int], (1,)),
        (list[int], [1, "a"]),
        (tuple[int, str], [1]),
        (tuple[int, str], ["a", 1]),
        (dict[str, int], {1: 1}),
        (dict[str, int], {"a": None}),
        (dict[str, int], []),
    ],
)
def test_value_when_of_another_type_then_refused(hint, value):
    with pytest.raises(BrokenFile, match="^here must be .*, and is "):
        check(hint, value, "here")


def test_message_when_the_value_is_long_then_is_short():
    with pytest.raises(BrokenFile) as caught:
        check(int, "x" * 10**6, "here")
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"a": 1}, "here lacks 'b'"),
        ({"a": 1, "b": 2, "z": 3}, "here has 'z'"),
        ({"a": 1, "b": "2"}, r"here\.b must be int"),
        ([], "here must be dict"),
    ],
)
def test_entries_when_not_just_these_then_refused(values, message):
    check_entries({"a": int, "b": int}, {"a": 1, "b": 2}, "here")
    check_entries({"a": int, "b": int}, {"a": 1}, "here", optional=("b",))
    with pytest.raises(BrokenFile, match=message):
        check_entries({"a": int, "b": int}, values, "here")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": "a"}, "row lacks 'size'"),
        ({"name": "a", "size": 1, "flags": [0]}, r"row\.flags must be tuple"),
        ({"name": "a", "size": 1, "__class__": "x"}, "row has '__class__'"),
    ],
)
def test_fields_when_not_those_of_the_dataclass_then_refused(values, message):
    check_fields(Row, {"name": "a", "size": 1}, "row")
    check_fields(Row, {"name": "a", "size": 1, "flags": [True]}, "row")
    check_fields(Row, {"name": "a"}, "row", without=("size",))
    with pytest.raises(BrokenFile, match=message):
        check_fields(Row, values, "row")
