"""Several texts a row: pairs, and columns in slots."""

import pickle
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import (
    BACKBONES,
    DECODERS,
    ENCODERS,
    FAST,
    build_module,
    features_of,
    load_tiny,
    quietly_fit,
    stir,
    thorough,
)
from transformers import BertModel

from sksemantic import SKTuningClassifier, SKTuningRegressor
from sksemantic._inputs.dataset import TextDataset
from sksemantic._inputs.prompt import Prompt
from sksemantic._inputs.template import Template

FIRST = ["a good film", "a dull book", "a lovely song", "an awful play"] * 6
SECOND = ["a great film", "a bad book", "a bad song", "a lovely play"] * 6
PAIRS = list(zip(FIRST, SECOND, strict=True))
SAME = [1, 1, 0, 0] * 6
TABLE = pd.DataFrame({"one": FIRST, "other": SECOND})
SLOTS = "film: {0} book: {1} it was"


@pytest.fixture(scope="module")
def fitted(tiny_bert):
    """Return a classifier of pairs; tests must leave it as it is."""
    clf = SKTuningClassifier(model=tiny_bert, **FAST)
    return quietly_fit(clf, PAIRS, SAME)


def template(backbone, prompt="compare", max_length=None):
    return Template(backbone, Prompt.parse(prompt), "prefix", max_length, n_texts=2)


def together(backbone, n=6):
    """Return the first pairs, read together."""
    return TextDataset(template(backbone).rows([FIRST[:n], SECOND[:n]]))


def together_and_apart(backbone, n=6):
    """Return the first pairs, read together and text by text."""
    rows, pair_texts = template(backbone).rows_and_pair_texts([FIRST[:n], SECOND[:n]])
    return TextDataset(rows, pair_texts=pair_texts)


# What is read of a pair


@pytest.mark.parametrize("name", ENCODERS)
def test_rows_when_pairs_then_are_the_tokenizers_own(name, tiny):
    backbone = load_tiny(tiny(name))
    rows, pair_texts = template(backbone).rows_and_pair_texts([FIRST, SECOND])
    own = backbone.tokenizer(FIRST, SECOND, return_token_type_ids=True)
    assert [row.tolist() for row in rows] == own["input_ids"]
    if name == "bert":
        padded = rows.padded_types().tolist()
        for found, types in zip(padded, own["token_type_ids"], strict=True):
            assert found[: len(types)] == types
    else:
        assert rows.second_starts is None
    alone = backbone.tokenizer([text for pair in PAIRS for text in pair])["input_ids"]
    assert [row.tolist() for row in pair_texts] == alone


@pytest.mark.parametrize("name", [*DECODERS, "llama2"])
@pytest.mark.parametrize(
    ("prompt", "running"),
    [
        ("compare", "compare\na book\na film"),
        ("film: {0}\nbook: {1}\nit was", "film: a book\nbook: a film\nit was"),
    ],
)
def test_rows_when_pairs_and_causal_then_read_as_one_running_text(
    prompt, running, name, tiny
):
    backbone = load_tiny(tiny(name))
    laid_out = template(backbone, prompt)
    row = laid_out.rows([["a book"], ["a film"]])[0].tolist()
    assert backbone.tokenizer.decode((laid_out.prompt_ids + row)[1:]) == running


# What the module makes of it


@pytest.mark.parametrize("method", ["prefix", "prompt"])
@pytest.mark.parametrize("is_frozen", [True, False])
def test_features_when_types_differ_then_they_count(is_frozen, method, tiny_bert):
    backbone = load_tiny(tiny_bert)
    module = build_module(backbone, method=method)
    pairs = together(backbone, 1)
    plain = TextDataset([row.tolist() for row in pairs.token_ids])
    one, other = (
        module.frozen.features(data) if is_frozen else features_of(module, data).numpy()
        for data in (pairs, plain)
    )
    assert np.abs(one - other).max() > 1e-3


