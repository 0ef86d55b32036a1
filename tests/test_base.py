"""What all estimators share: parameters, checks before loading, fits that fail."""

import copy
import inspect
import pickle
import re

import numpy as np
import pandas as pd
import pytest
from conftest import LABELS, TEXTS, values_of
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from skorch.callbacks import Callback, EpochScoring

from sksemantic import (
    BackboneNotFoundError,
    SKTuningClassifier,
    SKTuningRegressor,
    SKTuningTokenClassifier,
    TruncationWarning,
)

NOWHERE = "nobody/no-such-backbone"  # whoever looks for it raises another error
ALL = [SKTuningClassifier, SKTuningRegressor, SKTuningTokenClassifier]
TWO_KINDS = np.array([0, 1] * (len(TEXTS) // 2))

each_estimator = pytest.mark.parametrize("make", ALL)


def targets_for(make, texts=TEXTS):
    """Return a y that any estimator of this class accepts."""
    if make is SKTuningTokenClassifier:
        return [[len(word) % 2 for word in text.split()] for text in texts]
    return TWO_KINDS[: len(texts)]


# Parameters


@each_estimator
def test_init_when_called_then_only_assigns(make):
    # Values of a wrong kind, each one of its own: nothing may be looked at or copied.
    parameters = inspect.signature(make).parameters.values()
    values = {parameter.name: object() for parameter in parameters}
    estimator = make(**values)
    assert vars(estimator) == estimator.get_params(deep=False) == values
    free = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert free == ["model", "prompt"]


def test_parameters_when_compared_then_are_the_same_but_for_the_targets():
    classifier, regressor, tagger = (make().get_params() for make in ALL)
    for name in ("class_weight", "ordinal", "label_texts", "threshold", "long_texts"):
        del classifier[name]
    for name in ("loss", "quantile", "long_texts"):
        del regressor[name]
    del tagger["class_weight"]
    assert classifier == regressor == tagger


@each_estimator
def test_docstring_when_read_then_describes_each_parameter_and_its_default(make):
    parameters = inspect.signature(make).parameters
    described = re.findall(r"^    (\w+) : (.*)$", make.__doc__, flags=re.MULTILINE)
    assert [name for name, _ in described[: len(parameters)]] == list(parameters)
    for name, kind in described[: len(parameters)]:
        default = kind.split("default=")[1].strip('"')
        assert default == str(parameters[name].default), name


def test_parameters_when_numpy_scalars_then_work_like_python_numbers(
    fast, texts, labels
):
    numbers = {
        "adapter_rank": 3,
        "tuned_layers": 1,
        "max_length": 12,
        "lr": 0.004,
        "max_epochs": 3,
        "batch_size": 6,
        "random_state": 7,
        "training__head_lr": 0.002,
        "training__validation_fraction": 0.4,
        "training__text_rank": 2,
    }
    scalars = {name: np.asarray(value)[()] for name, value in numbers.items()}
    one, other = (
        SKTuningClassifier(**fast).set_params(**values).fit(texts, labels)
        for values in (numbers, scalars)
    )
    assert one.config_ == other.config_
    np.testing.assert_array_equal(one.predict_proba(texts), other.predict_proba(texts))


# What is refused before a backbone is loaded


BAD_FITS = {
    "texts": ([*TEXTS[1:], 7], TWO_KINDS, None, "Got int"),
    "columns": (np.full((24, 3), "a"), TWO_KINDS, None, "X has 3 columns|shape"),
    "length": (TEXTS, TWO_KINDS[1:], None, "inconsistent numbers"),
    "labels": (TEXTS, [None] * 24, None, "Input y contains NaN|Got NoneType"),
    "weights": (TEXTS, None, -np.ones(24), "must not be negative"),
    "one text": (["a"], None, None, "fit needs at least 2 texts"),
}


@each_estimator
@pytest.mark.parametrize(
    ("X", "y", "weights", "message"), BAD_FITS.values(), ids=BAD_FITS
)
def test_fit_when_input_is_bad_then_refused_before_any_loading(
    make, X, y, weights, message
):
    y = targets_for(make, X) if y is None else y
    with pytest.raises((ValueError, TypeError), match=message):
        make(model=NOWHERE).fit(X, y, sample_weight=weights)


BAD_PARAMETERS = {
    "model": [3, None],
    "prompt": [3, b"rate"],
    "method": ["suffix", None],
    "adapter": ["lora", None],
    "adapter_rank": [0, 2.5, "8", None],
    "tuned_layers": [0, 1.5, "some", None],
    "max_length": [0, 10.5, "all"],
    "long_texts": ["cut", True, None],
    "lr": [0, -1e-3, "fast", None, float("nan")],
    "max_epochs": [0, 2.5, "many", None],
    "batch_size": [0, 8.0, None],
    "class_weight": ["heavy", [1, 2]],
    "ordinal": ["yes", None, 1.5],
    "label_texts": ["good", ["good", "bad"]],
    "threshold": [0, 1.0, "high", None],
    "device": [0, None],
    "model_kwargs": ["float32"],
    "training": [3],
    "warm_start": ["yes", None],
    "random_state": ["seed", -1],
    "early_stopping": ["yes", 1],
    "checkpoint_dir": [1, True],
    "time_limit": [0, -1, "short"],
    "verbose": [-1, "much"],
}


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for name, values in BAD_PARAMETERS.items() for value in values],
)
def test_fit_when_parameter_is_bad_then_error_names_it_before_any_loading(name, value):
    message = f"The '{name}' parameter of SKTuningClassifier must be .*Got "
    with pytest.raises(ValueError, match=message + re.escape(repr(value))):
        SKTuningClassifier(**{"model": NOWHERE, name: value}).fit(TEXTS, TWO_KINDS)


