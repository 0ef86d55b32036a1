"""Which words of a text speak for which class, or for how much."""

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import LABELS, TEXTS, load_tiny
from sklearn.base import clone

from sksemantic import SKTuningClassifier, SKTuningRegressor
from sksemantic._inputs.words import split_words

X = ["a good film, isn't it?", "", "dull"]
WORDS = [["a", "good", "film", ",", "isn't", "it", "?"], [], ["dull"]]


def without(text, word):
    return text.replace(word, "", 1)


def test_explain_when_called_then_has_a_score_for_each_word_and_class(fitted):
    explanations = fitted.explain(X)
    assert [each.words for each in explanations] == WORDS
    assert [each.text for each in explanations] == X
    for each, words, label in zip(explanations, WORDS, fitted.predict(X), strict=True):
        assert each.scores.shape == (len(words), 2)
        assert each.names == ["bad", "good"]
        assert each.prediction == label
        np.testing.assert_allclose(each.scores.sum(axis=1), 0, atol=1e-6)
        assert [each.text[start:end] for _, start, end in each.spans] == words
    first = explanations[0]
    (word, score), *_ = first.top("good", 1)
    assert score == first.scores[:, 1].max()
    assert word == first.words[first.scores[:, 1].argmax()]
    assert first.top() == first.top(first.prediction)
    with pytest.raises(ValueError, match=r"one of \['bad', 'good'\]. Got 'fair'"):
        first.top("fair")


@pytest.mark.parametrize("method", ["prefix", "prompt"])
def test_gradients_when_integrated_then_add_up_to_what_the_words_change(
    method, fast, tiny_bert
):
    changes = {"model": tiny_bert, "method": method}
    clf = SKTuningClassifier(**fast | changes).fit(TEXTS, LABELS)
    module, tokenizer = clf.get_module(), load_tiny(tiny_bert).tokenizer
    for text in ("a good film", "dull song of the year"):
        ids = torch.tensor([tokenizer(text)["input_ids"]])
        hidden = torch.full_like(ids, tokenizer.mask_token_id)
        hidden[:, [0, -1]] = ids[:, [0, -1]]
        mask = torch.ones_like(ids)
        with torch.no_grad():
            outputs = module(input_ids=ids, attention_mask=mask)
            outputs = outputs - module(input_ids=hidden, attention_mask=mask)
        expected = (outputs - outputs.mean(dim=1, keepdim=True))[0]
        (found,) = clf.explain([text], method="integrated_gradients", n_steps=64)
        np.testing.assert_allclose(found.scores.sum(axis=0), expected, atol=2e-3)


@pytest.mark.parametrize("name", ["bert", "llama", "gemma3"])
def test_methods_when_compared_then_agree_on_what_matters(name, fast, tiny):
    changes = {"model": tiny(name), "max_epochs": 20, "lr": 2e-2}
    clf = SKTuningClassifier(**fast | changes).fit(TEXTS, LABELS)
    found = [
        np.concatenate(
            [each.scores[:, 1] for each in clf.explain(TEXTS, method=method)]
        )
        for method in ("integrated_gradients", "occlusion", "shapley")
    ]
    assert np.corrcoef(found)[:2, 1:].min() > 0.4


def test_gradients_when_steps_do_not_fit_at_once_then_are_the_same(fitted, monkeypatch):
    texts, options = TEXTS[:3], {"method": "integrated_gradients", "n_steps": 5}
    expected = fitted.explain(texts, **options)
    backbone = fitted.get_module().backbone
    monkeypatch.setattr(type(backbone), "training_tokens", 30)
    for one, other in zip(fitted.explain(texts, **options), expected, strict=True):
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-5)


def test_shapley_when_two_words_then_is_the_mean_over_both_orders(fitted):
    (found,) = fitted.explain(["good film"], method="shapley")
    texts = ["good film", "good", "film", ""]
    both, first, second, empty = fitted.decision_function(texts)
    expected = [
        (both - second + first - empty) / 2,
        (both - first + second - empty) / 2,
    ]
    np.testing.assert_allclose(2 * found.scores[:, 1], expected, atol=1e-5)


def test_auto_when_texts_are_long_then_takes_gradients(fitted):
    texts = ["a dull film", " ".join(["good"] * 49), ""]
    found = fitted.explain(texts, n_steps=2)
    methods = ["shapley", "integrated_gradients", "shapley"]
    assert [each.method for each in found] == methods
    for text, each in zip(texts, found, strict=True):
        (alone,) = fitted.explain([text], n_steps=2)
        assert alone.method == each.method
        np.testing.assert_allclose(alone.scores, each.scores, atol=1e-5)


def test_occlusion_when_a_word_is_left_out_then_its_score_is_what_is_lost(fitted):
    for each in fitted.explain(X, method="occlusion"):
        for word, (bad, good) in zip(each.words, each.scores, strict=True):
            texts = [each.text, without(each.text, word)]
            whole, part = fitted.decision_function(texts)
            np.testing.assert_allclose(good, (whole - part) / 2, atol=1e-5)
            np.testing.assert_allclose(bad, -good, atol=1e-6)


