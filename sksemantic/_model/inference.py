"""Features and scores of texts, as the module is at that time."""

from typing import TYPE_CHECKING

import numpy as np
import torch

from sksemantic._inputs.dataset import TextDataset, ordered_batches

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from torch import Tensor

    from sksemantic._model.module import SemanticModule


def compute_features(module: "SemanticModule", data: TextDataset) -> "NDArray":
    """Return the embeddings (n_rows, C) in the dataset's order."""
    return _forward_all(module, data, module.features)


def compute_scores(module: "SemanticModule", data: TextDataset) -> "NDArray":
    """Return logits, or standardised targets, (n_rows, K) in the dataset's order.

    The latest ones are kept: `predict`, `predict_proba` and `score` ask for the same.
    """
    versions = [t._version for t in module.state_dict(keep_vars=True).values()]
    key = (data.digest(), tuple(versions))
    if module.memo is None or module.memo[0] != key:
        scores = _forward_all(module, data, lambda inputs: module(**inputs))
        module.memo = (key, scores)
    return module.memo[1].copy()


def _forward_all(
    module: "SemanticModule",
    data: TextDataset,
    forward: "Callable[[dict[str, Tensor]], Tensor]",
) -> "NDArray":
    """Run length-sorted batches without gradient, the adapter folded; restore order."""
    by_length, order = data.by_length()
    backbone = module.backbone
    device = backbone.device
    batches = ordered_batches(by_length, backbone.pad_id, backbone.inference_tokens)
    module.eval()
    with module.folded():
        parts = []
        for X, _ in batches:
            del X["sample_weight"]
            parts.append(forward({name: each.to(device) for name, each in X.items()}))
    outputs = torch.cat(parts).cpu().numpy()
    restored = np.empty_like(outputs)
    restored[data.rows_of(order)] = outputs
    return restored
