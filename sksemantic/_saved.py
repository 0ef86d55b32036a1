"""Saved estimators whose class is not known before they are read."""

import json
from pathlib import Path

from sksemantic._base import BaseSKTuning
from sksemantic._classifier import SKTuningClassifier
from sksemantic._regressor import SKTuningRegressor
from sksemantic._saving.directory import place_of
from sksemantic._saving.reading import CONFIG, download
from sksemantic._token_classifier import SKTuningTokenClassifier

_KINDS: dict[str, type[BaseSKTuning]] = {
    "SKTuningClassifier": SKTuningClassifier,
    "SKTuningRegressor": SKTuningRegressor,
    "SKTuningTokenClassifier": SKTuningTokenClassifier,
}


def find_saved(source: "str | Path") -> tuple[type[BaseSKTuning], Path]:
    """Return the class of a saved estimator, and its directory; a hub id is fetched.

    Raises
    ------
    ValueError
        If there is no saved estimator.
    """
    directory = Path(source)
    if not directory.is_dir():
        if directory.is_absolute() or len(directory.parts) != 2:
            raise ValueError(f"There is no directory {str(source)!r} with a model.")
        directory = download(str(source))
    try:
        name = json.loads(place_of(directory, CONFIG).read_text("utf-8"))["class"]
        return _KINDS[name], directory
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise ValueError(
            f"{str(source)!r} is no model that save_pretrained or `sksemantic fit` has "
            f"written: it has no {CONFIG} of one."
        ) from exc
