import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
from conftest import GOOD, TEXTS, thorough
from scipy.special import expit
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.preprocessing import MultiLabelBinarizer

from sksemantic import SKTuningClassifier
from sksemantic._tasks.multilabel import MultiLabel

IS_GOOD = np.array([any(word in text for word in GOOD) for text in TEXTS])
IS_FILM = np.array(["film" in text for text in TEXTS])
TAGS = np.stack([IS_GOOD, IS_FILM, IS_GOOD & IS_FILM], axis=1).astype(int)


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
    task = MultiLabel(np.arange(3))
    targets = (targets > 0).astype(np.float32)
    trained = task.loss(torch.tensor(scores), torch.tensor(targets).double())
    np.testing.assert_allclose(task.losses(scores, targets)[:, 0], trained)
