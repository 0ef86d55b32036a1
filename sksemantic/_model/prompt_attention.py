"""How much each token of a text attends to each token of the prompt."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from sksemantic._backbone.layers import add_hooks
from sksemantic._model.frozen import inference_batches

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sksemantic._inputs.dataset import TextDataset
    from sksemantic._model.module import SemanticModule


@torch.no_grad()
def prompt_attention(module: "SemanticModule", data: "TextDataset") -> "NDArray":
    """Return the weights (n_layers, T, P) of one text's tokens, the mean of all heads.

    Empty if the backbone's attention is not called through a function that shows them.
    """
    (batch,) = inference_batches(module.backbone, data)
    found: list[Tensor] = []
    length = batch["input_ids"].shape[1]
    with add_hooks(on_weights=found.append):
        module.hidden_states(batch, module.condition())
    n_prompt = module.n_virtual_tokens
    layers = [weights[0, :, -length:, :n_prompt].mean(dim=0) for weights in found]
    if not layers:
        return np.zeros((0, length, n_prompt))
    return torch.stack(layers).cpu().numpy()
