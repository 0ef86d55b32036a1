"""Words without a label, in SKTuningTokenClassifier."""

import warnings

import numpy as np
import pandas as pd
import pytest
from conftest import thorough, with_training
from sklearn.model_selection import cross_val_score
from skorch.callbacks import Callback

from sksemantic import SKTuningTokenClassifier, UnlabelledWarning

SENTENCES = [
    f"a {word} {noun} of the year"
    for word in ["good", "great", "dull", "awful", "lovely", "bad"]
    for noun in ["film", "book", "song", "play"]
]
WORDS = [sentence.split() for sentence in SENTENCES]
NUMBERS = {"film": 1, "book": 1, "year": 2}
TAGS = [[NUMBERS.get(word, 0) for word in words] for words in WORDS]
# Every word but each fourth one, and none of the last six sentences, has a label.
MASKED = [
    [-100 if (i + j) % 4 == 0 or i >= 18 else tag for j, tag in enumerate(tags)]
    for i, tags in enumerate(TAGS)
]
N_MASKED = sum(tag == -100 for tags in MASKED for tag in tags)
LABELLED = slice(18)


def marked(mark):
    """Return the labels with another mark for the words that have none."""
    return [[mark if tag == -100 else tag for tag in tags] for tags in MASKED]


def proba(tagger):
    return np.concatenate(tagger.predict_proba(WORDS).tolist())


@pytest.fixture
def tagger(fast):
    return SKTuningTokenClassifier(**fast)


class RowsOfEpochs(Callback):
    """Note the targets that are trained on and held out; fit copies callbacks."""

    seen: list = []

    def on_epoch_begin(self, net, dataset_train, dataset_valid, **kwargs):
        held_out = [] if dataset_valid is None else dataset_valid.targets
        self.seen.append((dataset_train.targets, held_out))


@pytest.mark.parametrize("mark", [None, float("nan"), pd.NA])
@pytest.mark.filterwarnings("ignore::sksemantic.UnlabelledWarning")
def test_fit_when_words_are_unlabelled_by_any_mark_then_the_model_is_the_same(
    mark, tagger
):
    expected = proba(tagger.fit(WORDS, MASKED))
    assert tagger.classes_.tolist() == [0, 1, 2]
    np.testing.assert_array_equal(proba(tagger.fit(WORDS, marked(mark))), expected)


@pytest.mark.filterwarnings("ignore::sksemantic.UnlabelledWarning")
def test_fit_when_words_are_unlabelled_then_learns_from_the_others(fast):
    tagger = SKTuningTokenClassifier(**thorough(fast)).fit(WORDS, MASKED)
    assert tagger.score(WORDS, TAGS) > 0.9


def test_fit_when_labels_are_missing_then_warns_once_and_not_of_those_masked(tagger):
    expected = rf"for {N_MASKED} of {6 * len(WORDS)} words, "
    with pytest.warns(UnlabelledWarning, match=expected) as caught:
        tagger.fit(WORDS, marked(None))
    told = [each for each in caught if each.category is UnlabelledWarning]
    assert len(told) == 1
    assert told[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error", UnlabelledWarning)
        tagger.fit(WORDS, MASKED)


@pytest.mark.parametrize("early_stopping", [False, True])
def test_fit_when_words_are_unlabelled_then_are_neither_trained_on_nor_held_out(
    early_stopping, fast
):
    RowsOfEpochs.seen.clear()
    params = with_training(fast, callbacks=[RowsOfEpochs()])
    SKTuningTokenClassifier(**params, early_stopping=early_stopping).fit(WORDS, MASKED)
    both = RowsOfEpochs.seen[0]
    assert all(len(targets) for targets in both)
    rows = np.concatenate(both)
    assert len(rows) == 6 * len(WORDS) - N_MASKED
    assert rows.min() == 0


def test_fit_when_sentences_have_no_label_then_is_as_without_them(tagger):
    weights, groups = np.arange(24) % 3 + 1.0, np.arange(24) // 2
    tagger.set_params(max_epochs="auto", training={"most_epochs": 3})
    tagger.fit(WORDS, MASKED, sample_weight=weights, groups=groups)
    found, comparison = proba(tagger), tagger.comparison_
    tagger.fit(
        WORDS[LABELLED],
        MASKED[LABELLED],
        sample_weight=weights[LABELLED],
        groups=groups[LABELLED],
    )
    np.testing.assert_array_equal(found, proba(tagger))
    assert comparison == tagger.comparison_


def test_epochs_when_few_sentences_have_a_label_then_are_those_of_few(tagger):
    tagger.set_params(max_epochs="auto", training={"most_epochs": 9})
    tagger.fit(WORDS * 30, MASKED[:4] + [[-100] * 6] * (len(WORDS) * 30 - 4))
    assert tagger.config_.training.max_epochs == 9


def test_fit_when_texts_are_empty_beside_masked_words_then_works(tagger):
    X, y = [[], *WORDS, ""], [[], *MASKED, []]
    tagger.fit(X, y)
    assert tagger.predict(X)[[0, -1]].tolist() == [[], []]
    np.testing.assert_array_equal(proba(tagger), proba(tagger.fit(WORDS, MASKED)))


def test_fit_when_weights_of_all_labelled_sentences_are_zero_then_refused(fast):
    tagger = SKTuningTokenClassifier(**fast | {"model": "nobody/nowhere"})
    weights = np.r_[np.zeros(18), np.ones(6)]
    with pytest.raises(ValueError, match="No labelled text has a weight"):
        tagger.fit(WORDS, MASKED, sample_weight=weights)


def test_fit_when_no_word_has_a_label_then_says_so_before_any_loading(fast):
    tagger = SKTuningTokenClassifier(**fast | {"model": "nobody/nowhere"})
    for mark in (-100, None):
        with pytest.raises(ValueError, match="y has no labelled word"):
            tagger.fit(WORDS, [[mark] * len(words) for words in WORDS])


@pytest.mark.filterwarnings("ignore::sksemantic.UnlabelledWarning")
def test_score_when_words_are_unlabelled_then_are_left_out(tagger):
    predicted = tagger.fit(WORDS, TAGS).predict(WORDS)
    y = [[-100] * len(words) for words in WORDS]
    y[0][:2] = predicted[0][0], predicted[0][1] + 1
    assert tagger.score(WORDS, y) == 0.5
    y[3][0] = predicted[3][0]
    assert tagger.score(WORDS, y, sample_weight=[3.0] + [1.0] * 23) == 4 / 7
    with pytest.raises(ValueError, match="y has no labelled word"):
        tagger.score(WORDS, [[None] * len(words) for words in WORDS])


def test_score_when_entities_are_unlabelled_then_are_left_out(fast):
    names = ["O", "B-WORK", "B-TIME"]
    tags = [[names[tag] for tag in row] for row in TAGS]
    tagger = SKTuningTokenClassifier(**thorough(fast)).fit(WORDS, tags)
    wrong = [["B-WORK" if tag == "O" else tag for tag in row] for row in tags]
    masked = [[None if tag == "O" else tag for tag in row] for row in tags]
    assert tagger.score(WORDS, wrong) < 0.7
    assert tagger.score(WORDS, masked) == tagger.score(WORDS, tags) == 1


def test_cross_validation_when_words_are_unlabelled_then_scores_every_fold(tagger):
    tagger.set_params(max_epochs=1)
    order = np.random.RandomState(0).permutation(24)
    X, y = [WORDS[i] for i in order], [MASKED[i] for i in order]
    assert np.isfinite(cross_val_score(tagger, X, y, cv=2)).all()
