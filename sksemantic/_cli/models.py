"""Saved estimators, and the columns that they were fitted to."""

import json
import os
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import sksemantic
from sksemantic._cli.errors import UsageError, WorkError
from sksemantic._cli.options import Loading
from sksemantic._cli.writing import check_can_write
from sksemantic._saved import NoModelError, class_and_digest, find_directory
from sksemantic._saving.directory import place_of, replace_files
from sksemantic._saving.reading import refuse_foreign_files
from sksemantic.exceptions import BackboneNotFoundError

# Beside what save_pretrained writes; from_pretrained does not look at other files.
COLUMNS = "columns.json"
_CLASSES = ("SKTuningClassifier", "SKTuningRegressor")


@dataclass(frozen=True)
class FittedColumns:
    """What the columns of the training file were called.

    Attributes
    ----------
    text : list of str
        Empty if it is not known.
    target : str or None
    """

    text: list[str]
    target: str | None


def check_directory_is_free(path: str, *, force: bool) -> None:
    """Refuse to save where something else is.

    Raises
    ------
    UsageError
    """
    directory = Path(path)
    if directory.exists() and not directory.is_dir():
        raise UsageError(f"{path!r} is a file, and must be a directory.")
    if directory.is_dir() and any(directory.iterdir()):
        try:
            class_and_digest(directory)
        except NoModelError as exc:
            raise UsageError(
                f"{path!r} holds something else than a model. Name another directory, "
                "or empty it."
            ) from exc
        if not force:
            raise UsageError(f"{path!r} is there already. --force replaces it.")
        try:
            refuse_foreign_files(directory)
        except ValueError as exc:
            raise UsageError(str(exc)) from exc
    places = (directory, *directory.parents)
    check_can_write(next((each for each in places if each.exists()), Path()))
    if not directory.exists():
        _try_to_make(directory)


def _try_to_make(directory: Path) -> None:
    """Refuse a directory that cannot be made, before anything is computed for it."""
    missing = [each for each in (directory, *directory.parents) if not each.exists()]
    try:
        directory.mkdir(parents=True)
    except OSError as exc:
        raise UsageError(f"{str(directory)!r} cannot be made: {exc}.") from exc
    for each in missing:  # it is made again when the model is saved
        each.rmdir()


def save(
    estimator: Any, path: str, columns: FittedColumns, *, with_backbone: bool
) -> None:
    """Save a fitted estimator, and what the columns were called."""
    directory = Path(path)
    estimator.save_pretrained(directory, backbone=with_backbone)
    values = asdict(columns) | {"weights_sha256": class_and_digest(directory)[1]}
    text = json.dumps(values, indent=1, ensure_ascii=False)
    write = partial(Path.write_text, data=text + "\n", encoding="utf-8")
    replace_files(directory, {COLUMNS: write})


def load(path: str, loading: Loading) -> tuple[Any, FittedColumns]:
    """Load a saved estimator, and what the columns were called.

    Raises
    ------
    UsageError
        If there is nothing of this name.
    WorkError
        If the backbone cannot be found.
    ValueError
        If the files are not as they were written.
    """
    try:
        directory = find_directory(path)
        name, sha256 = class_and_digest(directory)
    except NoModelError as exc:
        raise UsageError(str(exc)) from exc
    if name not in _CLASSES:
        raise WorkError(
            f"{path!r} holds {name}, which the command line does not read. It reads "
            f"{' and '.join(_CLASSES)}."
        )
    try:
        estimator = getattr(sksemantic, name).from_pretrained(
            directory, model=loading.model, device=loading.device
        )
    except BackboneNotFoundError as exc:
        raise WorkError(
            f"{exc} On the command line that is --model, or --with-backbone of fit."
        ) from exc
    estimator.set_params(verbose=0)
    return estimator, _read_columns(directory, sha256)


def text_columns(
    estimator: Any, columns: FittedColumns, loading: Loading, known: list[str]
) -> list[str]:
    """Return which columns hold the texts.

    Raises
    ------
    UsageError
        If nobody knows.
    """
    fitted = [*map(str, getattr(estimator, "feature_names_in_", ()))]
    found = loading.text or columns.text or fitted
    if not found and len(known) == 1:
        return known
    if not found:
        raise UsageError(
            "The model does not know which column has the texts. Name it: --text. The "
            f"columns are {', '.join(map(repr, known))}."
        )
    return list(found)


def _read_columns(directory: Path, sha256: str) -> FittedColumns:
    """Return what the columns were called, if that was written with the weights."""
    try:
        values = json.loads(place_of(directory, COLUMNS).read_text("utf-8"))
        if values["weights_sha256"] != sha256:  # saved again since, from Python
            return FittedColumns([], None)
        text = [name for name in values["text"] if isinstance(name, str)]
        target = values["target"]
        return FittedColumns(text, target if isinstance(target, str) else None)
    except (OSError, ValueError, KeyError, TypeError):
        return FittedColumns([], None)


def size_of(path: str) -> int:
    """Return the bytes of the files in a directory."""
    return sum(
        os.path.getsize(Path(folder) / name)
        for folder, _, names in os.walk(path)
        for name in names
    )
