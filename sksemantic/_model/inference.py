"""Features and scores of texts. Nothing is kept between calls: any thread may call."""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from sksemantic._inputs.batching import ordered_batches
from sksemantic._inputs.dataset import TextDataset

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

    def scores(batch: "dict[str, Tensor]", condition: Any) -> "Tensor":
        return module(condition=condition, **batch)

    return _forward_all(module, data, scores)


def _forward_all(
    module: "SemanticModule",
    data: TextDataset,
    forward: "Callable[[dict[str, Tensor], Any], Tensor]",
) -> "NDArray":
    """Run batches of similar length without gradient, and restore the order."""
    by_length, order = data.by_length()
    backbone = module.backbone
    batches = ordered_batches(
        by_length, pad_id=backbone.pad_id, budget=backbone.inference_tokens
    )
    module.eval()
    parts = []
    with torch.inference_mode():
        condition = module.condition()
        for X, _ in batches:
            del X["sample_weight"]  # for the loss alone
            batch = {name: each.to(backbone.device) for name, each in X.items()}
            parts.append(forward(batch, condition))
    outputs = torch.cat(parts).cpu().numpy()
    restored = np.empty_like(outputs)
    restored[data.rows_of(order)] = outputs
    return restored
