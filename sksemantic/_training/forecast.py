"""How long a fit will take: a few batches are run, and the plan is added up.

Measuring changes nothing: neither the module, nor what is kept, nor any random number
of the fit.
"""

import math
import time
from collections.abc import Callable, Hashable, Sequence
from copy import deepcopy
from dataclasses import asdict, replace
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from scipy.optimize import nnls

from sksemantic._cache import activations
from sksemantic._inputs.batching import BucketSampler, cut_into_batches
from sksemantic._inputs.dataset import TextDataset
from sksemantic._training.callbacks import make_callbacks
from sksemantic._training.net import build_net
from sksemantic._training.progress import BatchCost, Progress, Shapes
from sksemantic._training.regression_cost import linear_probe_seconds
from sksemantic._training.time_limit import TimeLimit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sksemantic._backbone.backbone import Backbone
    from sksemantic._model.module import SemanticModule
    from sksemantic._tasks.base import Task
    from sksemantic._training.config import TrainingConfig

_QUANTILES = (0.5, 0.95)  # of the batches by length, that are measured
_GROWTH = 4  # of what is run of a batch, until it is whole or takes
_SECONDS_A_BATCH = 0.5
_MOST_RUNS = 4  # of one batch
# A batch is run again until it has taken so long, or once if it takes four times that.
_SECONDS_TO_REPEAT = 0.5
_SHARE_TO_REPEAT = 0.01  # of a time limit, if that is less
_ALIKE = 1.5  # ratio of lengths, and of texts, up to which costs are taken over
# Takes texts; returns what runs a batch of them.
_Prepare = Callable[[TextDataset], Callable[[], Any]]
# Costs by backbone and by how the module is built, with the sizes of what was measured.
_Known = dict[Hashable, list[tuple["NDArray", dict[str, BatchCost]]]]
_known_costs: "WeakKeyDictionary[Backbone, _Known]" = WeakKeyDictionary()


