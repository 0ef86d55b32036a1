"""One lock for what reads or changes torch's global state.

While transformers loads weights it sets torch's default dtype, and draws from torch's
generator: a module that another thread builds meanwhile would get another dtype and
other initial values.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock
from typing import Any

import torch


def fork_safe_lock() -> Any:
    """Return a reentrant lock that a fork waits for, for as long as the process runs.

    In the child, where the thread that holds it does not run, nobody would release it.
    """
    lock = RLock()
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(
            before=lock.acquire,
            after_in_parent=lock.release,
            after_in_child=lock.release,
        )
    return lock


torch_state = fork_safe_lock()


@contextmanager
def torch_generator(seed: int | None = None) -> Iterator[None]:
    """Hold the lock, and leave torch's generator as it was; start it at a seed."""
    with torch_state, torch.random.fork_rng(devices=[]):
        if seed is not None:
            torch.manual_seed(seed)
        yield
