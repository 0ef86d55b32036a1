"""Which texts are held back, and which ones the closed form reads."""

import math
from typing import TYPE_CHECKING

import numpy as np

from sksemantic._inputs.dataset import TextDataset

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

_HELD_BACK_ROWS = 100  # aimed at, though never more than a third of the texts
_MOST_HELD_BACK = 1 / 3
# The closed form learns next to nothing from more; a frozen pass over all would be the
# longest part of a fit of few epochs, and their features the largest. More texts than
# these would not make the comparison with it any clearer.
_MOST_PROBE_ROWS = 30_000
_MOST_HELD_BACK_ROWS = 10_000


def comparable_fraction(fraction: float, n_rows: int) -> float:
    """Return a fraction of the texts that two models can be compared by."""
    wanted = min(_MOST_HELD_BACK, _HELD_BACK_ROWS / n_rows)
    return min(max(fraction, wanted), _MOST_HELD_BACK_ROWS / n_rows)


def hold_back(
    data: TextDataset, strata: "NDArray", fraction: float, rng: np.random.RandomState
) -> "NDArray":
    """Draw the rows to hold back (n,), bool: never those of no weight.

    Strata (n,) are kept in proportion; groups are held back whole, or not at all.
    """
    if data.groups is not None:
        numbers = np.unique(data.groups, return_inverse=True)[1]
        sizes = np.bincount(numbers)
        drawn = rng.permutation(len(sizes))
        so_far = np.cumsum(sizes[drawn])
        held = np.isin(numbers, drawn[so_far <= fraction * len(data)])
    else:
        held = _draw(strata, lambda n: int(fraction * n), rng)
    return held & (data.weights > 0)


def probe_texts(
    data: TextDataset,
    strata: "NDArray",
    is_held: "NDArray",
    rng: np.random.RandomState,
) -> "NDArray":
    """Return the rows that the closed form is fitted on and compared by, in order.

    All of them or, if those that are not held back are very many, a part of these: of
    those that count.
    """
    kept = np.flatnonzero(~is_held)
    if len(data.rows_of(kept)) > _MOST_PROBE_ROWS:
        kept = kept[data.weights[kept] > 0]
        share = min(1.0, _MOST_PROBE_ROWS / max(1, len(data.rows_of(kept))))
        kept = kept[_draw(strata[kept], lambda n: math.ceil(share * n), rng)]
    return np.sort(np.concatenate([kept, np.flatnonzero(is_held)]))


def at_most_probe_texts(data: TextDataset, rng: np.random.RandomState) -> TextDataset:
    """Return texts, or as many of them as the closed form reads."""
    if len(data) <= _MOST_PROBE_ROWS:
        return data
    return data.take(np.sort(rng.permutation(len(data))[:_MOST_PROBE_ROWS]))


def _draw(
    strata: "NDArray", count: "Callable[[int], int]", rng: np.random.RandomState
) -> "NDArray":
    """Draw rows: of each stratum of n rows `count(n)`; return which (n,), bool."""
    drawn = np.zeros(len(strata), bool)
    for stratum in np.unique(strata):
        rows = rng.permutation(np.flatnonzero(strata == stratum))
        drawn[rows[: count(len(rows))]] = True
    return drawn
