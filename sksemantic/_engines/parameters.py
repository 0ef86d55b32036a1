"""What a `BatchPredictor` is given."""

from pathlib import Path
from typing import Any

from sksemantic._saved import NoModelError, load_estimator

# By method: what the column is called by default.
OUTPUTS = {
    "predict": "prediction",
    "predict_proba": "probabilities",
    "predict_log_proba": "log_probabilities",
    "decision_function": "scores",
    "transform": "embedding",
}


def load(place: "str | Path") -> Any:
    """Load a saved estimator of any class."""
    try:
        return load_estimator(place)
    except NoModelError as exc:
        raise ValueError(
            "The 'estimator' parameter must be where save_pretrained has put an "
            f"estimator. {exc}"
        ) from exc


def check_names(text: Any, method: Any, output: Any) -> None:
    """Refuse names that are none."""
    names = [text] if isinstance(text, str) else text
    is_list = isinstance(names, list | tuple) and len(names) > 0
    if not (is_list and all(isinstance(name, str) for name in names)):
        raise TypeError(
            "The 'text' parameter must be the name of a column, or a list of names. "
            f"Got {text!r} instead."
        )
    if method not in OUTPUTS:
        raise ValueError(
            f"The 'method' parameter must be one of {[*OUTPUTS]}. Got {method!r} "
            "instead."
        )
    if not (output is None or (isinstance(output, str) and output)):
        raise TypeError(
            "The 'output' parameter must be the name of the new column, or None. Got "
            f"{output!r} instead."
        )
