"""A class added later: a warm start keeps what was learned, and adds to the head."""

import copy
import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from conftest import LABELS, PROMPT, TEXTS, quietly_fit, scores_of, values_of
from sklearn.base import clone
from skorch.callbacks import Callback

from sksemantic import SKTuningClassifier, SKTuningTokenClassifier

NEW = ["paris", "london", "berlin", "rome"] * 2
MORE_TEXTS = [*TEXTS, *(f"{city} again" for city in NEW)]
MORE_LABELS = np.array([*LABELS, *["city"] * len(NEW)])  # sorted between the others
IS_NEW = MORE_LABELS == "city"
# Trains, and changes nothing; the linear probe is never kept instead.
NOTHING = {
    "lr": 1e-12,
    "training__head_lr": 1e-12,
    "training__clearly_better": 1e6,
}
NO_TEXT = "y has no text of 1 class.*'good'"


class StartState(Callback):
    """Note the weights that each training starts from; callbacks are copied by fit."""

    seen: list = []

    def on_train_begin(self, net, **kwargs):
        state = net.module_.state_dict()
        self.seen.append({name: value.clone() for name, value in state.items()})


@pytest.fixture
def start_states():
    StartState.seen.clear()
    return StartState()


@pytest.fixture
def grown(fitted):
    """Return a classifier of two classes that has been given a third."""
    clf = copy.deepcopy(fitted).set_params(warm_start=True, **NOTHING)
    return clf.fit(MORE_TEXTS, MORE_LABELS)


@pytest.fixture(scope="module")
def contrasted(tiny_roberta):
    """Return a classifier of two classes, trained by contrast; leave it as it is."""
    clf = SKTuningClassifier(
        tiny_roberta, PROMPT, lr=2e-2, device="cpu", random_state=0, warm_start=True
    )
    return quietly_fit(clf, TEXTS, LABELS)


def share_right(clf, rows):
    X = [text for text, is_one in zip(MORE_TEXTS, rows, strict=True) if is_one]
    return (clf.predict(X) == MORE_LABELS[rows]).mean()


def test_training_when_a_class_is_new_then_starts_from_what_was_learned(
    fitted, start_states
):
    clf = copy.deepcopy(fitted)
    clf.set_params(warm_start=True, training__callbacks=[start_states])
    clf.fit(MORE_TEXTS, MORE_LABELS)
    assert clf.classes_.tolist() == ["bad", "city", "good"]
    (start,) = start_states.seen
    former = fitted.get_module().state_dict()
    assert start.keys() == former.keys()
    for name, values in former.items():
        found = start[name][[0, 2]] if name.startswith("head") else start[name]
        np.testing.assert_array_equal(found, values, err_msg=name)
    assert start["head.weight"][1].abs().max() > 0


def test_head_when_a_class_is_new_then_its_row_is_made_of_its_texts(grown, fitted):
    probabilities = grown.predict_proba(MORE_TEXTS)[:, 1]
    assert probabilities[IS_NEW].min() > probabilities[~IS_NEW].max()
    before = fitted.decision_function(TEXTS)
    logits = grown.decision_function(TEXTS)
    np.testing.assert_allclose(logits[:, 2] - logits[:, 0], before, atol=1e-4)


def test_model_when_grown_then_is_cloned_saved_and_goes_on(grown, tmp_path):
    expected = grown.predict_proba(MORE_TEXTS)
    assert expected.shape == (len(MORE_TEXTS), 3)
    grown.save_pretrained(tmp_path / "saved")
    loaded = SKTuningClassifier.from_pretrained(tmp_path / "saved", model=grown.model)
    for again in (loaded, pickle.loads(pickle.dumps(grown))):
        np.testing.assert_allclose(again.predict_proba(MORE_TEXTS), expected, atol=1e-6)
        again.partial_fit(["paris again"], ["city"])
        labels = np.where(MORE_LABELS == "bad", "awful", MORE_LABELS)
        labels[:3] = "bad"
        again.fit(MORE_TEXTS, labels)
        assert again.classes_.tolist() == ["awful", "bad", "city", "good"]
    assert clone(grown).get_params() == grown.get_params()


@pytest.mark.parametrize("is_contrast", [False, True])
def test_classes_when_they_have_no_text_then_stay_known_and_a_warning_says_so(
    is_contrast, grown, contrasted
):
    clf = grown
    if is_contrast:
        clf = copy.deepcopy(contrasted).fit(MORE_TEXTS, MORE_LABELS)
        clf.set_params(lr=1e-12, max_epochs=1)  # only the head is fitted
    rows = MORE_LABELS != "good"
    X = [text for text, is_there in zip(MORE_TEXTS, rows, strict=True) if is_there]
    with pytest.warns(UserWarning, match=NO_TEXT):
        clf.fit(X, MORE_LABELS[rows])
    assert clf.classes_.tolist() == ["bad", "city", "good"]
    assert (clf.config_.training.objective == "contrast") == is_contrast
    assert share_right(clf, rows) > 0.7
    if is_contrast:
        assert share_right(clf, ~rows) > 0.2  # 0 with a head that does not know it


