"""Estimators that earlier versions have saved load, and predict what they predicted."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import FAST, TEXTS

from sksemantic import SKTuningClassifier, SKTuningRegressor, SKTuningTokenClassifier
from sksemantic._saving import pretrained, reading

EXAMPLES = sorted(Path(__file__).parent.glob("frozen/schema_*/*"))
KINDS = {
    "classes": SKTuningClassifier,
    "dates": SKTuningClassifier,
    "numbers": SKTuningRegressor,
    "words": SKTuningTokenClassifier,
}


def name_of(folder):
    return "/".join(folder.parts[-2:])


def assert_predicts_as_written(estimator, folder):
    expected = json.loads((folder / "predictions.json").read_text("utf-8"))
    if folder.name == "words":
        found = estimator.predict_proba([text.split() for text in TEXTS])
    elif folder.name == "numbers":
        found = estimator.predict(TEXTS)
    else:
        found = estimator.predict_proba(TEXTS)
    for row, of_then in zip(found, expected, strict=True):
        np.testing.assert_allclose(row, of_then, rtol=1e-4, atol=1e-5)


def test_examples_when_counted_then_there_are_some_of_every_schema():
    schemas = {folder.parent.name for folder in EXAMPLES}
    assert schemas == {f"schema_{n}" for n in range(1, reading.SCHEMA + 1)}


@pytest.mark.parametrize("folder", EXAMPLES, ids=name_of)
def test_example_when_loaded_then_predicts_as_when_it_was_saved(folder):
    loaded = KINDS[folder.name].from_pretrained(folder)
    assert_predicts_as_written(loaded, folder)
    assert loaded.random_state == FAST["random_state"]
    assert len(loaded.history_) == FAST["max_epochs"]
    if folder.name == "dates":
        assert {day.isoformat() for day in loaded.classes_} == {
            "2026-01-01",
            "2026-01-02",
        }


@pytest.mark.parametrize("folder", EXAMPLES, ids=name_of)
def test_example_when_the_schema_goes_on_then_still_loads(
    folder, monkeypatch, tmp_path
):
    """The next schema calls an entry by another name, and this one is upgraded."""

    def upgrade(config):
        config = dict(config)
        config["what_was_fitted"] = config.pop("fitted")
        return config

    def back(config):  # the code of the next version would read the new name
        config = dict(config)
        config["fitted"] = config.pop("what_was_fitted")
        return config

    monkeypatch.setattr(reading, "SCHEMA", reading.SCHEMA + 2)
    monkeypatch.setattr(pretrained, "SCHEMA", reading.SCHEMA)
    last = reading.SCHEMA
    upgrades = {last - 2: upgrade, last - 1: back}
    monkeypatch.setattr(reading, "UPGRADES", reading.UPGRADES | upgrades)
    kind = KINDS[folder.name]
    loaded = kind.from_pretrained(folder)
    assert_predicts_as_written(loaded, folder)
    # Saved again it is of the new schema, which reads as well.
    loaded.save_pretrained(tmp_path, backbone=True)
    config = json.loads((tmp_path / "config.json").read_text("utf-8"))
    assert config["schema"] == last
    assert_predicts_as_written(kind.from_pretrained(tmp_path), folder)


@pytest.mark.parametrize("schema", [0, -1, 10**9, "1", None, True, 1.0])
def test_schema_when_unknown_then_error_says_which(schema, tmp_path):
    shutil.copytree(EXAMPLES[0], tmp_path, dirs_exist_ok=True)
    file = tmp_path / "config.json"
    config = json.loads(file.read_text("utf-8")) | {"schema": schema}
    file.write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(ValueError, match=f"has the schema {schema!r}.*install a newer"):
        SKTuningClassifier.from_pretrained(tmp_path)
