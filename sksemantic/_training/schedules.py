"""Learning rates and averaged weights, step by step, as callbacks of skorch."""

from typing import TYPE_CHECKING, Any

import torch
from skorch.callbacks import Callback

from sksemantic._training.time_limit import TimeLimit

if TYPE_CHECKING:
    from skorch import NeuralNet

    from sksemantic._inputs.dataset import TextDataset
    from sksemantic._model.module import SemanticModule

_FIRST_STEPS = 0.2  # share of the time that they take


class TrainingOver(KeyboardInterrupt):
    """Ends training as skorch's callbacks do, and as Ctrl-C does."""


class _ByStep(Callback):
    """Counts epochs step by step, and sets learning rates.

    skorch's and torch's schedules follow a number of steps fixed beforehand. Here
    held-out texts may join the training, which changes the steps of an epoch.
    """

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

    def epochs_done(self, net: "NeuralNet") -> float:
        """Return how many epochs are done, inside one."""
        return len(net.history) - 1 + self.batches_done_ / self.n_batches_

    def scale_rates(self, net: "NeuralNet", factor: float) -> None:
        """Set the rates to so much of those that the training began with."""
        groups = net.optimizer_.param_groups
        if not hasattr(self, "rates_"):
            self.rates_ = [group["lr"] for group in groups]
        for group, rate in zip(groups, self.rates_, strict=True):
            group["lr"] = rate * factor


class _ByShare(_ByStep):
    """Follows the share of all epochs that is done, or of the time."""

    def __init__(self, max_epochs: int, limit: TimeLimit) -> None:
        self.max_epochs = max_epochs
        self.limit = limit

    def share(self, net: "NeuralNet") -> float:
        """Return the share of the training that is done, inside an epoch.

        With too little time for all epochs it is the share of the time. What the first
        steps take says little: until then the epochs count.
        """
        share, over = self.epochs_done(net) / self.max_epochs, self.limit.share_over
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
        share = self.share(net) + 0.5 / (self.n_batches_ * self.max_epochs)
        factor = 1.0
        if share < self.warmup:
            factor = share / self.warmup
        elif self.warmup < 1:
            factor = max(0.0, 1 - share) / (1 - self.warmup)
        self.scale_rates(net, factor)


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


class CoolDown(_ByStep):
    """Keep the rates until the loss is low, then lower them to zero, and end.

    As few steps as it needs: of few texts, more only learn by heart. The rates fall in
    the last epochs in any case.

    Parameters
    ----------
    max_epochs : int
    warmup : float
        Share of all epochs in which the rates rise.
    loss : float
        Mean loss of an epoch below which the rates begin to fall.
    n_steps : int
        Steps in which they fall, in whole epochs.
    """

    def __init__(
        self, max_epochs: int, warmup: float, loss: float, n_steps: int
    ) -> None:
        self.max_epochs = max_epochs
        self.warmup = warmup
        self.loss = loss
        self.n_steps = n_steps

    def on_epoch_begin(
        self, net: "NeuralNet", dataset_train: "TextDataset", **kwargs: Any
    ) -> None:
        """Count the batches of the coming epoch; see whether it is one of the last."""
        super().on_epoch_begin(net, dataset_train=dataset_train, **kwargs)
        n_epochs = -(-self.n_steps // self.n_batches_)
        n_done = len(net.history) - 1
        if not hasattr(self, "last_epoch_"):
            is_low = n_done > 0 and net.history[-2, "train_loss"] < self.loss
            if is_low or n_done + n_epochs >= self.max_epochs:
                self.last_epoch_ = min(n_done + n_epochs, self.max_epochs)
                self.cools_from_ = n_done

    def on_batch_begin(
        self, net: "NeuralNet", training: bool = False, **kwargs: Any
    ) -> None:
        """Set the rates of this step."""
        if not training:
            return
        done = self.epochs_done(net)
        step = 1 / self.n_batches_
        factor = min(1.0, (done + step) / max(self.warmup * self.max_epochs, step))
        if hasattr(self, "last_epoch_"):
            n_cooling = self.last_epoch_ - self.cools_from_
            factor = min(factor, (self.last_epoch_ - done) / (n_cooling + step))
        self.scale_rates(net, factor)

    def on_epoch_end(self, net: "NeuralNet", **kwargs: Any) -> None:
        """End the training when the rates are down."""
        if getattr(self, "last_epoch_", self.max_epochs) <= len(net.history):
            net.is_low_enough_ = True
            raise TrainingOver
