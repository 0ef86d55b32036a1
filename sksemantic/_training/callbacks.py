"""skorch callbacks: which ones a training has, and what they show of it."""

from collections.abc import Callable
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from skorch.callbacks import (
    Callback,
    EarlyStopping,
    GradientNormClipping,
    LRScheduler,
)
from torch import Tensor

from sksemantic._training.process_group import processes_of
from sksemantic._training.progress import Progress
from sksemantic._training.schedules import CoolDown, TailAverage, WarmupLinearDecay
from sksemantic._training.time_limit import TimeLimit

if TYPE_CHECKING:
    from skorch import NeuralNet

    from sksemantic._training.config import TrainingConfig


class EpochLine(Callback):
    """Show one line for each epoch.

    skorch's `PrintLog` keeps the columns of the first epoch; here the validation ends
    when the held-out texts join the training.
    """

    def __init__(self, sink: Callable[[str], object] = print) -> None:
        self.sink = sink

    def on_epoch_end(self, net: "NeuralNet", **kwargs: Any) -> None:
        """Show the epoch's numbers."""
        row = net.history[-1]
        parts = [f"epoch {row['epoch']:>3}"]
        for name in ("train_loss", "valid_loss", "valid_acc"):
            if name in row:
                parts.append(f"{name} {row[name]:.4f}")
        self.sink("  ".join([*parts, f"{row['dur']:.1f} s"]))


class FollowProgress(Callback):
    """Tell a `Progress` of every batch and epoch."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress

    def on_epoch_begin(self, net: "NeuralNet", **kwargs: Any) -> None:
        """Show which epoch begins."""
        self.progress.show(_epoch(net))
        if self.progress.hooks is not None:
            self.progress.hooks.begin_epoch()

    def on_batch_end(
        self,
        net: "NeuralNet",
        batch: tuple[dict[str, Tensor], Tensor] | None = None,
        training: bool = False,
        **kwargs: Any,
    ) -> None:
        """Count the batch."""
        if batch is not None:
            self.progress.count("train" if training else "read", batch[0])

    def on_epoch_end(self, net: "NeuralNet", **kwargs: Any) -> None:
        """Show the epoch's loss, and the score of the held-out texts."""
        row = net.history[-1]
        note = f"loss {row['train_loss']:.3f}"
        for name, shown in (("valid_acc", "acc"), ("valid_loss", "loss")):
            if name in row:  # one of them: a terminal may have no more than 80 columns
                note += f", held-out {shown} {row[name]:.3f}"
                break
        self.progress.show(_epoch(net), note)
        if self.progress.hooks is not None and self.progress.hooks.end_epoch(net):
            net.is_stopped_ = True
        net.is_stopped_ = net.processes.same(net.is_stopped_)


def _epoch(net: "NeuralNet") -> str:
    """Return the epoch of now, of how many; `partial_fit` adds one to all before."""
    n_begun = len(net.history)
    is_more = n_begun > net.max_epochs
    return f"epoch {n_begun}" if is_more else f"epoch {n_begun}/{net.max_epochs}"


def make_callbacks(
    config: "TrainingConfig",
    limit: TimeLimit,
    *,
    has_held_out: bool,
    has_constant_rates: bool,
) -> list[Any]:
    """Return the callbacks of a training: the estimator's own, then the user's.

    A user's schedule of learning rates replaces ours, and the averaged weights, which
    belong to it.
    """
    callbacks: list[Any] = [
        GradientNormClipping(config.max_gradient_norm),
    ]
    users = deepcopy(list(config.callbacks))
    has_schedule = not has_constant_rates and not any(map(_is_lr_scheduler, users))
    assert isinstance(config.max_epochs, int)
    if has_schedule and config.objective == "task":
        if not config.early_stopping:  # that one restores the weights of one epoch
            average = TailAverage(config.max_epochs, limit, config.average_from)
            callbacks.append(average)
        schedule = WarmupLinearDecay(config.max_epochs, limit, config.warmup)
        callbacks.append(schedule)
    callbacks += users
    callbacks.append(FollowProgress(limit.progress))
    if config.verbose > 1 and processes_of(config.processes).is_first:
        callbacks.append(EpochLine())
    if has_schedule and config.objective == "contrast":
        callbacks.append(
            CoolDown(
                config.max_epochs,
                config.warmup,
                config.cool_down_below,
                config.cool_down_steps,
            )
        )
    if config.early_stopping and has_held_out:
        patience = EarlyStopping(patience=config.n_iter_no_change, load_best=True)
        callbacks.append(patience)
    return callbacks


def _is_lr_scheduler(callback: Any) -> bool:
    if isinstance(callback, tuple):
        callback = callback[1]
    return isinstance(callback, LRScheduler) or callback is LRScheduler
