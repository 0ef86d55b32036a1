"""What holds for any texts and labels, which hypothesis draws."""

import copy
import pickle
from functools import cache
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from conftest import FAST, LABELS, TEXTS, quietly_fit
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.special import expit, softmax

from sksemantic import SKTuningClassifier, SKTuningRegressor, SKTuningTokenClassifier

pytestmark = [
    pytest.mark.thorough,
    pytest.mark.filterwarnings("ignore::sksemantic.UnreadableTextWarning"),
    pytest.mark.filterwarnings("ignore::sksemantic.TruncationWarning"),
]
# The same examples in each run, and nothing written beside the tests.
OPTIONS = {"deadline": None, "derandomize": True, "database": None}
OPTIONS["suppress_health_check"] = [HealthCheck.too_slow, HealthCheck.data_too_large]
many_examples = settings(max_examples=20, **OPTIONS)
some_examples = settings(max_examples=10, **OPTIONS)
few_examples = settings(max_examples=5, **OPTIONS)

texts_of_all_kinds = st.one_of(
    st.text(max_size=40),
    st.sampled_from(["", " ", "\n", "\x00", "good", "a good film", *TEXTS]),
    st.text(min_size=1, max_size=8).map(lambda text: 60 * text),
    st.text(alphabet="abc ", max_size=400),
)
some_texts = st.lists(texts_of_all_kinds, min_size=1, max_size=8)
some_words = st.lists(st.lists(texts_of_all_kinds, max_size=6), min_size=1, max_size=5)
labels_of_one_type = st.one_of(
    st.lists(st.text(max_size=5), min_size=2, max_size=4, unique=True),
    st.lists(st.integers(), min_size=2, max_size=4, unique=True),
    st.permutations([True, False]),
)
NUMBERS = np.where(np.array(LABELS) == "good", 5.0, 1.0) + np.arange(len(LABELS)) / 9
NAMES = [("one", "two", "three")[i % 3] for i in range(len(TEXTS))]


@pytest.fixture(
    scope="module",
    params=[("bert", "prefix"), ("gemma3", "prefix"), ("llama", "prompt")],
    ids="-".join,
)
def params(request):
    name, method = request.param
    model = request.getfixturevalue(f"tiny_{name}")
    return FAST | {"model": model, "method": method}


@pytest.fixture(scope="module")
def two_classes(params):
    return quietly_fit(SKTuningClassifier(**params), TEXTS, LABELS)


@pytest.fixture(scope="module")
def three_classes(params):
    return quietly_fit(SKTuningClassifier(**params), TEXTS, NAMES)


@pytest.fixture(scope="module")
def tagger(params):
    words = [text.split() for text in TEXTS]
    tags = [["noun" if word == "film" else "other" for word in x] for x in words]
    return quietly_fit(SKTuningTokenClassifier(**params), words, tags)


@pytest.fixture(scope="module")
def fitted_to(tiny_bert):
    """Return a function that fits to 24 labels, or numbers; each fit is made once."""
    params = FAST | {"model": tiny_bert}

    @cache
    def fitted_to(kind, y):
        estimators = {"labels": SKTuningClassifier, "numbers": SKTuningRegressor}
        return quietly_fit(estimators[kind](**params), TEXTS, list(y))

    return fitted_to


def assert_close(one, other):
    np.testing.assert_allclose(one, other, atol=1e-5, rtol=1e-5)


@many_examples
@given(texts=some_texts, data=st.data())
def test_prediction_when_companions_differ_then_is_the_same(three_classes, texts, data):
    order = data.draw(st.permutations(range(len(texts))))
    shuffled = [texts[i] for i in order]
    for method in (three_classes.predict_proba, three_classes.transform):
        expected = method(texts)
        assert_close(method(shuffled), expected[order])
        assert_close(method(texts + texts), np.concatenate([expected, expected]))
        assert_close(method(texts[:1]), expected[:1])


@many_examples
@given(texts=some_texts)
def test_probabilities_when_predicted_then_fit_the_labels_and_logits(
    two_classes, three_classes, texts
):
    for clf in (two_classes, three_classes):
        proba, logits = clf.predict_proba(texts), clf.decision_function(texts)
        np.testing.assert_allclose(proba.sum(axis=1), 1, rtol=1e-12)
        labels = clf.classes_[proba.argmax(axis=1)]
        np.testing.assert_array_equal(clf.predict(texts), labels)
        assert_close(np.exp(clf.predict_log_proba(texts)), proba)
        scaled = logits / clf.temperature_
        if len(clf.classes_) == 2:
            assert_close(proba[:, 1], expit(scaled))
        else:
            assert_close(proba, softmax(scaled, axis=1))


