import json
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from conftest import BACKBONES, CPU, SIZES, load_tiny
from transformers import AlbertConfig, AlbertModel

from sksemantic._backbone.backbone import Backbone
from sksemantic._backbone.loading import BackboneConfig
from sksemantic._inputs.dataset import TextDataset
from sksemantic._inputs.prompt import Prompt
from sksemantic._model.config import (
    ModelConfig,
    resolve_model_config,
    resolve_pooling,
    resolve_text_rank,
    resolve_tuned_layers,
)
from sksemantic._model.inference import compute_scores
from sksemantic._model.module import SemanticModule, load_model
from sksemantic.exceptions import UnsupportedBackboneError

TEXT = "rate {{the}} film: {a}, or {b}?"


def resolve(backbone, prompt=TEXT, **changes):
    """Return the config and the template with everything left open."""
    params = {
        "n_texts": 2,
        "max_length": None,
        "long_texts": "auto",
        "method": "prefix",
        "adapter": "low_rank",
        "adapter_rank": 4,
        "tuned_layers": "auto",
        "frozen_share": 1 / 3 if backbone.is_causal else 0.0,
        "text_rank": 4,
        "is_text_rank_default": True,
        "pooling": resolve_pooling("auto", backbone.is_causal),
        "dropout": 0.3,
        "has_unit_length": False,
        "n_outputs": 3,
        **changes,
    }
    spec = backbone.config
    return resolve_model_config(
        backbone, Prompt.parse(prompt), backbone_config=spec, **params
    )


@pytest.mark.parametrize(
    ("name", "n_layers", "tuned", "pooling"),
    [("bert", 2, (0, 2), "mean"), ("gemma3", 3, (1, 3), "last")],
)
def test_resolve_when_all_is_left_open_then_backbone_decides(
    name, n_layers, tuned, pooling, tiny
):
    backbone = load_tiny(tiny(name))
    config, template = resolve(backbone)
    assert config.prompt == TEXT
    assert config.max_length == template.max_length > 100
    assert (config.backbone.n_layers, config.tuned_layers) == (n_layers, tuned)
    assert config.backbone.prefix_mechanism == "attention"
    assert (config.text_rank, config.pooling) == (4, pooling)
    assert "auto" not in json.dumps(config.to_dict())


@pytest.mark.parametrize(
    ("long_texts", "max_length", "n_texts", "expected"),
    [
        ("auto", None, 1, ("windows", 128)),
        ("auto", 20, 1, ("truncate", 20)),
        ("auto", None, 2, ("truncate", 128)),
        ("windows", 20, 1, ("windows", 20)),
        ("truncate", None, 1, ("truncate", 128)),
        ("truncate", None, 2, ("truncate", 128)),
    ],
)
def test_long_texts_when_resolved_then_length_and_number_of_texts_decide(
    long_texts, max_length, n_texts, expected, tiny_bert
):
    backbone = load_tiny(tiny_bert)
    changes = {"long_texts": long_texts, "max_length": max_length, "n_texts": n_texts}
    config, template = resolve(backbone, "rate", **changes)
    assert (config.long_texts, config.max_length) == expected
    again = ModelConfig.from_dict(json.loads(json.dumps(config.to_dict())))
    assert load_model(again, backbone.device)[1].has_windows == template.has_windows


def test_long_texts_when_causal_then_are_cut_unless_asked_otherwise(tiny_llama):
    backbone = load_tiny(tiny_llama)
    assert resolve(backbone, "rate", n_texts=1)[0].long_texts == "truncate"
    config, _ = resolve(backbone, "rate", n_texts=1, long_texts="windows")
    assert (config.long_texts, config.max_length) == ("windows", 128)


def test_long_texts_when_windows_of_several_texts_then_refused(tiny_bert):
    with pytest.raises(ValueError, match="'long_texts' parameter must be 'auto' or"):
        resolve(load_tiny(tiny_bert), long_texts="windows")


