"""Saved estimators whose class is not known before they are read."""

import contextlib
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


def load_estimator(
    source: "str | Path",
    *,
    model: str | None = None,
    device: str | None = None,
) -> "BaseSKTuning":
    """Load a saved estimator of any class.

    Parameters
    ----------
    source : str or Path
        A directory that `save_pretrained` has written, or the id of one on the hub.
    model : str, default=None
        Where the backbone is now, as the estimator's own parameter. Needed where it
        was a directory or a file.
    device : str, default=None
        In place of the saved parameter.

    Returns
    -------
    estimator : SKTuningClassifier, SKTuningRegressor or SKTuningTokenClassifier
        Fitted.

    Raises
    ------
    TypeError
        If `source` is neither.
    ValueError
        If there is no saved estimator, its files are not as they were written, or the
        backbone is another one.
    BackboneNotFoundError
        If the backbone is nowhere.

    See Also
    --------
    SKTuningClassifier.from_pretrained : Where the class is known; it has more options.

    Examples
    --------
    >>> from sksemantic import load_estimator
    >>> clf = load_estimator("sentiment")  # doctest: +SKIP
    """
    name, directory = check_saved(source)
    estimator_class = getattr(import_module(_MODULES[name]), name)
    return estimator_class.from_pretrained(directory, model=model, device=device)


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
    TypeError
    NoModelError
        If there is no directory, and it is no id.
    ValueError
        If nothing of that id can be fetched.
    """
    if not isinstance(source, str | Path):
        raise TypeError(
            "A saved model must be named by its directory, or its id on the hub. Got "
            f"{type(source).__name__} instead."
        )
    directory, name = Path(source), str(source)
    with contextlib.suppress(OSError, ValueError):  # it is no path at all
        if directory.is_dir():
            return directory
    if not _HUB_ID.match(name) or directory.exists():
        raise NoModelError(f"There is no directory {name!r:.200} with a model.")
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
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as exc:
        raise _no_model(directory) from exc


def _no_model(directory: Path) -> NoModelError:
    return NoModelError(
        f"{str(directory)!r} is no model that `sksemantic fit` or save_pretrained has "
        f"written: it has no {CONFIG} of one."
    )
