"""Fits that are stopped after each state they save, and go on in another estimator."""

import copy
import errno
import shutil
import warnings
from collections import Counter
from contextlib import contextmanager

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import scores_of, with_training
from sklearn.model_selection import GridSearchCV
from skorch.callbacks import Callback, LRScheduler

from sksemantic import (
    FallbackWarning,
    SKTuningClassifier,
    SKTuningRegressor,
    SKTuningTokenClassifier,
)
from sksemantic._cache import activations
from sksemantic._saving import checkpoint_store
from sksemantic._saving.checkpoint_store import CheckpointStore

SCHEDULE = LRScheduler("StepLR", step_size=1, gamma=0.5)
BY_BATCH = LRScheduler("CyclicLR", base_lr=1e-4, max_lr=1e-2, step_every="batch")


class Killed(BaseException):
    """What a SIGKILL is for a process."""


@contextmanager
def killed_after(n_states):
    """Stop a fit once it has saved so many states."""
    replace_files = checkpoint_store.replace_files
    n_saved = 0

    def save(*args):
        nonlocal n_saved
        replace_files(*args)
        n_saved += 1
        if n_saved == n_states:
            raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint_store, "replace_files", save)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield


def result_of(estimator, X):
    """Return all that a fit leaves, as values that can be compared."""
    model = estimator._model
    history = model.result.history
    rows = [{k: v for k, v in row.items() if k != "dur"} for row in history]
    probe = model.result.linear_probe
    return {
        "weights": {name: w.tobytes() for name, w in sorted(model.weights.items())},
        "history": rows,
        "comparison": model.result.comparison,
        "temperature": model.result.temperature,
        "probe": (probe.coef.tobytes(), probe.intercept.tobytes(), probe.penalty),
        "scores": scores_of(estimator, X).tobytes(),
    }


def fit(kind, params, X, y, directory=None):
    """Fit as a fresh process would."""
    activations.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return kind(**params, checkpoint_dir=directory).fit(X, y)


KINDS = {
    "held-out texts join": (SKTuningClassifier, {"training__clearly_better": 1e6}),
    "back to the linear probe": (SKTuningClassifier, {"lr": 100.0}),
    "early stopping": (
        SKTuningClassifier,
        {"early_stopping": True, "training__n_iter_no_change": 1},
    ),
    "the user's schedule": (SKTuningClassifier, {"training__callbacks": [SCHEDULE]}),
    "a schedule by batch": (SKTuningClassifier, {"training__callbacks": [BY_BATCH]}),
    "none held out": (SKTuningClassifier, {"training__max_validation_texts": 1}),
    "contrast first": (SKTuningClassifier, {"training__objective": "contrast"}),
    "soft prompt": (SKTuningClassifier, {"method": "prompt"}),
    "upper layer": (SKTuningClassifier, {"tuned_layers": 1}),
    "windows": (SKTuningRegressor, {"long_texts": "windows", "max_length": 5}),
    "numbers": (SKTuningRegressor, {}),
    "words": (SKTuningTokenClassifier, {}),
}

EACH_STATE = ("held-out texts join", "early stopping")


def data_for(kind, params, texts, labels):
    if kind is SKTuningRegressor:
        return texts, np.where(labels == "good", 5.0, 1.0)
    if kind is SKTuningTokenClassifier:
        words = [text.split() for text in texts]
        return words, [[word[0] for word in each] for each in words]
    return texts, labels


@pytest.mark.parametrize("name", KINDS)
def test_fit_when_killed_after_any_state_then_goes_on_to_the_same_bits(
    name, fast, texts, labels, tmp_path
):
    kind, changes = KINDS[name]
    params = with_training(fast, checkpoint_seconds=0.0) | {"max_epochs": 4}
    params = kind(**params).set_params(**changes).get_params(deep=False)
    del params["checkpoint_dir"]
    X, y = data_for(kind, params, texts, labels)
    whole = result_of(fit(kind, params, X, y), X)
    stride = 1 if name in EACH_STATE else 4
    for n_states in range(1, 100, stride):
        place = tmp_path / str(n_states)
        activations.clear()
        try:
            with killed_after(n_states):
                kind(**params, checkpoint_dir=place).fit(X, y)
        except Killed:
            resumed = fit(kind, params, X, y, place)
            assert result_of(resumed, X) == whole, f"after {n_states} states"
        else:
            break
    assert n_states > 4  # epochs at least
    # The last one was killed after the model itself was saved.
    assert result_of(fit(kind, params, X, y, place), X) == whole


