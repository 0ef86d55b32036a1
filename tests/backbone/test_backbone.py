import pytest
import torch
from conftest import BACKBONES, CPU, DECODERS, load_tiny

LENGTHS = {"bert": 128, "roberta": 128, "llama": 256, "gemma3": 256}


@pytest.fixture(params=BACKBONES)
def name(request):
    return request.param


@pytest.fixture
def backbone(name, tiny):
    return load_tiny(tiny(name))


def test_is_causal_when_probed_then_is_right(name, backbone):
    assert backbone.is_causal == (name in DECODERS)


def test_max_positions_when_read_then_positions_never_used_do_not_count(name, backbone):
    assert backbone.max_positions == LENGTHS[name]


@pytest.mark.parametrize("name", ["bert", "roberta"], indirect=True)
def test_max_positions_when_text_is_that_long_then_model_runs(name, backbone):
    ids = torch.full((1, backbone.max_positions), 10)
    backbone.run({"input_ids": ids})
    with pytest.raises(Exception, match="index out of range|size"):
        backbone.run({"input_ids": torch.full((1, ids.shape[1] + 3), 10)})


def test_special_tokens_when_read_then_are_those_around_a_text(name, backbone):
    left, right = backbone.special_tokens
    (plain,) = backbone.encode(["a good film"])
    assert left + plain + right == backbone.tokenizer("a good film")["input_ids"]
    assert (left, right) == {
        "bert": ([2], [3]),
        "roberta": ([0], [2]),
        "llama": ([0], []),
        "gemma3": ([2], []),
    }[name]


def test_encode_when_many_texts_then_as_one_by_one(backbone):
    texts = ["a good film", "", "bad"]
    assert backbone.encode(texts) == [backbone.encode([text])[0] for text in texts]
    assert backbone.encode([]) == []


def test_encode_when_text_spells_out_a_special_token_then_length_is_finite(backbone):
    assert all(backbone.encode(["[SEP] </s> <pad> [PAD] <s>"]))


def test_pad_id_when_there_is_no_padding_token_then_there_still_is_an_id(tiny_llama):
    backbone = load_tiny(tiny_llama)
    assert backbone.tokenizer.pad_token_id is None
    assert backbone.pad_id == 0


def test_size_when_read_then_is_the_models(backbone):
    assert backbone.hidden_size == 32
    assert backbone.device == CPU
