"""The skorch net: trains adapter and head, and nothing else."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from skorch import NeuralNet, NeuralNetClassifier, NeuralNetRegressor
from skorch.callbacks import Callback
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel

from sksemantic._inputs.dataset import TextDataset, ordered_batches, train_batches

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from sksemantic._model.module import SemanticModule
    from sksemantic._tasks.base import Task

_WARMUP = 0.06  # share of the training
_AVERAGE_FROM = 1 / 3
_LEAST_COUNT = 1e-12


class _SemanticNet:
    """How both nets feed the module and weigh the loss."""

    module_: "SemanticModule"
    criterion_: "Loss"

    interrupted_ = False

    def run_single_epoch(self, *args: Any, **kwargs: Any) -> None:
        """Run an epoch; note a user's Ctrl-C, which skorch takes for a normal end.

        Callbacks end training by the same exception, but between epochs.
        """
        try:
            super().run_single_epoch(*args, **kwargs)  # type: ignore[misc]
        except KeyboardInterrupt:
            self.interrupted_ = True
            raise

    def infer(self, x: dict[str, Tensor], **fit_params: Any) -> Tensor:
        """Run the module over one batch; weights are for the loss alone."""
        device = self.module_.backbone.device
        inputs = {k: each.to(device) for k, each in x.items() if k != "sample_weight"}
        return self.module_(**inputs, **fit_params)

    def train_step_single(self, batch: Any, **fit_params: Any) -> dict[str, Any]:
        """Run forward and backward, in parts if the batch has very many tokens.

        The gradient is that of the whole batch, but that texts are contrasted with
        those of the same part only. Where a GPU runs out of memory all the
        same, the parts are halved, for good.
        """
        self._set_training(True)  # type: ignore[attr-defined]
        if not hasattr(self, "token_budget_"):
            self.token_budget_ = self.module_.backbone.training_tokens
        while True:
            try:
                return self._step_in_parts(batch, **fit_params)
            except torch.cuda.OutOfMemoryError:
                n_rows, n_tokens = _size(batch[0])
                if self.token_budget_ * n_rows <= n_tokens:
                    raise  # a single text does not fit
            self.module_.zero_grad(set_to_none=True)
            torch.cuda.empty_cache()
            self.token_budget_ = min(self.token_budget_, n_tokens) // 2

    def _step_in_parts(self, batch: Any, **fit_params: Any) -> dict[str, Any]:
        inputs, targets = batch
        given = fit_params | {"with_features": self.criterion_.contrast > 0}
        n_rows, n_tokens = _size(inputs)
        size = max(1, self.token_budget_ * n_rows // n_tokens)
        loss: Any = 0.0
        outputs = []
        n_done = 0
        for start in range(0, n_rows, size):
            rows = slice(start, start + size)
            part = {name: values[rows] for name, values in inputs.items()}
            y_pred = self.infer(part, **given)
            scores, _ = _parted(y_pred)
            units = slice(n_done, n_done + len(scores))
            n_done = units.stop
            share = len(scores) / len(targets)
            part_loss = share * self.get_loss(y_pred, targets[units], X=part)
            part_loss.backward()
            loss = loss + part_loss.detach()
            outputs.append(scores.detach())
        return {"loss": loss, "y_pred": torch.cat(outputs)}

    def get_loss(
        self,
        y_pred: Tensor | tuple[Tensor, Tensor],
        y_true: Tensor,
        X: Any = None,
        training: bool = False,
    ) -> Tensor:
        """Return the mean loss of the units, each counted by its text's weight.

        Where `y_pred` has the features as well, what they say of texts two by two
        comes on top.
        """
        scores, features = _parted(y_pred)
        targets = y_true.to(scores.device)
        losses = self.criterion_(scores, targets)  # (n_rows,)
        weights = X["sample_weight"]
        if "word_positions" in X:
            weights = weights.repeat_interleave((X["word_positions"] >= 0).sum(dim=1))
        weights = weights.to(losses)
        loss = (losses * weights).mean()
        if features is None:
            return loss
        apart = contrast_loss(features, targets, weights)
        return loss + self.criterion_.contrast * apart


class ClassifierNet(_SemanticNet, NeuralNetClassifier):
    """skorch classifier over a `SemanticModule`."""


class RegressorNet(_SemanticNet, NeuralNetRegressor):
    """skorch regressor over a `SemanticModule`."""


class LabelsNet(_SemanticNet, NeuralNet):
    """skorch net over a `SemanticModule`, without scores of its own."""


def contrast_loss(features: Tensor, classes: Tensor, weights: Tensor) -> Tensor:
    """Return how far texts of a class are from one, others from zero, in cosine.

    The squared error of the cosines (Reimers & Gurevych 2019, arXiv 1908.10084, section
    3) of all pairs of a batch, those of one class labelled 1 and others 0 (Tunstall et
    al. 2022, arXiv 2209.11055, section 3). Both kinds count alike, a pair by the
    product of its weights.
    """
    unit = F.normalize(features, dim=1)
    cosines = unit @ unit.T  # (n, n)
    is_same = classes[:, None] == classes
    counts = (weights[:, None] * weights).fill_diagonal_(0)
    loss = cosines.new_zeros(())
    for kind in (is_same, ~is_same):
        of_kind = counts * kind
        errors = of_kind * (cosines - is_same.to(cosines)).square()
        loss = loss + errors.sum() / (2 * of_kind.sum()).clamp(min=_LEAST_COUNT)
    return loss


class Loss(nn.Module):
    """The loss of a task, unit by unit, as skorch asks for it.

    Attributes
    ----------
    task : Task
    contrast : float
        By how much, in training, the contrast of texts two by two counts beside it.
    """

    def __init__(self, task: "Task") -> None:
        super().__init__()
        self.task = task
        self.contrast = 0.0

    def forward(self, scores: Tensor, targets: Tensor) -> Tensor:
        """Return the losses (n_rows,)."""
        return self.task.loss(scores, targets)


_PROBABILITIES: dict[str, Any] = {
    "classes": partial(torch.softmax, dim=-1),
    "labels": torch.sigmoid,
    "numbers": None,
}
_NETS: dict[str, type[NeuralNet]] = {
    "classes": ClassifierNet,
    "labels": LabelsNet,
    "numbers": RegressorNet,
}


class _Progress(Callback):
    """Follows the share of all epochs that is done, step by step.

    skorch's and torch's schedules follow a count of steps fixed beforehand; here
    held-back texts may join, and change that count.
    """

    def __init__(self, max_epochs: int) -> None:
        self.max_epochs = max_epochs

    def on_train_begin(self, net: "NeuralNet", **kwargs: Any) -> None:
        """Start counting, unless training only goes on."""
        if not hasattr(self, "epochs_done_"):
            self.epochs_done_ = 0

    def on_epoch_begin(
        self, net: "NeuralNet", dataset_train: TextDataset, **kwargs: Any
    ) -> None:
        """Count the batches of the coming epoch."""
        self.n_batches_ = -(-len(dataset_train) // net.batch_size)
        self.batches_done_ = 0

    def on_batch_end(
        self, net: "NeuralNet", training: bool = False, **kwargs: Any
    ) -> None:
        """Count the step."""
        self.batches_done_ += training

    def on_epoch_end(self, net: "NeuralNet", **kwargs: Any) -> None:
        """Count the epoch."""
        self.epochs_done_ += 1
        self.batches_done_ = 0

    @property
    def share_(self) -> float:
        """Share of the training that is done."""
        return (self.epochs_done_ + self.batches_done_ / self.n_batches_) / (
            self.max_epochs
        )


def _size(inputs: dict[str, Tensor]) -> tuple[int, int]:
    """Return how many texts a batch has, and how many tokens, padding included."""
    tokens = [inputs[name] for name in ("input_ids", "part_ids") if name in inputs]
    return len(tokens[0]), sum(each.numel() for each in tokens)


def _parted(y_pred: Tensor | tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor | None]:
    """Return the scores, and the features if the module gave them."""
    return y_pred if isinstance(y_pred, tuple) else (y_pred, None)


class WarmupLinearDecay(_Progress):
    """Raise the learning rates to their full value, then lower them linearly to zero.

    Parameters
    ----------
    max_epochs : int
    warmup : float
        Share of the training in which the rates rise.
    """

    def __init__(self, max_epochs: int, warmup: float = _WARMUP) -> None:
        super().__init__(max_epochs)
        self.warmup = warmup

    def on_batch_begin(
        self, net: "NeuralNet", training: bool = False, **kwargs: Any
    ) -> None:
        """Set the rates of this step."""
        if not training:
            return
        if not hasattr(self, "rates_"):
            self.rates_ = [group["lr"] for group in net.optimizer_.param_groups]
        share = self.share_ + 0.5 / (self.n_batches_ * self.max_epochs)
        factor = min(share / self.warmup, (1 - share) / (1 - self.warmup))
        for group, rate in zip(net.optimizer_.param_groups, self.rates_, strict=True):
            group["lr"] = rate * factor


class TailAverage(_Progress):
    """Average the weights of all steps but the first third.

    The average generalises better than the last step (stochastic weight averaging,
    Izmailov et al. 2018, arXiv 1803.05407), and needs no validation texts to choose an
    epoch by.
    """

    def __init__(self, max_epochs: int, start: float = _AVERAGE_FROM) -> None:
        super().__init__(max_epochs)
        self.start = start

    def on_batch_end(
        self, net: "NeuralNet", training: bool = False, **kwargs: Any
    ) -> None:
        """Count the step, and let its weights in."""
        super().on_batch_end(net, training=training, **kwargs)
        if training and self.share_ > self.start:
            if not hasattr(self, "average_"):
                self.average_ = AveragedModel(net.module_)
            self.average_.update_parameters(net.module_)

    def apply(self, module: "SemanticModule") -> None:
        """Give the module the averaged weights."""
        if hasattr(self, "average_"):
            module.load_state_dict(self.average_.module.state_dict())


class EpochLine(Callback):
    """Show one clean line per epoch.

    skorch's `PrintLog` keeps the columns of the first epoch; here the validation part
    ends when the held-back texts join the training.
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


