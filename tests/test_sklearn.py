"""What users do with any scikit-learn estimator."""

import gc
import inspect
import re

import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
from conftest import with_training
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.ensemble import StackingClassifier, VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    GridSearchCV,
    LearningCurveDisplay,
    RandomizedSearchCV,
    TunedThresholdClassifierCV,
    cross_val_predict,
    cross_val_score,
    cross_validate,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils import estimator_html_repr
from transformers import BertModel

from sksemantic import (
    SKTuningClassifier,
    SKTuningRegressor,
    SKTuningTokenClassifier,
)

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
def test_init_when_called_then_only_assigns(make):
    # Values of a wrong kind, each one of its own: nothing may be looked at or copied.
    names = list(inspect.signature(make).parameters)
    values = {name: object() for name in names}
    estimator = make(**values)
    assert {name: getattr(estimator, name) for name in names} == values
    assert estimator.get_params() == values


@both
def test_init_when_called_then_only_model_and_prompt_are_positional(make):
    parameters = inspect.signature(make).parameters.values()
    free = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert free == ["model", "prompt"]


def test_parameters_when_compared_then_are_the_same_but_for_the_targets():
    classifier, regressor = (make().get_params() for make in BOTH)
    tokens = SKTuningTokenClassifier().get_params()
    for name in ("class_weight", "contrast", "label_texts", "ordinal", "threshold"):
        del classifier[name]
    for name in ("loss", "quantile"):
        del regressor[name]
    del tokens["class_weight"]
    assert classifier == regressor == tokens | {"pooling": "auto"}


@both
def test_docstring_when_read_then_describes_each_parameter(make):
    described = re.findall(r"^    (\w+) : ", make.__doc__, flags=re.MULTILINE)
    names = list(inspect.signature(make).parameters)
    assert described[: len(names)] == names


@both
def test_docstring_when_read_then_gives_the_defaults(make):
    for name, parameter in inspect.signature(make).parameters.items():
        line = re.search(rf"^    {name} : (.*)$", make.__doc__, re.MULTILINE)[1]
        given = line.split("default=")[1].strip('"')
        if isinstance(parameter.default, float):
            assert float(given) == parameter.default, name
        else:
            assert given == str(parameter.default), name


def test_parameters_when_numpy_scalars_then_work_like_python_numbers(
    fast, texts, labels
):
    numbers = {
        "adapter_rank": 3,
        "tuned_layers": 1,
        "max_length": 12,
        "lr": 0.004,
        "head_lr": 0.002,
        "max_epochs": 3,
        "batch_size": 6,
        "validation_fraction": 0.4,
        "random_state": 7,
    }
    scalars = {name: np.asarray(value)[()] for name, value in numbers.items()}
    one, other = (
        SKTuningClassifier(**{**fast, **values}).fit(texts, labels)
        for values in (numbers, scalars)
    )
    assert len(one.history_) == len(other.history_) == 3
    np.testing.assert_array_equal(one._scores(texts), other._scores(texts))


def test_clone_when_fitted_then_copy_has_parameters_but_is_unfitted(fitted):
    copy = clone(fitted)
    assert copy.get_params() == fitted.get_params()
    assert not copy.__sklearn_is_fitted__()


def test_set_params_when_name_is_wrong_then_refused(classifier):
    with pytest.raises(ValueError, match="Invalid parameter 'learning_rate'"):
        classifier.set_params(learning_rate=1)


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
def test_pipeline_when_estimator_is_a_step_in_the_middle_then_embeds(
    make, fast, texts, labels
):
    y = labels if make is SKTuningClassifier else np.arange(24.0)
    pipeline = make_pipeline(make(**fast), StandardScaler(), LogisticRegression())
    pipeline.fit(texts, y if make is SKTuningClassifier else np.arange(24) % 2)
    assert pipeline.predict(texts).shape == (24,)
    assert pipeline[-1].n_features_in_ == 32


def test_pipeline_when_parameters_are_nested_then_they_reach_the_estimator(classifier):
    pipeline = make_pipeline(FunctionTransformer(whisper), classifier)
    pipeline.set_params(sktuningclassifier__prompt="another")
    assert classifier.prompt == "another"


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


