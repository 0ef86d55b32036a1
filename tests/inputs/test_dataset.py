import warnings

import numpy as np
import pytest
import torch
from conftest import BACKBONES, DECODERS, ENCODERS, build_module, load_tiny, random_ids

from sksemantic import SKTuningClassifier, TruncationWarning
from sksemantic._inputs.dataset import (
    BucketSampler,
    Ragged,
    TextDataset,
    TokenBudgetSampler,
    collate,
    ordered_batches,
    train_batches,
)
from sksemantic._inputs.prompt import Prompt
from sksemantic._inputs.template import Template

SLOT = 'film: "{text}" it was'


def template(backbone, prompt="rate the film", method="prefix", max_length=None):
    return Template(backbone, Prompt.parse(prompt), method, max_length)


@pytest.fixture
def lengths():
    return np.random.RandomState(0).randint(1, 200, 1003)


@pytest.fixture
def sampler(lengths):
    return BucketSampler(lengths, 16, np.random.RandomState(0))


def test_bucket_sampler_when_iterated_then_covers_each_row_once(sampler, lengths):
    batches = list(sampler)
    assert len(batches) == len(sampler) == 63
    assert sorted(np.concatenate(batches)) == list(range(len(lengths)))
    assert sorted(map(len, batches)) == [11] + [16] * 62


def test_bucket_sampler_when_iterated_then_batches_have_similar_lengths(
    sampler, lengths
):
    spans = [np.ptp(lengths[batch]) for batch in sampler]
    assert np.mean(spans) < 0.1 * np.ptp(lengths)


def test_bucket_sampler_when_iterated_then_batches_are_not_in_order_of_length(
    sampler, lengths
):
    means = [lengths[batch].mean() for batch in sampler]
    neighbours = np.corrcoef(means[:-1], means[1:])[0, 1]
    assert abs(neighbours) < 0.4


def test_bucket_sampler_when_iterated_again_then_batches_differ(sampler):
    assert {tuple(sorted(b)) for b in sampler} != {tuple(sorted(b)) for b in sampler}


def test_bucket_sampler_when_seed_is_the_same_then_so_are_the_batches(lengths):
    one, other = (
        list(BucketSampler(lengths, 16, np.random.RandomState(7))) for _ in range(2)
    )
    assert one == other


def test_train_batches_when_iterated_then_targets_stay_with_their_rows():
    rows = random_ids(*range(1, 41))
    data = TextDataset(rows, np.arange(40), np.arange(40, dtype=np.float32))
    seen = []
    for X, y in train_batches(data, 8, 0, np.random.RandomState(0)):
        assert X["attention_mask"].sum(dim=1).tolist() == [len(rows[i]) for i in y]
        assert X["sample_weight"].tolist() == y.tolist()
        seen += y.tolist()
    assert sorted(seen) == list(range(40))


def test_ordered_batches_when_iterated_then_order_is_kept():
    data = TextDataset(random_ids(3, 1, 2, 1500), np.array([3, 0, 2, 1]))
    batches = list(ordered_batches(data, 0, budget=2048))
    assert [y.tolist() for _, y in batches] == [[3, 0, 2], [1]]


def test_token_budget_sampler_when_iterated_then_padding_counts_too():
    sampler = TokenBudgetSampler(np.array([3, 5, 1, 5, 6, 11, 2]), budget=10)
    assert list(sampler) == [[0, 1], [2, 3], [4], [5], [6]]
    assert len(sampler) == 5


def test_ragged_when_taken_then_rowsand_keys_are_those_of_its_rows():
    rows = random_ids(4, 1, 9)
    ragged = Ragged.of(rows)
    taken = ragged.take(np.array([2, 0, 2]))
    assert [row.tolist() for row in taken] == [rows[2], rows[0], rows[2]]
    assert taken.lengths.tolist() == [9, 4, 9]
    assert taken.keys() == [ragged.keys()[i] for i in (2, 0, 2)]
    assert len(set(ragged.keys())) == 3


