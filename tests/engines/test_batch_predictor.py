"""Predictions for batches of every kind, of every estimator."""

import pickle

import numpy as np
import pandas as pd
import pytest
from conftest import LABELS, TEXTS, quietly_fit
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from sksemantic import (
    BatchPredictor,
    SKTuningClassifier,
    SKTuningRegressor,
    SKTuningTokenClassifier,
)

pyarrow = pytest.importorskip("pyarrow")
METHODS = ("predict", "predict_proba", "decision_function", "transform")
FORMS = ("pandas", "arrow", "record batch", "lists", "arrays")


def batch_of(form, **columns):
    """Return a batch of one of the forms that engines have."""
    frame = pd.DataFrame(columns)
    if form == "pandas":
        return frame.set_index(pd.Index(range(10, 10 + len(frame))))
    if form == "arrow":
        return pyarrow.Table.from_pandas(frame, preserve_index=False)
    if form == "record batch":
        return pyarrow.RecordBatch.from_pandas(frame, preserve_index=False)
    if form == "lists":
        return columns
    return {name: np.array(values, object) for name, values in columns.items()}


def column_of(batch, name):
    """Return a column of a batch as lists."""
    column = batch[name]
    column = column.to_pylist() if hasattr(column, "to_pylist") else list(column)
    return [row.tolist() if isinstance(row, np.ndarray) else row for row in column]


@pytest.fixture
def predictor(fitted):
    return BatchPredictor(fitted, text="text")


@pytest.fixture
def tagger(fast):
    words = [text.split() for text in TEXTS]
    tags = [["noun" if word == "film" else "other" for word in x] for x in words]
    return quietly_fit(SKTuningTokenClassifier(**fast), words, tags)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("method", METHODS)
def test_predictor_when_called_then_adds_what_the_method_returns(form, method, fitted):
    predictor = BatchPredictor(fitted, "text", method=method, output="found")
    found = predictor(batch_of(form, id=[*range(24)], text=TEXTS))
    expected = getattr(fitted, method)(TEXTS)
    if expected.dtype.kind == "U":
        assert column_of(found, "found") == expected.tolist()
    else:
        np.testing.assert_allclose(column_of(found, "found"), expected, rtol=1e-6)
    assert column_of(found, "id") == [*range(24)]


@pytest.mark.parametrize("form", FORMS)
def test_predictor_when_batch_is_empty_then_column_is_too(form, predictor):
    found = predictor(batch_of(form, text=[]))
    assert column_of(found, "prediction") == []


@pytest.mark.parametrize("form", FORMS)
def test_batch_when_predicted_then_is_as_before(form, predictor):
    batch = batch_of(form, text=TEXTS)
    predictor(batch)
    assert "prediction" not in getattr(batch, "column_names", [*batch])


def test_predictor_when_frame_has_an_index_then_keeps_it(predictor):
    batch = batch_of("pandas", text=TEXTS[:5])
    assert predictor(batch).index.equals(batch.index)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("y", [LABELS, [7, 8] * 12, [True, False] * 12])
def test_meta_when_asked_then_has_the_types_of_predictions(y, method, fast):
    clf = quietly_fit(SKTuningClassifier(**fast), TEXTS, y)
    predictor = BatchPredictor(clf, "text", method=method, output="found")
    frame = pd.DataFrame({"text": TEXTS})
    found, meta = predictor(frame), predictor.meta(frame)
    pd.testing.assert_series_equal(found.dtypes, meta.dtypes)
    table = predictor(pyarrow.Table.from_pandas(frame))
    empty = predictor(pyarrow.Table.from_pandas(frame[:0]))
    assert table.schema.types[-1] == empty.schema.types[-1]
    assert not len(meta)


