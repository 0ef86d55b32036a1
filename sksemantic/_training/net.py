"""The skorch net: trains adapter and head, and nothing else."""

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

import torch
from skorch import NeuralNet, NeuralNetClassifier, NeuralNetRegressor
from skorch.callbacks import EarlyStopping

from sksemantic._inputs.batching import Batch, ordered_batches, train_batches
from sksemantic._training.losses import criterion_of
from sksemantic._training.process_group import processes_of
from sksemantic._training.schedules import TrainingOver
from sksemantic._training.steps import NetOfBatches
from sksemantic._training.time_limit import TimeLimit

if TYPE_CHECKING:
    import numpy as np

    from sksemantic._model.module import SemanticModule
    from sksemantic._tasks.base import Task
    from sksemantic._training.config import TrainingConfig


class _SemanticNet(NetOfBatches):
    """How all nets run epochs, and end them.

    The next epoch leaves out the first `n_batches_done`: an earlier run has trained on
    them.
    """

    interrupted_ = False
    is_time_up_ = False
    is_diverged_ = False
    is_low_enough_ = False
    is_stopped_ = False  # by a callback of scikit-learn
    n_batches_done = 0

    def __init__(self, *args: Any, limit: TimeLimit, **params: Any) -> None:
        super().__init__(*args, **params)
        self.limit = limit

    @property
    def is_over(self) -> bool:
        """Whether the user, a callback, the time limit or a bad loss ended it."""
        is_ended = self.interrupted_ or self.is_stopped_
        return is_ended or self.is_time_up_ or self.is_diverged_

    def fit_loop(self, *args: Any, **kwargs: Any) -> Any:
        """Train some epochs; note a user's Ctrl-C, which skorch takes for a normal end.

        Early stopping ends training by the same exception, but between epochs.
        """
        try:
            return super().fit_loop(*args, **kwargs)
        except TrainingOver:
            raise
        except KeyboardInterrupt as exc:
            self.interrupted_ = not _is_early_stopping(exc)
            raise

    def run_single_epoch(
        self, iterator: Iterable[Batch], training: bool, prefix: str, **kwargs: Any
    ) -> None:
        """Run an epoch, or as much of it as is left, and as there is time for."""
        n_done = 0
        if training:
            n_done, self.n_batches_done = self.n_batches_done, 0
            iterator = self._in_time(islice(iterator, n_done, None))
        super().run_single_epoch(iterator, training, prefix, **kwargs)
        if n_done:
            count = f"{prefix}_batch_count"
            self.history.record(count, n_done + self.history[-1, count])

    def _in_time(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """Yield batches, one at least, while there is time for another."""
        start = time.perf_counter()
        for n_done, batch in enumerate(batches, 1):
            yield batch
            if not self.limit.has((time.perf_counter() - start) / n_done):
                self.is_time_up_ = True
                return

    def on_epoch_begin(self, net: NeuralNet, **kwargs: Any) -> None:
        """End training if it is to, before there is a row for another epoch."""
        if self.is_time_up_ or self.is_stopped_:
            raise TrainingOver
        super().on_epoch_begin(net, **kwargs)

    def on_batch_end(
        self, net: NeuralNet, training: bool = False, loss: Any = 0.0, **kwargs: Any
    ) -> None:
        """End training where the loss is no number: no later step would mend it."""
        super().on_batch_end(net, training=training, loss=loss, **kwargs)
        if not training:
            return
        # `loss` may be on a GPU; the history has read its value already.
        if not math.isfinite(self.history[-1, "batches", -1, "train_loss"]):
            self.is_diverged_ = True
            raise TrainingOver


class _ClassifierNet(_SemanticNet, NeuralNetClassifier):
    """skorch classifier over a `SemanticModule`."""


class _RegressorNet(_SemanticNet, NeuralNetRegressor):
    """skorch regressor over a `SemanticModule`."""


_NETS: dict[str, type[NeuralNet]] = {
    "classes": _ClassifierNet,
    "labels": _SemanticNet,
    "numbers": _RegressorNet,
}
_PROBABILITIES: dict[str, Any] = {
    "classes": partial(torch.softmax, dim=-1),
    "labels": torch.sigmoid,
    "numbers": None,
}


def _is_early_stopping(error: BaseException) -> bool:
    """Whether skorch's callback has raised this, and not the user."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    raised_in = None if place is None else place.tb_frame.f_locals.get("self")
    return isinstance(raised_in, EarlyStopping)


def build_net(
    module: "SemanticModule",
    task: "Task",
    config: "TrainingConfig",
    callbacks: "Sequence[Any]",
    rng: "np.random.RandomState",
    dropout_generator: torch.Generator,
    limit: TimeLimit,
) -> NeuralNet:
    """Return an initialised net whose optimizer holds adapter and head alone."""
    extra = (
        {"classes": list(range(task.n_outputs))}
        if task.skorch_kind == "classes"
        else {}
    )
    backbone = module.backbone
    return _NETS[task.skorch_kind](
        module,
        token_budget=backbone.training_tokens,
        dropout_generator=dropout_generator,
        processes=processes_of(config.processes),
        limit=limit,
        predict_nonlinearity=_PROBABILITIES[task.skorch_kind],
        **criterion_of(task, config),
        optimizer=torch.optim.AdamW,
        optimizer__param_groups=[("head.*", {"lr": config.head_lr})],
        optimizer__weight_decay=config.weight_decay,
        optimizer__fused=backbone.device.type in ("cpu", "cuda"),
        lr=config.lr,
        max_epochs=config.max_epochs,
        batch_size=config.batch_size,
        train_split=None,
        iterator_train=train_batches,
        iterator_train__pad_id=backbone.pad_id,
        iterator_train__generator=rng,
        iterator_train__by_class=config.objective == "contrast" and not task.has_words,
        iterator_valid=ordered_batches,
        iterator_valid__pad_id=backbone.pad_id,
        iterator_valid__limits=backbone.inference_limits,
        callbacks=list(callbacks),
        callbacks__print_log=None,
        warm_start=True,
        verbose=0,
        device=str(backbone.device),
        **extra,
    ).initialize()
