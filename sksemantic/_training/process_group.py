"""Several processes that train one estimator, by the collectives of torch.

Before each exchange all say whether one of them has failed: a process that fails takes
part in the next exchange of the others, and these fail as well, rather than wait.
"""

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import import_module
from threading import RLock, Timer
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.distributed as dist
from joblib.parallel import get_active_backend
from torch import Tensor, nn

from sksemantic._backbone.device import resolve_device
from sksemantic._inputs.validation import resumable
from sksemantic._training.processes import ALONE, Processes, Value

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sksemantic._inputs.dataset import TextDataset

_LOGGER = logging.getLogger("sksemantic")
_PATIENCE = 30.0  # seconds, after which it is told that the others are waited for
_lock = RLock()  # what two threads exchange at once would be mixed up


class OtherProcessError(RuntimeError):
    """Another process has failed, or is gone."""


class _Several(Processes):
    """One of the processes of torch's default group."""

    def __init__(self) -> None:
        self.rank = dist.get_rank()
        self.size = dist.get_world_size()
        backends = dist.get_backend()
        is_on_cpu = any(name in backends for name in ("gloo", "mpi"))
        accelerator = None if is_on_cpu else torch.accelerator.current_accelerator()
        self._device = accelerator or torch.device("cpu")  # of what is exchanged

    @contextmanager
    def together(self) -> Iterator[None]:
        with _lock:
            try:
                self._await_others()
                yield
                self._meet()
            except OtherProcessError:
                raise
            except BaseException as exc:
                with suppress(OtherProcessError):
                    self._await_others(f"{type(exc).__name__}: {exc}")
                raise

    def share_of_memory(self, n_bytes: int) -> int:
        return n_bytes // int(os.environ.get("LOCAL_WORLD_SIZE", self.size))

    def read(
        self, compute: "Callable[[TextDataset], NDArray]", data: "TextDataset"
    ) -> "NDArray":
        n_texts = len(data)
        if n_texts < self.size:
            return compute(data)
        # Every n-th: the texts may be sorted by length.
        shares = [np.arange(rank, n_texts, self.size) for rank in range(self.size)]
        rows = [data.rows_of(chosen) for chosen in shares]
        own = torch.from_numpy(compute(data.take(shares[self.rank])))
        gathered = self.gather(own, [*map(len, rows)]).numpy()
        in_order = np.empty_like(gathered)
        in_order[np.concatenate(rows)] = gathered
        return in_order

    def gather(self, rows: Tensor, counts: list[int]) -> Tensor:
        padded = torch.zeros(
            (max(counts), *rows.shape[1:]), dtype=rows.dtype, device=self._device
        )
        padded[: len(rows)] = rows.detach()
        found = [torch.empty_like(padded) for _ in range(self.size)]
        with self._exchange():
            dist.all_gather(found, padded)
        parts = [
            each[:n].to(rows.device) for each, n in zip(found, counts, strict=True)
        ]
        parts[self.rank] = rows
        return torch.cat(parts)

    def sum_gradients(self, module: nn.Module, loss: Tensor) -> Tensor:
        weights = [*module.parameters()]
        # A process that had no text has no gradient; a weight that none has used stays
        # without one.
        has = torch.tensor([weight.grad is not None for weight in weights])
        gradients = [torch.zeros_like(w) if w.grad is None else w.grad for w in weights]
        flat = torch.cat(
            [each.reshape(-1).to(self._device) for each in (*gradients, has, loss)]
        )
        with self._exchange():
            dist.all_reduce(flat)
        *sums, has, loss = flat.to(loss.device).split(
            [*(weight.numel() for weight in weights), len(weights), 1]
        )
        for weight, total, n_used in zip(weights, sums, has.tolist(), strict=True):
            weight.grad = total.view_as(weight) if n_used else None
        return loss[0]

    @torch.no_grad()
    def same_weights(self, module: nn.Module) -> None:
        values = [*module.state_dict().values()]
        flat = torch.cat([each.reshape(-1).to(self._device) for each in values])
        with self._exchange():
            dist.broadcast(flat, 0)
        parts = flat.split([each.numel() for each in values])
        for value, part in zip(values, parts, strict=True):
            value.copy_(part.view_as(value))

    def same(self, value: Value) -> Value:
        told = [value if self.is_first else None]
        with self._exchange():
            dist.broadcast_object_list(told, 0, device=self._device)
        return value if self.is_first else told[0]  # type: ignore[return-value]

    def same_source(self, source: np.random.RandomState) -> np.random.RandomState:
        source = resumable(source)
        source.set_state(self.same(source.get_state()))
        return source

    def check_alike(self, find_facts: Callable[[], Mapping[str, str]]) -> None:
        found: list[Any] = [None] * self.size
        facts = dict(find_facts())
        with self._exchange():
            dist.all_gather_object(found, facts)
        for rank, others in enumerate(found):
            names = [name for name in facts if others.get(name) != found[0].get(name)]
            if names:
                raise ValueError(
                    "With training={'processes': 'all'} every process must be called "
                    f"with the same data and parameters. Process {rank} of {self.size} "
                    f"got another {', another '.join(names)} than process 0. Read and "
                    "split the data in the same way, and in the same order, in each "
                    "process, or leave 'processes' out for a fit of each one's own."
                )

    def _await_others(self, failure: str | None = None) -> None:
        """Meet the others, who may not be here yet; after a while say so."""
        message = (
            "process %d of %d waits for the others: with training={'processes': 'all'} "
            "all of them must call fit"
        )
        timer = Timer(_PATIENCE, _LOGGER.warning, (message, self.rank, self.size))
        timer.daemon = True
        timer.start()
        try:
            self._meet(failure)
        finally:
            timer.cancel()

    def _meet(self, failure: str | None = None) -> None:
        """Hear whether a process has failed.

        Raises
        ------
        OtherProcessError
            If another one has, or is gone.
        """
        with _explained():
            mark = torch.zeros(1, device=self._device)
            mark += 0 if failure is None else self.rank + 1
            dist.all_reduce(mark, dist.ReduceOp.MAX)
            failed = int(mark) - 1
            if failed < 0:
                return
            told = [failure]
            dist.broadcast_object_list(told, failed, device=self._device)
        if failed != self.rank:
            raise OtherProcessError(
                f"Process {failed} of {self.size} has failed, and with it this fit, "
                f"which leaves the estimator as it was before: {told[0]}"
            )

    @contextmanager
    def _exchange(self) -> Iterator[None]:
        self._meet()
        with _explained():
            yield


