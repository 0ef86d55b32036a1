import os
import threading
import warnings

import numpy as np
import pytest
import torch
from conftest import build_module, load_tiny, values_of

from sksemantic._backbone.torch_state import torch_generator, torch_state
from sksemantic._cache import activations


def test_generator_when_used_then_torchs_own_goes_on_as_before():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    with torch_generator(7):
        first = torch.rand(4)
    assert torch.equal(torch.rand(2), expected)
    with torch_generator(7):
        assert torch.equal(torch.rand(4), first)


def test_module_when_weights_are_being_loaded_then_is_built_after_that(tiny_bert):
    backbone = load_tiny(tiny_bert)
    alone = values_of(build_module(backbone, seed=5))
    is_loading, may_end = threading.Event(), threading.Event()
    built = []

    def load():  # as transformers does
        with torch_generator():
            torch.set_default_dtype(torch.bfloat16)
            is_loading.set()
            may_end.wait(10)
            torch.manual_seed(11)
            torch.set_default_dtype(torch.float32)

    loader = threading.Thread(target=load)
    builder = threading.Thread(
        target=lambda: built.append(build_module(backbone, seed=5))
    )
    loader.start()
    is_loading.wait(10)
    builder.start()
    builder.join(0.2)
    assert builder.is_alive()
    may_end.set()
    loader.join(10)
    builder.join(10)
    assert {each.dtype for each in built[0].parameters()} == {torch.float32}
    np.testing.assert_array_equal(values_of(built[0]), alone)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.parametrize(
    "lock", [torch_state, activations._lock], ids=["torch", "cache"]
)
def test_lock_when_another_thread_holds_it_then_a_fork_waits(lock):
    is_held = threading.Event()

    def hold():
        with lock:
            is_held.set()
            threading.Event().wait(0.3)

    holder = threading.Thread(target=hold)
    holder.start()
    is_held.wait(10)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # a fork with threads
        child = os.fork()
    if child == 0:
        os._exit(0 if lock.acquire(timeout=5) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    holder.join()
