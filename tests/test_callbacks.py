"""scikit-learn's callbacks, where the release has them (1.9)."""

import pickle

import numpy as np
import pytest
from conftest import LABELS, TEXTS
from sklearn.model_selection import GridSearchCV

from sksemantic import SKTuningClassifier, SKTuningRegressor

callback = pytest.importorskip("sklearn.callback")
ALONE = {"objective": "task", "contrast": 0}  # epochs whose models are whole


class Notes:
    """Keeps what it is told; stops after some epochs if asked to."""

    def __init__(self, stop_after=None):
        self.seen = []
        self.stop_after = stop_after

    def setup(self, estimator, context):
        self.seen.append("setup")

    def teardown(self, estimator, context):
        self.seen.append("teardown")

    def on_fit_task_begin(self, estimator, context):
        self.seen.append(f"begin {context.task_name}")

    def on_fit_task_end(
        self, estimator, context, *, X=None, metadata=None, fitted_estimator=None
    ):
        self.seen.append(f"end {context.task_name}")
        self.X, self.metadata, self.fitted = X, metadata, fitted_estimator
        n_epochs = self.seen.count("end epoch")
        return context.task_name == "epoch" and n_epochs == self.stop_after


@pytest.fixture
def params(fast):
    return {**fast, "max_epochs": 3, "training": {**fast["training"], **ALONE}}


def test_callbacks_when_a_fit_runs_then_hear_of_it_and_of_every_epoch(params):
    notes = Notes()
    clf = SKTuningClassifier(**params).set_callbacks(notes)
    assert clf.fit(TEXTS, LABELS) is clf
    epochs = ["begin epoch", "end epoch"] * 3
    assert notes.seen == ["setup", "begin fit", *epochs, "end fit", "teardown"]
    np.testing.assert_array_equal(notes.fitted.predict(TEXTS), clf.predict(TEXTS))


def test_fit_when_scored_at_every_epoch_then_is_the_same(params):
    monitor = callback.ScoringMonitor(scoring=["accuracy", "neg_log_loss"])
    scored = SKTuningClassifier(**params).set_callbacks(monitor).fit(TEXTS, LABELS)
    alone = SKTuningClassifier(**params).fit(TEXTS, LABELS)
    np.testing.assert_array_equal(
        scored.predict_proba(TEXTS), alone.predict_proba(TEXTS)
    )
    rows = monitor.get_logs().data
    assert [row["task_name"] for row in rows] == ["fit", "epoch", "epoch", "epoch"]
    assert rows[0]["accuracy"] == scored.score(TEXTS, LABELS)
    assert len({row["neg_log_loss"] for row in rows[1:]}) == 3


def test_callback_when_it_returns_true_then_training_ends(params):
    notes = Notes(stop_after=2)
    clf = SKTuningClassifier(**params).set_callbacks(notes).fit(TEXTS, LABELS)
    assert len(clf.history_) == 2
    assert notes.seen[-2:] == ["end fit", "teardown"]


def test_callbacks_when_fit_fails_then_are_torn_down(params):
    class Fails(Notes):
        def on_fit_task_end(self, estimator, context):
            raise RuntimeError("full disk")

    notes = Fails()
    clf = SKTuningClassifier(**params).set_callbacks(notes)
    with pytest.raises(RuntimeError, match="full disk"):
        clf.fit(TEXTS, LABELS)
    assert notes.seen[-1] == "teardown"
    assert not hasattr(clf, "history_")


def test_callbacks_when_texts_have_no_label_then_get_the_others(params):
    notes = Notes()
    labels = [None, *LABELS[1:]]
    clf = SKTuningClassifier(**params).set_callbacks(notes)
    with pytest.warns(match="label"):
        clf.fit(TEXTS, labels, sample_weight=np.arange(len(TEXTS)) + 1.0)
    assert list(notes.X) == TEXTS[1:]
    assert list(notes.metadata["sample_weight"]) == list(range(2, len(TEXTS) + 1))


def test_callbacks_when_head_is_fitted_last_then_only_the_end_has_a_model(fast):
    monitor = callback.ScoringMonitor(scoring="accuracy")
    clf = SKTuningClassifier(**fast | {"training": {"objective": "contrast"}})
    clf.set_callbacks(monitor).fit(TEXTS, LABELS)
    assert [row["task_name"] for row in monitor.get_logs().data] == ["fit"]


def test_callbacks_when_inside_a_search_then_are_told_where_they_are(params):
    monitor = callback.ScoringMonitor(scoring="r2")
    numbers = [float(label == "good") for label in LABELS]
    reg = SKTuningRegressor(**params).set_callbacks(monitor)
    search = GridSearchCV(reg, {"prompt": ["a", "b"]}, cv=2)
    bar = callback.ProgressBar(max_propagation_depth=None)
    search.set_callbacks(bar).fit(TEXTS, numbers)
    log = monitor.get_logs()
    assert log.estimator_name == "GridSearchCV"
    names = [row["task_name"] for row in log.data]
    assert names.count("epoch") == 3 * 5  # four candidates, and the refit


def test_estimator_when_pickled_then_callbacks_go_along(params):
    clf = SKTuningClassifier(**params).set_callbacks(Notes()).fit(TEXTS, LABELS)
    again = pickle.loads(pickle.dumps(clf))
    assert again._skl_callbacks[0].seen == clf._skl_callbacks[0].seen
