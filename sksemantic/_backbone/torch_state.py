"""One lock for what reads or changes torch's global state.

While transformers loads weights it sets torch's default dtype, and draws from torch's
generator: a module that another thread builds meanwhile would get another dtype and
other initial values.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock

import torch

torch_state = RLock()
# A fork waits until no other thread holds the lock: in the child, where that thread
# does not run, nobody would release it.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=torch_state.acquire,
        after_in_parent=torch_state.release,
        after_in_child=torch_state.release,
    )


@contextmanager
def torch_generator(seed: int | None = None) -> Iterator[None]:
    """Hold the lock, and leave torch's generator as it was; start it at a seed."""
    with torch_state, torch.random.fork_rng(devices=[]):
        if seed is not None:
            torch.manual_seed(seed)
        yield
