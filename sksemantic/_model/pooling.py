"""Pooling: from token states to features, without padding."""

from typing import TYPE_CHECKING

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
    return hidden[texts, positions[texts, columns]].float()


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
