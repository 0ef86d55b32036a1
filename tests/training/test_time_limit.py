"""Fits within a time limit."""

import pickle
import warnings

import numpy as np
import pytest
from conftest import with_training
from sklearn.model_selection import GridSearchCV
from skorch.callbacks import EpochScoring

from sksemantic import (
    SKTuningClassifier,
    SKTuningRegressor,
    SKTuningTokenClassifier,
    TimeLimitWarning,
)
from sksemantic._inputs.dataset import TextDataset
from sksemantic._tasks.classification import Classification
from sksemantic._training.plan import Planner
from sksemantic._training.processes import Processes
from sksemantic._training.progress import Progress
from sksemantic._training.side_information import SideInformation
from sksemantic._training.time_limit import TimeLimit

PHASES = {"frozen pass": 8.0, "linear probe": 2.0, "training": 60.0, "comparison": 4.0}


class Elapsed(Progress):
    """A progress that is told how long it has taken."""

    seconds, trained = 0.0, 0.0

    @property
    def elapsed(self):
        return self.seconds

    def seconds_of(self, name):
        return self.trained


class Told(Processes):
    """Hears from the first process what it has decided."""

    def __init__(self, told):
        self.told = told

    def same(self, value):
        return self.told


@pytest.fixture
def many(texts, labels):
    """So many texts that a fit of many epochs cannot be done in the limit."""
    return [f"{text} {i}" for i in range(12) for text in texts], 12 * [*labels]


@pytest.mark.parametrize(
    ("seconds", "n_texts"),
    [(None, 1000), (1000, 1000), (30, 1000), (20, 780), (0.1, 100)],
)
def test_texts_when_the_linear_probe_would_take_too_long_then_are_fewer(
    seconds, n_texts
):
    # Half of what is left, without 2 % and what comes after training, is for 10 s.
    limit = TimeLimit(seconds, Elapsed())
    assert limit.n_texts(PHASES, 1000) == n_texts


@pytest.mark.parametrize(
    ("seconds", "n_epochs"), [(None, 6), (100, 6), (60, 5), (30, 2), (1, 1)]
)
def test_epochs_when_time_is_short_then_are_as_many_as_can_begin(seconds, n_epochs):
    assert TimeLimit(seconds, Elapsed()).n_epochs(PHASES, 6) == n_epochs


def test_share_over_when_limited_then_is_that_of_the_training_time():
    progress = Elapsed()
    limit = TimeLimit(100, progress, after=8)
    progress.seconds, progress.trained = 30.0, 0.0
    assert limit.share_over == 0
    progress.seconds, progress.trained = 45.0, 15.0  # of 60, as 10 s go to the end
    assert limit.share_over == pytest.approx(0.25)
    progress.seconds, progress.trained = 95.0, 65.0
    assert limit.share_over >= 1
    assert TimeLimit(None, progress).share_over == 0
    progress.seconds, progress.trained = 200.0, 0.0  # nothing is left to train in
    assert limit.share_over == 1


def test_fit_when_time_is_short_then_warns_once_and_is_a_whole_model(classifier, many):
    X, y = many
    classifier.set_params(max_epochs=2000, time_limit=3.0)
    with pytest.warns(TimeLimitWarning, match="training took .* of 2000 epochs") as got:
        clf = classifier.fit(X, y)
    (warning,) = [w for w in got if w.category is TimeLimitWarning]
    assert "time_limit=3 seconds" in str(warning.message)
    assert warning.filename == __file__
    assert 0 < len(clf.history_) < 2000
    assert clf.config_.training.max_epochs < 2000
    assert clf.linear_probe_ is not None
    assert clf.comparison_ is not None
    again = pickle.loads(pickle.dumps(clf))
    np.testing.assert_array_equal(again.predict(X), clf.predict(X))


def test_fit_when_there_is_time_for_all_then_is_the_same(fast, texts, labels):
    free = SKTuningClassifier(**fast).fit(texts, labels)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        limited = SKTuningClassifier(**fast, time_limit=1e6).fit(texts, labels)
    np.testing.assert_array_equal(
        limited.predict_proba(texts), free.predict_proba(texts)
    )


def test_fit_when_there_is_no_time_then_texts_are_left_out_but_no_class(
    classifier, many
):
    X, y = many
    y = [str(label) for label in y]
    y[5] = y[17] = "rare"
    classifier.set_params(max_epochs=50, time_limit=1e-3)
    with pytest.warns(TimeLimitWarning, match=r"\d+ of 288 texts were used"):
        clf = classifier.fit(X, y)
    assert set(clf.classes_) == set(y)
    assert clf.linear_probe_.intercept.min() > -9  # the rare class was among them
    assert len(clf.history_) == 1


def test_fit_when_words_are_labelled_then_keeps_the_limit(fast, texts):
    X = [text.split() for text in 10 * texts]
    y = [["long" if len(word) > 4 else "short" for word in words] for words in X]
    tagger = SKTuningTokenClassifier(**fast).set_params(max_epochs=5000, time_limit=2.0)
    with pytest.warns(TimeLimitWarning, match="epochs"):
        tagger.fit(X, y)
    assert len(tagger.predict(X)) == len(X)


@pytest.mark.filterwarnings("ignore::sksemantic.TimeLimitWarning")
def test_search_when_limited_then_every_fit_is(classifier, texts, labels):
    classifier.set_params(max_epochs=2000, time_limit=2.0)
    search = GridSearchCV(classifier, {"prompt": ["One", "Two"]}, cv=2)
    search.fit(texts, labels)
    assert (search.cv_results_["mean_fit_time"] < 10).all()
    assert search.best_estimator_.config_.training.time_limit == 2.0


