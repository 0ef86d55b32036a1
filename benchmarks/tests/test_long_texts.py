import long_texts
import numpy as np
import pytest
from long_texts import READINGS, cell, head_and_tail, spread, windows

IDS = list(range(300))


@pytest.mark.parametrize("name", READINGS)
def test_readings_when_text_is_short_then_is_read_whole(name):
    for way, length in READINGS[name]:
        assert way(IDS[:50], length) == [IDS[:50]]


def test_readings_when_text_is_long_then_have_the_tokens_of_their_kind():
    assert head_and_tail(IDS, 12) == [[0, 1, 2, 3, 4, 295, 296, 297, 298, 299]]
    assert head_and_tail(IDS, 12, 0.8) == [[*range(8), 298, 299]]
    (pieces,) = spread(IDS, 66)
    assert pieces == [*range(32), *range(268, 300)]
    parts = windows(IDS, 128)
    assert sum(parts, []) == IDS
    assert [*map(len, parts)] == [100, 100, 100]


def test_features_when_read_in_windows_then_tokens_count():
    class Reader:
        around = 0, 0
        known = {(1, 2): np.array([0.0]), (3,): np.array([7.0])}

    found = long_texts.WindowReader.__call__(Reader(), [[1, 2], [3]])
    assert found.tolist() == [3.0]  # (4 * 0 + 3 * 7) / 7


def test_cell_when_a_draw_has_both_then_seconds_are_compared():
    rows = [
        {
            "task": "bbc-1000-minilm",
            "method": method,
            "seed": seed,
            "scores": {"accuracy": accuracy},
            "seconds": seconds,
        }
        for method, seed, accuracy, seconds in (
            ("truncate 512", 0, 0.9, 100),
            ("windows 128", 0, 0.8, 25),
            ("windows 128", 1, 0.9, 7),
        )
    ]
    assert cell(rows, "bbc-1000-minilm", "windows 128") == "0.850 (2), 0.25"
    assert cell(rows, "bbc-1000-minilm", "truncate 128") == ""
