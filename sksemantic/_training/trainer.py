"""What `fit` does once there is a module and tokenised data.

1. Hold out some texts.
2. Linear probe: fit it on the frozen features of the others.
3. Train on these for a share of the epochs.
4. Compare: unless the linear probe is clearly better on the held-out texts, they join
   the training for the remaining epochs.
5. Finish: average the weights. If the linear probe was and stays clearly better, it is
   fitted on all texts and kept.

With early stopping the texts stay held out and the best epoch is restored.
"""

from copy import deepcopy
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from skorch.history import History

from sksemantic._tasks.classification import ClassifierTask
from sksemantic._tasks.linear_probe import LinearProbe
from sksemantic._training.checkpoint import Checkpoint, Tree
from sksemantic._training.compared_training import ComparedTraining
from sksemantic._training.epochs import Epochs
from sksemantic._training.head import (
    fit_head_last,
    fit_head_to_windows,
    head_state,
    init_head,
    set_feature_scale,
)
from sksemantic._training.holdout import warn_of_none_held_out
from sksemantic._training.plan import Plan, Planner, count_texts
from sksemantic._training.probe import Probing
from sksemantic._training.process_group import processes_of
from sksemantic._training.progress import Progress
from sksemantic._training.result import TrainingResult
from sksemantic._training.side_information import NO_SIDE_INFORMATION, SideInformation
from sksemantic._training.time_limit import TimeLimit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sksemantic._inputs.dataset import TextDataset
    from sksemantic._model.module import SemanticModule
    from sksemantic._tasks.base import Task
    from sksemantic._training.config import TrainingConfig


