"""A label for every word."""

import numpy as np
import pytest
from conftest import BACKBONES, FAST, quietly_fit, thorough, with_training
from sklearn import config_context
from sklearn.base import clone
from sklearn.utils.class_weight import compute_class_weight
from skorch.callbacks import Callback

from sksemantic import SKTuningTokenClassifier

NOUNS = {"film": "B-WORK", "book": "B-WORK", "year": "B-TIME"}
SENTENCES = [
    f"a {word} {noun}" + (" of the year" if i % 2 else "")
    for i, word in enumerate(["good", "great", "dull", "awful", "lovely", "bad"])
    for noun in ["film", "book", "song", "play"]
]
WORDS = [sentence.split() for sentence in SENTENCES]
TAGS = [[NOUNS.get(word, "O") for word in words] for words in WORDS]


@pytest.fixture
def tagger(fast):
    return SKTuningTokenClassifier(**fast)


@pytest.fixture(scope="module")
def fitted(tiny_bert):
    """Return a fitted tagger; tests must leave it as it is."""
    tagger = SKTuningTokenClassifier(model=tiny_bert, **FAST)
    return quietly_fit(tagger, WORDS, TAGS)


def flat_proba(tagger, X=WORDS):
    return np.concatenate(tagger.predict_proba(X).tolist())


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("method", ["prefix", "prompt"])
def test_fit_when_words_are_labelled_then_learns_them(name, method, fast, tiny):
    parameters = thorough(fast) | {"model": tiny(name), "method": method}
    tagger = SKTuningTokenClassifier(**parameters).fit(WORDS, TAGS)
    assert tagger.classes_.tolist() == ["B-TIME", "B-WORK", "O"]
    assert tagger.score(WORDS, TAGS) > 0.9
    for labels, rows, states, words in zip(
        tagger.predict(WORDS),
        tagger.predict_proba(WORDS),
        tagger.transform(WORDS),
        WORDS,
        strict=True,
    ):
        assert rows.shape == (len(words), 3)
        assert states.shape == (len(words), 32)
        np.testing.assert_allclose(rows.sum(axis=1), 1)
        assert labels == tagger.classes_[rows.argmax(axis=1)].tolist()


def test_fit_when_texts_are_longer_than_max_length_then_every_word_is_read(fast):
    long = [[word for words in WORDS[i::4] for word in words] for i in range(4)]
    tags = [[NOUNS.get(word, "O") for word in words] for words in long]
    tagger = SKTuningTokenClassifier(**thorough(fast), max_length=12)
    assert tagger.fit(long, tags).score(long, tags) > 0.9
    assert [len(labels) for labels in tagger.predict(long)] == [*map(len, long)]


class TokensOfSplit(Callback):
    """Note the tokens that are trained on and those held out; fit copies callbacks."""

    seen: list = []

    def on_epoch_begin(self, net, dataset_train, dataset_valid, **kwargs):
        both = dataset_train, dataset_valid
        self.seen.append([set(data.token_ids.flat.tolist()) - {2, 3} for data in both])


def test_held_out_when_texts_have_several_windows_then_windows_stay_together(fast):
    # Each text repeats a letter of its own.
    texts = [[letter] * 30 for letter in "bcdefghijklm"]
    labels = [["X"] * 15 + ["Y"] * 15] * len(texts)
    TokensOfSplit.seen.clear()
    params = with_training(fast, callbacks=[TokensOfSplit()])
    SKTuningTokenClassifier(**params, max_length=12).fit(texts, labels)
    train, held_out = TokensOfSplit.seen[0]
    assert held_out
    assert not train & held_out
    assert len(train | held_out) == len(texts)


def test_predict_when_texts_are_empty_then_lists_are(tagger):
    tagger.fit([*WORDS, []], [*TAGS, []])
    assert tagger.predict([[], ["a"], ""])[[0, 2]].tolist() == [[], []]
    assert tagger.predict([""]).tolist() == [[]]
    assert tagger.predict_proba([[]])[0].shape == (0, 3)
    assert tagger.transform([[]])[0].shape == (0, 32)


def test_score_when_labels_are_of_entities_then_is_their_f1(fast):
    X = [["a", "good", "film"], ["a", "dull", "book"], ["the", "year"]] * 6
    tags = [["O", "B-WORK", "I-WORK"], ["O", "B-WORK", "I-WORK"], ["O", "B-TIME"]] * 6
    tagger = SKTuningTokenClassifier(**thorough(fast)).fit(X, tags)
    assert tagger.predict(X).tolist() == tags
    # One of two entities is right, though four of five words are.
    true = [["O", "O", "B-WORK"], ["O", "B-TIME"]]
    assert tagger.score([X[0], X[2]], true) == 0.5


