"""What a fit is going to do: with which texts, for how many epochs, in what time."""

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from sksemantic._training.config import TrainingConfig
from sksemantic._training.forecast import Forecaster
from sksemantic._training.holdout import (
    draw_at_most,
    draw_held_out,
    draw_texts,
    held_out_share,
)
from sksemantic._training.presets import from_linear_probe
from sksemantic._training.process_group import processes_of
from sksemantic._training.progress import BatchCost
from sksemantic._training.time_limit import TimeLimit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sksemantic._inputs.dataset import TextDataset
    from sksemantic._model.module import SemanticModule
    from sksemantic._tasks.base import Task
    from sksemantic._training.side_information import SideInformation

# With a head that starts from zero fewer than two epochs are no better than the linear
# probe. Measured with MiniLM on SST-2 and TREC, 1,000 texts.
_FEW_EPOCHS = 2
# In the time of so many epochs of all layers, more epochs of the upper half are better.
# Measured likewise: benchmarks/shorter.py.
_EPOCHS_OF_ALL_LAYERS = 2.5
# Measuring takes as long as some ten steps.
_STEPS_TO_MEASURE = 200
_LARGEST_SEED = np.iinfo(np.int32).max


@dataclass(frozen=True)
class Plan:
    """What a fit is going to do.

    Attributes
    ----------
    config : TrainingConfig
        With as many epochs as there is time for.
    data : TextDataset
        The texts that there is time for.
    side : SideInformation
        With the texts without labels that there is time for.
    is_held_out : ndarray of shape (n,), bool
        None are held out where there are few labels.
    has_training : bool
        Whether there is more than a linear probe.
    phases : dict of str to float
        Forecast of the seconds of each phase.
    costs : dict of str to BatchCost
        See `Forecaster`.
    chosen, unlabelled : ndarray or None
        Which of all texts, with a label and without, there is time for; None for all.
    """

    config: TrainingConfig
    data: "TextDataset"
    side: "SideInformation"
    is_held_out: "NDArray"
    has_training: bool
    phases: dict[str, float]
    costs: dict[str, BatchCost]
    chosen: "NDArray | None" = None
    unlabelled: "NDArray | None" = None

    @property
    def n_texts(self) -> int:
        """How many texts are read, with a label or without."""
        return count_texts(self.data, self.side)

    @property
    def n_epochs(self) -> int:
        """How many epochs are begun."""
        return int(self.config.max_epochs)

    def to_state(self) -> dict[str, Any]:
        """Return what another run of the fit needs to plan the same."""
        return {
            "config": self.config.to_dict(),
            "is_held_out": self.is_held_out,
            "phases": self.phases,
            "costs": {kind: asdict(cost) for kind, cost in self.costs.items()},
            "chosen": self.chosen,
            "unlabelled": self.unlabelled,
        }


def count_texts(data: "TextDataset", side: "SideInformation") -> int:
    """Return how many texts there are, with a label or without."""
    return len(data) + (0 if side.unlabelled is None else len(side.unlabelled))


