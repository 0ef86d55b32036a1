"""Beside an estimator goes what its backbone needs, and nothing else."""

import pytest

from sksemantic._backbone.source import resolve
from sksemantic._saving.bundle import copy_backbone


def test_copy_when_of_a_directory_then_leaves_pickles_and_code(own_copy, tmp_path):
    for name in ("pytorch_model.bin", "modeling.py", "README.md"):
        (own_copy / name).write_text("x")
    (own_copy / "sub.json").mkdir()
    copy_backbone(resolve(str(own_copy)), tmp_path / "copy")
    copied = {file.name: file.read_bytes() for file in (tmp_path / "copy").iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= copied.keys()
    assert not copied.keys() & {"pytorch_model.bin", "modeling.py", "sub.json"}
    assert all((own_copy / n).read_bytes() == value for n, value in copied.items())


def test_copy_when_of_a_gguf_file_then_is_that_file_alone(tmp_path):
    for name in ("a.gguf", "b.gguf", "config.json"):
        (tmp_path / name).write_text(name)
    copy_backbone(resolve(str(tmp_path / "a.gguf")), tmp_path / "copy")
    assert [file.name for file in (tmp_path / "copy").iterdir()] == ["a.gguf"]


def test_copy_when_the_target_is_there_then_refused(own_copy, tmp_path):
    (tmp_path / "copy").mkdir()
    with pytest.raises(FileExistsError):
        copy_backbone(resolve(str(own_copy)), tmp_path / "copy")
