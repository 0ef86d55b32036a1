"""Pooling: from token states to features, without padding."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

POOLINGS = ("auto", "mean", "last", "first")
TOKENS = "tokens"  # not pooled: token by token
PAIR = "pair"  # mean of three readings: both texts in one sequence, and each alone


def pool_batch(hidden: "Tensor", batch: "dict[str, Tensor]", pooling: str) -> "Tensor":
    """Return the features (n_rows, C) of a batch's states (B, T, C)."""
    if pooling == TOKENS:
        return pick(hidden, batch["word_positions"])
    return pool(hidden, batch["attention_mask"], pooling)


def pool(hidden: "Tensor", attention_mask: "Tensor", pooling: str) -> "Tensor":
    """Pool right-padded states in float32.

    Parameters
    ----------
    hidden : Tensor of shape (B, T, C)
        Token states, the prompt's excluded.
    attention_mask : Tensor of shape (B, T)
        1 for real tokens, 0 for padding on the right.
    pooling : {"mean", "last", "first"}
        Over which tokens.

    Returns
    -------
    Tensor of shape (B, C)
    """
    if pooling == "first":
        return hidden[:, 0].float()
    if pooling == "last":
        last = attention_mask.sum(dim=1) - 1  # (B,)
        return hidden.gather(1, last[:, None, None].expand(-1, 1, hidden.shape[2]))[
            :, 0
        ].float()
    weights = attention_mask[:, :, None].to(hidden.dtype)  # (B, T, 1)
    total = (hidden * weights).float().sum(dim=1)  # (B, C)
    return total / attention_mask.sum(dim=1, keepdim=True)


def pick(hidden: "Tensor", word_positions: "Tensor") -> "Tensor":
    """Return the states of some tokens of each text, text by text, in float32.

    Parameters
    ----------
    hidden : Tensor of shape (B, T, C)
        Token states, the prompt's excluded.
    word_positions : Tensor of shape (B, S)
        Positions of the tokens, padded with -1.

    Returns
    -------
    Tensor of shape (n_words, C)
    """
    texts, columns = (word_positions >= 0).nonzero(as_tuple=True)
    return hidden[texts, word_positions[texts, columns]].float()
