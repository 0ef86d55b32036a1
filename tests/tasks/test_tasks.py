"""Several labels, several targets, ordered classes, robust losses."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
from conftest import GOOD, NOUNS, TEXTS, with_training
from scipy.special import expit
from sklearn.linear_model import LogisticRegression, QuantileRegressor, Ridge
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.preprocessing import MultiLabelBinarizer

from sksemantic import SKTuningClassifier, SKTuningRegressor
from sksemantic._tasks.base import MultiLabel, Ordinal, Regression
from sksemantic._tasks.linear_probe import fit_each_logistic, fit_ridge

IS_GOOD = np.array([any(word in text for word in GOOD) for text in TEXTS])
IS_FILM = np.array(["film" in text for text in TEXTS])
TAGS = np.stack([IS_GOOD, IS_FILM, IS_GOOD & IS_FILM], axis=1).astype(int)
LENGTHS = np.array([len(text) for text in TEXTS], float)
TARGETS = np.stack([100 + 10 * IS_GOOD, -LENGTHS], axis=1)
KINDS = np.array([next(i for i, n in enumerate(NOUNS) if n in t) for t in TEXTS])


def thorough(fast):
    return with_training(
        fast | {"max_epochs": 30, "lr": 1e-2}, head_lr=1e-2, dropout=0.0
    )


# Several labels a text


@pytest.mark.parametrize(
    "form",
    [
        np.asarray,
        lambda y: y.tolist(),
        pd.DataFrame,
        scipy.sparse.csr_matrix,
        lambda y: y.astype(bool),
    ],
    ids=["array", "lists", "table", "sparse", "bool"],
)
def test_fit_when_indicators_then_labels_come_out(form, fast):
    clf = SKTuningClassifier(**thorough(fast)).fit(TEXTS, form(TAGS))
    assert clf.classes_.tolist() == [0, 1, 2]
    found = clf.predict(TEXTS)
    assert found.dtype.kind == "i"
    assert clf.score(TEXTS, TAGS) == (found == TAGS).all(axis=1).mean() > 0.8
    probabilities = clf.predict_proba(TEXTS)
    np.testing.assert_allclose(probabilities, expit(clf.decision_function(TEXTS)))
    np.testing.assert_allclose(
        np.exp(clf.predict_log_proba(TEXTS)), probabilities, rtol=1e-6
    )


def test_threshold_when_set_after_fit_then_predict_follows(fast):
    clf = SKTuningClassifier(**fast).fit(TEXTS, TAGS)
    probabilities = clf.predict_proba(TEXTS)
    for threshold in (0.3, [0.2, 0.5, 0.8]):
        found = clf.set_params(threshold=threshold).predict(TEXTS)
        np.testing.assert_array_equal(found, probabilities >= np.array(threshold))
    with pytest.raises(ValueError, match="'threshold' parameter must be .*3 of them"):
        clf.set_params(threshold=[0.1, 0.2]).predict(TEXTS)


def test_fit_when_a_label_is_constant_then_is_predicted_as_such(fast):
    tags = TAGS.copy()
    tags[:, 1], tags[:, 2] = 0, 1
    clf = SKTuningClassifier(**fast).fit(TEXTS, tags)
    assert np.isfinite(clf.predict_proba(TEXTS)).all()
    clf = SKTuningClassifier(**thorough(fast)).fit(TEXTS, tags)
    np.testing.assert_array_equal(clf.predict(TEXTS)[:, 1:], tags[:, 1:])


def test_cross_validation_when_several_labels_then_runs(fast):
    clf = SKTuningClassifier(**fast)
    assert np.isfinite(
        cross_val_score(clf, TEXTS, TAGS, cv=3, scoring="f1_micro")
    ).all()
    search = GridSearchCV(clf, {"adapter_rank": [2, 4]}, cv=2, scoring="f1_micro")
    assert search.fit(TEXTS, TAGS).predict(TEXTS).shape == TAGS.shape


def test_partial_fit_when_several_labels_then_goes_on(fast):
    clf = SKTuningClassifier(**fast)
    with pytest.raises(ValueError, match=r"np.arange\(n_labels\)"):
        clf.partial_fit(TEXTS, TAGS)
    clf.partial_fit(TEXTS, TAGS, classes=np.arange(3)).partial_fit(TEXTS[:5], TAGS[:5])
    assert clf.predict(TEXTS).shape == TAGS.shape
    with pytest.raises(ValueError, match="y must have 3 columns"):
        clf.partial_fit(TEXTS, TAGS[:, :2])


BAD_TAGS = {
    "sets": ([{"a"}, {"b"}] * 12, "Got sets of labels.*MultiLabelBinarizer"),
    "ragged": ([["a"], ["a", "b"]] * 12, "different lengths.*MultiLabelBinarizer"),
    "numbers": (TAGS * 2, r"indicator matrix of 0 and 1\. Got \[2, 2, 2\] in row 0"),
    "hole": (
        np.where(TAGS == 1, np.nan, TAGS),
        "rows lack an indicator",
    ),
    "short": (TAGS[:5], r"inconsistent numbers of samples: \[24, 5\]"),
}


@pytest.mark.parametrize(("y", "message"), BAD_TAGS.values(), ids=BAD_TAGS)
def test_fit_when_indicators_are_bad_then_says_so_before_any_loading(y, message):
    with pytest.raises(ValueError, match=message):
        SKTuningClassifier(model="nobody/nowhere").fit(TEXTS, y)


@pytest.mark.parametrize(
    "parameters", [{"class_weight": "balanced"}, {"ordinal": True}], ids=str
)
def test_fit_when_indicators_and_other_parameters_clash_then_refused(parameters):
    (name,) = parameters
    with pytest.raises(ValueError, match=f"The '{name}' parameter must be left alone"):
        SKTuningClassifier(model="nobody/nowhere", **parameters).fit(TEXTS, TAGS)


def test_binarizer_when_used_as_documented_then_fits(fast):
    sets = [{"good"} | ({"film"} if film else set()) for film in IS_FILM]
    y = MultiLabelBinarizer().fit_transform(sets)
    assert SKTuningClassifier(**fast).fit(TEXTS, y).predict(TEXTS).shape == y.shape


def test_losses_when_several_labels_then_are_those_trained_on():
    scores, targets = np.random.RandomState(0).randn(2, 5, 3)
    task = MultiLabel(3)
    targets = (targets > 0).astype(np.float32)
    trained = task.loss(torch.tensor(scores), torch.tensor(targets).double())
    np.testing.assert_allclose(task.losses(scores, targets)[:, 0], trained)


def test_each_logistic_when_compared_then_is_scikit_learns():
    rng = np.random.RandomState(0)
    features = rng.randn(60, 4)
    y = (features[:, :3] + 0.3 * rng.randn(60, 3) > 0).astype(float)
    y[:20, 2] = np.nan
    head = fit_each_logistic(features, y, np.ones(60), rng, penalty=2.0)
    for k in range(3):
        rows = np.isfinite(y[:, k])
        own = LogisticRegression(C=0.5, max_iter=200, tol=1e-3)
        own.fit(features[rows], y[rows, k])
        np.testing.assert_allclose(head.coef[k], own.coef_[0], atol=1e-6)
        np.testing.assert_allclose(head.intercept[k], own.intercept_[0], atol=1e-6)


# Ordered classes


def test_ordinal_when_scored_then_probabilities_are_conditional_products():
    scores = np.random.RandomState(0).randn(7, 3)
    above = expit(scores)
    expected = np.stack(
        [
            1 - above[:, 0],
            above[:, 0] * (1 - above[:, 1]),
            above[:, 0] * above[:, 1] * (1 - above[:, 2]),
            above.prod(axis=1),
        ],
        axis=1,
    )
    found = np.exp(Ordinal.log_probabilities(scores))
    np.testing.assert_allclose(found, expected)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    medians = (np.cumsum(expected, axis=1) < 0.5).sum(axis=1)
    np.testing.assert_array_equal(Ordinal.medians(scores), medians)


def test_ordinal_when_trained_then_loss_is_the_log_loss_of_the_class():
    scores = np.random.RandomState(0).randn(8, 3)
    targets = np.arange(8) % 4
    task = Ordinal(4)
    trained = task.loss(torch.tensor(scores), torch.tensor(targets))
    np.testing.assert_allclose(task.losses(scores, targets)[:, 1], trained)


@pytest.mark.parametrize(
    ("labels", "ordinal"),
    [
        (np.array([1, 2, 5, 9]), True),
        (np.array(["low", "mid", "high", "top"]), ["low", "mid", "high", "top"]),
    ],
    ids=["numbers", "names"],
)
def test_fit_when_classes_are_ordered_then_predicts_them(labels, ordinal, fast):
    y = labels[KINDS]
    clf = SKTuningClassifier(**thorough(fast), ordinal=ordinal).fit(TEXTS, y)
    np.testing.assert_array_equal(clf.classes_, np.unique(labels))
    assert clf.module_.head.out_features == 3
    assert clf.score(TEXTS, y) > 0.8
    probabilities = clf.predict_proba(TEXTS)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    most_probable = clf.classes_[probabilities.argmax(axis=1)]
    assert (most_probable == y).mean() > 0.8
    np.testing.assert_allclose(clf.decision_function(TEXTS), np.log(probabilities))


def test_fit_when_two_classes_are_ordered_then_is_binary(fast):
    clf = SKTuningClassifier(**fast, ordinal=True).fit(TEXTS, IS_GOOD.astype(int))
    assert clf.decision_function(TEXTS).shape == (24,)
    np.testing.assert_array_equal(
        clf.predict(TEXTS), clf.predict_proba(TEXTS).argmax(axis=1)
    )


@pytest.mark.parametrize(
    ("ordinal", "message"),
    [
        (True, "must list the classes in their order if they are no numbers"),
        (["low"], r"must list every class of y once: \['high', 'low'\]"),
        (["low", "mid"], "must list every class of y once"),
        (["low", "high", "top"], "must list every class of y once"),
    ],
)
def test_fit_when_order_is_bad_then_says_so_before_any_loading(ordinal, message):
    y = np.where(IS_GOOD, "high", "low")
    with pytest.raises(ValueError, match=f"The 'ordinal' parameter {message}"):
        SKTuningClassifier(model="nobody/nowhere", ordinal=ordinal).fit(TEXTS, y)


# Several targets, robust losses


def test_fit_when_several_targets_then_each_has_its_units(fast):
    reg = SKTuningRegressor(**thorough(fast)).fit(TEXTS, TARGETS)
    found = reg.predict(TEXTS)
    assert found.shape == TARGETS.shape
    assert reg.score(TEXTS, TARGETS) > 0.5
    one = SKTuningRegressor(**fast).fit(TEXTS, TARGETS[:, :1].ravel())
    assert one.predict(TEXTS).shape == (24,)
    with pytest.raises(ValueError, match=r"y has 1 target\(s\).* fitted with 2"):
        reg.partial_fit(TEXTS, TARGETS[:, 0])


@pytest.mark.parametrize("loss", ["squared_error", "huber", "absolute_error"])
def test_fit_when_targets_have_outliers_then_robust_losses_bear_them(loss, fast):
    y = LENGTHS.copy()
    y[::8] += 1e4
    reg = SKTuningRegressor(**fast, loss=loss).fit(TEXTS, y)
    error = np.median(np.abs(reg.predict(TEXTS) - LENGTHS))
    assert (error > 100) == (loss == "squared_error")


@pytest.mark.parametrize("quantile", [0.1, 0.5, 0.9])
def test_fit_when_quantile_then_so_many_lie_below(quantile, fast):
    y = np.random.RandomState(0).randn(24)
    many, y = TEXTS * 10, np.random.RandomState(0).randn(240)
    reg = SKTuningRegressor(**fast, loss="quantile", quantile=quantile).fit(many, y)
    assert abs((y < reg.predict(many)).mean() - quantile) < 0.1


@pytest.mark.parametrize("quantile", [0.2, 0.5])
def test_ridge_when_reweighted_then_fits_the_quantile(quantile):
    rng = np.random.RandomState(0)
    features = rng.randn(400, 3)
    y = features @ [1.0, -1.0, 0.5] + rng.standard_t(2, 400)
    task = Regression(1, "quantile", quantile)
    head = fit_ridge(features, y[:, None], np.ones(400), 1e-3, task._reweigh)
    own = QuantileRegressor(quantile=quantile, alpha=0).fit(features, y)
    np.testing.assert_allclose(head.coef[0], own.coef_, atol=0.05)
    np.testing.assert_allclose(head.intercept[0], own.intercept_, atol=0.05)


def test_ridge_when_several_targets_then_is_scikit_learns():
    rng = np.random.RandomState(0)
    features, y = rng.randn(30, 4), rng.randn(30, 2)
    head = fit_ridge(features, y, np.ones(30), 2.0)
    own = Ridge(alpha=2.0).fit(features, y)
    np.testing.assert_allclose(head.coef, own.coef_)
    np.testing.assert_allclose(head.intercept, own.intercept_)


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        ("squared_error", [0.25, 16.0]),
        ("huber", [0.125, 1.35 * (4 - 1.35 / 2)]),
        ("absolute_error", [0.25, 2.0]),
        ("quantile", [0.1, 3.2]),
    ],
)
def test_losses_when_compared_then_follow_their_formulas(loss, expected):
    task = Regression(1, loss, quantile=0.2)
    found = task.losses(np.array([[0.0], [0.0]]), np.array([0.5, -4.0]))
    np.testing.assert_allclose(found[:, 0], expected)


@pytest.mark.parametrize(
    ("name", "value"),
    [("loss", "l1"), ("loss", None), ("quantile", 0), ("quantile", 1.0)],
)
def test_fit_when_loss_is_bad_then_error_names_it(name, value):
    with pytest.raises(ValueError, match=f"The '{name}' parameter of SKTun"):
        SKTuningRegressor(model="nobody/nowhere", **{name: value}).fit(TEXTS, LENGTHS)


# Groups


def test_hold_back_when_groups_then_none_is_split(fast, monkeypatch):
    from sksemantic._training.trainer import Trainer

    found = []
    hold_back = Trainer._hold_back

    def spy(self, data, strata):
        found.append((data.groups, hold_back(self, data, strata)))
        return found[-1][1]

    monkeypatch.setattr(Trainer, "_hold_back", spy)
    groups = np.array(list("abcdefgh") * 3)
    SKTuningClassifier(**fast).fit(TEXTS, IS_GOOD, groups=groups)
    SKTuningRegressor(**fast).fit(TEXTS, LENGTHS, groups=groups)
    for seen, is_held in found:
        assert is_held.any()
        assert not set(seen[is_held]) & set(seen[~is_held])


@pytest.mark.parametrize(
    ("groups", "message"),
    [(["a"] * 5, "inconsistent numbers"), (["a"] * 24, "at least two groups")],
)
def test_fit_when_groups_are_bad_then_says_so(groups, message):
    with pytest.raises(ValueError, match=message):
        SKTuningClassifier(model="nobody/nowhere").fit(TEXTS, IS_GOOD, groups=groups)
