"""Marks of texts without a label, in every form that users have them."""

import numpy as np
import pandas as pd
import pytest
from conftest import TEXTS

from sksemantic import SKTuningClassifier

NAMES = {"neg": "a bad film", "pos": "a good film"}
NUMBERS = {0: "a bad film", 1: "a good film"}
TRUTHS = {False: "a bad film", True: "a good film"}
pytestmark = pytest.mark.filterwarnings("ignore::sksemantic.UnlabelledWarning")


@pytest.mark.parametrize(
    ("y", "names"),
    [
        (["pos", "neg", pd.NA] * 8, NAMES),
        (pd.Series(["pos", "neg", pd.NA] * 8, dtype="string"), NAMES),
        (pd.Series([1, 0, None] * 8, dtype="Int64"), NUMBERS),
        (pd.Series([True, False, None] * 8, dtype="boolean"), TRUTHS),
        (pd.DataFrame({"y": ["pos", "neg", None] * 8}), NAMES),
    ],
    ids=["NA", "string", "Int64", "boolean", "DataFrame"],
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.DataConversionWarning")
def test_labels_when_some_are_missing_then_are_those_of_the_others(y, names, fast):
    for label_texts in (None, names):
        clf = SKTuningClassifier(**fast, label_texts=label_texts).fit(TEXTS, y)
        assert clf.classes_.tolist() == [*names]
        assert type(clf.classes_.tolist()[0]) is type([*names][0])
        assert 0 <= clf.score(TEXTS, y) <= 1


@pytest.mark.parametrize("form", [list, tuple])
def test_rows_when_a_list_has_none_among_them_then_these_are_unlabelled(form, fast):
    rows = [form(row) for row in ([1, 0], [0, 1], [1, 1])]
    y = [rows[0], rows[1], None, rows[2]] * 6
    clf = SKTuningClassifier(**fast).fit(TEXTS, y)
    kept = [i for i in range(24) if y[i] is not None]
    texts, labels = [TEXTS[i] for i in kept], np.array([y[i] for i in kept])
    assert clf.score(TEXTS, y) == clf.score(texts, labels)


@pytest.mark.parametrize("changes", [{"class_weight": "balanced"}, {"training": 0}])
def test_fit_when_no_text_has_a_label_then_options_of_training_do_no_harm(
    changes, fast
):
    if "training" in changes:
        changes = {"training": {"min_texts_per_class": 0}}
    clf = SKTuningClassifier(**fast | {"label_texts": NAMES} | changes)
    assert len(clf.fit(TEXTS, [-1] * 24).history_) == 0


@pytest.mark.parametrize(
    ("label_texts", "message"),
    [
        (
            {"neg": "Film", "pos": " film"},
            "texts of its own. Got 'film' for the labels",
        ),
        ({"neg": "\U0001f600", "pos": "\U0001f621"}, "backbone can tell apart. Got"),
        ({None: "x", **NAMES}, "Got the label None, which marks none"),
    ],
)
@pytest.mark.filterwarnings("ignore::sksemantic.UnreadableTextWarning")
def test_label_texts_when_they_tell_no_labels_apart_then_says_so(
    label_texts, message, fast, tiny_bert
):
    clf = SKTuningClassifier(**fast | {"model": tiny_bert}, label_texts=label_texts)
    with pytest.raises(ValueError, match=message):
        clf.fit(TEXTS, ["neg", "pos"] * 12)


def test_label_texts_when_labels_have_been_numbered_then_says_who_does_that(fast):
    clf = SKTuningClassifier(**fast, label_texts=NAMES)
    with pytest.raises(ValueError, match="replaces labels by their numbers.*the keys"):
        clf.fit(TEXTS, [0, 1] * 12)


def test_ordinal_when_it_lists_a_class_that_a_fold_lacks_then_others_keep_their_order(
    fast,
):
    clf = SKTuningClassifier(**fast, ordinal=["low", "mid", "high"])
    clf.fit(TEXTS, ["high", "low"] * 12)
    assert clf.classes_.tolist() == ["high", "low"]
    proba = clf.predict_proba(TEXTS)
    other = SKTuningClassifier(**fast, ordinal=["low", "high"])
    np.testing.assert_allclose(
        other.fit(TEXTS, ["high", "low"] * 12).predict_proba(TEXTS), proba
    )


def test_labels_when_they_have_fractions_then_says_what_to_do(fast):
    with pytest.raises(ValueError, match=r"Got 1.5 in row 1.*SKTuningRegressor"):
        SKTuningClassifier(**fast, ordinal=True).fit(TEXTS, [1.0, 1.5, 2.0] * 8)
