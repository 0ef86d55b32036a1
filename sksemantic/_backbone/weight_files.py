"""Checks of a backbone's files before transformers reads them: anyone may write them.

transformers takes shards from the index by their names, pickles among them, and makes
modules of the sizes that the config names, before it looks at the weights.
"""

import json
import re
import struct
from collections.abc import Iterable, Iterator
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sksemantic._backbone.files import RefusedFiles, check_files, is_plain, read_json
from sksemantic._backbone.gguf_header import read_gguf_header
from sksemantic.exceptions import UnsupportedBackboneError

if TYPE_CHECKING:
    from sksemantic._backbone.source import BackboneSource

_MOST_HEADER_BYTES = 100_000_000  # as safetensors itself has it
_ATTENTION = {"eager", "sdpa", "flash_attention_2", "flash_attention_3"}
_ATTENTION |= {"flex_attention"}
# Of the largest dimension of all tensors: packed weights have a part of their columns.
_LARGEST_RATIO = 16
_SMALLEST_LIMIT = 1 << 16
_LAYERS = re.compile(r"(layers?|blocks|block_count|depths?|stages)$", re.IGNORECASE)
# What may be large and makes nothing large: tokens, and positions that are computed.
_HARMLESS = re.compile(
    r"position|token|_ids?$|window|length|max_|chunk|factor|theta|seed|bucket|distance",
    re.IGNORECASE,
)
_LARGEST_HARMLESS = 1 << 27
# How many times as many numbers a model may have as its weights, plain and packed.
_MOST_TIMES, _MOST_PACKED = 4, 64
_SMALLEST_MODEL = 1 << 24


def check_weight_files(source: "BackboneSource") -> int:
    """Refuse files that are not the weights, config and tokenizer of a backbone.

    Nothing of a model is made: what config or header say is compared with the shapes.

    Returns
    -------
    int
        How many numbers the weights have.

    Raises
    ------
    UnsupportedBackboneError
    """
    folder = Path(source.location)
    try:
        check_files(folder, source.gguf_file)
        if source.gguf_file is None:
            shapes = _check_directory(folder)
        else:
            shapes = _check_gguf(folder / source.gguf_file)
    except (RefusedFiles, OSError) as exc:
        raise UnsupportedBackboneError(
            f"The weights of model={source.name!r} were found ({source.origin}, "
            f"{source.location}) but are refused: {exc}."
        ) from exc
    return sum(map(prod, shapes))


def _check_directory(folder: Path) -> list[list[int]]:
    config = read_json(folder / "config.json")
    _check_config(config)
    for index in sorted(folder.glob("*.index.json")):
        _check_index(folder, read_json(index))
    shapes = [s for f in sorted(folder.glob("*.safetensors")) for s in _shapes(f)]
    if shapes:
        _check_sizes("config.json", _entries(config), shapes)
    return shapes


def _check_gguf(file: Path) -> list[list[int]]:
    values, shapes = read_gguf_header(file)
    own = f"{values.get('general.architecture')}."
    entries = [
        (name if name.endswith("context_length") else name.replace("length", "size"), n)
        for name, n in values.items()
        if name.startswith(own)
    ]
    _check_sizes(file.name, entries, shapes)
    sizes = {name.removeprefix(own): n for name, n in values.items() if type(n) is int}
    n_expected, n_found = _n_of_gguf(sizes), sum(map(prod, shapes))
    if n_expected > most_numbers(n_found):
        raise RefusedFiles(
            f"{file.name} is said to have {n_expected:,} numbers, and has {n_found:,}"
        )
    return shapes


def _n_of_gguf(sizes: dict[str, int]) -> int:
    """Return about how many numbers the usual layers of these sizes have."""
    width, n_heads = (
        sizes.get("embedding_length", 0),
        sizes.get("attention.head_count", 0),
    )
    keys = sizes.get("attention.key_length", 0) + sizes.get("attention.value_length", 0)
    attention = max(width * width, n_heads * keys * width)
    inner = max(sizes.get("feed_forward_length", 0), 0)
    inner += sizes.get("expert_feed_forward_length", 0) * sizes.get("expert_count", 0)
    n_layers, n_tokens = (
        sizes.get("block_count", 0),
        sizes.get("tokenizer.ggml.tokens", 0),
    )
    return n_tokens * width + n_layers * (attention + inner * width)


def most_numbers(n_found: int, *, is_packed: bool = False) -> int:
    """Return how many numbers a model may have whose weights have so many.

    Encoders may be saved without their decoders, and heads without what they share.
    """
    return _SMALLEST_MODEL + (_MOST_PACKED if is_packed else _MOST_TIMES) * n_found


def _check_config(config: dict[str, Any]) -> None:
    """Refuse a config that names a file of weights, or code from somewhere else."""
    named = config.get("transformers_weights")
    if named is not None and not is_plain(named, ".safetensors"):
        raise RefusedFiles(
            f"config.json takes the weights from {named!r:.60}; pickled weights, and "
            "files outside the directory, are never read"
        )
    for name, value in _entries(config):
        is_attention = name.endswith("attn_implementation")
        if is_attention and not (value is None or str(value) in _ATTENTION):
            raise RefusedFiles(
                f"config.json asks for the attention {value!r:.60}, which would be "
                "fetched from the hub and run"
            )


def _check_index(folder: Path, index: dict[str, Any]) -> None:
    """Refuse shards that are no safetensors in the same directory."""
    shards = index.get("weight_map")
    if not isinstance(shards, dict):
        raise RefusedFiles("an index has no map of weights")
    for name in dict.fromkeys(map(str, shards.values())):
        if not is_plain(name, ".safetensors") or not (folder / name).is_file():
            raise RefusedFiles(
                f"an index names {name!r:.60} as a file of weights; pickled weights, "
                "and files outside the directory, are never read"
            )


def _shapes(file: Path) -> list[list[int]]:
    """Return the shapes of a safetensors file, from its header alone."""
    with file.open("rb") as opened:
        start = opened.read(8)
        size = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 0 < size <= min(_MOST_HEADER_BYTES, file.stat().st_size):
            raise RefusedFiles(f"{file.name} has no header of safetensors")
        text = opened.read(size)
    try:
        tensors = json.loads(text)
        found = [each["shape"] for name, each in tensors.items() if name[:2] != "__"]
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError) as exc:
        raise RefusedFiles(f"{file.name} has no header of safetensors") from exc
    for shape in found:
        if not isinstance(shape, list) or not all(type(n) is int for n in shape):
            raise RefusedFiles(f"{file.name} has a tensor without a shape")
    return found


def _check_sizes(
    file: str, entries: Iterable[tuple[str, Any]], shapes: list[list[int]]
) -> None:
    """Refuse numbers that would make modules much larger than the weights."""
    n_tensors = len(shapes)
    largest = max((max(shape, default=1) for shape in shapes), default=1)
    limit = max(_LARGEST_RATIO * largest, _SMALLEST_LIMIT)
    for name, value in entries:
        if type(value) is not int:
            continue
        if _LAYERS.search(name) and not _HARMLESS.search(name):
            most = max(n_tensors, 16)
        else:
            most = _LARGEST_HARMLESS if _HARMLESS.search(name) else limit
        if abs(value) > most:
            raise RefusedFiles(
                f"{file} has {name}={value}, and the weights have {n_tensors} "
                f"tensors with at most {largest} rows or columns"
            )


def _entries(config: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield names and values of nested dictionaries and lists."""
    for name, value in config.items():
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, dict):
                yield from _entries(each)
            else:
                yield str(name), each
