"""One fit on several processes: the result of one process, by few bytes."""

import pickle
import sys
import time
from contextlib import redirect_stdout
from functools import partial
from io import StringIO

import in_processes
import numpy as np
import pytest
from conftest import with_training
from in_processes import Wire
from joblib import Parallel, delayed
from skorch.callbacks import Callback

from sksemantic import (
    SKTuningClassifier,
    SKTuningRegressor,
    SKTuningTokenClassifier,
)
from sksemantic._cache import activations
from sksemantic._training import process_group
from sksemantic._training.processes import Processes

pytestmark = in_processes.marks
run = in_processes.in_processes
ESTIMATORS = [SKTuningClassifier, SKTuningRegressor, SKTuningTokenClassifier]


class FailIn(Callback):
    """Fail in the second epoch, by the error that `fails` is set to."""

    fails = None

    def __init__(self):
        self.n_steps = 0

    def on_grad_computed(self, net, **kwargs):
        self.n_steps += 1
        if self.fails is not None and self.n_steps == 9:
            raise self.fails


def shared(params, **training):
    return with_training(params, processes="all", **training)


def data_for(estimator):
    """Return 61 texts of two to nine words, that are hard to tell apart, and y."""
    rng = np.random.RandomState(0)
    words = ["good", "great", "bad", "dull", "film", "play", "a", "of"]
    rows = [rng.choice(words, n).tolist() for n in rng.randint(2, 10, 61)]
    numbers = np.array([len(row) for row in rows]) + rng.normal(0, 2, 61)
    if estimator is SKTuningTokenClassifier:
        return rows, [["long" if len(w) > 3 else "short" for w in r] for r in rows]
    is_label = estimator is SKTuningClassifier
    y = np.where(numbers > 5, "many", "few") if is_label else numbers
    return [" ".join(row) for row in rows], y


def fitted_values(estimator, params):
    """Fit; return all trained values and losses, and the predictions."""
    X, y = data_for(estimator)
    model = estimator(**params).fit(X, y)
    plain = pickle.loads(pickle.dumps(model))
    values = [v.ravel() for v in model.get_module().state_dict().values()]
    losses = [row["train_loss"] for row in model.history_]
    return np.concatenate([*values, losses]), np.hstack(plain.predict(X))


def assert_alike(found, expected):
    values, predictions = found
    np.testing.assert_allclose(values, expected[0], atol=1e-4)
    if predictions.dtype.kind == "f":
        np.testing.assert_allclose(predictions, expected[1], atol=1e-4)
    else:
        assert predictions.tolist() == expected[1].tolist()


@pytest.mark.parametrize(
    ("estimator", "n_processes"),
    [*((each, 2) for each in ESTIMATORS), (ESTIMATORS[0], 3)],
)
def test_fit_when_processes_share_it_then_result_is_that_of_one(
    estimator, n_processes, fast
):
    params = with_training(fast, objective="task")
    expected = fitted_values(estimator, params)
    activations.clear()
    for found in run(lambda _: fitted_values(estimator, shared(params)), n_processes):
        assert_alike(found, expected)


@pytest.mark.parametrize(
    "changes",
    [
        {"training": {"objective": "contrast"}, "batch_size": 3, "max_epochs": 1},
        {"max_length": 8, "long_texts": "windows", "tuned_layers": 1},
        {"early_stopping": True, "method": "prompt"},
    ],
    ids=lambda changes: " ".join(changes),
)
def test_fit_when_shared_with_other_parameters_then_result_is_that_of_one(
    changes, fast
):
    params = fast | changes
    expected = fitted_values(SKTuningClassifier, params)
    activations.clear()
    for found in run(lambda _: fitted_values(SKTuningClassifier, shared(params))):
        assert_alike(found, expected)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_step_when_shared_then_the_gradients_of_trained_values_are_sent_once(
    estimator, fast, monkeypatch
):
    fast = shared(fast, objective="task", contrast=0)

    def count(_):
        X, y = data_for(estimator)
        wire = Wire(monkeypatch)

        class Step(Callback):
            def on_batch_begin(self, net, training=False, **kwargs):
                wire.n_bytes.clear()

            def on_batch_end(self, net, training=False, **kwargs):
                if training:
                    steps.append(sum(wire.n_bytes))

        steps = []
        model = estimator(**with_training(fast, callbacks=[Step()])).fit(X, y)
        return steps, model.n_trainable_params_

    for steps, n_trained in run(count):
        assert len(steps) > 10
        assert 4 * n_trained <= min(steps) <= max(steps) <= 1.1 * 4 * n_trained


def test_fit_when_seed_is_none_then_all_processes_draw_the_same(fast):
    def fit(rank):
        np.random.seed(rank)  # noqa: NPY002
        return fitted_values(SKTuningClassifier, shared(fast) | {"random_state": None})

    first, second = run(fit)
    assert first[0].tolist() == second[0].tolist()


def test_fit_when_each_has_its_own_fit_then_nothing_is_exchanged(fast, monkeypatch):
    def fit(rank):
        X, y = data_for(SKTuningClassifier)
        wire = Wire(monkeypatch)
        SKTuningClassifier(**fast).fit(X[rank:], y[rank:])
        return wire.n_bytes

    assert run(fit) == [[], []]