@pytest.mark.parametrize("name", BACKBONES)
def test_tuned_layers_when_a_share_is_frozen_then_is_so_for_every_backbone(name, tiny):
    backbone = load_tiny(tiny(name))
    config, _ = resolve(backbone, frozen_share=0.5)
    assert config.tuned_layers == (backbone.n_layers // 2, backbone.n_layers)


def test_resolve_when_method_is_prompt_then_no_layer_is_tuned(tiny_bert):
    config, _ = resolve(load_tiny(tiny_bert), method="prompt")
    assert config.backbone.prefix_mechanism is None
    assert (config.tuned_layers, config.text_rank) == ((0, 0), 0)


@pytest.mark.parametrize("name", ["bert", "llama"])
@pytest.mark.parametrize("method", ["prefix", "prompt"])
def test_config_when_written_as_json_then_gives_the_same_model(method, name, tiny):
    backbone = load_tiny(tiny(name))
    config, template = resolve(backbone, method=method)
    read = ModelConfig.from_dict(json.loads(json.dumps(config.to_dict())))
    assert read == config
    module, again = load_model(read, CPU, seed=7)
    expected = SemanticModule.seeded(backbone, template.prompt_ids, config, seed=7)
    columns = [["a good film", "dull"], ["a bad one", "lovely"]]
    scores = [
        compute_scores(each, TextDataset(laid_out.rows(columns)))
        for each, laid_out in ((module, again), (expected, template))
    ]
    assert again.max_length == template.max_length
    np.testing.assert_array_equal(*scores)


def test_config_when_backbone_is_special_then_dictionary_has_it_all(tiny_bert):
    config, _ = resolve(load_tiny(tiny_bert))
    spec = BackboneConfig(
        config.backbone.source,
        torch.device("meta"),
        torch.bfloat16,
        "kv_cache",
        {"quant_method": "torchao"},
        {"": "cpu"},
        2,
    )
    assert replace(config, backbone=spec).to_dict()["backbone"] == {
        "source": asdict(config.backbone.source),
        "dtype": "bfloat16",
        "prefix_mechanism": "kv_cache",
        "quantization_config": {"quant_method": "torchao"},
        "device_map": {"": "cpu"},
        "n_layers": 2,
    }


@pytest.mark.parametrize(
    ("given", "n_layers", "share", "expected"),
    [
        ("auto", 18, 1 / 3, (6, 18)),
        ("auto", 2, 1 / 3, (0, 2)),
        ("auto", 18, 0, (0, 18)),
        ("all", 18, 1 / 3, (0, 18)),
        (4, 18, 1 / 3, (14, 18)),
        ((3, 5), 18, 1 / 3, (3, 5)),
        ([3, 5], 18, 1 / 3, (3, 5)),
    ],
)
def test_tuned_layers_when_given_then_are_counted_from_the_bottom(
    given, n_layers, share, expected
):
    assert resolve_tuned_layers(given, n_layers, share) == expected


@pytest.mark.parametrize("given", [3, (1, 1), (-1, 1), (0, 3)])
def test_tuned_layers_when_there_are_no_such_then_refused(given):
    with pytest.raises(ValueError, match="'tuned_layers' parameter .* at most 2"):
        resolve_tuned_layers(given, 2, 0)


@pytest.mark.parametrize(
    ("is_causal", "is_pair", "expected"),
    [
        (True, False, "last"),
        (False, False, "mean"),
        (True, True, "last"),
        (False, True, "pair"),
    ],
)
def test_pooling_when_auto_then_follows_backbone_and_texts(
    is_causal, is_pair, expected
):
    assert resolve_pooling("auto", is_causal, is_pair=is_pair) == expected
    for named in ("mean", "last", "first"):
        assert resolve_pooling(named, is_causal, is_pair=is_pair) == named


@pytest.mark.parametrize(
    ("name", "method", "adapter", "default", "asked"),
    [
        *((name, "prefix", "low_rank", 4, 4) for name in BACKBONES),
        ("bert", "prefix", "linear", 0, 4),
        ("bert", "prefix", "embedding", 0, 4),
        ("bert", "prompt", "low_rank", 0, 0),
    ],
)
def test_text_rank_when_default_then_is_for_the_default_adapter_alone(
    name, method, adapter, default, asked, tiny
):
    backbone = load_tiny(tiny(name))
    assert resolve_text_rank(4, True, backbone, method, adapter) == default
    assert resolve_text_rank(0, False, backbone, method, adapter) == 0
    assert resolve_text_rank(4, False, backbone, method, adapter) == asked


def test_text_rank_when_layers_share_weights_then_must_not_be_asked_for(tiny_bert):
    config = AlbertConfig(vocab_size=40, **SIZES)
    backbone = Backbone(AlbertModel(config).eval(), load_tiny(tiny_bert).tokenizer)
    assert resolve_text_rank(4, True, backbone, "prefix", "low_rank") == 0
    assert resolve_text_rank(0, False, backbone, "prefix", "low_rank") == 0
    with pytest.raises(UnsupportedBackboneError):
        resolve_text_rank(4, False, backbone, "prefix", "low_rank")