class Planner:
    """Makes plans for one module and one configuration."""

    def __init__(
        self,
        module: "SemanticModule",
        task: "Task",
        config: TrainingConfig,
        rng: np.random.RandomState,
    ) -> None:
        self._task = task
        self._config = config
        self._rng = rng
        self.module = module
        self.forecaster = Forecaster(module, task, config)
        self._is_measured = True

    def plan(
        self,
        data: "TextDataset",
        side: "SideInformation",
        limit: TimeLimit,
        can_cut_layers: bool = False,
        *,
        is_watched: bool = True,
    ) -> Plan:
        """Plan a fit that keeps within the limit.

        With time for a few epochs alone, another `module` tunes fewer layers in more.
        A short fit without a limit, which nobody watches, is not measured.
        """
        n_steps = self._config.n_steps(len(data)) * int(self._config.max_epochs)
        is_short = limit.seconds is None and n_steps < _STEPS_TO_MEASURE
        self._is_measured = is_watched or not is_short
        plan = self._plan_within(limit, data, side)
        enough = min(_EPOCHS_OF_ALL_LAYERS, int(self._config.max_epochs))
        if can_cut_layers and plan.has_training and limit.epochs_left < enough:
            smaller = self.module.with_upper_half(self._rng.randint(_LARGEST_SEED))
            if smaller.frozen.split_layer is not None:  # the layers below run once
                self.module = smaller
                self.forecaster = Forecaster(smaller, self._task, self._config)
                plan = self._plan_within(limit, data, side)
        return plan

    def plan_again(
        self,
        state: dict[str, Any],
        data: "TextDataset",
        side: "SideInformation",
        limit: TimeLimit,
        tuned_layers: tuple[int, int],
    ) -> Plan:
        """Return the plan of an earlier run of this fit."""
        if tuned_layers != self.module.config.tuned_layers:
            self.module = self.module.with_upper_half(0)
        config = TrainingConfig.from_dict(state["config"])
        config = replace(
            config,
            callbacks=self._config.callbacks,
            processes=self._config.processes,
        )
        chosen, unlabelled = state["chosen"], state["unlabelled"]
        phases = state["phases"]
        limit.foresee(phases)
        limit.after = phases.get("comparison", 0.0)
        return Plan(
            config,
            *_take(data, side, chosen, unlabelled),
            is_held_out=state["is_held_out"],
            has_training=True,
            phases=phases,
            costs={kind: BatchCost(**cost) for kind, cost in state["costs"].items()},
            chosen=chosen,
            unlabelled=unlabelled,
        )

    def _plan_within(
        self,
        limit: TimeLimit,
        data: "TextDataset",
        side: "SideInformation",
    ) -> Plan:
        plan = self._plan_all(data, side)
        limit.foresee(plan.phases)
        n_texts = limit.n_texts(plan.phases, plan.n_texts)
        if n_texts < plan.n_texts:
            chosen, unlabelled = self._draw(data, side, n_texts)
            part = _take(data, side, chosen, unlabelled)
            plan = self._plan_all(*part)
            plan = replace(plan, chosen=chosen, unlabelled=unlabelled)
        if plan.has_training:
            n_epochs = limit.n_epochs(plan.phases, plan.n_epochs)
            is_few = limit.epochs_left < min(_FEW_EPOCHS, plan.n_epochs)
            plan = _with_epochs(plan, n_epochs, is_few=is_few)
        return plan

    def _draw(
        self, data: "TextDataset", side: "SideInformation", n_texts: int
    ) -> "tuple[NDArray | None, NDArray | None]":
        """Draw so many texts of all, those with labels first, up to a half."""
        others = side.unlabelled
        n_others = 0 if others is None else len(others)
        n_labelled = min(len(data), max(n_texts // 2, n_texts - n_others))
        chosen = unlabelled = None
        if n_labelled < len(data):
            strata = self._task.strata(data.targets, len(data))
            strata = 2 * strata + (data.weights > 0)  # some that count, of each class
            share = n_labelled / len(data)
            chosen = draw_texts(data, strata, share, self._rng)
        if others is not None:
            n_read = len(data) if chosen is None else len(chosen)
            n_left = max(0, n_texts - n_read)
            if n_left < n_others:
                unlabelled = draw_at_most(n_others, n_left, self._rng)
        return chosen, unlabelled

    def _plan_all(self, data: "TextDataset", side: "SideInformation") -> Plan:
        """Plan a fit to all these texts, however long it takes."""
        config, n_texts = self._config, len(data)
        has_texts, n_outputs = side.label_texts is not None, self._task.n_outputs
        is_few = has_texts and config.is_few(n_texts)
        has_training = not (has_texts and config.are_too_few(n_texts, n_outputs))
        is_held_out = np.zeros(n_texts, bool)
        has_watched = has_training and config.early_stopping
        if config.objective == "task" and (not is_few or has_watched):
            strata = self._task.strata(data.targets, n_texts)
            share = held_out_share(config, n_texts)
            is_held_out = draw_held_out(
                data, strata, share, self._rng, of_each=has_watched
            )
        costs: dict[str, BatchCost] = {}
        phases = {"frozen pass": 0.0, "linear probe": 0.0, "training": 0.0}
        unlabelled = side.unlabelled
        measured = data if n_texts else unlabelled
        if self._is_measured and measured is not None and len(measured):
            self.forecaster.measure(measured)
            costs = self.forecaster.costs
            phases = self.forecaster.phases(
                data, is_held_out, unlabelled=unlabelled, has_training=has_training
            )
        phases, costs = self._shared(phases, costs)
        return Plan(config, data, side, is_held_out, has_training, phases, costs)

    def _shared(
        self, phases: dict[str, float], costs: dict[str, BatchCost]
    ) -> tuple[dict[str, float], dict[str, BatchCost]]:
        """Return the forecast for all processes, from that for one alone."""
        processes = processes_of(self._config.processes)
        n = processes.size
        shared = {name: seconds / n for name, seconds in phases.items()}
        if "linear probe" in phases:  # all fit it
            shared["linear probe"] = phases["linear probe"]
        # The others count the batches of this process alone.
        whole = {kind: costs[kind].over(n) for kind in ("train", "read") if costs}
        return processes.same((shared, costs | whole))


def _take(
    data: "TextDataset",
    side: "SideInformation",
    chosen: "NDArray | None",
    unlabelled: "NDArray | None",
) -> "tuple[TextDataset, SideInformation]":
    """Return the texts that were chosen, with labels and without."""
    if chosen is not None:
        data = data.take(chosen)
    if unlabelled is not None:
        assert side.unlabelled is not None
        others = side.unlabelled.take(unlabelled)
        side = replace(side, unlabelled=others)
    return data, side


def _with_epochs(plan: Plan, n_epochs: int, *, is_few: bool) -> Plan:
    """Return the plan with fewer epochs; very few start from the linear probe."""
    config = replace(plan.config, max_epochs=n_epochs)
    if is_few and config.head_init == "zeros" and config.objective == "task":
        config = from_linear_probe(config)
    seconds = plan.phases["training"] * n_epochs / plan.n_epochs
    return replace(plan, config=config, phases=plan.phases | {"training": seconds})
