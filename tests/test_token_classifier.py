"""A label for every word."""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import (
    BACKBONES,
    DECODERS,
    ENCODERS,
    build_module,
    load_tiny,
    stir,
    with_training,
)
from sklearn.base import clone
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    cross_val_predict,
    cross_val_score,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.class_weight import compute_class_weight

from sksemantic import SKTuningTokenClassifier
from sksemantic._inputs.dataset import TextDataset, collate
from sksemantic._inputs.prompt import Prompt
from sksemantic._inputs.template import Template, _windows
from sksemantic._tasks.base import TokenClassification
from sksemantic._training.trainer import Trainer

NOUNS = {"film": "B-WORK", "book": "B-WORK", "year": "B-TIME"}
SENTENCES = [
    f"a {word} {noun}" + (" of the year" if i % 2 else "")
    for i, word in enumerate(["good", "great", "dull", "awful", "lovely", "bad"])
    for noun in ["film", "book", "song", "play"]
]
WORDS = [sentence.split() for sentence in SENTENCES]
TAGS = [[NOUNS.get(word, "O") for word in words] for words in WORDS]
FORMS = {
    "words": WORDS,
    "tuples": [tuple(words) for words in WORDS],
    "texts": SENTENCES,
    "Series of texts": pd.Series(SENTENCES),
    "Series of words": pd.Series(WORDS),
    "table": pd.DataFrame({"text": SENTENCES}),
    "object array": np.array([*WORDS, None], dtype=object)[:-1],
    "arrays": [np.array(words) for words in WORDS],
}


def template(backbone, prompt="find", max_length=None):
    return Template(backbone, Prompt.parse(prompt), "prefix", max_length)


def thorough(fast):
    return with_training(
        fast | {"max_epochs": 30, "lr": 1e-2}, head_lr=1e-2, dropout=0.0
    )


def test_lr_when_auto_then_is_that_of_words(fast):
    tagger = SKTuningTokenClassifier(**fast | {"lr": "auto"}).fit(WORDS, TAGS)
    assert tagger.net_.lr == pytest.approx(1e-2)


@pytest.mark.parametrize("lengths", [[1], [3, 1, 2], [2] * 50, [10] * 7, [1, 10] * 9])
@pytest.mark.parametrize("budget", [10, 13, 100])
def test_windows_when_cut_then_every_word_is_read_once_and_budget_is_kept(
    lengths, budget
):
    lengths = np.array(lengths)
    read = []
    for first, behind, own in _windows(lengths, budget):
        assert lengths[first:behind].sum() <= budget
        assert first <= own.start < own.stop <= behind
        read += own
    assert read == [*range(len(lengths))]


def test_windows_when_long_then_words_have_context_on_both_sides():
    windows = [*_windows(np.ones(100, int), 20)]
    for first, behind, own in windows[1:-1]:
        assert own.start - first >= 4
        assert behind - own.stop >= 4
    assert [*_windows(np.ones(20, int), 20)] == [(0, 20, range(20))]


@pytest.mark.parametrize("name", ENCODERS)
def test_word_rows_when_encoder_then_each_word_is_read_at_its_first_token(name, tiny):
    backbone = load_tiny(tiny(name))
    rows, word_positions, origins = template(backbone).word_rows(
        [["a", "lovely", "book"]]
    )
    assert origins.tolist() == [0]
    ids = rows[0].tolist()
    assert ids == backbone.tokenizer(" a lovely book")["input_ids"]
    words = [backbone.encode([" " + w])[0] for w in ("a", "lovely", "book")]
    expected = [1, 1 + len(words[0]), 1 + len(words[0]) + len(words[1])]
    assert word_positions[0].tolist() == expected
    assert [ids[i] for i in word_positions[0]] == [word[0] for word in words]


@pytest.mark.parametrize("name", [*DECODERS, "llama2"])
def test_word_rows_when_causal_then_each_word_is_read_at_its_last_token(name, tiny):
    backbone = load_tiny(tiny(name))
    laid_out = template(backbone, "find: {text}\nso")
    rows, word_positions, _ = laid_out.word_rows([["a", "lovely", "book"]])
    ids = rows[0].tolist()
    assert backbone.tokenizer.decode(ids).strip() == "a lovely book\nso"
    ends = [backbone.tokenizer.decode(ids[: i + 1]).strip() for i in word_positions[0]]
    assert ends == ["a", "a lovely", "a lovely book"]


