import numpy as np
import pytest

from sksemantic import TrainingConfig
from sksemantic._inputs.dataset import TextDataset
from sksemantic._training.holdout import (
    at_most,
    draw_held_out,
    draw_probe_texts,
    held_out_share,
)


def dataset(n, **options):
    return TextDataset([[i] for i in range(n)], **options)


@pytest.fixture
def rng():
    return np.random.RandomState(0)


@pytest.mark.parametrize(
    ("n_texts", "fraction", "n_held_out"),
    [
        (150, 0.1, 50),  # a third: 100 would be more
        (300, 0.1, 100),
        (600, 0.1, 100),
        (2000, 0.1, 200),
        (600, 0.5, 300),
        (200_000, 0.1, 10_000),
    ],
)
def test_share_when_models_are_compared_then_there_are_enough_texts_but_not_too_many(
    n_texts, fraction, n_held_out
):
    config = TrainingConfig(validation_fraction=fraction)
    assert held_out_share(config, n_texts) * n_texts == pytest.approx(n_held_out)


@pytest.mark.parametrize("n_texts", [10, 200_000])
def test_share_when_early_stopping_then_is_the_users(n_texts):
    config = TrainingConfig(early_stopping=True, validation_fraction=0.2)
    assert held_out_share(config, n_texts) == 0.2


def test_held_out_when_strata_are_uneven_then_shares_are_kept(rng):
    strata = np.repeat([0, 1], [12, 60])
    is_held_out = draw_held_out(dataset(72), strata, 1 / 3, rng)
    assert np.bincount(strata[is_held_out]).tolist() == [4, 20]
    other = draw_held_out(dataset(72), strata, 1 / 3, rng)
    assert (is_held_out != other).any()


def test_held_out_when_some_of_each_are_asked_for_then_small_strata_give_one(rng):
    strata = np.repeat([0, 1, 2, 3], [1, 2, 9, 40])
    is_held_out = draw_held_out(dataset(52), strata, 0.1, rng, of_each=True)
    assert np.bincount(strata[is_held_out], minlength=4).tolist() == [0, 1, 1, 4]
    groups = np.repeat(list("abcd"), 3)
    data = dataset(12, groups=groups)
    is_held_out = draw_held_out(data, np.zeros(12), 0.1, rng, of_each=True)
    assert is_held_out.sum() == 3
    assert not set(groups[is_held_out]) & set(groups[~is_held_out])


@pytest.mark.parametrize("share", [1 / 4, 1 / 3])  # of eight groups of three
def test_held_out_when_there_are_groups_then_none_is_split(share, rng):
    groups = np.array(list("abcdefgh") * 3)
    is_held_out = draw_held_out(dataset(24, groups=groups), np.zeros(24), share, rng)
    assert is_held_out.sum() == 6
    assert not set(groups[is_held_out]) & set(groups[~is_held_out])


def test_held_out_when_weight_is_zero_then_text_is_not(rng):
    weights = (np.arange(20) % 2).astype(np.float32)
    is_held_out = draw_held_out(dataset(20, weights=weights), np.zeros(20), 0.5, rng)
    assert is_held_out.any()
    assert not is_held_out[weights == 0].any()


def test_probe_texts_when_few_then_are_all(rng):
    is_held_out = np.arange(12) < 4
    chosen = draw_probe_texts(dataset(12), np.zeros(12), is_held_out, 8, rng)
    assert chosen.tolist() == [*range(12)]


def test_probe_texts_when_many_then_are_a_part_and_all_that_are_held_out(rng):
    is_held_out = np.arange(100) % 10 == 0
    strata = np.repeat([0, 1], [96, 4])
    chosen = draw_probe_texts(dataset(100), strata, is_held_out, 30, rng)
    assert set(np.flatnonzero(is_held_out)) <= set(chosen)
    others = np.setdiff1d(chosen, np.flatnonzero(is_held_out))
    # A third of either stratum, rounded up: 86 and 4 texts are not held out.
    assert np.bincount(strata[others]).tolist() == [29, 2]
    assert (np.diff(chosen) > 0).all()


def test_probe_texts_when_many_have_no_weight_then_only_others_are_read(rng):
    weights = (np.arange(100) < 20).astype(np.float32)
    chosen = draw_probe_texts(
        dataset(100, weights=weights), np.zeros(100), np.zeros(100, bool), 30, rng
    )
    assert chosen.tolist() == [*range(20)]


def test_at_most_when_there_are_more_then_that_many_are_drawn(rng):
    some = at_most(dataset(50), 7, rng)
    ids = [row[0] for row in some.token_ids]
    assert len(ids) == 7
    assert ids == sorted(set(ids))
    whole = dataset(7)
    assert at_most(whole, 7, rng) is whole


@pytest.mark.parametrize("seed", range(8))
def test_held_out_when_a_group_has_all_of_a_class_then_it_is_not(seed):
    groups = np.repeat([0, 1, 2, 3], 8)
    strata = (groups > 0).astype(int)
    drawn = draw_held_out(
        dataset(32, groups=groups), strata, 1 / 3, np.random.RandomState(seed)
    )
    assert not drawn[groups == 0].any()
    assert drawn.sum() in (0, 8)


@pytest.mark.parametrize("seed", range(8))
def test_held_out_when_one_text_of_a_class_has_weight_then_it_is_not(seed):
    weights = np.array([1, 0, 0, 0] * 4, dtype=np.float32)
    strata = np.repeat([0, 1, 1, 1], 4)
    drawn = draw_held_out(
        dataset(16, weights=weights), strata, 0.5, np.random.RandomState(seed)
    )
    assert not drawn[0]
    assert drawn[4:].sum() in (0, 1, 2)
    assert not drawn[weights == 0].any()