@contextmanager
def _explained() -> Iterator[None]:
    """Say what it means that an exchange has failed."""
    try:
        yield
    except RuntimeError as exc:
        raise OtherProcessError(
            "The processes of this fit cannot reach one another any more: one of them "
            "has ended, or has waited for too long. The estimator is as it was before."
        ) from exc


def begin_processes(parameters: Mapping[str, Any]) -> Processes:
    """Return the processes of a fit; join those that were started together.

    Raises
    ------
    ImportError
        If accelerate, which joins them, is not installed.
    ValueError
        If they cannot share a fit.
    """
    which = asked_for(parameters)
    n_started = int(os.environ.get("WORLD_SIZE", "1"))
    if which != "all" or (n_started < 2 and not _is_begun()):
        return ALONE
    if get_active_backend()[0].nesting_level > 0:
        raise ValueError(
            "training={'processes': 'all'} must be left out inside a worker of joblib, "
            "as in a search with n_jobs=2: a worker is none of the processes that were "
            "started together. Set n_jobs=1, and each fit is done by all processes."
        )
    if not _is_begun():
        _join(parameters["device"], n_started)
    return processes_of(which)


def asked_for(parameters: Mapping[str, Any]) -> str | None:
    """Return which processes an estimator's parameters ask for, checked or not."""
    training = parameters["training"]
    return training.get("processes") if isinstance(training, Mapping) else None


def processes_of(which: str | None) -> Processes:
    """Return the processes of a fit that has begun."""
    if which != "all" or not _is_begun() or dist.get_world_size() < 2:
        return ALONE
    return _Several()


def check_places(parameters: Mapping[str, Any]) -> None:
    """Refuse a device that all processes would have in common.

    Raises
    ------
    ValueError
    """
    processes = processes_of(asked_for(parameters))
    if processes.size == 1:
        return
    device = parameters["device"]
    if ":" in device:
        raise ValueError(
            "The 'device' parameter must be 'auto', 'cpu' or a kind of device with "
            "training={'processes': 'all'}: each process has one of its own. Got "
            f"{device!r} instead, which would be the same for all {processes.size}."
        )
    device_map = (parameters["model_kwargs"] or {}).get("device_map")
    if device_map is not None:
        raise ValueError(
            "The 'device_map' entry of the 'model_kwargs' parameter must be left out "
            "with training={'processes': 'all'}, with which each process has a whole "
            f"backbone on a device of its own. Got {device_map!r} instead. For a "
            "backbone larger than one device start one process, and leave 'processes' "
            "out."
        )


def _is_begun() -> bool:
    return dist.is_available() and dist.is_initialized()


def _join(device: str, n_started: int) -> None:
    """Join the others by accelerate, which knows the launchers, and sets the GPU."""
    try:
        accelerate: Any = import_module("accelerate")
    except ImportError as exc:
        raise ImportError(
            "training={'processes': 'all'} needs accelerate where several processes "
            "were started: pip install accelerate."
        ) from exc
    accelerate.PartialState(cpu=resolve_device(device).type != "cuda")
    if not _is_begun():
        raise ValueError(
            f"{n_started} processes were started, but accelerate has joined none: it "
            "was asked for its state before, without cpu=True, where there is no GPU. "
            "Make no Accelerator before fit, or pass cpu=True to it."
        )