@pytest.mark.parametrize("objective", ["task", "contrast"])
def test_warm_start_when_killed_with_a_new_class_then_goes_on_to_the_same_bits(
    objective, fast, texts, labels, tmp_path
):
    params = with_training(fast, checkpoint_seconds=0.0, objective=objective)
    clf = SKTuningClassifier(**params, warm_start=True).fit(texts, labels)
    more = [*texts, "paris again", "rome again"], [*labels, "city", "city"]
    activations.clear()
    whole = result_of(copy.deepcopy(clf).fit(*more), texts)
    for n_states in (1, 4):
        activations.clear()
        resumed = copy.deepcopy(clf)
        resumed.set_params(checkpoint_dir=tmp_path / str(n_states))
        with pytest.raises(Killed), killed_after(n_states):
            resumed.fit(*more)
        activations.clear()
        assert result_of(resumed.fit(*more), texts) == whole


def test_fit_when_killed_again_and_again_then_ends_with_the_same_bits(
    fast, texts, labels, tmp_path
):
    params = with_training(fast, checkpoint_seconds=0.0) | {"max_epochs": 4}
    whole = result_of(fit(SKTuningClassifier, params, texts, labels), texts)
    n_kills = 0
    while True:
        activations.clear()
        try:
            with killed_after(2):
                clf = SKTuningClassifier(**params, checkpoint_dir=tmp_path)
                clf.fit(texts, labels)
        except Killed:
            n_kills += 1
        else:
            break
    assert n_kills > 4
    assert result_of(clf, texts) == whole


def test_fit_when_there_is_no_seed_then_goes_on_and_leaves_nothing(
    fast, texts, labels, tmp_path
):
    params = fast | {"random_state": None}
    with pytest.raises(Killed), killed_after(2):
        SKTuningClassifier(**params, checkpoint_dir=tmp_path).fit(texts, labels)
    (folder,) = tmp_path.iterdir()
    assert (folder / "position.json").exists()
    fit(SKTuningClassifier, params, texts, labels, tmp_path)
    assert not folder.exists()


def test_fit_when_finished_then_the_same_fit_returns_without_training(
    fast, texts, labels, tmp_path, caplog
):
    caplog.set_level("INFO", logger="sksemantic")
    with pytest.raises(Killed), killed_after(2):
        SKTuningClassifier(**fast, checkpoint_dir=tmp_path).fit(texts, labels)
    first = fit(SKTuningClassifier, fast, texts, labels, tmp_path)
    assert caplog.messages == ["fit goes on in epoch 2"]
    again = fit(SKTuningClassifier, fast, texts, labels, tmp_path)
    assert caplog.messages[-1] == "fit was finished before: its model is taken over"
    assert result_of(again, texts) == result_of(first, texts)
    assert again.timing_.seconds == first.timing_.seconds
    assert again.backbone_source_ == first.backbone_source_


def test_fit_when_random_state_is_shared_then_it_goes_on_as_after_a_whole_fit(
    fast, texts, labels, tmp_path
):
    ends = []
    for _ in range(2):  # the second one finds the model
        chance = np.random.RandomState(3)
        params = fast | {"random_state": chance}
        fit(SKTuningClassifier, params, texts, labels, tmp_path)
        ends.append(chance.randint(10**6))
    assert ends[0] == ends[1]


CHANGES = {
    "other y": {"y": np.array(["good", "bad"] * 12)},
    "other X": {"X": ["other texts"] * 24},
    "training: lr": {"lr": 1e-3},
    "training: max_epochs": {"max_epochs": 5},
    "model: prompt": {"prompt": "another prompt"},
    "other random_state": {"random_state": 1},
}


