"""Features and scores of texts. They change nothing: several threads may call."""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from sksemantic._inputs.dataset import TextDataset
from sksemantic._model.frozen import inference_batches

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from torch import Tensor

    from sksemantic._model.module import SemanticModule


def compute_features(module: "SemanticModule", data: TextDataset) -> "NDArray":
    """Return the embeddings (n_rows, C) in the dataset's order."""
    return _forward_all(module, data, module.features)


def compute_scores(module: "SemanticModule", data: TextDataset) -> "NDArray":
    """Return logits, or standardised targets, (n_rows, K) in the dataset's order."""
    return _forward_all(module, data, module.scores)


def _forward_all(
    module: "SemanticModule",
    data: TextDataset,
    forward: "Callable[[dict[str, Tensor], Any], Tensor]",
) -> "NDArray":
    """Run batches of similar length without gradient, and restore the order.

    Of a text that has several windows the mean is returned: that of its features, or of
    its scores, which is what the head makes of the mean features.
    """
    if data.n_windows is not None:
        return data.mean_over_windows(_forward_all(module, data.windows(), forward))
    by_length, order = data.by_length()
    with torch.inference_mode():
        condition = module.condition()
        batches = inference_batches(module.backbone, by_length)
        outputs = [forward(batch, condition) for batch in batches]
    sorted_rows = torch.cat(outputs).cpu().numpy()
    rows = np.empty_like(sorted_rows)
    rows[data.rows_of(order)] = sorted_rows
    return rows