def test_column_transformer_when_in_a_pipeline_then_predicts(classifier, texts, labels):
    X = pd.DataFrame({"length": [len(text) for text in texts], "text": texts})
    features = ColumnTransformer(
        [("embed", classifier, "text"), ("scale", StandardScaler(), ["length"])]
    )
    pipeline = make_pipeline(features, LogisticRegression())
    assert pipeline.fit(X, labels).predict(X).shape == (24,)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_grid_search_when_over_prompts_then_finds_one(n_jobs, fast, texts, labels):
    search = GridSearchCV(
        SKTuningClassifier(**fast), {"prompt": PROMPTS}, cv=2, n_jobs=n_jobs
    )
    search.fit(texts, labels)
    assert search.best_params_["prompt"] in PROMPTS
    assert search.best_estimator_.prompt_ == search.best_params_["prompt"]
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.predict(texts).shape == (24,)


def test_grid_search_when_in_parallel_then_scores_are_those_of_one_process(
    fast, texts, labels
):
    alone, parallel = (
        GridSearchCV(
            SKTuningClassifier(**fast),
            {"prompt": PROMPTS},
            scoring="neg_log_loss",
            cv=2,
            n_jobs=n_jobs,
        )
        .fit(texts, labels)
        .cv_results_["mean_test_score"]
        for n_jobs in (1, 2)
    )
    np.testing.assert_allclose(parallel, alone, rtol=1e-5)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_randomized_search_when_over_several_parameters_then_finds_some(
    n_jobs, fast, texts, labels
):
    space = {
        "prompt": PROMPTS,
        "method": ["prefix", "prompt"],
        "adapter_rank": [2, 4],
        "lr": [1e-3, 1e-2],
        "training__pooling": ["mean", "first"],
    }
    search = RandomizedSearchCV(
        SKTuningClassifier(**fast),
        space,
        n_iter=3,
        cv=2,
        n_jobs=n_jobs,
        random_state=0,
    )
    search.fit(texts, labels)
    assert set(search.best_params_) == set(space)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_grid_search_when_over_a_pipeline_then_reaches_the_prompt(fast, texts, labels):
    pipeline = make_pipeline(FunctionTransformer(whisper), SKTuningClassifier(**fast))
    grid = {"sktuningclassifier__prompt": PROMPTS}
    search = GridSearchCV(pipeline, grid, cv=2).fit(texts, labels)
    assert search.best_params_["sktuningclassifier__prompt"] in PROMPTS


def test_search_when_done_then_no_other_copy_of_the_backbone_is_left(
    fast, texts, labels
):
    def count_models():
        gc.collect()
        return sum(type(thing) is BertModel for thing in gc.get_objects())

    clf = SKTuningClassifier(**fast).fit(texts, labels)
    before = count_models()
    GridSearchCV(clf, {"prompt": PROMPTS}, cv=2).fit(texts, labels)
    assert count_models() == before


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
    assert len({id(clf.module_) for clf in fitted}) == 8
    assert len({id(clf.module_.backbone.model) for clf in fitted}) == 1


@pytest.mark.parametrize("form", [list, np.array, pd.Series, pl.Series])
def test_cross_val_score_when_texts_are_in_any_form_then_is_the_same(
    form, fast, texts, labels
):
    clf = SKTuningClassifier(**fast)
    found = cross_val_score(clf, form(texts), labels, cv=2, scoring="neg_log_loss")
    expected = cross_val_score(clf, texts, labels, cv=2, scoring="neg_log_loss")
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("scoring", ["accuracy", "roc_auc", "f1_macro"])
def test_cross_val_score_when_any_scoring_then_gives_numbers(
    scoring, classifier, texts, labels
):
    scores = cross_val_score(classifier, texts, labels == "good", cv=3, scoring=scoring)
    assert scores.shape == (3,)
    assert ((scores >= 0) & (scores <= 1)).all()


def test_cross_val_score_when_regressor_then_gives_numbers(regressor, texts, targets):
    scores = cross_val_score(regressor, texts, targets, cv=3)
    assert np.isfinite(scores).all()


def test_cross_val_predict_when_probabilities_then_each_text_has_its_own(
    classifier, texts, labels
):
    proba = cross_val_predict(classifier, texts, labels, cv=3, method="predict_proba")
    assert proba.shape == (24, 2)
    np.testing.assert_allclose(proba.sum(axis=1), 1.0)


def test_voting_classifier_when_over_prompts_then_averages_them(fast, texts, labels):
    voters = [
        (f"prompt {i}", SKTuningClassifier(**fast).set_params(prompt=prompt))
        for i, prompt in enumerate(PROMPTS)
    ]
    vote = VotingClassifier(voters, voting="soft").fit(texts, labels)
    expected = np.mean([clf.predict_proba(texts) for clf in vote.estimators_], axis=0)
    np.testing.assert_allclose(vote.predict_proba(texts), expected)
    assert set(vote.predict(texts)) <= {"good", "bad"}


