"""How a net runs one batch: in parts, and each process its share of them."""

from typing import TYPE_CHECKING, Any

import torch
from skorch import NeuralNet
from torch import Tensor

from sksemantic._backbone.device import move
from sksemantic._inputs.batching import Batch
from sksemantic._model.frozen import model_inputs
from sksemantic._training.losses import SupervisedContrast, TaskLoss
from sksemantic._training.parts import Part, parts_of, size_of
from sksemantic._training.processes import Processes

if TYPE_CHECKING:
    from sksemantic._model.module import SemanticModule

_MOST_GROUPS, _FEWEST_OF_GROUP = 4, 8  # texts of similar length in a step


class NetOfBatches(NeuralNet):
    """How all nets feed the module and weigh the loss.

    Batches of more tokens than `token_budget`, padding included, are run in parts.
    """

    module_: "SemanticModule"
    criterion_: TaskLoss | SupervisedContrast

    def __init__(
        self,
        *args: Any,
        token_budget: int,
        dropout_generator: torch.Generator,
        processes: Processes,
        **params: Any,
    ) -> None:
        super().__init__(*args, **params)
        self.token_budget = token_budget
        self.dropout_generator = dropout_generator
        self.processes = processes

    def infer(self, x: dict[str, Tensor], **fit_params: Any) -> Any:
        """Run the module over one batch; weights are for the loss alone."""
        inputs = {k: each for k, each in x.items() if k != "sample_weight"}
        return self.module_(**inputs, **fit_params)

    @property
    def is_contrasted(self) -> bool:
        """Whether the loss is of texts two by two as well."""
        criterion = self.criterion_
        return isinstance(criterion, SupervisedContrast) or criterion.contrast > 0

    def train_step_single(self, batch: Batch, **fit_params: Any) -> dict[str, Any]:
        """Run forward and backward, in parts if the batch has very many tokens.

        The gradient is that of the whole batch, except that texts are contrasted with
        those of the same part only. Where a GPU runs out of memory all the same, the
        parts are halved, for good; not where the other processes would have to as well.
        """
        self._set_training(True)
        while True:
            try:
                step = self._step_in_parts(batch, **fit_params)
                break
            except torch.cuda.OutOfMemoryError:
                n_texts, n_tokens = size_of(batch[0])
                is_one_text = self.token_budget * n_texts <= n_tokens
                if is_one_text or self.processes.size > 1:
                    raise
            self.module_.zero_grad(set_to_none=True)
            torch.cuda.empty_cache()
            self.token_budget = min(self.token_budget, n_tokens) // 2
        loss = self.processes.sum_gradients(self.module_, step["loss"])
        return step | {"loss": loss}

    def _step_in_parts(self, batch: Batch, **fit_params: Any) -> dict[str, Any]:
        """Return this process's part of the loss, and its scores; add its gradient."""
        loss: Any = torch.zeros((), device=self.module_.backbone.device)
        outputs = []
        for part in parts_of(batch, self.token_budget):
            y_pred = self._read_own(part, **fit_params)
            scores = y_pred[0] if isinstance(y_pred, tuple) else y_pred
            outputs.append(scores.detach())
            n_alike = 1  # processes that compute the same loss
            if self.is_contrasted:
                y_pred, n_alike = self._gathered(y_pred, part), self.processes.size
            else:
                part = part.own(self.processes)
            if not len(part):
                continue
            share = len(part.targets) / len(batch[1])
            part_loss = share * self.get_loss(y_pred, part.targets, X=part.inputs)
            part_loss.backward()
            loss = loss + part_loss.detach() / n_alike
        return {"loss": loss, "y_pred": torch.cat(outputs)}

    def validation_step(self, batch: Batch, **fit_params: Any) -> dict[str, Any]:
        """Return loss and scores of held-out texts; each process reads its share."""
        self._set_training(False)
        part = Part(*batch)
        own = part.own(self.processes)
        with torch.no_grad():
            scores = self._no_rows(self.module_.config.n_outputs)
            if len(own):
                scores = self.infer(own.inputs, **fit_params)
            scores = self._gathered(scores, part)
            loss = self.get_loss(scores, part.targets, X=part.inputs)
        return {"loss": loss, "y_pred": scores}

    def _read_own(self, part: Part, **fit_params: Any) -> Any:
        """Return what the criterion reads of this process's texts, with gradient.

        What is dropped of their features does not depend on how many processes share
        the part.
        """
        own, shares = part.own(self.processes), part.shares(self.processes)
        rank = self.processes.rank
        self._skip_dropout(sum(shares[:rank]))
        y_pred = self._of_no_text()
        if len(own):
            y_pred = self.forward_for_loss(own.inputs, **fit_params)
        self._skip_dropout(sum(shares[rank + 1 :]))
        return y_pred

    def _skip_dropout(self, n_rows: int) -> None:
        """Draw what is drawn for the rows of other processes."""
        if n_rows and isinstance(self.criterion_, TaskLoss):
            shape = n_rows, self.module_.head.in_features
            torch.rand(shape, generator=self.dropout_generator, dtype=torch.float32)

    def _of_no_text(self) -> Any:
        """Return what the criterion reads, of no text."""
        module = self.module_
        features = self._no_rows(module.head.in_features)
        if isinstance(self.criterion_, SupervisedContrast):
            return features
        scores = self._no_rows(module.config.n_outputs)
        return (scores, features) if self.is_contrasted else scores

    def _no_rows(self, n_columns: int) -> Tensor:
        device = self.module_.backbone.device
        return torch.zeros(0, n_columns, device=device, requires_grad=True)

    def _gathered(self, y_pred: Any, part: Part) -> Any:
        """Return what the criterion reads of all texts of a part."""
        counts = part.shares(self.processes)
        if isinstance(y_pred, tuple):
            return tuple(self.processes.gather(each, counts) for each in y_pred)
        return self.processes.gather(y_pred, counts)

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
