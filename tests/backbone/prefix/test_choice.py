"""How a backbone is given its prefix is found out by trying, never by its name."""

import pickle
import warnings

import numpy as np
import pytest
import torch
from conftest import FAST, LABELS, TEXTS, load_tiny
from transformers import BertModel

from sksemantic import SKTuningClassifier, UnsupportedBackboneError
from sksemantic._backbone.prefix import choose_prefix_mechanism, run_bare
from sksemantic._backbone.prefix.attention import AttentionPrefix
from sksemantic._backbone.prefix.choice import self_test

PREFIX_MECHANISMS = ["attention", "kv_cache", "hidden_states"]


@pytest.mark.parametrize("name", PREFIX_MECHANISMS)
def test_fit_when_injection_is_named_then_it_is_used_and_kept(name, fast):
    clf = (
        SKTuningClassifier(**fast)
        .set_params(model_kwargs__prefix_mechanism=name)
        .fit(TEXTS, LABELS)
    )
    assert clf.prefix_mechanism_ == name
    assert clf.net_.module_.backbone.prefix_mechanism.name == name
    copy = pickle.loads(pickle.dumps(clf))
    assert copy.prefix_mechanism_ == name
    np.testing.assert_array_equal(copy.predict_proba(TEXTS), clf.predict_proba(TEXTS))


@pytest.mark.parametrize("adapter", ["linear", "embedding"])
@pytest.mark.parametrize("name", PREFIX_MECHANISMS)
def test_fit_when_adapter_differs_then_every_value_of_it_is_trained(
    name, adapter, fast
):
    clf = SKTuningClassifier(**fast, adapter=adapter).set_params(
        model_kwargs__prefix_mechanism=name
    )
    module = clf.fit(TEXTS, LABELS).net_.module_
    ids = torch.tensor([[20, 21, 22]])
    module(input_ids=ids, attention_mask=torch.ones_like(ids)).square().sum().backward()
    for parameter in module.adapter.parameters():
        assert parameter.grad.abs().max() > 0


@pytest.mark.parametrize("name", ["bert", "roberta", "llama"])
def test_features_when_untrained_then_are_the_same_by_all_injections(name, tiny):
    params = {**FAST, "model": tiny(name), "lr": 1e-30, "head_lr": 1e-30}
    attention, *others = (
        SKTuningClassifier(**params)
        .set_params(model_kwargs__prefix_mechanism=prefix_mechanism)
        .fit(TEXTS, LABELS)
        for prefix_mechanism in PREFIX_MECHANISMS
    )
    for other in others:
        np.testing.assert_allclose(
            other.transform(TEXTS), attention.transform(TEXTS), rtol=0, atol=1e-5
        )


@pytest.mark.parametrize("name", PREFIX_MECHANISMS)
def test_injection_when_a_dependency_warns_then_it_is_no_reason_to_refuse(
    name, tiny_bert
):
    model = load_tiny(tiny_bert).model

    def warn(*args):
        warnings.warn("An argument is to be renamed.", FutureWarning, stacklevel=2)

    model.register_forward_pre_hook(warn)
    with pytest.warns(FutureWarning, match="renamed"):
        assert choose_prefix_mechanism(model, is_causal=False, name=name).name == name
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(FutureWarning, match="renamed"):
            choose_prefix_mechanism(model, is_causal=False, name=name)


def test_injection_when_none_works_then_error_lists_what_was_tried(tiny_bert):
    model = load_tiny(tiny_bert).model

    class Deaf(BertModel):
        """A backbone that swallows whatever it does not know."""

        _can_set_attn_implementation = classmethod(lambda cls: False)

        def forward(self, input_ids=None, inputs_embeds=None, **kwargs):
            return super().forward(input_ids=input_ids, inputs_embeds=inputs_embeds)

    deaf = Deaf(model.config).eval().requires_grad_(False)
    deaf.encoder.layer = torch.nn.ModuleList(deaf.encoder.layer[:1])
    message = (
        "(?s)Deaf takes no semantic prefix.*attention: .*cache: .*states: .*No list"
    )
    with pytest.raises(UnsupportedBackboneError, match=message):
        choose_prefix_mechanism(deaf, is_causal=False)


class Ignoring(AttentionPrefix):
    """Runs the backbone without the prefix of its first layer."""

    def run(self, inputs, prefix):
        start = [tuple(part.detach() for part in prefix[0])]
        return super().run(inputs, start + prefix[1:])


class Bare(AttentionPrefix):
    """Runs the backbone without any prefix."""

    def run(self, inputs, prefix):
        hidden = run_bare(self.model, inputs)
        return hidden + 0 * sum(part.sum() for layer in prefix for part in layer)


@pytest.mark.parametrize(
    ("kind", "message"), [(Ignoring, r"layers \[0\]"), (Bare, r"layers \[0, 1\]")]
)
def test_self_test_when_a_prefix_has_no_effect_then_says_where(
    kind, message, tiny_llama
):
    backbone = load_tiny(tiny_llama, "attention")
    prefix_mechanism = kind(backbone.model, backbone.prefix_mechanism.positions)
    with pytest.raises(UnsupportedBackboneError, match=message):
        self_test(prefix_mechanism, is_causal=True)


def test_self_test_when_the_text_starts_in_the_wrong_place_then_refused(tiny_llama):
    backbone = load_tiny(tiny_llama, "attention")

    class Shifted(AttentionPrefix):
        """Counts the text from its own start."""

        def run(self, inputs, prefix):
            length = inputs["input_ids"].shape[1]
            positions = torch.arange(length)[None]
            return super().run({**inputs, "position_ids": positions}, prefix)

    with pytest.raises(UnsupportedBackboneError, match="not what the backbone makes"):
        self_test(Shifted(backbone.model, backbone.prefix_mechanism.positions), True)


def test_self_test_when_switched_off_then_is_not_run(tiny_llama, monkeypatch):
    from sksemantic._backbone.prefix import choice as _choice

    model = load_tiny(tiny_llama).model
    ran = []
    monkeypatch.setattr(_choice, "self_test", lambda *args: ran.append(args))
    choose_prefix_mechanism(model, is_causal=True)
    assert len(ran) == 1
    monkeypatch.setenv("SKSEMANTIC_SELF_TEST", "0")
    choose_prefix_mechanism(model, is_causal=True)
    assert len(ran) == 1
