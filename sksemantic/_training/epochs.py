"""The epochs of a fit: a net that trains, is interrupted, and keeps what it learned."""

import sys
import warnings
from copy import deepcopy
from types import FrameType
from typing import TYPE_CHECKING, Any

import torch
from skorch.helper import predefined_split

from sksemantic._training.callbacks import make_callbacks
from sksemantic._training.checkpoint import Checkpoint
from sksemantic._training.net import build_net
from sksemantic._training.process_group import processes_of
from sksemantic._training.schedules import TailAverage
from sksemantic._warnings import user_stacklevel
from sksemantic.exceptions import FallbackWarning

if TYPE_CHECKING:
    import numpy as np

    from sksemantic._inputs.dataset import TextDataset
    from sksemantic._model.module import SemanticModule
    from sksemantic._tasks.base import Task
    from sksemantic._training.config import TrainingConfig
    from sksemantic._training.time_limit import TimeLimit

# Parts of scikit-learn that fit an estimator once, for its own sake.
_SINGLE_FITS = (
    "sklearn.base",
    "sklearn.compose",
    "sklearn.pipeline",
    "sklearn.utils",
    "sklearn._config",
)


class Epochs:
    """Trains a module epoch by epoch, from where an earlier run has stopped.

    `held_out` are the texts that are read after each epoch, without being trained on.
    """

    def __init__(
        self,
        module: "SemanticModule",
        task: "Task",
        config: "TrainingConfig",
        rng: "np.random.RandomState",
        dropout_generator: torch.Generator,
        limit: "TimeLimit",
        checkpoint: Checkpoint | None = None,
        held_out: "TextDataset | None" = None,
    ) -> None:
        is_one_epoch = checkpoint is None
        callbacks = make_callbacks(
            config,
            limit,
            has_held_out=held_out is not None,
            has_constant_rates=is_one_epoch,
        )
        if checkpoint is not None:
            callbacks.append(checkpoint.callback())
        self._progress = limit.progress
        self._n_former = 0
        processes_of(config.processes).same_weights(module)
        self.net = build_net(
            module, task, config, callbacks, rng, dropout_generator, limit
        )
        if held_out is not None:
            self.net.set_params(train_split=predefined_split(held_out.windows()))
        if checkpoint is not None:
            checkpoint.resume(self.net)

    @property
    def is_over(self) -> bool:
        """Whether the user, a callback, the time limit or a bad loss ended it."""
        return self.net.is_over

    def go_on_from(
        self, history: list[dict[str, Any]], optimizer_state: dict[str, Any] | None
    ) -> None:
        """Go on after earlier epochs, with their moments and the rates of now."""
        self.net.history.extend(history)
        self._n_former = len(history)
        if optimizer_state is not None:
            optimizer = self.net.optimizer_
            groups = optimizer.state_dict()["param_groups"]
            state = optimizer_state | {"param_groups": groups}
            optimizer.load_state_dict(deepcopy(state))

    @property
    def is_diverged(self) -> bool:
        """Whether the loss, or a weight, is no number."""
        weights = self.net.module_.parameters()
        return self.net.is_diverged_ or not all(w.isfinite().all() for w in weights)

    @property
    def n_wanted(self) -> int:
        """How many epochs there would be with all the time that it takes."""
        net = self.net
        is_whole = net.is_low_enough_ or net.is_stopped_
        return len(net.history) if is_whole else int(net.max_epochs)

    @property
    def has_learned(self) -> bool:
        """Whether there was a step."""
        rows = self.net.history[self._n_former :]
        batches = [batch for row in rows for batch in row.get("batches", [])]
        return any("train_loss" in each for each in [*rows, *batches])

    def train(self, data: "TextDataset", until: int | None = None) -> None:
        """Train up to some epoch, by default the last, unless it was interrupted.

        Raises
        ------
        KeyboardInterrupt
            If the user has interrupted it before anything was learned, or inside a
            search, where the score of half a training would mislead, or one of several
            processes, each of which may have come to another step.
        """
        self._progress.begin("training")
        net = self.net
        if net.is_over:
            return
        n_left = (until or net.max_epochs) - len(net.history)
        try:
            net.partial_fit(data, epochs=max(0, n_left))
        except KeyboardInterrupt:  # while it begins, or ends
            net.interrupted_ = True
        if net.interrupted_ and (not self.has_learned or self._is_one_of_several):
            raise KeyboardInterrupt

    def without_held_out(self) -> None:
        """Read no texts after an epoch any more."""
        self.net.set_params(train_split=None)

    def interrupt(self) -> None:
        """End training here, as if the user had interrupted an epoch."""
        if self._is_one_of_several:
            raise KeyboardInterrupt
        self.net.interrupted_ = True

    def end(self) -> list[dict[str, Any]]:
        """Give the module the averaged weights; return the history of the epochs.

        Another call changes nothing.
        """
        net = self.net
        for _, callback in net.callbacks_:
            if isinstance(callback, TailAverage) and not net.is_diverged_:
                callback.apply(net.module_)
        for row in net.history:
            row.pop("batches", None)  # grow without end
        net.optimizer_.zero_grad(set_to_none=True)
        net.module_.eval()
        return net.history

    def warn_if_interrupted(self) -> None:
        """Say what an interrupted fit has left."""
        net = self.net
        if net.interrupted_:
            warn_of_interrupt(f"in epoch {len(net.history)} of {net.max_epochs}")

    def refuse_divergence(self) -> None:
        """Raise if the loss was no number.

        Raises
        ------
        ValueError
        """
        if self.is_diverged:
            raise ValueError(f"{self._divergence} The estimator is as it was before.")

    def warn_of_divergence(self) -> None:
        """Say that the linear probe is used."""
        warnings.warn(
            f"{self._divergence} The linear probe on the frozen backbone is used.",
            FallbackWarning,
            stacklevel=user_stacklevel(),
        )

    @property
    def _is_one_of_several(self) -> bool:
        """Whether this is one of several fits, or of several processes of one fit."""
        return self.net.processes.size > 1 or _is_one_of_several()

    @property
    def _divergence(self) -> str:
        return (
            f"Training diverged: in epoch {len(self.net.history)} the loss was not "
            "finite. Lower learning rates ('lr', training={'head_lr': ...}) may help, "
            "or targets without outliers."
        )


def warn_of_interrupt(moment: str) -> None:
    """Say when a fit was interrupted, and what it has left.

    Raises
    ------
    KeyboardInterrupt
        Instead, inside a search, a cross-validation or an ensemble.
    """
    if _is_one_of_several():
        raise KeyboardInterrupt
    warnings.warn(
        f"Training was interrupted {moment}; the estimator keeps what it has learned.",
        UserWarning,
        stacklevel=user_stacklevel(),
    )


def _is_one_of_several() -> bool:
    """Whether a search, a cross-validation or an ensemble has called this fit."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module.startswith("sklearn.") and not module.startswith(_SINGLE_FITS):
            return True
        frame = frame.f_back
    return False
