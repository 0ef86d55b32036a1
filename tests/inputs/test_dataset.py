import itertools

import numpy as np
import pytest
from conftest import random_ids

from sksemantic._inputs.dataset import Ragged, TextDataset

IDS = random_ids(4, 2, 9)


def lists(ragged):
    return [values.tolist() for values in ragged]


@pytest.fixture
def words():
    """Return three texts of which 2, 0 and 3 words are labelled."""
    return TextDataset(
        IDS,
        targets=np.arange(5),
        weights=np.array([1.0, 2.0, 4.0]),
        word_positions=Ragged.of([[0, 2], [], [1, 3, 4]]),
        groups=np.array(["a", "b", "a"]),
    )


def test_ragged_when_taken_then_sequences_come_in_the_asked_order():
    ragged = Ragged(Ragged.of(IDS).flat, [4, 2, 9], second_starts=np.array([1, 2, 3]))
    taken = ragged.take(np.array([2, 0, 2]))
    assert lists(taken) == [IDS[2], IDS[0], IDS[2]]
    assert taken.lengths.tolist() == [9, 4, 9]
    assert taken.second_starts.tolist() == [3, 1, 3]


def test_ragged_when_padded_then_on_the_right():
    values, mask = Ragged.of([[5, 6, 7], [], [8]]).padded(9)
    assert values.tolist() == [[5, 6, 7], [9, 9, 9], [8, 9, 9]]
    assert mask.tolist() == [[True] * 3, [False] * 3, [True, False, False]]


def test_ragged_when_of_pairs_then_types_of_padding_are_zero():
    pairs = Ragged(np.arange(8), [5, 3], second_starts=np.array([3, 1]))
    assert pairs.padded_types().tolist() == [[0, 0, 0, 1, 1], [0, 1, 1, 0, 0]]


def test_dataset_when_nothing_is_given_then_each_text_counts_once():
    data = TextDataset(IDS)
    assert len(data) == 3
    assert data.weights.tolist() == [1, 1, 1]
    assert data.targets.tolist() == [0, 0, 0]
    assert data.rows_of(np.array([2, 0])).tolist() == [2, 0]
    assert data.row_weights is data.text_weights is data.weights
    assert data.text_means(data.targets) is data.targets


def test_rows_when_words_are_labelled_then_each_is_one(words):
    assert words.rows_of(np.array([2, 1, 0])).tolist() == [2, 3, 4, 0, 1]
    assert words.row_weights.tolist() == [1, 1, 4, 4, 4]
    assert words.text_weights.tolist() == [2, 0, 12]
    values = np.array([[1.0, 2], [3, 4], [1, 0], [2, 0], [6, 3]])
    assert words.text_means(values).tolist() == [[2, 3], [0, 0], [3, 1]]


def test_take_when_words_are_labelled_then_all_of_a_text_comes_along(words):
    taken = words.take(np.array([2, 0]))
    assert lists(taken.token_ids) == [IDS[2], IDS[0]]
    assert lists(taken.word_positions) == [[1, 3, 4], [0, 2]]
    assert taken.targets.tolist() == [2, 3, 4, 0, 1]
    assert taken.weights.tolist() == [4, 1]
    assert taken.groups.tolist() == ["a", "a"]
    assert lists(words[2].token_ids) == [IDS[2]]


def test_take_when_pairs_then_both_texts_come_along():
    data = TextDataset(IDS, pair_texts=Ragged.of([[i] for i in range(6)]))
    assert lists(data.take(np.array([2, 0])).pair_texts) == [[4], [5], [0], [1]]


def test_by_length_when_sorted_then_order_leads_back():
    data = TextDataset(random_ids(4, 2, 9, 2), np.arange(4))
    by_length, order = data.by_length()
    assert by_length.lengths.tolist() == [2, 2, 4, 9]
    assert by_length.targets.tolist() == order.tolist() == [1, 3, 0, 2]