@pytest.mark.parametrize(
    ("y", "method", "expected"),
    [
        (LABELS, "predict", "string"),
        (np.array(LABELS, object), "predict", "string"),
        ([7, 8] * 12, "predict", "int64"),
        ([True, False] * 12, "predict", "bool"),
        ([[0, 1], [1, 0]] * 12, "predict", "list<item: int64>"),
        (LABELS, "predict_proba", "list<item: double>"),
        (LABELS, "decision_function", "double"),
        ([*"abc"] * 8, "decision_function", "list<item: double>"),
        (LABELS, "transform", "list<item: float>"),
    ],
)
def test_arrow_type_when_of_classes_then_fits_them(y, method, expected, fast):
    clf = quietly_fit(SKTuningClassifier(**fast), TEXTS, y)
    predictor = BatchPredictor(clf, "text", method=method)
    assert str(predictor.arrow_type) == expected


def test_arrow_type_when_of_numbers_then_is_double(fitted_regressor, fast):
    assert str(BatchPredictor(fitted_regressor, "text").arrow_type) == "double"
    y = np.c_[range(24), range(24)]
    several = quietly_fit(SKTuningRegressor(**fast), TEXTS, y)
    predictor = BatchPredictor(several, "text")
    assert str(predictor.arrow_type) == "list<item: double>"
    found = predictor(pd.DataFrame({"text": TEXTS}))["prediction"]
    np.testing.assert_allclose([*found], several.predict(TEXTS))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("method", ["predict", "predict_proba", "transform"])
def test_predictor_when_of_words_then_has_a_list_for_each_text(form, method, tagger):
    predictor = BatchPredictor(tagger, "words", method=method, output="found")
    words = [text.split() for text in TEXTS]
    found = column_of(predictor(batch_of(form, words=words)), "found")
    for one, other in zip(found, getattr(tagger, method)(words), strict=True):
        if method == "predict":
            assert [*one] == other
        else:
            np.testing.assert_allclose(np.array(one), other, rtol=1e-6)


def test_predict_fn_when_of_words_then_is_refused(tagger):
    predictor = BatchPredictor(tagger, "words")
    assert str(predictor.arrow_type) == "list<item: string>"
    with pytest.raises(ValueError, match="mapInPandas"):
        predictor.make_predict_fn()


def test_predict_fn_when_of_bool_then_is_refused(fast):
    clf = quietly_fit(SKTuningClassifier(**fast), TEXTS, [True, False] * 12)
    with pytest.raises(ValueError, match="does not take bool"):
        BatchPredictor(clf, "text").make_predict_fn()


def test_predictor_when_pickled_then_is_small_and_predicts_alike(predictor):
    content = pickle.dumps(predictor)
    assert len(content) < 2**20
    frame = pd.DataFrame({"text": TEXTS})
    pd.testing.assert_frame_equal(pickle.loads(content)(frame), predictor(frame))


def test_predictor_when_batches_are_mapped_then_each_is_predicted(predictor, fitted):
    batches = [pd.DataFrame({"text": TEXTS[i : i + 10]}) for i in (0, 10, 20)]
    found = pd.concat(predictor.map(iter(batches)))["prediction"]
    assert found.tolist() == fitted.predict(TEXTS).tolist()


def test_predictor_when_batch_is_large_then_few_rows_are_read_at_once(
    predictor, fitted, monkeypatch
):
    monkeypatch.setattr("sksemantic._engines.batch_predictor._MOST_ROWS", 7)
    found = predictor({"text": TEXTS})["prediction"]
    assert found.tolist() == fitted.predict(TEXTS).tolist()


@pytest.mark.parametrize("method", METHODS)
def test_predict_fn_when_called_then_returns_arrays(method, fitted):
    predict = BatchPredictor(fitted, "text", method=method).make_predict_fn()
    found = predict(np.array(TEXTS, object))
    expected = getattr(fitted, method)(TEXTS)
    assert found.shape == expected.shape
    if method != "predict":
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_predictor_when_of_pairs_then_reads_the_columns_by_name(fast):
    pairs = pd.DataFrame({"one": TEXTS, "two": TEXTS[::-1]})
    clf = quietly_fit(SKTuningClassifier(**fast), pairs, LABELS)
    predictor = BatchPredictor(clf, ["one", "two"], method="predict_proba")
    expected = clf.predict_proba(pairs)
    found = predictor(pairs[["two", "one"]].assign(other=0))
    np.testing.assert_allclose([*found["probabilities"]], expected, rtol=1e-6)
    found = predictor.make_predict_fn()(pairs.to_numpy())
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_predictor_when_saved_then_is_loaded_from_the_directory(
    fitted, fitted_regressor, tmp_path
):
    for i, estimator in enumerate((fitted, fitted_regressor)):
        estimator.save_pretrained(tmp_path / str(i), backbone=True)
        found = BatchPredictor(str(tmp_path / str(i)), "text")({"text": TEXTS})
        assert found["prediction"].tolist() == estimator.predict(TEXTS).tolist()