@pytest.mark.parametrize("change", CHANGES)
def test_fit_when_anything_is_another_then_says_what_and_starts_anew(
    change, fast, texts, labels, tmp_path
):
    with pytest.raises(Killed), killed_after(2):
        SKTuningClassifier(**fast, checkpoint_dir=tmp_path).fit(texts, labels)
    (folder,) = tmp_path.iterdir()
    changes = dict(CHANGES[change])
    X, y = changes.pop("X", texts), changes.pop("y", labels)
    clf = SKTuningClassifier(**(fast | changes), checkpoint_dir=tmp_path)
    with pytest.warns(UserWarning, match=f"was not finished, .* {change}"):
        clf.fit(X, y)
    assert (folder / "position.json").exists()
    # The first one still goes on, and says nothing.
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", FallbackWarning)
        SKTuningClassifier(**fast, checkpoint_dir=tmp_path).fit(texts, labels)


def test_fit_when_a_state_is_broken_then_says_so_and_starts_anew(
    fast, texts, labels, tmp_path
):
    whole = result_of(fit(SKTuningClassifier, fast, texts, labels), texts)
    broken = {
        "start.json": [b"broken", b"{}", b"[]"],
        "start.safetensors": [b"broken"],
        "position.json": [b"{}"],
        "position.safetensors": [b"broken", None],
    }
    for name, content in [(n, each) for n, all_ in broken.items() for each in all_]:
        with pytest.raises(Killed), killed_after(3):
            SKTuningClassifier(**fast, checkpoint_dir=tmp_path).fit(texts, labels)
        (folder,) = tmp_path.iterdir()
        if content is None:  # one bit
            content = bytearray((folder / name).read_bytes())
            content[-5] ^= 1
        (folder / name).write_bytes(content)
        activations.clear()
        clf = SKTuningClassifier(**fast, checkpoint_dir=tmp_path)
        with pytest.warns(UserWarning, match="cannot be read .* left aside"):
            clf.fit(texts, labels)
        assert result_of(clf, texts) == whole
        shutil.rmtree(folder)


def test_fit_when_the_disk_is_full_then_warns_once_and_goes_on(
    fast, texts, labels, tmp_path, monkeypatch
):
    def fail(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint_store, "replace_files", fail)
    clf = SKTuningClassifier(**fast, checkpoint_dir=tmp_path)
    with pytest.warns(UserWarning, match="cannot be saved .* No space") as caught:
        clf.fit(texts, labels)
    assert sum("cannot be saved" in str(each.message) for each in caught) == 1
    assert clf.score(texts, labels) > 0


@pytest.mark.parametrize("place", ["a file", "a file/below"])
def test_fit_when_the_directory_cannot_be_made_then_error_before_any_work(
    place, texts, labels, tmp_path
):
    (tmp_path / "a file").write_text("")
    clf = SKTuningClassifier("no such model", checkpoint_dir=tmp_path / place)
    with pytest.raises(ValueError, match="'checkpoint_dir' parameter must be"):
        clf.fit(texts, labels)


def test_read_when_written_then_trees_come_back_with_their_types(tmp_path):
    tree = {
        "weights": {"a.b": torch.arange(3.0)},
        "rng": np.random.RandomState(0).get_state(),
        "numbers": {0: 1.5, 1: float("inf")},
        "list": [True, None, "x"],
    }
    store = CheckpointStore(tmp_path, {"of": "tests"}, keeps_result=True)
    store.write(state=tree)
    store.close()
    found = CheckpointStore(tmp_path, {"of": "tests"}, keeps_result=True).read("state")
    assert torch.equal(found["weights"]["a.b"], tree["weights"]["a.b"])
    chance = np.random.RandomState()
    chance.set_state(found["rng"])
    assert chance.randint(10**9) == np.random.RandomState(0).randint(10**9)
    assert (found["numbers"], found["list"]) == (tree["numbers"], tree["list"])
    other = CheckpointStore(tmp_path, {"of": "others"}, keeps_result=True)
    assert other.read("state") is None


