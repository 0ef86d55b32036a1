"""The same on every device there is: on the CPU, and on a GPU if there is one."""

import gc
import warnings
import weakref
from contextlib import ExitStack

import numpy as np
import pytest
import torch
from conftest import FAST, LABELS, PROMPT, TEXTS
from skorch.callbacks import Callback
from torch.utils._python_dispatch import TorchDispatchMode

from sksemantic import SKTuningClassifier, clear_cache, predict_proba_many

ON_GPU = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU"),
]
# How often a step may read from the device: the loss, and whether texts are padded.
# With a causal model transformers looks up to twice, which costs nothing on a CPU, and
# on a GPU is not asked to; with an encoder it looks once.
MOST_READS = {
    ("cpu", "llama"): 3,
    ("cuda", "llama"): 1,
    ("cpu", "bert"): 2,
    ("cuda", "bert"): 2,
}


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=ON_GPU)])
def device(request):
    return request.param


@pytest.fixture
def params(tiny_llama, device):
    return FAST | {"model": tiny_llama, "device": device}


class ScalarReads(TorchDispatchMode):
    """Counts the numbers that are read out of tensors."""

    def __init__(self):
        super().__init__()
        self.n_reads = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.n_reads += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


class Waits:
    """Counts the times that the host waits for the GPU."""

    def __enter__(self):
        torch.cuda.set_sync_debug_mode("warn")
        self.block = warnings.catch_warnings(record=True)
        self.caught = self.block.__enter__()
        warnings.simplefilter("always")
        return self

    def __exit__(self, *error):
        self.block.__exit__(*error)
        torch.cuda.set_sync_debug_mode("default")

    @property
    def n_reads(self):
        return sum("synchronizing" in str(each.message) for each in self.caught)


class Counted(Callback):
    """Counts in every step but the first; callbacks are copied by fit."""

    counts: list = []

    def __init__(self, device):
        self.device = device

    def on_epoch_begin(self, net, **kwargs):
        self.stack_ = ExitStack()

    def on_batch_end(self, net, training=False, **kwargs):
        if not training:
            return
        self.stack_.close()
        if hasattr(self, "counter_"):
            self.counts.append(self.counter_.n_reads)
        kind = Waits if self.device == "cuda" else ScalarReads
        self.counter_ = self.stack_.enter_context(kind())

    def on_epoch_end(self, net, **kwargs):
        self.stack_.close()
        del self.counter_


@pytest.mark.parametrize("name", ["llama", "bert"])
@pytest.mark.parametrize("tuned_layers", ["all", 1])
def test_fit_when_it_trains_then_a_step_reads_little_from_the_device(
    name, tuned_layers, tiny, device
):
    Counted.counts.clear()
    params = FAST | {"model": tiny(name), "device": device}
    params |= {"tuned_layers": tuned_layers}
    params["training"] = params["training"] | {"callbacks": [Counted(device)]}
    SKTuningClassifier(**params).fit(2 * TEXTS, 2 * LABELS)
    assert len(Counted.counts) >= 2
    assert 1 <= max(Counted.counts) <= MOST_READS[device, name]


def test_predict_many_when_layers_and_prompts_differ_then_as_each_alone_on_the_cpu(
    params, tmp_path
):
    changes = [{}, {"prompt": "what is said", "tuned_layers": 1}, {"text_rank": 0}]
    found = []
    for i, change in enumerate(changes):
        training = params["training"]
        if "text_rank" in change:
            training = training | {"text_rank": change.pop("text_rank")}
        clf = SKTuningClassifier(**params | change | {"training": training})
        clf.fit(TEXTS, LABELS).save_pretrained(tmp_path / str(i))
        found.append(clf)
    parts = [TEXTS[:4], TEXTS[4:9], TEXTS[9:]]
    answers = predict_proba_many(list(zip(found, parts, strict=True)))
    for i, (answer, texts) in enumerate(zip(answers, parts, strict=True)):
        on_cpu = SKTuningClassifier.from_pretrained(
            tmp_path / str(i), model=params["model"], device="cpu"
        )
        expected = on_cpu.predict_proba(texts)
        np.testing.assert_allclose(answer, expected, rtol=0, atol=1e-3)


def test_fit_when_in_bfloat16_then_predicts_the_same_after_save_and_load(
    params, tmp_path
):
    params |= {"model_kwargs": {"dtype": "bfloat16"}}
    clf = SKTuningClassifier(**params).fit(TEXTS, LABELS)
    assert clf.get_module().backbone.model.dtype == torch.bfloat16
    found = clf.predict_proba(TEXTS)
    clf.save_pretrained(tmp_path)
    loaded = SKTuningClassifier.from_pretrained(tmp_path, model=params["model"])
    assert loaded.get_module().backbone.device.type == params["device"]
    np.testing.assert_array_equal(loaded.predict_proba(TEXTS), found)


def test_clear_cache_when_no_estimator_is_left_then_memory_comes_back(params, device):
    clear_cache()
    gc.collect()
    before = torch.cuda.memory_allocated() if device == "cuda" else 0
    # A backbone that no other test has.
    params |= {"model_kwargs": {"dtype": "float32", "n_layers": 1}, "prompt": PROMPT}
    clf = SKTuningClassifier(**params).fit(TEXTS, LABELS)
    model = weakref.ref(clf.get_module().backbone.model)
    del clf
    clear_cache()
    gc.collect()
    assert model() is None
    if device == "cuda":
        assert torch.cuda.memory_allocated() <= before
