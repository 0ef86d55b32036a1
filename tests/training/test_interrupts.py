"""Ctrl-C, and other faults, at every moment of a fit."""

import errno
import pickle
import signal
import threading
import warnings
from contextlib import contextmanager, suppress

import numpy as np
import pytest
import torch
from conftest import load_tiny, scores_of, with_training
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import StackingClassifier
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from skorch.callbacks import Callback

from sksemantic import FallbackWarning, SKTuningClassifier, SKTuningRegressor
from sksemantic._backbone.registry import release_backbones
from sksemantic._training import compared_training, probe, trainer
from sksemantic._training.checkpoint import Checkpoint, SaveState
from sksemantic._training.epochs import Epochs

BEFORE = {  # what is interrupted while nothing has been trained: where it is looked up
    "planning": (trainer.Planner, "plan"),
    "frozen pass": (probe, "_set_scale_and_prior"),
    "linear probe": (trainer.Probing, "fit"),
    "head": (trainer, "init_head"),
    "held-out losses": (trainer.Probing, "held_out_losses"),
    "net": (Epochs, "__init__"),
}
AFTER = {  # and when it has: the name, and at which call
    "comparison halfway": (compared_training.ComparedTraining, "_compare", 1),
    "end": (Epochs, "end", 1),
    "temperature": (compared_training.Calibration, "temperature", 1),
    "probe on all texts": (trainer.Probing, "fit", 2),
}


pytestmark = pytest.mark.usefixtures("ctrl_c")


@contextmanager
def pressed_at(owner, name, n_calls=1, *, is_after=False):
    """Press Ctrl-C when a function is called, or when it has returned."""
    original = getattr(owner, name)
    n = 0

    def press(*args, **kwargs):
        nonlocal n
        n += 1
        result = original(*args, **kwargs) if n != n_calls or is_after else None
        if n == n_calls:
            signal.raise_signal(signal.SIGINT)
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, press)
        yield


def fit_quietly(estimator, *args):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        estimator.fit(*args)
    return [str(each.message) for each in caught]


@pytest.mark.parametrize("moment", BEFORE)
def test_fit_when_interrupted_before_training_then_the_estimator_is_as_before(
    moment, classifier, texts, labels
):
    with pressed_at(*BEFORE[moment]), pytest.raises(KeyboardInterrupt) as caught:
        classifier.fit(texts, labels)
    assert "as it was before" in caught.value.__notes__[0]
    assert not classifier.__sklearn_is_fitted__()
    classifier.fit(texts, labels)
    before = classifier.predict_proba(texts)
    classifier.set_params(lr=0.5)
    with pressed_at(*BEFORE[moment]), pytest.raises(KeyboardInterrupt):
        classifier.fit(texts, labels)
    np.testing.assert_array_equal(classifier.predict_proba(texts), before)


@pytest.mark.parametrize("moment", AFTER)
def test_fit_when_interrupted_after_training_then_keeps_it_and_says_so(
    moment, classifier, texts, labels
):
    classifier.set_params(max_epochs=4, training__clearly_better=1e6)
    with pressed_at(*AFTER[moment]):
        messages = fit_quietly(classifier, texts, labels)
    assert any("interrupted" in message for message in messages)
    assert len(classifier.history_) == (2 if moment == "comparison halfway" else 4)
    np.testing.assert_allclose(classifier.predict_proba(texts).sum(axis=1), 1)
    fit_quietly(classifier, texts, labels)  # and it can be fitted again
    assert len(classifier.history_) == 4


class PressBetween(Callback):
    """Press Ctrl-C once an epoch is over, or before it begins."""

    def __init__(self, moment):
        self.moment = moment

    def on_epoch_begin(self, net, **kwargs):
        if self.moment == "begin" and len(net.history) == 2:
            signal.raise_signal(signal.SIGINT)

    def on_epoch_end(self, net, **kwargs):
        if self.moment == "end" and len(net.history) == 2:
            signal.raise_signal(signal.SIGINT)

    def on_train_end(self, net, **kwargs):
        if self.moment == "train end":
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("moment", ["begin", "end", "train end"])
def test_fit_when_interrupted_between_epochs_then_ends_there_and_says_so(
    moment, classifier, texts, labels
):
    classifier.set_params(max_epochs=4, training__callbacks=[PressBetween(moment)])
    messages = fit_quietly(classifier, texts, labels)
    assert any("interrupted in epoch" in message for message in messages)
    assert len(classifier.history_) == (4 if moment == "train end" else 2)
    assert classifier.predict(texts).shape == (24,)


