"""Several texts a row: pairs, and columns in slots."""

import pickle
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from conftest import BACKBONES, DECODERS, ENCODERS, build_module, load_tiny, stir

from sksemantic import SKTuningClassifier, SKTuningRegressor, TruncationWarning
from sksemantic._inputs.dataset import TextDataset, collate
from sksemantic._inputs.prompt import Prompt
from sksemantic._inputs.template import Template
from sksemantic._model.frozen import FrozenFeatures
from sksemantic._model.module import SemanticModule
from sksemantic._training.comparison import StopWhenBetter
from sksemantic._training.config import _AUTO_RATES, _GENTLE_RATES
from sksemantic._training.trainer import Trainer

FIRST = ["a good film", "a dull book", "a lovely song", "an awful play"] * 6
SECOND = ["a great film", "a bad book", "a bad song", "a lovely play"] * 6
PAIRS = list(zip(FIRST, SECOND, strict=True))
SAME = [1, 1, 0, 0] * 6
TABLE = pd.DataFrame({"one": FIRST, "other": SECOND})
FORMS = {
    "tuples": PAIRS,
    "lists": [list(pair) for pair in PAIRS],
    "array": np.array(PAIRS, dtype=object),
    "str array": np.array(PAIRS),
    "pandas": TABLE,
    "polars": pl.DataFrame(TABLE.to_dict("list")),
    "arrow": pl.DataFrame(TABLE.to_dict("list")).to_arrow(),
}


def template(backbone, prompt="compare", n_texts=2, **changes):
    return Template(
        backbone, Prompt.parse(prompt), "prefix", changes.get("max_length"), n_texts
    )


@pytest.mark.parametrize("name", ENCODERS)
def test_rows_when_pairs_then_are_the_tokenizers_own(name, tiny):
    backbone = load_tiny(tiny(name))
    rows = template(backbone).rows([FIRST, SECOND])
    own = backbone.tokenizer(FIRST, SECOND, return_token_type_ids=True)
    assert [row.tolist() for row in rows] == own["input_ids"]
    if name == "bert":
        X, _ = collate(0)(TextDataset(rows))
        for found, types in zip(
            X["token_type_ids"].tolist(), own["token_type_ids"], strict=True
        ):
            assert found[: len(types)] == types
    else:
        assert rows.second_starts is None


@pytest.mark.parametrize("name", DECODERS)
def test_rows_when_pairs_and_causal_then_a_line_each(name, tiny):
    backbone = load_tiny(tiny(name))
    laid_out = template(backbone)
    row = laid_out.rows([["a book"], ["a film"]])[0].tolist()
    running = backbone.tokenizer.decode((laid_out.prompt_ids + row)[1:])
    assert running == "compare\na book\na film"


@pytest.mark.parametrize("name", [*DECODERS, "llama2"])
def test_rows_when_slots_then_read_as_one_running_text(name, tiny):
    backbone = load_tiny(tiny(name))
    laid_out = template(backbone, "film: {0}\nbook: {1}\nit was")
    row = laid_out.rows([["a good film"], ["a bad book"]])[0].tolist()
    running = "film: a good film\nbook: a bad book\nit was"
    assert backbone.tokenizer.decode((laid_out.prompt_ids + row)[1:]) == running


def test_rows_when_too_long_then_the_longest_is_cut_first(tiny_bert):
    backbone = load_tiny(tiny_bert)
    laid_out = template(backbone, max_length=13)  # [CLS] ... [SEP] ... [SEP]
    columns = [
        ["good " * 3, "good " * 20, "good " * 20],
        ["bad " * 20, "bad", "bad " * 9],
    ]
    with pytest.warns(TruncationWarning, match="3 of 3 texts .*longest of a row first"):
        rows = laid_out.rows(columns)
    good, bad = backbone.encode(["good", "bad"])
    counts = [(row.tolist().count(good[0]), row.tolist().count(bad[0])) for row in rows]
    assert counts == [(3, 7), (9, 1), (5, 5)]
    assert [len(row) for row in rows] == [13, 13, 13]


def test_rows_when_pairs_fit_then_no_warning(tiny_bert):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        template(load_tiny(tiny_bert), max_length=13).rows(
            [["good " * 5], ["bad " * 5]]
        )


