"""Checks of what was read from a file that anyone may have written."""

import types
from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any, Union, get_args, get_origin, get_type_hints


class BrokenFile(ValueError):
    """A file does not hold what it should."""


def check_fields(
    kind: Any, values: Any, where: str, without: tuple[str, ...] = ()
) -> None:
    """Refuse a dictionary that has not just the fields of a dataclass, of their types.

    Fields with a default may be missing: older files lack those that are new.
    """
    hints = {
        name: hint for name, hint in get_type_hints(kind).items() if name not in without
    }
    optional = tuple(
        field.name
        for field in fields(kind)
        if field.default is not MISSING or field.default_factory is not MISSING
    )
    check_entries(hints, values, where, optional)


def check_entries(
    hints: Mapping[str, Any], values: Any, where: str, optional: tuple[str, ...] = ()
) -> None:
    """Refuse a dictionary with other entries than these, or of other types."""
    check(dict[str, Any], values, where)
    missing = sorted(hints.keys() - values.keys() - {*optional})
    unknown = sorted(values.keys() - hints.keys())
    if missing or unknown:
        what = f"lacks {missing[0]!r}" if missing else f"has {unknown[0]!r:.60}"
        raise BrokenFile(f"{where} {what}")
    for name, value in values.items():
        check(hints[name], value, f"{where}.{name}")


def check(hint: Any, value: Any, where: str) -> None:
    """Refuse a value that is not of a type, as annotations write it."""
    if not _is_of(hint, value):
        name = getattr(hint, "__name__", str(hint))
        raise BrokenFile(
            f"{where} must be {name}, and is {type(value).__name__} ({value!r:.60})"
        )


def _is_of(hint: Any, value: Any) -> bool:
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any:
        return True
    if origin in (Union, types.UnionType):
        return any(_is_of(each, value) for each in arguments)
    if origin is tuple:
        return isinstance(value, tuple | list) and _has_entries(arguments, value)
    if origin is list:
        return isinstance(value, list) and all(_is_of(arguments[0], v) for v in value)
    if origin in (dict, Mapping):
        return isinstance(value, dict) and all(
            _is_of(arguments[0], k) and _is_of(arguments[1], v)
            for k, v in value.items()
        )
    if hint in (None, type(None)):
        return value is None
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, hint)


def _has_entries(hints: tuple[Any, ...], values: Any) -> bool:
    if len(hints) == 2 and hints[1] is Ellipsis:
        return all(_is_of(hints[0], value) for value in values)
    return len(hints) == len(values) and all(map(_is_of, hints, values))
