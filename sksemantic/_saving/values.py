"""Python values in JSON, such that their types come back.

What JSON has is written as it is. Other types are objects with a single key that begins
with "$". Only the types listed here are read: nothing is imported by its name.
"""

import math
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

import numpy as np

_KINDS_OF_ARRAYS = "biufU"
_MAX_DEPTH = 50
_LONGEST_AXIS = 1 << 28


class Unsavable(TypeError):
    """A value of a type that is not saved."""


def to_json(value: Any) -> Any:
    """Return a value in what JSON has.

    Raises
    ------
    Unsavable
        If it is of a type that could not be read again.
    """
    if isinstance(value, np.generic) and not isinstance(value, np.datetime64):
        value = value.item()
    kind = type(value)
    if value is None or kind in (bool, int, str):
        return value
    if kind in _WRITERS:
        return _WRITERS[kind](value)
    for name, (of_kind, write, _) in _SCALARS.items():
        if kind is of_kind:
            return {name: write(value)}
    raise Unsavable(f"{kind.__name__} ({value!r:.60})")


def _list_to_json(value: list[Any]) -> list[Any]:
    return [to_json(each) for each in value]


def _dict_to_json(value: dict[Any, Any]) -> dict[str, Any]:
    if all(type(key) is str and key[:1] != "$" for key in value):
        return {key: to_json(each) for key, each in value.items()}
    return {"$dict": [[to_json(key), to_json(each)] for key, each in value.items()]}


def _float_to_json(value: float) -> Any:
    return value if math.isfinite(value) else {"$float": repr(value)}


def from_json(value: Any, depth: int = 0) -> Any:
    """Return the value of `to_json`.

    Raises
    ------
    ValueError
        If it is not what `to_json` writes.
    """
    if depth > _MAX_DEPTH:
        raise ValueError("nested too deeply")
    if isinstance(value, list):
        return [from_json(each, depth + 1) for each in value]
    if not isinstance(value, dict):
        return value
    name = next(iter(value), "")
    if name[:1] != "$":
        return {key: from_json(each, depth + 1) for key, each in value.items()}
    read = _READERS.get(name)
    if read is None or len(value) > 1:
        raise ValueError(f"unknown type {name!r:.60}")
    try:
        return read(value[name], depth + 1)
    except (TypeError, KeyError, OverflowError, InvalidOperation) as exc:
        raise ValueError(f"no {name[1:]}: {value[name]!r:.60}") from exc


def _array_to_json(array: "np.ndarray") -> dict[str, Any]:
    if array.dtype.kind == "M":
        unit = np.datetime_data(array.dtype)[0]
        values = np.datetime_as_string(array).ravel().tolist()
        dtype = f"datetime64[{unit}]"
        return {"dtype": dtype, "shape": [*array.shape], "values": values}
    if array.dtype != object and array.dtype.kind not in _KINDS_OF_ARRAYS:
        raise Unsavable(f"array of {array.dtype}")
    values = [to_json(each) for each in array.ravel().tolist()]
    dtype = "object" if array.dtype == object else array.dtype.str
    return {"dtype": dtype, "shape": [*array.shape], "values": values}


def _array_from_json(value: Mapping[str, Any], depth: int) -> "np.ndarray":
    values, shape = from_json(value["values"], depth), tuple(value["shape"])
    name = value["dtype"]
    if not isinstance(name, str) or not isinstance(values, list):
        raise ValueError(f"no array: {value!r:.60}")
    is_size = [type(n) is int and 0 <= n <= _LONGEST_AXIS for n in shape]
    if not all(is_size) or math.prod(shape) != len(values):
        raise ValueError(f"{len(values)} values have not the shape {shape!r:.60}")
    if name == "object":
        return np.fromiter(values, object, len(values)).reshape(shape)
    dtype = np.dtype(name)
    if dtype.kind not in _KINDS_OF_ARRAYS + "M" or dtype.itemsize > _longest(values):
        raise ValueError(f"an array of {name!r:.60}")
    expected = {"b": bool, "i": int, "u": int, "f": (int, float), "U": str, "M": str}
    if not all(_is_of(each, expected[dtype.kind]) for each in values):
        raise ValueError(f"values that are no {name!r:.60}")
    if dtype.kind == "U" and any(4 * len(each) > dtype.itemsize for each in values):
        raise ValueError(f"text too long for {name!r:.60}")
    array = np.array(values, dtype)
    if dtype.kind in "iu" and array.tolist() != values:  # numpy 1 wraps them around
        raise ValueError(f"numbers too large for {name!r:.60}")
    return array.reshape(shape)


def _longest(values: list[Any]) -> int:
    """Return the bytes that one entry may take, for none to be absurdly large."""
    return max(64, *(4 * len(each) for each in values if isinstance(each, str)), 64)


def _is_of(value: Any, kind: Any) -> bool:
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


def _text_of(read: Callable[[str], Any]) -> Callable[[Any, int], Any]:
    """Return a reader of text."""

    def read_text(value: Any, depth: int) -> Any:
        if not isinstance(value, str):
            raise TypeError(value)
        return read(value)

    return read_text


def _seconds(value: timedelta) -> str:
    return f"{value.days} {value.seconds} {value.microseconds}"


def _timedelta(value: str) -> timedelta:
    days, seconds, microseconds = map(int, value.split(" "))
    return timedelta(days, seconds, microseconds)


def _dictionary(value: Any, depth: int) -> dict[Any, Any]:
    pairs = from_json(value, depth)
    return {key: each for key, each in pairs}  # noqa: C416  refuses what is no pair


_WRITERS: dict[type, Callable[[Any], Any]] = {
    float: _float_to_json,
    list: _list_to_json,
    dict: _dict_to_json,
    tuple: lambda value: {"$tuple": _list_to_json(list(value))},
    np.ndarray: lambda value: {"$array": _array_to_json(value)},
}
# By name: the type, how it is written as text, and how that is read.
_SCALARS: dict[str, tuple[type, Callable[[Any], str], Callable[[str], Any]]] = {
    "$datetime": (datetime, datetime.isoformat, datetime.fromisoformat),
    "$date": (date, date.isoformat, date.fromisoformat),
    "$time": (time, time.isoformat, time.fromisoformat),
    "$timedelta": (timedelta, _seconds, _timedelta),
    "$decimal": (Decimal, str, Decimal),
    "$bytes": (bytes, bytes.hex, bytes.fromhex),
}
_READERS: dict[str, Callable[[Any, int], Any]] = {
    "$float": _text_of(float),
    "$dict": _dictionary,
    "$tuple": lambda value, depth: tuple(from_json(value, depth)),
    "$array": _array_from_json,
    **{name: _text_of(read) for name, (_, _, read) in _SCALARS.items()},
}
