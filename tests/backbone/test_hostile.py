"""Directories of strangers: each is refused, and says which file is wrong.

`benchmarks/hostile.py` breaks files at random; here is one of each kind it has found.
"""

import json
import pickle
import struct

import pytest
import torch
import transformers
from conftest import CPU
from packaging.version import Version
from transformers import AutoTokenizer

from sksemantic import SKTuningClassifier
from sksemantic._backbone.backbone import Backbone
from sksemantic._backbone.loading import BackboneConfig, load_weights
from sksemantic._backbone.source import resolve
from sksemantic.exceptions import UnsupportedBackboneError


def prepare(folder):
    """Load a backbone, and test it as a fit does."""
    config = BackboneConfig(resolve(str(folder)), CPU, torch.float32)
    return Backbone(*load_weights(config), config)


def put(name, *path, value):
    """Return a change of one value of a JSON file."""

    def change(folder):
        file = folder / name
        values = holder = json.loads(file.read_text()) if file.exists() else {}
        for key in path[:-1]:
            holder = holder[key]
        holder[path[-1]] = value
        file.write_text(json.dumps(values))

    return change


def header(**changes):
    """Return a change of the entry of one tensor in the header of the weights."""

    def change(folder):
        file = folder / "model.safetensors"
        content = file.read_bytes()
        (size,) = struct.unpack("<Q", content[:8])
        values = json.loads(content[8 : 8 + size])
        values["embeddings.LayerNorm.bias"] |= changes
        text = json.dumps(values).encode()
        file.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + size :])

    return change


def split_at(pattern):
    regex = {"Regex": pattern}
    return put(
        "tokenizer.json",
        "pre_tokenizer",
        value={
            "type": "Split",
            "pattern": regex,
            "behavior": "Isolated",
            "invert": False,
        },
    )


CONFIG, TOKENIZER, OPTIONS = "config.json", "tokenizer.json", "tokenizer_config.json"
TEXTS = [{"Sequence": {"id": name, "type_id": 0}} for name in "AB"]
MANY_TOKENS = {
    "type": "TemplateProcessing",
    "single": [{"SpecialToken": {"id": "x", "type_id": 0}}, TEXTS[0]],
    "pair": TEXTS,
    "special_tokens": {"x": {"id": "x", "ids": [5] * 5000, "tokens": ["x"] * 5000}},
}
DIRECTORIES = {
    "layers of no kind": (
        put(CONFIG, "layer_types", value=["nope"] * 2),
        "could not be loaded: Class validation error",
    ),
    "a size that is no number": (
        put(CONFIG, "hidden_size", value=float("inf")),
        "could not be loaded",
    ),
    "a method that is text": (
        put(CONFIG, "to_dict", value="x"),
        "could not be loaded: 'str' object is not callable",
    ),
    "heads that are not there": (
        put(CONFIG, "num_attention_heads", value=0),
        "could not be loaded: .*zero",
    ),
    "layers that are less than none": (
        put(CONFIG, "num_hidden_layers", value=-1),
        "num_hidden_layers of at least 1. Got -1",
    ),
    "no layers": (put(CONFIG, "num_hidden_layers", value=0), "of at least 1. Got 0"),
    "no encoder and decoder": (
        put(CONFIG, "is_encoder_decoder", value=True),
        "must be a model, and is a BertEncoder",
    ),
    "a model of another size": (
        put(CONFIG, "intermediate_size", value=60_000),
        "could not be loaded|numbers instead",
    ),
    "a tokenizer of another version": (
        put(TOKENIZER, "version", value="2.0"),
        "could not be loaded: Unknown tokenizer version",
    ),
    "a normalizer that blows up": (
        put(
            TOKENIZER,
            "normalizer",
            value={
                "type": "Replace",
                "pattern": {"String": "a"},
                "content": "a" * 10**6,
            },
        ),
        "normalizer .* more than 1000 characters",
    ),
    "a table that claims 4 GB": (
        put(
            TOKENIZER,
            "normalizer",
            value={"type": "Precompiled", "precompiled_charsmap": "/////////w=="},
        ),
        r"tokenizer\.json has a precompiled_charsmap",
    ),
    "an expression that is none": (split_at("("), "could not be loaded"),
    "special tokens without end": (
        put(TOKENIZER, "post_processor", value=MANY_TOKENS),
        "at most 1000 tokens around",
    ),
    "a length that is text": (
        put(OPTIONS, "model_max_length", value="128"),
        "model_max_length .* must be a number",
    ),
    "a tokenizer that is none": (
        put(OPTIONS, "tokenizer_class", value="RagTokenizer"),
        "tokenizer .* must be one of transformers|could not be loaded",
    ),
    "a token that is a number": (
        put(OPTIONS, "cls_token", value=3),
        "could not be loaded",
    ),
    "an object that is text": (
        put(OPTIONS, "tokenizer_object", value="x"),
        "which only Python code can have",
    ),
    "a vocabulary from elsewhere": (
        put(OPTIONS, "vocab_file", value="/dev/zero"),
        "outside the directory",
    ),
    "a tensor that overlaps": (header(data_offsets=[0, 8]), "could not be loaded"),
    "a tensor of no dtype": (header(dtype="X8"), "could not be loaded"),
    "a tensor of 2^63 rows": (header(shape=[2**63 - 1, 2]), "could not be loaded"),
    "an added token with no number": (
        put("added_tokens.json", "film", value="x"),
        "could not be loaded",
    ),
}
# What earlier releases of transformers do not read.
IGNORED_EARLIER = ("layers of no kind", "a tokenizer that is none")


