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

import warnings
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from skorch.helper import predefined_split
from skorch.history import History

from sksemantic._model.inference import compute_scores
from sksemantic._tasks.classification import ClassifierTask
from sksemantic._training.calibration import Calibration
from sksemantic._training.callbacks import TailAverage, make_callbacks
from sksemantic._training.comparison import Comparison
from sksemantic._training.head import (
    fit_head_to_windows,
    head_state,
    init_head,
    set_feature_scale,
)
from sksemantic._training.holdout import warn_of_none_held_out
from sksemantic._training.net import build_net
from sksemantic._training.plan import Planner, count_texts
from sksemantic._training.probe import LabelTexts, Probing
from sksemantic._training.progress import Progress
from sksemantic._training.time_limit import TimeLimit
from sksemantic._warnings import user_stacklevel

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from skorch import NeuralNet

    from sksemantic._inputs.dataset import TextDataset
    from sksemantic._model.module import SemanticModule
    from sksemantic._tasks.base import Task
    from sksemantic._tasks.linear_probe import LinearProbe
    from sksemantic._training.config import TrainingConfig


@dataclass(frozen=True)
class TrainingResult:
    """What training leaves, beside the module's own weights.

    Attributes
    ----------
    history : list of dict
        skorch's record of the epochs, without that of single batches.
    linear_probe : LinearProbe or None
    comparison : Comparison or None
        None if no texts were held out.
    temperature : float
        What the scores are divided by before they become probabilities.
    optimizer_state : dict or None
        To go on from, after `partial_fit`.
    """

    history: list[dict[str, Any]]
    linear_probe: "LinearProbe | None" = None
    comparison: Comparison | None = None
    temperature: float = 1.0
    optimizer_state: dict[str, Any] | None = None


