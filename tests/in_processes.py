"""Runs a function in several processes that can exchange tensors."""

import multiprocessing
import os
import tempfile

import pytest
import torch
import torch.distributed as dist

# Python 3.12 warns of a fork beside threads. A fork need not import all anew.
marks = [
    pytest.mark.skipif(
        not (hasattr(os, "fork") and dist.is_available() and dist.is_gloo_available()),
        reason="processes cannot be forked, or exchange nothing",
    ),
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
]
_SECONDS = 60


def in_processes(function, n_processes=2):
    """Return what the function, called with each rank, returns or raises."""
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    with tempfile.TemporaryDirectory() as folder:
        file = f"file://{folder}/processes"
        processes = [
            context.Process(
                target=_run, args=(function, rank, n_processes, file, results)
            )
            for rank in range(n_processes)
        ]
        for process in processes:
            process.start()
        try:
            found = dict(results.get(timeout=_SECONDS) for _ in processes)
            for process in processes:
                process.join(_SECONDS)
        finally:
            for process in processes:
                process.kill()
    return [found[rank] for rank in range(n_processes)]


def _run(function, rank, n_processes, file, results):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", file, rank=rank, world_size=n_processes)
    try:
        result = function(rank)
    except BaseException as exc:
        result = exc
    results.put((rank, result))
    dist.destroy_process_group()


class Wire:
    """Counts the bytes of the tensors that this process takes part in exchanging."""

    def __init__(self, monkeypatch):
        self.n_bytes = []
        for name, place in (("all_reduce", 0), ("broadcast", 0), ("all_gather", 1)):
            monkeypatch.setattr(dist, name, self._counted(getattr(dist, name), place))

    def _counted(self, exchange, place):
        def count(*args, **kwargs):
            self.n_bytes.append(args[place].nbytes)
            return exchange(*args, **kwargs)

        return count