def test_bad_parameters_when_listed_then_leave_none_out():
    assert set(BAD_PARAMETERS) == set(SKTuningClassifier().get_params(deep=False))


@each_estimator
@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"prompt": "film: {"}, "'prompt' parameter is not a valid template"),
        ({"prompt": "film: {review}"}, r"'prompt' parameter .*slot"),
        ({"device": "cuda:99"}, "'device' parameter must be .*Got 'cuda:99' instead"),
        ({"tuned_layers": (2, 1)}, r"'tuned_layers' parameter .*Got \(2, 1\)"),
        (
            {"method": "prompt", "tuned_layers": 1},
            "'tuned_layers' parameter must be 'auto' with",
        ),
        (
            {"method": "prompt", "training": {"text_rank": 2}},
            "'training__text_rank' parameter must be 'auto' or 0 with",
        ),
        ({"training": {"dropout": 1}}, "'training__dropout' .* Got 1 instead"),
        ({"model_kwargs": {"torch_dtype": "auto"}}, "unknown key 'torch_dtype'"),
    ],
)
def test_fit_when_parameters_do_not_fit_then_refused_before_any_loading(
    make, parameters, message
):
    with pytest.raises(ValueError, match=message):
        make(**{"model": NOWHERE, **parameters}).fit(TEXTS, targets_for(make))


@pytest.mark.parametrize(
    ("make", "y"),
    [
        (SKTuningRegressor, TWO_KINDS),
        (SKTuningClassifier, np.stack([TWO_KINDS, 1 - TWO_KINDS], axis=1)),
    ],
    ids=["numbers", "several labels"],
)
def test_contrast_when_asked_for_where_it_cannot_work_then_refused_before_any_loading(
    make, y
):
    estimator = make(NOWHERE, training={"objective": "contrast"})
    with pytest.raises(ValueError, match="'objective' entry.* Got 'contrast' instead"):
        estimator.fit(TEXTS, y)


# What is there before and after a fit


@each_estimator
def test_estimator_when_not_fitted_then_error_says_so(make):
    estimator = make()
    section = make.__doc__.partition("Attributes")[2].partition("See Also")[0]
    documented = re.findall(r"\b([a-z]\w*_)\b", section)
    assert {"config_", "history_"} <= set(documented)
    for name in documented:
        assert not hasattr(estimator, name), name
    methods = {"predict", "predict_proba", "predict_log_proba", "decision_function"}
    for name in methods & set(dir(make)) | {"transform"}:
        with pytest.raises(NotFittedError, match=f"This {make.__name__} instance is"):
            getattr(estimator, name)(TEXTS)


@each_estimator
def test_config_when_fitted_then_is_complete_and_survives_pickling(make, fast, texts):
    # Nothing is given that has a default.
    fast = {"model": fast["model"], "max_epochs": 1, "device": "cpu"}
    estimator = make(**fast).fit(texts, targets_for(make))
    again = pickle.loads(pickle.dumps(estimator))
    assert again.config_ == estimator.config_
    for config in (again.config_.model, again.config_.training):
        open_fields = [name for name, value in vars(config).items() if value == "auto"]
        assert not open_fields
    assert estimator.config_.model.pooling == estimator.config_.training.pooling


def check_plain(value, path):
    """Check that a value is an array of numbers or str, or a JSON value."""
    if isinstance(value, dict):
        for name, each in value.items():
            assert type(name) is str, path
            check_plain(each, f"{path}.{name}")
    elif isinstance(value, list | tuple):
        for i, each in enumerate(value):
            check_plain(each, f"{path}[{i}]")
    elif isinstance(value, np.ndarray):
        assert value.dtype.kind in "biufU", path
    else:
        kinds = (str, bool, int, float, type(None))
        assert isinstance(value, kinds), f"{path} is {type(value)}"


STATES = {
    "classifier": (SKTuningClassifier, {"batch_size": np.int64(8)}, LABELS),
    "callbacks": (
        SKTuningClassifier,
        {"training": {"callbacks": [EpochScoring("accuracy")]}},
        LABELS,
    ),
    "several labels": (SKTuningClassifier, {}, np.eye(24, 3, dtype=int)),
    "ordered": (SKTuningClassifier, {"ordinal": True}, np.arange(24) % 3),
    "regressor": (SKTuningRegressor, {}, np.arange(24.0)),
    "tagger": (SKTuningTokenClassifier, {"class_weight": "balanced"}, None),
}