class Trainer:
    """Trains one module by one configuration; `rng` is the only source of chance."""

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
        self.limit = TimeLimit(config.time_limit, progress)
        self.planner = Planner(module, task, config, rng)
        seed = rng.randint(np.iinfo(np.int32).max)
        self.dropout_generator = torch.Generator().manual_seed(seed)

    def fit(
        self,
        data: "TextDataset",
        *,
        is_fresh: bool = True,  # else a warm start: head and scale stay as they are
        can_cut_layers: bool = False,
        label_texts: LabelTexts | None = None,
    ) -> TrainingResult:
        """Train, and leave the trained model or the linear probe in the module."""
        n_epochs = int(self.config.max_epochs)
        all_layers = self.module.config.n_tuned_layers
        self.progress.begin("measuring")
        plan = self.planner.plan(data, label_texts, self.limit, can_cut_layers)
        self.module = self.planner.module
        n_texts = plan.n_texts, count_texts(data, label_texts)
        self.progress.expect(plan.phases, plan.costs)
        self.config, data, is_held_out = plan.config, plan.data, plan.is_held_out
        label_texts = plan.label_texts
        probing = Probing(
            self.module,
            self.task,
            data,
            is_held_out,
            self.config,
            self.rng,
            self.progress,
            is_fresh=is_fresh,
            label_texts=label_texts,
        )
        self.progress.begin("linear probe")
        probe = probing.fit()
        if is_fresh:
            self._init_head(data, probe)
        if not plan.has_training:
            self.limit.warn(n_texts, (0, 0))
            return TrainingResult(History(), probe)
        if is_held_out.any():
            result = self._train_and_compare(data, is_held_out, probing, probe)
        else:
            warn_of_none_held_out(self.config, len(data))
            net = self._train(self._net(), data)
            has_prior = isinstance(self.task, ClassifierTask) and label_texts is None
            temperature = self.config.temperature if has_prior else 1.0
            result = TrainingResult(self._finish(net, data), probe, None, temperature)
        n_layers = self.module.config.n_tuned_layers, all_layers
        self.limit.warn(n_texts, (len(result.history), n_epochs), n_layers)
        return result

    def partial_fit(
        self, data: "TextDataset", *, former: TrainingResult | None
    ) -> TrainingResult:
        """Train one more epoch at constant rates.

        Without a former result this sets the features' scale and the head's start.
        """
        if former is None:
            self.progress.begin("frozen pass")
            raw = self.module.frozen.features(data)
            set_feature_scale(self.module, raw, data.row_weights)
            self._init_head(data, None)
        net = self._net(is_one_epoch=True)
        if former is not None:
            net.history.extend(former.history)
            if former.optimizer_state is not None:
                _go_on_from(net.optimizer_, former.optimizer_state)
        self.progress.begin("training")
        net.partial_fit(data, epochs=1)
        optimizer_state = deepcopy(net.optimizer_.state_dict())
        return replace(
            former or TrainingResult(History()),
            history=self._finish(net, None),
            optimizer_state=optimizer_state,
        )

    def _train_and_compare(
        self,
        data: "TextDataset",
        is_held_out: "NDArray",
        probing: Probing,
        probe: "LinearProbe",
    ) -> TrainingResult:
        """Train; let held-out texts join, or go back to the linear probe."""
        config = self.config
        start = deepcopy(self.module.state_dict())
        held_out, probe_losses = probing.held_out_losses(probe)
        train = data.take(np.flatnonzero(~is_held_out))
        calibration = Calibration(self.task, config, train)
        net = self._net(held_out)
        can_join = not (config.early_stopping or config.callbacks)
        n_first = int(config.join_after * net.max_epochs) if can_join else 0
        has_joined = False
        if n_first:
            self._train(net, train, n_first)
            self.progress.begin("comparison", is_interlude=True)
            head = deepcopy(self.module.head.state_dict())
            fit_head_to_windows(self.module, self.task, train, config, self.rng)
            comparison = self._compare(held_out, probe_losses, calibration)
            self.module.head.load_state_dict(head)
            is_over = net.is_over or n_first == net.max_epochs
            has_joined = comparison.kept == "trained" and not is_over
        if has_joined:
            comparison = replace(comparison, has_joined=True)
            net.set_params(train_split=None)
            self._train(net, data)
        else:
            self._train(net, train)
        history = self._finish(net, data if has_joined else train)
        self.progress.begin("comparison")
        if not has_joined:
            comparison = self._compare(held_out, probe_losses, calibration)
        temperature = calibration.temperature(self.module)
        final_probe = probing.fit(with_held_out=True, penalty=probe.penalty)
        final_probe = replace(final_probe, cv_loss=probe.cv_loss)
        if comparison.kept == "linear_probe":
            self.module.load_state_dict(start | head_state(self.module, final_probe))
            comparison.warn_of_fallback(self.task.first_loss)
            temperature = 1.0  # the linear probe's penalty is chosen by its log-loss
        return TrainingResult(history, final_probe, comparison, temperature)

    def _init_head(self, data: "TextDataset", probe: "LinearProbe | None") -> None:
        start = self.config.head_init
        init_head(self.module, self.task, data, start, probe, self.rng)

    def _compare(
        self,
        held_out: "TextDataset",
        probe_losses: "NDArray",
        calibration: Calibration,
    ) -> Comparison:
        """Compare the module as it is with the linear probe on held-out texts."""
        self.module.eval()
        scores = compute_scores(self.module, held_out)
        calibration.compare(self.module, scores, held_out)
        losses = self.task.losses(scores, held_out.targets)
        return Comparison.paired(
            held_out.text_means(losses),
            held_out.text_means(probe_losses),
            held_out.text_weights,
            self.config.clearly_better,
        )

    def _finish(
        self, net: "NeuralNet", data: "TextDataset | None"
    ) -> list[dict[str, Any]]:
        """Take the averaged weights; return the history of the epochs."""
        if net.interrupted_:
            warnings.warn(
                f"Training was interrupted in epoch {len(net.history)} of "
                f"{net.max_epochs}; the estimator keeps what it has learned.",
                UserWarning,
                stacklevel=user_stacklevel(),
            )
        for _, callback in net.callbacks_:
            if isinstance(callback, TailAverage):
                callback.apply(self.module)
        for row in net.history:
            row.pop("batches", None)  # grow without end
        net.optimizer_.zero_grad(set_to_none=True)
        self.module.eval()
        if data is not None:
            fit_head_to_windows(self.module, self.task, data, self.config, self.rng)
        return net.history

    def _train(
        self, net: "NeuralNet", data: "TextDataset", until: int | None = None
    ) -> "NeuralNet":
        """Train up to some epoch, by default the last, unless it was interrupted."""
        self.progress.begin("training")
        n_left = (until or net.max_epochs) - len(net.history)
        if n_left > 0 and not net.is_over:
            net.partial_fit(data, epochs=n_left)
        return net

    def _net(
        self, held_out: "TextDataset | None" = None, *, is_one_epoch: bool = False
    ) -> "NeuralNet":
        callbacks = make_callbacks(
            self.config,
            self.limit,
            has_held_out=held_out is not None,
            has_constant_rates=is_one_epoch,
        )
        net = build_net(
            self.module,
            self.task,
            self.config,
            callbacks,
            self.rng,
            self.dropout_generator,
            self.limit,
        )
        if held_out is not None:
            net.set_params(train_split=predefined_split(held_out.windows()))
        return net


def _go_on_from(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Take over the moments, by a copy, and keep the rates of now."""
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict(deepcopy(state | {"param_groups": groups}))
