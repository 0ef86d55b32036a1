"""Which files of a backbone may be opened: those in its directory, of a usual size.

transformers and tokenizers open whatever has the name of a file of theirs: a link to
another place, a pipe that nobody writes to, or a file larger than the memory.
"""

import base64
import json
import os
import re
from pathlib import Path
from typing import Any

from sksemantic._backbone.source import is_inside

# Of what is read as a whole; the largest vocabularies are a third of it.
_MOST_TEXT_BYTES = 1 << 27
_MOST_JSON_BYTES = 1 << 26  # of what is read here
_TEXTS = (".json", ".txt", ".model", ".jinja", ".bpe", ".codes", ".vocab", ".tsv")
_WEIGHTS = (".safetensors", ".gguf")
_TEMPLATES = "additional_chat_templates"
# JSON objects that transformers reads. Of `tokenizer.json` tokenizers is the judge.
_OBJECTS: tuple[str, ...] = (
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
)
_OBJECTS += ("generation_config.json", "adapter_config.json")
# Entries of tokenizer_config.json that would be opened, or taken as they are.
_OBJECTS_OF_CODE = ("tokenizer_object", "gguf_file", "init_inputs")
_NAMES_OF_FILES = ("vocab", "merges")
# Paths of whoever saved it, in many files; transformers does not follow them.
_FORGOTTEN = ("tokenizer_file", "special_tokens_map_file", "added_tokens_file")


_CHARSMAP = re.compile(rb'"precompiled_charsmap"\s*:\s*"([^"]*)"')


class RefusedFiles(Exception):  # noqa: N818  becomes an error with the name of the model
    """What is wrong with the files."""


def check_files(folder: Path, gguf_file: str | None = None) -> None:
    """Refuse what is no regular file of the directory, or too large to be read.

    Beside a GGUF file, which needs no other, only those matter that are read with it.
    """
    for place in (folder, folder / _TEMPLATES):
        if place.is_dir():
            _check_place(place, folder)
            for file in sorted(place.iterdir()):
                is_read = file.name.endswith((".json", ".jinja"))
                if gguf_file is None or is_read or file.name == gguf_file:
                    _check_file(file, folder)
    if (folder / "tokenizer.json").is_file():
        _check_charsmap(folder / "tokenizer.json")
    for name in _OBJECTS:
        if (folder / name).is_file():
            values = read_json(folder / name)
            if name == "tokenizer_config.json":
                _check_tokenizer_config(folder, values)


def _check_place(file: Path, folder: Path) -> None:
    if not is_inside(file, folder):
        raise RefusedFiles(
            f"{file.name} is a link to {os.path.realpath(file)!r:.100}, which is "
            "outside the directory and is not read; put a copy in its place"
        )


def _check_file(file: Path, folder: Path) -> None:
    _check_place(file, folder)
    is_text = file.name.endswith(_TEXTS)
    if file.is_dir() and not is_text and not file.name.endswith(_WEIGHTS):
        return
    if not file.is_file():
        raise RefusedFiles(f"{file.name} must be a regular file, and is none")
    size = file.stat().st_size
    if is_text and size > _MOST_TEXT_BYTES:
        raise RefusedFiles(
            f"{file.name} must have at most {_MOST_TEXT_BYTES >> 20} MiB, and has "
            f"{size >> 20:,}"
        )


def read_json(file: Path) -> dict[str, Any]:
    """Return the object that a JSON file holds."""
    try:
        if not file.is_file() or file.stat().st_size > _MOST_JSON_BYTES:
            raise RefusedFiles(f"{file.name} is no file of less than 64 MiB")
        values = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as exc:
        raise RefusedFiles(f"{file.name} is no JSON ({exc})") from exc
    if not isinstance(values, dict):
        raise RefusedFiles(f"{file.name} holds no JSON object")
    return values


def _check_tokenizer_config(folder: Path, config: dict[str, Any]) -> None:
    """Refuse entries that transformers would open, or take for objects of its own."""
    for name in _OBJECTS_OF_CODE:
        if config.get(name):
            raise RefusedFiles(
                f"tokenizer_config.json has {name}={config[name]!r:.60}, which only "
                "Python code can have; remove it"
            )
    for name, value in config.items():
        is_file = name.endswith(("_file", "_files")) or name in _NAMES_OF_FILES
        if not is_file or name in _FORGOTTEN:
            continue
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, str) and not _is_harmless(folder, each):
                raise RefusedFiles(
                    f"tokenizer_config.json has {name}={each!r:.60}, which is outside "
                    "the directory and is not read; remove it"
                )


def _is_harmless(folder: Path, name: str) -> bool:
    """Whether a name is that of a file in the directory, or of none at all."""
    if Path(name).name == name:
        return True
    try:
        return not ((folder / name).exists() or Path(name).exists())
    except (OSError, ValueError):  # no path at all
        return True


def _check_charsmap(file: Path) -> None:
    """Refuse a table of characters that says to be longer than it is.

    tokenizers takes as much memory as it says, and ends the process if there is none.
    """
    for found in _CHARSMAP.finditer(file.read_bytes()):
        try:
            table = base64.b64decode(found[1], validate=True)
        except ValueError:
            continue  # which tokenizers says as well
        says = int.from_bytes(table[:4], "little")
        if says + 4 > len(table):
            raise RefusedFiles(
                f"{file.name} has a precompiled_charsmap of {len(table)} bytes that "
                f"says to have {says + 4}"
            )


def is_plain(name: Any, suffix: str) -> bool:
    """Whether a name is that of a file in the directory, with a suffix."""
    is_name = isinstance(name, str) and name.endswith(suffix)
    return is_name and Path(name).name == name and "\\" not in name
