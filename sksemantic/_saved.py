"""Saved estimators whose class is not known before they are read."""

import json
import re
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from sksemantic._saving.directory import place_of
from sksemantic._saving.reading import CONFIG, download

if TYPE_CHECKING:
    from sksemantic._base import BaseSKTuning

# Where the classes are, which take seconds to import.
_MODULES = {
    "SKTuningClassifier": "sksemantic._classifier",
    "SKTuningRegressor": "sksemantic._regressor",
    "SKTuningTokenClassifier": "sksemantic._token_classifier",
}
_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*\Z")


class NoModelError(ValueError):
    """There is no saved estimator where one was looked for."""


def find_saved(source: "str | Path") -> "tuple[type[BaseSKTuning], Path]":
    """Return the class of a saved estimator, and its directory; a hub id is fetched.

    Raises
    ------
    ValueError
        If there is no saved estimator.
    """
    name, directory = check_saved(source)
    return getattr(import_module(_MODULES[name]), name), directory


def check_saved(source: "str | Path") -> tuple[str, Path]:
    """Return the class's name and the directory, without importing the class.

    Raises
    ------
    ValueError
        If there is no saved estimator.
    """
    directory = find_directory(source)
    name, _ = class_and_digest(directory)
    if name not in _MODULES:
        raise _no_model(directory)
    return name, directory


def find_directory(source: "str | Path") -> Path:
    """Return the directory of a saved estimator; a hub id is fetched.

    Raises
    ------
    NoModelError
        If there is no directory, and it is no id.
    ValueError
        If nothing of that id can be fetched.
    """
    directory, name = Path(source), str(source)
    if directory.is_dir():
        return directory
    if directory.exists() or not _HUB_ID.match(name):
        raise NoModelError(f"There is no directory {name!r} with a model.")
    return download(name)


def class_and_digest(directory: Path) -> tuple[str, str]:
    """Return the name of the class that a directory holds, and its weights' digest.

    Raises
    ------
    NoModelError
    """
    try:
        config = json.loads(place_of(directory, CONFIG).read_text("utf-8"))
        return str(config["class"]), str(config["weights_sha256"])
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise _no_model(directory) from exc


def _no_model(directory: Path) -> NoModelError:
    return NoModelError(
        f"{str(directory)!r} is no model that `sksemantic fit` or save_pretrained has "
        f"written: it has no {CONFIG} of one."
    )
