"""Checks of a tokenizer that was read from files that anyone may have written."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NoReturn

from sksemantic._backbone.tokenizer import refuse_tokenizer_errors
from sksemantic.exceptions import UnsupportedBackboneError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# How many times as long a text may get before it is split: NFKC makes 18 of one.
_MOST_GROWTH = 1000
_LONGEST_CONTENT = 1000
_MOST_STEPS = 1000
_IDS = ("pad_token_id", "unk_token_id", "bos_token_id", "cls_token_id", "eos_token_id")


@refuse_tokenizer_errors
def check_tokenizer_parts(tokenizer: "PreTrainedTokenizerBase") -> None:
    """Refuse a tokenizer that blows texts up, or whose own numbers cannot be."""
    longest = tokenizer.model_max_length
    if isinstance(longest, bool) or not isinstance(longest, int | float):
        _refuse("model_max_length", "a number", longest)
    if not longest >= 1:
        _refuse("model_max_length", "at least 1", longest)
    for name in _IDS:
        number = getattr(tokenizer, name, None)
        if number is not None and not (type(number) is int and number >= 0):
            _refuse(name, "the number of a token", number)
    steps = _steps_of(tokenizer)
    if len(steps) > _MOST_STEPS:
        _refuse("normalizer", f"of at most {_MOST_STEPS} steps", f"{len(steps)} steps")
    for step in steps:
        if len(_content(step)) > _LONGEST_CONTENT:
            expected = f"without texts of more than {_LONGEST_CONTENT} characters"
            _refuse("normalizer", expected, _content(step))
    starts = {_pattern(step) or _content(step) or "a" for step in steps}
    for start in sorted(starts):
        if not _stays_short(steps, start):
            expected = f"one that makes texts at most {_MOST_GROWTH} times as long"
            _refuse("normalizer", expected, f"more of {start!r:.60}")


def _steps_of(tokenizer: "PreTrainedTokenizerBase") -> list[dict[str, Any]]:
    """Return what the normalizer does, one by one; nothing if it is not from a file."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    normalizer = getattr(backend, "normalizer", None)
    if normalizer is None:
        return []
    try:
        return [*_flat(json.loads(normalizer.__getstate__()))]
    except (TypeError, ValueError):  # one in Python
        return []


def _flat(normalizer: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if "normalizers" in normalizer:
        for each in normalizer["normalizers"]:
            yield from _flat(each)
    else:
        yield normalizer


def _content(step: dict[str, Any]) -> str:
    return step.get("content") or step.get("prepend") or ""


def _pattern(step: dict[str, Any]) -> str:
    return (step.get("pattern") or {}).get("String") or ""


def _stays_short(steps: list[dict[str, Any]], start: str) -> bool:
    """Whether a text stays short; a regular expression is taken to match all of it."""
    text = start
    for step in steps:
        content, pattern = _content(step), _pattern(step)
        if step["type"] == "Prepend":
            text = content + text
        elif pattern:
            text = text.replace(pattern, content)
        elif len(content) > 1:
            text = content * len(text)
        if len(text) > _MOST_GROWTH * len(start):
            return False
    return True


def _refuse(name: str, expected: str, value: Any) -> NoReturn:
    raise UnsupportedBackboneError(
        f"The {name} of the tokenizer of this backbone must be {expected}. Got "
        f"{value!r:.60} instead. Mend its files (tokenizer.json, "
        "tokenizer_config.json), or use another `model`."
    )
