"""What is in a saved directory, and where its backbone is."""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from safetensors import SafetensorError
from safetensors.numpy import load

from sksemantic._backbone.source import BackboneSource, is_inside, resolve, resolve_id
from sksemantic._saving.checks import BrokenFile, check, check_entries
from sksemantic._saving.directory import is_settling, place_of, sha256_of
from sksemantic._saving.values import from_json
from sksemantic.exceptions import BackboneNotFoundError

SCHEMA = 1
# By schema: what turns a config of it, as JSON holds it, into one of the next schema.
# Fields that are new, and have a default, need no schema of their own.
UPGRADES: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}
CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
BACKBONE = "backbone"  # the subdirectory of its files
_MOST_CONFIG_BYTES = 1 << 28
_ATTEMPTS = 100
_SECONDS_BETWEEN = 0.05
_ENTRIES = {
    "schema": int,
    "class": str,
    "parameters": dict[str, Any],
    "fitted": dict[str, Any],
    "has_backbone": bool,
    "weights_sha256": str,
    "versions": dict[str, str],
}


def parameters_from_json(cls: Any, values: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters of a class; refuse those that it does not have."""
    known = cls._get_param_names()
    unknown = sorted(values.keys() - {*known})
    if unknown:
        raise BrokenFile(f"{cls.__name__} has no parameter {unknown[0]!r:.60}")
    return values


def download(name: str, **options: Any) -> Path:
    """Return the directory of a model on the hub, in the hub's cache."""
    patterns = [CONFIG, WEIGHTS, CARD, f"{BACKBONE}/*"]
    try:
        return Path(snapshot_download(name, allow_patterns=patterns, **options))
    except (HFValidationError, HfHubHTTPError, OSError) as exc:
        raise BrokenFile(
            f"There is no directory {name!r}, and no model of that id in the hub's "
            f"cache, or on the hub, that could be reached ({exc})"
        ) from exc


def read_directory(
    directory: Path, name: str
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return what is in the files of a directory, as far as its form is right."""
    file = _regular_file(directory, CONFIG)
    try:
        if file.stat().st_size > _MOST_CONFIG_BYTES:
            raise BrokenFile(f"{CONFIG} is too large")
        config = json.loads(file.read_text("utf-8"))
    except (ValueError, RecursionError) as exc:
        raise BrokenFile(f"{CONFIG} is no JSON ({exc})") from exc
    if not isinstance(config, dict) or "schema" not in config:
        raise BrokenFile(f"{CONFIG} was not written by save_pretrained of sksemantic")
    config = _upgraded(config)
    check_entries(_ENTRIES, config, CONFIG)
    if config["class"] != name:
        raise BrokenFile(f"it holds a {config['class']:.60}: call that from_pretrained")
    try:
        for part in ("parameters", "fitted"):
            config[part] = from_json(config[part])
            check(dict[str, Any], config[part], part)
        content = _regular_file(directory, WEIGHTS).read_bytes()
        if config["weights_sha256"] != sha256_of(content):
            raise BrokenFile(f"{WEIGHTS} is not the one that {CONFIG} was saved with")
        tensors = load(content)
    except (ValueError, KeyError, TypeError, SafetensorError) as exc:
        raise BrokenFile(str(exc)) from exc
    return config, tensors


def refuse_foreign_files(directory: Path) -> None:
    """Refuse to write over files that `save_pretrained` has not written.

    Raises
    ------
    ValueError
    """
    names = [n for n in (CONFIG, WEIGHTS, BACKBONE) if place_of(directory, n).exists()]
    if not names:
        return
    try:
        config = json.loads(place_of(directory, CONFIG).read_text("utf-8"))
        is_ours = {"schema", "class", "fitted"} <= config.keys()
        if names[-1] == BACKBONE:
            is_ours &= config["has_backbone"] is True
    except (OSError, ValueError, AttributeError, KeyError):
        is_ours = False
    if not is_ours:
        raise ValueError(
            f"{str(directory)!r} holds {', '.join(names)} of something else, which "
            "would be lost: save into another directory, or remove them first."
        )


def read_at_rest(directory: Path, read: Callable[[], Any]) -> Any:
    """Return what `read` returns; try again while another process writes there."""
    for n_left in reversed(range(_ATTEMPTS)):
        before = _state_of(directory)
        try:
            return read()
        except (ValueError, OSError, RuntimeError):
            is_at_rest = _state_of(directory) == before and not is_settling(directory)
            if is_at_rest or not n_left:
                raise
            time.sleep(_SECONDS_BETWEEN)
    raise AssertionError("there are attempts")


def _state_of(directory: Path) -> Any:
    """Return what is another value after each saving into a directory."""
    found = []
    for file in (directory, place_of(directory, CONFIG), place_of(directory, WEIGHTS)):
        try:
            found.append((file.stat().st_ino, file.stat().st_mtime_ns))
        except OSError:
            found.append((0, 0))
    return found


def _upgraded(config: dict[str, Any]) -> dict[str, Any]:
    """Return a config of an earlier schema in the form of the present one."""
    schema = config["schema"]
    if type(schema) is not int or not 1 <= schema <= SCHEMA:
        raise BrokenFile(
            f"{CONFIG} has the schema {schema!r:.60}, and this version reads up to "
            f"{SCHEMA}: install a newer one"
        )
    for former in range(schema, SCHEMA):
        try:
            config = UPGRADES[former](config) | {"schema": former + 1}
        except (KeyError, TypeError, AttributeError) as exc:
            raise BrokenFile(f"{CONFIG} is not of the schema {former} ({exc})") from exc
    return config


def _regular_file(directory: Path, name: str) -> Path:
    """Return where a file is; links out of the directory are not followed."""
    file = place_of(directory, name)
    if not file.exists():
        raise BrokenFile(f"there is no {name}")
    if not is_inside(file, directory):
        raise BrokenFile(
            f"{name} is a link out of the directory, and is not read; put a copy of "
            "the file in its place"
        )
    if not file.is_file():
        raise BrokenFile(f"{name} must be a regular file, and is none")
    return file


def find_backbone(
    saved: BackboneSource, model: str | None, bundled: Path | None
) -> BackboneSource:
    """Return where the backbone is: where it was asked for, bundled, or by its id."""
    if model is not None:
        return resolve(model, saved.revision)
    if bundled is not None:
        name = saved.gguf_file or CONFIG
        is_plain = Path(name).name == name and is_inside(bundled, bundled.parent)
        if not is_plain or not (bundled / name).is_file():
            raise BackboneNotFoundError(
                f"{str(bundled)!r} lacks the file {name!r:.60} of the backbone."
            )
        return replace(saved, location=str(bundled.resolve()))
    if saved.origin in ("directory", "gguf file"):
        raise BackboneNotFoundError(
            f"The estimator was fitted on the backbone {saved.name!r}, a {saved.origin}"
            " which is not saved with it, and a path in a file is not followed. Say "
            f"where it is: from_pretrained(..., model={saved.name!r}), or save it with "
            "the estimator: save_pretrained(..., backbone=True)."
        )
    return resolve_id(saved.name, saved.revision)
