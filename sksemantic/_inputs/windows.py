"""Where texts that are too long are cut, and into which windows."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def equal_windows(ids: "NDArray", budget: int) -> list["NDArray"]:
    """Cut a text into the fewest windows of at most `budget` tokens, of one length.

    Lengths differ by one token at most. A text that is empty is one window.
    """
    return np.array_split(ids, max(1, -(-len(ids) // budget)))


def cut_longest_first(lengths: "NDArray", budget: int) -> "NDArray":
    """Return how many tokens of each text (n, k) are kept, at most `budget` of k texts.

    The longest of the k texts is cut first, until it is no longer than the next.
    """
    kept = lengths.copy()
    for i in np.flatnonzero(lengths.sum(axis=1) > budget):
        room = max(budget, 0)
        for n_done, shortest in enumerate(np.argsort(lengths[i], kind="stable")):
            share = room // (lengths.shape[1] - n_done)
            kept[i, shortest] = min(lengths[i, shortest], share)
            room -= kept[i, shortest]
    return kept


def overlapping_windows(
    lengths: "NDArray", budget: int
) -> Iterator[tuple[range, range]]:
    """Cut a text into windows of at most `budget` tokens that overlap by about half.

    `lengths` (n_words,) are the tokens of each word, at most `budget`. Yields the words
    of each window, and those of them whose label is predicted in it: all but the outer
    half of each overlap. Every word's label is predicted in one window.
    """
    ends = np.cumsum(lengths)
    n_words = len(lengths)
    start = n_owned = 0
    while n_owned < n_words:
        n_before = ends[start - 1] if start else 0
        stop = int(np.searchsorted(ends, n_before + budget, side="right"))
        next_start = own_stop = n_words
        if stop < n_words:
            middle = (n_before + ends[stop - 1]) / 2
            next_start = int(np.searchsorted(ends, middle, side="right"))
            next_start = min(max(next_start, start + 1), stop)
            own_stop = (next_start + stop + 1) // 2
        yield range(start, stop), range(n_owned, own_stop)
        n_owned, start = own_stop, next_start
