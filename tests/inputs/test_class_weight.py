"""The `class_weight` parameter: what it says, and what it may not say."""

import numpy as np
import pytest

from sksemantic._inputs.class_weight import weights_of_classes

CLASSES = np.array(["bad", "fair", "good"])
INDICES = np.array([0, 0, 0, 2])


def weights(class_weight, indices=INDICES, classes=CLASSES):
    return weights_of_classes(class_weight, classes, indices).tolist()


def test_weights_when_balanced_then_absent_classes_have_one():
    # 4 texts over 2 classes that occur, of 3 and of 1 text.
    assert weights("balanced") == pytest.approx([4 / (2 * 3), 1, 4 / (2 * 1)])


def test_weights_when_one_class_alone_occurs_then_it_has_one():
    assert weights("balanced", np.array([2, 2])) == [1, 1, 1]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"good": 2, "bad": 0.5}, [0.5, 1, 2]),
        ({"good": 0}, [1, 1, 0]),
        ({np.str_("good"): np.float32(3)}, [1, 1, 3]),
        # As in scikit-learn: a label that does not occur, in a fold for example.
        ({"good": 2, "bad": 1, "fair": 1, "never": 5}, [1, 1, 2]),
        ({}, [1, 1, 1]),
    ],
)
def test_weights_when_given_then_others_have_one(given, expected):
    indices = np.array([0, 1, 2])
    assert weights(given, indices) == expected


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"good": -1}, "finite numbers >= 0. Got -1 for the label 'good'"),
        ({"good": float("nan")}, "Got nan for the label 'good'"),
        ({"bad": float("inf")}, "Got inf for the label 'bad'"),
        ({"bad": "2"}, "Got '2' for the label 'bad'"),
        ({"bad": None}, "Got None for the label 'bad'"),
        ({"bad": True}, "Got True for the label 'bad'"),
        ({"awful": 2}, r"must have the labels of y as keys. Got \['awful'\]"),
        ({"good": 0}, r"at least two classes .* Got 0 for \['good'\]"),
    ],
)
def test_weights_when_impossible_then_the_label_is_named(given, message):
    with pytest.raises(ValueError, match=f"'class_weight' parameter .*{message}"):
        weights(given)
