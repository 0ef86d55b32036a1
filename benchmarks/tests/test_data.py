from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import splits
from catalogue import all_names, task_named
from data import load_conll2003, load_sst2
from ours import nested
from peers.networks import Targets, first_tokens, token_labels
from results import is_ours


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("SKSEMANTIC_DATA", str(tmp_path))
    (tmp_path / "sst2").mkdir()
    rows = [f"phrase {i}\t{i % 2}" for i in range(20)] + ["phrase 0\t0"]
    (tmp_path / "sst2" / "train.tsv").write_text("\n".join(["sentence\tlabel", *rows]))
    (tmp_path / "sst2" / "test.tsv").write_text("sentence\tlabel\nfine\t1\ndull\t0\n")
    (tmp_path / "conll2003").mkdir()
    words = "Anna B-PER\nlives O\n\nRome B-LOC\n"
    (tmp_path / "conll2003" / "train.txt").write_text(words)
    return tmp_path


def test_loaders_when_files_are_there_then_rows_are_theirs(folder):
    texts, labels = load_sst2()
    assert len(texts) == len(labels) == 20  # the repeated phrase counts once
    assert load_sst2("test") == (["fine", "dull"], ["1", "0"])
    assert load_conll2003() == (
        [["Anna", "lives"], ["Rome"]],
        [["B-PER", "O"], ["B-LOC"]],
    )


def test_loaders_when_a_file_is_missing_then_say_what_to_do(folder):
    with pytest.raises(FileNotFoundError, match="SKSEMANTIC_DATA"):
        load_sst2("validation")


def test_split_when_seeds_differ_then_rows_differ_and_sizes_are_kept(folder):
    task = task_named("sst2", limit=8)
    assert (task.name, task.size) == ("sst2-8-minilm", 8)
    X, X_test, y, y_test = task.split(0)
    assert (len(X), len(X_test), sorted(y)) == (8, 2, ["0"] * 4 + ["1"] * 4)
    assert X == task.split(0)[0]
    assert X != task.split(1)[0]


@pytest.mark.parametrize(("spare", "n_test"), [(False, 6), (True, 8)])
def test_official_split_when_rows_are_left_then_they_are_tested_on_if_asked_for(
    spare, n_test
):
    def load(split="train"):
        return [(f"{split} {i}", "so") for i in range(6)], [
            f"{split} {i}" for i in range(6)
        ]

    X, X_test, y, y_test = splits.split_official(4, 3, load, spare=spare)
    assert (len(X), len(X_test)) == (4, n_test)
    assert not {*X} & {*X_test}
    assert [pair[0] for pair in [*X, *X_test]] == [*y, *y_test]


def test_few_split_when_more_shots_then_same_texts_and_same_unlabelled():
    def load():
        return list(range(400)), [], np.arange(400) % 2, np.array([])

    one, _, y_one, _ = splits.split_few(1, 0, load)
    four, _, y_four, _ = splits.split_few(4, 0, load)
    assert (y_four != splits.UNLABELLED).sum() == 8
    assert set(one[:2]) <= set(four[:8])
    assert one[2:] == four[8:]


def test_tasks_when_named_then_have_methods_of_their_kind():
    for name in all_names():
        assert task_named(name).name == name
        assert any(map(is_ours, task_named(name).methods))
    few = {"ours", "ours-unlabelled", "setfit", "tfidf"}
    assert few <= task_named("bbc-8shot").methods.keys()
    assert "ours-label-texts" not in task_named("bbc-8shot").methods
    assert "setfit" in task_named("trec6-200").methods
    assert "setfit" not in task_named("trec6-4000").methods
    assert "authors" in task_named("sst2-gemma").methods
    assert "p-tuning" not in task_named("conll").methods
    assert "label-texts-centred" in task_named("sst2-0shot-gemma").methods
    for name in ("sst3-1000", "stsb-8shot", "conll-8shot", "sst2-8sentences"):
        with pytest.raises(ValueError, match="DATA-SIZE-BACKBONE"):
            task_named(name)


def test_split_when_sentences_are_few_then_test_rows_are_the_same(monkeypatch):
    def load(split="train"):
        words = [[f"{split} {i}"] for i in range(900)]
        return words, [[f"B-{each}" for each in row] for row in words]

    task = task_named("conll-20sentences-minilm")
    data = replace(task.data, split=partial(splits.split_official, load=load))
    task = replace(task, data=data)
    one, other = task.split(0), task.split(1)
    assert [len(part) for part in one] == [20, 300, 20, 300]
    assert one[1] == other[1]
    assert one[0] != other[0]
    for X, y in (one[::2], one[1::2]):
        assert y == [[f"B-{word}" for word in row] for row in X]


def test_settings_when_nested_then_are_dictionaries():
    found = nested({"lr": 1, "training__contrast": 0, "training__dropout": 2})
    assert found == {"lr": 1, "training": {"contrast": 0, "dropout": 2}}


def test_targets_when_decoded_then_are_labels_and_numbers_again():
    y = np.array(["b", "a", "b"])
    targets = Targets("classes", y)
    assert targets.encode(y) == [1, 0, 1]
    assert targets.decode(np.eye(2)[[1, 0]]).tolist() == ["b", "a"]
    numbers = np.array([1.0, 3.0])
    targets = Targets("numbers", numbers)
    np.testing.assert_allclose(
        targets.decode(np.array([targets.encode(numbers)]).T), numbers
    )


def test_token_labels_when_words_have_several_tokens_then_the_first_counts():
    starts = first_tokens([None, 0, 0, 1, None])
    assert starts == [1, 3]
    assert token_labels([[5] * 5], [starts], [[7, 8]]) == [[-100, 7, -100, 8, -100]]