def test_regressor_when_explained_then_in_the_units_of_y(fast):
    numbers = np.where(np.array(LABELS) == "good", 500.0, 100.0)
    reg = SKTuningRegressor(**fast).fit(TEXTS, numbers)
    (found,) = reg.explain(["a good film"], method="occlusion")
    lost = reg.predict(["a good film"]) - reg.predict(["a  film"])
    np.testing.assert_allclose(found.scores[1], lost, rtol=1e-4)
    assert found.names == ["number"]
    (gradients,) = reg.explain(["a good film"], method="integrated_gradients")
    assert np.abs(gradients.scores).max() > 1


def test_kinds_of_targets_when_explained_then_columns_are_named(fast):
    table = pd.DataFrame(np.eye(3, dtype=int)[np.arange(24) % 3], columns=list("pqr"))
    clf = SKTuningClassifier(**fast)
    (found,) = clone(clf).fit(TEXTS, table).explain(["a good film"])
    assert (found.names, found.scores.shape) == (["p", "q", "r"], (3, 3))
    ranks = np.array(["low", "mid", "high"])[np.arange(24) % 3]
    ordered = clone(clf).set_params(ordinal=["low", "mid", "high"]).fit(TEXTS, ranks)
    (found,) = ordered.explain(["a good film"])
    assert found.names == ["mid or above", "high or above"]
    assert found.scores.shape == (3, 2)
    assert found.prediction in ("low", "mid", "high")


def test_pairs_when_explained_then_words_of_both_texts(fast):
    pairs = [
        (text, f"{label} indeed") for text, label in zip(TEXTS, LABELS, strict=True)
    ]
    clf = SKTuningClassifier(**fast).fit(pairs, LABELS)
    (found,) = clf.explain([("a good film", "bad indeed")])
    assert found.words == ["a", "good", "film", "bad", "indeed"]
    assert [text for text, *_ in found.spans] == [0, 0, 0, 1, 1]
    assert found.method == "shapley"
    with pytest.raises(ValueError, match="must be 'shapley' or 'occlusion' for pairs"):
        clf.explain(pairs, method="integrated_gradients")


def test_long_texts_when_read_in_windows_then_every_word_has_a_score(fast):
    clf = SKTuningClassifier(**fast, long_texts="windows", max_length=16)
    clf.fit(TEXTS, LABELS)
    text = " ".join(["good"] * 12 + ["dull"] * 12)
    (found,) = clf.explain([text], method="integrated_gradients", n_steps=2)
    assert found.words == text.split()
    assert (np.abs(found.scores).max(axis=1) > 0).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "lime"}, "'method' parameter of explain must be one of .*'lime'"),
        ({"n_steps": 0}, "'n_steps' parameter of explain must be a whole number.*0"),
        (
            {"n_steps": 2.5},
            "'n_steps' parameter of explain must be a whole number.*2.5",
        ),
    ],
)
def test_explain_when_an_option_is_wrong_then_says_so(options, message, fitted):
    with pytest.raises(ValueError, match=message):
        fitted.explain(X, **options)


def test_shapley_when_summed_then_is_what_the_text_adds_to_an_empty_one(fitted):
    texts = [TEXTS[1], "good", "a lovely , lovely film"]
    scores = fitted.decision_function([*texts, ""])
    for found, own in zip(
        fitted.explain(texts, method="shapley"), scores, strict=False
    ):
        np.testing.assert_allclose(
            found.scores.sum(axis=0) @ [-1, 1], own - scores[-1], atol=1e-5
        )


def test_explanation_when_labels_are_several_then_shows_the_most_probable(fast):
    Y = np.c_[np.array(LABELS) == "good", np.array(LABELS) != "good"].astype(int)
    clf = SKTuningClassifier(**fast).fit(TEXTS, Y)
    for found, row in zip(
        clf.explain(TEXTS[:4]), clf.predict_proba(TEXTS[:4]), strict=True
    ):
        assert found.column() == row.argmax()


def test_explanation_when_classes_are_ordered_then_names_steps(fast):
    ranks = np.arange(len(TEXTS)) % 3
    clf = SKTuningClassifier(**fast, ordinal=True).fit(TEXTS, ranks)
    for found, predicted in zip(
        clf.explain(TEXTS[:4]), clf.predict(TEXTS[:4]), strict=True
    ):
        assert found.names == ["1 or above", "2 or above"]
        assert found.column() == max(predicted - 1, 0)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("मुझे यह फिल्म पसंद है", ["मुझे", "यह", "फिल्म", "पसंद", "है"]),
        ("e\u0301te\u0301!", ["e\u0301te\u0301", "!"]),
        ("👩\u200d👩 ok ❤\ufe0f", ["👩\u200d👩", "ok", "❤\ufe0f"]),
        ("don't 3.5 well-known", ["don't", "3.5", "well-known"]),
    ],
)
def test_words_when_letters_have_marks_then_are_whole(text, words):
    assert [each.group() for each in split_words(text)] == words
