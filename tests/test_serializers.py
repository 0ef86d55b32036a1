"""Pickles of other packages: cloudpickle and skops, here and in a fresh process."""

import pickle
import re
from pathlib import Path

import numpy as np
import pytest
from conftest import FAST, LABELS, TEXTS, quietly_fit

from sksemantic import SKTuningClassifier, SKTuningRegressor, SKTuningTokenClassifier

cloudpickle = pytest.importorskip("cloudpickle")
skops = pytest.importorskip("skops.io")

GUIDE = Path(__file__).parents[1] / "docs/guide/saving.md"
NUMBERS = np.where(np.array(LABELS) == "good", 5.0, 1.0)
WORDS = [text.split() for text in TEXTS]
TAGS = [["long" if len(word) > 4 else "short" for word in words] for words in WORDS]
KINDS = {
    "classes": (SKTuningClassifier, TEXTS, np.array(LABELS)),
    "labels": (SKTuningClassifier, TEXTS, np.stack([NUMBERS > 2, NUMBERS < 9], 1) * 1),
    "numbers": (SKTuningRegressor, TEXTS, NUMBERS),
    "words": (SKTuningTokenClassifier, WORDS, TAGS),
}


@pytest.fixture(params=KINDS)
def made(request, fast):
    """Return a fitted estimator of each kind, and its texts."""
    kind, X, y = KINDS[request.param]
    return quietly_fit(kind(**fast), X, y), X


def predictions(estimator, X):
    """Return what an estimator predicts, flat."""
    return np.concatenate([np.ravel(rows) for rows in estimator.predict(X)]).tolist()


def test_skops_when_loaded_then_predicts_identically_and_trusts_one_class(made):
    estimator, X = made
    saved = skops.dumps(estimator)
    untrusted = skops.get_untrusted_types(data=saved)
    assert untrusted == [f"sksemantic.{type(estimator).__name__}"]
    loaded = skops.loads(saved, trusted=untrusted)
    assert predictions(loaded, X) == predictions(estimator, X)
    assert loaded.history_ == estimator.history_


def test_skops_when_nothing_is_trusted_then_does_not_load(fitted):
    with pytest.raises(TypeError, match=r"sksemantic\.SKTuningClassifier"):
        skops.loads(skops.dumps(fitted))


def test_skops_when_loaded_then_trains_on_as_without(fast, texts, labels):
    clf = SKTuningClassifier(**fast)
    clf.partial_fit(texts, labels, classes=["bad", "good"])
    saved = skops.dumps(clf)
    loaded = skops.loads(saved, trusted=skops.get_untrusted_types(data=saved))
    np.testing.assert_array_equal(
        loaded.partial_fit(texts, labels).predict_proba(texts),
        clf.partial_fit(texts, labels).predict_proba(texts),
    )


def test_guide_when_it_names_the_trusted_classes_then_they_are_the_three():
    if not GUIDE.is_file():
        pytest.skip("not part of this distribution")
    part = GUIDE.read_text("utf-8").partition("## Pickles and skops")[2]
    names = re.findall(r"sksemantic\.SKTuning\w+", part.partition("\n## ")[0])
    assert {*names} == {f"sksemantic.{kind.__name__}" for kind, *_ in KINDS.values()}


def test_cloudpickle_when_loaded_then_predicts_identically(made):
    estimator, X = made
    loaded = cloudpickle.loads(cloudpickle.dumps(estimator))
    assert predictions(loaded, X) == predictions(estimator, X)


def test_estimators_when_loaded_in_a_fresh_process_then_predict_identically(
    fitted, tiny_bert, tmp_path, run_python
):
    words = quietly_fit(SKTuningTokenClassifier(model=tiny_bert, **FAST), WORDS, TAGS)
    (tmp_path / "clf.pkl").write_bytes(cloudpickle.dumps(fitted))
    skops.dump(fitted, tmp_path / "clf.skops")
    skops.dump(words, tmp_path / "words.skops")
    (tmp_path / "texts.pkl").write_bytes(pickle.dumps((TEXTS, WORDS)))
    run_python(
        """
        import pickle, skops.io

        def load(name):
            trusted = skops.io.get_untrusted_types(file=name)
            return skops.io.load(name, trusted=trusted)

        texts, words = pickle.load(open("texts.pkl", "rb"))
        clf = pickle.load(open("clf.pkl", "rb"))
        found = clf.predict_proba(texts), load("clf.skops").predict_proba(texts)
        found += (load("words.skops").predict(words),)
        pickle.dump(found, open("found.pkl", "wb"))
        """
    )
    expected = fitted.predict_proba(TEXTS)
    by_pickle, by_skops, tags = pickle.loads((tmp_path / "found.pkl").read_bytes())
    np.testing.assert_array_equal(by_pickle, expected)
    np.testing.assert_array_equal(by_skops, expected)
    assert [*map(list, tags)] == [*map(list, words.predict(WORDS))]
