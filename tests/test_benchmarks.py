"""The benchmarks' own code: what peers are shown, and how results are counted."""

import argparse
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import LABELS, TEXTS
from transformers.utils import logging

from sksemantic._training import Recipe

FOLDER = Path(__file__).parent.parent / "benchmarks"
if not FOLDER.exists():
    pytest.skip("the benchmarks are not there", allow_module_level=True)
sys.path.insert(0, str(FOLDER))

import _methods  # noqa: E402
import suite  # noqa: E402
from _runner import Task  # noqa: E402

logging.enable_progress_bar()  # the benchmarks switch it off

METHODS = ("LoRA", "prefix tuning", "prompt tuning", "P-tuning")
ARGS = argparse.Namespace(task=["all"], train_size=None)


def result(task, method, seed, score):
    """Return a result as the runner writes it."""
    name = suite.TASKS[task].scoring
    head = {"task": task, "method": method, "seed": seed, "shots": None}
    return head | {"train_size": None, "overrides": {}, name: score}


def test_summary_when_results_are_complete_then_ranks_and_duels_are_right(capsys):
    ours = "SKTuningClassifier"
    results = [
        result("sst2-200-minilm", ours, 0, 0.70),
        result("sst2-200-minilm", ours, 0, 0.80),  # run again: replaces the first
        result("sst2-200-minilm", ours, 1, 0.90),
        result("sst2-200-minilm", "LoRA", 0, 0.80),
        result("trec6-200-minilm", ours, 0, 0.60),
        result("trec6-200-minilm", "LoRA", 0, 0.70),
        result("trec6-200-minilm", "frozen + linear", 0, 0.60),
    ]
    suite.summarise(suite.TASKS, results, ARGS)
    out = capsys.readouterr().out
    assert "ours against LoRA                 won 1, tied 0, lost 1" in out
    assert "ours against frozen + linear      won 0, tied 1, lost 0" in out
    assert "mean -0.025, worst -0.100" in out


def test_summary_when_no_task_has_all_methods_then_is_silent(capsys):
    results = [
        result("sst2-200-minilm", "LoRA", 0, 0.8),
        result("trec6-200-minilm", "frozen + linear", 0, 0.8),
    ]
    suite.summarise(suite.TASKS, results, ARGS)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("n_rows", [50, 200, 1000, 4000])
@pytest.mark.parametrize("model", [suite.MINILM, suite.GEMMA])
def test_epochs_when_compared_then_are_the_estimators_own(model, n_rows):
    recipe = Recipe.resolved(
        model == suite.GEMMA,
        "auto",
        "auto",
        "auto",
        max_epochs="auto",
        batch_size=suite.BATCH_SIZE,
        early_stopping=False,
        validation_fraction=0.1,
        n_iter_no_change=3,
        callbacks=(),
        verbose=0,
    )
    assert suite.epochs(n_rows, model) == recipe.n_epochs(n_rows)


def test_shorten_when_texts_are_long_then_cut_behind_a_token(fitted):
    tokenizer = fitted.net_.module_.backbone.tokenizer
    texts = ["a good film of the year", "a book", ""]
    assert _methods.shorten(tokenizer, texts, 3) == ["a good film", "a book", ""]


@pytest.mark.filterwarnings("ignore")  # theirs
@pytest.mark.parametrize("kind", ["classes", "numbers", "words", "pairs"])
@pytest.mark.parametrize("method", METHODS)
def test_peer_when_trained_then_is_scored_on_its_own_predictions(
    method, kind, tiny_bert, monkeypatch
):
    pytest.importorskip("peft")
    monkeypatch.setattr(logging, "set_verbosity_error", lambda: None)
    if kind == "words" and method not in suite.FOR_WORDS:
        pytest.skip("PEFT cannot do it")
    X, y = list(TEXTS), np.array(LABELS)
    if kind == "numbers":
        y = np.where(y == "good", 4.0, 1.0)
    elif kind == "words":
        X = [text.split() for text in TEXTS]
        y = [["B" if word == "film" else "O" for word in words] for words in X]
    elif kind == "pairs":
        X = list(zip(TEXTS, TEXTS[::-1], strict=True))
    seen = []
    task = Task(
        split=None,
        score=lambda true, found: seen.append((true, found)) or {"n": len(found)},
        scoring="n",
        ours={},
        peers={},
        bars=(),
        params={"model": tiny_bert},
    )
    case = _methods.Case(task, 0, None, (X, X, y, y), ARGS)
    kind = "classes" if kind == "pairs" else kind
    found = _methods.fit_tuned(case, method, lambda n: 1, 8, kind=kind)
    true, predicted = seen[0]
    assert found["n"] == len(X)
    assert true is y
    if kind == "words":
        assert [len(row) for row in predicted] == [len(row) for row in y]
        assert {label for row in predicted for label in row} <= {"B", "O"}
    elif kind == "classes":
        assert set(predicted) <= {"good", "bad"}
    else:
        assert np.abs(predicted - y.mean()).max() < 10