def test_linear_probe_when_a_class_has_no_text_then_it_still_knows_it(grown):
    rows = MORE_LABELS != "good"
    X = [text for text, is_there in zip(MORE_TEXTS, rows, strict=True) if is_there]
    module = grown.get_module()
    mean, scale = module.feature_mean.numpy(), module.feature_scale.numpy()
    features = (grown.transform(TEXTS) - mean) / scale
    known = grown.decision_function(TEXTS)[:, 2]
    with pytest.warns(UserWarning, match=NO_TEXT):
        grown.fit(X, MORE_LABELS[rows])
    found = grown.linear_probe_.scores(features)[:, 2]
    assert np.corrcoef(found, known)[0, 1] > 0.5


def test_contrast_when_a_class_is_new_then_goes_on(contrasted):
    clf = copy.deepcopy(contrasted).fit(MORE_TEXTS, MORE_LABELS)
    assert clf.config_.training.objective == "contrast"
    assert clf.comparison_ is None
    assert clf.score(MORE_TEXTS, MORE_LABELS) > 0.8


def test_contrast_when_training_goes_on_then_starts_where_it_ended(contrasted):
    clf = copy.deepcopy(contrasted).set_params(lr=1e-12, max_epochs=1)
    clf.fit(TEXTS, LABELS)
    assert clf.config_.training.objective == "contrast"
    np.testing.assert_allclose(
        values_of(clf.get_module().adapter),
        values_of(contrasted.get_module().adapter),
        atol=1e-6,
    )
    np.testing.assert_allclose(
        clf.predict_proba(TEXTS), contrasted.predict_proba(TEXTS), atol=1e-2
    )


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_features_when_the_head_is_trained_after_contrast_then_keep_their_length(
    method, contrasted
):
    clf = copy.deepcopy(contrasted)
    clf.set_params(lr=1e-12, training={"objective": "task", "head_lr": 1e-12})
    getattr(clf, method)(TEXTS, LABELS)
    assert clf.config_.model.has_unit_length
    np.testing.assert_allclose(
        clf.decision_function(TEXTS), contrasted.decision_function(TEXTS), atol=1e-3
    )


def test_contrast_when_the_head_was_trained_otherwise_then_refused(fitted):
    clf = copy.deepcopy(fitted).set_params(warm_start=True)
    clf.set_params(training__objective="contrast")
    with pytest.raises(ValueError, match="has_unit_length was False and would be True"):
        clf.fit(TEXTS, LABELS)


@pytest.mark.parametrize(
    ("y", "changes", "message"),
    [
        (["city"] * 24, {}, r"Got \['city'\] only; the classes were \['bad', 'good'\]"),
        (["good"] * 24, {}, "In a warm start, too, pass texts of all classes"),
        ([0, 1] * 12, {}, "labels of the kind of the fit before, str, such as 'bad'"),
        (
            ["good", "city"] * 12,
            {"label_texts": {"good": "good", "city": "a city"}},
            r"must name every class of the fit before .* without \['bad'\]",
        ),
        (
            ["good", "city", "bad"] * 8,
            {"ordinal": ["bad", "city", "good"]},
            "of the same kind as the fit before, classification. Got ordinal",
        ),
    ],
)
def test_fit_when_classes_cannot_be_added_then_says_so_before_any_loading(
    y, changes, message, fitted
):
    clf = copy.deepcopy(fitted).set_params(model="nobody/nowhere", warm_start=True)
    with pytest.raises(ValueError, match=message):
        clf.set_params(**changes).fit(TEXTS, y)


def test_partial_fit_when_a_class_is_new_then_error_says_what_adds_it(fitted):
    clf = copy.deepcopy(fitted)
    with pytest.raises(ValueError, match="To add a class, call fit with warm_start="):
        clf.partial_fit(["a film"], ["city"])
    with pytest.raises(ValueError, match="To add a class, call fit with warm_start="):
        clf.partial_fit(["a film"], ["city"], classes=["bad", "city", "good"])


def test_label_texts_when_a_new_class_has_no_text_then_its_row_is_made_of_them(fast):
    clf = SKTuningClassifier(**fast, label_texts={"good": "good film", "bad": "bad"})
    clf.set_params(warm_start=True).fit(TEXTS, LABELS)
    clf.set_params(label_texts={"good": "good film", "bad": "bad", "city": "paris"})
    clf.set_params(**NOTHING).fit(TEXTS, LABELS)
    assert clf.classes_.tolist() == ["bad", "city", "good"]
    logits = clf.decision_function(["paris", *TEXTS])
    assert logits[0, 1] > logits[1:, 1].max()
    assert logits[0].argmax() == 1


