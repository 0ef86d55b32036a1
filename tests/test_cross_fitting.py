"""Scores of texts as columns beside numbers."""

import numpy as np
import pandas as pd
import pytest
from conftest import LABELS, TEXTS
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import PredefinedSplit
from sklearn.pipeline import make_pipeline

from sksemantic import CrossFittedScores, SKTuningClassifier


class Learner(ClassifierMixin, BaseEstimator):
    """Knows the labels of the texts it has seen, and is unsure of any other."""

    def fit(self, X, y, sample_weight=None):
        self.known_ = dict(zip(X, y, strict=True))
        self.classes_ = np.unique(y)
        self.weights_ = sample_weight
        return self

    def predict_proba(self, X):
        rows = np.full((len(X), len(self.classes_)), 1 / len(self.classes_))
        for i, text in enumerate(X):
            if text in self.known_:
                rows[i] = self.classes_ == self.known_[text]
        return rows

    def predict(self, X):
        return self.classes_[self.predict_proba(X).argmax(axis=1)]


DIFFERENT = [f"text {i}" for i in range(24)]


def test_scores_when_fit_transformed_then_texts_were_not_seen():
    scores = CrossFittedScores(Learner(), cv=4)
    given = scores.fit_transform(DIFFERENT, LABELS)
    assert given.shape == (24, 1)
    assert (given == 0).all()  # log-odds of one half
    known = scores.transform(DIFFERENT)[:, 0]
    np.testing.assert_array_equal(known > 0, np.array(LABELS) == "good")
    assert np.isfinite(known).all()
    assert scores.transform(["another"]) == 0


def test_scores_when_of_several_classes_then_one_column_each():
    labels = np.tile(["a", "b", "c"], 8)
    scores = CrossFittedScores(Learner(), cv=4)
    assert scores.fit_transform(DIFFERENT, labels).shape == (24, 3)
    names = scores.get_feature_names_out()
    assert names.tolist() == ["score_a", "score_b", "score_c"]


def test_scores_when_of_numbers_then_are_predictions():
    X = np.arange(24.0)[:, None]
    scores = CrossFittedScores(LinearRegression(), cv=3)
    found = scores.fit_transform(X, 2 * X[:, 0])
    np.testing.assert_allclose(found, 2 * X)
    assert scores.get_feature_names_out().tolist() == ["score"]
    two = CrossFittedScores(LinearRegression()).fit(X, np.hstack([X, X]))
    assert two.get_feature_names_out().tolist() == ["score_0", "score_1"]
    assert two.n_features_in_ == 1


def test_scores_when_of_a_model_without_probabilities_then_is_what_decides():
    from sklearn.svm import LinearSVC

    X = np.arange(24.0)[:, None]
    scores = CrossFittedScores(LinearSVC()).fit(X, X[:, 0] > 11)
    expected = scores.estimator_.decision_function(X)[:, None]
    np.testing.assert_array_equal(scores.transform(X), expected)


def test_weights_when_passed_then_reach_every_fit():
    scores = CrossFittedScores(Learner(), cv=4)
    scores.fit_transform(DIFFERENT, LABELS, sample_weight=np.arange(24.0))
    assert scores.estimator_.weights_.tolist() == list(range(24))


def test_folds_when_given_then_are_used():
    fold = np.arange(24) % 2
    seen = CrossFittedScores(Learner(), cv=PredefinedSplit(fold))
    twice = [f"text {i // 2}" for i in range(24)]  # each text in both folds
    labels = np.repeat(["a", "b"] * 6, 2)
    assert (np.abs(seen.fit_transform(twice, labels)) > 1).all()


def test_transform_when_not_fitted_then_says_so():
    with pytest.raises(NotFittedError):
        CrossFittedScores(Learner()).transform(["a"])


def test_estimator_when_it_cannot_fit_then_refused():
    with pytest.raises(ValueError, match="'estimator' parameter"):
        CrossFittedScores("a model").fit_transform(DIFFERENT, LABELS)


def test_table_when_fitted_then_text_stands_beside_numbers(fast):
    table = pd.DataFrame({"message": TEXTS, "hours": np.arange(24.0)})
    columns = ColumnTransformer(
        [
            ("text", CrossFittedScores(SKTuningClassifier(**fast), cv=2), "message"),
            ("number", "passthrough", ["hours"]),
        ]
    )
    model = make_pipeline(columns, LogisticRegression()).fit(table, LABELS)
    assert model[:-1].get_feature_names_out().tolist() == [
        "text__score",
        "number__hours",
    ]
    assert set(model.predict(table)) <= set(LABELS)
    assert "SKTuningClassifier" in model._repr_html_()


@pytest.mark.parametrize("form", [np.array, pd.DataFrame])
def test_labels_when_a_table_of_one_column_then_are_that_column(form):
    y = form([[label] for label in LABELS])
    given = CrossFittedScores(Learner(), cv=4).fit_transform(DIFFERENT, y)
    assert given.shape == (24, 1)


@pytest.mark.parametrize("missing", [None, np.nan])
@pytest.mark.parametrize("method", ["fit", "fit_transform"])
def test_labels_when_some_are_missing_then_are_refused(method, missing):
    y = [missing, *LABELS[1:5], missing, *LABELS[6:]]
    fit = getattr(CrossFittedScores(Learner(), cv=4), method)
    with pytest.raises(ValueError, match=r"2 texts without one, .* row\(s\) 0, 5"):
        fit(DIFFERENT, y)


def test_scores_when_texts_have_groups_then_those_are_in_one_fold():
    groups = np.arange(24) // 2
    twice = [f"text {i}" for i in groups]  # the texts of a group are the same
    y = ["a", "b"] * 12
    scores = CrossFittedScores(Learner(), cv=3).fit_transform(twice, y, groups=groups)
    np.testing.assert_allclose(scores, 0)  # none has been seen


def test_scores_when_a_class_has_one_text_then_refused():
    y = ["rare", *["a", "b"] * 11, "a"]
    with pytest.raises(ValueError, match="Got one of 'rare'"):
        CrossFittedScores(Learner()).fit_transform(DIFFERENT, y)