@pytest.mark.parametrize("limit", [0, -1, "10", float("nan")])
def test_limit_when_it_is_no_number_of_seconds_then_raises(limit, classifier, texts):
    classifier.set_params(time_limit=limit)
    with pytest.raises(ValueError, match="'time_limit' parameter"):
        classifier.fit(texts, texts)


@pytest.mark.filterwarnings("ignore::sksemantic.TimeLimitWarning")
@pytest.mark.parametrize("max_epochs", [1, 2, 50])
def test_fit_when_there_is_no_time_at_all_then_is_like_the_linear_probe(
    max_epochs, fast, texts, targets
):
    few = {"max_validation_share": 0.01, "validation_fraction": 0.01}
    params = with_training(fast, **few) | {"max_epochs": max_epochs}
    reg = SKTuningRegressor(**params, time_limit=1e-3).fit(texts, targets)
    assert reg.comparison_ is None  # nothing would bring back the linear probe
    assert reg.score(texts, targets) > 0.5


@pytest.mark.filterwarnings("ignore::sksemantic.TimeLimitWarning")
def test_fit_when_time_is_up_then_the_last_epoch_is_like_any_other(classifier, many):
    X, y = many
    scoring = EpochScoring("accuracy", name="right", lower_is_better=False)
    classifier.set_params(max_epochs=2000, time_limit=2.0)
    classifier.set_params(training__callbacks=[scoring])
    history = classifier.fit(X, y).history_
    assert 1 < len(history) < 2000
    assert history[-1].keys() == history[0].keys() >= {"right", "train_loss", "dur"}


def test_fit_when_there_is_time_enough_then_is_as_without_a_limit(fast, texts, labels):
    fast = fast | {"max_epochs": 6}
    free = SKTuningClassifier(**fast).fit(texts, labels)
    limited = SKTuningClassifier(**fast, time_limit=300).fit(texts, labels)
    np.testing.assert_array_equal(
        limited.predict_proba(texts), free.predict_proba(texts)
    )


@pytest.mark.filterwarnings("ignore::sksemantic.TimeLimitWarning")
def test_fit_when_few_texts_have_a_weight_then_some_of_these_are_left(
    classifier, labels
):
    weights = np.zeros(400)
    weights[[0, 1, 398, 399]] = 1
    y = ["good", "bad"] * 200
    classifier.set_params(time_limit=1e-3)
    for seed in range(5):
        classifier.set_params(random_state=seed)
        X = [f"text {i}" for i in range(400)]
        classifier.fit(X, y, sample_weight=weights)
        assert np.isfinite(classifier.predict_proba(X)).all()


@pytest.mark.parametrize(
    ("n_texts", "expected"),
    [(1000, (50, 950)), (100, (50, 50)), (60, (30, 30)), (20, (10, 10))],
)
def test_draw_when_texts_have_no_label_then_half_are_such_with_one(n_texts, expected):
    labelled = TextDataset([[1]] * 50, np.arange(50) % 2)
    others = TextDataset([[1]] * 950)
    side = SideInformation(np.zeros((2, 3)), others)
    planner = Planner.__new__(Planner)
    planner._task = Classification(np.arange(2))
    planner._rng = np.random.RandomState(0)
    chosen, unlabelled = planner._draw(labelled, side, n_texts)
    n_labelled = 50 if chosen is None else len(chosen)
    n_others = 950 if unlabelled is None else len(unlabelled)
    assert (n_labelled, n_others) == expected


@pytest.mark.filterwarnings("ignore::sksemantic.TimeLimitWarning")
def test_fit_when_unlabelled_texts_take_too_long_then_some_are_left_out(fast):
    label_texts = {"good": "great", "bad": "awful"}
    X = [f"a film of the year {i}" for i in range(3000)]
    y = np.array(["good", "bad"] * 5 + [-1] * 2990, dtype=object)
    clf = SKTuningClassifier(**fast, label_texts=label_texts, time_limit=1e-3)
    with pytest.warns(TimeLimitWarning, match="of 3000 texts were used"):
        clf.fit(X, y)


@pytest.mark.parametrize(("tuned_layers", "expected"), [("auto", (1, 2)), (2, (0, 2))])
def test_fit_when_few_epochs_are_left_then_fewer_layers_are_tuned(
    tuned_layers, expected, classifier, texts, labels
):
    classifier.set_params(tuned_layers=tuned_layers, max_epochs=9, time_limit=1e-3)
    message = "1 of 2 layers were tuned" if tuned_layers == "auto" else "of 9 epochs"
    with pytest.warns(TimeLimitWarning, match=message):
        classifier.fit(texts, labels)
    assert classifier.config_.model.tuned_layers == expected
    again = pickle.loads(pickle.dumps(classifier))
    np.testing.assert_array_equal(again.predict(texts), classifier.predict(texts))


def test_limit_when_first_process_decides_then_own_clock_does_not_count():
    def limit(told):
        return TimeLimit(100, Elapsed(), Told(told))

    assert not limit(False).has(1)
    assert limit(0.25).share_over == 0.25
    assert limit(200).n_texts(PHASES, 1000) == 200
    assert limit(2.5).n_epochs(PHASES, 6) == 3
