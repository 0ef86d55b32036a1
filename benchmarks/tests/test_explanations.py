import re

import numpy as np
import pytest
from explanations import explanations_table
from faithfulness import best_words, measure, without
from peers.explainers import lime_scores, shap_scores

WEIGHTS = {"good": 3.0, "film": 0.5, "dull": -2.0}
TEXT = "a good film , not a dull film"
SCORES = np.array([WEIGHTS.get(word, 0.0) for word in TEXT.split()])


def predict_proba(texts):
    words = [re.findall(r"\w+", text) for text in texts]
    logits = [sum(WEIGHTS.get(word, 0) for word in each) for each in words]
    positive = 1 / (1 + np.exp(-np.array(logits)))
    return np.stack([1 - positive, positive], axis=1)


def spans(text):
    ends = np.cumsum([len(word) + 1 for word in text.split()]) - 1
    return [
        (end - len(word), end) for word, end in zip(text.split(), ends, strict=True)
    ]


def test_best_words_when_shares_are_small_then_one_at_least():
    chosen = best_words(np.array([0, 3, 1, 2, 0, 0, 0, 0, 0, 0.5]))
    assert [len(each) for each in chosen] == [1, 1, 1, 2, 5]
    assert chosen[3].tolist() == [1, 3]


def test_without_when_words_are_left_out_then_others_stay():
    assert (
        without(TEXT, spans(TEXT), [0, 4]).split() == "good film , a dull film".split()
    )


def test_measure_when_explained_well_then_better_than_the_opposite():
    good, bad = (
        measure(predict_proba, TEXT, spans(TEXT), scores, 1)
        for scores in (SCORES, -SCORES)
    )
    whole, empty, without_good = predict_proba([TEXT, "", TEXT.replace("good", "")])[
        :, 1
    ]
    assert good["difference"] == pytest.approx(whole - empty, abs=1e-4)
    assert good["comprehensiveness"] > whole - without_good - 1e-4
    assert good["normalized_comprehensiveness"] > 0.9
    assert good["normalized_sufficiency"] > 0.9
    assert bad["normalized_sufficiency"] < 0.5


def test_measure_when_nothing_is_lost_without_all_words_then_is_not_normalised():
    found = measure(predict_proba, TEXT, spans(TEXT), SCORES, 0)
    assert "normalized_sufficiency" not in found


def test_table_when_blocks_are_there_then_texts_count_alike():
    row = {"task": "news", "method": "random", "n_texts": 2}
    row |= {"seconds": 3.0, "cpu_seconds": 1.0}  # neighbours change the former
    text = {"comprehensiveness": 0.5, "sufficiency": 0.1}
    full = text | {"normalized_comprehensiveness": 1, "normalized_sufficiency": 0}
    rows = [row | {"texts": [text, full]}, row | {"texts": [full, full]}]
    cells = "| news | random | 4 | 1.000 | 0.000 | 0.500 | 0.100 | 0.50 |"
    assert explanations_table(rows)[2] == cells


@pytest.mark.parametrize(
    ("module", "explain"), [("lime", lime_scores), ("shap", shap_scores)]
)
def test_peers_when_words_matter_then_name_them(module, explain):
    pytest.importorskip(module)
    scores = explain(predict_proba, TEXT, 1, 0)
    assert len(scores) == len(TEXT.split())
    assert np.argmax(scores) == 1
    assert np.argmin(scores) == 6