@pytest.mark.parametrize(("make", "changes", "y"), STATES.values(), ids=STATES)
def test_state_when_saved_then_holds_arrays_and_json_values_alone(
    make, changes, y, fast, texts
):
    y = targets_for(make) if y is None else y
    estimator = make(**fast | changes).fit(pd.DataFrame({"text": texts}), y)
    if make is not SKTuningTokenClassifier:  # whose partial_fit has an optimizer
        estimator.partial_fit(pd.DataFrame({"text": texts}), y)
    again = pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(estimator))))
    assert again.predict(texts).tolist() == estimator.predict(texts).tolist()
    state = estimator.__getstate__()["_fitted"]
    assert {"format", "model", "training", "task", "weights"} <= state.keys()
    check_plain(state, "state")


def test_texts_when_given_then_are_left_as_they_are(classifier):
    X, y = pd.DataFrame({"text": TEXTS}), pd.Series(LABELS)
    before = X.copy(), y.copy()
    classifier.fit(X, y).predict(X)
    pd.testing.assert_frame_equal(X, before[0])
    pd.testing.assert_series_equal(y, before[1])


# Fits that fail


class FailsAt(Callback):
    """Raise an error at one point of the training."""

    def __init__(self, point):
        setattr(self, point, self._fail)

    def _fail(self, net, **kwargs):
        raise RuntimeError("on purpose")


def failing_at(point):
    return {"training__callbacks": [FailsAt(point)]}


# Parameters, arguments and the error. The model of a fit that goes on is not built
# again: what is wrong with it is no matter to `partial_fit`.
FAILURES = {
    "labels": ({}, {"y": [None] * 24}, ValueError),
    "weights": ({}, {"sample_weight": -np.ones(24)}, ValueError),
    "prompt": ({"prompt": "{a} {a}"}, {}, ValueError),
    "training": ({"training__contrast": -1}, {}, ValueError),
    "on_train_begin": (failing_at("on_train_begin"), {}, RuntimeError),
    "on_batch_end": (failing_at("on_batch_end"), {}, RuntimeError),
    "on_epoch_end": (failing_at("on_epoch_end"), {}, RuntimeError),
    "on_train_end": (failing_at("on_train_end"), {}, RuntimeError),
}
FAILURES_TO_BUILD = {
    "model": ({"model": NOWHERE}, {}, BackboneNotFoundError),
    "layers": ({"tuned_layers": 9}, {}, ValueError),
    "long texts": ({"max_length": 4}, {}, TruncationWarning),  # an error in the test
}
FAILURES_TO_GO_ON = {
    "classes": ({}, {"y": ["one", "two", "three"] * 8}, ValueError),
    "columns": ({}, {"X": [(text, text) for text in TEXTS]}, ValueError),
}
# Whether it was fitted before, whether by a warm start, and what is called.
SITUATIONS = {
    "fit": (False, False, "fit"),
    "partial_fit": (False, False, "partial_fit"),
    "refit": (True, False, "fit"),
    "warm start": (True, True, "fit"),
    "later partial_fit": (True, False, "partial_fit"),
}
CASES = {}
for situation, what in SITUATIONS.items():
    failures = dict(FAILURES)
    if situation != "later partial_fit":
        failures |= FAILURES_TO_BUILD
    if situation in ("warm start", "later partial_fit"):
        failures |= FAILURES_TO_GO_ON
    for failure, how in failures.items():
        CASES[f"{situation}, {failure}"] = (*what, *how)


@pytest.mark.filterwarnings("error::sksemantic.TruncationWarning")
@pytest.mark.parametrize(
    ("was_fitted", "warm_start", "method", "params", "arguments", "error"),
    CASES.values(),
    ids=CASES,
)
def test_fit_when_it_fails_then_estimator_is_as_it_was(
    was_fitted, warm_start, method, params, arguments, error, fitted
):
    clf = copy.deepcopy(fitted) if was_fitted else clone(fitted)
    if was_fitted:
        expected = clf.predict_proba(TEXTS)
        values, history = values_of(clf.get_module()), copy.deepcopy(clf.history_)
    clf.set_params(warm_start=warm_start, **params)
    before = dict(vars(clf))
    arguments = {"X": TEXTS, "y": LABELS} | arguments
    if method == "partial_fit" and not was_fitted:
        arguments["classes"] = ["bad", "good"]
    with pytest.raises(error):
        getattr(clf, method)(**arguments)
    after = vars(clf)
    assert after.keys() == before.keys()
    assert all(after[name] is before[name] for name in before)
    if was_fitted:
        np.testing.assert_array_equal(clf.predict_proba(TEXTS), expected)
        np.testing.assert_array_equal(values_of(clf.get_module()), values)
        assert clf.history_ == history
