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
from torch import Tensor

from sksemantic._backbone.device import move
from sksemantic._inputs.batching import Batch, ordered_batches, train_batches
from sksemantic._model.frozen import model_inputs
from sksemantic._training.losses import SupervisedContrast, TaskLoss, criterion_of
from sksemantic._training.schedules import TrainingOver
from sksemantic._training.time_limit import TimeLimit

if TYPE_CHECKING:
    import numpy as np

    from sksemantic._model.module import SemanticModule
    from sksemantic._tasks.base import Task
    from sksemantic._training.config import TrainingConfig


_MOST_GROUPS, _FEWEST_OF_GROUP = 4, 8  # texts of similar length in a step


class _SemanticNet(NeuralNet):
    """How all nets feed the module and weigh the loss.

    Batches of more tokens than `token_budget`, padding included, are run in parts. The
    next epoch leaves out the first `n_batches_done`: an earlier run has trained on
    them.
    """

    module_: "SemanticModule"
    criterion_: TaskLoss | SupervisedContrast

    interrupted_ = False
    is_time_up_ = False
    is_diverged_ = False
    is_low_enough_ = False
    is_stopped_ = False  # by a callback of scikit-learn
    n_batches_done = 0

    def __init__(
        self,
        *args: Any,
        token_budget: int,
        dropout_generator: torch.Generator,
        limit: TimeLimit,
        **params: Any,
    ) -> None:
        super().__init__(*args, **params)
        self.limit = limit
        self.token_budget = token_budget
        self.dropout_generator = dropout_generator

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
            if self.limit.left < (time.perf_counter() - start) / n_done:
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

    def infer(self, x: dict[str, Tensor], **fit_params: Any) -> Any:
        """Run the module over one batch; weights are for the loss alone."""
        inputs = {k: each for k, each in x.items() if k != "sample_weight"}
        return self.module_(**inputs, **fit_params)

    def train_step_single(self, batch: Batch, **fit_params: Any) -> dict[str, Any]:
        """Run forward and backward, in parts if the batch has very many tokens.

        The gradient is that of the whole batch, except that texts are contrasted with
        those of the same part only. Where a GPU runs out of memory all the same, the
        parts are halved, for good.
        """
        self._set_training(True)
        while True:
            try:
                return self._step_in_parts(batch, **fit_params)
            except torch.cuda.OutOfMemoryError:
                n_texts, n_tokens = _size(batch[0])
                if self.token_budget * n_texts <= n_tokens:
                    raise  # a single text does not fit
            self.module_.zero_grad(set_to_none=True)
            torch.cuda.empty_cache()
            self.token_budget = min(self.token_budget, n_tokens) // 2

    def _step_in_parts(self, batch: Batch, **fit_params: Any) -> dict[str, Any]:
        inputs, targets = batch
        n_texts, n_tokens = _size(inputs)
        size = max(1, self.token_budget * n_texts // n_tokens)
        loss: Any = 0.0
        outputs = []
        n_done = 0
        for start in range(0, n_texts, size):
            part = {k: values[start : start + size] for k, values in inputs.items()}
            y_pred = self.forward_for_loss(part, **fit_params)
            scores = y_pred[0] if isinstance(y_pred, tuple) else y_pred
            rows = slice(n_done, n_done + len(scores))
            n_done = rows.stop
            share = len(scores) / len(targets)
            part_loss = share * self.get_loss(y_pred, targets[rows], X=part)
            part_loss.backward()
            loss = loss + part_loss.detach()
            outputs.append(scores.detach())
        return {"loss": loss, "y_pred": torch.cat(outputs)}

    def forward_for_loss(self, part: dict[str, Tensor], **fit_params: Any) -> Any:
        """Return what the criterion reads of texts, with gradient.

        Those of a contrast are run by length, in groups with less padding; those with
        labelled words together.
        """
        if not isinstance(self.criterion_, SupervisedContrast):
            return self.infer(
                part,
                with_features=self.criterion_.contrast > 0,
                dropout_generator=self.dropout_generator,
                **fit_params,
            )
        if "word_positions" in part:
            inputs = model_inputs(part) | {"word_positions": part["word_positions"]}
            return self.module_.features(inputs)
        features = []
        lengths = part["attention_mask"].sum(dim=1)
        order = torch.argsort(lengths, stable=True)
        n_groups = max(1, min(_MOST_GROUPS, len(order) // _FEWEST_OF_GROUP))
        for rows in torch.tensor_split(order, n_groups):
            longest = int(lengths[rows].max())
            group = {
                name: values[rows, :longest]
                for name, values in model_inputs(part).items()
            }
            features.append(self.module_.features(group))
        back = move(torch.argsort(order), features[0].device)
        return torch.cat(features)[back]

    def get_loss(
        self,
        y_pred: Tensor | tuple[Tensor, Tensor],
        y_true: Tensor,
        X: Any = None,
        training: bool = False,
    ) -> Tensor:
        """Return the mean loss of the rows, each counted by its text's weight.

        With the features in `y_pred` the contrast of the texts is added.
        """
        weights = X["sample_weight"]
        if "word_positions" in X:
            n_words = (X["word_positions"] >= 0).sum(dim=1)
            weights = weights.repeat_interleave(n_words)
        if isinstance(self.criterion_, SupervisedContrast):
            assert isinstance(y_pred, Tensor)
            targets, weights = (move(x, y_pred.device) for x in (y_true, weights))
            return self.criterion_(y_pred, targets, weights.to(y_pred))
        scores, features = y_pred if isinstance(y_pred, tuple) else (y_pred, None)
        targets, weights = (move(x, scores.device) for x in (y_true, weights))
        return self.criterion_(scores, targets, weights.to(scores), features)


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


def _size(inputs: dict[str, Tensor]) -> tuple[int, int]:
    """Return how many texts a batch has, and how many tokens, padding included."""
    tokens = [inputs[name] for name in ("input_ids", "pair_ids") if name in inputs]
    return len(tokens[0]), sum(each.numel() for each in tokens)


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
        iterator_valid__budget=backbone.inference_tokens,
        callbacks=list(callbacks),
        callbacks__print_log=None,
        warm_start=True,
        verbose=0,
        device=str(backbone.device),
        **extra,
    ).initialize()
