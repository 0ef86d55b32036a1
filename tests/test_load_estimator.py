"""A saved estimator is loaded whatever its class is."""

import pytest
from conftest import FAST, LABELS, TEXTS

from sksemantic import (
    SKTuningClassifier,
    SKTuningRegressor,
    SKTuningTokenClassifier,
    load_estimator,
)

WORDS = [text.split() for text in TEXTS]


@pytest.mark.parametrize(
    ("estimator_class", "X", "y"),
    [
        (SKTuningClassifier, TEXTS, LABELS),
        (SKTuningRegressor, TEXTS, [*map(len, TEXTS)]),
        (SKTuningTokenClassifier, WORDS, [[str(len(w)) for w in x] for x in WORDS]),
    ],
)
def test_load_estimator_when_of_any_class_then_predicts_the_same(
    estimator_class, X, y, tiny_bert, tmp_path
):
    fitted = estimator_class(**FAST | {"model": tiny_bert}).fit(X, y)
    fitted.save_pretrained(tmp_path / "saved")
    loaded = load_estimator(tmp_path / "saved", model=tiny_bert, device="cpu")
    assert type(loaded) is estimator_class
    assert [*map(str, loaded.predict(X))] == [*map(str, fitted.predict(X))]


def test_load_estimator_when_there_is_none_then_says_so(tmp_path):
    with pytest.raises(ValueError, match="is no model"):
        load_estimator(tmp_path)
    with pytest.raises(ValueError, match="There is no directory 'nowhere'"):
        load_estimator("nowhere")
    with pytest.raises(ValueError, match="There is no directory 'aaa"):
        load_estimator("a" * 5000)
    with pytest.raises(TypeError, match="named by its directory.*Got int"):
        load_estimator(3)
    (tmp_path / "config.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match="is no model"):
        load_estimator(tmp_path)
