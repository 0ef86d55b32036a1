"""How a backbone is given its prefix is decided by trying, never by its name."""

import warnings

import pytest
import torch
from architectures import ARCHITECTURES
from conftest import build_module, inputs_of, load_tiny, random_ids, stir
from transformers import BertModel

from sksemantic._backbone.layers import hook_layers
from sksemantic._backbone.prefix.attention import AttentionPrefix, replace_attention
from sksemantic._backbone.prefix.base import Positions, run_model
from sksemantic._backbone.prefix.choice import (
    PREFIX_MECHANISMS,
    choose_prefix_mechanism,
    self_test,
)
from sksemantic.exceptions import UnsupportedBackboneError

every_mechanism = pytest.mark.parametrize("name", PREFIX_MECHANISMS)


@pytest.fixture
def bert(tiny_bert):
    """Return a model that no other test uses."""
    model = BertModel.from_pretrained(tiny_bert).eval().requires_grad_(False)
    replace_attention(model)
    hook_layers(model)
    return model


def choose(model, name="auto"):
    return choose_prefix_mechanism(model, False, True, name)


@torch.no_grad()
@pytest.mark.parametrize("name", ["bert", "roberta", "llama"])
def test_features_when_adapter_is_changed_then_are_the_same_by_all_mechanisms(
    name, tiny
):
    """An embedding adapter's values mean the same whatever the mechanism."""
    batch = inputs_of(*random_ids(9))
    features = []
    for mechanism in PREFIX_MECHANISMS:
        module = build_module(load_tiny(tiny(name), mechanism), adapter="embedding")
        start = module.features(batch)
        torch.manual_seed(0)
        features.append(stir(module).features(batch))
        assert (features[-1] - start).abs().max() > 1e-2
    for other in features[1:]:
        torch.testing.assert_close(other, features[0], rtol=0, atol=1e-5)


@every_mechanism
def test_choice_when_a_dependency_warns_then_it_is_no_reason_to_refuse(name, bert):
    def warn(*args):
        warnings.warn("An argument is to be renamed.", FutureWarning, stacklevel=2)

    bert.register_forward_pre_hook(warn)
    with pytest.warns(FutureWarning, match="renamed"):
        assert choose(bert, name).name == name
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(FutureWarning, match="renamed"):
            choose(bert, name)


class WithoutCache(BertModel):
    """A model that ignores whatever it does not know, and cannot be changed."""

    _can_set_attn_implementation = classmethod(lambda cls: False)

    def forward(self, input_ids=None, inputs_embeds=None, **kwargs):
        return super().forward(input_ids=input_ids, inputs_embeds=inputs_embeds)


def test_choice_when_none_works_then_error_lists_what_was_tried(bert):
    model = WithoutCache(bert.config).eval().requires_grad_(False)
    message = (
        "(?s)WithoutCache takes no semantic prefix.*"
        "attention: Its attention .*kv_cache: .*hidden_states: No list of 2 layers"
    )
    with pytest.raises(UnsupportedBackboneError, match=message):
        choose_prefix_mechanism(model, False, has_layer_hooks=False)


def test_choice_when_the_model_fails_then_the_next_one_is_tried(bert):
    attention = bert.encoder.layer[0].attention.self

    def fail(module, args, kwargs, output):
        if not {"cache", "past_key_values"} & {
            k for k, v in kwargs.items() if v is not None
        }:
            raise IndexError("no cache")

    attention.register_forward_hook(fail, with_kwargs=True)
    assert choose(bert).name == "kv_cache"
    with pytest.raises(UnsupportedBackboneError, match="attention: IndexError: no c"):
        choose(bert, "attention")


class IgnoresFirst(AttentionPrefix):
    """Runs the backbone without the prefix of its first layer."""

    def run(self, inputs, prefix):
        start = [tuple(part.detach() for part in prefix[0])]
        return super().run(inputs, start + prefix[1:])


class IgnoresAll(AttentionPrefix):
    """Runs the backbone without any prefix."""

    def run(self, inputs, prefix):
        hidden = run_model(self.model, inputs)
        return hidden + 0 * sum(part.sum() for layer in prefix for part in layer)


class CountsFromZero(AttentionPrefix):
    """Gives the text the positions that it has without a prompt."""

    def run(self, inputs, prefix):
        positions = torch.arange(inputs["input_ids"].shape[1])[None]
        return super().run({**inputs, "position_ids": positions}, prefix)


@pytest.mark.parametrize(
    ("mechanism", "message"),
    [
        (IgnoresFirst, r"layers \[0\]"),
        (IgnoresAll, r"layers \[0, 1\]"),
        (CountsFromZero, "not what the backbone makes"),
    ],
)
def test_self_test_when_the_prefix_is_wrong_then_says_how(
    mechanism, message, tiny_llama
):
    model = load_tiny(tiny_llama, "attention").model
    with pytest.raises(UnsupportedBackboneError, match=message):
        self_test(mechanism(model, Positions.of(model, True), True), is_causal=True)


def test_choice_when_self_test_is_switched_off_then_its_result_does_not_count(
    monkeypatch,
):
    """With attention, hybrid models lack the prefix of their other layers."""
    lfm2 = next(a for a in ARCHITECTURES if a.name == "LFM2")
    model = lfm2.make(60).requires_grad_(False)
    replace_attention(model)
    assert choose_prefix_mechanism(model, True, hook_layers(model)).name == (
        "hidden_states"
    )
    monkeypatch.setenv("SKSEMANTIC_SELF_TEST", "0")
    assert choose_prefix_mechanism(model, True, True).name == "attention"