@pytest.mark.parametrize("epoch", [1, 2, 3])
def test_fit_when_interrupted_between_epochs_without_callbacks_then_trains_no_more(
    epoch, classifier, texts, labels, monkeypatch
):
    on_epoch_end = SaveState.on_epoch_end

    def press(self, net, **kwargs):
        on_epoch_end(self, net, **kwargs)
        if len(net.history) == epoch:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(SaveState, "on_epoch_end", press)
    classifier.set_params(max_epochs=4, training__clearly_better=1e6)
    messages = fit_quietly(classifier, texts, labels)
    assert any(f"interrupted in epoch {epoch} of 4" in each for each in messages)
    assert len(classifier.history_) == epoch


def test_fit_when_early_stopping_ends_it_then_nothing_is_said(
    classifier, texts, labels
):
    stopping = {"early_stopping": True, "training__n_iter_no_change": 1}
    classifier.set_params(lr=10.0, max_epochs=50, **stopping)
    messages = fit_quietly(classifier, texts, labels)
    assert len(classifier.history_) < 50
    assert not any("interrupted" in message for message in messages)


def test_search_when_interrupted_then_it_ends(classifier, texts, labels):
    search = GridSearchCV(classifier, {"lr": [1e-3, 2e-3, 3e-3]}, cv=2)
    hook = press_in_steps(classifier, 3)
    with hook, pytest.raises(KeyboardInterrupt), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        search.fit(texts, labels)
    with press_in_steps(classifier, 3), pytest.raises(KeyboardInterrupt):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            cross_val_score(classifier, texts, labels, cv=2)


@contextmanager
def press_in_steps(classifier, step):
    """Press Ctrl-C in a training step, counted from one."""
    n = 0

    def press(*args):
        nonlocal n
        n += torch.is_grad_enabled()
        if n == step and torch.is_grad_enabled():
            signal.raise_signal(signal.SIGINT)

    hook = load_tiny(classifier.model).model.register_forward_hook(press)
    try:
        yield
    finally:
        hook.remove()


# A file that was just opened, but not yet by whom closes it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_fit_when_pressed_at_any_time_then_the_estimator_is_usable(
    classifier, texts, labels
):
    classifier.set_params(max_epochs=6)
    before = quiet_predictions(classifier, texts, labels)
    was_pressed = 0
    for delay in np.linspace(0.0, 0.5, 26):
        if delay == 0.0:
            release_backbones()  # loaded again
        timer = threading.Timer(delay, signal.raise_signal, [signal.SIGINT])
        former = classifier._model
        with suppress(KeyboardInterrupt), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                timer.start()
                classifier.fit(texts, labels)
            finally:
                timer.cancel()
                timer.join()
        was_pressed += classifier._model is former
        assert classifier.predict_proba(texts).shape == before.shape
    assert np.array_equal(quiet_predictions(classifier, texts, labels), before)


def quiet_predictions(classifier, texts, labels):
    fit_quietly(classifier, texts, labels)
    return classifier.predict_proba(texts)


class Raise(Callback):
    """Fail in an epoch, as a user's callback may."""

    def __init__(self, error):
        self.error = error

    def on_epoch_end(self, net, **kwargs):
        raise self.error


def test_fit_when_a_callback_raises_then_the_earlier_fit_stays(
    classifier, texts, labels
):
    before = quiet_predictions(classifier, texts, labels)
    classifier.set_params(training__callbacks=[Raise(RuntimeError("mine"))])
    with pytest.raises(RuntimeError, match="mine"):
        classifier.fit(texts, labels)
    np.testing.assert_array_equal(classifier.predict_proba(texts), before)
    classifier.set_params(training__callbacks=[])
    np.testing.assert_array_equal(quiet_predictions(classifier, texts, labels), before)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.cuda.OutOfMemoryError("CUDA out of memory"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to"),
    ],
)
def test_fit_when_memory_runs_out_then_says_what_helps_and_the_earlier_fit_stays(
    error, classifier, texts, labels
):
    before = quiet_predictions(classifier, texts, labels)
    classifier.set_params(training__callbacks=[Raise(error)])
    with pytest.raises(MemoryError, match="'batch_size'.*'max_length'.*cache_limits"):
        classifier.fit(texts, labels)
    np.testing.assert_array_equal(classifier.predict_proba(texts), before)


class Poison(Callback):
    """Make the weights no numbers at a step, as a diverging run does."""

    def __init__(self, step):
        self.step = step

    def on_train_begin(self, net, **kwargs):
        self.n_steps_ = 0

    def on_batch_end(self, net, training=False, **kwargs):
        self.n_steps_ += training
        if self.n_steps_ == self.step:
            with torch.no_grad():
                net.module_.head.weight.fill_(float("nan"))