class Forecaster:
    """Measures batches of a module, and adds up what a fit will do.

    `costs` are those of a batch by kind: "frozen", a text read for the linear probe;
    "lower", the part of this below the first tuned layer, whose outcome is kept; and
    "train" and "read", a step and a forward pass of the module.
    """

    def __init__(
        self, module: "SemanticModule", task: "Task", config: "TrainingConfig"
    ) -> None:
        # What is measured counts as time of the fit.
        limit = config.time_limit or math.inf
        self._repeat = min(_SECONDS_TO_REPEAT, _SHARE_TO_REPEAT * limit)
        self.module = module
        self._task = task
        self._config = config
        self.batch_size = config.batch_size
        self.costs: dict[str, BatchCost] = {}

    def measure(self, data: TextDataset) -> None:
        """Run batches like those of a fit to all these texts, unless one has before."""
        known = _known_costs.setdefault(self.module.backbone, {})
        config = asdict(self.module.config) | {"prompt": None}
        kind = self._config.objective, self._config.contrast > 0
        key = repr(config), kind, self.batch_size, torch.get_num_threads()
        measured = known.setdefault(key, [])
        lengths = np.quantile(data.lengths, _QUANTILES)
        n_texts = min(len(data), self.batch_size)
        sizes = np.array([*lengths, n_texts, 1e-3 + self._kept_share(data)])
        for others, costs in measured:
            if np.abs(np.log(sizes / others)).max() < np.log(_ALIKE):
                self.costs = costs
                return
        self.costs = self._measured(data)
        measured.append((sizes, self.costs))

    def _measured(self, data: TextDataset) -> dict[str, BatchCost]:
        frozen, read = self.module.frozen, self.module.frozen.run_once
        measure = partial(_measure, repeat=self._repeat)
        train = measure(data, epoch_batches(data, self.batch_size), self.prepared_step)
        by_length, _ = _alone(data).by_length()
        limits = self.module.backbone.inference_limits
        batches = cut_into_batches(by_length.lengths, limits)
        whole = measure(by_length, batches, lambda some: partial(read, some))
        lower = BatchCost()
        if frozen.split_layer is not None and frozen.split_layer.layer > 0:
            below = partial(read, only_lower=True)
            lower = measure(by_length, batches, lambda some: partial(below, some))
        kept = self._kept_share(data)
        return {
            "frozen": whole,
            "lower": lower,
            "train": train.less(lower, kept),
            "read": whole.less(lower, kept),
        }

    def phases(
        self,
        data: TextDataset,
        is_held_out: "NDArray",
        *,
        unlabelled: TextDataset | None = None,
        has_training: bool = True,
    ) -> dict[str, float]:
        """Return the seconds of each phase to come.

        Parameters
        ----------
        data : TextDataset
            All texts of the fit, or as many of the same lengths.
        is_held_out : ndarray of shape (n,), bool
        unlabelled : TextDataset or None
            Texts without labels, of which the features are computed as well.
        has_training : bool, default=True
            Whether there is more than a linear probe.
        """
        config = self._config
        n_rows = len(data.rows_of(np.arange(len(data))))
        share = min(1.0, config.max_probe_rows / max(1, n_rows))
        fit, refit = linear_probe_seconds(
            self._task, int(share * n_rows), self.module.head.in_features, config
        )
        unread = self._kept_share(data) * self._pass_seconds(data, "lower")
        frozen = share * self._pass_seconds(data, "frozen") + (1 - share) * unread
        if unlabelled is not None:
            frozen += self._pass_seconds(unlabelled, "frozen")
        seconds = {"frozen pass": frozen, "linear probe": fit}
        if not has_training:
            return seconds
        train = data.take(np.flatnonzero(~is_held_out))
        held_out = data.take(np.flatnonzero(is_held_out))
        validation = self._pass_seconds(held_out, "read")
        n_first = n_epochs = int(config.max_epochs)
        if len(held_out) and not (config.early_stopping or config.callbacks):
            n_first = int(config.join_after * n_epochs)
        first = self._epoch_seconds(train) + validation
        later = self._epoch_seconds(data)
        seconds["training"] = n_first * first + (n_epochs - n_first) * later
        if config.objective == "contrast":  # the head is fitted when all is trained
            seconds["comparison"] = self._pass_seconds(data, "read") + refit
        if len(held_out):
            n_calibrated = min(len(train), config.max_calibration_texts)
            grown = self._pass_seconds(train.take(np.arange(n_calibrated)), "read")
            seconds["comparison"] = validation + 2 * grown + refit
        return seconds

    def prepared_step(self, data: TextDataset) -> Callable[[], Any]:
        """Return what trains a copy, one step on these texts each time it is called."""
        limit = TimeLimit(None, Progress())
        config = replace(
            self._config, callbacks=(), verbose=0, early_stopping=False, processes="one"
        )
        config = replace(config, batch_size=len(data))
        net = build_net(
            deepcopy(self.module),
            self._task,
            config,
            make_callbacks(config, limit, has_held_out=False, has_constant_rates=False),
            np.random.RandomState(0),
            torch.Generator(),
            limit,
        )

        def step() -> None:
            net.partial_fit(data, epochs=1)
            if net.interrupted_:  # which skorch takes for a normal end
                raise KeyboardInterrupt

        return step

    def _kept_share(self, data: TextDataset) -> float:
        """Return the share of the lower layers' states that there is room for."""
        if self.module.frozen.split_layer is None:
            return 0.0
        return min(1.0, activations.limit / max(1, self.state_bytes(data)))

    def state_bytes(self, data: TextDataset) -> int:
        """Return the bytes of one layer's states of all texts."""
        backbone = self.module.backbone
        n_tokens = len(data.token_ids.flat)
        if data.pair_texts is not None:
            n_tokens += len(data.pair_texts.flat)
        return backbone.hidden_size * backbone.model.dtype.itemsize * n_tokens

    def _pass_seconds(self, data: TextDataset, kind: str) -> float:
        """Return the seconds of reading all texts once, without gradient."""
        limits = self.module.backbone.inference_limits
        readings = [data.token_ids.lengths]
        if data.pair_texts is not None:
            readings.append(data.pair_texts.lengths)
        seconds = 0.0
        for lengths in map(np.sort, readings):
            for batch in cut_into_batches(lengths, limits):
                shape = (len(batch), int(lengths[batch].max()))
                seconds += self.costs[kind].seconds([shape])
        return seconds

    def _epoch_seconds(self, data: TextDataset) -> float:
        """Return the seconds of an epoch."""
        shapes = batch_shapes(data, epoch_batches(data, self.batch_size))
        return sum(map(self.costs["train"].seconds, shapes))


