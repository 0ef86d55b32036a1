"""What users do with any scikit-learn estimator."""

import numpy as np
import pandas as pd
import pytest
import sklearn
from conftest import thorough
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.ensemble import StackingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import get_scorer
from sklearn.model_selection import (
    GridSearchCV,
    RandomizedSearchCV,
    StratifiedKFold,
    TunedThresholdClassifierCV,
    cross_val_score,
    cross_validate,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils import estimator_html_repr

from sksemantic import SKTuningClassifier, SKTuningRegressor

BOTH = [SKTuningClassifier, SKTuningRegressor]
PROMPTS = ["rate the film", "what is this about?"]

both = pytest.mark.parametrize("make", BOTH)


@pytest.fixture
def fast(fast):
    return {**fast, "max_epochs": 1}


def shout(texts):
    return [text.upper() for text in texts]


def whisper(texts):
    return [text.lower() for text in texts]


@both
def test_kind_when_asked_then_scikit_learn_knows_it(make):
    assert is_classifier(make()) == (make is SKTuningClassifier)
    assert is_regressor(make()) == (make is SKTuningRegressor)


def test_pipeline_when_texts_are_cleaned_first_then_equals_cleaning_by_hand(
    classifier, texts, labels
):
    pipeline = make_pipeline(FunctionTransformer(whisper), classifier)
    pipeline.fit(shout(texts), labels)
    by_hand = clone(classifier).fit(texts, labels)
    np.testing.assert_array_equal(
        pipeline.predict_proba(shout(texts)), by_hand.predict_proba(texts)
    )


@both
def test_pipeline_when_estimator_is_a_step_in_the_middle_then_embeds(make, fast, texts):
    y = np.arange(24) % 2
    pipeline = make_pipeline(make(**fast), StandardScaler(), LogisticRegression())
    predicted = pipeline.fit(texts, y).predict(texts)
    embeddings = make(**fast).fit(texts, y).transform(texts)
    by_hand = make_pipeline(StandardScaler(), LogisticRegression()).fit(embeddings, y)
    np.testing.assert_array_equal(predicted, by_hand.predict(embeddings))


@pytest.mark.parametrize("columns", ["text", ["text"]])
def test_column_transformer_when_given_a_text_column_then_embeds_it(
    columns, classifier, texts, labels
):
    X = pd.DataFrame({"length": [len(text) for text in texts], "text": texts})
    features = ColumnTransformer(
        [("embed", classifier, columns), ("rest", "passthrough", ["length"])]
    )
    table = features.set_output(transform="pandas").fit_transform(X, labels)
    assert table.shape == (24, 33)
    assert table.columns[0] == "embed__sktuningclassifier0"
    np.testing.assert_array_equal(table["rest__length"], X["length"])
    expected = features.named_transformers_["embed"].transform(X[columns])
    np.testing.assert_allclose(table.iloc[:, :32], expected)


def test_grid_search_when_over_prompts_then_scores_are_those_of_cross_validation(
    fast, texts, labels
):
    pipeline = make_pipeline(FunctionTransformer(whisper), SKTuningClassifier(**fast))
    grid = {"sktuningclassifier__prompt": PROMPTS}
    search = GridSearchCV(pipeline, grid, scoring="neg_log_loss", cv=2)
    search.fit(texts, labels)
    expected = [
        cross_val_score(
            SKTuningClassifier(**fast | {"prompt": prompt}),
            texts,
            labels,
            scoring="neg_log_loss",
            cv=2,
        ).mean()
        for prompt in PROMPTS
    ]
    scores = search.cv_results_["mean_test_score"]
    np.testing.assert_allclose(scores, expected, rtol=1e-5)
    assert np.ptp(expected) > 1e-4  # the prompts differ
    best = search.best_estimator_[-1]
    assert best.prompt_ == PROMPTS[np.argmax(expected)]


def test_randomized_search_when_over_several_parameters_then_best_fit_has_them(
    fast, texts, labels
):
    space = {
        "prompt": PROMPTS,
        "method": ["prefix", "prompt"],
        "adapter_rank": [2, 4],
        "lr": [1e-3, 1e-2],
        "model_kwargs__n_layers": [1],
        "training__pooling": ["mean", "first"],
    }
    search = RandomizedSearchCV(
        SKTuningClassifier(**fast), space, n_iter=3, cv=2, random_state=0
    )
    best = search.fit(texts, labels).best_estimator_
    model, training = best.config_.model, best.config_.training
    assert search.best_params_ == {
        "prompt": model.prompt,
        "method": model.method,
        "adapter_rank": model.adapter_rank,
        "lr": training.lr,
        "model_kwargs__n_layers": best.n_layers_,
        "training__pooling": model.pooling,
    }


def test_search_when_done_then_all_estimators_share_one_backbone(fast, texts, labels):
    results = [
        cross_validate(
            SKTuningClassifier(**fast, adapter=adapter).set_params(prompt=prompt),
            texts,
            labels,
            cv=2,
            return_estimator=True,
        )
        for prompt in PROMPTS
        for adapter in ("low_rank", "linear")
    ]
    fitted = [clf for result in results for clf in result["estimator"]]
    assert len(fitted) == 8
    assert len({id(clf.get_module()) for clf in fitted}) == 8
    assert len({id(clf.get_module().backbone.model) for clf in fitted}) == 1


@pytest.mark.parametrize("scoring", ["accuracy", "roc_auc", "f1_macro"])
def test_cross_val_score_when_any_scoring_then_is_that_of_the_predictions(
    scoring, classifier, texts, labels
):
    y = labels == "good"
    scores = cross_val_score(classifier, texts, y, cv=3, scoring=scoring)
    rows = StratifiedKFold(3).split(texts, y)
    for score, (train, test) in zip(scores, rows, strict=True):
        clf = clone(classifier).fit([texts[i] for i in train], y[train])
        score_of = get_scorer(scoring)
        assert score == pytest.approx(score_of(clf, [texts[i] for i in test], y[test]))


WRAPPERS = {
    "stacking": lambda clf: StackingClassifier(
        [(p, clone(clf).set_params(prompt=p)) for p in PROMPTS], cv=2
    ),
    "sigmoid": lambda clf: CalibratedClassifierCV(clf, method="sigmoid", cv=2),
    "isotonic": lambda clf: CalibratedClassifierCV(clf, method="isotonic", cv=2),
    "threshold": lambda clf: TunedThresholdClassifierCV(clf, cv=2),
    "one against the rest": OneVsRestClassifier,
}


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
def test_classifier_when_wrapped_then_still_learns(wrap, fast, texts, labels):
    wrapped = wrap(SKTuningClassifier(**thorough(fast) | {"max_epochs": 15}))
    wrapped.fit(2 * texts, np.tile(labels, 2))  # each half is all of them
    assert wrapped.score(texts, labels) > 0.75
    proba = wrapped.predict_proba(texts)
    np.testing.assert_allclose(proba.sum(axis=1), 1)


def test_transformed_target_when_regressor_then_is_fitted_on_it(
    regressor, texts, targets
):
    wrapped = TransformedTargetRegressor(regressor, func=np.log, inverse_func=np.exp)
    predicted = wrapped.fit(texts, targets).predict(texts)
    by_hand = clone(regressor).fit(texts, np.log(targets))
    np.testing.assert_allclose(predicted, np.exp(by_hand.predict(texts)))


@both
def test_repr_when_printed_then_shows_changed_parameters_alone(make):
    estimator = make(prompt="Rate.", lr=0.5)
    assert repr(estimator) == f"{make.__name__}(lr=0.5, prompt='Rate.')"


def test_html_when_shown_then_names_the_estimator_and_its_state(fitted):
    pipeline = make_pipeline(FunctionTransformer(whisper), fitted)
    assert "SKTuningClassifier" in estimator_html_repr(pipeline)
    assert "Fitted" in fitted._repr_html_()
    assert "Not fitted" in clone(fitted)._repr_html_()


@pytest.fixture
def metadata_routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


@both
def test_sample_weight_when_routed_then_reaches_fit(
    make, metadata_routing, fast, texts, labels
):
    y = np.array(labels == "good", float)
    weights = np.where(labels == "good", 9.0, 1.0)
    estimator = make(**fast).set_fit_request(sample_weight=True)
    pipeline = make_pipeline(FunctionTransformer(whisper), estimator)
    pipeline.fit(texts, y, sample_weight=weights)
    weighted = make(**fast).fit(texts, y, sample_weight=weights)
    plain = make(**fast).fit(texts, y)
    method = "predict_proba" if make is SKTuningClassifier else "predict"
    found, expected, without = (
        getattr(each, method)(texts) for each in (pipeline, weighted, plain)
    )
    np.testing.assert_array_equal(found, expected)
    assert np.abs(without - expected).max() > 1e-3


def test_fit_transform_when_called_then_equals_fit_and_transform(fast, texts, labels):
    at_once = SKTuningClassifier(**fast).fit_transform(texts, labels)
    one_by_one = SKTuningClassifier(**fast).fit(texts, labels).transform(texts)
    np.testing.assert_array_equal(at_once, one_by_one)
