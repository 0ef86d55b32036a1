import warnings
from datetime import date

import numpy as np
import pandas as pd
import pytest
from sklearn.utils.class_weight import compute_sample_weight

from sksemantic import UnlabelledWarning
from sksemantic._tasks.classification import Classification
from sksemantic._tasks.labels import LabelEncoder

NAMES = {"good": ["a good film", "a great film"], "bad": "a bad film"}
TWO_NAMES = {0: "bad", 1: "good"}
ORDERED = ["low", "high", "low", "high"]
DATES = [date(2024, month, 1) for month in (5, 3, 4, 1)]
TABLE = np.eye(4, 2, dtype=int)


def encode(
    y, weights=None, former=None, n_texts=4, threshold=0.5, classes=None, **parameters
):
    given = {"class_weight": None, "ordinal": False, "label_texts": None} | parameters
    encoder = LabelEncoder(**given, threshold=threshold)
    return encoder.encode(y, n_texts, weights, former, classes)


@pytest.mark.parametrize(
    "y",
    [["good", -1, "bad", "-1"], np.array(["good", -1, "bad", "-1"], dtype=object)],
    ids=["list", "array"],
)
def test_labels_when_minus_one_then_texts_and_their_weights_are_left_out(y):
    found = encode(y, np.array([1.0, 9.0, 2.0, 9.0]), label_texts=NAMES)
    assert found.task.classes.tolist() == ["bad", "good"]
    assert found.values.tolist() == [1, 0]
    assert found.weights.tolist() == [1, 2]
    assert found.labelled.tolist() == [0, 2]
    assert found.label_texts == [["a bad film"], ["a good film", "a great film"]]


@pytest.mark.parametrize(
    ("y", "label_texts"),
    [
        ([1, None, 0, np.nan], None),
        (np.array([1.0, np.nan, 0.0, np.nan]), None),
        (pd.Series([1, pd.NA, 0, pd.NA], dtype="Int64"), None),
        (["no", None, "ja", None], None),
        ([1, None, 0, -1], TWO_NAMES),
    ],
    ids=["list", "float", "Int64", "str", "named"],
)
@pytest.mark.filterwarnings("ignore::sksemantic.UnlabelledWarning")
def test_labels_when_some_are_missing_then_texts_and_their_weights_are_left_out(
    y, label_texts
):
    found = encode(y, np.array([1.0, 9.0, 2.0, 9.0]), label_texts=label_texts)
    assert len(found.task.classes) == 2
    assert found.values.tolist() == [1, 0]
    assert found.weights.tolist() == [1, 2]
    assert found.labelled.tolist() == [0, 2]


@pytest.mark.parametrize("ordinal", [True, [2, 0, 1]])
@pytest.mark.filterwarnings("ignore::sksemantic.UnlabelledWarning")
def test_labels_when_ordered_and_some_are_missing_then_are_left_out(ordinal):
    found = encode([0, 1, None, 2], ordinal=ordinal)
    assert found.labelled.tolist() == [0, 1, 3]


def test_labels_when_missing_then_warns_unless_that_is_all_that_there_is():
    with pytest.warns(UnlabelledWarning, match=r"2 of 4 texts, .* row\(s\) 0, 3"):
        encode([None, 1, 0, None])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(encode([None] * 4, label_texts=TWO_NAMES).values) == 0
        encode([1, -1, 0, -1], label_texts=TWO_NAMES)


@pytest.mark.parametrize(
    "y", [[1, None, -1, 0], [0, -1, -1, 1, -1], ["a", "-1", "-1", "b", "-1"]]
)
def test_labels_when_minus_one_looks_like_no_label_then_says_it_is_a_class(y):
    with pytest.warns(UnlabelledWarning) as told:
        found = encode(y, n_texts=len(y))
    assert any("-1 for" in str(w.message) for w in told)
    assert len(found.task.classes) == 3


@pytest.mark.parametrize("y", [[-1, 1, -1, -1], [-1, 0, 1, -1], ["a", "b", "a", "b"]])
def test_labels_when_minus_one_is_like_any_class_then_is_quiet(y):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encode(y)


