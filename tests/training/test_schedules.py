from types import SimpleNamespace

import numpy as np

from sksemantic._training.schedules import CoolDown, TrainingOver


def rates_of(losses, n_batches=1, max_epochs=40, **options):
    """Return the rate of each step, at 1 in full, until the training ends."""
    group = {"lr": 1.0}
    history = []
    net = SimpleNamespace(
        batch_size=1,
        history=type("History", (list,), {"__getitem__": _item})(history),
        optimizer_=SimpleNamespace(param_groups=[group]),
        is_low_enough_=False,
    )
    callback = CoolDown(max_epochs, warmup=0.0, **{"loss": 1.0, "n_steps": 4} | options)
    rates = []
    for loss in losses:
        net.history.append({"train_loss": loss})
        callback.on_epoch_begin(net, dataset_train=range(n_batches))
        for _ in range(n_batches):
            callback.on_batch_begin(net, training=True)
            rates.append(round(group["lr"], 3))
            callback.on_batch_end(net, training=True)
        try:
            callback.on_epoch_end(net)
        except TrainingOver:
            break
    return rates, net.is_low_enough_


def _item(history, key):
    row, name = key
    return list.__getitem__(history, row)[name]


def test_cool_down_when_the_loss_is_low_then_rates_fall_to_zero():
    rates, is_over = rates_of([3, 2, 0.9, 0.7, 0.5, 0.3, 0.2, 0.1])
    assert rates == [1, 1, 1, 0.8, 0.6, 0.4, 0.2]
    assert is_over


def test_cool_down_when_the_loss_stays_high_then_rates_fall_in_the_last_epochs():
    rates, is_over = rates_of([3] * 9, max_epochs=6)
    assert rates == [1, 1, 0.8, 0.6, 0.4, 0.2]
    assert is_over


def test_cool_down_when_epochs_have_several_steps_then_takes_whole_epochs():
    rates, _ = rates_of([0.5, 0.4, 0.3, 0.2], n_batches=3)
    assert len(rates) == 9
    assert rates[:3] == [1, 1, 1]
    assert (np.diff(rates[2:]) < 0).all()