class Trainer:
    """Trains one module by one configuration; `rng` is the only source of chance.

    `fit` goes on from where an earlier run of the same fit has stopped.
    """

    def __init__(
        self,
        module: "SemanticModule",
        task: "Task",
        config: "TrainingConfig",
        rng: np.random.RandomState,
        progress: Progress,
    ) -> None:
        self.module = module
        self.task = task
        self.config = config
        self.rng = rng
        self.progress = progress
        self.processes = processes_of(config.processes)
        self.limit = TimeLimit(config.time_limit, progress, self.processes)
        self.planner = Planner(module, task, config, rng)
        seed = rng.randint(np.iinfo(np.int32).max)
        self.dropout_generator = torch.Generator().manual_seed(seed)

    def fit(
        self,
        data: "TextDataset",
        checkpoint: Checkpoint,
        *,
        is_fresh: bool = True,  # else a warm start: head and scale stay as they are
        is_new: "NDArray | None" = None,  # which outputs (K,) the warm start adds
        can_cut_layers: bool = False,
        side: SideInformation = NO_SIDE_INFORMATION,
    ) -> TrainingResult:
        """Train, and leave the trained model or the linear probe in the module."""
        n_epochs = int(self.config.max_epochs)
        all_layers = self.module.config.n_tuned_layers
        n_texts = count_texts(data, side)
        plan = self._plan(data, side, can_cut_layers, checkpoint.start)
        self.config, data, is_held_out = plan.config, plan.data, plan.is_held_out
        rng_state = self.rng.get_state()
        probing = Probing(
            self.module,
            self.task,
            data,
            is_held_out,
            self.config,
            self.rng,
            self.progress,
            is_fresh=is_fresh,
            side=plan.side,
        )
        self.progress.begin("linear probe")
        if checkpoint.start is not None:
            probe = LinearProbe(**checkpoint.start["probe"])
            self.module.load_state_dict(checkpoint.start["weights"])
            self.rng.set_state(checkpoint.start["rng_at_step"])
            self.dropout_generator.set_state(checkpoint.start["dropout"])
        else:
            probe = probing.fit()
            if is_fresh:
                self._init_head(data, probe)
            elif is_new is not None:
                probing.fit_new_outputs(is_new, probe.penalty)
        if not is_fresh and probing.lacks_classes():
            probing.draw_to_head()
            probe = probing.fit() if checkpoint.start is None else probe
        if not plan.has_training:
            self.limit.warn((plan.n_texts, n_texts), (0, 0))
            return TrainingResult(History(), probe)
        if checkpoint.start is None:
            checkpoint.begin(self._start(plan, probe, rng_state))
        if is_held_out.any():
            result = self._train_and_compare(
                data, is_held_out, probing, probe, checkpoint
            )
        else:
            result = self._train_alone(
                data, plan.side, probe, checkpoint, is_fresh=is_fresh
            )
        n_layers = self.module.config.n_tuned_layers, all_layers
        n_wanted = n_epochs if result.n_wanted is None else result.n_wanted
        cut_epochs = len(result.history), n_wanted
        self.limit.warn((plan.n_texts, n_texts), cut_epochs, n_layers)
        return result

    def partial_fit(
        self, data: "TextDataset", *, former: TrainingResult | None
    ) -> TrainingResult:
        """Train one more epoch at constant rates.

        Without a former result this sets the features' scale and the head's start.

        Raises
        ------
        ValueError
            If the loss is no number any more.
        """
        if former is None:
            self.progress.begin("frozen pass")
            raw = self.processes.read(self.module.frozen.features, data)
            set_feature_scale(self.module, raw, data.row_weights)
            self._init_head(data, None)
        epochs = self._epochs()
        if former is not None:
            epochs.go_on_from(former.history, former.optimizer_state)
        epochs.train(data, until=len(epochs.net.history) + 1)
        epochs.refuse_divergence()
        epochs.warn_if_interrupted()
        return replace(
            former or TrainingResult(History()),
            history=epochs.end(),
            optimizer_state=deepcopy(epochs.net.optimizer_.state_dict()),
        )

    def _plan(
        self,
        data: "TextDataset",
        side: SideInformation,
        can_cut_layers: bool,
        start: Tree | None,
    ) -> Plan:
        """Plan the fit, or take the plan of the earlier run."""
        self.progress.begin("measuring")
        if start is None:
            plan = self.planner.plan(
                data,
                side,
                self.limit,
                can_cut_layers,
                is_watched=self.progress.is_watched,
            )
        else:
            layers = start["tuned_layers"]
            plan = self.planner.plan_again(
                start["plan"], data, side, self.limit, layers
            )
            self.rng.set_state(start["rng"])
        self.module = self.planner.module
        self.progress.expect(plan.phases, plan.costs)
        return plan

    def _start(self, plan: Plan, probe: LinearProbe, rng_state: Any) -> Tree:
        """Return what was decided before the first step."""
        return {
            "plan": plan.to_state(),
            "tuned_layers": self.module.config.tuned_layers,
            "rng": rng_state,
            "rng_at_step": self.rng.get_state(),
            "dropout": self.dropout_generator.get_state(),
            "probe": asdict(probe),
            "weights": self.module.state_dict(),
        }

    def _train_alone(
        self,
        data: "TextDataset",
        side: SideInformation,
        probe: LinearProbe,
        checkpoint: Checkpoint,
        *,
        is_fresh: bool,
    ) -> TrainingResult:
        """Train on all texts, where none is held out."""
        warn_of_none_held_out(self.config, len(data))
        start = deepcopy(self.module.state_dict())
        epochs = self._epochs(checkpoint)
        epochs.train(data)
        try:
            history = epochs.end()
            if not epochs.is_diverged:
                self._fit_head(data, side, is_fresh=is_fresh)
        except KeyboardInterrupt:
            epochs.interrupt()
            history = epochs.end()
        epochs.warn_if_interrupted()
        if epochs.is_diverged:
            self.module.load_state_dict(start | head_state(self.module, probe))
            epochs.warn_of_divergence()
            return TrainingResult(history, probe)
        is_classifier = isinstance(self.task, ClassifierTask)
        has_temperature = is_classifier and side.label_texts is None
        return TrainingResult(
            history,
            probe,
            None,
            self.config.temperature if has_temperature else 1.0,
            is_interrupted=epochs.net.interrupted_,
            n_wanted=epochs.n_wanted,
        )

    def _fit_head(
        self, data: "TextDataset", side: SideInformation, *, is_fresh: bool
    ) -> None:
        """Fit the head anew, where it was not trained or is too small."""
        self.progress.begin("comparison")
        module, task, config, rng = self.module, self.task, self.config, self.rng
        if config.objective == "contrast":
            fit_head_last(module, task, data, side, config, rng, is_fresh=is_fresh)
        else:
            fit_head_to_windows(module, task, data, config, rng)

    def _train_and_compare(
        self,
        data: "TextDataset",
        is_held_out: "NDArray",
        probing: Probing,
        probe: LinearProbe,
        checkpoint: Checkpoint,
    ) -> TrainingResult:
        """Train; let held-out texts join, or go back to the linear probe."""
        held_out, probe_losses = probing.held_out_losses(probe)
        start = deepcopy(self.module.state_dict())
        epochs = self._epochs(checkpoint, held_out)
        training = ComparedTraining(
            self.module,
            self.task,
            self.config,
            self.rng,
            self.progress,
            epochs,
            data,
            is_held_out,
            (held_out, probe_losses),
            start,
        )
        return training.run(probing, probe, checkpoint)

    def _init_head(self, data: "TextDataset", probe: LinearProbe | None) -> None:
        start = self.config.head_init
        init_head(self.module, self.task, data, start, probe, self.rng)

    def _epochs(
        self,
        checkpoint: Checkpoint | None = None,
        held_out: "TextDataset | None" = None,
    ) -> Epochs:
        """Return the epochs to come; without a checkpoint it is one alone."""
        return Epochs(
            self.module,
            self.task,
            self.config,
            self.rng,
            self.dropout_generator,
            self.limit,
            checkpoint,
            held_out,
        )