def test_indicators_when_rows_are_missing_then_texts_and_their_weights_are_left_out():
    y = np.array([[0, 1], [np.nan, np.nan], [1, 1], [np.nan, np.nan]])
    with pytest.warns(UnlabelledWarning, match=r"2 of 4 texts, .* row\(s\) 1, 3"):
        found = encode(y, np.array([1.0, 9.0, 2.0, 9.0]))
    assert found.values.tolist() == [[0, 1], [1, 1]]
    assert found.weights.tolist() == [1, 2]
    assert found.labelled.tolist() == [0, 2]
    with pytest.raises(ValueError, match="Input y contains NaN: partial_fit"):
        encode(y, classes=np.arange(2))


def test_labels_when_missing_in_partial_fit_then_refused():
    with pytest.raises(ValueError, match="Input y contains NaN"):
        encode([1, None, 0, 1], classes=np.array([0, 1]))


@pytest.mark.parametrize("label_texts", [None, {-1: "bad", 1: "good"}])
def test_labels_when_minus_one_is_a_class_then_none_is_left_out(label_texts):
    found = encode([1, -1, -1, 1], label_texts=label_texts)
    assert found.task.classes.tolist() == [-1, 1]
    assert found.values.tolist() == [1, 0, 0, 1]
    assert found.labelled is None


def test_labels_when_all_are_missing_then_classes_are_those_with_texts():
    found = encode([-1] * 4, label_texts=TWO_NAMES)
    assert found.task.classes.tolist() == [0, 1]
    assert len(found.values) == len(found.labelled) == 0


@pytest.mark.parametrize(
    ("y", "labelled", "texts"),
    [
        (["not_spam", "spam", "spam", "spam"], None, ["not spam", "spam"]),
        (["spam", -1, "-1", "not_spam"], [0, 3], ["not spam", "spam"]),
        (["spam", None, None, "ham"], [0, 3], ["ham", "spam"]),
        (["ab", "cd", "ef", "gh"], None, ["ab", "cd", "ef", "gh"]),
    ],
    ids=["all", "minus one", "missing", "four"],
)
@pytest.mark.filterwarnings("ignore::sksemantic.UnlabelledWarning")
def test_labels_when_they_are_the_texts_then_come_in_the_order_of_the_classes(
    y, labelled, texts
):
    found = encode(y, label_texts="labels")
    assert found.label_texts == [[text] for text in texts]
    assert found.task.classes.tolist() == sorted({*y} - {-1, "-1", None})
    kept = None if found.labelled is None else found.labelled.tolist()
    assert kept == labelled


@pytest.mark.parametrize("missing", [-1, None, "-1"])
def test_labels_when_they_are_the_texts_and_all_are_missing_then_refused(missing):
    with pytest.raises(ValueError, match="if no text has a label"):
        encode([missing] * 4, label_texts="labels")


@pytest.mark.parametrize("weights", [None, np.array([1.0, 2.0, 3.0, 4.0])])
@pytest.mark.parametrize("class_weight", ["balanced", {"rare": 5, "common": 2}])
def test_class_weight_when_given_then_multiplies_the_weights(class_weight, weights):
    y = ["rare", "common", "common", "common"]
    found = encode(y, weights, class_weight=class_weight).weights
    expected = compute_sample_weight(class_weight, y)
    np.testing.assert_allclose(found, expected * (1 if weights is None else weights))


def test_threshold_when_there_are_several_labels_then_each_may_have_its_own():
    assert encode(TABLE, threshold=[0.2, 0.9]).task.is_multilabel
    with pytest.raises(ValueError, match="'threshold' parameter"):
        encode([0, 1, 0, 1], threshold=[0.2, 0.9])


def test_task_when_training_goes_on_then_is_the_former_one():
    former = encode([0, 1, 2, 3], ordinal=True).task
    assert encode([3, 2, 1, 0], former=former, ordinal=True).task is former


@pytest.mark.parametrize(
    ("y", "ordinal", "message"),
    [
        ([4, 5, 4, 5], True, "and would be forgotten. Pass texts of all classes"),
        ([0, 1, 2, 3], False, "of the same kind .* ordinal. Got classification"),
        (np.eye(4, dtype=int), False, "of the same kind .* ordinal. Got multilabel"),
        ([0, 1, 2, 3], [3, 2, 1, 0], "'ordinal' .* before, .0, 1, 2, 3.. Got .3, 2,"),
    ],
)
def test_task_when_training_goes_on_with_another_then_refused(y, ordinal, message):
    former = encode([0, 1, 2, 3], ordinal=True).task
    with pytest.raises(ValueError, match=message):
        encode(y, former=former, ordinal=ordinal)


