"""The state of a fit between two steps, to go on from in another process.

skorch's `Checkpoint` and `TrainEndCheckpoint` keep weights, optimizer and history, in
files of their own, most of them pickles. What a fit needs beside those to go on to the
same bits is here: random numbers, the place in the epoch, rates and averages, and what
was decided from held-out texts.
"""

import logging
import time
from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from skorch.callbacks import Callback, EpochTimer

from sksemantic._cache import activations

if TYPE_CHECKING:
    from skorch import NeuralNet

    from sksemantic._training.fitted import FittedModel
    from sksemantic._training.progress import Progress

_LOGGER = logging.getLogger("sksemantic")
_MOST_NESTED = 20
_DTYPES = ("float32", "float64", "float16", "int64", "int32", "uint8", "bool")
Tree = dict[str, Any]  # of JSON values, tuples, arrays and tensors
_START, _POSITION = "start", "position"


class Store(Protocol):
    """Where the state of one fit is kept."""

    def read(self, name: str) -> Tree | None:
        """Return what was written last by this name; None if there is nothing."""

    def write(self, **trees: Tree) -> None:
        """Write trees by their names, all at once, in the place of former ones."""

    def finished(self) -> "tuple[FittedModel, Tree] | None":
        """Return the model that the fit has led to, and what was kept with it."""

    def finish(self, model: "FittedModel", extra: Tree) -> None:
        """Keep the model in the place of the state."""

    def close(self) -> None:
        """Let other processes have it."""


class Checkpoint:
    """What an earlier run of a fit has left, and what this one saves.

    Without a store there is nothing, and nothing is saved.

    Parameters
    ----------
    store : Store or None
    seconds : float
        Between two savings within an epoch.
    progress : Progress
    rng : RandomState
        The fit's source of chance.
    """

    def __init__(
        self,
        store: Store | None,
        seconds: float,
        progress: "Progress",
        rng: np.random.RandomState,
    ) -> None:
        self._store = store
        self._seconds = seconds
        self._progress = progress
        self._rng = rng
        self._saved_at = time.monotonic()
        self.start = None if store is None else store.read(_START)
        self.position: Tree | None = None
        # What was decided from held-out texts before the training was over.
        self.decision: Tree | None = None
        if store is not None and self.start is not None:
            self.position = store.read(_POSITION)
        if self.position is not None:
            self.decision = self.position["decision"]

    @property
    def n_threads(self) -> int | None:
        """With how many threads the fit was begun; None if it was not."""
        return None if self.start is None else int(self.start["n_threads"])

    @property
    def cache_limit(self) -> int | None:
        """How many bytes of activations that fit may keep; None if it was not begun.

        What is not kept is computed in batches of other texts, and rounded differently.
        """
        return None if self.start is None else int(self.start["cache_limit"])

    def begin(self, start: Tree) -> None:
        """Save what was decided before the first step."""
        if self._store is None:
            return
        machine = {
            "n_threads": torch.get_num_threads(),
            "cache_limit": activations.limit,
        }
        self._store.write(start=start | machine)
        self._saved_at = time.monotonic()

    def resume(self, net: "NeuralNet") -> None:
        """Give a net the state of the earlier run, if there is one."""
        state = self.position
        if state is None:
            return
        device = net.module_.backbone.device
        net.module_.load_state_dict(state["weights"])
        net.optimizer_.load_state_dict(state["optimizer"])
        net.history.extend(state["history"])
        net.is_time_up_ = state["is_time_up"]
        net.dropout_generator.set_state(state["dropout"])
        _restore_callbacks(net, state["callbacks"], device)
        self._rng.set_state(state["rng"])
        self._progress.go_on_from(state["progress"])
        n_batches = len(state["batches"])
        within = f", after {n_batches} of its batches" if n_batches else ""
        _LOGGER.info("fit goes on in epoch %d%s", len(state["history"]) + 1, within)

    def callback(self) -> "SaveState":
        """Return what saves the state while training; the last of all callbacks."""
        return SaveState(self, self._rng, self.position)

    @property
    def is_due(self) -> bool:
        """Whether the state was last saved long enough ago."""
        if self._store is None:
            return False
        return time.monotonic() - self._saved_at >= self._seconds

    def decide(self, net: "NeuralNet", decision: Tree) -> None:
        """Save what was decided from held-out texts, with the state."""
        self.decision = decision
        self.save(net, self._rng.get_state(), is_within=False)

    def save(self, net: "NeuralNet", rng_state: Any, *, is_within: bool) -> None:
        """Save the state between two steps, within an epoch or after one.

        `rng_state` is that of the epoch's start, or of now.
        """
        if self._store is None:
            return
        rows = [{k: v for k, v in r.items() if k != "batches"} for r in net.history]
        state = {
            "weights": net.module_.state_dict(),
            "optimizer": net.optimizer_.state_dict(),
            "callbacks": _callback_states(net),
            "history": rows[:-1] if is_within else rows,
            "batches": [*map(dict, net.history[-1]["batches"])] if is_within else [],
            "is_time_up": net.is_time_up_,
            "dropout": net.dropout_generator.get_state(),
            "rng": rng_state,
            "decision": self.decision,
            "progress": self._progress.to_state(),
        }
        self._store.write(position=state)
        self._saved_at = time.monotonic()


