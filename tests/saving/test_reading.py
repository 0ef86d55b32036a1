"""What is in a saved directory, and where its backbone is."""

import json
import os

import numpy as np
import pytest
from conftest import FAST, fill_hub_cache
from huggingface_hub import constants
from safetensors.numpy import save_file

from sksemantic import SKTuningClassifier
from sksemantic._backbone.source import BackboneSource
from sksemantic._saving.checks import BrokenFile
from sksemantic._saving.reading import (
    download,
    find_backbone,
    parameters_from_json,
    read_directory,
)
from sksemantic.exceptions import BackboneNotFoundError

VALUES = {
    "schema": 1,
    "class": "SKTuningClassifier",
    "parameters": {"lr": {"$float": "nan"}},
    "fitted": {},
    "has_backbone": False,
    "versions": {"torch": "2"},
}


@pytest.fixture
def folder(tmp_path):
    """Return a directory with the two files that are read."""
    folder = tmp_path / "saved"
    folder.mkdir()
    write(folder, VALUES)
    save_file({"a": np.zeros(2, np.float32)}, folder / "model.safetensors")
    return folder


def write(folder, values):
    (folder / "config.json").write_text(json.dumps(values))


def test_directory_when_right_then_gives_values_and_tensors(folder):
    config, tensors = read_directory(folder, "SKTuningClassifier")
    assert np.isnan(config["parameters"]["lr"])
    assert [*tensors] == ["a"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema": 2}, "has the schema 2.*install a newer one"),
        ({"class": "SKTuningRegressor"}, "holds a SKTuningRegressor"),
        ({"versions": {"torch": 2}}, r"config\.json\.versions must be dict"),
        ({"more": 1}, "has 'more'"),
        ({"parameters": {"x": {"$import": "os"}}}, "unknown type"),
        ({"fitted": {"$tuple": []}}, "fitted must be dict"),
    ],
)
def test_directory_when_a_value_is_another_then_refused(changes, message, folder):
    write(folder, VALUES | changes)
    with pytest.raises(BrokenFile, match=message):
        read_directory(folder, "SKTuningClassifier")


def link(file):
    other = file.parent.parent / "outside"
    file.rename(other)
    file.symlink_to(other)


def pipe(file):
    file.unlink()
    os.mkfifo(file)


def into_folder(file):
    file.unlink()
    file.mkdir()


@pytest.mark.skipif(os.name == "nt", reason="needs links and pipes")
@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (os.unlink, "there is no"),
        (link, "link out of the directory"),
        (pipe, "must be a regular file"),
        (into_folder, "must be a regular file"),
    ],
)
def test_file_when_of_another_kind_then_is_not_read(name, spoil, message, folder):
    spoil(folder / name)
    with pytest.raises(BrokenFile, match=message):
        read_directory(folder, "SKTuningClassifier")


@pytest.mark.skipif(os.name == "nt", reason="needs links")
def test_files_when_the_committed_ones_are_linked_then_are_not_read(folder, tmp_path):
    (tmp_path / "other").mkdir()
    write(tmp_path / "other", VALUES | {"class": "SKTuningRegressor"})
    (folder / ".sksemantic-committed").symlink_to(tmp_path / "other")
    assert read_directory(folder, "SKTuningClassifier")[1]


def test_parameters_when_one_is_unknown_then_refused():
    assert parameters_from_json(SKTuningClassifier, {"lr": 1}) == {"lr": 1}
    with pytest.raises(BrokenFile, match="has no parameter 'pickle'"):
        parameters_from_json(SKTuningClassifier, {"pickle": 1})


def test_backbone_when_asked_for_then_is_that(tiny_bert):
    saved = BackboneSource("of/someone", "hub", "")
    assert find_backbone(saved, tiny_bert, None).location == tiny_bert


def test_backbone_when_bundled_then_is_there(own_copy):
    saved = BackboneSource("of/someone", "hub", "")
    assert find_backbone(saved, None, own_copy).location == str(own_copy)
    (own_copy / "config.json").unlink()
    with pytest.raises(BackboneNotFoundError, match=r"lacks the file 'config\.json'"):
        find_backbone(saved, None, own_copy)


@pytest.mark.skipif(os.name == "nt", reason="needs links")
def test_backbone_when_the_bundle_is_a_link_then_is_not_followed(own_copy, folder):
    (folder / "backbone").symlink_to(own_copy)
    with pytest.raises(BackboneNotFoundError):
        find_backbone(BackboneSource("a/b", "hub", ""), None, folder / "backbone")


@pytest.mark.parametrize("origin", ["directory", "gguf file"])
def test_backbone_when_it_was_a_path_then_is_not_followed(origin, tiny_bert):
    saved = BackboneSource(tiny_bert, origin, "")
    with pytest.raises(BackboneNotFoundError, match="model="):
        find_backbone(saved, None, None)


def test_download_when_in_the_cache_then_is_read_there(
    fitted, tmp_path, monkeypatch, tiny_bert
):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    fitted.save_pretrained(tmp_path / "saved")
    (tmp_path / "cache").mkdir()
    snapshot = fill_hub_cache(tmp_path / "cache", "me/mine", tmp_path / "saved")
    found = download("me/mine", cache_dir=tmp_path / "cache", local_files_only=True)
    assert found == snapshot
    loaded = SKTuningClassifier.from_pretrained(found, model=tiny_bert)
    assert loaded.max_epochs == FAST["max_epochs"]
