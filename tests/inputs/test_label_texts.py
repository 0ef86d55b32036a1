import re

import numpy as np
import pytest

from sksemantic._inputs.label_texts import (
    check_label_texts,
    refuse_no_label,
    refuse_unnamed,
    texts_of_labels,
)


def test_label_texts_when_given_then_come_in_the_order_of_the_labels():
    labels, texts = check_label_texts({1: " great ", 0: ["bad", "dull"]})
    assert labels.tolist() == [0, 1]
    assert texts == [["bad", "dull"], ["great"]]


@pytest.mark.parametrize(
    ("label_texts", "message"),
    [
        ({0: "bad"}, r"Got 1 label\(s\) only"),
        ({0: "bad", "b": "good"}, "labels of one kind"),
        ({0: "bad", 1: " "}, r"Got ' ' for the label 1"),
        ({0: "bad", 1: []}, r"Got \[\] for the label 1"),
        ({0: ["bad", 3], 1: "good"}, re.escape("Got ['bad', 3] for the label 0")),
        ({0: ["bad", " "], 1: "good"}, re.escape("Got ['bad', ' '] for the label 0")),
        ({0: 5, 1: "good"}, "Got 5 for the label 0"),
        ({0: "bad", 1: None}, "Got None for the label 1"),
        ({0: "so", 1: " so"}, "own. Got 'so' for the labels 0 and 1"),
        ({"a": ["x", "y"], "b": ["z", "y"]}, "Got 'y' for the labels 'a' and 'b'"),
    ],
)
def test_label_texts_when_bad_then_error_says_what_is_wrong(label_texts, message):
    with pytest.raises(ValueError, match=message):
        check_label_texts(label_texts)


@pytest.mark.parametrize(
    ("labels", "named", "message"),
    [
        ([0, 2, 1], [0, 1], r"must name every label .* without \[2\]"),
        (["a", "b"], [0, 1], r"of the same kind\. Got \[0, 1\] .* \['a', 'b'\]"),
    ],
)
def test_labels_when_not_named_then_refused(labels, named, message):
    with pytest.raises(ValueError, match=message):
        refuse_unnamed(np.array(labels), np.array(named))
    refuse_unnamed(np.array(named), np.array(named))


def test_label_texts_when_a_character_is_cut_in_two_then_refused():
    with pytest.raises(ValueError, match="surrogate .* 'label_texts' parameter, lab"):
        check_label_texts({0: "bad", 1: "good \ud83d"})


@pytest.mark.parametrize(
    ("label", "text"),
    [
        ("sports", "sports"),
        ("not_spam", "not spam"),
        ("not-spam", "not spam"),
        ("_Sci/Tech ", "Sci Tech"),
        ("NotSpam", "Not Spam"),
        ("HTTPError", "HTTP Error"),
        ("rec.sport.hockey", "rec sport hockey"),
        ("the U.S. on YouTube", "the U.S. on YouTube"),
        ("5 stars", "5 stars"),
        ("US", "US"),
        ("体", "体"),
        ("क", "क"),
        ("class_struggle", "class struggle"),
        ("café", "café"),
    ],
)
def test_labels_when_words_then_are_their_own_texts(label, text):
    assert texts_of_labels(np.array(["other", label])) == [["other"], [text]]


@pytest.mark.parametrize(
    "labels",
    [
        [0, 1],
        [0.0, 1.0],
        [False, True],
        ["0", "1"],
        ["C01", "C02"],
        ["A", "B"],
        ["LABEL_0", "LABEL_1"],
        ["class 1", "class 2"],
        ["Topic", "Group"],
        ["---", "?!"],
        ["", " "],
    ],
)
def test_labels_when_no_words_then_refused_with_the_remedy(labels):
    got = f"Got {labels[0]!r}, {labels[1]!r}, no words"
    with pytest.raises(ValueError, match=re.escape(got) + r".*label_texts=\{label: "):
        texts_of_labels(np.array(labels))


def test_labels_when_one_of_many_is_no_word_then_it_is_named():
    with pytest.raises(ValueError, match="Got 'C01', no words"):
        texts_of_labels(np.array(["sports", "C01", "politics"]))
    many = [f"C{i}" for i in range(9)]
    with pytest.raises(ValueError, match="Got 'C0', 'C1', 'C2', 'C3', 'C4', ..., no"):
        texts_of_labels(np.array(many))


def test_labels_when_dates_or_objects_then_refused():
    days = np.array(["2020-01-01", "2020-01-02"], "datetime64[D]").astype(object)
    with pytest.raises(ValueError, match=r"Got datetime\.date\(2020, 1, 1\)"):
        texts_of_labels(days)


def test_labels_when_two_have_the_same_words_then_refused():
    message = "Got 'not spam' for the labels 'not spam' and 'not_spam'"
    with pytest.raises(ValueError, match=message):
        texts_of_labels(np.array(["not spam", "not_spam"]))


def test_labels_when_there_are_none_then_refused_unless_some_are_there():
    with pytest.raises(ValueError, match="if no text has a label.*Got 'labels'"):
        refuse_no_label(np.array([], int))
    refuse_no_label(np.array([3]))
