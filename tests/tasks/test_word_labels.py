import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from sksemantic._tasks.word_labels import encode_word_labels

TEXTS = [["a", "b", "c"], ["d"], ["e", "f"], ["g", "h"]]
LABELS = [["Y", -100, "X"], ["Y"], [-100, -100], ["Y", "X"]]


def encode(y, weights=None, class_weight=None, former=None):
    return encode_word_labels(y, TEXTS, weights, class_weight, former)


def test_targets_when_words_are_unlabelled_then_have_no_class():
    found = encode(LABELS, np.array([1.0, 2.0, 9.0, 3.0]))
    assert found.task.classes.tolist() == ["X", "Y"]
    assert found.values.tolist() == [1, -1, 0, 1, 1, 0]
    assert found.labelled.tolist() == [0, 1, 3]
    assert found.weights.tolist() == [1, 2, 3]


def test_targets_when_every_text_has_a_label_then_none_is_left_out():
    found = encode([["Y", -100, "X"], ["Y"], ["X", "X"], [-100, "X"]])
    assert found.labelled is None
    assert found.weights is None
    assert found.values.tolist() == [1, -1, 0, 1, 0, 0, -1, 0]


def test_class_weights_when_balanced_then_unlabelled_words_do_not_count():
    weights = encode(LABELS, class_weight="balanced").task.class_weights
    own = ["Y", "X", "Y", "Y", "X"]
    expected = compute_class_weight("balanced", classes=np.array(["X", "Y"]), y=own)
    np.testing.assert_allclose(weights[0] / weights[1], expected[0] / expected[1])
    assert (3 * weights[1] + 2 * weights[0]) / 5 == pytest.approx(1)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        ([[-100] * len(words) for words in TEXTS], "y has no labelled word"),
        (
            [["X"] * 3, [None], [None] * 2, ["X"] * 2],
            r"at least two labels\. Got one only, 'X'",
        ),
    ],
)
def test_targets_when_labels_are_too_few_then_refused(y, message):
    with pytest.raises(ValueError, match=message):
        encode(y)


def test_targets_when_a_label_is_new_then_joins_those_of_before():
    former = encode(LABELS).task
    assert encode(LABELS, former=former).task.classes.tolist() == ["X", "Y"]
    y = [["Y", "Z", "X"], ["Y"], [-100, -100], ["Y", "X"]]
    assert encode(y, former=former).task.classes.tolist() == ["X", "Y", "Z"]


def test_targets_when_no_label_was_known_before_then_refused():
    former = encode(LABELS).task
    y = [["V", "Z", "V"], ["V"], [-100, -100], ["Z", "V"]]
    with pytest.raises(ValueError, match="y must hold labels of the fit before"):
        encode(y, former=former)
