import numpy as np
import pytest
import torch
from conftest import random_ids

from sksemantic._backbone.backbone import BatchLimits
from sksemantic._inputs.batching import (
    BucketSampler,
    ClassSampler,
    collate,
    cut_into_batches,
    ordered_batches,
    train_batches,
)
from sksemantic._inputs.dataset import Ragged, TextDataset


@pytest.fixture
def lengths():
    return np.random.RandomState(0).randint(1, 200, 1003)


@pytest.fixture
def sampler(lengths):
    return BucketSampler(lengths, 16, np.random.RandomState(0))


def test_bucket_sampler_when_iterated_then_has_each_text_once(sampler):
    batches = list(sampler)
    assert len(batches) == len(sampler) == 63
    assert sorted(np.concatenate(batches)) == list(range(1003))
    assert sorted(map(len, batches)) == [11] + [16] * 62


@pytest.mark.parametrize(("n_bucket_batches", "share"), [(63, 0.03), (8, 0.2)])
def test_bucket_sampler_when_buckets_are_large_then_lengths_are_similar(
    n_bucket_batches, share, lengths
):
    sampler = BucketSampler(lengths, 16, np.random.RandomState(0), n_bucket_batches)
    spans = [np.ptp(lengths[batch]) for batch in sampler]
    assert share / 4 < np.mean(spans) / np.ptp(lengths) < share


def test_bucket_sampler_when_iterated_then_batches_are_not_in_order_of_length(
    sampler, lengths
):
    means = [lengths[batch].mean() for batch in sampler]
    assert abs(np.corrcoef(means[:-1], means[1:])[0, 1]) < 0.4


def test_bucket_sampler_when_iterated_again_then_batches_follow_from_the_seed(lengths):
    one, other = (BucketSampler(lengths, 16, np.random.RandomState(7)) for _ in "ab")
    first = list(one)
    assert first == list(other)
    assert {tuple(sorted(b)) for b in first} != {tuple(sorted(b)) for b in one}


def test_batches_when_cut_then_padding_counts_too():
    batches = cut_into_batches(np.array([3, 5, 1, 5, 6, 11, 2]), BatchLimits(10))
    assert batches == [[0, 1], [2, 3], [4], [5], [6]]


def test_batches_when_cut_then_few_tokens_are_padding():
    lengths = np.array([2, 2, 3, 6, 6, 7, 7, 15])
    assert cut_into_batches(lengths, BatchLimits(200)) == [[*range(8)]]
    batches = cut_into_batches(lengths, BatchLimits(100, padding=2))
    assert batches == [[0, 1, 2], [3, 4, 5, 6], [7]]


def test_train_batches_when_iterated_then_targets_stay_with_their_texts():
    ids = random_ids(*range(1, 41))
    data = TextDataset(ids, np.arange(40), np.arange(40, dtype=np.float32))
    seen = []
    for X, y in train_batches(data, 8, 0, np.random.RandomState(0)):
        assert X["attention_mask"].sum(dim=1).tolist() == [len(ids[i]) for i in y]
        assert X["sample_weight"].tolist() == y.tolist()
        seen += y.tolist()
    assert sorted(seen) == list(range(40))


def test_ordered_batches_when_iterated_then_order_is_kept():
    data = TextDataset(random_ids(3, 1, 2, 1500), np.array([3, 0, 2, 1]))
    batches = ordered_batches(data, 0, BatchLimits(2048), batch_size=1)
    assert [y.tolist() for _, y in batches] == [[3, 0, 2], [1]]


def test_batches_when_iterated_then_global_generator_is_left_alone():
    data = TextDataset(random_ids(3, 1, 2))
    before = torch.get_rng_state()
    assert len(list(ordered_batches(data, 0, BatchLimits(3)))) == 3
    list(train_batches(data, 2, 0, np.random.RandomState(0)))
    assert torch.equal(torch.get_rng_state(), before)


def test_collate_when_lengths_differ_then_pads_on_the_right():
    X, y = collate(9)(TextDataset([[5, 6, 7], [8]], np.array([1, 0])))
    assert {name: values.tolist() for name, values in X.items()} == {
        "input_ids": [[5, 6, 7], [8, 9, 9]],
        "attention_mask": [[1, 1, 1], [1, 0, 0]],
        "sample_weight": [1.0, 1.0],
    }
    assert y.tolist() == [1, 0]
    assert X["input_ids"].dtype == X["attention_mask"].dtype == y.dtype == torch.int64
    assert X["sample_weight"].dtype == torch.float32


def test_collate_when_texts_are_pairs_or_have_words_then_has_those_too():
    pairs = Ragged(np.arange(1, 6), [3, 2], second_starts=np.array([1, 1]))
    words = Ragged.of([[0, 2], [1]])
    single = Ragged.of([[1], [2, 3], [4], [5]])
    data = TextDataset(pairs, word_positions=words, pair_texts=single)
    X, _ = collate(0)(data)
    assert X["token_type_ids"].tolist() == [[0, 1, 1], [0, 1, 0]]
    assert X["word_positions"].tolist() == [[0, 2], [1, -1]]
    assert X["pair_ids"].tolist() == [[[1, 0], [2, 3]], [[4, 0], [5, 0]]]
    assert X["pair_mask"].tolist() == [[[1, 0], [1, 1]], [[1, 0], [1, 0]]]


def test_batches_when_texts_have_windows_then_training_draws_one_in_each_epoch():
    data = TextDataset(
        [[i] for i in range(6)], np.arange(2), n_windows=np.array([2, 4])
    )
    batches = train_batches(data, 2, 0, np.random.RandomState(0))
    epochs = [next(iter(batches)) for _ in range(40)]
    seen = [set(), set()]
    for X, y in epochs:
        assert X["input_ids"].shape == (2, 1)
        for (token,), target in zip(X["input_ids"].tolist(), y.tolist(), strict=True):
            seen[target].add(token)
    assert seen == [{0, 1}, {2, 3, 4, 5}]


@pytest.mark.parametrize(
    ("n_of_classes", "batch_size"), [([8] * 6, 64), ([3, 9, 40], 16), ([8] * 20, 16)]
)
def test_class_sampler_when_iterated_then_has_each_text_once_with_others_of_its_class(
    n_of_classes, batch_size
):
    classes = np.repeat(np.arange(len(n_of_classes)), n_of_classes)
    sampler = ClassSampler(classes, batch_size, np.random.RandomState(0))
    batches, again = [*sampler], [*sampler]
    assert sorted(sum(batches, [])) == list(range(len(classes)))
    assert len(batches) == len(sampler)
    assert max(map(len, batches)) <= batch_size
    n_alone = sum(
        (np.bincount(classes[batch]) == 1).sum() for batch in map(np.array, batches)
    )
    assert n_alone <= 2 * len(batches)  # only where a batch ends within a group
    if len(batches) > 1:
        assert batches != again
