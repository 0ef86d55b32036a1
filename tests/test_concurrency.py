"""Threads, processes and coroutines that use estimators at once."""

import asyncio
import copy
import multiprocessing
import os
import pickle
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial

import joblib
import numpy as np
import pandas as pd
import psutil
import pytest
from conftest import LABELS, TEXTS
from sklearn.base import clone
from sklearn.model_selection import cross_val_score

from sksemantic import (
    SKTuningClassifier,
    SKTuningRegressor,
    SKTuningTokenClassifier,
    clear_cache,
)

KINDS = ("classifier", "regressor", "tokens")
NUMBERS = [5.0 if label == "good" else 1.0 for label in LABELS]
WORDS = [text.split() for text in TEXTS]
TAGS = [["noun" if word in ("film", "book") else "other" for word in x] for x in WORDS]
THREE_LABELS = ["maybe", *LABELS[1:]]
METHODS = ("predict", "predict_proba", "predict_log_proba", "decision_function")
# Python 3.12 warns of a fork beside threads, which is what is tried.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")


@pytest.fixture(autouse=True)
def _often():
    """Let Python change threads all the time."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(interval)


def at_once(*functions):
    """Call functions in threads of their own, and return what they return."""
    start = threading.Barrier(len(functions))

    def call(function):
        start.wait(60)
        return function()

    with ThreadPoolExecutor(len(functions)) as pool:
        running = [pool.submit(call, function) for function in functions]
        return [each.result(120) for each in running]


def until_done(work, *others):
    """Call `work` once, and the others again and again until it is done."""
    done = threading.Event()

    def repeat(function):
        while True:
            function()
            if done.is_set():
                return

    def once():
        try:
            return work()
        finally:
            done.set()

    return at_once(once, *[partial(repeat, function) for function in others])[0]


def in_child(function, seconds=300):
    """Whether a forked process returns something true in time."""
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if function() else 1)
        finally:
            os._exit(2)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status) == 0
        time.sleep(0.01)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return False


def fitted_to(kind, params, **changes):
    """Return a fitted estimator of a kind."""
    estimators = SKTuningClassifier, SKTuningRegressor, SKTuningTokenClassifier
    estimator = dict(zip(KINDS, estimators, strict=True))[kind]
    X = WORDS if kind == "tokens" else TEXTS
    y = dict(zip(KINDS, (LABELS, NUMBERS, TAGS), strict=True))[kind]
    return estimator(**params | changes).fit(X, y)


def answers(estimator):
    """Return all that an estimator says of some texts, as one flat list of arrays."""
    found = []
    for texts in (TEXTS, TEXTS[3:9], TEXTS[5:6]):
        for name in ("predict", "predict_proba", "transform"):
            if hasattr(estimator, name):
                found += [*map(np.asarray, getattr(estimator, name)(texts))]
    return found


def assert_answers(estimator, expected):
    for one, other in zip(answers(estimator), expected, strict=True):
        np.testing.assert_array_equal(one, other)


def weights_of(estimator):
    state = estimator.get_module().state_dict()
    return {name: value.numpy() for name, value in state.items()}


def assert_same_weights(one, other):
    one, other = weights_of(one), weights_of(other)
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name])


@pytest.mark.parametrize("method", ["prefix", "prompt"])
@pytest.mark.parametrize("name", ["bert", "llama", "gemma3"])
def test_predictions_when_threads_share_a_backbone_then_are_the_serial_ones(
    name, method, tiny, fast
):
    params = fast | {"model": tiny(name), "method": method}
    estimators = [fitted_to(kind, params) for kind in KINDS]
    expected = [answers(estimator) for estimator in estimators]

    def check(i):
        for _ in range(2):
            assert_answers(estimators[i], expected[i])

    at_once(*[partial(check, i % 3) for i in range(6)])


def test_predictions_when_first_used_in_threads_then_one_module_is_made(fitted):
    expected, saved = fitted.predict_proba(TEXTS), pickle.dumps(fitted)
    for _ in range(3):
        loaded = pickle.loads(saved)
        modules = at_once(*[loaded.get_module] * 4)
        assert len({*map(id, modules)}) == 1
        np.testing.assert_array_equal(loaded.predict_proba(TEXTS), expected)


@pytest.mark.parametrize("name", ["bert", "gemma3"])
def test_fits_when_cold_and_in_threads_then_are_the_serial_ones(name, tiny, fast):
    params = fast | {"model": tiny(name)}
    params["training"] = params["training"] | {"text_rank": 4}
    clear_cache()
    expected = pickle.dumps(fitted_to("classifier", params))
    clear_cache()
    found = at_once(*[partial(fitted_to, "classifier", params)] * 3)
    expected = pickle.loads(expected)
    assert any(name.startswith("text_adapter") for name in weights_of(expected))
    for clf in found:
        assert_same_weights(clf, expected)


@pytest.mark.parametrize("name", ["bert", "gemma3"])
def test_predictions_when_others_are_fitted_then_are_the_serial_ones(name, tiny, fast):
    params = fast | {"model": tiny(name)}
    estimators = [
        fitted_to("classifier", params),
        fitted_to("regressor", params, method="prompt"),
        fitted_to("tokens", params),
    ]
    expected = [answers(estimator) for estimator in estimators]
    again = until_done(
        partial(fitted_to, "classifier", params),
        *map(partial, [assert_answers] * 3, estimators, expected),
    )
    assert_same_weights(again, estimators[0])


class FittedMeanwhile(list):
    """Texts; when they are read, another thread fits the estimator once more."""

    def __init__(self, texts, fit):
        super().__init__(texts)
        self.fit = fit

    def __iter__(self):
        other = threading.Thread(target=self.fit)
        other.start()
        other.join()
        return super().__iter__()


@pytest.mark.parametrize("name", METHODS)
def test_classifier_when_fitted_meanwhile_then_answers_as_before(name, classifier):
    classifier.fit(TEXTS, LABELS)
    expected = getattr(classifier, name)(TEXTS)
    texts = FittedMeanwhile(TEXTS, lambda: classifier.fit(TEXTS, THREE_LABELS))
    np.testing.assert_array_equal(getattr(classifier, name)(texts), expected)
    assert len(classifier.classes_) == 3


def test_regressor_when_fitted_meanwhile_then_answers_as_before(regressor):
    expected = regressor.fit(TEXTS, NUMBERS).predict(TEXTS)
    others = range(len(TEXTS))
    texts = FittedMeanwhile(TEXTS, lambda: regressor.fit(TEXTS, others))
    np.testing.assert_array_equal(regressor.predict(texts), expected)


@pytest.mark.parametrize("name", ["predict", "predict_proba"])
def test_token_classifier_when_fitted_meanwhile_then_answers_as_before(name, fast):
    tagger = fitted_to("tokens", fast)
    expected = getattr(tagger, name)(WORDS)
    others = [[tag + "s" for tag in tags[:-1]] + ["last"] for tags in TAGS]
    words = FittedMeanwhile(WORDS, lambda: tagger.fit(WORDS, others))
    for one, other in zip(getattr(tagger, name)(words), expected, strict=True):
        np.testing.assert_array_equal(one, other)
    assert "last" in tagger.classes_


def test_predictions_when_partly_fitted_meanwhile_then_are_of_before_or_after(fast):
    clf = fitted_to("classifier", fast)
    serial = copy.deepcopy(clf)
    expected = [serial.predict_proba(TEXTS)]
    for _ in range(4):
        expected.append(serial.partial_fit(TEXTS, LABELS).predict_proba(TEXTS))

    def train():
        for _ in range(4):
            clf.partial_fit(TEXTS, LABELS)

    def check():
        found = clf.predict_proba(TEXTS)
        assert any(np.array_equal(found, each) for each in expected)

    until_done(train, check, check)
    np.testing.assert_array_equal(clf.predict_proba(TEXTS), expected[-1])


def test_partial_fit_when_in_threads_then_every_call_counts(classifier, regressor):
    labels = partial(classifier.partial_fit, TEXTS, LABELS, classes=["bad", "good"])
    numbers = partial(regressor.partial_fit, TEXTS, NUMBERS)
    at_once(*[labels, numbers] * 3)
    assert len(classifier.history_) == len(regressor.history_) == 3


def test_fit_when_warm_and_in_threads_then_every_call_counts(classifier):
    serial = clone(classifier).set_params(warm_start=True)
    classifier.set_params(warm_start=True)
    for _ in range(3):
        serial.fit(TEXTS, LABELS)
    at_once(*[partial(classifier.fit, TEXTS, LABELS)] * 3)
    assert_same_weights(classifier, serial)


def test_copies_when_made_beside_predictions_then_answer_alike(fast, tmp_path):
    clf = fitted_to("classifier", fast)
    expected = clf.predict_proba(TEXTS)

    def saved(name):
        clf.save_pretrained(tmp_path / name)
        return SKTuningClassifier.from_pretrained(tmp_path / name, model=clf.model)

    def cloned():
        assert clone(clf).get_params() == clf.get_params()
        return clf

    def check(make):
        for _ in range(4):
            np.testing.assert_array_equal(make().predict_proba(TEXTS), expected)

    makers = [lambda: clf, cloned, lambda: pickle.loads(pickle.dumps(clf))]
    makers += [lambda: copy.deepcopy(clf), partial(saved, "one")]
    makers += [partial(saved, "two")] * 2
    at_once(*[partial(check, make) for make in makers])


@pytest.mark.parametrize("name", ["bert", "llama"])
@pytest.mark.parametrize("backend", ["threading", "multiprocessing"])
def test_scores_when_folds_are_fitted_at_once_then_are_the_serial_ones(
    backend, name, tiny, fast
):
    clf = SKTuningClassifier(**fast | {"model": tiny(name)})
    score = partial(cross_val_score, clf, TEXTS, LABELS, cv=2, scoring="neg_log_loss")
    expected = score()
    with joblib.parallel_config(backend=backend):
        found = score(n_jobs=2)
    # Processes compute with other numbers of threads, which round in another way.
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.slow
def test_predictions_when_in_a_new_process_then_are_the_serial_ones(fitted):
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context) as pool:
        found = pool.submit(fitted.predict_proba, TEXTS).result(120)
    np.testing.assert_allclose(found, fitted.predict_proba(TEXTS), rtol=1e-6)


def test_predictions_when_in_coroutines_then_are_the_serial_ones(fitted, fast):
    expected = fitted.predict_proba(TEXTS)

    async def ask():
        calls = [asyncio.to_thread(fitted.predict_proba, TEXTS) for _ in range(8)]
        fit = asyncio.to_thread(fitted_to, "classifier", fast)
        return await asyncio.gather(fit, *calls)

    _, *found = asyncio.run(ask())
    for proba in found:
        np.testing.assert_array_equal(proba, expected)


@needs_fork
@pytest.mark.parametrize("work", ["predicts", "loads", "trains"])
def test_fork_when_another_thread_works_then_child_predicts_and_fits(
    work, fitted, fast, tiny_llama
):
    expected = fitted.predict_proba(TEXTS)
    trained = fitted_to("classifier", fast)

    def load():
        clear_cache()
        fitted_to("classifier", fast, model=tiny_llama)

    def in_both():
        again = fitted_to("classifier", fast).predict_proba(TEXTS)
        for found in (fitted.predict_proba(TEXTS), again):
            np.testing.assert_allclose(found, expected, rtol=1e-5)
        trained.partial_fit(TEXTS, LABELS)
        return True

    def fork():
        return [in_child(in_both) for _ in range(3)]

    works = {
        "predicts": partial(fitted.predict_proba, TEXTS),
        "loads": load,
        "trains": partial(trained.partial_fit, TEXTS, LABELS),
    }
    assert until_done(fork, works[work]) == [True] * 3


def test_fits_when_repeated_then_leave_no_threads_and_no_files(fast):
    process = psutil.Process()

    def counts():
        return threading.active_count(), process.num_fds()

    fitted_to("classifier", fast)
    before = counts()
    for _ in range(5):
        fitted_to("classifier", fast)
    end = time.monotonic() + 20
    # Until those threads end that watch over the processors.
    while any(map(int.__gt__, counts(), before)) and time.monotonic() < end:
        time.sleep(0.1)
    assert not any(map(int.__gt__, counts(), before))


def test_label_names_when_fitted_meanwhile_then_are_always_there(classifier):
    table = pd.DataFrame({"old": [0, 1] * 12, "new": [1, 0, 0] * 8})
    classifier.fit(TEXTS, table)

    def check():
        for _ in range(1000):
            assert [*classifier.label_names_] == ["old", "new"]

    until_done(lambda: [classifier.fit(TEXTS, table) for _ in range(3)], check, check)
    classifier.fit(TEXTS, LABELS)
    assert not hasattr(classifier, "label_names_")
