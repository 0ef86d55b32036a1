"""How far a fit is, and what is left of it."""

import logging

import pytest
import torch

from sksemantic import SKTuningClassifier
from sksemantic._training import progress as module
from sksemantic._training.progress import BatchCost, Progress


class Clock:
    """A clock that is set by hand."""

    def __init__(self):
        self.now = 100.0

    def perf_counter(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def batch_of(n_texts, n_tokens):
    return {"input_ids": torch.zeros(n_texts, n_tokens)}


def test_cost_when_summed_then_counts_batches_tokens_and_pairs_of_tokens():
    assert BatchCost(1, 0.1, 0.01).seconds([(2, 10)]) == pytest.approx(1 + 2 + 2)
    assert BatchCost(1, 0.1, 0).seconds([(2, 10), (4, 5)]) == pytest.approx(1 + 4)


def test_cost_when_another_is_larger_then_nothing_is_left():
    less = BatchCost(1, 2, 3).less(BatchCost(2, 1, 1), share=0.5)
    assert less == BatchCost(0, 1.5, 2.5)


def test_left_when_as_fast_as_foreseen_then_is_the_rest(clock):
    progress = Progress(costs={"train": BatchCost(per_batch=1)})
    progress.begin("training")
    progress.expect({"training": 10, "comparison": 3})
    assert progress.left == pytest.approx(13)
    for _ in range(4):
        clock.now += 1
        progress.count("train", batch_of(1, 1))
    assert progress.left == pytest.approx(9)


def test_left_when_twice_as_slow_as_foreseen_then_is_nearly_twice_the_rest(clock):
    progress = Progress(costs={"train": BatchCost(per_batch=1)})
    progress.begin("training")
    progress.expect({"training": 10})
    for _ in range(5):
        clock.now += 2
        progress.count("train", batch_of(1, 1))
    assert progress.left == pytest.approx(9.5, abs=0.1)


def test_left_when_a_phase_is_over_then_the_next_one_counts(clock):
    progress = Progress()
    progress.begin("frozen pass")
    progress.expect({"frozen pass": 10, "linear probe": 5})
    clock.now += 2
    assert progress.left == pytest.approx(13)
    progress.begin("linear probe")
    assert progress.left == pytest.approx(5)
    clock.now += 7  # longer than foreseen
    assert progress.left == 0


def test_begin_when_an_interlude_then_the_phase_before_goes_on(clock):
    progress = Progress(costs={"train": BatchCost(per_batch=1)})
    progress.begin("training")
    progress.expect({"training": 4, "comparison": 2})
    clock.now += 2
    progress.count("train", batch_of(1, 1))
    progress.count("train", batch_of(1, 1))
    progress.begin("comparison", is_interlude=True)
    clock.now += 1
    assert progress.left == pytest.approx(2 + 1)
    progress.begin("training")
    assert progress.seconds_of("training") == pytest.approx(2)
    assert progress.left == pytest.approx(2)


def test_timing_when_ended_then_has_phases_and_the_forecast_at_five_percent(clock):
    progress = Progress(costs={"train": BatchCost(per_batch=1)})
    progress.begin("loading")
    clock.now += 1
    progress.begin("training")
    progress.expect({"training": 50})
    for _ in range(100):
        clock.now += 1
        progress.count("train", batch_of(1, 1))
    timing = progress.end()
    assert timing.seconds == pytest.approx(101)
    assert timing.phases == pytest.approx({"loading": 1, "training": 100})
    # Six seconds into it: what was foreseen, at the pace of five batches.
    assert timing.forecast == pytest.approx(51, abs=2)


@pytest.mark.parametrize("verbose", [0, 1])
def test_timing_when_fitted_then_is_kept_and_foreseen_if_anyone_looks(
    classifier, verbose, texts, labels
):
    timing = classifier.set_params(verbose=verbose).fit(texts, labels).timing_
    assert timing.seconds == pytest.approx(sum(timing.phases.values()), rel=0.05)
    assert (timing.forecast is not None) == (verbose > 0)
    names = "checks loading tokenising measuring frozen-pass linear-probe training"
    assert {*timing.phases} >= {name.replace("-", " ") for name in names.split()}


def test_fit_when_it_takes_long_then_logs_the_forecast(
    fast, texts, labels, caplog, monkeypatch
):
    monkeypatch.setattr(module, "_LOGGED_FROM", 0.0)
    with caplog.at_level(logging.INFO, logger="sksemantic"):
        SKTuningClassifier(**fast).fit(texts, labels)
    (message,) = caplog.messages
    assert message.startswith("fit will take about ")


def test_fit_when_it_takes_a_moment_then_logs_nothing(
    classifier, texts, labels, caplog, monkeypatch
):
    monkeypatch.setattr(module, "_LOGGED_FROM", 1e9)
    with caplog.at_level(logging.INFO, logger="sksemantic"):
        classifier.fit(texts, labels)
    assert not caplog.messages
