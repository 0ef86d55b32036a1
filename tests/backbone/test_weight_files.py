"""A backbone's files are checked before anything reads them."""

import json
import os
import pickle

import pytest
import torch
from safetensors.torch import load_file
from transformers import T5Config, T5EncoderModel

from sksemantic import SKTuningClassifier
from sksemantic._backbone.source import resolve
from sksemantic._backbone.weight_files import check_weight_files
from sksemantic.exceptions import UnsupportedBackboneError


def check(folder):
    check_weight_files(resolve(str(folder)))


def edit_config(folder, **changes):
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def write_index(folder, weight_map):
    file = folder / "model.safetensors.index.json"
    file.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


class Bomb:
    """A pickle that makes a file when it is read."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


def test_files_when_as_transformers_saves_them_then_pass(own_copy):
    check(own_copy)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden_size": 10**9}, "hidden_size=1000000000"),
        ({"num_labels": 10**8}, "num_labels"),
        ({"num_hidden_layers": 10**6}, "num_hidden_layers"),
        ({"vocab_size": 10**12}, "vocab_size"),
        ({"intermediate_size": -(10**9)}, "intermediate_size"),
        ({"max_position_embeddings": 10**10}, "max_position_embeddings"),
        ({"text_config": {"hidden_size": 10**9}}, "hidden_size"),
        ({"sizes": [1, {"dim": 10**9}]}, "dim"),
        ({"transformers_weights": "pytorch_model.bin"}, "pickled weights"),
        ({"transformers_weights": "../model.safetensors"}, "outside the directory"),
        ({"attn_implementation": "kernels-community/attn"}, "fetched from the hub"),
        ({"_attn_implementation": "a/b"}, "fetched from the hub"),
    ],
)
def test_config_when_it_asks_for_too_much_then_refused(changes, message, own_copy):
    edit_config(own_copy, **changes)
    with pytest.raises(UnsupportedBackboneError, match=message):
        check(own_copy)


@pytest.mark.parametrize(
    "name",
    [
        "pytorch_model.bin",
        "../model.safetensors",
        "/dev/zero",
        "/etc/passwd",
        "sub/model.safetensors",
        "missing.safetensors",
        3,
        None,
    ],
)
def test_index_when_it_names_another_file_then_refused(name, own_copy):
    write_index(own_copy, {"embeddings.word_embeddings.weight": name})
    with pytest.raises(UnsupportedBackboneError, match="an index names"):
        check(own_copy)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b"[" * 100_000])
def test_config_when_it_is_no_json_object_then_refused(content, own_copy):
    (own_copy / "config.json").write_bytes(content)
    with pytest.raises(UnsupportedBackboneError, match=r"config\.json"):
        check(own_copy)


@pytest.mark.parametrize(
    "start",
    [
        b"",
        b"\x80\x04K\x01.",
        (10**15).to_bytes(8, "little"),
        (2).to_bytes(8, "little") + b"[]",
        (13).to_bytes(8, "little") + b'{"a":{"b":1}}',
        (19).to_bytes(8, "little") + b'{"a":{"shape":"x"}}',
    ],
)
def test_weights_when_their_header_is_broken_then_refused(start, own_copy):
    (own_copy / "model.safetensors").write_bytes(start)
    with pytest.raises(UnsupportedBackboneError, match="model.safetensors has"):
        check(own_copy)


def test_weights_when_they_are_a_device_then_it_is_not_read(own_copy):
    (own_copy / "model.safetensors").unlink()
    os.symlink("/dev/zero", own_copy / "model.safetensors")
    with pytest.raises(UnsupportedBackboneError, match="outside the directory"):
        check(own_copy)


def test_fit_when_an_index_names_a_pickle_then_it_is_not_opened(
    own_copy, fast, texts, labels, tmp_path
):
    weights = load_file(own_copy / "model.safetensors")
    (own_copy / "model.safetensors").unlink()
    opened = tmp_path / "opened"
    with (own_copy / "shard.bin").open("wb") as file:
        pickle.dump(Bomb(str(opened)), file)
    write_index(own_copy, dict.fromkeys(weights, "shard.bin"))
    clf = SKTuningClassifier(**fast | {"model": str(own_copy)})
    with pytest.raises(UnsupportedBackboneError, match="pickled weights"):
        clf.fit(texts, labels)
    assert not opened.exists()


def test_encoder_when_saved_without_its_decoder_then_is_loaded(
    own_copy, fast, texts, labels
):
    torch.manual_seed(0)
    config = T5Config(
        vocab_size=200, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4
    )
    T5EncoderModel(config).save_pretrained(own_copy)
    clf = SKTuningClassifier(**fast | {"model": str(own_copy)})
    assert clf.fit(texts, labels).predict(texts).shape == (24,)