def test_score_when_labels_are_of_words_then_is_accuracy(tagger):
    lengths = [[len(word) for word in words] for words in WORDS]
    predicted = tagger.fit(WORDS, lengths).predict(WORDS)
    assert {type(label) for label in predicted[0]} == {int}
    n_words = [len(words) for words in WORDS]
    true = [predicted[0], *([0] * n for n in n_words[1:])]
    assert tagger.score(WORDS, true) == pytest.approx(n_words[0] / sum(n_words))
    weights = [1.0, 1.0] + [0.0] * (len(WORDS) - 2)
    score = tagger.score(WORDS, true, sample_weight=weights)
    assert score == pytest.approx(n_words[0] / sum(n_words[:2]))


def test_class_weight_when_given_then_label_is_more_probable(fitted):
    heavy = clone(fitted).set_params(class_weight={"O": 1, "B-WORK": 30, "B-TIME": 1})
    heavy.fit(WORDS, TAGS)
    work = fitted.classes_.tolist().index("B-WORK")
    gain = flat_proba(heavy)[:, work] - flat_proba(fitted)[:, work]
    assert gain.mean() > 0.02
    plain, weighted = (each.linear_probe_.intercept[work] for each in (fitted, heavy))
    assert weighted > plain


def test_class_weight_when_balanced_then_is_that_of_the_words(tagger):
    balanced = clone(tagger).set_params(class_weight="balanced").fit(WORDS, TAGS)
    flat = [tag for tags in TAGS for tag in tags]
    weights = compute_class_weight("balanced", classes=balanced.classes_, y=flat)
    by_hand = dict(zip(balanced.classes_, 7 * weights, strict=True))
    tagger.set_params(class_weight=by_hand).fit(WORDS, TAGS)
    np.testing.assert_allclose(flat_proba(balanced), flat_proba(tagger), atol=1e-5)


def test_sample_weight_when_zero_then_texts_do_not_count(fast):
    weights = np.repeat([1, 0], len(WORDS) // 2)
    wrong = TAGS[:12] + [["B-TIME"] * len(words) for words in WORDS[12:]]
    tagger = SKTuningTokenClassifier(**thorough(fast))
    tagger.fit(WORDS, wrong, sample_weight=weights)
    assert tagger.score(WORDS, TAGS) > 0.5


def test_warm_start_when_labels_differ_then_refused(tagger):
    tagger.set_params(warm_start=True).fit(WORDS, TAGS)
    tagger.fit(WORDS[4:10], TAGS[4:10])
    with pytest.raises(ValueError, match="and would be forgotten"):
        tagger.fit([["a", "b"]] * 4, [["X", "Y"]] * 4)


@pytest.mark.parametrize(
    ("X", "y", "message"),
    [
        (["a b", "a"], [["O", "O"], ["O"]], "at least two labels"),
        ([[], ""], [[], []], "X has no words"),
    ],
)
def test_fit_when_input_is_bad_then_says_so_before_any_loading(X, y, message):
    with pytest.raises(ValueError, match=message):
        SKTuningTokenClassifier(model="nobody/nowhere").fit(X, y)


@pytest.mark.parametrize("prompt", ["{0} {1}", "find {word}"])
def test_fit_when_prompt_has_other_slots_then_says_so_before_any_loading(prompt):
    tagger = SKTuningTokenClassifier(model="nobody/nowhere", prompt="So " + prompt)
    with pytest.raises(ValueError, match=r"may have one slot, \{text\}"):
        tagger.fit(WORDS, TAGS)


@pytest.mark.parametrize("seed", range(6))
def test_fit_when_one_text_has_the_only_other_label_then_is_fitted(seed, fast):
    words = [["plain", "words", "here", str(i)] for i in range(24)]
    tags = [["O"] * 4 for _ in words]
    tags[3][1] = "B-X"
    tagger = SKTuningTokenClassifier(**fast | {"random_state": seed, "max_epochs": 1})
    assert quietly_fit(tagger, words, tags).classes_.tolist() == ["B-X", "O"]
    assert tagger.predict(words)[0] == ["O"] * 4


@pytest.mark.parametrize("container", ["default", "pandas"])
def test_transform_when_tables_are_wanted_then_words_are_still_arrays(
    container, fitted
):
    with config_context(transform_output=container):
        states = fitted.transform(WORDS)
    assert [part.shape for part in states] == [(len(words), 32) for words in WORDS]
    assert not hasattr(fitted, "set_output")
