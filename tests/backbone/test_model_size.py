"""A model that would be much larger than its weights is never made."""

import json

import pytest

from sksemantic._backbone.model_size import check_model_size
from sksemantic._backbone.source import resolve
from sksemantic._backbone.weight_files import check_weight_files, most_numbers
from sksemantic.exceptions import UnsupportedBackboneError

OFFLINE = {"local_files_only": True, "trust_remote_code": False}


def check(folder):
    source = resolve(str(folder))
    check_model_size(source, check_weight_files(source), OFFLINE)


@pytest.mark.parametrize("name", ["bert", "roberta", "llama", "gemma3"])
def test_model_when_of_its_weights_then_passes(name, tiny):
    check(tiny(name))


@pytest.mark.parametrize(
    "config",
    [
        {"model_type": "gpt2", "n_embd": 2048, "n_head": 8, "n_layer": 16},
        {"model_type": "gpt2", "n_embd": 64000, "n_head": 8, "n_layer": 16},
        {"model_type": "bert", "hidden_size": 4800, "num_hidden_layers": 16},
        {"model_type": "bert", "max_position_embeddings": 10**8},
    ],
)
def test_model_when_much_larger_than_its_weights_then_refused(config, own_copy):
    (own_copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(UnsupportedBackboneError, match="Got [0-9,]+ numbers instead"):
        check(own_copy)


def test_numbers_when_packed_then_may_be_more():
    assert most_numbers(10**9) < most_numbers(10**9, is_packed=True)
    assert most_numbers(0) > 10**7  # of what is small anyway