@pytest.mark.parametrize("pooling", ["mean", "pair"])
@pytest.mark.parametrize("is_kept", [True, False])
def test_features_when_pairs_are_entered_in_the_middle_then_equal_the_whole(
    is_kept, pooling, tiny_bert
):
    backbone = load_tiny(tiny_bert)
    data = (together_and_apart if pooling == "pair" else together)(backbone)
    whole, upper = (
        build_module(backbone, tuned_layers=k, pooling=pooling) for k in ("all", 1)
    )
    assert upper.frozen.split_layer is not None
    if is_kept:
        upper.frozen.features(data)
    expected = features_of(whole, data)
    torch.testing.assert_close(features_of(upper, data), expected, rtol=0, atol=1e-5)
    for module in (whole, upper):
        np.testing.assert_allclose(module.frozen.features(data), expected, atol=1e-5)


@pytest.mark.parametrize("pooling", ["mean", "pair"])
def test_features_when_pairs_are_padded_then_equal_unpadded(pooling, tiny_bert):
    backbone = load_tiny(tiny_bert)
    module = stir(build_module(backbone, pooling=pooling))
    data = (together_and_apart if pooling == "pair" else together)(backbone)
    alone = [features_of(module, data.take(np.array([i]))) for i in range(6)]
    torch.testing.assert_close(
        features_of(module, data), torch.cat(alone), rtol=0, atol=1e-5
    )


@pytest.mark.parametrize(
    ("method", "tuned_layers"), [("prefix", "all"), ("prefix", 1), ("prompt", "all")]
)
def test_features_when_read_apart_then_are_those_of_three_readings(
    method, tuned_layers, tiny_bert
):
    backbone = load_tiny(tiny_bert)
    data = together_and_apart(backbone)
    changes = {"method": method, "tuned_layers": tuned_layers}
    module = stir(build_module(backbone, pooling="pair", **changes))
    plain = build_module(backbone, **changes)
    plain.adapter.load_state_dict(module.adapter.state_dict())
    whole = features_of(plain, TextDataset(data.token_ids))
    each = features_of(plain, TextDataset(data.pair_texts))
    first, second = (
        one / one.norm(dim=1, keepdim=True) for one in (each[::2], each[1::2])
    )
    expected = torch.cat([whole, (first - second).abs(), first * second], dim=1)
    torch.testing.assert_close(features_of(module, data), expected, rtol=0, atol=1e-5)


# What the estimators make of it


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("method", ["prefix", "prompt"])
@pytest.mark.parametrize("make", [SKTuningClassifier, SKTuningRegressor])
def test_fit_when_prompt_is_the_default_then_both_texts_are_read(
    make, method, name, fast, tiny
):
    parameters = fast | {"model": tiny(name), "prompt": None, "method": method}
    estimator = make(**parameters).fit(PAIRS, SAME)
    assert ("{0}" in estimator.prompt_) == (name in DECODERS)
    pairs = [("a film", "a book"), ("a song", "a book"), ("a film", "a song")]
    embeddings = estimator.transform(pairs)
    assert np.abs(embeddings[1:] - embeddings[0]).max(axis=1).min() > 1e-3


def test_fit_when_columns_are_named_then_order_does_not_matter(fast):
    fast["prompt"] = "film: {one} book: {other} it was"
    clf = SKTuningClassifier(**fast).fit(TABLE, SAME)
    assert clf.feature_names_in_.tolist() == ["one", "other"]
    expected = clf.predict_proba(TABLE)
    swapped = TABLE[["other", "one"]]
    clf = SKTuningClassifier(**fast).fit(swapped, SAME)
    np.testing.assert_array_equal(clf.predict_proba(swapped), expected)
    by_position = SKTuningClassifier(**fast | {"prompt": SLOTS}).fit(PAIRS, SAME)
    np.testing.assert_array_equal(by_position.predict_proba(PAIRS), expected)


def test_fit_when_three_columns_then_all_are_read(fast):
    table = TABLE.assign(third=FIRST[::-1])
    fast["prompt"] = "film {one} book {other} play {third} it was"
    clf = SKTuningClassifier(**fast).fit(table, SAME)
    for name in table.columns:
        changed = table.assign(**{name: "a lovely song of the year"})
        difference = clf.transform(table) - clf.transform(changed)
        assert np.abs(difference).max() > 1e-3, name


