import re
from collections import UserList, deque

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse
from conftest import FAST, LABELS, TEXTS
from sklearn.exceptions import DataConversionWarning, NotFittedError

from sksemantic import (
    BackboneNotFoundError,
    SKTuningClassifier,
    SKTuningRegressor,
)
from sksemantic._inputs.columns import check_texts

NOWHERE = "nobody/no-such-backbone"  # whoever looks for it raises another error
BOTH = [SKTuningClassifier, SKTuningRegressor]
NUMBERS = np.arange(len(TEXTS), dtype=float)

both = pytest.mark.parametrize("make", BOTH)


def column(values):
    """Return a one-column 2-D array of objects."""
    return np.array(values, dtype=object)[:, None]


FORMS = {
    "list": list,
    "tuple": tuple,
    "deque": deque,
    "user list": UserList,
    "object array": lambda X: np.array(X, dtype=object),
    "str array": np.array,
    "read-only array": lambda X: np.frombuffer(
        np.array(X).tobytes(), np.array(X).dtype
    ),
    "object Series": lambda X: pd.Series(X, dtype=object),
    "string Series": lambda X: pd.Series(X, dtype="string[python]"),
    "arrow string Series": lambda X: pd.Series(X, dtype="string[pyarrow]"),
    "ArrowDtype Series": lambda X: pd.Series(X, dtype=pd.ArrowDtype(pa.string())),
    "default Series": pd.Series,
    "categorical Series": lambda X: pd.Series(X, dtype="category"),
    "Series with an index": lambda X: pd.Series(X, index=range(len(X), 0, -1)),
    "pandas array": lambda X: pd.array(X, dtype="string[python]"),
    "Index": pd.Index,
    "pyarrow Array": pa.array,
    "pyarrow ChunkedArray": lambda X: pa.chunked_array([X[:5], X[5:]]),
    "pyarrow large strings": lambda X: pa.array(X, pa.large_string()),
    "pyarrow dictionary": lambda X: pa.array(X).dictionary_encode(),
    "polars Series": pl.Series,
    "polars categorical": lambda X: pl.Series(X, dtype=pl.Categorical),
    "pandas table": lambda X: pd.DataFrame({"text": X}),
    "polars table": lambda X: pl.DataFrame({"text": X}),
    "pyarrow table": lambda X: pa.table({"text": X}),
    "object column": column,
    "str column": lambda X: np.array(X)[:, None],
    "list of lists": lambda X: [[text] for text in X],
    "list of tuples": lambda X: [(text,) for text in X],
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_texts_when_in_any_form_then_are_plain_strings(form):
    (found,) = check_texts(form(TEXTS)).values
    assert found == TEXTS
    assert {type(text) for text in found} == {str}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_predict_when_texts_come_in_any_form_then_is_the_same(form, fitted):
    np.testing.assert_array_equal(fitted.predict(form(TEXTS)), fitted.predict(TEXTS))


@pytest.mark.parametrize("name", ["list", "default Series", "polars table"])
def test_fit_when_texts_come_in_some_form_then_is_the_same(name, fitted, fast):
    clf = SKTuningClassifier(**fast).fit(FORMS[name](TEXTS), LABELS)
    np.testing.assert_array_equal(clf._scores(TEXTS), fitted._scores(TEXTS))


@pytest.mark.parametrize(
    "text", ["", " ", "\n\t", "\u200b", "ü", "漢字", "a\x00b", "🎬"]
)
def test_texts_when_empty_blank_or_odd_then_are_legal(text, fitted):
    assert check_texts([text]).values == [[text]]
    assert fitted.predict_proba([text]).sum() == pytest.approx(1.0)


def test_texts_when_given_then_are_left_as_they_are(classifier):
    X = pd.DataFrame({"text": TEXTS})
    y = pd.Series(LABELS)
    before = X.copy(), y.copy()
    classifier.fit(X, y).predict(X)
    pd.testing.assert_frame_equal(X, before[0])
    pd.testing.assert_series_equal(y, before[1])


HOLES = {
    "None": ["a", None, "b", None],
    "nan": ["a", float("nan"), "b", np.nan],
    "NA": ["a", pd.NA, "b", pd.NA],
    "NaT": ["a", pd.NaT, "b", pd.NaT],
}
HOLED = {
    **HOLES,
    "object array": np.array(HOLES["None"], dtype=object),
    "object Series": pd.Series(HOLES["nan"], dtype=object),
    "string Series": pd.Series(HOLES["None"], dtype="string[python]"),
    "arrow Series": pd.Series(HOLES["None"], dtype="string[pyarrow]"),
    "default Series": pd.Series(HOLES["None"]),
    "categorical": pd.Series(HOLES["None"], dtype="category"),
    "pyarrow": pa.array(HOLES["None"]),
    "polars": pl.Series(HOLES["None"]),
    "pandas table": pd.DataFrame({"text": HOLES["None"]}),
    "polars table": pl.DataFrame({"text": HOLES["None"]}),
    "column": column(HOLES["None"]),
}


@pytest.mark.parametrize("X", HOLED.values(), ids=HOLED)
def test_texts_when_some_are_missing_then_error_names_the_rows_and_the_remedy(X):
    message = r"X contains 2 missing values .* in row\(s\) 1, 3\..*fillna\(''\)"
    with pytest.raises(ValueError, match=message):
        SKTuningClassifier(model=NOWHERE).fit(X, [0, 1, 0, 1])


def test_texts_when_many_are_missing_then_only_the_first_rows_are_named():
    with pytest.raises(
        ValueError, match=r"8 missing .* row\(s\) 0, 1, 2, 3, 4, \.\.\."
    ):
        check_texts([None] * 8)


BAD_TEXTS = {
    "bare string": ("a film", ValueError, r"Got a single str instead\. Pass \[X\]"),
    "bytes": (b"a film", ValueError, "Got a single bytes instead"),
    "generator": (
        (text for text in TEXTS),
        TypeError,
        r"Got generator instead, which can be read only once.*Pass list\(X\)",
    ),
    "iterator": (map(str, TEXTS), TypeError, "Got map instead, which can be read only"),
    "dict": ({"text": TEXTS}, TypeError, "Got dict instead"),
    "set": (set(TEXTS), TypeError, "Got set instead"),
    "None": (None, TypeError, "Got NoneType instead"),
    "number": (3, TypeError, "Got int instead"),
    "scalar array": (np.array("a"), ValueError, "Got a 0-dimensional array instead"),
    "sparse": (scipy.sparse.csr_matrix(np.eye(3)), TypeError, r"Got csr_\w+ instead"),
    "three columns": (
        pd.DataFrame({"text": TEXTS, "title": TEXTS, "author": TEXTS}),
        ValueError,
        r"X has 3 columns \('text', 'title', 'author'\).* Select .* X\['text'\]",
    ),
    "three polars columns": (
        pl.DataFrame({"text": TEXTS, "title": TEXTS, "author": TEXTS}),
        ValueError,
        r"X has 3 columns \('text', 'title', 'author'\)",
    ),
    "wide array": (
        np.full((3, 4), "a"),
        ValueError,
        "X has 4 columns; with a 'prompt'",
    ),
    "number in a pair": (
        [("a", "b"), ("a", 1)],
        TypeError,
        r"Got int \(1\) in row 1 of column 1 instead",
    ),
    "hole in a pair": (
        pd.DataFrame({"a": ["x", None], "b": ["y", "z"]}),
        ValueError,
        r"1 missing values .* row\(s\) 1 of column 'a'",
    ),
    "deep array": (np.full((3, 1, 1), "a"), ValueError, r"shape \(3, 1, 1\) instead"),
    "ragged": ([("a",), ("a", "b")], ValueError, "Row 1 has 2 entries instead of 1"),
    "text among pairs": ([("a", "b"), "c"], ValueError, "Row 1 has a str instead of 2"),
    "empty tuples": ([(), ()], ValueError, "Row 0 has 0 entries instead of 1"),
    "numbers": (np.arange(3), TypeError, r"Got int \(0\) in row 0 instead; 3 row\(s\)"),
    "number among texts": (["a", "b", 7], TypeError, r"Got int \(7\) in row 2 instead"),
    "number column": (pd.DataFrame({"n": [1.5, 2]}), TypeError, r"Got float \(1\.5\)"),
    "list of bytes": ([b"a", b"b"], TypeError, r"Got bytes \(b'a'\).* Decode bytes"),
    "bytes array": (
        np.array([b"a", b"b"]),
        TypeError,
        "Got bytes.* Decode bytes first",
    ),
    "booleans": ([True, False], TypeError, r"Got bool \(True\) in row 0"),
    "empty list": ([], ValueError, r"Found array with 0 sample\(s\): X is empty"),
    "empty Series": (pd.Series([], dtype=object), ValueError, "X is empty"),
    "empty table": (pd.DataFrame({"text": []}), ValueError, "X is empty"),
    "empty array": (np.empty((0, 1), object), ValueError, "X is empty"),
}


@both
@pytest.mark.parametrize(("X", "error", "message"), BAD_TEXTS.values(), ids=BAD_TEXTS)
def test_fit_when_X_is_bad_then_error_says_so_before_any_loading(
    make, X, error, message
):
    with pytest.raises(error, match=message):
        make(model=NOWHERE).fit(X, [0, 1, 2])


@pytest.mark.parametrize(("X", "error", "message"), BAD_TEXTS.values(), ids=BAD_TEXTS)
def test_predict_when_X_is_bad_then_error_says_so(X, error, message, fitted):
    with pytest.raises(error, match=message):
        fitted.predict(X)


@both
@pytest.mark.parametrize("n", [1, 23, 25])
def test_fit_when_lengths_differ_then_error_gives_both(make, n):
    message = rf"inconsistent numbers of samples: \[{len(TEXTS)}, {n}\]"
    with pytest.raises(ValueError, match=message):
        make(model=NOWHERE).fit(TEXTS, np.arange(n) % 2)


@both
def test_fit_when_y_is_none_then_refused(make):
    with pytest.raises(ValueError, match="requires y to be passed"):
        make(model=NOWHERE).fit(TEXTS, None)


@both
def test_fit_when_y_is_a_column_then_is_flattened_with_a_warning(make, fast):
    y = (np.arange(len(TEXTS)) % 2)[:, None]
    with pytest.warns(DataConversionWarning, match="column-vector"):
        estimator = make(**fast).fit(TEXTS, y)
    assert estimator.predict(TEXTS).shape == (len(TEXTS),)


TWO_KINDS = np.array([0, 1] * (len(TEXTS) // 2))
STRINGS = np.array(["no", "yes"])[TWO_KINDS]
LABEL_FORMS = {
    "list of int": TWO_KINDS.tolist(),
    "list of str": STRINGS.tolist(),
    "tuple of str": tuple(STRINGS.tolist()),
    "list of bool": (TWO_KINDS == 1).tolist(),
    "int array": TWO_KINDS,
    "negative int array": TWO_KINDS - 5,
    "uint8 array": TWO_KINDS.astype(np.uint8),
    "whole floats": TWO_KINDS.astype(float),
    "bool array": TWO_KINDS == 1,
    "str array": STRINGS,
    "object array of str": STRINGS.astype(object),
    "object array of int": TWO_KINDS.astype(object),
    "object array of bool": (TWO_KINDS == 1).astype(object),
    "object Series of str": pd.Series(STRINGS, dtype=object),
    "object Series of int": pd.Series(TWO_KINDS, dtype=object),
    "object Series of bool": pd.Series(TWO_KINDS == 1, dtype=object),
    "default Series of str": pd.Series(STRINGS),
    "string Series": pd.Series(STRINGS, dtype="string[python]"),
    "arrow string Series": pd.Series(STRINGS, dtype="string[pyarrow]"),
    "nullable int Series": pd.Series(TWO_KINDS, dtype="Int64"),
    "nullable bool Series": pd.Series(TWO_KINDS == 1, dtype="boolean"),
    "arrow int Series": pd.Series(TWO_KINDS, dtype=pd.ArrowDtype(pa.int64())),
    "categorical Series of str": pd.Series(STRINGS, dtype="category"),
    "categorical Series of int": pd.Series(TWO_KINDS, dtype="category"),
    "categorical Series of bool": pd.Series(TWO_KINDS == 1, dtype="category"),
    "Categorical with an unused category": pd.Categorical(
        STRINGS, categories=["yes", "maybe", "no"]
    ),
    "pyarrow": pa.array(STRINGS),
    "polars Series of str": pl.Series(STRINGS.tolist()),
    "polars Series of int": pl.Series(TWO_KINDS),
    "polars categorical": pl.Series(STRINGS.tolist(), dtype=pl.Categorical),
    "table": pd.DataFrame({"label": STRINGS}),
}


@pytest.mark.parametrize("y", LABEL_FORMS.values(), ids=LABEL_FORMS)
@pytest.mark.filterwarnings(
    "ignore:A column-vector y:sklearn.exceptions.DataConversionWarning"
)
def test_labels_when_of_any_kind_then_classes_and_predictions_are_of_theirs(y, fast):
    clf = SKTuningClassifier(**{**fast, "max_epochs": 1}).fit(TEXTS, y)
    expected = np.unique(np.asarray(y)).tolist()
    assert clf.classes_.tolist() == expected
    predicted = clf.predict(TEXTS)
    assert predicted.dtype == clf.classes_.dtype
    assert set(predicted.tolist()) <= set(expected)


@pytest.mark.parametrize("y", [STRINGS, TWO_KINDS, TWO_KINDS == 1])
def test_labels_when_renamed_then_predictions_are_renamed_alike(y, fast):
    clf = SKTuningClassifier(**fast).fit(TEXTS, y)
    reference = SKTuningClassifier(**fast).fit(TEXTS, TWO_KINDS)
    expected = clf.classes_[reference.predict(TEXTS)]
    np.testing.assert_array_equal(clf.predict(TEXTS), expected)


BAD_LABELS = {
    "one class": (["a"] * 24, r"at least two classes\. Got one class only, \['a'\]"),
    "numbers": (NUMBERS + 0.5, "Unknown label type: continuous"),
    "None among str": (["a", None, "b"] * 8, r"8 labels are missing.*row\(s\) 1, 4, 7"),
    "nan": ([0.0, np.nan, 1.0] * 8, "8 labels are missing"),
    "NA": (pd.Series([1, pd.NA, 0] * 8, dtype="Int64"), "8 labels are missing"),
    "polars null": (pl.Series(["a", None, "b"] * 8), "8 labels are missing"),
    "str and int": (
        np.array(["a", 1] * 12, dtype=object),
        "labels of one kind.* Got a mix of int, str instead",
    ),
}


@pytest.mark.parametrize(("y", "message"), BAD_LABELS.values(), ids=BAD_LABELS)
def test_classifier_when_y_is_bad_then_error_says_so_before_any_loading(y, message):
    with pytest.raises(ValueError, match=message):
        SKTuningClassifier(model=NOWHERE).fit(TEXTS, y)


BAD_TARGETS = {
    "nan": (np.where(NUMBERS == 3, np.nan, NUMBERS), "Input y contains NaN"),
    "inf": (np.where(NUMBERS == 3, np.inf, NUMBERS), "Input y contains infinity"),
    "str": (
        LABELS,
        r"must hold numbers for a regressor\. Got str .*SKTuningClassifier",
    ),
    "numerals": (["1", "2"] * 12, r"Got str instead.*y\.astype\(float\)"),
    "object str": (np.array(LABELS, object), "must hold numbers for a regressor"),
    "None": ([1.0, None] * 12, "Input y contains NaN"),
    "NA": (pd.Series([1, pd.NA] * 12, dtype="Int64"), "NaN|NA"),
    "complex": (NUMBERS + 1j, "[Cc]omplex"),
    "one str": ([1.0] * 23 + ["b"], "must hold numbers for a regressor"),
}


@pytest.mark.parametrize(("y", "message"), BAD_TARGETS.values(), ids=BAD_TARGETS)
def test_regressor_when_y_is_bad_then_error_says_so_before_any_loading(y, message):
    with pytest.raises(ValueError, match=message):
        SKTuningRegressor(model=NOWHERE).fit(TEXTS, y)


TARGET_FORMS = {
    "ints": NUMBERS.astype(int),
    "list": NUMBERS.tolist(),
    "float32": NUMBERS.astype(np.float32),
    "object": NUMBERS.astype(object),
    "bool": NUMBERS > 11,
    "Series": pd.Series(NUMBERS),
    "nullable Series": pd.Series(NUMBERS, dtype="Float64"),
    "arrow Series": pd.Series(NUMBERS, dtype=pd.ArrowDtype(pa.float64())),
    "polars": pl.Series(NUMBERS),
    "pyarrow": pa.array(NUMBERS),
}


@pytest.mark.parametrize("y", TARGET_FORMS.values(), ids=TARGET_FORMS)
def test_regressor_when_y_is_in_any_form_then_predicts_floats(y, fast):
    reg = SKTuningRegressor(**{**fast, "max_epochs": 1}).fit(TEXTS, y)
    predicted = reg.predict(TEXTS)
    assert predicted.dtype == np.float64
    assert np.isfinite(predicted).all()


ONES = np.ones(len(TEXTS))
BAD_WEIGHTS = {
    "too few": (ONES[1:], r"shape|inconsistent"),
    "negative": (
        np.where(NUMBERS == 2, -1.0, 1.0),
        r"must not be negative.*got -1\.0 in row 2 instead",
    ),
    "nan": (np.where(NUMBERS == 2, np.nan, 1.0), "NaN"),
    "inf": (np.where(NUMBERS == 2, np.inf, 1.0), "infinity"),
    "all zero": (0 * ONES, "must not be all zero|at least one non-zero"),
    "two columns": (np.ones((24, 2)), "1D array or scalar"),
    "str": (["heavy"] * 24, "could not convert string to float"),
}


@both
@pytest.mark.parametrize(("weight", "message"), BAD_WEIGHTS.values(), ids=BAD_WEIGHTS)
def test_fit_when_sample_weight_is_bad_then_error_says_so_before_any_loading(
    make, weight, message
):
    with pytest.raises(ValueError, match=message):
        make(model=NOWHERE).fit(TEXTS, TWO_KINDS, sample_weight=weight)


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


@both
@pytest.mark.parametrize("layers", [(1,), (2, 2), (-1, 2), (0, 1.5), [0, True]])
def test_fit_when_range_of_layers_is_bad_then_refused_before_any_loading(make, layers):
    message = f"'tuned_layers' parameter must be 'all', .*Got {re.escape(repr(layers))}"
    with pytest.raises(ValueError, match=message):
        make(model=NOWHERE, tuned_layers=layers).fit(TEXTS, TWO_KINDS)


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


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prompt": "film " * 200}, "'prompt' parameter is too long"),
        ({"max_length": 500}, "'max_length' parameter must be between 3 and 128"),
        ({"max_length": 2}, "'max_length' parameter must be between 3 and 128"),
        ({"n_layers": 3}, "'n_layers' parameter must be 'auto', 'all' or at most 2"),
        ({"tuned_layers": 3}, "'tuned_layers' parameter must be 'all', at most 2"),
        (
            {"n_layers": 1, "tuned_layers": 2},
            "'tuned_layers' parameter must be 'all', at most 1",
        ),
        (
            {"tuned_layers": (1, 3)},
            r"within \(0, 2\), .* Got \(1, 3\)",
        ),
    ],
)
def test_fit_when_parameter_does_not_suit_the_backbone_then_error_says_so(
    changes, message, fast
):
    with pytest.raises(ValueError, match=message):
        SKTuningClassifier(**{**fast, **changes}).fit(TEXTS, LABELS)


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
