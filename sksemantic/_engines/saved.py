"""Saved estimators whose class is not known before they are read."""

import json
from pathlib import Path
from typing import Any

from sksemantic._classifier import SKTuningClassifier
from sksemantic._regressor import SKTuningRegressor
from sksemantic._saving.directory import place_of
from sksemantic._saving.reading import CONFIG, download
from sksemantic._token_classifier import SKTuningTokenClassifier

_KINDS = (SKTuningClassifier, SKTuningRegressor, SKTuningTokenClassifier)


def load_estimator(place: "str | Path") -> Any:
    """Load an estimator from a directory, or the hub, of whatever class it is.

    Raises
    ------
    ValueError
        If there is none.
    """
    directory = Path(place)
    if not directory.is_dir():
        directory = download(str(place))
    kinds = {kind.__name__: kind for kind in _KINDS}
    try:
        config = json.loads(place_of(directory, CONFIG).read_text("utf-8"))
        kind = kinds[config["class"]]
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise ValueError(
            f"The 'estimator' parameter must be where save_pretrained has put an "
            f"estimator. Got {str(place)!r} instead: it has no {CONFIG} of one."
        ) from exc
    return kind.from_pretrained(directory)