def test_search_when_killed_then_goes_on_and_finds_the_same(
    fast, texts, labels, tmp_path, monkeypatch
):
    def search(place):
        clf = SKTuningClassifier(**fast, checkpoint_dir=place)
        grid = {"prompt": ["rate the film", "is it good?"], "lr": [1e-3, 1e-2]}
        return GridSearchCV(clf, grid, cv=2, refit=False)

    # Fits of a search share what was computed of the same texts, else.
    monkeypatch.setattr(activations, "_limit", 0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        whole = search(None).fit(texts, labels).cv_results_
        with pytest.raises(Killed), killed_after(14):
            search(tmp_path).fit(texts, labels)
        finished = [*tmp_path.glob("*/finished.json")]
        assert 0 < len(finished) < 8
        times = {file: file.stat().st_mtime_ns for file in finished}
        resumed = search(tmp_path).fit(texts, labels).cv_results_
    assert all(file.stat().st_mtime_ns == times[file] for file in finished)
    assert len([*tmp_path.glob("*/finished.json")]) == 8
    for fold in range(2):
        name = f"split{fold}_test_score"
        np.testing.assert_array_equal(resumed[name], whole[name])


class Learned(Callback):
    """Has learned what cannot be saved."""

    def on_epoch_end(self, net, **kwargs):
        self.names_ = np.array(["a", "b"])
        self.objects_ = np.array([object()])
        self.times_ = np.datetime64("2026-01-01")
        self.half_ = torch.zeros(2, dtype=torch.bfloat16)
        self.sparse_ = torch.eye(2).to_sparse()
        self.circle_ = []
        self.circle_.append(self.circle_)
        self.counter_ = Counter("abc")


def test_fit_when_callbacks_have_what_cannot_be_saved_then_goes_on(
    fast, texts, labels, tmp_path
):
    params = with_training(fast, callbacks=[Learned()])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", FallbackWarning)
        SKTuningClassifier(**params, checkpoint_dir=tmp_path).fit(texts, labels)
    assert [*tmp_path.glob("*/finished.json")]


def by_a_list(factor):
    return LRScheduler("MultiStepLR", milestones=[1], gamma=factor)


def by_a_function(factor):
    return LRScheduler("LambdaLR", lr_lambda=lambda epoch: factor**epoch)


@pytest.mark.parametrize("make", [by_a_list, by_a_function])
def test_fit_when_a_callback_is_another_then_is_another_fit(
    make, fast, texts, labels, tmp_path
):
    for factor in (0.5, 0.25, 0.5):
        params = with_training(fast, callbacks=[make(factor)])
        fit(SKTuningClassifier, params, texts, labels, tmp_path)
    assert len([*tmp_path.glob("*/finished.json")]) == 2


def test_fit_when_finished_then_takes_the_columns_of_now_and_warns_again(
    fast, many, many_labels, tmp_path
):
    params = with_training(fast, head_lr=1e6) | {"lr": 1e6}
    clf = SKTuningClassifier(**params, checkpoint_dir=tmp_path)
    for name in ("old", "new"):
        with pytest.warns(FallbackWarning):
            clf.fit(pd.DataFrame({name: many}), many_labels)
    assert len([*tmp_path.iterdir()]) == 1
    assert clf.feature_names_in_.tolist() == ["new"]
    assert clf.predict(pd.DataFrame({"new": many})).shape == (72,)


def test_store_when_the_same_fit_runs_then_is_in_a_folder_of_its_own(tmp_path):
    facts = {"of": "tests"}
    first = CheckpointStore(tmp_path, facts, keeps_result=True)
    first.write(state={"x": 1})
    second = CheckpointStore(tmp_path, facts, keeps_result=True)
    assert second.read("state") is None
    second.close()
    first.close()
    third = CheckpointStore(tmp_path, facts, keeps_result=True)
    assert third.read("state") == {"x": 1}
    third.close()


def test_fit_when_interrupted_while_it_is_kept_then_the_model_is_there(
    fast, texts, labels, tmp_path, monkeypatch
):
    def press(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(CheckpointStore, "finish", press)
    clf = SKTuningClassifier(**fast, checkpoint_dir=tmp_path)
    with pytest.warns(UserWarning, match="interrupted after the training"):
        clf.fit(texts, labels)
    assert len(clf.history_) == 2


def test_fit_when_the_same_process_was_interrupted_then_says_what_has_changed(
    fast, texts, labels, tmp_path
):
    with pytest.raises(Killed), killed_after(2):
        SKTuningClassifier(**fast, checkpoint_dir=tmp_path).fit(texts, labels)
    clf = SKTuningClassifier(**fast | {"lr": 1e-3}, checkpoint_dir=tmp_path)
    with pytest.warns(UserWarning, match="training: lr was 0.002, is 0.001"):
        clf.fit(texts, labels)
