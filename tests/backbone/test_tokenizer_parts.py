"""A tokenizer read from files must not blow texts up, nor have absurd numbers."""

import pytest
from conftest import load_tiny
from tokenizers import Regex, normalizers
from transformers import AutoTokenizer

from sksemantic._backbone.tokenizer_parts import check_tokenizer_parts
from sksemantic.exceptions import UnsupportedBackboneError


@pytest.fixture
def tokenizer(tiny_bert):
    return AutoTokenizer.from_pretrained(tiny_bert)


@pytest.mark.parametrize("name", ["bert", "roberta", "llama", "gemma3", "llama2"])
def test_tokenizer_when_of_a_usual_kind_then_passes(name, tiny):
    check_tokenizer_parts(load_tiny(tiny(name)).tokenizer)


@pytest.mark.parametrize(
    "normalizer",
    [
        normalizers.NFKC(),
        normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]),
        normalizers.Sequence([normalizers.Replace("…", "...")] * 40),
        normalizers.Replace(Regex(" {2,}"), "▁"),
    ],
)
def test_normalizer_when_texts_stay_short_then_passes(normalizer, tokenizer):
    tokenizer.backend_tokenizer.normalizer = normalizer
    check_tokenizer_parts(tokenizer)


@pytest.mark.parametrize(
    ("normalizer", "message"),
    [
        (normalizers.Replace("a", "x" * 10**6), "more than 1000 characters"),
        (normalizers.Prepend("x" * 10**6), "more than 1000 characters"),
        (normalizers.Sequence([normalizers.Replace("a", "aa")] * 40), "times as long"),
        (
            normalizers.Sequence([normalizers.Replace(Regex("."), "aaa")] * 9),
            "times as long",
        ),
        (normalizers.Sequence([normalizers.NFKC()] * 2000), "2000 steps"),
    ],
)
def test_normalizer_when_it_blows_texts_up_then_refused(normalizer, message, tokenizer):
    tokenizer.backend_tokenizer.normalizer = normalizer
    with pytest.raises(UnsupportedBackboneError, match=f"normalizer.*{message}"):
        check_tokenizer_parts(tokenizer)


@pytest.mark.parametrize("longest", [0, -1, "128", True, None, float("nan")])
def test_length_when_it_is_no_length_then_refused(longest, tokenizer):
    tokenizer.model_max_length = longest
    with pytest.raises(UnsupportedBackboneError, match="model_max_length"):
        check_tokenizer_parts(tokenizer)
