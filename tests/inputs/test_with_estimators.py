"""What the estimators do with bad input: refuse it before a backbone is loaded."""

import re

import numpy as np
import pandas as pd
import pytest
from conftest import FAST, LABELS, TEXTS
from sklearn.exceptions import NotFittedError

from sksemantic import (
    BackboneNotFoundError,
    SKTuningClassifier,
    SKTuningRegressor,
)

NOWHERE = "nobody/no-such-backbone"  # whoever looks for it raises another error
BOTH = [SKTuningClassifier, SKTuningRegressor]
TWO_KINDS = np.array([0, 1] * (len(TEXTS) // 2))

both = pytest.mark.parametrize("make", BOTH)


def test_texts_when_given_then_are_left_as_they_are(classifier):
    X = pd.DataFrame({"text": TEXTS})
    y = pd.Series(LABELS)
    before = X.copy(), y.copy()
    classifier.fit(X, y).predict(X)
    pd.testing.assert_frame_equal(X, before[0])
    pd.testing.assert_series_equal(y, before[1])


BAD_FITS = {
    "texts": ([*TEXTS[1:], 7], TWO_KINDS, None, "Got int"),
    "columns": (np.full((24, 3), "a"), TWO_KINDS, None, "X has 3 columns"),
    "length": (TEXTS, TWO_KINDS[1:], None, "inconsistent numbers"),
    "labels": (TEXTS, [1.0, None] * 12, None, "Input y contains NaN"),
    "weights": (TEXTS, TWO_KINDS, -np.ones(24), "must not be negative"),
}


@both
@pytest.mark.parametrize(
    ("X", "y", "weights", "message"), BAD_FITS.values(), ids=BAD_FITS
)
def test_fit_when_input_is_bad_then_refused_before_any_loading(
    make, X, y, weights, message
):
    with pytest.raises((ValueError, TypeError), match=message):
        make(model=NOWHERE).fit(X, y, sample_weight=weights)


def test_fit_when_there_is_one_class_then_refused_before_any_loading():
    message = r"at least two classes\. Got one class only, \['a'\]"
    with pytest.raises(ValueError, match=message):
        SKTuningClassifier(model=NOWHERE).fit(TEXTS, ["a"] * 24)


STRINGS = np.array(["no", "yes"])[TWO_KINDS]


@pytest.mark.parametrize("y", [STRINGS, TWO_KINDS, TWO_KINDS == 1])
def test_labels_when_renamed_then_predictions_are_renamed_alike(y, fast):
    clf = SKTuningClassifier(**fast).fit(TEXTS, y)
    reference = SKTuningClassifier(**fast).fit(TEXTS, TWO_KINDS)
    expected = clf.classes_[reference.predict(TEXTS)]
    np.testing.assert_array_equal(clf.predict(TEXTS), expected)


BAD_PARAMETERS = {
    "model": [3, None, ["bert"]],
    "prompt": [3, ["a", "b"], b"rate"],
    "method": ["suffix", None, 1],
    "adapter": ["lora", None],
    "adapter_rank": [0, -1, 2.5, "8", None],
    "text_rank": [-1, 2.5, "8", None],
    "n_layers": [0, -1, 1.5, "some", None, (1, 2)],
    "tuned_layers": [0, -1, 1.5, "some", None],
    "prefix_mechanism": ["B", None],
    "pooling": ["max", None],
    "max_length": [0, -3, 10.5, "all"],
    "head_init": ["ones", None],
    "lr": [0, -1e-3, "fast", None, float("nan")],
    "head_lr": [0, -1e-3, "fast", None],
    "max_epochs": [0, -1, 2.5, "many", None],
    "batch_size": [0, -1, 8.0, None],
    "early_stopping": ["yes", None, 2],
    "validation_fraction": [0, 1, 1.5, -0.1, None],
    "n_iter_no_change": [0, 1.5, None],
    "contrast": [-1, "much", None],
    "class_weight": ["heavy", 2, [1, 2]],
    "ordinal": ["yes", None, 1.5],
    "label_texts": ["good", 1, ["good", "bad"]],
    "threshold": [0, 1.0, -1, "high", None],
    "device": [0, None],
    "dtype": ["int8", "half", None],
    "quantization_config": ["4bit", 4],
    "device_map": [1, ["cpu"]],
    "warm_start": ["yes", None],
    "random_state": ["seed", -1, 1.5],
    "verbose": [-1, "much", None],
    "callbacks": ["early", 3, {"a": 1}],
    "revision": [1, ["main"]],
}


@both
@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for name, values in BAD_PARAMETERS.items() for value in values],
)
def test_fit_when_parameter_is_bad_then_error_names_it_before_any_loading(
    make, name, value
):
    parameters = {"model": NOWHERE, name: value}
    if name not in make().get_params():
        pytest.skip(f"{make.__name__} has no {name}")
    message = (
        f"The '{name}' parameter of {make.__name__} must be .*Got {value!r} instead"
    )
    message = message.replace(repr(value), re.escape(repr(value)))
    with pytest.raises(ValueError, match=message):
        make(**parameters).fit(TEXTS, TWO_KINDS)