def test_fit_when_one_process_is_alone_then_as_ever(fast):
    expected = fitted_values(SKTuningClassifier, fast)
    activations.clear()
    found = fitted_values(SKTuningClassifier, shared(fast))
    assert found[0].tolist() == expected[0].tolist()


@pytest.mark.filterwarnings("ignore::sksemantic.TimeLimitWarning")
def test_fit_when_seconds_are_limited_then_first_process_decides_for_all(fast):
    def fit(rank):
        time.sleep(0.5 * rank)  # the clocks of the fits differ
        X, y = data_for(SKTuningClassifier)
        params = shared(fast, objective="task") | {"max_epochs": 10_000}
        clf = SKTuningClassifier(**params, time_limit=1).fit(X, y)
        return len(clf.history_), clf.get_module().head.weight.tolist()

    first, second = run(fit)
    assert first == second


# Errors


def fit_slice(params, rows):
    X, y = data_for(SKTuningClassifier)
    SKTuningClassifier(**params).fit(X[rows], y[rows])


@pytest.mark.parametrize(
    ("change", "name"),
    [({"rows": slice(1, None)}, "X"), ({"lr": 0.5}, "'lr' parameter")],
    ids=["data", "parameter"],
)
def test_fit_when_processes_differ_then_all_are_told(change, name, fast):
    def fit(rank):
        mine = change if rank else {}
        rows = mine.get("rows", slice(None))
        fit_slice(shared(fast) | {k: v for k, v in mine.items() if k != "rows"}, rows)

    for error in run(fit):
        assert isinstance(error, ValueError)
        assert f"Process 1 of 2 got another {name}" in str(error)


@pytest.mark.parametrize("error", [ZeroDivisionError("a bug"), KeyboardInterrupt()])
def test_fit_when_one_process_fails_then_the_others_fail_too(error, fast, monkeypatch):
    def fit(rank):
        if rank:
            monkeypatch.setattr(FailIn, "fails", error)
        fit_slice(shared(fast, callbacks=[FailIn()]), slice(None))

    other, failed = run(fit)
    assert type(failed) is type(error)
    assert "Process 1 of 2 has failed" in str(other)
    assert type(error).__name__ in str(other)


def test_fit_when_one_process_ends_then_the_others_are_told(fast, monkeypatch):
    def fit(rank):
        if rank:
            raise SystemExit  # before fit
        fit_slice(shared(fast), slice(None))

    assert "cannot reach one another" in str(run(fit)[0])


def test_fit_when_the_others_do_not_come_then_it_says_so(fast, monkeypatch, caplog):
    def fit(rank):
        monkeypatch.setattr(process_group, "_PATIENCE", 0.1)
        if rank:
            time.sleep(0.5)
        fit_slice(shared(fast), slice(None))
        return caplog.messages

    assert "process 0 of 2 waits for the others" in run(fit)[0][0]


@pytest.mark.parametrize(
    "changes", [{"device": "cpu:0"}, {"model_kwargs": {"device_map": "auto"}}], ids=str
)
def test_fit_when_all_would_have_one_device_then_it_is_refused(changes, fast):
    for error in run(lambda _: fit_slice(shared(fast) | changes, slice(None))):
        assert isinstance(error, ValueError)
        assert "training={'processes': 'all'}" in str(error)


def test_fit_when_in_a_worker_of_joblib_then_it_is_refused(fast, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    fit = delayed(partial(fit_slice, shared(fast)))
    with pytest.raises(ValueError, match="n_jobs=1"):
        Parallel(2, "threading")([fit(slice(None))] * 2)


def test_fit_when_accelerate_is_missing_then_error_names_it(fast, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(ImportError, match="pip install accelerate"):
        fit_slice(shared(fast), slice(None))


# What is written and shown


def test_checkpoint_when_shared_then_first_process_writes_and_all_go_on(
    fast, monkeypatch, tmp_path
):
    def fit(_):
        return fitted_values(SKTuningClassifier, kept)

    kept = shared(fast, callbacks=[FailIn()]) | {"checkpoint_dir": tmp_path / "states"}
    expected = fitted_values(
        SKTuningClassifier, with_training(fast, callbacks=[FailIn()])
    )
    with monkeypatch.context() as patch:
        patch.setattr(FailIn, "fails", ZeroDivisionError())
        assert all(isinstance(error, ZeroDivisionError) for error in run(fit))
    (folder,) = (tmp_path / "states").iterdir()
    assert (folder / "position.json").exists()
    for found in [*run(fit), *run(fit)]:  # goes on; takes the finished one over
        assert_alike(found, expected)
    assert [*(tmp_path / "states").iterdir()] == [folder]


def test_fit_when_shared_then_first_process_alone_shows_it(fast):
    def fit(_):
        with redirect_stdout(StringIO()) as shown:
            fit_slice(shared(fast) | {"verbose": 2}, slice(None))
        return shown.getvalue()

    first, second = run(fit)
    assert "epoch   2" in first
    assert not second


@pytest.mark.parametrize("n_processes", [1, 2, 3, 7])
def test_share_when_of_all_processes_then_each_thing_is_in_one(
    n_processes, monkeypatch
):
    monkeypatch.setattr(Processes, "size", n_processes)
    shares = [Processes().share(range(2, 7), rank) for rank in range(n_processes)]
    assert [thing for share in shares for thing in share] == [2, 3, 4, 5, 6]
    lengths = [*map(len, shares)]
    assert max(lengths) - min(lengths) <= 1