@pytest.mark.parametrize("method", ["prefix", "prompt"])
def test_features_when_types_differ_then_they_count(method, tiny_bert):
    backbone = load_tiny(tiny_bert)
    module = build_module(backbone, method=method)
    rows = template(backbone).rows([["a book"], ["a film"]])
    with_types, _ = collate(0)(TextDataset(rows))
    without = {k: v for k, v in with_types.items() if k != "token_type_ids"}
    with torch.no_grad():
        one, other = module.features(with_types), module.features(without)
    assert (one - other).abs().max() > 1e-3


@pytest.mark.parametrize("is_kept", [True, False])
def test_features_when_pairs_are_entered_in_the_middle_then_equal_the_whole(
    is_kept, tiny_bert
):
    backbone = load_tiny(tiny_bert)
    rows = template(backbone).rows([FIRST[:4], SECOND[:4]])
    data = TextDataset(rows)
    whole, upper = (build_module(backbone, tuned_layers=k) for k in ("all", 1))
    assert upper.frozen.split_layer is not None
    if is_kept:
        upper.frozen.features(data)
    X, _ = collate(0)(data)
    with torch.no_grad():
        expected, found = whole.features(X), upper.features(X)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(upper.frozen.features(data), expected, atol=1e-5)


def test_frozen_features_when_types_differ_then_are_not_mixed_up(tiny_bert):
    backbone = load_tiny(tiny_bert)
    module = build_module(backbone)
    pair = TextDataset(template(backbone).rows([["a book"], ["a film"]]))
    (ids,) = [row.tolist() for row in pair.rows]
    plain = TextDataset([ids])
    one, other = module.frozen.features(pair), module.frozen.features(plain)
    assert np.abs(one - other).max() > 1e-3


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_predict_when_pairs_come_in_any_form_then_is_the_same(form, fast):
    clf = SKTuningClassifier(**fast).fit(PAIRS, SAME)
    np.testing.assert_array_equal(clf.predict_proba(form), clf.predict_proba(PAIRS))


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("method", ["prefix", "prompt"])
@pytest.mark.parametrize("make", [SKTuningClassifier, SKTuningRegressor])
def test_fit_when_pairs_and_default_prompt_then_predicts(
    make, method, name, fast, tiny
):
    parameters = fast | {"model": tiny(name), "prompt": None, "method": method}
    estimator = make(**parameters).fit(PAIRS, SAME)
    assert estimator.predict(PAIRS).shape == (24,)
    assert estimator.transform(PAIRS).shape == (24, estimator._n_features_out)


def test_fit_when_columns_are_named_then_order_does_not_matter(fast):
    prompt = "film: {one} book: {other} it was"
    clf = SKTuningClassifier(**fast | {"prompt": prompt}).fit(TABLE, SAME)
    assert clf.feature_names_in_.tolist() == ["one", "other"]
    swapped = SKTuningClassifier(**fast | {"prompt": prompt}).fit(
        TABLE[["other", "one"]], SAME
    )
    np.testing.assert_array_equal(
        clf.predict_proba(TABLE), swapped.predict_proba(TABLE[["other", "one"]])
    )
    by_position = SKTuningClassifier(
        **fast | {"prompt": "film: {0} book: {1} it was"}
    ).fit(PAIRS, SAME)
    np.testing.assert_array_equal(
        clf.predict_proba(TABLE), by_position.predict_proba(PAIRS)
    )


def test_fit_when_three_columns_then_all_are_read(fast):
    table = TABLE.assign(third=FIRST[::-1])
    prompt = "film {one} book {other} play {third} it was"
    clf = SKTuningClassifier(**fast | {"prompt": prompt}).fit(table, SAME)
    changed = table.assign(third="a lovely song of the year")
    assert (clf.predict_proba(table) != clf.predict_proba(changed)).any()


def test_pickle_when_pairs_then_predicts_the_same(fast):
    clf = SKTuningClassifier(**fast).fit(PAIRS, SAME)
    again = pickle.loads(pickle.dumps(clf))
    np.testing.assert_array_equal(again.predict_proba(PAIRS), clf.predict_proba(PAIRS))


def test_predict_when_rowshave_another_number_of_texts_then_refused(fast):
    clf = SKTuningClassifier(**fast).fit(PAIRS, SAME)
    with pytest.raises(ValueError, match=r"X has 1 text\(s\) a row.* fitted with 2"):
        clf.predict(FIRST)
    single = SKTuningClassifier(**fast).fit(FIRST, SAME)
    with pytest.raises(ValueError, match=r"X has 2 text\(s\) a row.* fitted with 1"):
        single.predict(PAIRS)