def test_predictor_when_of_a_pipeline_then_predicts_as_it_does(fast):
    step = FunctionTransformer(None)
    inner = make_pipeline(step, SKTuningClassifier(**fast))
    search = GridSearchCV(inner, {"sktuningclassifier__adapter_rank": [2]}, cv=2)
    other = make_pipeline(SKTuningClassifier(**fast), LogisticRegression())
    for estimator in (search, other):
        quietly_fit(estimator, TEXTS, LABELS)
        predictor = BatchPredictor(estimator, "text")
        assert str(predictor.arrow_type) == "string"
        found = predictor({"text": TEXTS})["prediction"]
        assert found.tolist() == estimator.predict(TEXTS).tolist()


def test_predictor_when_not_fitted_then_says_so(classifier):
    with pytest.raises(NotFittedError):
        BatchPredictor(classifier, "text")


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"text": 3}, TypeError, "'text' parameter must be the name of a column"),
        ({"text": []}, TypeError, "'text' parameter must be the name of a column"),
        ({"method": "score"}, ValueError, "'method' parameter must be one of"),
        ({"output": ""}, TypeError, "'output' parameter must be the name"),
        ({"estimator": 3}, TypeError, "'estimator' parameter must be a fitted"),
    ],
)
def test_predictor_when_a_parameter_is_wrong_then_says_which(
    changes, error, message, fitted
):
    with pytest.raises(error, match=message):
        BatchPredictor(**{"estimator": fitted, "text": "text"} | changes)


def test_predictor_when_method_is_not_there_then_says_so(fitted_regressor):
    with pytest.raises(ValueError, match="SKTuningRegressor does not have"):
        BatchPredictor(fitted_regressor, "text", method="predict_proba")


def test_predictor_when_directory_has_no_estimator_then_says_so(tmp_path):
    with pytest.raises(ValueError, match="where save_pretrained has put"):
        BatchPredictor(tmp_path, "text")


@pytest.mark.parametrize(
    ("batch", "error", "message"),
    [
        (TEXTS, TypeError, "batch must be a pandas DataFrame"),
        ({"review": TEXTS}, ValueError, r"must have the column\(s\) \['text'\]"),
        ({"text": TEXTS, "prediction": TEXTS}, ValueError, "'prediction' already"),
        ({"text": ["good", None]}, ValueError, "1 missing values"),
        ({"text": "good"}, TypeError, "batched=True"),
    ],
)
def test_predictor_when_batch_is_wrong_then_says_why(batch, error, message, predictor):
    with pytest.raises(error, match=message):
        predictor(batch)


@pytest.mark.parametrize("form", ["pandas", "arrow", "lists"])
def test_predictor_when_one_batch_is_mapped_then_says_so(form, predictor):
    with pytest.raises(TypeError, match="call the predictor itself"):
        predictor.map(batch_of(form, text=TEXTS[:2]))


def test_predictor_when_labels_are_dates_then_says_what_to_do(fast):
    days = np.array(["2020-01-01", "2020-01-02"] * 12, "datetime64[D]")
    clf = quietly_fit(SKTuningClassifier(**fast), TEXTS, days)
    with pytest.raises(ValueError, match="labels must be all str"):
        BatchPredictor(clf, "text")
    assert BatchPredictor(clf, "text", method="predict_proba")


def test_predictor_when_shown_then_names_its_parameters(predictor):
    assert repr(predictor) == (
        "BatchPredictor(SKTuningClassifier, text='text', method='predict', "
        "output='prediction')"
    )
