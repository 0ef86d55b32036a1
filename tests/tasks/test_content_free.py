"""Texts that say nothing about any label."""

import numpy as np
import pytest

from sksemantic import SKTuningClassifier
from sksemantic._inputs.prompt import Prompt
from sksemantic._tasks.content_free import content_free_texts


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ('Review: "{text}"\nOverall, it was', ["Review", "Overall", "it", "was"]),
        ("Classify the text. The text!", ["Classify", "the", "text", "The"]),
        ("{0} 2 {1}?", []),
        ("评论: {text}", ["评论"]),
    ],
)
def test_content_free_texts_then_are_empty_ones_and_each_word_of_the_prompt(
    prompt, expected
):
    assert content_free_texts(Prompt.parse(prompt)) == ["", "N/A", *expected]


def test_content_free_texts_when_prompt_is_long_then_are_few():
    prompt = " ".join(a + b for a in "abcde" for b in "vwxyz")
    assert content_free_texts(Prompt(("", prompt), ("text",)))[-1] == "dv"
    assert len(content_free_texts(Prompt((prompt,)))) == 18


def test_fit_when_causal_then_features_are_centred_by_them_too(
    fast, tiny_gemma3, texts
):
    few, prompt = texts[:2], "film: {text} it was"
    options = {"model": tiny_gemma3, "prompt": prompt}
    clf = SKTuningClassifier(**fast | options, label_texts={0: "bad", 1: "good"})
    clf.fit(few, [0, 1])
    read = [*few, "", "N/A", "film", "it", "was"]
    expected = clf.transform(read).mean(axis=0)
    found = clf.get_module().state_dict()["feature_mean"]
    np.testing.assert_allclose(found, expected, atol=1e-5)