def test_module_when_pairs_are_padded_then_equal_unpadded(tiny_bert):
    backbone = load_tiny(tiny_bert)
    module: SemanticModule = stir(build_module(backbone))
    data = TextDataset(template(backbone).rows([FIRST[:6], SECOND[:6]]))
    together, _ = collate(0)(data)
    with torch.no_grad():
        alone = [
            module.features(collate(0)(data.take(np.array([i])))[0]) for i in range(6)
        ]
        torch.testing.assert_close(
            module.features(together), torch.cat(alone), rtol=0, atol=1e-5
        )


def pair_data(backbone, n=6):
    """Return pairs that are read together and apart, and what is read, row by row."""
    laid_out = template(backbone)
    columns = [FIRST[:n], SECOND[:n]]
    together, apart = laid_out.rows_and_parts(columns)
    return TextDataset(together, parts=apart), together, apart


@pytest.mark.parametrize("name", ENCODERS)
def test_parts_when_encoder_then_each_text_is_a_row_as_if_alone(name, tiny):
    backbone = load_tiny(tiny(name))
    _, _, apart = pair_data(backbone)
    texts = [text for pair in PAIRS[:6] for text in pair]
    assert [row.tolist() for row in apart] == backbone.tokenizer(texts)["input_ids"]


@pytest.mark.parametrize("tuned_layers", ["all", 1])
@pytest.mark.parametrize("method", ["prefix", "prompt"])
def test_features_when_read_apart_then_are_those_of_three_readings(
    method, tuned_layers, tiny_bert
):
    if (method, tuned_layers) == ("prompt", 1):
        pytest.skip("a soft prompt has no tuned layers")
    backbone = load_tiny(tiny_bert)
    data, together, apart = pair_data(backbone)
    changes = {"method": method, "tuned_layers": tuned_layers}
    module = stir(build_module(backbone, pooling="pair", **changes))
    plain = build_module(backbone, **changes)
    plain.adapter.load_state_dict(module.adapter.state_dict())
    X, _ = collate(0)(data)
    with torch.no_grad():
        found = module.features(X)
        whole, each = (
            plain.features(collate(0)(TextDataset(rows))[0])
            for rows in (together, apart)
        )
    first, second = (
        one / one.norm(dim=1, keepdim=True) for one in (each[::2], each[1::2])
    )
    expected = torch.cat([whole, (first - second).abs(), first * second], dim=1)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("tuned_layers", ["all", 1])
def test_frozen_features_when_read_apart_then_equal_the_untrained_modules(
    tuned_layers, tiny_bert
):
    backbone = load_tiny(tiny_bert)
    data, _, _ = pair_data(backbone)
    module = build_module(backbone, pooling="pair", tuned_layers=tuned_layers)
    X, _ = collate(0)(data)
    with torch.no_grad():
        expected = module.features(X)
    np.testing.assert_allclose(module.frozen.features(data), expected, atol=1e-5)


def test_take_when_pairs_are_read_apart_then_both_texts_come_along(tiny_bert):
    data, _, apart = pair_data(load_tiny(tiny_bert))
    taken = data.take(np.array([4, 1]))
    assert [row.tolist() for row in taken.parts] == [
        apart[i].tolist() for i in (8, 9, 2, 3)
    ]
    assert taken.digest() != data.digest()


def test_transform_when_pairs_then_encoders_read_them_together_and_apart(fast):
    hidden_size = 32
    read = SKTuningClassifier(**fast).fit(PAIRS, SAME)
    assert read.transform(PAIRS).shape == (24, 3 * hidden_size)
    for changes in (
        {"training__pooling": "mean"},
        {"prompt": "film: {0} book: {1} it was"},
    ):
        clf = SKTuningClassifier(**fast | changes).fit(PAIRS, SAME)
        assert clf.transform(PAIRS).shape == (24, hidden_size)