@few_examples
@given(names=st.permutations(("one", "two", "three")))
def test_labels_when_renamed_then_columns_are_in_another_order(fitted_to, names):
    new = dict(zip(("one", "two", "three"), names, strict=True))
    expected = fitted_to("labels", tuple(NAMES))
    renamed = fitted_to("labels", tuple(new[name] for name in NAMES))
    columns = [list(renamed.classes_).index(new[name]) for name in expected.classes_]
    proba = renamed.predict_proba(TEXTS)
    np.testing.assert_allclose(
        proba[:, columns], expected.predict_proba(TEXTS), atol=1e-4
    )


@some_examples
@given(
    scale=st.sampled_from([1e-9, 0.01, 3.0, 1e6]),
    shift=st.floats(-1e3, 1e3),
    sign=st.sampled_from([-1, 1]),
)
def test_numbers_when_scaled_then_predictions_are_too(fitted_to, scale, shift, sign):
    expected = fitted_to("numbers", tuple(NUMBERS)).predict(TEXTS)
    scale, shift = sign * scale, scale * shift
    y = scale * NUMBERS + shift
    found = fitted_to("numbers", tuple(y.tolist())).predict(TEXTS)
    np.testing.assert_allclose((found - shift) / scale, expected, rtol=1e-3, atol=1e-3)


@many_examples
@given(words=some_words)
def test_tagger_when_companions_differ_then_each_word_is_labelled_alike(tagger, words):
    labels, proba = tagger.predict(words), tagger.predict_proba(words)
    assert [*map(len, labels)] == [*map(len, words)]
    for i, text in enumerate(words):
        (alone,) = tagger.predict_proba([text])
        assert_close(alone, proba[i])
        assert proba[i].shape == (len(text), 2)
        np.testing.assert_allclose(proba[i].sum(axis=1), 1, rtol=1e-12)
        by_proba = tagger.classes_[proba[i].argmax(axis=1)].tolist()
        assert labels[i] == by_proba


@some_examples
@given(labels=labels_of_one_type, texts=some_texts)
def test_copies_when_labels_are_of_any_type_then_predict_the_same(
    fitted_to, labels, texts
):
    y = [labels[i % len(labels)] for i in range(len(TEXTS))]
    clf = fitted_to("labels", tuple(y))
    assert set(clf.classes_.tolist()) == set(labels)
    copies = [pickle.loads(pickle.dumps(clf))]
    with TemporaryDirectory() as folder:
        clf.save_pretrained(folder)
        copies.append(SKTuningClassifier.from_pretrained(folder, model=clf.model))
    expected = clf.predict(texts)
    assert set(expected.tolist()) <= set(labels)
    for copied in copies:
        np.testing.assert_array_equal(copied.predict(texts), expected, strict=True)
        np.testing.assert_array_equal(copied.classes_, clf.classes_, strict=True)
        np.testing.assert_array_equal(
            copied.predict_proba(texts), clf.predict_proba(texts)
        )


@many_examples
@given(texts=some_texts, words=some_words)
def test_inputs_when_predicted_then_stay_as_they_were(
    two_classes, tagger, texts, words
):
    array = np.array(texts, dtype=object)
    before = copy.deepcopy((texts, words, array))
    for X in (texts, array):
        two_classes.predict(X)
        two_classes.transform(X)
    tagger.predict(words)
    assert (texts, words) == before[:2]
    np.testing.assert_array_equal(array, before[2])


@few_examples
@given(data=st.data(), texts=st.lists(texts_of_all_kinds, min_size=4, max_size=8))
def test_inputs_when_fitted_to_then_stay_as_they_were(tiny_bert, data, texts):
    labels = data.draw(
        st.lists(st.booleans(), min_size=len(texts), max_size=len(texts))
    )
    labels[:4] = [True, False, True, False]
    weights = np.arange(1.0, len(texts) + 1)
    before = copy.deepcopy((texts, labels, weights))
    clf = SKTuningClassifier(**FAST | {"model": tiny_bert})
    quietly_fit(clf, texts, labels, sample_weight=weights)
    assert (texts, labels) == before[:2]
    np.testing.assert_array_equal(weights, before[2])
