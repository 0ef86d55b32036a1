import pytest
from conftest import BACKBONES, load_tiny

TEXTS = ["a good film", "", "bad"]


@pytest.fixture(params=[*BACKBONES, "llama2"])
def name(request):
    return request.param


@pytest.fixture
def backbone(name, tiny):
    return load_tiny(tiny(name))


def test_special_tokens_when_read_off_then_are_those_around_a_text(name, backbone):
    left, right = backbone.special_tokens
    (plain,) = backbone.encode(["a good film"])
    assert left + plain + right == backbone.tokenizer("a good film")["input_ids"]
    assert (left, right) == {
        "bert": ([2], [3]),
        "roberta": ([0], [2]),
        "llama": ([0], []),
        "llama2": ([2], []),
        "gemma3": ([2], []),
    }[name]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("bert", ([2], [3], [3], True, 1)),
        ("roberta", ([0], [2, 2], [2], False, 2)),
        ("llama", None),
    ],
    indirect=["name"],
)
def test_pair_tokens_when_read_off_then_are_those_around_two_texts(backbone, expected):
    assert backbone.pair_tokens == expected
    if expected is not None:
        left, middle, right, *_ = expected
        first, second = backbone.encode(["good film", "bad"])
        own = backbone.tokenizer("good film", "bad")["input_ids"]
        assert left + first + middle + second + right == own


@pytest.mark.parametrize("is_continuation", [False, True])
def test_encode_when_many_texts_then_as_one_by_one(backbone, is_continuation):
    alone = [
        backbone.encode([text], is_continuation=is_continuation)[0] for text in TEXTS
    ]
    assert backbone.encode(TEXTS, is_continuation=is_continuation) == alone
    assert backbone.encode([], is_continuation=is_continuation) == []


def test_encode_when_text_continues_another_then_no_space_is_added(name, backbone):
    assert backbone.adds_leading_space == (name == "llama2")
    (ids,) = backbone.encode(["good"], is_continuation=True)
    tokens = backbone.tokenizer.convert_ids_to_tokens(ids)
    assert not tokens[0].startswith(("▁", "Ġ"))
    assert backbone.tokenizer.decode(ids) == "good"
    (with_space,) = backbone.encode(["good"])
    assert (with_space == ids) == (name != "llama2")


def test_encode_when_text_spells_out_a_special_token_then_adds_none_around(backbone):
    text = "[SEP] </s> <pad> [PAD] <s>"
    left, right = backbone.special_tokens
    whole = backbone.tokenizer(text)["input_ids"]
    assert left + backbone.encode([text])[0] + right == whole


def test_ids_when_read_off_then_are_the_tokenizers(name, backbone):
    assert (backbone.pad_id, backbone.start_id, backbone.unknown_id) == {
        "bert": (0, 2, 1),
        "roberta": (1, 0, 3),
        "llama": (0, 0, 0),  # it has neither: any id serves, and the first one
        "llama2": (0, 2, 3),
        "gemma3": (0, 2, 3),
    }[name]