def _measure(
    data: TextDataset,
    batches: Sequence[Sequence[int]],
    prepare: _Prepare,
    repeat: float = _SECONDS_TO_REPEAT,
) -> BatchCost:
    """Run some of the batches, each for some seconds, and fit the seconds they take."""
    longest = [shapes[0][1] for shapes in batch_shapes(data, batches)]
    order = np.argsort(longest, kind="stable")
    last = len(order) - 1
    chosen = dict.fromkeys(order[math.ceil(q * last)] for q in _QUANTILES)
    # A single text: else, where two are slow, all that is run has the same shape, and
    # nothing tells what a batch costs from what a text costs.
    few = data.take(np.array(batches[order[last // 2]][:1]))
    measured = [(few, _least_seconds(prepare(few), repeat))]
    measured += [_measure_batch(data, batches[i], prepare, repeat) for i in chosen]
    shapes = [batch_shapes(some, [range(len(some))])[0] for some, _ in measured]
    return _fit_cost(shapes, [seconds for _, seconds in measured])


def _measure_batch(
    data: TextDataset, batch: Sequence[int], prepare: _Prepare, repeat: float
) -> tuple[TextDataset, float]:
    """Return a batch, or as many of its texts as are soon run, and the seconds."""
    n_texts = min(2, len(batch))
    while True:
        some = data.take(np.array(batch[-n_texts:]))
        run = prepare(some)
        first = _seconds(run)
        if n_texts == len(batch) or first > _SECONDS_A_BATCH:
            return some, min(first, _least_seconds(run, repeat))
        n_texts = min(_GROWTH * n_texts, len(batch))


def _least_seconds(run: Callable[[], Any], repeat: float) -> float:
    """Return the seconds of a run; it is repeated, as the first ones are slow."""
    seconds: list[float] = []
    for _ in range(_MOST_RUNS):
        seconds.append(_seconds(run))
        budget = repeat if len(seconds) > 1 else 4 * repeat
        if sum(seconds) > budget:
            break
    return min(seconds)


def _seconds(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    run()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def _fit_cost(shapes: Sequence[Shapes], seconds: Sequence[float]) -> BatchCost:
    """Return the cost by non-negative least squares of the relative errors."""
    units = [BatchCost(1, 0, 0), BatchCost(0, 1, 0), BatchCost(0, 0, 1)]
    terms = np.array([[unit.seconds(each) for unit in units] for each in shapes])
    relative = terms / np.array(seconds)[:, None]
    scale = relative.max(axis=0)
    found, _ = nnls(relative / scale, np.ones(len(seconds)))
    return BatchCost(*(found / scale).tolist())


def batch_shapes(data: TextDataset, batches: Sequence[Sequence[int]]) -> list[Shapes]:
    """Return the shapes of each batch's padded token ids, pairs' own texts included."""
    readings = [(1, data.lengths)]
    if data.pair_texts is not None:
        readings.append((2, data.pair_texts.lengths.reshape(-1, 2).max(axis=1)))
    return [
        [(n * len(batch), int(lengths[batch].max())) for n, lengths in readings]
        for batch in batches
    ]


def epoch_batches(data: TextDataset, batch_size: int) -> list[list[int]]:
    """Return batches like those of an epoch."""
    return [*BucketSampler(data.lengths, batch_size, np.random.RandomState(0))]


def _alone(data: TextDataset) -> TextDataset:
    """Return the texts as they are read one by one: windows, or texts of pairs."""
    return data.windows() if data.pair_texts is None else TextDataset(data.pair_texts)