def test_stacking_classifier_when_over_prompts_then_predicts(fast, texts, labels):
    layers = [
        (f"prompt {i}", SKTuningClassifier(**fast).set_params(prompt=prompt))
        for i, prompt in enumerate(PROMPTS)
    ]
    stack = StackingClassifier(layers, cv=2).fit(texts, labels)
    assert stack.predict(texts).shape == (24,)


@pytest.mark.parametrize("method", ["sigmoid", "isotonic"])
def test_calibrated_classifier_when_cross_validated_then_predicts(
    method, fast, texts, labels
):
    calibrated = CalibratedClassifierCV(SKTuningClassifier(**fast), method=method, cv=2)
    proba = calibrated.fit(texts, labels).predict_proba(texts)
    assert proba.shape == (24, 2)
    np.testing.assert_allclose(proba.sum(axis=1), 1.0)


def test_tuned_threshold_when_cross_validated_then_predicts(fast, texts, labels):
    tuned = TunedThresholdClassifierCV(SKTuningClassifier(**fast), cv=2)
    assert tuned.fit(texts, labels).predict(texts).shape == (24,)


def test_one_vs_rest_when_more_classes_then_predicts(fast, texts):
    y = [text.split()[2] for text in texts]
    clf = OneVsRestClassifier(SKTuningClassifier(**fast)).fit(texts, y)
    assert clf.predict_proba(texts).shape == (24, 4)


def test_transformed_target_when_regressor_then_predicts(regressor, texts, targets):
    wrapped = TransformedTargetRegressor(regressor, func=np.log, inverse_func=np.exp)
    assert (wrapped.fit(texts, targets).predict(texts) > 0).all()


def test_learning_curve_when_displayed_then_has_a_point_per_size(fast, texts, labels):
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    display = LearningCurveDisplay.from_estimator(
        SKTuningClassifier(**fast),
        texts,
        labels,
        train_sizes=[6, 12],
        cv=2,
        shuffle=True,
        random_state=0,
    )
    assert display.train_sizes.tolist() == [6, 12]
    assert display.test_scores.shape == (2, 2)


@both
def test_repr_when_printed_then_shows_changed_parameters_alone(make):
    estimator = make(prompt="Rate.", lr=0.5)
    assert repr(estimator) == f"{make.__name__}(lr=0.5, prompt='Rate.')"


def test_html_when_shown_then_names_the_estimator_and_its_state(fitted):
    assert "SKTuningClassifier" in estimator_html_repr(fitted)
    assert "Fitted" in fitted._repr_html_()
    assert "Not fitted" in clone(fitted)._repr_html_()


def test_html_when_in_a_pipeline_then_is_shown(classifier):
    html = make_pipeline(FunctionTransformer(whisper), classifier)._repr_html_()
    assert "SKTuningClassifier" in html


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
    fast = with_training(fast, head_init="random")
    estimator = make(**fast).set_fit_request(sample_weight=True)
    pipeline = make_pipeline(FunctionTransformer(whisper), estimator)
    pipeline.fit(texts, y, sample_weight=weights)
    expected = make(**fast).fit(texts, y, sample_weight=weights)
    plain = make(**fast).fit(texts, y)
    np.testing.assert_array_equal(pipeline[-1]._scores(texts), expected._scores(texts))
    assert np.abs(expected._scores(texts) - plain._scores(texts)).max() > 1e-3


def test_sample_weight_when_routed_through_a_search_then_reaches_fit(
    metadata_routing, fast, texts, labels
):
    weights = np.where(labels == "good", 9.0, 1.0)
    clf = SKTuningClassifier(**fast)
    clf.set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
    search = GridSearchCV(clf, {"prompt": PROMPTS[:1]}, cv=2)
    search.fit(texts, labels, sample_weight=weights)
    expected = SKTuningClassifier(**fast).fit(texts, labels, sample_weight=weights)
    np.testing.assert_array_equal(
        search.predict_proba(texts), expected.predict_proba(texts)
    )


def test_sample_weight_when_not_requested_then_routing_says_so(
    metadata_routing, classifier, texts, labels
):
    pipeline = make_pipeline(FunctionTransformer(whisper), classifier)
    with pytest.raises(ValueError, match="sample_weight"):
        pipeline.fit(texts, labels, sample_weight=np.ones(24))


def test_fit_transform_when_called_then_equals_fit_and_transform(fast, texts, labels):
    at_once = SKTuningClassifier(**fast).fit_transform(texts, labels)
    one_by_one = SKTuningClassifier(**fast).fit(texts, labels).transform(texts)
    np.testing.assert_array_equal(at_once, one_by_one)