def test_pickle_when_pairs_then_predicts_the_same(fitted):
    again = pickle.loads(pickle.dumps(fitted))
    expected = fitted.predict_proba(PAIRS)
    np.testing.assert_array_equal(again.predict_proba(PAIRS), expected)


def test_predict_when_rows_have_another_number_of_texts_then_refused(
    fitted, classifier
):
    with pytest.raises(ValueError, match=r"X has 1 text\(s\) a row.* fitted with 2"):
        fitted.predict(FIRST)
    classifier.fit(FIRST, SAME)
    with pytest.raises(ValueError, match=r"X has 2 text\(s\) a row.* fitted with 1"):
        classifier.predict(PAIRS)


def test_warm_start_when_texts_a_row_change_then_refused(classifier):
    classifier.set_params(warm_start=True).fit(FIRST, SAME)
    with pytest.raises(ValueError, match="n_texts was 1 and would be 2"):
        classifier.fit(PAIRS, SAME)


@pytest.mark.parametrize("changes", [{"training__pooling": "mean"}, {"prompt": SLOTS}])
def test_transform_when_pairs_are_not_read_apart_then_is_of_the_hidden_size(
    changes, fitted, classifier
):
    assert fitted.transform(PAIRS).shape == (24, 3 * 32)
    classifier.set_params(**changes).fit(PAIRS, SAME)
    assert classifier.transform(PAIRS).shape == (24, 32)


def test_scale_when_pairs_then_small_products_are_not_taken_for_constants(
    classifier, tmp_path
):
    """Products of vectors of length one are far smaller than a loud dimension."""
    shutil.copytree(classifier.model, tmp_path, dirs_exist_ok=True)
    model = BertModel.from_pretrained(tmp_path)
    with torch.no_grad():
        model.encoder.layer[-1].output.LayerNorm.weight[3] = 100
    model.save_pretrained(tmp_path)
    classifier.set_params(model=str(tmp_path)).fit(PAIRS, SAME)
    scale = classifier.get_module().feature_scale.numpy()
    assert scale[3] > 10
    assert scale[64:].min() < 1e-4
    assert scale[32:].max() < 1


def test_partial_fit_when_pairs_then_rates_suit_the_start(classifier):
    def start(clf):
        training = clf.config_.training
        return training.head_init, training.lr, training.head_lr

    classifier.set_params(lr="auto", training=None)
    classifier.partial_fit(PAIRS, SAME, classes=[0, 1])
    assert start(classifier) == ("zeros", 4e-3, 1.5e-3)
    classifier.fit(PAIRS, SAME)
    assert start(classifier) == ("linear_probe", 1e-3, 1e-4)
    classifier.partial_fit(PAIRS, SAME)  # goes on
    assert start(classifier) == ("linear_probe", 1e-3, 1e-4)


@pytest.mark.parametrize("empty", [("", "a book"), ("", ""), (" ", "a book")], ids=str)
@pytest.mark.parametrize("name", ENCODERS)
def test_fit_when_texts_of_pairs_are_empty_then_are_read_as_any_other(
    empty, name, classifier, tiny
):
    pairs = [empty, *PAIRS]
    classifier.set_params(model=tiny(name)).fit(pairs, [0, *SAME])
    alone = classifier.predict_proba([empty])
    np.testing.assert_allclose(classifier.predict_proba(pairs)[:1], alone, atol=1e-5)
    assert np.abs(alone - classifier.predict_proba(PAIRS)).min() > 1e-5


@pytest.mark.parametrize("make", [SKTuningClassifier, SKTuningRegressor])
def test_fit_when_pairs_have_several_targets_then_learns_all(make, fast):
    y = np.eye(4, dtype=int)[np.arange(24) % 4]  # there are four different pairs
    assert make(**thorough(fast)).fit(PAIRS, y).score(PAIRS, y) > 0.8