class SaveState(Callback):
    """Saves the state after each epoch, and from time to time within one.

    `position` is where an earlier run has stopped: the first epoch goes on from there.
    """

    def __init__(
        self, checkpoint: Checkpoint, rng: np.random.RandomState, position: Tree | None
    ) -> None:
        self.checkpoint = checkpoint
        self.rng = rng
        self.position = position

    def on_train_begin(self, net: "NeuralNet", **kwargs: Any) -> None:
        """Give the callbacks their states again, which this may have reset."""
        if self.position is not None:
            device = net.module_.backbone.device
            _restore_callbacks(net, self.position["callbacks"], device)
            # A schedule that has begun anew has changed the rates.
            net.optimizer_.load_state_dict(self.position["optimizer"])

    def on_epoch_begin(self, net: "NeuralNet", **kwargs: Any) -> None:
        """Note the random numbers of the start; go on within the epoch."""
        self.rng_state = self.rng.get_state()
        position, self.position = self.position, None
        if position is not None and position["batches"]:
            net.history[-1]["batches"] = position["batches"]
            net.n_batches_done = len(position["batches"])
            device = net.module_.backbone.device
            _restore_callbacks(net, position["callbacks"], device)

    def on_batch_end(
        self, net: "NeuralNet", training: bool = False, **kwargs: Any
    ) -> None:
        """Save the state if it is time."""
        if training and self.checkpoint.is_due:
            self.checkpoint.save(net, self.rng_state, is_within=True)

    def on_epoch_end(self, net: "NeuralNet", **kwargs: Any) -> None:
        """Save the state."""
        self.checkpoint.save(net, self.rng.get_state(), is_within=False)


def _callbacks(net: "NeuralNet") -> list[tuple[str, Callback]]:
    """Return the callbacks by name, but for the one that holds the time of day."""
    return [(n, each) for n, each in net.callbacks_ if not isinstance(each, EpochTimer)]


def _callback_states(net: "NeuralNet") -> Tree:
    """Return what callbacks have learned: attributes that end in an underscore.

    Those of other types than a tree may hold, and without a state of their own, are
    left out.
    """
    states: Tree = {}
    for callback_name, callback in _callbacks(net):
        learned = {k: v for k, v in vars(callback).items() if k.endswith("_")}
        objects = {k: v.state_dict() for k, v in learned.items() if _has_state(v)}
        states[callback_name] = {
            "values": {k: v for k, v in learned.items() if _is_tree(v)},
            "objects": {k: v for k, v in objects.items() if _is_tree(v)},
        }
    return states


def _has_state(value: Any) -> bool:
    """Whether it is a schedule of torch, or is kept in the same way."""
    methods = ("state_dict", "load_state_dict")
    return not isinstance(value, type) and all(hasattr(value, m) for m in methods)


def _restore_callbacks(net: "NeuralNet", states: Tree, device: torch.device) -> None:
    for callback_name, callback in _callbacks(net):
        state = states.get(callback_name, {"values": {}, "objects": {}})
        for name, value in state["values"].items():
            setattr(callback, name, _copied(value, device))
        for name, value in state["objects"].items():
            if _has_state(getattr(callback, name, None)):
                getattr(callback, name).load_state_dict(_copied(value, device))


def _is_tree(value: Any, depth: int = 0) -> bool:
    """Whether a value is nested of what a store can write, and reads as the same."""
    if depth > _MOST_NESTED:
        return False
    if type(value) in (dict, OrderedDict):
        has_keys = all(type(key) in (str, int) for key in value)
        return has_keys and all(_is_tree(v, depth + 1) for v in value.values())
    if type(value) in (list, tuple):
        return all(_is_tree(each, depth + 1) for each in value)
    if isinstance(value, np.ndarray | np.generic):
        return type(value) is not np.matrix and value.dtype in _DTYPES
    if isinstance(value, torch.Tensor):
        is_dense = value.layout is torch.strided and value.device.type != "meta"
        return is_dense and str(value.dtype).removeprefix("torch.") in _DTYPES
    return type(value) in (type(None), bool, int, float, str)


def _copied(value: Any, device: torch.device) -> Any:
    """Return a tree with copies of its tensors on a device."""
    if isinstance(value, Mapping):
        return {key: _copied(each, device) for key, each in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_copied(each, device) for each in value)
    if isinstance(value, torch.Tensor):
        return value.to(device, copy=True)
    return value
