"""Tables and learning curves of few labelled texts."""

import few_tables
import pytest


def row(task, method, seed, accuracy, seconds=None):
    found = {"task": task, "method": method, "seed": seed, "set": {}, "defaults": "a"}
    found["scores"] = {"accuracy": accuracy}
    return found if seconds is None else found | {"cpu_seconds": seconds}


@pytest.fixture
def rows():
    return [
        row("sst2-8shot-minilm", "ours", 0, 0.75, 10),
        row("sst2-8shot-minilm", "ours", 1, 0.85, 30),
        row("sst2-8shot-minilm", "setfit", 0, 0.5),
        row("sst2-1shot-minilm", "ours", 0, 0.6, 3),
        row("trec6-8shot-gemma", "ours", 0, 0.7, 9),
        row("conll-20sentences-minilm", "ours", 0, 0.3, 9),
    ]


def test_tables_then_have_means_and_numbers_of_draws_by_method(rows):
    by_method = few_tables.tables(rows)["few by method"]
    assert by_method == [
        "| data | backbone | ours | SetFit |",
        "| --- | --- | --- | --- |",
        "| SST-2 | MiniLM | 0.800 ±0.071 (2) | 0.500 (1) |",
        "| TREC, 6 classes | Gemma 3 270M | 0.700 (1) |  |",
    ]


def test_tables_then_have_seconds_where_they_are_known(rows):
    seconds = few_tables.tables(rows)["few in seconds"]
    assert seconds[2] == "| SST-2 | MiniLM | 20 |  |"


def test_tables_then_follow_methods_over_numbers_of_labels(rows):
    by_labels = few_tables.tables(rows)["few by labels"]
    assert by_labels[0] == "| data | backbone | method | 1 | 8 |"
    assert by_labels[2:] == ["| SST-2 | MiniLM | ours | 0.600 | 0.800 |"]


def test_figure_then_is_the_same_from_the_same_rows(rows, tmp_path):
    pytest.importorskip("matplotlib")
    few_tables.tables(rows, tmp_path)
    first = (tmp_path / "few_labels.svg").read_bytes()
    few_tables.tables(rows, tmp_path)
    assert (tmp_path / "few_labels.svg").read_bytes() == first
    assert b"<svg" in first
