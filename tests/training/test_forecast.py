"""How long a fit will take: what is measured, and what is added up."""

from types import SimpleNamespace

import numpy as np
import pytest
from conftest import build_module, load_tiny, random_ids

from sksemantic._inputs.dataset import TextDataset
from sksemantic._tasks.classification import Classification
from sksemantic._training import forecast as module
from sksemantic._training.config import TrainingConfig
from sksemantic._training.forecast import (
    Forecaster,
    _fit_cost,
    _measure,
    _measure_batch,
    batch_shapes,
    epoch_batches,
)
from sksemantic._training.progress import BatchCost


class Machine:
    """A machine and its clock: a batch takes so many seconds, and so many a text."""

    def __init__(self, per_batch, per_text, first=0.0):
        self.per_batch, self.per_text, self.first = per_batch, per_text, first
        self.now = 0.0
        self.n_texts = []  # of every batch that was run

    def perf_counter(self):
        return self.now

    def prepare(self, data):
        def run():
            is_first = len(data) not in self.n_texts
            self.n_texts.append(len(data))
            self.now += self.per_batch + self.per_text * len(data)
            self.now += self.first * is_first

        return run


@pytest.fixture
def machine(monkeypatch):
    def make(*args, **kwargs):
        made = Machine(*args, **kwargs)
        clock = SimpleNamespace(perf_counter=made.perf_counter)
        monkeypatch.setattr(module, "time", clock)
        return made

    return make


@pytest.fixture
def forecaster(tiny_bert):
    """Return a forecaster of ten epochs in batches of eight."""
    config = TrainingConfig(max_epochs=10, batch_size=8)
    task = Classification(np.arange(2))
    return Forecaster(build_module(load_tiny(tiny_bert)), task, config)


def texts_of(*lengths):
    return TextDataset(random_ids(*lengths))


def test_batch_when_it_is_soon_run_then_is_whole(machine):
    quick = machine(per_batch=0.01, per_text=0.001)
    some, seconds = _measure_batch(texts_of(*[5] * 40), range(20), quick.prepare, 0.5)
    assert len(some) == 20
    assert seconds == pytest.approx(0.03)
    assert {*quick.n_texts} == {2, 8, 20}


def test_batch_when_it_takes_long_then_is_a_part_of_it(machine):
    slow = machine(per_batch=0.0, per_text=0.1)
    some, seconds = _measure_batch(texts_of(*[5] * 40), range(20), slow.prepare, 0.5)
    assert len(some) == 8
    assert seconds == pytest.approx(0.8)
    assert 20 not in slow.n_texts


def test_measure_when_two_texts_are_slow_then_many_cost_as_many(machine):
    # Of one length: all that is run would have one shape, were it not for one text.
    slow = machine(per_batch=0.05, per_text=0.3)
    data = texts_of(*[20] * 96)
    batches = [[*range(start, start + 32)] for start in (0, 32, 64)]
    cost = _measure(data, batches, slow.prepare)
    assert cost.seconds([(32, 20)]) == pytest.approx(0.05 + 32 * 0.3, rel=0.05)


def test_batch_when_its_first_run_is_slow_then_that_one_does_not_count(machine):
    cold = machine(per_batch=0.01, per_text=0.001, first=0.4)
    _, seconds = _measure_batch(texts_of(*[5] * 40), range(20), cold.prepare, 0.5)
    assert seconds == pytest.approx(0.03)


def test_cost_when_fitted_then_is_what_the_batches_took():
    cost = BatchCost(per_batch=0.02, per_token=1e-4, per_pair=1e-6)
    shapes = [[(2, 10)], [(32, 20)], [(32, 100), (64, 50)]]
    found = _fit_cost(shapes, [cost.seconds(each) for each in shapes])
    assert found.per_batch == pytest.approx(cost.per_batch)
    assert found.per_token == pytest.approx(cost.per_token)
    assert found.per_pair == pytest.approx(cost.per_pair)


def test_cost_when_longer_batches_are_faster_then_nothing_is_negative():
    found = _fit_cost([[(2, 10)], [(4, 10)], [(4, 40)]], [3.0, 2.0, 1.0])
    assert min(found.per_batch, found.per_token, found.per_pair) >= 0


def test_batches_when_texts_are_grouped_by_length_then_each_is_in_one():
    data = texts_of(*range(1, 31))
    batches = epoch_batches(data, 8)
    assert sorted(i for batch in batches for i in batch) == [*range(30)]
    for batch, [(n_texts, longest)] in zip(
        batches, batch_shapes(data, batches), strict=True
    ):
        assert (n_texts, longest) == (len(batch), max(batch) + 1)


def test_measure_when_texts_are_alike_then_is_not_done_again(forecaster, monkeypatch):
    monkeypatch.setattr(module, "_known_costs", {})
    forecaster.measure(texts_of(*[10] * 24))
    first = forecaster.costs
    assert {*first} == {"frozen", "lower", "train", "read"}
    forecaster.measure(texts_of(*[11] * 24))
    assert forecaster.costs is first
    forecaster.measure(texts_of(*[40] * 24))
    assert forecaster.costs is not first


def test_phases_when_texts_are_held_out_then_they_join_the_training(forecaster):
    one_batch = BatchCost(per_batch=1.0)
    forecaster.costs = dict.fromkeys(["frozen", "train"], one_batch)
    forecaster.costs |= {"lower": BatchCost(), "read": BatchCost()}
    data = texts_of(*[10] * 32)
    is_held_out = np.arange(32) < 8
    seconds = forecaster.phases(data, is_held_out)
    assert seconds["frozen pass"] == 1
    # Five epochs of three batches, then, with the held-out texts, five of four.
    assert seconds["training"] == 5 * 3 + 5 * 4
    assert forecaster.phases(data, ~is_held_out & False)["training"] == 10 * 4


def test_phases_when_nothing_is_trained_then_are_those_of_the_linear_probe(forecaster):
    forecaster.costs = dict.fromkeys(["frozen", "lower", "train", "read"], BatchCost())
    seconds = forecaster.phases(texts_of(10, 10), np.zeros(2, bool), has_training=False)
    assert {*seconds} == {"frozen pass", "linear probe"}
