import numpy as np
import pytest
from conftest import BACKBONES, DECODERS, ENCODERS, batch_of, build_module, load_tiny

from sksemantic import TruncationWarning
from sksemantic._inputs.prompt import Prompt
from sksemantic._inputs.template import Template

SLOT = 'film: "{text}" it was'


def make_template(
    backbone, prompt="rate the film", method="prefix", max_length=None, **options
):
    return Template(backbone, Prompt.parse(prompt), method, max_length, **options)


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize(
    ("prompt", "before", "text"),
    [
        ("rate the film", "rate the film", "a book"),
        (" rate the film  ", "rate the film", "a book"),
        ("film: {text} it was", "film:", "a book it was"),
    ],
)
def test_template_when_encoder_then_prompt_and_text_are_sequences_of_their_own(
    name, prompt, before, text, tiny
):
    backbone = load_tiny(tiny(name))
    template = make_template(backbone, prompt)
    assert template.prompt_ids == backbone.tokenizer(before)["input_ids"]
    row = template.rows([["a book"]])[0].tolist()
    assert row == backbone.tokenizer(text)["input_ids"]


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
    template = make_template(backbone, prompt)
    row = template.rows([["a book"]])[0].tolist()
    decode = backbone.tokenizer.decode
    assert decode((template.prompt_ids + row)[1:]) == running
    assert template.prompt_ids[0] == backbone.tokenizer.bos_token_id


@pytest.mark.parametrize("name", [*DECODERS, "llama2"])
def test_template_when_causal_then_words_are_tokenised_as_in_training(name, tiny):
    backbone = load_tiny(tiny(name))
    template = make_template(backbone, "film: {text}")
    row = template.rows([["lovely book"]])[0].tolist()
    running = backbone.tokenizer("film: lovely book")["input_ids"]
    assert template.prompt_ids + row == running


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("prompt", ["rate the film", SLOT])
def test_rows_when_texts_are_empty_or_blank_then_they_have_tokens(name, prompt, tiny):
    rows = make_template(load_tiny(tiny(name)), prompt).rows([["", "  ", "a"]])
    assert all(map(len, rows))


def test_rows_when_texts_are_long_then_cut_with_one_warning(tiny_bert):
    template = make_template(load_tiny(tiny_bert), max_length=10)
    texts = ["good " * 9, "good", "bad " * 20, "good " * 8]
    with pytest.warns(TruncationWarning) as caught:
        rows = template.rows([texts])
    (warning,) = caught
    assert warning.filename == __file__  # the first line outside the package
    message = str(warning.message)
    assert "2 of 4 texts are longer than max_length=10 tokens" in message
    assert "the longest has 22" in message
    assert "34.2% of all tokens are not read" in message  # 13 of 38
    assert "Raise 'max_length'" in message
    assert "set long_texts='windows' to read them whole" in message
    assert [len(row) for row in rows] == [10, 3, 10, 10]
    assert all(row[0] == 2 and row[-1] == 3 for row in rows)  # [CLS] ... [SEP]


def test_rows_when_texts_are_cut_then_what_follows_the_slot_stays(tiny_llama):
    backbone = load_tiny(tiny_llama)
    template = make_template(backbone, "{text} it was", max_length=12)
    with pytest.warns(TruncationWarning):
        row = template.rows([["good " * 30]])[0].tolist()
    assert len(row) == 12
    assert backbone.tokenizer.decode(row).endswith(" it was")


def test_rows_when_texts_fit_then_no_warning(tiny_bert):
    make_template(load_tiny(tiny_bert), max_length=10).rows([["good " * 8]])


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
    template = make_template(load_tiny(tiny(name)), "film film film", method)
    assert template.max_length == room


@pytest.mark.parametrize("name", ["bert", "llama2"])
def test_max_length_when_none_and_windows_then_is_that_of_a_window(name, tiny):
    template = make_template(load_tiny(tiny(name)), "rate", long_texts="windows")
    assert template.max_length == 128


@pytest.mark.filterwarnings("error::sksemantic.TruncationWarning")
@pytest.mark.parametrize("name", BACKBONES)
def test_windows_when_joined_then_are_the_whole_text(name, tiny):
    backbone = load_tiny(tiny(name))
    texts = ["good film " * 20, "good", "", "a " * 9]
    whole = make_template(backbone, SLOT).rows([texts])
    template = make_template(backbone, SLOT, max_length=24, long_texts="windows")
    windows, n_windows = template.windows(texts)
    n_around = template._n_around
    assert max(map(len, windows)) <= 24
    lengths = windows.lengths - n_around
    assert n_windows.sum() == len(windows) > n_windows[0] > 1
    assert np.ptp(lengths[: n_windows[0]]) <= 1
    parts = iter(windows)
    for text, n in zip(whole, n_windows, strict=True):
        tail = text[len(text) - len(template._around[1]) :].tolist()
        first, *others = (next(parts).tolist() for _ in range(n))
        joined = first[: len(first) - len(tail)]
        for other in others:
            assert other[-len(tail) :] == tail
            joined += other[len(template._around[0]) : -len(tail)]
        assert joined + tail == text.tolist()