def build_net(
    module: "SemanticModule",
    task: "Task",
    *,
    lr: float,
    head_lr: float,
    max_epochs: int,
    batch_size: int,
    callbacks: "Sequence[Any]",
    rng: "np.random.RandomState",
    weight_decay: float = 0.0,
) -> "NeuralNet":
    """Return an initialised net whose optimizer holds adapter and head alone."""
    extra = {"classes": list(range(task.n_outputs))} if task.kind == "classes" else {}
    pad_id = module.backbone.pad_id
    return _NETS[task.kind](
        module,
        predict_nonlinearity=_PROBABILITIES[task.kind],
        criterion=Loss,
        criterion__task=task,
        optimizer=torch.optim.AdamW,
        optimizer__param_groups=[("head.*", {"lr": head_lr})],
        optimizer__weight_decay=weight_decay,
        lr=lr,
        max_epochs=max_epochs,
        batch_size=batch_size,
        train_split=None,
        iterator_train=train_batches,
        iterator_train__pad_id=pad_id,
        iterator_train__generator=rng,
        iterator_valid=ordered_batches,
        iterator_valid__pad_id=pad_id,
        iterator_valid__budget=module.backbone.inference_tokens,
        callbacks=list(callbacks),
        callbacks__print_log=None,
        warm_start=True,
        verbose=0,
        device=str(module.backbone.device),
        **extra,
    ).initialize()
