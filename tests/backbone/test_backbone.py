import os
import signal
import threading
import time

import numpy as np
import pytest
import torch
from conftest import BACKBONES, CPU, DECODERS, load_tiny
from transformers import AutoModel, AutoTokenizer

from sksemantic._backbone.backbone import Backbone

LENGTHS = {"bert": 128, "roberta": 128, "llama": 256, "gemma3": 256}


@pytest.fixture(params=BACKBONES)
def name(request):
    return request.param


@pytest.fixture
def backbone(name, tiny):
    return load_tiny(tiny(name))


def test_is_causal_when_tried_then_is_right(name, backbone):
    assert backbone.is_causal == (name in DECODERS)


def test_max_positions_when_read_then_positions_never_used_do_not_count(name, backbone):
    assert backbone.max_positions == LENGTHS[name]


@pytest.mark.parametrize("name", ["bert", "roberta"], indirect=True)
def test_max_positions_when_text_is_that_long_then_model_runs(name, backbone):
    ids = torch.full((1, backbone.max_positions), 10)
    assert backbone.run({"input_ids": ids}).shape == (1, LENGTHS[name], 32)
    with pytest.raises((IndexError, RuntimeError), match="index out of range|size"):
        backbone.run({"input_ids": torch.full((1, ids.shape[1] + 3), 10)})


def test_run_when_bare_then_is_the_model_that_transformers_loads(name, backbone, tiny):
    model = AutoModel.from_pretrained(tiny(name)).eval()
    ids = torch.tensor([[5, 6, 7, 8]])
    with torch.no_grad():
        expected = model(ids).last_hidden_state
    torch.testing.assert_close(
        backbone.run({"input_ids": ids}), expected, rtol=0, atol=1e-5
    )
    assert torch.equal(backbone.embed(ids), model.get_input_embeddings()(ids))


def test_backbone_when_made_then_is_frozen_and_in_eval_mode(name, tiny):
    model = AutoModel.from_pretrained(tiny(name)).train()
    backbone = Backbone(model, AutoTokenizer.from_pretrained(tiny(name)))
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert not any(module.training for module in model.modules())
    assert backbone.has_layer_hooks
    with pytest.raises(TypeError, match="without a source"):
        backbone.__reduce__()


def test_size_when_read_then_is_the_models(backbone):
    assert backbone.hidden_size == 32
    assert backbone.n_layers == len(
        backbone.prefix_mechanism.read(backbone.embed(torch.tensor([[5]]))).states
    )
    assert backbone.device == CPU
    # A GiB of 40 bytes for each of C features and L layers.
    per_token = 40 * 32 * backbone.n_layers
    assert backbone.training_tokens == 2**30 // per_token
    assert backbone.inference_limits.tokens == 1024


def test_output_embeddings_when_tied_then_are_the_inputs(tiny_gemma3):
    backbone = load_tiny(tiny_gemma3)
    expected = backbone.embed(torch.tensor([5, 2])).numpy()
    factor = np.sqrt(32)  # Gemma scales its input embeddings
    np.testing.assert_allclose(
        factor * backbone.output_embeddings([5, 2]), expected, rtol=1e-6
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_fork_when_another_thread_chooses_a_mechanism_then_child_can_choose_too(
    tiny_bert,
):
    shared = load_tiny(tiny_bert)
    one, other = (Backbone(shared.model, shared.tokenizer) for _ in range(2))
    is_choosing = threading.Event()

    def wait(*args):
        is_choosing.set()
        time.sleep(0.2)

    hook = shared.model.register_forward_pre_hook(wait)
    chooser = threading.Thread(target=lambda: one.prefix_mechanism)
    chooser.start()
    is_choosing.wait(60)
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        os._exit(0 if other.prefix_mechanism.name == "attention" else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    chooser.join()
    hook.remove()
