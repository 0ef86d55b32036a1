"""Estimators in directories: what is written is what is read, or is refused."""

import enum
import json
import os
import shutil
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import FAST, LABELS, TEXTS, quietly_fit
from safetensors.numpy import load_file, save_file
from sklearn.exceptions import NotFittedError

from sksemantic import (
    BackboneMismatchError,
    BackboneNotFoundError,
    SKTuningClassifier,
    SKTuningRegressor,
    SKTuningTokenClassifier,
)
from sksemantic._saving import pretrained, reading

NUMBERS = np.where(np.array(LABELS) == "good", 5.0, 1.0)
WORDS = [text.split() for text in TEXTS]
TAGS = [["long" if len(word) > 4 else "short" for word in words] for words in WORDS]
INDICATORS = np.stack([NUMBERS > 2, np.arange(len(NUMBERS)) % 2 > 0], axis=1).astype(
    int
)
KINDS = {
    "classes": (SKTuningClassifier, {}, LABELS),
    "int classes": (SKTuningClassifier, {"class_weight": {0: 1, 1: 2}}, NUMBERS > 2),
    "ordered": (SKTuningClassifier, {"ordinal": ["bad", "good"]}, LABELS),
    "labels": (SKTuningClassifier, {"threshold": [0.4, 0.6]}, INDICATORS),
    "label texts": (
        SKTuningClassifier,
        {"label_texts": {"good": "great", "bad": ["awful", "dull"]}},
        LABELS,
    ),
    "label texts of labels": (SKTuningClassifier, {"label_texts": "labels"}, LABELS),
    "numbers": (SKTuningRegressor, {"loss": "huber"}, NUMBERS),
    "several numbers": (SKTuningRegressor, {}, np.stack([NUMBERS, -NUMBERS], axis=1)),
    "words": (SKTuningTokenClassifier, {"class_weight": "balanced"}, TAGS),
    "contrast first": (
        SKTuningClassifier,
        {"training": {"objective": "contrast"}},
        LABELS,
    ),
    "embedding": (SKTuningClassifier, {"adapter": "embedding"}, LABELS),
    "soft prompt": (SKTuningClassifier, {"method": "prompt"}, LABELS),
}


def fit(kind, model):
    estimator, params, y = KINDS[kind]
    X = WORDS if kind == "words" else TEXTS
    return quietly_fit(estimator(model=model, **FAST | params), X, y), X


def load(estimator, folder, **options):
    return type(estimator).from_pretrained(folder, model=estimator.model, **options)


def outputs(estimator, X):
    """Return what an estimator says of texts, flat."""
    name = "predict_proba" if hasattr(estimator, "predict_proba") else "predict"
    return np.concatenate([np.ravel(rows) for rows in getattr(estimator, name)(X)])


@pytest.fixture
def saved(fitted, tmp_path):
    """Return a directory with a saved classifier; its files may be changed."""
    fitted.save_pretrained(tmp_path / "saved")
    return tmp_path / "saved"


@pytest.mark.parametrize("kind", KINDS)
def test_estimator_when_saved_and_loaded_then_is_equal(kind, tiny_bert, tmp_path):
    estimator, X = fit(kind, tiny_bert)
    estimator.save_pretrained(tmp_path)
    loaded = load(estimator, tmp_path)
    np.testing.assert_array_equal(outputs(loaded, X), outputs(estimator, X))
    before, after = estimator.get_params(), loaded.get_params()
    assert repr(after) == repr(before)
    assert repr(loaded.config_.training) == repr(estimator.config_.training)
    assert loaded.history_ == estimator.history_
    assert loaded.comparison_ == estimator.comparison_
    assert loaded.timing_ == estimator.timing_
    if hasattr(estimator, "classes_"):
        assert loaded.classes_.tolist() == estimator.classes_.tolist()
        assert loaded.classes_.dtype == estimator.classes_.dtype
        assert loaded.temperature_ == estimator.temperature_


def test_estimator_when_loaded_then_trains_on(fitted, saved):
    loaded = load(fitted, saved)
    loaded.partial_fit(TEXTS, LABELS)
    assert len(loaded.history_) == len(fitted.history_) + 1


def test_partial_fit_when_loaded_then_goes_on_as_without(tiny_bert, tmp_path):
    def start():
        clf = SKTuningClassifier(model=tiny_bert, **FAST)
        return clf.partial_fit(TEXTS, LABELS, classes=["bad", "good"])

    start().save_pretrained(tmp_path)
    loaded = load(start(), tmp_path).partial_fit(TEXTS, LABELS)
    expected = start().partial_fit(TEXTS, LABELS)
    np.testing.assert_array_equal(outputs(loaded, TEXTS), outputs(expected, TEXTS))


