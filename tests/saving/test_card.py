"""The model card of a saved estimator."""

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


def test_card_when_labels_are_many_or_odd_then_stays_a_card(model):
    labels = [f"label {i}\n# not a title" for i in range(25)]
    changed = SimpleNamespace(**vars(model))
    changed.task = SimpleNamespace(name="classification", classes=np.array(labels))
    changed.task.first_loss = model.task.first_loss
    changed.n_trained = model.n_trained
    card = model_card("SKTuningClassifier", changed, is_bundled=True)
    assert ", and 5 more" in card
    assert "\n# not a title" not in card