@pytest.mark.parametrize("name", BACKBONES)
def test_word_rows_when_words_are_odd_then_each_has_a_token(name, tiny):
    words = ["", " ", "\u200b", "漢字", "🎬", "a" * 3000]
    rows, word_positions, _ = template(load_tiny(tiny(name))).word_rows([words])
    assert sum(map(len, word_positions)) == len(words)
    for row, places in zip(rows, word_positions, strict=True):
        assert len(row) > places.max(initial=0)


def test_word_rows_when_text_is_long_then_windows_overlap(tiny_bert):
    backbone = load_tiny(tiny_bert)
    laid_out = template(backbone, max_length=12)
    rows, word_positions, origins = laid_out.word_rows([["good"] * 50, [], ["bad"]])
    assert max(map(len, rows)) <= 12
    assert sum(map(len, word_positions)) == 51
    assert set(origins) == {0, 2}
    assert (np.diff(origins) >= 0).all()


@pytest.mark.parametrize("name", BACKBONES)
def test_features_when_of_words_then_are_the_states_of_their_tokens(name, tiny):
    backbone = load_tiny(tiny(name))
    module = stir(build_module(backbone, pooling="tokens"))
    whole = build_module(backbone, pooling="last")
    whole.load_state_dict(module.state_dict())
    rows, word_positions, _ = template(backbone).word_rows(WORDS[:5])
    data = TextDataset(rows, word_positions=word_positions)
    inputs, _ = collate(backbone.pad_id)(data)
    with torch.no_grad():
        found = module.features(inputs)
        alone = [
            module.features(collate(0)(data.take(np.array([i])))[0]) for i in range(5)
        ]
    assert len(found) == sum(map(len, WORDS[:5]))
    torch.testing.assert_close(found, torch.cat(alone), rtol=0, atol=1e-5)
    if name in DECODERS:  # the last word's last token is the text's
        with torch.no_grad():
            last = whole.features(
                {k: v for k, v in inputs.items() if k != "word_positions"}
            )
        ends = np.cumsum([len(words) for words in WORDS[:5]]) - 1
        torch.testing.assert_close(found[ends], last, rtol=0, atol=1e-5)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_predict_when_texts_come_in_any_form_then_is_the_same(form, fast):
    tagger = SKTuningTokenClassifier(**fast).fit(WORDS, TAGS)
    assert tagger.predict(form).tolist() == tagger.predict(WORDS).tolist()


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("method", ["prefix", "prompt"])
def test_fit_when_words_are_labelled_then_learns_them(name, method, fast, tiny):
    parameters = thorough(fast) | {"model": tiny(name), "method": method}
    tagger = SKTuningTokenClassifier(**parameters).fit(WORDS, TAGS)
    assert tagger.classes_.tolist() == ["B-TIME", "B-WORK", "O"]
    assert tagger.score(WORDS, TAGS) > 0.9
    found = tagger.predict(WORDS)
    assert [len(row) for row in found] == [len(words) for words in WORDS]
    for row, words in zip(tagger.predict_proba(WORDS), WORDS, strict=True):
        assert row.shape == (len(words), 3)
        np.testing.assert_allclose(row.sum(axis=1), 1)
    assert tagger.transform(WORDS)[0].shape == (3, tagger._n_features_out)


def test_fit_when_upper_layers_are_tuned_then_lower_ones_are_looked_up(fast):
    tagger = SKTuningTokenClassifier(**fast, tuned_layers=1).fit(WORDS, TAGS)
    again = clone(tagger).fit(WORDS, TAGS)
    for one, other in zip(
        tagger.predict_proba(WORDS), again.predict_proba(WORDS), strict=True
    ):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_predict_when_text_is_longer_than_max_length_then_every_word_has_a_label(fast):
    tagger = SKTuningTokenClassifier(**fast, max_length=12).fit(WORDS, TAGS)
    long = [word for words in WORDS for word in words]
    (found,) = tagger.predict([long])
    assert len(found) == len(long)
    fitted = SKTuningTokenClassifier(**fast, max_length=12).fit([long] * 4, [found] * 4)
    assert len(fitted.predict([long])[0]) == len(long)


def test_hold_back_when_texts_have_several_windows_then_stay_together(
    fast, monkeypatch
):
    found = []
    hold_back = Trainer._hold_back

    def spy(self, data, strata):
        found.append((data.groups, hold_back(self, data, strata)))
        return found[-1][1]

    monkeypatch.setattr(Trainer, "_hold_back", spy)
    long = [WORDS[i] * 5 for i in range(12)]
    labels = [TAGS[i] * 5 for i in range(12)]
    SKTuningTokenClassifier(**fast, max_length=12).fit(long, labels)
    ((groups, is_held),) = found
    assert len(groups) > 12
    assert is_held.any()
    assert not set(groups[is_held]) & set(groups[~is_held])


