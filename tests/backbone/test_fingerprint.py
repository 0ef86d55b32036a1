"""The same numbers have the same fingerprint, wherever they are."""

import hashlib
import json
import os

import pytest
import torch
from safetensors.torch import load_file, save_file

from sksemantic._backbone.fingerprint import fingerprint
from sksemantic._backbone.source import resolve
from sksemantic.exceptions import UnsupportedBackboneError


def of(folder):
    return fingerprint(resolve(str(folder)))


def rewrite(folder, change):
    """Write the weights again after a change of their dictionary."""
    file = folder / "model.safetensors"
    weights = load_file(file)
    change(weights)
    save_file(weights, file, {"format": "pt"})
    later = file.stat().st_mtime_ns + 10**9
    os.utime(file, ns=(later, later))


def test_fingerprint_when_other_files_change_then_is_the_same(own_copy, tiny_bert):
    assert of(own_copy) == of(tiny_bert)
    config = own_copy / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"x": 1}))
    rewrite(own_copy, lambda weights: None)
    assert of(own_copy) == of(tiny_bert)
    assert len(of(own_copy)) == 64


def test_fingerprint_when_weights_are_spread_over_files_then_is_the_same(
    own_copy, tiny_bert
):
    weights = load_file(own_copy / "model.safetensors")
    names = sorted(weights)
    (own_copy / "model.safetensors").unlink()
    save_file({n: weights[n] for n in names[1::2]}, own_copy / "a.safetensors")
    save_file({n: weights[n] for n in names[::2]}, own_copy / "b.safetensors")
    assert of(own_copy) == of(tiny_bert)


def flip_a_sign(weights):
    weights["embeddings.LayerNorm.bias"][0] = -0.0


def rename(weights):
    weights["other"] = weights.pop("embeddings.LayerNorm.bias")


def reshape(weights):
    name = "embeddings.word_embeddings.weight"
    weights[name] = weights[name].T.reshape(weights[name].shape[::-1]).contiguous()


def change_dtype(weights):
    name = "embeddings.LayerNorm.bias"
    weights[name] = weights[name].to(torch.float64)


@pytest.mark.parametrize("change", [flip_a_sign, rename, reshape, change_dtype])
def test_fingerprint_when_anything_of_a_tensor_changes_then_is_another(
    change, own_copy, tiny_bert
):
    rewrite(own_copy, change)
    assert of(own_copy) != of(tiny_bert)


def test_fingerprint_when_of_a_gguf_file_then_is_that_of_its_bytes(tmp_path):
    content = b"GGUF\x03\0\0\0" + bytes(16)
    (tmp_path / "model.gguf").write_bytes(content)
    assert of(tmp_path) == hashlib.sha256(content).hexdigest()


def test_fingerprint_when_a_tensor_is_broken_then_refused(own_copy):
    file = own_copy / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(UnsupportedBackboneError, match="cannot be read"):
        of(own_copy)


def test_fingerprint_when_the_weights_are_a_device_then_refused(own_copy):
    (own_copy / "model.safetensors").unlink()
    os.symlink("/dev/zero", own_copy / "model.safetensors")
    with pytest.raises(UnsupportedBackboneError, match="outside the directory"):
        of(own_copy)
