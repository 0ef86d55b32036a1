"""What is in a saved directory, and where its backbone is."""

import json
import os

import numpy as np
import pytest
from conftest import FAST, fill_hub_cache
from huggingface_hub import constants
from safetensors.numpy import save, save_file

from sksemantic import SKTuningClassifier
from sksemantic._backbone.source import BackboneSource
from sksemantic._saving.checks import BrokenFile
from sksemantic._saving.directory import sha256_of
from sksemantic._saving.reading import (
    download,
    find_backbone,
    parameters_from_json,
    read_at_rest,
    read_directory,
)
from sksemantic.exceptions import BackboneNotFoundError

VALUES = {
    "schema": 1,
    "class": "SKTuningClassifier",
    "parameters": {"lr": {"$float": "nan"}},
    "fitted": {},
    "has_backbone": False,
    "weights_sha256": sha256_of(save({"a": np.zeros(2, np.float32)})),
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


def test_directory_when_the_weights_are_of_another_saving_then_refused(folder):
    save_file({"a": np.ones(2, np.float32)}, folder / "model.safetensors")
    with pytest.raises(BrokenFile, match="not the one that config.json was saved with"):
        read_directory(folder, "SKTuningClassifier")


def test_reading_when_another_process_writes_then_is_tried_again(folder):
    n_calls = 0

    def read():
        nonlocal n_calls
        n_calls += 1
        if n_calls < 4:
            write(folder, VALUES | {"n": n_calls})  # meanwhile
            os.utime(folder / "config.json", ns=(n_calls, n_calls))
            raise BrokenFile("half of it")
        return "read"

    assert read_at_rest(folder, read) == "read"
    assert n_calls == 4


def test_reading_when_nobody_writes_then_the_error_is_that_of_the_first(folder):
    errors = []

    def read():
        errors.append(BrokenFile("broken"))
        raise errors[-1]

    with pytest.raises(BrokenFile) as caught:
        read_at_rest(folder, read)
    assert caught.value is errors[0]
    assert len(errors) == 1


FOREIGN = {
    "a backbone": {"config.json": b'{"model_type": "bert"}', "model.safetensors": b""},
    "weights alone": {"model.safetensors": b"x"},
    "a list": {"config.json": b"[]"},
    "no JSON": {"config.json": b"x"},
    "a folder": {"backbone/thesis.txt": b"x"},
}


@pytest.mark.parametrize("name", FOREIGN)
def test_save_when_files_are_of_something_else_then_refused_and_they_stay(
    name, fitted, tmp_path
):
    for path, content in FOREIGN[name].items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(content)
    with pytest.raises(ValueError, match="of something else.*another directory"):
        fitted.save_pretrained(tmp_path, backbone=True)
    for path, content in FOREIGN[name].items():
        assert (tmp_path / path).read_bytes() == content


def test_save_when_a_backbone_was_beside_it_then_it_goes_with_the_old_one(
    fitted, tmp_path
):
    fitted.save_pretrained(tmp_path, backbone=True)
    (tmp_path / "notes.txt").write_text("mine")
    fitted.save_pretrained(tmp_path, backbone=True)
    fitted.save_pretrained(tmp_path)
    names = {file.name for file in tmp_path.iterdir()}
    assert names == {"README.md", "config.json", "model.safetensors", "notes.txt"}


@pytest.mark.parametrize("name", ["nix", "./nix", "no/such/place", ""])
def test_from_pretrained_when_there_is_no_such_directory_then_says_so(
    name, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="no directory|holds no SKTuningClassifier"):
        SKTuningClassifier.from_pretrained(name)
