"""Write the examples of the present schema that later versions have to read.

Run it once for a new schema, in the version that introduces it, and never again:

    PYTHONPATH=tests python tests/saving/make_frozen.py

Each folder holds a fitted estimator with a tiny backbone, and its predictions.
"""

import datetime
import json
import sys
from contextlib import chdir
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from conftest import FAST, LABELS, TEXTS, quietly_fit, save_tiny

from sksemantic import SKTuningClassifier, SKTuningRegressor, SKTuningTokenClassifier
from sksemantic._saving.reading import SCHEMA

FOLDER = Path(__file__).resolve().parent / "frozen"
WORDS = [text.split() for text in TEXTS]
DAYS = [datetime.date(2026, 1, 1 + (label == "good")) for label in LABELS]
NUMBERS = np.where(np.array(LABELS) == "good", 5.0, 1.0)
TAGS = [["long" if len(word) > 4 else "short" for word in words] for words in WORDS]
EXAMPLES = {
    "classes": (SKTuningClassifier, {"class_weight": {"good": 2, "bad": 1}}, LABELS),
    "dates": (SKTuningClassifier, {"method": "prompt"}, np.array(DAYS, dtype=object)),
    "numbers": (SKTuningRegressor, {"loss": "huber", "adapter": "embedding"}, NUMBERS),
    "words": (SKTuningTokenClassifier, {}, TAGS),
}


def predictions(estimator):
    """Return what an estimator says of the texts, as JSON has it."""
    X = WORDS if isinstance(estimator, SKTuningTokenClassifier) else TEXTS
    if isinstance(estimator, SKTuningRegressor):
        return estimator.predict(X).tolist()
    return [np.asarray(rows).tolist() for rows in estimator.predict_proba(X)]


def main():
    for name, (kind, changes, y) in EXAMPLES.items():
        target = FOLDER / f"schema_{SCHEMA}" / name
        if target.exists():
            sys.exit(f"{target} is there: an example is never written again.")
        params = FAST | changes
        with TemporaryDirectory() as folder, chdir(folder):
            save_tiny("bert", "tiny_bert")
            X = WORDS if kind is SKTuningTokenClassifier else TEXTS
            estimator = quietly_fit(kind(model="tiny_bert", **params), X, y)
            estimator.save_pretrained(target, backbone=True)
            expected = json.dumps(predictions(estimator))
        (target / "predictions.json").write_text(expected, encoding="utf-8")


if __name__ == "__main__":
    main()
