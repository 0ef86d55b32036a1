"""The mask of a batch, made without waiting for the device."""

from typing import Any

import torch
from torch import Tensor
from transformers.masking_utils import sdpa_mask

from sksemantic._backbone.layers import current_hooks


def make_sdpa_mask(*args: Any, **kwargs: Any) -> Tensor | None:
    """Return the mask that transformers makes for SDPA.

    It leaves a causal mask out if no text is padded, and waits for the GPU to see that.
    With a prefix there is a mask in any case: there it is not asked.
    """
    is_on_gpu = torch.device(kwargs.get("device", "cpu")).type == "cuda"
    if is_on_gpu and current_hooks().on_attention is not None:
        kwargs["allow_is_causal_skip"] = False
    return sdpa_mask(*args, **kwargs)