@pytest.mark.parametrize("order", [["low", "mid", "high"], ["low", "high", "mid"]])
def test_ordinal_when_a_class_is_new_then_steps_of_the_others_stay(order, fast):
    X = [f"{word} {i}" for i in range(8) for word in ("low", "high")]
    clf = SKTuningClassifier(**fast, ordinal=["low", "high"], warm_start=True)
    former = clf.fit(X, ["low", "high"] * 8).get_module().head.weight.detach().numpy()
    clf.set_params(**NOTHING, ordinal=order)
    clf.fit([*X, *(f"paris {i}" for i in range(8))], ["low", "high"] * 8 + ["mid"] * 8)
    assert clf.classes_.tolist() == ["high", "low", "mid"]
    weight = clf.get_module().head.weight.detach().numpy()
    np.testing.assert_allclose(weight[0], former[0], atol=1e-6)  # out of "low"
    mid, high = (scores_of(clf, [f"{word} 1"])[0, 1] for word in ("paris", "high"))
    assert (mid < high) == (order[1] == "mid")  # out of the second class


def test_labels_when_a_named_column_is_new_then_the_others_keep_their_rows(fast):
    X = [f"a {word} film" for word in ("good", "long", "dull")] * 8
    table = pd.DataFrame({"dull": [0, 0, 1] * 8, "long": [0, 1, 0] * 8})
    clf = SKTuningClassifier(**fast, warm_start=True).fit(X, table)
    former = clf.get_module().head.weight.detach().numpy()
    table.insert(1, "good", [1, 0, 0] * 8)
    clf.set_params(**NOTHING).fit(X, table)
    assert clf.label_names_.tolist() == ["dull", "good", "long"]
    assert clf.classes_.tolist() == [0, 1, 2]
    weight = clf.get_module().head.weight.detach().numpy()
    np.testing.assert_allclose(weight[[0, 2]], former, atol=1e-6)
    assert clf.predict_proba(X)[::3, 1].min() > clf.predict_proba(X)[1::3, 1].max()
    with pytest.raises(ValueError, match=r"'dull', 'good', 'long'.*Got \['dull', 'lo"):
        clf.fit(X, table[["dull", "long", "good"]])


@pytest.mark.parametrize("is_named", [True, False])
def test_labels_when_columns_have_no_names_then_a_new_one_is_refused(is_named, fast):
    table = pd.DataFrame(np.eye(24, 3, dtype=int), columns=["a", "b", "c"])
    first = table[["a", "b"]]
    clf = SKTuningClassifier(**fast, warm_start=True)
    clf.fit(TEXTS, first if is_named else first.to_numpy())
    clf.set_params(model="nobody/nowhere")
    with pytest.raises(ValueError, match="To add a label, pass y as a DataFrame"):
        clf.fit(TEXTS, table.to_numpy())


def test_tagger_when_a_label_is_new_then_the_others_keep_their_rows(fast):
    X = ["anna likes films", "a film of rome"] * 6
    two = [["PER", "O", "O"], ["O", "O", "O", "O"]] * 6
    three = [["PER", "O", "O"], ["O", "O", "O", "LOC"]] * 6
    tagger = SKTuningTokenClassifier(**fast, warm_start=True, class_weight="balanced")
    former = tagger.fit(X, two).get_module().head.weight.detach().numpy()
    tagger.set_params(**NOTHING).fit(X, three)
    assert tagger.classes_.tolist() == ["LOC", "O", "PER"]
    weight = tagger.get_module().head.weight.detach().numpy()
    np.testing.assert_allclose(weight[1:], former, atol=1e-6)
    assert tagger.predict(X[1:2])[0][-1] == "LOC"


def test_estimate_when_a_class_is_new_then_changes_nothing(fitted):
    clf = copy.deepcopy(fitted).set_params(warm_start=True)
    assert clf.estimate_fit_time(MORE_TEXTS, MORE_LABELS).seconds > 0
    assert clf.classes_.tolist() == ["bad", "good"]
    np.testing.assert_array_equal(clf.predict_proba(TEXTS), fitted.predict_proba(TEXTS))


def test_comparison_when_a_class_is_new_then_is_with_a_probe_of_all(fitted):
    clf = copy.deepcopy(fitted).set_params(warm_start=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        clf.fit(3 * MORE_TEXTS, np.tile(MORE_LABELS, 3))
    assert clf.linear_probe_.coef.shape == (3, 32)
    assert clf.comparison_.n_texts == 32
