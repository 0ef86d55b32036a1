"""The same on a GPU, where there is one."""

import pickle

import numpy as np
import pytest
import torch
from architectures import ARCHITECTURES
from conftest import FAST, LABELS, TEXTS, random_ids, save_wordpiece

from sksemantic import SKTuningClassifier
from sksemantic._backbone.loading import BackboneConfig
from sksemantic._backbone.registry import load_backbone
from sksemantic._backbone.source import resolve
from sksemantic._cache import activations

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU"),
]
ONE_OF_EACH_KIND = ["BERT", "Llama", "Bloom", "MPNet", "Gemma 2", "Falcon-H1"]


@pytest.fixture(params=ONE_OF_EACH_KIND)
def directory(request, tmp_path):
    architecture = next(a for a in ARCHITECTURES if a.name == request.param)
    architecture.make(save_wordpiece(tmp_path)).save_pretrained(tmp_path)
    return str(tmp_path)


@torch.no_grad()
def after_prefix(directory, device):
    config = BackboneConfig(resolve(directory), torch.device(device), torch.float32)
    backbone = load_backbone(config)
    ids = torch.tensor([[10, 11, 12]], device=device)
    prefix = backbone.prefix_mechanism.read(backbone.embed(ids)).prefix
    text = torch.tensor(random_ids(9), device=device)
    inputs = {"input_ids": text, "attention_mask": torch.ones_like(text)}
    return backbone.prefix_mechanism.run(inputs, prefix).cpu()


def test_run_when_on_a_gpu_then_as_on_the_cpu(directory):
    torch.testing.assert_close(
        after_prefix(directory, "cuda"),
        after_prefix(directory, "cpu"),
        rtol=1e-3,
        atol=1e-3,
    )


@pytest.mark.parametrize("method", ["prefix", "prompt"])
def test_fit_when_device_is_auto_then_on_the_gpu_in_bfloat16(directory, method):
    params = FAST | {"device": "auto", "model_kwargs": None, "method": method}
    clf = SKTuningClassifier(model=directory, **params).fit(TEXTS, LABELS)
    module = clf.get_module()
    assert module.backbone.device.type == "cuda"
    assert module.backbone.model.dtype == torch.bfloat16
    assert {p.dtype for p in module.parameters()} == {torch.float32}
    copy = pickle.loads(pickle.dumps(clf))
    np.testing.assert_allclose(copy.predict_proba(TEXTS), clf.predict_proba(TEXTS))


def test_fit_when_top_layers_are_tuned_then_stored_states_come_to_the_gpu(directory):
    params = FAST | {"device": "cuda", "tuned_layers": 1}
    clf = SKTuningClassifier(model=directory, **params).fit(TEXTS, LABELS)
    found = clf.predict_proba(TEXTS)
    activations.clear()  # now the states are computed with the predictions
    np.testing.assert_allclose(clf.predict_proba(TEXTS), found, atol=1e-4)
