"""Only regular files of a backbone's own directory are opened."""

import json
import os

import pytest
from conftest import fill_hub_cache
from huggingface_hub import constants

from sksemantic._backbone.files import (
    RefusedFiles,
    check_files,
    is_plain,
    read_json,
)
from sksemantic._backbone.source import is_inside, resolve
from sksemantic._backbone.weight_files import check_weight_files
from sksemantic.exceptions import BackboneNotFoundError

pytestmark = pytest.mark.skipif(os.name == "nt", reason="needs links and pipes")


def put_link(file):
    outside = file.parent.parent / "outside"
    outside.write_text("{}")
    file.unlink()
    file.symlink_to(outside)


def put_loop(file):
    file.unlink()
    file.symlink_to(file.name)


def put_device(file):
    file.unlink()
    file.symlink_to("/dev/zero")


def put_pipe(file):
    file.unlink()
    os.mkfifo(file)


def put_folder(file):
    file.unlink()
    file.mkdir()


def make_huge(file):
    with file.open("ab") as opened:
        opened.truncate(1 << 30)  # zeros, which take no room on the disk


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json"])
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (put_link, "is a link to .*outside the directory"),
        (put_loop, "must be a regular file"),
        (put_device, "is a link to .*outside the directory"),
        (put_pipe, "must be a regular file"),
        (put_folder, "must be a regular file"),
        (make_huge, "must have at most 128 MiB, and has 1,024"),
    ],
)
def test_file_when_of_another_kind_then_refused(name, spoil, message, own_copy):
    check_files(own_copy)
    spoil(own_copy / name)
    with pytest.raises(RefusedFiles, match=f"{name} {message}"):
        check_files(own_copy)


def test_templates_when_they_are_linked_then_refused(own_copy, tmp_path):
    (tmp_path / "outside").mkdir()
    (own_copy / "additional_chat_templates").symlink_to(tmp_path / "outside")
    with pytest.raises(RefusedFiles, match="additional_chat_templates is a link"):
        check_files(own_copy)


def test_link_when_inside_the_directory_then_passes(own_copy):
    (own_copy / "tokenizer.json").rename(own_copy / "real.json")
    (own_copy / "tokenizer.json").symlink_to("real.json")
    check_files(own_copy)


def test_link_when_of_the_hub_cache_then_passes(tiny_bert, tmp_path):
    snapshot = fill_hub_cache(tmp_path, "some/model", tiny_bert)
    blobs = snapshot.parents[1] / "blobs"
    blobs.mkdir()
    for file in snapshot.iterdir():
        file.rename(blobs / file.name)
        file.symlink_to(f"../../blobs/{file.name}")
    check_files(snapshot)
    assert is_inside(snapshot / "config.json", snapshot)
    assert not is_inside(snapshot / "config.json", blobs.parent / "refs")


def test_link_when_it_leads_into_the_hub_cache_then_passes(
    own_copy, tmp_path, monkeypatch
):
    file, blob = own_copy / "tokenizer.json", tmp_path / "cache" / "blob"
    blob.parent.mkdir()
    file.rename(blob)
    file.symlink_to(blob)
    with pytest.raises(RefusedFiles, match="outside the directory"):
        check_files(own_copy)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(blob.parent))
    check_files(own_copy)


def test_gguf_file_when_others_are_beside_it_then_they_do_not_matter(tmp_path):
    (tmp_path / "model.gguf").touch()
    (tmp_path / "other.gguf").symlink_to("/dev/zero")
    check_files(tmp_path, "model.gguf")
    with pytest.raises(RefusedFiles, match="other.gguf is a link"):
        check_files(tmp_path, "other.gguf")


def test_gguf_file_when_it_is_linked_from_a_directory_then_is_not_found(tmp_path):
    (tmp_path / "secret.gguf").touch()
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "model.gguf").symlink_to("../secret.gguf")
    with pytest.raises(BackboneNotFoundError, match="is a link out of it"):
        resolve(str(folder))
    # Who names a link follows it.
    assert resolve(str(folder / "model.gguf")).gguf_file == "secret.gguf"


@pytest.mark.parametrize(
    "entry",
    [
        {"tokenizer_object": "x"},
        {"gguf_file": "../model.gguf"},
        {"init_inputs": ["/etc/passwd"]},
        {"vocab_file": "/dev/zero"},
        {"vocab_file": "../outside"},
        {"merges": "/dev/zero"},
        {"fast_tokenizer_files": ["tokenizer.json", "../outside"]},
    ],
)
def test_tokenizer_config_when_it_names_files_then_refused(entry, own_copy, tmp_path):
    (tmp_path / "outside").touch()
    file = own_copy / "tokenizer_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | entry))
    with pytest.raises(RefusedFiles, match=f"tokenizer_config.json has {[*entry][0]}"):
        check_files(own_copy)


@pytest.mark.parametrize(
    "entry",
    [
        {"vocab_file": "vocab.txt"},
        {"vocab_file": None},
        {"vocab_file": "/home/of/someone/else/vocab.txt"},
        {"special_tokens_map_file": "/dev/zero"},
        {"init_inputs": []},
        {"merges_file": "a\0b/c"},
    ],
)
def test_tokenizer_config_when_nothing_would_be_opened_then_passes(entry, own_copy):
    file = own_copy / "tokenizer_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | entry))
    check_files(own_copy)


@pytest.mark.parametrize(
    "name",
    [
        "added_tokens.json",
        "generation_config.json",
        "special_tokens_map.json",
        "tokenizer_config.json",
    ],
)
@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b"[" * 100_000])
def test_json_when_it_is_no_object_then_refused(name, content, own_copy):
    (own_copy / name).write_bytes(content)
    with pytest.raises(RefusedFiles, match=name):
        check_files(own_copy)
    with pytest.raises(RefusedFiles, match=name):
        read_json(own_copy / name)


def test_charsmap_when_it_says_to_be_longer_then_refused(own_copy):
    file = own_copy / "tokenizer.json"
    file.write_text('{"normalizer": {"precompiled_charsmap": "AQAAAAA="}}')
    check_files(own_copy)  # four bytes for the length, which is one
    file.write_text('{"normalizer": {"precompiled_charsmap" : "/////wA="}}')
    with pytest.raises(RefusedFiles, match="of 5 bytes that says to have 4294967299"):
        check_files(own_copy)
    file.write_text('{"precompiled_charsmap": "no base64"}')
    check_files(own_copy)


def test_error_when_files_are_refused_then_it_names_model_and_file(own_copy):
    put_pipe(own_copy / "tokenizer.json")
    source = resolve(str(own_copy))
    with pytest.raises(ValueError, match=r"(?s)model='.*bert'.*tokenizer\.json"):
        check_weight_files(source)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.x", True), ("../a.x", False), ("b\\a.x", False), ("a.y", False), (3, False)],
)
def test_name_when_it_is_that_of_a_file_then_is_plain(name, expected):
    assert is_plain(name, ".x") == expected
