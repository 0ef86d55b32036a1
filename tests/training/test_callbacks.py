"""skorch callbacks, and what `verbose` shows."""

import re

import numpy as np
import pytest
from sklearn.base import clone
from skorch.callbacks import (
    EarlyStopping,
    EpochScoring,
    GradientNormClipping,
    LRScheduler,
)
from torch.optim.lr_scheduler import StepLR

from sksemantic import SKTuningClassifier, SKTuningRegressor, TrainingConfig
from sksemantic._training.callbacks import FollowProgress, make_callbacks
from sksemantic._training.progress import Progress
from sksemantic._training.schedules import WarmupLinearDecay
from sksemantic._training.time_limit import TimeLimit

NO_LIMIT = TimeLimit(None, Progress())


@pytest.mark.parametrize(
    ("make", "scoring", "lowest"),
    [
        (SKTuningClassifier, "f1_macro", 0),
        (SKTuningClassifier, "neg_log_loss", -2),  # of so short a training
        (SKTuningRegressor, "r2", -99),
    ],
)
@pytest.mark.parametrize("on_train", [True, False])
def test_epoch_scoring_when_given_then_history_has_the_score(
    make, scoring, lowest, on_train, fast, texts, targets
):
    scorer = EpochScoring(scoring, name="score", on_train=on_train)
    y = targets if make is SKTuningRegressor else targets > 3
    estimator = make(**fast).set_params(training__callbacks=[scorer]).fit(texts, y)
    scores = estimator.history_[:, "score"]
    assert len(scores) == 2
    assert all(lowest < score <= 1 for score in scores)


def test_valid_accuracy_when_fitted_with_held_out_texts_then_is_in_history(
    classifier, texts, labels
):
    classifier.set_params(early_stopping=True, training__validation_fraction=0.3)
    classifier.fit(texts, labels)
    best = int(np.argmin(classifier.history_[:, "valid_loss"]))
    expected = 1 - classifier.comparison_.trained[0]  # of the restored epoch
    assert classifier.history_[best, "valid_acc"] == pytest.approx(expected)


def test_lr_scheduler_when_given_then_replaces_the_schedule(classifier, texts, labels):
    scheduler = LRScheduler(StepLR, step_size=1, gamma=0.1, event_name="event_lr")
    classifier.set_params(
        training__callbacks=[scheduler], lr=0.01, training__head_lr=0.01, max_epochs=3
    )
    classifier.fit(texts, labels)
    assert classifier.history_[:, "event_lr"] == pytest.approx([0.01, 0.001, 0.0001])


def test_lr_scheduler_when_named_then_replaces_the_schedule():
    scheduler = ("decay", LRScheduler(StepLR, step_size=1, gamma=0.1))
    config = TrainingConfig(max_epochs=1, callbacks=(scheduler,))
    found = make_callbacks(
        config, NO_LIMIT, has_held_out=True, has_constant_rates=False
    )
    assert [*map(type, found)] == [GradientNormClipping, tuple, FollowProgress]


@pytest.mark.parametrize("held_out", [True, False])
def test_early_stopping_when_on_then_nothing_is_averaged(held_out):
    config = TrainingConfig(max_epochs=1, early_stopping=True)
    found = make_callbacks(
        config, NO_LIMIT, has_held_out=held_out, has_constant_rates=False
    )
    kinds = [GradientNormClipping, WarmupLinearDecay, FollowProgress, EarlyStopping]
    assert [*map(type, found)] == kinds[: 3 + held_out]


def test_early_stopping_when_skorchs_own_then_ends_training(classifier, texts, labels):
    stop = EarlyStopping(patience=1, threshold=1e9, threshold_mode="abs", sink=list)
    classifier.set_params(training__callbacks=[stop], max_epochs=9).fit(texts, labels)
    assert len(classifier.history_) == 2


def test_callbacks_when_given_then_held_out_texts_stay_held_out(
    classifier, texts, labels
):
    classifier.set_params(training__callbacks=[EpochScoring("accuracy")]).fit(
        texts, labels
    )
    assert all("valid_loss" in row for row in classifier.history_)
    assert set(classifier.history_[:, "train_batch_count"]) == {2}


@pytest.mark.parametrize("kind", [list, tuple])
def test_callbacks_when_given_then_are_copied_not_changed(
    kind, classifier, texts, labels
):
    scorer = EpochScoring("accuracy")
    before = dict(vars(scorer))
    classifier.set_params(training__callbacks=kind([scorer])).fit(texts, labels)
    assert classifier.training["callbacks"] == kind([scorer])
    assert vars(scorer) == before
    assert "accuracy" in classifier.history_[0]


def test_clone_when_there_are_callbacks_then_it_fits(classifier, texts, labels):
    classifier.set_params(training__callbacks=[EpochScoring("accuracy")])
    copy = clone(clone(classifier).fit(texts, labels)).fit(texts, labels)
    assert len(copy.history_[:, "accuracy"]) == 2


@pytest.mark.parametrize("make", [SKTuningClassifier, SKTuningRegressor])
def test_verbose_when_zero_then_nothing_is_shown(make, fast, texts, targets, capfd):
    y = targets if make is SKTuningRegressor else targets > 3
    estimator = make(**fast).fit(texts, y)
    estimator.partial_fit(texts, y)
    estimator.predict(texts)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("make", [SKTuningClassifier, SKTuningRegressor])
def test_verbose_when_two_then_shows_one_line_per_epoch(
    make, fast, texts, targets, capfd
):
    y = targets if make is SKTuningRegressor else targets > 3
    estimator = make(**{**fast, "max_epochs": 3}, verbose=2)
    estimator.set_params(early_stopping=True, training__validation_fraction=0.3).fit(
        texts, y
    )
    out, err = capfd.readouterr()
    *lines, last = out.split("\n")
    assert (last, err) == ("", "")
    assert len(lines) == 3
    accuracy = "" if make is SKTuningRegressor else r"  valid_acc \d\.\d{4}"
    for i, line in enumerate(lines, 1):
        pattern = rf"epoch   {i}  train_loss \d+\.\d{{4}}  valid_loss \d+\.\d{{4}}"
        assert re.fullmatch(rf"{pattern}{accuracy}  \d+\.\d s", line)


@pytest.mark.parametrize("verbose", [True, 1, 2, 7])
def test_verbose_when_on_then_predictions_are_the_same(
    verbose, fast, texts, labels, capfd
):
    shown = SKTuningClassifier(**fast, verbose=verbose).fit(texts, labels)
    silent = SKTuningClassifier(**fast).fit(texts, labels)
    np.testing.assert_array_equal(
        shown.predict_proba(texts), silent.predict_proba(texts)
    )
