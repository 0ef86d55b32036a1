import pytest
import torch

from sksemantic._model.pooling import pool, pool_batch

HIDDEN = torch.tensor(
    [[[1.0, 2.0], [3.0, 6.0], [5.0, 1.0]], [[7.0, 8.0], [9.0, 9.0], [9.0, 9.0]]]
)
MASK = torch.tensor([[1, 1, 1], [1, 0, 0]])


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [
        ("mean", [[3.0, 3.0], [7.0, 8.0]]),
        ("last", [[5.0, 1.0], [7.0, 8.0]]),
        ("first", [[1.0, 2.0], [7.0, 8.0]]),
    ],
)
def test_pool_when_padded_then_padding_never_enters(pooling, expected):
    assert pool(HIDDEN, MASK, pooling).tolist() == expected


def test_pool_when_many_half_states_then_mean_is_summed_in_float32():
    # A sum of ones in bfloat16 would stop at 256.
    hidden = torch.full((1, 4096, 1), 1.0, dtype=torch.bfloat16)
    pooled = pool(hidden, torch.ones(1, 4096, dtype=torch.long), "mean")
    assert pooled.item() == 1.0
    assert pooled.dtype == torch.float32


@pytest.mark.parametrize("pooling", ["mean", "last", "first"])
def test_pool_when_backward_then_only_pooled_states_get_gradient(pooling):
    hidden = HIDDEN.clone().requires_grad_()
    pool(hidden, MASK, pooling).sum().backward()
    reached = hidden.grad.abs().sum(dim=2) > 0
    expected = {
        "mean": [[True, True, True], [True, False, False]],
        "last": [[False, False, True], [True, False, False]],
        "first": [[True, False, False], [True, False, False]],
    }
    assert reached.tolist() == expected[pooling]


def test_pool_batch_when_words_are_read_then_are_those_of_their_positions():
    words = torch.tensor([[0, 2], [0, -1]])
    batch = {"attention_mask": MASK, "word_positions": words}
    picked = pool_batch(HIDDEN.half(), batch, "tokens")
    assert picked.tolist() == [[1.0, 2.0], [5.0, 1.0], [7.0, 8.0]]
    assert picked.dtype == torch.float32
