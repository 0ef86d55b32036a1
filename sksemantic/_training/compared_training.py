"""Training beside texts that are held out, and what they decide."""

from copy import deepcopy
from dataclasses import asdict, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from sksemantic._model.inference import compute_scores
from sksemantic._tasks.classification import ClassifierTask
from sksemantic._tasks.linear_probe import LinearProbe
from sksemantic._training.calibration import Calibration
from sksemantic._training.checkpoint import Checkpoint
from sksemantic._training.comparison import Comparison
from sksemantic._training.epochs import Epochs
from sksemantic._training.head import fit_head_to_windows, head_state
from sksemantic._training.probe import Probing
from sksemantic._training.process_group import processes_of
from sksemantic._training.progress import Progress
from sksemantic._training.result import TrainingResult

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from sksemantic._inputs.dataset import TextDataset
    from sksemantic._model.module import SemanticModule
    from sksemantic._tasks.base import Task
    from sksemantic._training.config import TrainingConfig


class ComparedTraining:
    """Trains a module, and compares it with the linear probe on held-out texts.

    Parameters
    ----------
    module, task, config, rng, progress : object
        Of the trainer.
    epochs : Epochs
        That read the held-out texts.
    data : TextDataset
        All texts.
    is_held_out : ndarray of shape (n_texts,), bool
    held_out : tuple of TextDataset and ndarray of shape (n_rows, k)
        Those texts, and the losses of the linear probe.
    start : dict of str to Tensor
        The module's state before the first step.
    """

    def __init__(
        self,
        module: "SemanticModule",
        task: "Task",
        config: "TrainingConfig",
        rng: np.random.RandomState,
        progress: Progress,
        epochs: Epochs,
        data: "TextDataset",
        is_held_out: "NDArray",
        held_out: "tuple[TextDataset, NDArray]",
        start: "dict[str, Tensor]",
    ) -> None:
        self._module = module
        self._task = task
        self._config = config
        self._rng = rng
        self._progress = progress
        self._epochs = epochs
        self._data = data
        self._held_out, self._probe_losses = held_out
        self._start = start
        self._others = data.take(np.flatnonzero(~is_held_out))
        self._calibration = Calibration(task, config, self._others)

    def run(
        self, probing: Probing, probe: LinearProbe, checkpoint: Checkpoint
    ) -> TrainingResult:
        """Train; let held-out texts join, or go back to the linear probe."""
        epochs, config = self._epochs, self._config
        try:
            comparison = self._decide(checkpoint)
        except KeyboardInterrupt:
            if not epochs.has_learned:
                raise
            epochs.interrupt()
            comparison = None
        has_joined = comparison is not None and comparison.has_joined
        if has_joined:
            epochs.without_held_out()
        else:
            comparison = None
        train = self._data if has_joined else self._others
        epochs.train(train)
        is_classifier = isinstance(self._task, ClassifierTask)
        temperature = config.temperature if is_classifier else 1.0
        final_probe = probe
        try:
            history = epochs.end()
            self._fit_head_to_windows(train)
            self._progress.begin("comparison")
            comparison = comparison or self._compare()
            temperature = self._calibration.temperature(self._module)
            final_probe = probing.fit(with_held_out=True, penalty=probe.penalty)
            final_probe = replace(final_probe, cv_loss=probe.cv_loss)
        except KeyboardInterrupt:
            epochs.interrupt()
            history = epochs.end()
        epochs.warn_if_interrupted()
        if comparison is not None and comparison.kept == "linear_probe":
            fallback = self._start | head_state(self._module, final_probe)
            self._module.load_state_dict(fallback)
            comparison.warn_of_fallback()
            temperature = 1.0  # the linear probe's penalty is chosen by its log-loss
        return TrainingResult(
            history,
            final_probe,
            comparison,
            temperature,
            is_interrupted=epochs.net.interrupted_,
        )

    def _decide(self, checkpoint: Checkpoint) -> Comparison | None:
        """Train for the first epochs, and say whether the held-out texts join.

        Return None if there is no training left to join.
        """
        config, decision = self._config, checkpoint.decision
        if decision is not None:
            self._calibration.restore(decision["calibration"], self._held_out)
            return Comparison(**decision["comparison"])
        can_join = not (config.early_stopping or config.callbacks)
        max_epochs = self._epochs.net.max_epochs
        n_first = int(config.join_after * max_epochs) if can_join else 0
        if not n_first:
            return None
        self._epochs.train(self._others, n_first)
        if self._epochs.is_over or n_first == max_epochs:
            return None
        comparison = self._compare_halfway()
        if comparison is not None:
            calibration = self._calibration.to_state()
            decision = {"comparison": asdict(comparison), "calibration": calibration}
            checkpoint.decide(self._epochs.net, decision)
        return comparison

    def _compare_halfway(self) -> Comparison | None:
        """Compare, and leave the module as it is; return None if interrupted."""
        self._progress.begin("comparison", is_interlude=True)
        head = deepcopy(self._module.head.state_dict())
        try:
            self._fit_head_to_windows(self._others)
            comparison = self._compare()
        except KeyboardInterrupt:
            self._epochs.interrupt()
            return None
        finally:
            self._module.head.load_state_dict(head)
        return replace(comparison, has_joined=comparison.kept == "trained")

    def _fit_head_to_windows(self, train: "TextDataset") -> None:
        if not self._epochs.is_diverged:
            module, task = self._module, self._task
            fit_head_to_windows(module, task, train, self._config, self._rng)

    def _compare(self) -> Comparison:
        """Compare the module as it is with the linear probe on held-out texts."""
        held_out, module = self._held_out, self._module
        module.eval()
        processes = processes_of(self._config.processes)
        scores = processes.read(partial(compute_scores, module), held_out)
        self._calibration.compare(module, scores, held_out)
        losses = self._task.losses(scores, held_out.targets)
        comparison = Comparison.paired(
            held_out.text_means(losses),
            held_out.text_means(self._probe_losses),
            held_out.text_weights,
            self._config.clearly_better,
            self._task.loss_names,
        )
        return processes.same(comparison)
