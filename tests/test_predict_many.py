import numpy as np
import pytest
from conftest import FAST, LABELS, TEXTS
from sklearn.exceptions import NotFittedError

from sksemantic import (
    SKTuningClassifier,
    SKTuningRegressor,
    SKTuningTokenClassifier,
    predict_many,
    predict_proba_many,
)

LENGTHS = [len(text) for text in TEXTS]
WORDS = [text.split() for text in TEXTS]


@pytest.fixture(scope="module")
def estimators(tiny_bert):
    """Fitted estimators of all kinds, with prompts of different lengths."""
    params = FAST | {"model": tiny_bert}
    other = params | {"prompt": "what is said of it"}
    pairs = [(text, text[2:]) for text in TEXTS]
    word_labels = [["long" if len(w) > 4 else "short" for w in ws] for ws in WORDS]
    several = [[len(text) % 2, len(text) > 12] for text in TEXTS]
    return {
        "labels": SKTuningClassifier(**params).fit(TEXTS, LABELS),
        "several": SKTuningClassifier(**other).fit(TEXTS, np.array(several, int)),
        "ordered": SKTuningClassifier(**other, ordinal=True).fit(
            TEXTS, np.clip(LENGTHS, 10, 12)
        ),
        "pairs": SKTuningClassifier(**params).fit(pairs, LABELS),
        "number": SKTuningRegressor(**other).fit(TEXTS, LENGTHS),
        "words": SKTuningTokenClassifier(**params).fit(WORDS, word_labels),
    }


def requests_of(estimators):
    X = {"pairs": [(text, "film") for text in TEXTS[:4]], "words": WORDS[:4]}
    return [
        (each, X.get(name, TEXTS[i : i + 6]))
        for i, (name, each) in enumerate(estimators.items())
    ]


def test_predict_many_when_estimators_differ_in_all_then_each_answers_as_alone(
    estimators,
):
    requests = requests_of(estimators)
    for found, (estimator, X) in zip(predict_many(requests), requests, strict=True):
        expected = estimator.predict(X)
        assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
        if found.dtype.kind == "f":
            np.testing.assert_allclose(found, expected, rtol=1e-5)
        else:
            assert found.tolist() == expected.tolist()


def test_predict_proba_many_when_called_then_each_answers_as_alone(estimators):
    requests = requests_of(estimators | {"number": estimators["labels"]})
    answers = predict_proba_many(requests)
    for found, (estimator, X) in zip(answers, requests, strict=True):
        expected = estimator.predict_proba(X)
        assert found.shape == expected.shape
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-5)


def test_predict_many_when_an_estimator_comes_twice_then_both_are_answered(estimators):
    clf = estimators["labels"]
    one, other = predict_many([(clf, TEXTS[:2]), (clf, TEXTS[2:5])])
    assert (len(one), len(other)) == (2, 3)
    assert predict_many([]) == []


def test_predict_many_when_no_text_has_words_then_their_answers_are_empty(estimators):
    (found,) = predict_many([(estimators["words"], [[], []])])
    assert found.tolist() == [[], []]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda clf: clf, TypeError, r"requests\[1\] must be a pair"),
        (lambda clf: (TEXTS, clf), TypeError, r"requests\[1\] must begin with"),
        (lambda clf: (clf, "a film"), ValueError, r"requests\[1\]: X"),
        (lambda clf: (clf, ["a", 3]), (TypeError, ValueError), r"requests\[1\]: X"),
        (lambda clf: (SKTuningClassifier(), TEXTS), NotFittedError, r"requests\[1\]: "),
    ],
)
def test_predict_many_when_a_request_is_wrong_then_its_place_is_named(
    change, error, message, estimators, monkeypatch
):
    clf = estimators["labels"]
    module = clf.get_module()
    monkeypatch.setattr(module.backbone.model, "forward", None)  # nothing is run
    with pytest.raises(error, match=message):
        predict_many([(clf, TEXTS), change(clf)])


def test_predict_proba_many_when_one_is_a_regressor_then_refused(estimators):
    with pytest.raises(TypeError, match="that has predict_proba. Got SKTuningRegr"):
        predict_proba_many([(estimators["number"], TEXTS)])


@pytest.mark.parametrize("as_requests", [lambda clf: (clf, TEXTS), lambda clf: None])
def test_predict_many_when_it_is_no_list_of_pairs_then_says_so(as_requests, fitted):
    with pytest.raises(
        TypeError, match=r"a list of pairs.*\[\(estimator, X\), \.\.\.\]"
    ):
        predict_many(as_requests(fitted))