@pytest.mark.parametrize("kind", [SKTuningClassifier, SKTuningRegressor])
@pytest.mark.parametrize("held_out", [True, False])
@pytest.mark.parametrize("step", [1, 3])
def test_fit_when_the_loss_is_no_number_then_the_linear_probe_is_used(
    step, held_out, kind, fast, texts, labels
):
    y = labels if kind is SKTuningClassifier else (labels == "good") + 0.5
    params = with_training(fast, callbacks=[Poison(step)]) | {"max_epochs": 5}
    if not held_out:
        params = with_training(params, max_validation_texts=1)
    estimator = kind(**params)
    with pytest.warns(FallbackWarning):
        estimator.fit(texts, y)
    assert len(estimator.history_) < 5  # it trained no more
    scores = estimator.linear_probe_.scores
    module = estimator.get_module()
    mean, scale = module.feature_mean.numpy(), module.feature_scale.numpy()
    expected = scores((estimator.transform(texts) - mean) / scale)
    np.testing.assert_allclose(scores_of(estimator, texts), expected, atol=1e-3)


def test_fit_when_the_last_step_poisons_then_no_estimator_of_nans(fast, texts, labels):
    params = with_training(fast, average_from=1.0, max_validation_texts=1)
    params = with_training(params, callbacks=[Poison(6)])
    clf = SKTuningClassifier(**params)  # two epochs of three steps
    with pytest.warns(FallbackWarning):
        clf.fit(texts, labels)
    assert np.isfinite(clf.predict_proba(texts)).all()


def test_partial_fit_when_the_loss_is_no_number_then_error_and_as_it_was(
    classifier, texts, labels
):
    classifier.partial_fit(texts, labels, classes=["bad", "good"])
    before = classifier.predict_proba(texts)
    classifier.set_params(training__callbacks=[Poison(1)])
    with pytest.raises(ValueError, match="diverged: in epoch 2 .*as it was before"):
        classifier.partial_fit(texts, labels)
    np.testing.assert_array_equal(classifier.predict_proba(texts), before)
    classifier.set_params(training__callbacks=[])
    classifier.partial_fit(texts, labels)
    assert len(classifier.history_) == 2


def test_partial_fit_when_interrupted_then_as_before_or_with_what_it_learned(
    classifier, texts, labels
):
    classifier.partial_fit(texts, labels, classes=["bad", "good"])
    before = classifier.predict_proba(texts)
    with press_in_steps(classifier, 1), pytest.raises(KeyboardInterrupt):
        classifier.partial_fit(texts, labels)
    np.testing.assert_array_equal(classifier.predict_proba(texts), before)
    with press_in_steps(classifier, 2), pytest.warns(UserWarning, match="interrupted"):
        classifier.partial_fit(texts, labels)
    assert np.abs(classifier.predict_proba(texts) - before).max() > 0
    again = pickle.loads(pickle.dumps(classifier))
    again.partial_fit(texts, labels)
    classifier.partial_fit(texts, labels)
    np.testing.assert_array_equal(
        again.predict_proba(texts), classifier.predict_proba(texts)
    )


def test_fit_when_interrupted_with_a_checkpoint_then_the_same_fit_goes_on(
    classifier, texts, labels, tmp_path
):
    expected = quiet_predictions(classifier, texts, labels)
    classifier.set_params(checkpoint_dir=tmp_path)
    with press_in_steps(classifier, 3):
        assert any("interrupted" in m for m in fit_quietly(classifier, texts, labels))
    assert not np.array_equal(classifier.predict_proba(texts), expected)
    assert np.array_equal(quiet_predictions(classifier, texts, labels), expected)


def test_fit_when_pressed_while_it_is_decided_then_keeps_what_was_learned(
    classifier, texts, labels
):
    classifier.set_params(max_epochs=4, training__clearly_better=1e6)
    with pressed_at(Checkpoint, "decide"):
        messages = fit_quietly(classifier, texts, labels)
    assert any("interrupted in epoch 2 of 4" in message for message in messages)
    assert len(classifier.history_) == 2


def test_search_when_interrupted_in_its_last_fit_then_ends(classifier, texts, labels):
    for estimator, n_fits in (
        (GridSearchCV(classifier, {"lr": [1e-3]}, cv=2), 3),  # the last is the refit
        (CalibratedClassifierCV(classifier, cv=2, ensemble=False), 1),
        (StackingClassifier([("a", classifier)], cv=2), 1),
    ):
        with pressed_at(Epochs, "end", n_fits), pytest.raises(KeyboardInterrupt):
            fit_quietly(estimator, texts, labels)


def test_pipeline_when_interrupted_then_keeps_what_was_learned(
    classifier, texts, labels
):
    pipeline = make_pipeline(FunctionTransformer(), classifier)
    with press_in_steps(classifier, 3):
        messages = fit_quietly(pipeline, texts, labels)
    assert any("interrupted" in message for message in messages)
    assert pipeline.predict(texts).shape == (24,)
