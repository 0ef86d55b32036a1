"""The model card of a saved estimator."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from sksemantic._saving.card import CARD_MARK, model_card
from sksemantic._saving.reading import read_directory
from sksemantic._saving.state import from_files


@pytest.fixture
def model(fitted, tmp_path):
    fitted.save_pretrained(tmp_path)
    config, tensors = read_directory(tmp_path, "SKTuningClassifier")
    return from_files(config["fitted"], tensors)


def test_card_when_of_a_directory_then_asks_for_the_backbone(model):
    card = model_card("SKTuningClassifier", model, is_bundled=False)
    assert card.startswith("---\nlibrary_name: sksemantic\n")
    assert CARD_MARK in card
    assert "model=THE_BACKBONE" in card
    assert "base_model" not in card
    assert "pipeline_tag: text-classification" in card
    assert "`bad`, `good`" in card
    assert "    rate the film" in card


def test_card_when_the_backbone_is_bundled_then_needs_nothing(model):
    card = model_card("SKTuningClassifier", model, is_bundled=True)
    assert "from_pretrained(DIRECTORY_OR_HUB_ID)" in card
    assert "The directory `backbone` has the files of" in card


def test_card_when_held_out_texts_have_joined_then_says_so(model):
    comparison = replace(model.result.comparison, has_joined=True)
    joined = replace(model, result=replace(model.result, comparison=comparison))
    assert "trained on the held-out texts too" in model_card("X", joined, False)
    comparison = replace(comparison, has_joined=False)
    alone = replace(model, result=replace(model.result, comparison=comparison))
    assert "trained on the held-out texts too" not in model_card("X", alone, False)


def test_card_when_labels_are_many_or_odd_then_stays_a_card(model):
    labels = [f"label {i}\n# not a title" for i in range(25)]
    changed = SimpleNamespace(**vars(model))
    changed.task = SimpleNamespace(name="classification", classes=np.array(labels))
    changed.task.loss_names = model.task.loss_names
    changed.n_trained = model.n_trained
    card = model_card("SKTuningClassifier", changed, is_bundled=True)
    assert ", and 5 more" in card
    assert "\n# not a title" not in card
