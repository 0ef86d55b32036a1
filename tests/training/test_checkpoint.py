import numpy as np
import torch
from conftest import build_module, load_tiny
from skorch.callbacks import Callback, EarlyStopping, LRScheduler

from sksemantic._cache import activations
from sksemantic._tasks.classification import Classification
from sksemantic._training.checkpoint import Checkpoint
from sksemantic._training.config import TrainingConfig
from sksemantic._training.net import build_net
from sksemantic._training.progress import Progress
from sksemantic._training.schedules import TailAverage
from sksemantic._training.time_limit import TimeLimit


class Store:
    """Keeps what is written in memory."""

    def __init__(self):
        self.trees = {}

    def read(self, name):
        return self.trees.get(name)

    def write(self, **trees):
        self.trees |= trees

    def close(self):
        """Nothing has to be closed."""


class Learner(Callback):
    """Has learned values of several kinds, and others."""

    def __init__(self):
        self.given = 1
        self.count_ = 0
        self.values_ = [torch.zeros(2), {"a": np.zeros(3)}]
        self.schedule_ = torch.optim.lr_scheduler.LambdaLR
        self.unsavable_ = object()


def net_with(tiny_bert, callbacks):
    module = build_module(load_tiny(tiny_bert))
    limit = TimeLimit(None, Progress())
    limit.progress.begin("training")
    return build_net(
        module,
        Classification(np.array(["a", "b"])),
        TrainingConfig(max_epochs=2),
        callbacks,
        np.random.RandomState(0),
        torch.Generator().manual_seed(0),
        limit,
    )


def checkpoint_of(store, seconds=0.0):
    return Checkpoint(store, seconds, Progress(), np.random.RandomState(5))


def save(net, store):
    store.write(start={"n_threads": 1, "cache_limit": 0})
    checkpoint_of(store).save(
        net, np.random.RandomState(5).get_state(), is_within=False
    )


def test_resume_when_saved_then_weights_moments_and_callbacks_are_those(tiny_bert):
    limit = TimeLimit(None, Progress())
    callbacks = [TailAverage(2, limit, 0.0), Learner(), EarlyStopping(load_best=True)]
    net = net_with(tiny_bert, callbacks)
    for parameter in net.module_.parameters():
        parameter.grad = torch.ones_like(parameter)
    net.optimizer_.step()
    average, learner, stopping = (dict(net.callbacks_)[n] for n in names_of(net))
    average.average_ = [p.detach() + 1 for p in net.module_.parameters()]
    average.n_averaged_ = 3
    learner.count_ = 7
    learner.values_ = [torch.ones(2), {"a": np.ones(3)}]
    stopping.best_model_weights_ = net.module_.state_dict()
    store = Store()
    save(net, store)
    other = net_with(tiny_bert, [TailAverage(2, limit, 0.0), Learner(), callbacks[2]])
    checkpoint_of(store).resume(other)
    for mine, theirs in zip(
        net.module_.parameters(), other.module_.parameters(), strict=True
    ):
        assert torch.equal(mine, theirs)
    assert repr(other.optimizer_.state_dict()) == repr(net.optimizer_.state_dict())
    average, learner, stopping = (dict(other.callbacks_)[n] for n in names_of(other))
    assert average.n_averaged_ == 3
    assert learner.count_ == 7
    assert torch.equal(learner.values_[0], torch.ones(2))
    assert learner.values_[1]["a"].tolist() == [1, 1, 1]
    assert stopping.best_model_weights_.keys() == net.module_.state_dict().keys()


def names_of(net):
    kinds = (TailAverage, Learner, EarlyStopping)
    return [
        name
        for kind in kinds
        for name, each in net.callbacks_
        if isinstance(each, kind)
    ]


def test_state_when_a_callback_has_what_cannot_be_saved_then_it_is_left_out(tiny_bert):
    net = net_with(tiny_bert, [Learner(), LRScheduler("StepLR", step_size=1)])
    store = Store()
    save(net, store)
    states = store.trees["position"]["callbacks"]
    (learner,) = (state for name, state in states.items() if "Learner" in name)
    assert learner["values"].keys() == {"count_", "values_"}
    assert learner["objects"] == {}
    assert "epoch_timer" not in states


def test_checkpoint_when_without_a_store_then_nothing_is_due_or_saved(tiny_bert):
    checkpoint = checkpoint_of(None)
    net = net_with(tiny_bert, [])
    before = {k: v.clone() for k, v in net.module_.state_dict().items()}
    checkpoint.begin({})
    checkpoint.save(net, None, is_within=True)
    checkpoint.resume(net)
    assert (checkpoint.is_due, checkpoint.n_threads) == (False, None)
    after = net.module_.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_checkpoint_when_seconds_are_over_then_is_due():
    store = Store()
    assert checkpoint_of(store, seconds=0.0).is_due
    assert not checkpoint_of(store, seconds=1000.0).is_due


def test_checkpoint_when_begun_with_threads_then_knows_their_number():
    store = Store()
    checkpoint_of(store).begin({"x": 1})
    again = checkpoint_of(store)
    assert again.n_threads == torch.get_num_threads()
    assert again.cache_limit == activations.limit
