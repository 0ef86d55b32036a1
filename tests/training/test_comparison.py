import math
import warnings

import numpy as np
import pytest

from sksemantic import FallbackWarning
from sksemantic._training.comparison import Comparison


def paired(trained, linear_probe, weights=None, clearly_better=2.0):
    """Compare losses given as columns."""
    trained, linear_probe = (
        np.array(losses, float).reshape(len(losses), -1)
        for losses in (trained, linear_probe)
    )
    weights = np.ones(len(trained)) if weights is None else np.array(weights, float)
    names = ("error rate", "log-loss")[: trained.shape[1]]
    return Comparison.paired(trained, linear_probe, weights, clearly_better, names)


def test_comparison_when_made_then_numbers_are_those_worked_out_by_hand():
    found = paired([0, 1, 1, 0], [1, 1, 1, 0])
    # gains 1, 0, 0, 0: mean 1/4, squared deviations 9/16 + 3/16, over 4 squared
    assert found.n_texts == 4
    assert found.trained == (0.5,)
    assert found.linear_probe == (0.75,)
    assert found.standard_errors == pytest.approx((math.sqrt(12 / 16) / 4,))
    assert found.kept == "trained"


@pytest.mark.parametrize(
    ("second", "expected"), [(0.4, "trained"), (0.5, "trained"), (0.6, "linear_probe")]
)
def test_comparison_when_first_loss_ties_then_the_next_decides(second, expected):
    found = paired([[1, second], [0, second]] * 5, [[0, 0.5], [1, 0.5]] * 5)
    assert found.kept == expected


def test_comparison_when_first_loss_ties_in_single_precision_then_the_next_decides():
    # 33 of 99 rows each, added up in another order
    wrong = np.repeat([1, 0], [33, 66])
    trained = np.stack([wrong, np.full(99, 2.0)], axis=1).astype(np.float32)
    linear_probe = np.stack([wrong[::-1], np.full(99, 0.6)], axis=1)
    found = Comparison.paired(trained, linear_probe, np.ones(99, np.float32), 2.0, ())
    assert found.trained[0] == pytest.approx(found.linear_probe[0], abs=1e-12)
    assert found.kept == "linear_probe"


@pytest.mark.parametrize(
    ("n_lost", "log_loss", "expected"),
    [(9, 0.4, "trained"), (9, 0.5, "linear_probe"), (64, 0.4, "linear_probe")],
)
def test_comparison_when_losses_disagree_then_the_clearer_one_decides(
    n_lost, log_loss, expected
):
    # McNemar's statistic is -sqrt(n_lost); that of the log-loss is 0, or 4.5
    noise = np.tile([0.2, -0.2], 50)
    trained = np.stack([np.arange(100) < n_lost, log_loss + noise], axis=1)
    linear_probe = np.stack([np.zeros(100), np.full(100, 0.5)], axis=1)
    found = paired(trained, linear_probe)
    assert found.kept == expected
    assert found.linear_probe[0] < found.trained[0]


def test_comparison_when_weighted_then_rows_count_by_their_weight():
    found = paired([1, 0, 5], [0, 1, 5], weights=[1, 3, 0])
    assert found.trained == (0.25,)
    assert found.linear_probe == (0.75,)
    assert found.kept == "trained"


@pytest.mark.parametrize(
    ("n_won", "n_lost", "clearly_better", "expected"),
    [
        (2, 9, 2.0, "linear_probe"),
        (3, 9, 2.0, "trained"),
        (2, 9, 2.2, "trained"),
        (3, 9, 1.7, "linear_probe"),
        (1, 1, 0.0, "trained"),  # a tie
    ],
)
def test_comparison_when_probe_is_not_clearly_better_then_trained_is_kept(
    n_won, n_lost, clearly_better, expected
):
    # McNemar: -7 / sqrt(11) = -2.11, -6 / sqrt(12) = -1.73
    won, lost = [0] * n_won + [1] * n_lost, [1] * n_won + [0] * n_lost
    found = paired(won, lost, clearly_better=clearly_better)
    assert found.trained >= found.linear_probe
    assert found.kept == expected


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("column", [0, 1])
def test_comparison_when_training_diverged_then_linear_probe_is_kept(bad, column):
    trained = np.zeros((3, 2))
    trained[1, column] = bad
    found = paired(trained, np.ones((3, 2)))
    assert found.kept == "linear_probe"


def test_fallback_when_told_then_names_every_loss():
    found = paired([[1, 2.0], [0, 0.5]] * 5, [[0, 0.5], [0, 0.5]] * 5)
    assert found.loss_names == ("error rate", "log-loss")
    expected = (
        "the error rate 0.500, by the probe 0.000 and the log-loss 1.250, by the probe "
        "0.500"
    )
    with pytest.warns(FallbackWarning, match=expected):
        found.warn_of_fallback()


def test_fallback_when_both_are_right_then_is_quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        paired([[0, 0.5]] * 5, [[0, 0.1]] * 5).warn_of_fallback()