def test_collate_when_ragged_then_pads_on_the_right():
    rows = [[5, 6, 7], [8]]
    X, y = collate(9)(TextDataset(rows, np.array([1, 0])))
    assert X["input_ids"].tolist() == [[5, 6, 7], [8, 9, 9]]
    assert X["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert X["sample_weight"].tolist() == [1.0, 1.0]
    assert y.tolist() == [1, 0]
    assert X["input_ids"].dtype == X["attention_mask"].dtype == y.dtype == torch.int64
    assert X["sample_weight"].dtype == torch.float32


def test_by_length_when_sorted_then_permutation_leads_back():
    data = TextDataset(random_ids(4, 2, 9, 2), np.arange(4))
    by_length, order = data.by_length()
    assert [len(row) for row in by_length.rows] == [2, 2, 4, 9]
    assert by_length.targets.tolist() == order.tolist() == [1, 3, 0, 2]


def test_take_when_indexed_then_rowstargets_and_weights_go_along():
    rows = random_ids(4, 2, 9)
    data = TextDataset(rows, np.array([7, 8, 9]), np.array([0.1, 0.2, 0.3]))
    taken = data.take(np.array([2, 0]))
    assert [row.tolist() for row in taken.rows] == [rows[2], rows[0]]
    assert taken.targets.tolist() == [9, 7]
    assert taken.weights.tolist() == [0.3, 0.1]


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("prompt", ["rate the film", " rate the film  "])
def test_template_when_encoder_then_prompt_and_text_are_sequences_of_their_own(
    name, prompt, tiny
):
    backbone = load_tiny(tiny(name))
    laid_out = template(backbone, prompt)
    assert laid_out.prompt_ids == backbone.tokenizer("rate the film")["input_ids"]
    assert (
        laid_out.rows([["a book"]])[0].tolist()
        == (backbone.tokenizer("a book")["input_ids"])
    )


@pytest.mark.parametrize("name", ENCODERS)
def test_template_when_encoder_and_slot_then_what_follows_stands_behind_the_text(
    name, tiny
):
    backbone = load_tiny(tiny(name))
    laid_out = template(backbone, "film: {text} it was")
    assert laid_out.prompt_ids == backbone.tokenizer("film:")["input_ids"]
    row = laid_out.rows([["a book"]])[0].tolist()
    assert row == backbone.tokenizer("a book it was")["input_ids"]


@pytest.mark.parametrize("name", [*DECODERS, "llama2"])
@pytest.mark.parametrize(
    ("prompt", "running"),
    [
        ("rate the film", "rate the film\na book"),
        ("rate the film\n", "rate the film\na book"),
        ("film: {text}", "film: a book"),
        ("film: {text} it was", "film: a book it was"),
        ('film: "{text}"\nit was', 'film: "a book"\nit was'),
    ],
)
def test_template_when_causal_then_prompt_and_text_read_as_one_running_text(
    name, prompt, running, tiny
):
    backbone = load_tiny(tiny(name))
    laid_out = template(backbone, prompt)
    row = laid_out.rows([["a book"]])[0].tolist()
    decode = backbone.tokenizer.decode
    assert decode((laid_out.prompt_ids + row)[1:]) == running
    assert laid_out.prompt_ids[0] == backbone.tokenizer.bos_token_id


@pytest.mark.parametrize("name", [*DECODERS, "llama2"])
def test_template_when_causal_then_words_are_tokenised_as_in_training(name, tiny):
    backbone = load_tiny(tiny(name))
    laid_out = template(backbone, "film: {text}")
    row = laid_out.rows([["lovely book"]])[0].tolist()
    running = backbone.tokenizer("film: lovely book")["input_ids"]
    assert laid_out.prompt_ids + row == running


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("prompt", ["rate the film", SLOT])
def test_rows_when_texts_are_empty_or_blank_then_they_have_tokens(name, prompt, tiny):
    rows = template(load_tiny(tiny(name)), prompt).rows([["", "  ", "a"]])
    assert all(map(len, rows))


def test_rows_when_texts_are_long_then_cut_with_one_warning(tiny_bert):
    laid_out = template(load_tiny(tiny_bert), max_length=10)
    texts = ["good " * 9, "good", "bad " * 20, "good " * 8]
    with pytest.warns(TruncationWarning) as caught:
        rows = laid_out.rows([texts])
    (warning,) = caught
    message = str(warning.message)
    assert "2 of 4 texts are longer than max_length=10 tokens" in message
    assert "the longest has 22" in message
    assert "Raise 'max_length'" in message
    assert [len(row) for row in rows] == [10, 3, 10, 10]
    assert all(row[0] == 2 and row[-1] == 3 for row in rows)  # [CLS] ... [SEP]


def test_rows_when_texts_are_cut_then_what_follows_the_slot_stays(tiny_llama):
    backbone = load_tiny(tiny_llama)
    laid_out = template(backbone, "{text} it was", max_length=12)
    with pytest.warns(TruncationWarning):
        row = laid_out.rows([["good " * 30]])[0].tolist()
    assert len(row) == 12
    assert backbone.tokenizer.decode(row).endswith(" it was")


def test_rows_when_texts_fit_then_no_warning(tiny_bert):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        template(load_tiny(tiny_bert), max_length=10).rows([["good " * 8]])


def test_truncation_warning_when_fitting_then_points_at_the_users_line(
    fast, texts, labels
):
    clf = SKTuningClassifier(**fast, max_length=4)
    with pytest.warns(TruncationWarning) as caught:
        clf.fit(texts, labels)
    assert {warning.filename for warning in caught} == {__file__}


@pytest.mark.parametrize(
    ("name", "method", "room"),
    [
        ("bert", "prefix", 128),  # an encoder's text keeps all of its positions
        ("roberta", "prefix", 128),
        ("bert", "prompt", 128 - 5),  # [CLS] film film film [SEP]
        ("llama2", "prefix", 256 - 5),  # <s> film film film, and the line's end
        ("llama2", "prompt", 256 - 5),
    ],
)
def test_max_length_when_none_then_is_what_the_positions_allow(
    name, method, room, tiny
):
    assert template(load_tiny(tiny(name)), "film film film", method).max_length == room


@pytest.mark.parametrize("max_length", [2, 129])
def test_max_length_when_out_of_range_then_says_which_range(max_length, tiny_bert):
    message = "'max_length' parameter must be between 3 and 128 .* Got {} instead"
    with pytest.raises(ValueError, match=message.format(max_length)):
        template(load_tiny(tiny_bert), max_length=max_length)


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("method", ["prefix", "prompt"])
def test_prompt_when_too_long_then_refused(name, method, tiny):
    with pytest.raises(ValueError, match="'prompt' parameter is too long: .* Shorten"):
        template(load_tiny(tiny(name)), "film " * 300, method)


def test_prompt_when_what_follows_the_slot_is_too_long_then_refused(tiny_bert):
    with pytest.raises(ValueError, match="'prompt' parameter is too long"):
        template(load_tiny(tiny_bert), "rate {text}" + " film" * 122)


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("method", ["prefix", "prompt"])
def test_text_when_as_long_as_allowed_then_runs(name, method, tiny):
    backbone = load_tiny(tiny(name))
    laid_out = template(backbone, method=method)
    with pytest.warns(TruncationWarning):
        row = laid_out.rows([["film " * 600]])[0].tolist()
    assert len(row) == laid_out.max_length
    module = build_module(backbone, laid_out.prompt_ids, method=method)
    X, _ = collate(0)(TextDataset([row]))
    features = module.features(X)
    assert features.isfinite().all()