@pytest.mark.parametrize(
    ("former", "y", "expected"),
    [
        ([0, 2, 0, 2], [0, 1, 2, 1], [0, 1, 2]),
        (["b", "d", "b", "d"], ["b", "d", "ccc", "b"], ["b", "ccc", "d"]),
        ([*DATES[:2]] * 2, [*DATES], sorted(DATES)),
    ],
    ids=["int", "str", "date"],
)
def test_classes_when_training_goes_on_then_are_those_of_both_fits(former, y, expected):
    task = encode(former).task
    found = encode(y, former=task)
    assert found.task.classes.tolist() == expected
    places = found.task.former_outputs(task)
    for label, place in zip(expected, places, strict=True):
        assert place == ([*task.classes].index(label) if label in former else -1)


def test_classes_when_one_has_no_text_then_stays_and_a_warning_says_so():
    former = encode([0, 1, 2, 2]).task
    with pytest.warns(UserWarning, match=r"no text of 1 class.* \[2\]: the model may"):
        found = encode([0, 1, 3, 3], former=former)
    assert found.task.classes.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("flag", [False, np.False_])
def test_task_when_ordinal_is_false_then_classes_have_no_order(flag):
    assert type(encode([0, 1, 0, 1], ordinal=flag).task) is Classification


def test_classes_when_several_labels_and_named_then_refused():
    with pytest.raises(ValueError, match=r"np\.arange\(2\).* Got \['a', 'b'\]"):
        encode(TABLE, classes=np.array(["a", "b"]))
    assert encode(TABLE, classes=np.arange(2)).task.classes.tolist() == [0, 1]


def test_class_weight_when_balanced_and_a_label_has_no_text_then_others_count():
    found = encode([1, 1, -1, -1], label_texts=TWO_NAMES, class_weight="balanced")
    assert found.weights.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("y", "parameters", "message"),
    [
        ([None] * 4, {}, "Input y contains NaN: 4 labels are missing"),
        (["a"] * 4, {}, r"at least two classes\. Got one class only, \['a'\]"),
        ([0, 1, 0, 1], {"class_weight": {0: 1, 2: 2}}, "not among"),
        (
            TABLE,
            {"class_weight": "balanced"},
            "'class_weight' parameter must be left",
        ),
        (TABLE, {"ordinal": True}, "The 'ordinal' parameter must be left alone"),
        (TABLE * 2, {}, r"of 0 and 1\. Got \[2, 0\] in row 0"),
        (
            TABLE,
            {"label_texts": TWO_NAMES},
            "'label_texts' parameter must be None",
        ),
        (
            pd.DataFrame(TABLE, columns=["sports", "politics"]),
            {"label_texts": "labels"},
            "must be None with several labels a text.* Got 'labels' instead",
        ),
        (
            [0, 1, 0, 1],
            {"label_texts": TWO_NAMES, "ordinal": True},
            "'label_texts' parameter must be None",
        ),
        (
            ORDERED,
            {"ordinal": True},
            "must list the classes in their order",
        ),
        (ORDERED, {"ordinal": ["low"]}, r"every class of y once: \['high', 'low'\]"),
        (ORDERED, {"ordinal": ["low", "mid"]}, "must list every class of y once"),
        (ORDERED, {"ordinal": ["low", "high", "low"]}, "list every class of y once"),
        (["ugly", -1, -1, -1], {"label_texts": NAMES}, r"every label.*\['ugly'\]"),
        (["a", "b", "a", "b"], {"label_texts": TWO_NAMES}, "of y as keys, of the same"),
        (["a", "b", "a", "b"], {"label_texts": {}}, r"Got 0 label\(s\) only"),
        ([0, 1, -1, 0], {"label_texts": "labels"}, "Got 0, 1, no words"),
    ],
)
def test_labels_when_they_do_not_suit_the_parameters_then_refused(
    y, parameters, message
):
    with pytest.raises(ValueError, match=message):
        encode(y, **parameters)
