"""How much each token of a text has to do with each of the head's outputs."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from sksemantic._backbone.layers import record_states, start_at
from sksemantic._backbone.threads import shared_cpus
from sksemantic._model.frozen import (
    OnBatch,
    ignore,
    inference_batches,
    model_inputs,
    run_conditioned,
)
from sksemantic._model.pooling import pool_batch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sksemantic._backbone.prefix.base import Prefix
    from sksemantic._inputs.dataset import TextDataset
    from sksemantic._model.module import SemanticModule


def integrated_gradients(
    module: "SemanticModule",
    data: "TextDataset",
    is_word: "NDArray",
    *,
    n_steps: int,
    is_difference: bool = False,
    on_batch: OnBatch = ignore,
) -> list["NDArray"]:
    """Return the integrated gradients (T_i, K) of the tokens of each row.

    The states that enter the first layer are moved, in `n_steps`, from those of a text
    whose words are hidden to those of the text itself; a token's share of what the
    outputs change by that is the sum of its gradients times its own way (Sundararajan
    et al. 2017, arXiv 1703.01365, equation 3, by the midpoint rule).

    Parameters
    ----------
    module : SemanticModule
    data : TextDataset
        Of n rows, each one window.
    is_word : ndarray of shape (n_tokens,), bool
        Which tokens of all rows, one after the other, are hidden.
    n_steps : int
    is_difference : bool, default=False
        Whether half the difference of two outputs is explained instead of both.
    """
    by_length, order = data.by_length()
    hidden = _with_words_hidden(module, data, is_word).take(order)
    with torch.no_grad():
        condition = module.condition()
    rows: list[NDArray] = []
    with shared_cpus():
        batches, baselines = (
            inference_batches(module.backbone, rows_in_order, with_gradient=True)
            for rows_in_order in (by_length, hidden)
        )
        for batch, baseline in zip(batches, baselines, strict=True):
            found = _of_batch(
                module, batch, baseline, condition, n_steps, is_difference
            )
            lengths = batch["attention_mask"].sum(dim=1).tolist()
            for row, length in zip(found.cpu().numpy(), lengths, strict=True):
                rows.append(row[: int(length)])
            on_batch(batch)
    ordered: list[NDArray] = [np.empty(0)] * len(rows)
    for place, row in zip(order, rows, strict=True):
        ordered[place] = row
    return ordered


def _with_words_hidden(
    module: "SemanticModule", data: "TextDataset", is_word: "NDArray"
) -> "TextDataset":
    """Return the rows with a token that says nothing for each token of a word."""
    rows = data.token_ids
    mask_id = module.backbone.tokenizer.mask_token_id
    nothing = module.backbone.pad_id if mask_id is None else mask_id
    ids = type(rows)(
        np.where(is_word, nothing, rows.flat), rows.lengths, rows.second_starts
    )
    return type(data)(ids)


def _of_batch(
    module: "SemanticModule",
    batch: dict[str, Tensor],
    baseline: dict[str, Tensor],
    condition: "Prefix | Tensor",
    n_steps: int,
    is_difference: bool,
) -> Tensor:
    """Return the integrated gradients (B, T, K) of a batch.

    As many steps S are run at once as fit.
    """
    with torch.no_grad():
        start = _entering_states(module, baseline, condition)
        way = _entering_states(module, batch, condition) - start
    n_texts, length = batch["input_ids"].shape
    at_once = max(1, module.backbone.training_tokens // (n_texts * length))
    shares = (torch.arange(n_steps, device=way.device) + 0.5) / n_steps
    total: Tensor | int = 0
    for some in shares.split(at_once):
        steps = {
            name: each.repeat(len(some), *[1] * (each.dim() - 1))
            for name, each in batch.items()
        }
        states = start + some.to(way)[:, None, None, None] * way  # (S, B, T, C)
        states = states.flatten(0, 1).requires_grad_()
        outputs = _outputs(module, steps, states, condition)  # (S * B, K)
        if is_difference:
            outputs = (outputs[:, 1:] - outputs[:, :1]) / 2
        changes = [
            _change_by(outputs[:, k], states, way) for k in range(outputs.shape[1])
        ]
        total = total + torch.stack(changes, dim=-1) / n_steps
    assert isinstance(total, Tensor)
    return total


def _change_by(outputs: Tensor, states: Tensor, way: Tensor) -> Tensor:
    """Return gradients of outputs (S * B,) times a way: their sum over steps (B, T)."""
    (gradient,) = torch.autograd.grad(outputs.sum(), states, retain_graph=True)
    steps = gradient.float().unflatten(0, (-1, len(way)))  # (S, B, T, C)
    return (steps.sum(dim=0) * way.float()).sum(dim=-1)


def _entering_states(
    module: "SemanticModule", batch: dict[str, Tensor], condition: "Prefix | Tensor"
) -> Tensor:
    """Return the states (B, T, C) of a batch that enter the first layer."""
    inputs = model_inputs(batch)
    with record_states(0, inputs["input_ids"].shape[1], stop=True) as recorded:
        run_conditioned(module.backbone, module.config.method, inputs, condition)
    return recorded.get()


def _outputs(
    module: "SemanticModule",
    batch: dict[str, Tensor],
    states: Tensor,
    condition: "Prefix | Tensor",
) -> Tensor:
    """Return the head's outputs (B, K) of states that enter the first layer."""
    with start_at(0, states):
        hidden = module.hidden_states(batch, condition)
    return module.outputs_of(pool_batch(hidden, batch, module.pooling))