def test_files_when_saved_then_are_those_of_the_hub_and_name_no_path(saved, tiny_bert):
    assert sorted(os.listdir(saved)) == [
        "README.md",
        "config.json",
        "model.safetensors",
    ]
    config = json.loads((saved / "config.json").read_text("utf-8"))
    assert config["schema"] == 1
    assert config["class"] == "SKTuningClassifier"
    assert "location" not in config["fitted"]["model"]["backbone"]["source"]
    assert len(config["fitted"]["fingerprint"]) == 64
    assert {"sksemantic", "torch", "transformers"} <= config["versions"].keys()
    card = (saved / "README.md").read_text("utf-8")
    for part in ("library_name: sksemantic", "`bad`, `good`", FAST["prompt"], "| 24 |"):
        assert part in card


def test_card_when_someone_wrote_one_then_it_stays(fitted, saved):
    (saved / "README.md").write_text("# Mine")
    fitted.save_pretrained(saved)
    assert (saved / "README.md").read_text() == "# Mine"


def test_save_when_not_fitted_then_says_so(classifier, tmp_path):
    with pytest.raises(NotFittedError):
        classifier.save_pretrained(tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_save_when_a_parameter_cannot_be_saved_then_warns(
    fast, texts, labels, tmp_path
):
    rng = np.random.RandomState(0)
    clf = SKTuningClassifier(**fast | {"random_state": rng}).fit(texts, labels)
    with pytest.warns(UserWarning, match="random_state are not saved"):
        clf.save_pretrained(tmp_path)
    assert load(clf, tmp_path).random_state is None


# The backbone


def test_load_when_the_backbone_was_a_directory_then_asks_where_it_is(saved, tiny_bert):
    with pytest.raises(BackboneNotFoundError, match="from_pretrained.*model="):
        SKTuningClassifier.from_pretrained(saved)


def test_load_when_backbone_is_bundled_then_needs_no_other(tiny_bert, tmp_path):
    own = shutil.copytree(tiny_bert, tmp_path / "bert")
    clf, X = fit("classes", str(own))
    expected = outputs(clf, X)
    clf.save_pretrained(tmp_path / "saved", backbone=True)
    shutil.rmtree(own)
    moved = shutil.move(tmp_path / "saved", tmp_path / "moved")
    loaded = SKTuningClassifier.from_pretrained(moved)
    np.testing.assert_array_equal(outputs(loaded, X), expected)
    assert not [*(tmp_path / "moved" / "backbone").glob("*.bin")]
    loaded.save_pretrained(tmp_path / "again", backbone=True)  # of a bundled one
    again = SKTuningClassifier.from_pretrained(tmp_path / "again")
    np.testing.assert_array_equal(outputs(again, X), expected)


@pytest.fixture
def other_weights(tiny_bert, tmp_path):
    """Return the directory of a backbone with one other number."""
    folder = shutil.copytree(tiny_bert, tmp_path / "other")
    weights = load_file(folder / "model.safetensors")
    weights["embeddings.word_embeddings.weight"][5, 5] += 1
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return str(folder)


def test_load_when_backbone_has_other_weights_then_refused(saved, other_weights):
    with pytest.raises(BackboneMismatchError, match="other weights .* SHA-256"):
        SKTuningClassifier.from_pretrained(saved, model=other_weights)
    loaded = SKTuningClassifier.from_pretrained(
        saved, model=other_weights, verify_backbone=False
    )
    assert loaded.predict(TEXTS).shape == (24,)


def test_load_when_weights_are_in_other_files_then_are_the_same(
    fitted, saved, tiny_bert, tmp_path
):
    folder = shutil.copytree(tiny_bert, tmp_path / "spread")
    weights = load_file(folder / "model.safetensors")
    names = sorted(weights)
    parts = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for file, own in parts.items():
        save_file({n: weights[n] for n in own}, folder / file, {"format": "pt"})
    (folder / "model.safetensors").unlink()
    index = {"weight_map": {n: file for file, own in parts.items() for n in own}}
    index_file = folder / "model.safetensors.index.json"
    index_file.write_text(json.dumps({"metadata": {}} | index))
    loaded = SKTuningClassifier.from_pretrained(saved, model=str(folder))
    np.testing.assert_array_equal(outputs(loaded, TEXTS), outputs(fitted, TEXTS))


def test_load_when_bundled_file_has_a_path_then_it_is_not_followed(saved, tmp_path):
    change(saved, lambda config: config.update(has_backbone=True))
    for name in ("../secret.gguf", "/etc/passwd", ""):

        def point(config, name=name):
            config["fitted"]["model"]["backbone"]["source"]["gguf_file"] = name

        change(saved, point)
        with pytest.raises(BackboneNotFoundError):
            SKTuningClassifier.from_pretrained(saved)


# Broken and hostile files


def change(folder, edit):
    file = folder / "config.json"
    config = json.loads(file.read_text("utf-8"))
    edit(config)
    file.write_text(json.dumps(config), "utf-8")


def in_fitted(*path, value):
    """Return an edit of the fitted values; None as value removes the entry."""

    def edit(config):
        found = config["fitted"]
        for name in path[:-1]:
            found = found[name]
        if value is None:
            del found[path[-1]]
        else:
            found[path[-1]] = value

    return edit


EDITS = {
    "schema of the future": lambda c: c.update(schema=2),
    "schema that is none": lambda c: c.update(schema="1"),
    "no schema": lambda c: c.pop("schema"),
    "another class": lambda c: c.update({"class": "SKTuningRegressor"}),
    "a class to import": lambda c: c.update({"class": "os.system"}),
    "an unknown parameter": lambda c: c["parameters"].update(pickle="x"),
    "a parameter of another type": lambda c: c["parameters"].update(lr="fast"),
    "a nested one that is unknown": lambda c: c["parameters"].update(training={"x": 1}),
    "parameters that are none": lambda c: c.update(parameters={"$float": "nan"}),
    "an unknown entry": lambda c: c["fitted"].update(code="x"),
    "a missing entry": in_fitted("task", value=None),
    "a task that is none": in_fitted("task", "name", value="Exec"),
    "labels that are none": in_fitted("task", "values", "classes", value=[]),
    "label of a file": in_fitted("task", "values", "classes", value={"$file": "/etc"}),
    "too few labels": in_fitted(
        "task",
        "values",
        "classes",
        value={"$array": {"dtype": "<U1", "shape": [1], "values": ["a"]}},
    ),
    "a rank without end": in_fitted("model", "adapter_rank", value=10**9),
    "a rank of another type": in_fitted("model", "adapter_rank", value="8"),
    "text rank without end": in_fitted("model", "text_rank", value=10**9),
    "no outputs": in_fitted("model", "n_outputs", value=0),
    "more outputs": in_fitted("model", "n_outputs", value=3),
    "other layers": in_fitted("model", "tuned_layers", value=[0, 10**9]),
    "a dtype that is none": in_fitted("model", "backbone", "dtype", value="nn"),
    "remote code": in_fitted("model", "backbone", "trust_remote_code", value=True),
    "a location": in_fitted("model", "backbone", "source", "location", value=3),
    "no prompt": in_fitted("model", "prompt", value=None),
    "a temperature of nothing": in_fitted("temperature", value=0),
    "a history that is none": in_fitted("history", value=[1]),
    "a training that is none": in_fitted("training", "lr", value="fast"),
    "a probe that is none": in_fitted("linear_probe", value=3),
    "columns that are none": in_fitted("columns", value={"n_features_in_": "1"}),
}


@pytest.mark.parametrize("name", EDITS)
def test_load_when_config_is_not_as_written_then_refused(name, fitted, saved):
    change(saved, EDITS[name])
    with pytest.raises(ValueError, match="holds no SKTuningClassifier"):
        load(fitted, saved)


def put(name, value):
    def edit(folder):
        tensors = load_file(folder / "model.safetensors")
        if value is None:
            del tensors[name]
        else:
            tensors[name] = value
        save_file(tensors, folder / "model.safetensors")

    return edit


def cut(name, n_bytes):
    return lambda folder: os.truncate(folder / name, n_bytes)


FILES = {
    "NaN": put("weights.head.bias", np.array([np.nan, 0], np.float32)),
    "another dtype": put("weights.head.bias", np.array([0, 0], np.int8)),
    "another shape": put("weights.head.weight", np.zeros((2, 9), np.float32)),
    "no head": put("weights.head.weight", None),
    "an unknown tensor": put("code", np.zeros(1, np.float32)),
    "an unknown weight": put("weights.more", np.zeros(1, np.float32)),
    "no spread": put("weights.feature_scale", np.zeros(32, np.float32)),
    "half of the weights": cut("model.safetensors", 200),
    "no weights": lambda folder: (folder / "model.safetensors").unlink(),
    "half of the config": cut("config.json", 200),
    "no config": lambda folder: (folder / "config.json").unlink(),
    "a list": lambda folder: (folder / "config.json").write_text("[]"),
    "brackets": lambda folder: (folder / "config.json").write_text("[" * 100_000),
    "bytes": lambda folder: (folder / "config.json").write_bytes(b"\xff\xfe\x00"),
    "a pickle": lambda folder: (folder / "model.safetensors").write_bytes(
        b"\x80\x04K."
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_load_when_a_file_is_broken_then_refused(name, fitted, saved):
    FILES[name](saved)
    with pytest.raises(ValueError, match="."):
        load(fitted, saved).predict(TEXTS)


def test_load_when_directory_is_empty_then_says_what_is_missing(tmp_path):
    with pytest.raises(ValueError, match=r"there is no config\.json"):
        SKTuningClassifier.from_pretrained(tmp_path)


def test_load_when_a_save_was_stopped_then_is_the_new_one(fitted, saved, tiny_bert):
    committed = saved / ".sksemantic-committed"
    clf, X = fit("classes", tiny_bert)
    clf.set_params(max_epochs=1).fit(X, LABELS)
    clf.save_pretrained(saved.parent / "new")
    shutil.copytree(saved.parent / "new", committed)
    loaded = load(fitted, saved)
    assert loaded.max_epochs == 1
    np.testing.assert_array_equal(outputs(loaded, X), outputs(clf, X))


def test_labels_when_of_an_enum_then_are_not_saved(fast, texts, labels, tmp_path):
    mood = enum.Enum("mood", ["good", "bad"])
    y = [mood[label] for label in labels]
    clf = quietly_fit(SKTuningClassifier(**fast), texts, y)
    assert {*clf.predict(texts)} <= {*mood}
    with pytest.raises(ValueError, match="mood"):
        clf.save_pretrained(tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_load_when_warnings_are_errors_then_is_silent(fitted, saved):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load(fitted, saved)


def test_load_when_another_version_saved_it_then_is_silent(fitted, saved):
    change(saved, lambda config: config["versions"].update(sksemantic="0.0.1"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = load(fitted, saved)
    np.testing.assert_array_equal(outputs(loaded, TEXTS), outputs(fitted, TEXTS))


class Hub:
    """What takes the place of the hub's client: it keeps what is uploaded."""

    def __init__(self, folder):
        self.folder = folder
        self.calls = []

    def __call__(self, token=None):
        self.calls.append({"token": token})
        return self

    def create_repo(self, repo_id, **options):
        self.calls.append({"repo_id": repo_id, **options})
        return SimpleNamespace(repo_id=f"someone/{repo_id}")

    def upload_folder(self, *, folder_path, **options):
        self.calls.append(options)
        shutil.copytree(folder_path, self.folder)
        return "https://hub/someone/sentiment/commit/1"


def test_push_to_hub_when_called_then_uploads_what_is_saved(
    fitted, tmp_path, monkeypatch
):
    hub = Hub(tmp_path / "repo")
    monkeypatch.setattr(pretrained, "HfApi", hub)
    address = fitted.push_to_hub("sentiment", private=True, token="secret")
    assert address == "https://hub/someone/sentiment/commit/1"
    credentials, created, uploaded = hub.calls
    assert credentials == {"token": "secret"}
    assert created == {"repo_id": "sentiment", "private": True, "exist_ok": True}
    assert uploaded["repo_id"] == "someone/sentiment"
    loaded = load(fitted, tmp_path / "repo")
    np.testing.assert_array_equal(outputs(loaded, TEXTS), outputs(fitted, TEXTS))


def test_from_pretrained_when_an_id_then_is_read_from_the_hubs_cache(
    fitted, tmp_path, monkeypatch
):
    asked = []

    def snapshot_download(name, **options):
        asked.append((name, options))
        fitted.save_pretrained(tmp_path / "snapshot")
        return str(tmp_path / "snapshot")

    monkeypatch.setattr(reading, "snapshot_download", snapshot_download)
    loaded = load(fitted, "someone/sentiment", revision="v1", local_files_only=True)
    np.testing.assert_array_equal(outputs(loaded, TEXTS), outputs(fitted, TEXTS))
    ((name, options),) = asked
    assert (name, options["revision"]) == ("someone/sentiment", "v1")
    assert options["local_files_only"] is True
    assert not any(p.endswith((".bin", ".pkl")) for p in options["allow_patterns"])