def test_scale_when_pairs_then_small_products_are_not_taken_for_constants(
    fast, monkeypatch
):
    """Products of vectors of length one are far smaller than a loud dimension."""
    features = FrozenFeatures.features

    def loud(self, data):
        found = features(self, data)
        found[:, 3] *= 1e6
        return found

    monkeypatch.setattr(FrozenFeatures, "features", loud)
    clf = SKTuningClassifier(**fast).fit(PAIRS, SAME)
    scale = clf.module_.feature_scale.numpy()
    assert scale[3] > 1e3
    assert (scale[32:] < 1).all()


def test_predict_when_pairs_are_read_apart_then_batch_mates_do_not_matter(fast):
    clf = SKTuningClassifier(**fast).fit(PAIRS, SAME)
    together = clf.predict_proba(PAIRS[:6])
    alone = np.concatenate([clf.predict_proba([pair]) for pair in PAIRS[:6]])
    np.testing.assert_allclose(together, alone, atol=1e-5)


AUTO = {"lr": "auto", "head_lr": "auto"}


def rates(clf):
    return [group["lr"] for group in clf.net_.optimizer_.param_groups]


def test_partial_fit_when_pairs_then_rates_suit_the_start(fast):
    clf = SKTuningClassifier(**fast | AUTO)
    clf.partial_fit(PAIRS, SAME, classes=[0, 1])  # from a random head
    assert rates(clf) == [_AUTO_RATES[False][1], _AUTO_RATES[False][0]]
    clf = SKTuningClassifier(**fast | AUTO).fit(PAIRS, SAME)
    clf.partial_fit(PAIRS, SAME)  # goes on
    expected = [_GENTLE_RATES[False][1], _GENTLE_RATES[False][0]]
    assert rates(clf) == expected
    assert rates(pickle.loads(pickle.dumps(clf))) == expected


def test_fit_when_trained_again_on_all_pairs_then_starts_from_their_closed_form(
    fast, monkeypatch
):
    heads = []
    run, compare = Trainer._run, Trainer._compare

    def note(trainer, *args, **kwargs):
        heads.append(trainer.module.head.weight.detach().clone().numpy())
        return run(trainer, *args, **kwargs)

    def never(watch, net, **kwargs):
        """Leave the question open, so that training starts again on all pairs."""

    monkeypatch.setattr(Trainer, "_run", note)
    monkeypatch.setattr(StopWhenBetter, "on_epoch_end", never)
    monkeypatch.setattr(
        Trainer, "_compare", lambda *args: replace(compare(*args), kept="trained")
    )
    clf = SKTuningClassifier(**fast).fit(PAIRS, SAME)
    assert len(heads) == 2
    np.testing.assert_allclose(heads[1], clf.linear_probe_.coef, atol=1e-6)
    assert np.abs(heads[1] - heads[0]).max() > 1e-4


def test_warm_start_when_texts_a_row_change_then_refused(fast):
    clf = SKTuningClassifier(**fast, warm_start=True).fit(FIRST, SAME)
    with pytest.raises(ValueError, match="warm_start=True needs .*texts a row"):
        clf.fit(PAIRS, SAME)


@pytest.mark.parametrize(
    "pairs",
    [[("", "a book"), *PAIRS], [("", ""), *PAIRS], [(" ", "a book"), *PAIRS]],
    ids=["one", "both", "blank"],
)
@pytest.mark.parametrize("name", ENCODERS)
def test_fit_when_texts_of_pairs_are_empty_then_predicts(pairs, name, fast, tiny):
    clf = SKTuningClassifier(**fast | {"model": tiny(name)}).fit(pairs, [0, *SAME])
    assert np.isfinite(clf.predict_proba(pairs)).all()


def test_fit_when_pairs_are_too_long_then_warns_once(fast):
    pairs = [("good " * 40, "bad " * 30), *PAIRS]
    clf = SKTuningClassifier(**fast, max_length=20)
    with pytest.warns(TruncationWarning) as caught:
        clf.fit(pairs, [0, *SAME])
    assert len(caught) == 1
    with pytest.warns(TruncationWarning, match="1 of 25"):
        clf.predict(pairs)


@pytest.mark.parametrize(
    ("make", "y"),
    [
        (SKTuningClassifier, np.eye(3, dtype=int)[np.arange(24) % 3]),
        (SKTuningRegressor, np.arange(48.0).reshape(24, 2) % 7),
    ],
    ids=["labels", "targets"],
)
def test_fit_when_pairs_have_several_targets_then_predicts_all(make, y, fast):
    assert make(**fast).fit(PAIRS, y).predict(PAIRS).shape == y.shape