def test_predict_when_texts_are_empty_then_lists_are(fast):
    tagger = SKTuningTokenClassifier(**fast)
    tagger.fit([*WORDS, []], [*TAGS, []])
    assert tagger.predict([[], ["a"], ""])[[0, 2]].tolist() == [[], []]
    assert tagger.predict([""]).tolist() == [[]]
    assert tagger.predict_proba([[]])[0].shape == (0, 3)
    assert tagger.transform([[]])[0].shape == (0, tagger._n_features_out)


def test_score_when_labels_are_of_entities_then_is_their_f1(fast):
    tagger = SKTuningTokenClassifier(**fast).fit(WORDS, TAGS)
    tagger.predict = lambda X: np.array(
        [["B-WORK", "I-WORK", "O", "B-TIME"], ["O"]], dtype=object
    )
    X = [["a"] * 4, ["b"]]
    # One of two found is right, and one of two true ones is found.
    true = [["B-WORK", "O", "O", "B-TIME"], ["O"]]
    assert tagger.score(X, true) == 0.5


def test_score_when_labels_are_of_words_then_is_accuracy(fast):
    kinds = [[len(word) for word in words] for words in WORDS]
    tagger = SKTuningTokenClassifier(**fast).fit(WORDS, kinds)
    found = tagger.predict(WORDS)
    right = np.concatenate(kinds) == np.concatenate(found.tolist())
    assert tagger.score(WORDS, kinds) == pytest.approx(np.mean(right))
    first = [1.0] + [0.0] * (len(WORDS) - 1)
    assert tagger.score(WORDS, kinds, sample_weight=first) == pytest.approx(
        np.mean(np.array(found[0]) == kinds[0])
    )
    assert {type(label) for label in found[0]} == {int}


def test_class_weight_when_given_then_label_is_more_probable(fast):
    plain, heavy = (
        SKTuningTokenClassifier(**fast, class_weight=class_weight).fit(WORDS, TAGS)
        for class_weight in (None, {"O": 1, "B-WORK": 30, "B-TIME": 1})
    )
    work = plain.classes_.tolist().index("B-WORK")
    found = [
        np.concatenate(tagger.predict_proba(WORDS))[:, work].mean()
        for tagger in (plain, heavy)
    ]
    assert found[1] > found[0] + 0.02
    reference = [tagger.linear_probe_.intercept[work] for tagger in (plain, heavy)]
    assert reference[1] > reference[0]


