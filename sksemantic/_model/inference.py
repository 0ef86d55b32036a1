"""Features and scores of texts. They change nothing: several threads may call."""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from sksemantic._backbone.threads import shared_cpus
from sksemantic._inputs.dataset import TextDataset
from sksemantic._model.frozen import OnBatch, ignore, inference_batches

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from torch import Tensor

    from sksemantic._model.module import SemanticModule


def compute_features(
    module: "SemanticModule",
    data: TextDataset,
    on_batch: OnBatch = ignore,
) -> "NDArray":
    """Return the embeddings (n_rows, C) in the dataset's order.

    `on_batch` is called with each batch.
    """
    return _forward_all(module, data, module.features, on_batch)


def compute_head_inputs(
    module: "SemanticModule",
    data: TextDataset,
    on_batch: OnBatch = ignore,
) -> "NDArray":
    """Return what the head reads (n_rows, C), not standardised, in the same order.

    `on_batch` is called with each batch.
    """
    return _forward_all(module, data, module.head_inputs, on_batch)


def compute_scores(
    module: "SemanticModule",
    data: TextDataset,
    on_batch: OnBatch = ignore,
) -> "NDArray":
    """Return logits, or standardised targets, (n_rows, K) in the dataset's order.

    `on_batch` is called with each batch.
    """
    if not len(data):
        return np.empty((0, module.config.n_outputs), np.float32)
    return _forward_all(module, data, module.scores, on_batch)


def _forward_all(
    module: "SemanticModule",
    data: TextDataset,
    forward: "Callable[[dict[str, Tensor], Any], Tensor]",
    on_batch: OnBatch,
) -> "NDArray":
    """Run batches of similar length without gradient, and restore the order.

    Of equal texts one is run.

    Of a text that has several windows the mean is returned: that of its features, or of
    its scores, which is what the head makes of the mean features.
    """
    if data.n_windows is not None:
        rows = _forward_all(module, data.windows(), forward, on_batch)
        return data.mean_over_windows(rows)
    different, places = data.different()
    if len(different) < len(data):
        rows = _forward_all(module, different, forward, on_batch)
        return rows[different.rows_of(places)]
    by_length, order = data.by_length()
    with torch.inference_mode(), shared_cpus():
        condition = module.kept().condition
        outputs = []
        for batch in inference_batches(module.backbone, by_length):
            outputs.append(forward(batch, condition))
            on_batch(batch)
    sorted_rows = torch.cat(outputs).cpu().numpy()
    rows = np.empty_like(sorted_rows)
    rows[data.rows_of(order)] = sorted_rows
    return rows
