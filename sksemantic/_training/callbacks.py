"""skorch callbacks: learning rates, averaged weights, progress."""

from collections.abc import Callable
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import torch
from skorch.callbacks import (
    Callback,
    EarlyStopping,
    GradientNormClipping,
    LRScheduler,
)
from torch import Tensor

from sksemantic._training.progress import Progress
from sksemantic._training.time_limit import TimeLimit

if TYPE_CHECKING:
    from skorch import NeuralNet

    from sksemantic._inputs.dataset import TextDataset
    from sksemantic._model.module import SemanticModule
    from sksemantic._training.config import TrainingConfig


_FIRST_STEPS = 0.2  # share of the time that they take


class _ByShare(Callback):
    """Follows the share of all epochs that is done, step by step.

    skorch's and torch's schedules follow a number of steps fixed beforehand. Here
    held-out texts may join the training, which changes the steps of an epoch.
    """

    def __init__(self, max_epochs: int, limit: TimeLimit) -> None:
        self.max_epochs = max_epochs
        self.limit = limit

    def on_epoch_begin(
        self, net: "NeuralNet", dataset_train: "TextDataset", **kwargs: Any
    ) -> None:
        """Count the batches of the coming epoch."""
        self.n_batches_ = -(-len(dataset_train) // net.batch_size)
        self.batches_done_ = 0

    def on_batch_end(
        self, net: "NeuralNet", training: bool = False, **kwargs: Any
    ) -> None:
        """Count the step."""
        self.batches_done_ += training

    def share(self, net: "NeuralNet") -> float:
        """Return the share of the training that is done, inside an epoch.

        With too little time for all epochs it is the share of the time. What the first
        steps take says little: until then the epochs count.
        """
        epochs_done = len(net.history) - 1 + self.batches_done_ / self.n_batches_
        share, over = epochs_done / self.max_epochs, self.limit.share_over
        return max(share, over) if over > _FIRST_STEPS else share


class WarmupLinearDecay(_ByShare):
    """Raise the learning rates to their full value, then lower them linearly to zero.

    Parameters
    ----------
    max_epochs : int
    limit : TimeLimit
    warmup : float
        Share of the training in which the rates rise.
    """

    def __init__(self, max_epochs: int, limit: TimeLimit, warmup: float) -> None:
        super().__init__(max_epochs, limit)
        self.warmup = warmup

    def on_batch_begin(
        self, net: "NeuralNet", training: bool = False, **kwargs: Any
    ) -> None:
        """Set the rates of this step."""
        if not training:
            return
        if not hasattr(self, "rates_"):
            self.rates_ = [group["lr"] for group in net.optimizer_.param_groups]
        share = self.share(net) + 0.5 / (self.n_batches_ * self.max_epochs)
        factor = 1.0
        if share < self.warmup:
            factor = share / self.warmup
        elif self.warmup < 1:
            factor = max(0.0, 1 - share) / (1 - self.warmup)
        for group, rate in zip(net.optimizer_.param_groups, self.rates_, strict=True):
            group["lr"] = rate * factor


class TailAverage(_ByShare):
    """Average the weights of all steps but the first.

    The average generalises better than the last step (stochastic weight averaging,
    Izmailov et al. 2018, arXiv 1803.05407), and needs no validation texts to choose an
    epoch by.

    Parameters
    ----------
    max_epochs : int
    limit : TimeLimit
    start : float
        Share of the training after which weights are averaged.
    """

    def __init__(self, max_epochs: int, limit: TimeLimit, start: float) -> None:
        super().__init__(max_epochs, limit)
        self.start = start

    def on_batch_end(
        self, net: "NeuralNet", training: bool = False, **kwargs: Any
    ) -> None:
        """Count the step, and add its weights to the average."""
        super().on_batch_end(net, training=training, **kwargs)
        if training and self.share(net) > self.start:
            weights = [each.detach() for each in net.module_.parameters()]
            if not hasattr(self, "average_"):
                self.average_ = [weight.clone() for weight in weights]
                self.n_averaged_ = 1
                return
            self.n_averaged_ += 1
            torch._foreach_lerp_(self.average_, weights, 1 / self.n_averaged_)

    @torch.no_grad()
    def apply(self, module: "SemanticModule") -> None:
        """Give the module the averaged weights, if there are any."""
        if hasattr(self, "average_"):
            for weight, average in zip(module.parameters(), self.average_, strict=True):
                weight.copy_(average)


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
    if not has_constant_rates and not any(map(_is_lr_scheduler, users)):
        assert isinstance(config.max_epochs, int)
        if not config.early_stopping:  # that one restores the weights of one epoch
            average = TailAverage(config.max_epochs, limit, config.average_from)
            callbacks.append(average)
        schedule = WarmupLinearDecay(config.max_epochs, limit, config.warmup)
        callbacks.append(schedule)
    callbacks += users
    callbacks.append(FollowProgress(limit.progress))
    if config.verbose > 1:
        callbacks.append(EpochLine())
    if config.early_stopping and has_held_out:
        patience = EarlyStopping(patience=config.n_iter_no_change, load_best=True)
        callbacks.append(patience)
    return callbacks


def _is_lr_scheduler(callback: Any) -> bool:
    if isinstance(callback, tuple):
        callback = callback[1]
    return isinstance(callback, LRScheduler) or callback is LRScheduler