def test_losses_when_classes_have_weights_then_they_count():
    task = TokenClassification(2, np.array([0.1, 10.0]))
    scores = np.array([[0.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
    plain = TokenClassification(2).losses(scores, np.array([0, 1, 1]))
    weighted = task.losses(scores, np.array([0, 1, 1]))
    np.testing.assert_allclose(weighted, plain * np.array([[0.1], [10.0], [10.0]]))


def test_class_weight_when_balanced_then_is_that_of_the_words(fast):
    balanced = SKTuningTokenClassifier(**fast, class_weight="balanced").fit(WORDS, TAGS)
    flat = [tag for tags in TAGS for tag in tags]
    weights = compute_class_weight("balanced", classes=balanced.classes_, y=flat)
    by_hand = dict(zip(balanced.classes_, 7 * weights, strict=True))
    given = SKTuningTokenClassifier(**fast, class_weight=by_hand).fit(WORDS, TAGS)
    for one, other in zip(
        balanced.predict_proba(WORDS), given.predict_proba(WORDS), strict=True
    ):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_sample_weight_when_zero_then_texts_do_not_count(fast):
    weights = np.ones(len(WORDS))
    weights[12:] = 0
    wrong = TAGS[:12] + [["B-TIME"] * len(words) for words in WORDS[12:]]
    tagger = SKTuningTokenClassifier(**thorough(fast))
    tagger.fit(WORDS, wrong, sample_weight=weights)
    assert tagger.score(WORDS, TAGS) > 0.5


def test_search_when_over_prompts_then_runs(fast):
    tagger = SKTuningTokenClassifier(**fast)
    search = GridSearchCV(tagger, {"prompt": ["find the works", "read"]}, cv=2)
    assert np.isfinite(search.fit(WORDS, TAGS).best_score_)
    assert np.isfinite(cross_val_score(tagger, WORDS, TAGS, cv=2)).all()
    found = cross_val_predict(tagger, WORDS, TAGS, cv=2)
    assert [len(row) for row in found] == [len(words) for words in WORDS]
    groups = np.arange(len(WORDS)) % 5
    cross_val_score(tagger, WORDS, TAGS, cv=GroupKFold(2), groups=groups)


def test_pipeline_when_a_cleaner_comes_first_then_runs(fast):
    lower = FunctionTransformer(lambda X: [[w.lower() for w in words] for words in X])
    pipeline = make_pipeline(lower, SKTuningTokenClassifier(**fast))
    shouted = [[word.upper() for word in words] for words in WORDS]
    found = pipeline.fit(WORDS, TAGS).predict(shouted)
    assert found.tolist() == pipeline.predict(WORDS).tolist()


def test_pickle_when_loaded_then_predicts_the_same(fast):
    tagger = SKTuningTokenClassifier(**fast).fit(WORDS, TAGS)
    again = pickle.loads(pickle.dumps(tagger))
    for one, other in zip(
        tagger.predict_proba(WORDS), again.predict_proba(WORDS), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_warm_start_when_labels_differ_then_refused(fast):
    tagger = SKTuningTokenClassifier(**fast, warm_start=True).fit(WORDS, TAGS)
    tagger.fit(WORDS[4:10], TAGS[4:10])
    with pytest.raises(ValueError, match="needs the same classes"):
        tagger.fit([["a", "b"]] * 4, [["X", "Y"]] * 4)


BAD_X = {
    "bare string": ("a film", ValueError, "Got a single str instead"),
    "generator": ((w for w in WORDS), TypeError, "can be read only once"),
    "numbers": ([1, 2], TypeError, r"Got int \(1\) in row 0"),
    "number among words": ([["a"], ["b", 2]], TypeError, "as word 1 of row 1"),
    "missing": ([["a"], None], TypeError, r"Got NoneType \(None\) in row 1"),
    "empty": ([], ValueError, "X is empty"),
    "wide": (np.full((3, 2), "a"), ValueError, r"Got shape \(3, 2\) instead"),
    "dict": ({"a": 1}, TypeError, "Got dict instead"),
}


@pytest.mark.parametrize(("X", "error", "message"), BAD_X.values(), ids=BAD_X)
def test_fit_when_X_is_bad_then_says_so_before_any_loading(X, error, message):
    with pytest.raises(error, match=message):
        SKTuningTokenClassifier(model="nobody/nowhere").fit(X, [["O"], ["O"]])


BAD_Y = {
    "none": (None, "requires y to be passed"),
    "too few": ([["O", "P"]], r"inconsistent numbers of samples: \[2, 1\]"),
    "other length": ([["O", "P"], ["O"]], "Row 1 has 3 words and 1 labels"),
    "flat": (["O", "P"], r"Got str \('O'\) in row 0"),
    "mixed": ([["O", 1], ["O", "O", "O"]], r"Got int \(1\) in row 0"),
    "floats": ([[0.5, 1], [1, 1, 1]], r"Got float \(0\.5\) in row 0"),
    "hole": ([["O", None], ["O", "P", "O"]], r"Got NoneType \(None\) in row 0"),
    "one label": ([["O", "O"], ["O", "O", "O"]], "at least two labels"),
}


@pytest.mark.parametrize(("y", "message"), BAD_Y.values(), ids=BAD_Y)
def test_fit_when_labels_are_bad_then_says_so_before_any_loading(y, message):
    X = [["a", "b"], ["a", "b", "c"]]
    with pytest.raises(ValueError, match=message):
        SKTuningTokenClassifier(model="nobody/nowhere").fit(X, y)


def test_fit_when_there_are_no_words_then_says_so():
    with pytest.raises(ValueError, match="X has no words"):
        SKTuningTokenClassifier(model="nobody/nowhere").fit([[], ""], [[], []])


@pytest.mark.parametrize("prompt", ["{0} {1}", "find {word}"])
def test_fit_when_prompt_has_other_slots_then_says_so(prompt):
    tagger = SKTuningTokenClassifier(model="nobody/nowhere", prompt="So " + prompt)
    with pytest.raises(ValueError, match=r"may have one slot, \{text\}"):
        tagger.fit(WORDS, TAGS)
