"""Which texts are held out, and which ones the linear probe is fitted on."""

import math
import warnings
from typing import TYPE_CHECKING

import numpy as np

from sksemantic._inputs.dataset import TextDataset
from sksemantic._warnings import user_stacklevel

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from sksemantic._training.config import TrainingConfig


def held_out_share(config: "TrainingConfig", n_texts: int) -> float:
    """Return the share of the texts to hold out.

    Without early stopping it is one that two models can be compared on.
    """
    share = config.validation_fraction
    if config.early_stopping:
        return share
    wanted = min(config.max_validation_share, config.min_validation_texts / n_texts)
    return min(max(share, wanted), config.max_validation_texts / n_texts)


def draw_held_out(
    data: TextDataset,
    strata: "NDArray",
    share: float,
    rng: np.random.RandomState,
    *,
    of_each: bool = False,
) -> "NDArray":
    """Draw the texts to hold out (n,), bool: never those of no weight.

    Strata (n,) are kept in proportion; groups are held out whole, or not at all. What
    would leave a stratum without any text to train on is not held out. `of_each` holds
    out a text at least of each stratum that has two, or a group.
    """
    if data.groups is not None:
        numbers = np.unique(data.groups, return_inverse=True)[1]
        sizes = np.bincount(numbers)
        drawn = rng.permutation(len(sizes))
        so_far = np.cumsum(sizes[drawn])
        most = max(share * len(data), so_far[0] if of_each else 0)
        is_held_out = np.isin(numbers, drawn[so_far <= most])
    else:
        fewest = 1 if of_each else 0
        is_held_out = _draw(
            strata, lambda n: min(n - 1, max(fewest, int(share * n))), rng
        )
    is_held_out &= data.weights > 0
    return is_held_out & ~_whole_strata(data, strata, is_held_out)


def warn_of_none_held_out(config: "TrainingConfig", n_texts: int) -> None:
    """Say that early stopping, if it was asked for, has nothing to watch."""
    if not config.early_stopping:
        return
    if config.objective == "contrast":
        warnings.warn(
            "early_stopping=True has no effect where training's 'objective' is "
            "'contrast': no text is held out, and the training ends by itself. Leave "
            "'objective' out to watch held-out texts, or set early_stopping=False.",
            UserWarning,
            stacklevel=user_stacklevel(),
        )
        return
    warnings.warn(
        f"early_stopping=True has no effect: of {n_texts} labelled texts none could be "
        "held out, as classes, or groups, are too small for a part of each, so all "
        "epochs are trained. Pass more texts, raise training__validation_fraction, or "
        "set early_stopping=False.",
        UserWarning,
        stacklevel=user_stacklevel(),
    )


def _whole_strata(
    data: TextDataset, strata: "NDArray", is_held_out: "NDArray"
) -> "NDArray":
    """Return the held-out texts (n,), bool, of strata that are held out whole.

    With their groups. Texts of no weight do not count.
    """
    numbers = np.unique(strata, return_inverse=True)[1]
    n_left = np.bincount(numbers, (data.weights > 0) & ~is_held_out)
    is_whole = is_held_out & (n_left == 0)[numbers]
    if data.groups is not None:
        is_whole = np.isin(data.groups, data.groups[is_whole])
    return is_whole


def draw_probe_texts(
    data: TextDataset,
    strata: "NDArray",
    is_held_out: "NDArray",
    max_rows: int,
    rng: np.random.RandomState,
) -> "NDArray":
    """Return the texts that the linear probe is fitted on and compared by, in order.

    All of them or, if those that are not held out have more than `max_rows` rows, a
    part of these: of those that have a weight.
    """
    kept = np.flatnonzero(~is_held_out)
    if len(data.rows_of(kept)) > max_rows:
        kept = kept[data.weights[kept] > 0]
        share = min(1.0, max_rows / max(1, len(data.rows_of(kept))))
        kept = kept[_draw(strata[kept], lambda n: math.ceil(share * n), rng)]
    return np.sort(np.concatenate([kept, np.flatnonzero(is_held_out)]))


def draw_texts(
    data: TextDataset, strata: "NDArray", share: float, rng: np.random.RandomState
) -> "NDArray":
    """Draw a share of the texts, at least one of each stratum, in order."""
    return np.flatnonzero(_draw(strata, lambda n: math.ceil(share * n), rng))


def at_most(
    data: TextDataset, max_texts: int, rng: np.random.RandomState
) -> TextDataset:
    """Return the texts, or as many of them, drawn at random."""
    if len(data) <= max_texts:
        return data
    return data.take(draw_at_most(len(data), max_texts, rng))


def draw_at_most(n_texts: int, n_drawn: int, rng: np.random.RandomState) -> "NDArray":
    """Draw so many of these texts, in order."""
    return np.sort(rng.permutation(n_texts)[:n_drawn])


def _draw(
    strata: "NDArray", count: "Callable[[int], int]", rng: np.random.RandomState
) -> "NDArray":
    """Draw `count(n)` of each stratum of n texts; return which (n,), bool.

    In the order in which the strata come first: it does not depend on labels' names.
    """
    is_drawn = np.zeros(len(strata), bool)
    for stratum in dict.fromkeys(strata.tolist()):
        texts = rng.permutation(np.flatnonzero(strata == stratum))
        is_drawn[texts[: count(len(texts))]] = True
    return is_drawn
