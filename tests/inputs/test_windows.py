import numpy as np
import pytest

from sksemantic._inputs.windows import (
    cut_longest_first,
    equal_windows,
    overlapping_windows,
)


@pytest.mark.parametrize(
    ("n_tokens", "lengths"),
    [(0, [0]), (1, [1]), (8, [8]), (9, [5, 4]), (16, [8, 8]), (17, [6, 6, 5])],
)
def test_equal_windows_when_cut_then_lengths_differ_by_one_at_most(n_tokens, lengths):
    windows = equal_windows(np.arange(n_tokens), 8)
    assert [*map(len, windows)] == lengths
    assert np.concatenate(windows).tolist() == [*range(n_tokens)]


def test_cut_when_texts_are_too_long_then_the_longest_is_cut_first():
    lengths = np.array([[3, 20], [20, 1], [20, 9], [4, 6], [20, 20]])
    kept = cut_longest_first(lengths, 10)
    assert kept.tolist() == [[3, 7], [9, 1], [5, 5], [4, 6], [5, 5]]
    assert cut_longest_first(np.array([[7, 2, 6]]), 9).tolist() == [[4, 2, 3]]


@pytest.mark.parametrize(
    ("lengths", "budget", "expected"),
    [
        ([2, 3, 1], 6, [(range(3), range(3))]),
        ([], 6, []),
        (
            [1] * 10,
            4,
            [
                (range(0, 4), range(0, 3)),
                (range(2, 6), range(3, 5)),
                (range(4, 8), range(5, 7)),
                (range(6, 10), range(7, 10)),
            ],
        ),
    ],
    ids=["fits", "empty", "too long"],
)
def test_windows_when_text_is_too_long_then_they_overlap_by_half(
    lengths, budget, expected
):
    assert list(overlapping_windows(np.array(lengths, int), budget)) == expected


RANDOM = np.random.RandomState(0).randint(1, 11, 60)


@pytest.mark.parametrize("lengths", [[1], [3, 1, 2], [10] * 7, [1, 10] * 9, RANDOM])
@pytest.mark.parametrize("budget", [10, 13, 100])
def test_windows_when_cut_then_each_word_belongs_to_one(lengths, budget):
    lengths = np.array(lengths)
    windows = list(overlapping_windows(lengths, budget))
    assert [word for _, own in windows for word in own] == list(range(len(lengths)))
    for window, own in windows:
        assert lengths[window.start : window.stop].sum() <= budget
        assert set(own) <= set(window)


def test_windows_when_in_the_middle_then_words_have_context_on_both_sides():
    _, *windows, _ = overlapping_windows(np.ones(100, int), 20)
    for window, own in windows:
        assert own.start - window.start >= 4
        assert window.stop - own.stop >= 4