@pytest.mark.parametrize("name", DIRECTORIES)
def test_directory_when_hostile_then_refused(name, own_copy):
    change, message = DIRECTORIES[name]
    change(own_copy)
    if name in IGNORED_EARLIER and Version(transformers.__version__) < Version("5.23"):
        prepare(own_copy)
        return
    with pytest.raises(UnsupportedBackboneError, match=f"(?s){message}"):
        prepare(own_copy)


def test_tokenizer_when_the_model_lacks_its_tokens_then_refused(own_copy):
    words = {"type": "WordLevel", "vocab": {"film": 10**6}, "unk_token": "film"}
    put(TOKENIZER, "model", value=words)(own_copy)
    backbone = prepare(own_copy)
    with pytest.raises(UnsupportedBackboneError, match="the token 1000000, and the"):
        backbone.encode(["film"])


def test_tokenizer_when_its_expression_backtracks_then_refused(own_copy):
    split_at("(a+)+$")(own_copy)
    backbone = prepare(own_copy)
    with pytest.raises(UnsupportedBackboneError, match="fails on a text: .*retry"):
        backbone.encode(["a" * 40 + "!"])
    assert backbone.encode(["a film"])


class Bomb:
    """A pickle that makes a file when it is read."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


def test_fit_when_the_directory_brings_code_then_none_is_run(
    own_copy, fast, texts, labels, tmp_path
):
    mark = tmp_path / "run"
    (own_copy / "evil.py").write_text(f"open({str(mark)!r}, 'w')\nclass C: pass\n")
    for name in ("pytorch_model.bin", "adapter_model.bin"):
        with (own_copy / name).open("wb") as file:
            pickle.dump(Bomb(str(mark)), file)
    code = {"AutoConfig": "evil.C", "AutoModel": "evil.C", "AutoTokenizer": ["evil.C"]}
    for name in (CONFIG, OPTIONS):
        put(name, "auto_map", value=code)(own_copy)
    adapter = {"base_model_name_or_path": str(own_copy), "peft_type": "LORA"}
    (own_copy / "adapter_config.json").write_text(json.dumps(adapter))
    clf = SKTuningClassifier(**fast | {"model": str(own_copy)})
    try:
        clf.fit(texts, labels)
    except UnsupportedBackboneError:
        pass
    assert not mark.exists()


def test_template_when_it_would_run_then_is_text(own_copy):
    template = "{{ ''.__class__.__mro__[1].__subclasses__() }}"
    put(OPTIONS, "chat_template", value=template)(own_copy)
    prepare(own_copy)
    assert AutoTokenizer.from_pretrained(own_copy).chat_template == template
