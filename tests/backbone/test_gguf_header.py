"""A GGUF file's header is checked before anything reads it."""

import struct

import pytest

from sksemantic._backbone.files import RefusedFiles
from sksemantic._backbone.gguf_header import read_gguf_header
from sksemantic._backbone.source import resolve
from sksemantic._backbone.weight_files import check_weight_files
from sksemantic.exceptions import UnsupportedBackboneError

UINT32, STRING, LIST = 4, 8, 9


def text(value):
    return struct.pack("<Q", len(value)) + value.encode()


def number(name, value):
    return text(name) + struct.pack("<II", UINT32, value)


def header(n_tensors, *values, version=3):
    start = b"GGUF" + struct.pack("<IQQ", version, n_tensors, len(values))
    return start + b"".join(values)


def tensor(name, *shape):
    n = len(shape)
    return text(name) + struct.pack(f"<I{n}QIQ", n, *shape, 0, 0)


ARCHITECTURE = text("general.architecture") + struct.pack("<I", STRING) + text("llama")
TOKENS = text("tokens") + struct.pack("<IIQ", LIST, STRING, 2) + text("a") + text("b")
SCORES = text("scores") + struct.pack("<IIQ2I", LIST, UINT32, 2, 5, 6)
NESTED = struct.pack("<I", LIST) + struct.pack("<IQ", LIST, 2**60) * 9
EMBEDDING = tensor("token_embd.weight", 32, 300)


def write(folder, *parts):
    file = folder / "model.gguf"
    file.write_bytes(b"".join(parts) + bytes(40_000))
    return file


def test_header_when_right_then_gives_values_and_shapes(tmp_path):
    values = [ARCHITECTURE, TOKENS, SCORES, number("llama.block_count", 1)]
    file = write(tmp_path, header(1, *values), EMBEDDING)
    found, shapes = read_gguf_header(file)
    assert found == {
        "general.architecture": "llama",
        "tokens": 2,
        "scores": 2,
        "llama.block_count": 1,
    }
    assert shapes == [[32, 300]]
    check_weight_files(resolve(str(file)))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"GGML", "does not begin with GGUF"),
        (header(0, version=1), "version 1"),
        (header(2**60), "1152921504606846976 tensors"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 2**60), "unpack_from"),
        (header(0, text("a") + struct.pack("<I", 99)), "type 99"),
        (header(0, struct.pack("<Q", 2**60)), "a text of"),
        (header(0, text("a") + struct.pack("<IIQ", LIST, UINT32, 2**60)), "ends"),
        (
            header(0, text("a") + struct.pack("<IIQ", LIST, STRING, 2**60)),
            "unpack_from",
        ),
        (header(0, text("a") + NESTED), "type 9"),
        (header(0, text("a") + struct.pack("<IIQQ", LIST, STRING, 9, 2**64 - 1)), ""),
        (header(1) + tensor("a", *[1] * 9), "9 dimensions"),
        (header(1) + tensor("a", 2**40, 2**40), "too short"),
    ],
)
def test_header_when_broken_then_refused(content, message, tmp_path):
    file = write(tmp_path, content)
    with pytest.raises(RefusedFiles, match=rf"model\.gguf has no header.*{message}"):
        read_gguf_header(file)


def test_header_when_the_file_ends_within_it_then_refused(tmp_path):
    content = header(1, ARCHITECTURE, TOKENS, SCORES) + EMBEDDING
    file = tmp_path / "model.gguf"
    for size in range(len(content)):
        file.write_bytes(content[:size])
        with pytest.raises(RefusedFiles, match="no header of GGUF"):
            read_gguf_header(file)


@pytest.mark.parametrize(
    "name", ["block_count", "embedding_length", "feed_forward_length", "vocab_size"]
)
def test_header_when_its_numbers_are_absurd_then_refused(name, tmp_path):
    values = [ARCHITECTURE, number(f"llama.{name}", 10**9)]
    file = write(tmp_path, header(1, *values), EMBEDDING)
    with pytest.raises(UnsupportedBackboneError, match="model.gguf has llama"):
        check_weight_files(resolve(str(file)))


@pytest.mark.parametrize(
    "sizes",
    [
        {"block_count": 1, "embedding_length": 10_000},
        {"embedding_length": 4800, "feed_forward_length": 60_000, "block_count": 1},
        {"embedding_length": 32, "expert_count": 4000, "block_count": 1}
        | {"expert_feed_forward_length": 4000},
        {"attention.head_count": 4000, "attention.key_length": 4000}
        | {"block_count": 1, "embedding_length": 32},
    ],
)
def test_header_when_the_model_would_be_much_larger_then_refused(sizes, tmp_path):
    values = [number(f"llama.{name}", size) for name, size in sizes.items()]
    file = write(tmp_path, header(1, ARCHITECTURE, *values), EMBEDDING)
    with pytest.raises(UnsupportedBackboneError, match="numbers, and has 9,600"):
        check_weight_files(resolve(str(file)))


def test_header_when_the_context_is_long_then_passes(tmp_path):
    values = [ARCHITECTURE, number("llama.context_length", 10**7)]
    file = write(tmp_path, header(1, *values), EMBEDDING)
    check_weight_files(resolve(str(file)))