def test_windows_when_all_texts_fit_then_there_is_one_each(tiny_bert):
    template = make_template(load_tiny(tiny_bert), long_texts="windows")
    texts = ["good film", "bad"]
    windows, n_windows = template.windows(texts)
    assert n_windows is None
    assert [*map(list, windows)] == [*map(list, template.rows([texts]))]


@pytest.mark.parametrize("max_length", [2, 129])
def test_max_length_when_out_of_range_then_says_which_range(max_length, tiny_bert):
    message = "'max_length' parameter must be between 3 and 128 .* Got {} instead"
    with pytest.raises(ValueError, match=message.format(max_length)):
        make_template(load_tiny(tiny_bert), max_length=max_length)


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("method", ["prefix", "prompt"])
@pytest.mark.parametrize("prompt", ["film " * 300, "rate {text}" + " film" * 300])
def test_prompt_when_too_long_then_refused(prompt, name, method, tiny):
    with pytest.raises(ValueError, match="'prompt' parameter is too long: .* Shorten"):
        make_template(load_tiny(tiny(name)), prompt, method)


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("method", ["prefix", "prompt"])
def test_text_when_as_long_as_allowed_then_is_read_to_its_end(name, method, tiny):
    backbone = load_tiny(tiny(name))
    template = make_template(backbone, method=method)
    with pytest.warns(TruncationWarning):
        row = template.rows([["film " * 600]])[0].tolist()
    assert len(row) == template.max_length
    module = build_module(backbone, template.prompt_ids, method=method)
    X = batch_of([row, [*row[:-1], row[-1] + 1]])
    one, other = module.features(X)
    assert (one - other).abs().max() > 1e-4


def test_pair_texts_when_encoder_then_each_is_tokenised_on_its_own(tiny_bert):
    backbone = load_tiny(tiny_bert)
    template = Template(backbone, Prompt.parse("compare"), "prefix", 10, n_texts=2)
    columns = [["a book", "", "good " * 9], ["a film", "dull", "bad " * 9]]
    with pytest.warns(TruncationWarning) as caught:
        rows, pair_texts = template.rows_and_pair_texts(columns)
    assert len(caught) == 1
    assert "cut at the end, the longest of a row first" in str(caught[0].message)
    expected = backbone.tokenizer(columns[0][:2], columns[1][:2])["input_ids"]
    assert [row.tolist() for row in rows][:2] == expected
    texts = ["a book", "a film", "", "dull", "good " * 8, "bad " * 8]
    expected = backbone.tokenizer(texts)["input_ids"]
    assert [text.tolist() for text in pair_texts] == expected


@pytest.mark.parametrize("name", ENCODERS)
def test_word_rows_when_encoder_then_each_word_is_read_at_its_first_token(name, tiny):
    backbone = load_tiny(tiny(name))
    texts = [[], ["a", "lovely", "book"]]
    rows, word_positions, origins = make_template(backbone).word_rows(texts)
    assert origins.tolist() == [1]
    ids = rows[0].tolist()
    assert ids == backbone.tokenizer(" a lovely book")["input_ids"]
    words = [backbone.encode([" " + word])[0] for word in texts[1]]
    expected = [1, 1 + len(words[0]), 1 + len(words[0]) + len(words[1])]
    assert word_positions[0].tolist() == expected


@pytest.mark.parametrize("name", [*DECODERS, "llama2"])
def test_word_rows_when_causal_then_each_word_is_read_at_its_last_token(name, tiny):
    backbone = load_tiny(tiny(name))
    template = make_template(backbone, "find: {text}\nso")
    rows, word_positions, _ = template.word_rows([["a", "lovely", "book"]])
    ids = rows[0].tolist()
    decode = backbone.tokenizer.decode
    assert decode(ids).strip() == "a lovely book\nso"
    read = [decode(ids[: i + 1]).strip() for i in word_positions[0]]
    assert read == ["a", "a lovely", "a lovely book"]


@pytest.mark.parametrize("name", BACKBONES)
def test_word_rows_when_words_are_odd_then_each_has_a_token(name, tiny):
    words = ["", " ", "\u200b", "漢字", "🎬", "a" * 3000]
    template = make_template(load_tiny(tiny(name)))
    rows, word_positions, _ = template.word_rows([words])
    assert sum(map(len, word_positions)) == len(words)
    for row, positions in zip(rows, word_positions, strict=True):
        assert len(row) > positions.max(initial=0)


def test_word_rows_when_text_is_long_then_has_several_windows(tiny_bert):
    template = make_template(load_tiny(tiny_bert), max_length=12)
    rows, word_positions, origins = template.word_rows([["good"] * 50, [], ["bad"]])
    assert max(map(len, rows)) == 12
    assert sum(map(len, word_positions)) == 51
    assert origins.tolist() == [0] * (len(rows) - 1) + [2]


@pytest.mark.parametrize(
    ("prompt", "running"),
    [
        ("film: {text} it was", "a book it was good"),
        ("film: {text}\n", "a book\ngood"),
    ],
)
@pytest.mark.parametrize("name", [*DECODERS, "llama2"])
def test_continuations_when_joined_then_are_one_running_text(
    name, prompt, running, tiny
):
    backbone = load_tiny(tiny(name))
    template = make_template(backbone, prompt)
    row = template.rows([["a book"]])[0].tolist()
    (good,) = template.continuations(["good"])
    assert backbone.tokenizer.decode(row + good).strip() == running
