"""Prefix mechanism "kv_cache"; what all mechanisms share is in test_base.py."""

import pytest
import torch
from conftest import inputs_of, load_tiny, save_wordpiece
from transformers import DistilBertConfig, DistilBertModel

from sksemantic.exceptions import UnsupportedBackboneError

WINDOW = 8  # of the tiny Gemma 3's sliding layers


def test_max_text_length_when_window_slides_then_prefix_stays_in_it(tiny_gemma3):
    backbone = load_tiny(tiny_gemma3, "kv_cache")
    assert backbone.max_text_length("prefix", 3) == WINDOW - 3


@torch.no_grad()
def test_run_when_called_twice_then_the_first_cache_has_not_grown(tiny_llama):
    backbone = load_tiny(tiny_llama, "kv_cache")
    inputs = inputs_of([5, 6, 7])
    prefix = backbone.prefix_mechanism.read(backbone.embed(inputs["input_ids"])).prefix
    first, second = (backbone.prefix_mechanism.run(inputs, prefix) for _ in range(2))
    assert torch.equal(first, second)
    assert prefix[0][0].shape[1] == 3


def test_mechanism_when_a_cache_is_silently_ignored_then_refused(tmp_path):
    config = DistilBertConfig(
        vocab_size=save_wordpiece(tmp_path), dim=32, n_layers=3, n_heads=4
    )
    DistilBertModel(config).save_pretrained(tmp_path)
    backbone = load_tiny(str(tmp_path), "kv_cache")
    with pytest.raises(UnsupportedBackboneError, match="0 of its 3 layers use a cache"):
        backbone.prefix_mechanism  # noqa: B018