def test_keys_when_texts_differ_in_anything_that_is_read_then_keys_do():
    def key(ids, second=None, words=None):
        second = None if second is None else np.array([second])
        words = None if words is None else Ragged.of([words])
        (single,) = TextDataset(
            Ragged(np.array(ids, np.int32), [len(ids)], second), word_positions=words
        ).keys()
        return single

    keys = [
        key([1, 2, 3]),
        key([1, 2, 4]),
        key([1, 2]),
        key([1, 2, 3], second=1),
        key([1, 2, 3], second=2),
        key([1, 2, 3], words=[2]),
        key([1, 2], words=[3]),
        key([1, 2, 3], words=[1, 2]),
        key([1, 2, 3], second=1, words=[1, 2]),
    ]
    assert len(set(keys)) == len(keys)
    assert key([1, 2, 3], 1, [1, 2]) == keys[-1]


def test_keys_when_taken_then_are_those_of_the_texts(words):
    keys = words.keys()
    assert words.take(np.array([2, 0])).keys() == [keys[2], keys[0]]


@pytest.fixture
def long():
    """Return three texts of 2, 1 and 3 windows."""
    return TextDataset(
        [[1, 2], [3], [4], [5, 6], [7], [8, 9]],
        targets=np.array([0, 1, 2]),
        weights=np.array([1.0, 2.0, 4.0]),
        n_windows=np.array([2, 1, 3]),
    )


def test_take_when_texts_have_windows_then_all_of_them_come_along(long):
    taken = long.take(np.array([2, 0]))
    assert lists(taken.token_ids) == [[5, 6], [7], [8, 9], [1, 2], [3]]
    assert taken.n_windows.tolist() == [3, 2]
    assert (taken.targets.tolist(), taken.weights.tolist()) == ([2, 0], [4, 1])
    assert lists(taken[1].token_ids) == [[1, 2], [3]]


def test_by_length_when_texts_are_in_another_order_then_is_the_same():
    rows = random_ids(4, 2, 9, 2, 4, 4)
    expected = [*TextDataset(rows).by_length()[0].token_ids]
    for chosen in itertools.permutations(range(6)):
        found = TextDataset([rows[i] for i in chosen]).by_length()[0].token_ids
        assert all(map(np.array_equal, found, expected))


def test_by_length_when_texts_have_windows_then_these_are_compared():
    long = TextDataset([[1] * 9, [2] * 3, [3] * 3], n_windows=np.array([1, 2]))
    assert long.lengths.tolist() == [9, 3]
    assert long.by_length()[1].tolist() == [1, 0]


def test_windows_when_texts_of_their_own_then_have_their_texts_targets(long):
    windows = long.windows()
    assert len(windows) == 6
    assert windows.n_windows is None
    assert windows.targets.tolist() == [0, 0, 1, 2, 2, 2]
    assert windows.weights.tolist() == [1, 1, 2, 4, 4, 4]


def test_one_window_each_when_drawn_often_then_every_window_occurs(long):
    rng = np.random.RandomState(0)
    seen = [set() for _ in range(3)]
    for _ in range(50):
        drawn = long.one_window_each(rng)
        assert drawn.n_windows is None
        assert drawn.targets is long.targets
        for found, ids in zip(seen, lists(drawn.token_ids), strict=True):
            found.add(tuple(ids))
    assert seen == [{(1, 2), (3,)}, {(4,)}, {(5, 6), (7,), (8, 9)}]


def test_mean_over_windows_when_lengths_differ_then_tokens_count(long):
    values = np.array([[0.0, 3], [3, 0], [5, 5], [1, 0], [6, 5], [1, 0]])
    assert long.mean_over_windows(values).tolist() == [[1, 2], [5, 5], [2, 1]]


def test_dataset_when_texts_have_no_windows_then_is_as_it_was():
    data = TextDataset(IDS)
    assert data.windows() is data.one_window_each(None) is data
    assert data.mean_over_windows(IDS) is IDS