def test_bad_parameters_when_listed_then_leave_none_out():
    assert set(BAD_PARAMETERS) == set(SKTuningClassifier().get_params())


BAD_PROMPTS = {
    "": "must contain some text",
    " \n": "must contain some text",
    "{text}": "must contain some text besides its slot",
    "{text} and {text}": r"a slot twice: \{text\}",
    "film: {review}": r"slot \{review\}, but X has no such column.*slot is \{text\}",
    "film: {": "not a valid template",
}


@both
@pytest.mark.parametrize(("prompt", "message"), BAD_PROMPTS.items(), ids=BAD_PROMPTS)
def test_fit_when_prompt_is_bad_then_error_says_so_before_any_loading(
    make, prompt, message
):
    with pytest.raises(ValueError, match=f"The 'prompt' parameter.*{message}"):
        make(model=NOWHERE, prompt=prompt).fit(TEXTS, TWO_KINDS)


def test_fit_when_tuned_layers_meet_the_prompt_method_then_refused_before_any_loading():
    clf = SKTuningClassifier(model=NOWHERE, method="prompt", tuned_layers=1)
    with pytest.raises(
        ValueError, match="'tuned_layers' parameter must be 'auto' with"
    ):
        clf.fit(TEXTS, LABELS)


@pytest.mark.parametrize("device", ["cuda:99", "cpu:5", "tpu", "meta", "xpu", ""])
def test_fit_when_device_is_not_there_then_error_says_so_before_any_loading(device):
    clf = SKTuningClassifier(model=NOWHERE, device=device)
    message = f"'device' parameter must be .*Got '{device}' instead.*device='auto'"
    with pytest.raises(ValueError, match=message):
        clf.fit(TEXTS, LABELS)


def test_fit_when_model_exists_nowhere_then_error_is_a_value_error():
    with pytest.raises(BackboneNotFoundError) as caught:
        SKTuningClassifier(model=NOWHERE).fit(TEXTS, LABELS)
    assert isinstance(caught.value, ValueError)
    assert "The 'model' parameter names no backbone" in str(caught.value)


@both
@pytest.mark.parametrize("attribute", ["predict", "transform", "score", "net_"])
def test_estimator_when_not_fitted_then_error_says_so(make, attribute):
    estimator = make(**FAST)
    with pytest.raises(NotFittedError, match=f"This {make.__name__} instance is not"):
        if attribute == "net_":
            _ = estimator.net_
        elif attribute == "score":
            estimator.score(TEXTS, TWO_KINDS)
        else:
            getattr(estimator, attribute)(TEXTS)


@pytest.mark.parametrize(
    "method", ["predict_proba", "predict_log_proba", "decision_function"]
)
def test_classifier_when_not_fitted_then_error_says_so(method):
    with pytest.raises(NotFittedError):
        getattr(SKTuningClassifier(), method)(TEXTS)


def test_fit_when_it_failed_then_estimator_stays_unfitted(classifier):
    with pytest.raises(ValueError):
        classifier.set_params(tuned_layers=9).fit(TEXTS, LABELS)
    with pytest.raises(NotFittedError):
        classifier.predict(TEXTS)


def test_fit_when_refit_fails_then_former_fit_still_predicts(classifier):
    expected = classifier.fit(TEXTS, LABELS).predict_proba(TEXTS)
    with pytest.raises(ValueError):
        classifier.fit(TEXTS, ["one", "two", "three"])
    np.testing.assert_array_equal(classifier.predict_proba(TEXTS), expected)


def test_fit_when_refit_with_other_classes_fails_then_former_fit_still_predicts(
    classifier,
):
    expected = classifier.fit(TEXTS, LABELS).predict(TEXTS)
    classifier.set_params(tuned_layers=9)
    with pytest.raises(ValueError):
        classifier.fit(TEXTS, ["one", "two", "three"] * 8)
    np.testing.assert_array_equal(classifier.predict(TEXTS), expected)
