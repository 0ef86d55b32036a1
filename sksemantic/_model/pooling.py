"""Pooling: from token states to features, without padding."""

from typing import TYPE_CHECKING

import torch
from torch.nn.functional import normalize

from sksemantic._backbone.device import move

if TYPE_CHECKING:
    from torch import Tensor

TOKENS = "tokens"  # not pooled: token by token
PAIR = "pair"  # mean of three readings: both texts in one sequence, and each alone


def pool_batch(hidden: "Tensor", batch: "dict[str, Tensor]", pooling: str) -> "Tensor":
    """Return the features (n_rows, C) in float32 of a batch's text states (B, T, C)."""
    if pooling != TOKENS:
        return pool(hidden, batch["attention_mask"], pooling)
    positions = batch["word_positions"]  # (B, S), padded with -1
    texts, columns = (positions >= 0).nonzero(as_tuple=True)
    tokens = positions[texts, columns]
    at = move(texts, hidden.device), move(tokens, hidden.device)
    return hidden[at].float()


def pool(hidden: "Tensor", attention_mask: "Tensor", pooling: str) -> "Tensor":
    """Return the first, last or mean (B, C) of right-padded states (B, T, C)."""
    if pooling == "first":
        return hidden[:, 0].float()
    if pooling == "last":
        last = (attention_mask.sum(dim=1) - 1)[:, None, None]  # (B, 1, 1)
        return hidden.gather(1, last.expand(-1, 1, hidden.shape[2]))[:, 0].float()
    weights = attention_mask[:, :, None].to(hidden.dtype)  # (B, T, 1)
    total = (hidden * weights).float().sum(dim=1)  # (B, C)
    return total / attention_mask.sum(dim=1, keepdim=True)


def join_pair(together: "Tensor", first: "Tensor", second: "Tensor") -> "Tensor":
    """Return the features (n, 3C) of pairs, from three features (n, C).

    `together` are those of both texts in one sequence. `first` and `second` are those
    of each text on its own; |u - v| and u * v compare them (Conneau et al. 2017, arXiv
    1705.02364, sec. 3). They are normalised, as encoders compare texts by angle.
    """
    first, second = normalize(first, dim=-1), normalize(second, dim=-1)
    return torch.cat([together, (first - second).abs(), first * second], dim=1)
