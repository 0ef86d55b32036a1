import numpy as np
import pytest

from sksemantic._inputs.truncation import cut_longest_first, overlapping_windows


def test_cut_when_texts_are_too_long_then_the_longest_is_cut_first():
    lengths = np.array([[3, 20], [20, 1], [20, 9], [4, 6], [20, 20]])
    kept = cut_longest_first(lengths, 10)
    assert kept.tolist() == [[3, 7], [9, 1], [5, 5], [4, 6], [5, 5]]
    assert cut_longest_first(np.array([[7, 2, 6]]), 9).tolist() == [[4, 2, 3]]


def test_windows_when_text_fits_then_there_is_one():
    assert list(overlapping_windows(np.array([2, 3, 1]), 6)) == [(range(3), range(3))]
    assert list(overlapping_windows(np.array([], int), 6)) == []


def test_windows_when_text_is_too_long_then_they_overlap_by_half():
    assert list(overlapping_windows(np.ones(10, int), 4)) == [
        (range(0, 4), range(0, 3)),
        (range(2, 6), range(3, 5)),
        (range(4, 8), range(5, 7)),
        (range(6, 10), range(7, 10)),
    ]


@pytest.mark.parametrize("seed", range(5))
def test_windows_when_words_have_any_lengths_then_each_belongs_to_one(seed):
    lengths = np.random.RandomState(seed).randint(1, 9, 60)
    windows = list(overlapping_windows(lengths, 8))
    assert [word for _, own in windows for word in own] == list(range(60))
    for window, own in windows:
        assert lengths[window.start : window.stop].sum() <= 8
        assert set(own) <= set(window)
