"""The benchmarks' own code: what peers are shown, and how results are counted."""

import argparse
import json
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import LABELS, TEXTS
from transformers.utils import logging

from sksemantic._training.config import Recipe

FOLDER = Path(__file__).parent.parent / "benchmarks"
if not FOLDER.exists():
    pytest.skip("the benchmarks are not there", allow_module_level=True)
sys.path[:0] = [str(FOLDER), str(FOLDER.parent / "docs")]

import _methods  # noqa: E402
import _ranks  # noqa: E402
import _rows  # noqa: E402
import ablation  # noqa: E402
import make_comparison  # noqa: E402
import make_findings  # noqa: E402
import prompts  # noqa: E402
import speed  # noqa: E402
import suite  # noqa: E402
from _baselines import tfidf_logistic  # noqa: E402
from _runner import Task  # noqa: E402

logging.enable_progress_bar()  # the benchmarks switch it off

METHODS = (*suite.PEFT, suite.FASTER)
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
        result("sst2-200-minilm", "LoRA", 0, 0.75),
        result("trec6-200-minilm", ours, 0, 0.60),
        result("trec6-200-minilm", "LoRA", 0, 0.70),
        result("trec6-200-minilm", "frozen + linear", 0, 0.60),
    ]
    suite.summarise(suite.TASKS, results, ARGS)
    out = capsys.readouterr().out
    assert "ours against LoRA                 won 1, tied 0, lost 1" in out
    assert "ours against frozen + linear      won 0, tied 1, lost 0" in out
    assert "mean -0.025, median -0.025, worst -0.100" in out


def test_summary_when_no_task_has_all_methods_then_is_silent(capsys):
    results = [
        result("sst2-200-minilm", "LoRA", 0, 0.8),
        result("trec6-200-minilm", "frozen + linear", 0, 0.8),
    ]
    suite.summarise(suite.TASKS, results, ARGS)
    assert capsys.readouterr().out == ""


def one_seed(**scores):
    return {method: {0: score} for method, score in scores.items()}


CELLS = {
    "first": one_seed(ours=0.9, LoRA=0.8, linear=0.7),
    "second": one_seed(ours=0.9, LoRA=0.9, linear=0.5),
    "third": one_seed(ours=0.6, LoRA=0.7, linear=0.603),
    "fourth": one_seed(ours=0.5, linear=0.4),  # not for the ranks
}


def test_rank_when_methods_tie_then_they_share_a_place():
    ranks = _ranks.rank(CELLS)
    assert ranks.methods == ["LoRA", "ours", "linear"]
    np.testing.assert_allclose(ranks.means, [4.5 / 3, 5.5 / 3, 8 / 3])
    np.testing.assert_allclose(ranks.scores, [0.8, 0.8, 1.803 / 3])
    assert ranks.n_tasks == ranks.n_data == 3
    # Demšar 2006, table 5: q is 2.343 for three methods at 5 %
    assert ranks.critical == pytest.approx(2.343 * np.sqrt(3 * 4 / (6 * 3)), abs=1e-3)
    assert 0 < ranks.p_value < 1


def test_rank_when_some_methods_are_asked_for_then_others_leave_no_task_out():
    cells = CELLS | {"fifth": one_seed(ours=0.9, LoRA=0.8)}  # linear has not done it
    ranks = _ranks.rank(cells, among=["ours", "LoRA", "nobody"])
    assert (ranks.methods, ranks.n_tasks) == (["ours", "LoRA"], 4)
    np.testing.assert_allclose(ranks.means, [5.5 / 4, 6.5 / 4])


def test_rank_when_nothing_to_compare_then_is_none():
    assert _ranks.rank(CELLS, among=["nobody"]) is None
    assert _ranks.rank({"one": one_seed(ours=1.0)}) is None


def test_rank_when_tasks_share_their_data_then_they_count_once():
    cells = {f"one-{size}": CELLS["first"] for size in (200, 1000, 4000)}
    ranks = _ranks.rank(cells | {"two-200": one_seed(ours=0.1, LoRA=0.2, linear=0.3)})
    assert (ranks.n_tasks, ranks.n_data) == (4, 2)
    np.testing.assert_allclose(ranks.means, 2.0)  # 1, 2, 3 and 3, 2, 1


def test_duel_when_seeds_differ_then_those_of_both_are_compared():
    cells = {
        "one": {"ours": {0: 0.9, 1: 0.5}, "LoRA": {0: 0.8}},
        "two": {"ours": {1: 0.5}, "LoRA": {0: 0.8}},  # no seed of both
    }
    found = _ranks.duel(cells, "ours", "LoRA")
    assert (found.won, found.tied, found.lost) == (1, 0, 0)
    assert found.mean == pytest.approx(0.1)
    ranks = _ranks.rank(cells)
    assert (ranks.methods, ranks.n_tasks) == (["ours", "LoRA"], 1)


def test_duel_when_gaps_are_small_then_counts_as_tied():
    found = _ranks.duel(CELLS, "ours", "linear")
    assert (found.won, found.tied, found.lost) == (3, 1, 0)
    assert (found.median, found.worst) == pytest.approx((0.15, -0.003))
    assert found.worst_task == "third"
    assert _ranks.duel(CELLS, "ours", "nobody") is None


def test_chance_groups_when_ranks_are_close_then_are_joined():
    means = np.array([1.0, 1.5, 3.0, 3.4])
    ranks = _ranks.Ranks(list("abcd"), means, None, 9, 9, 0, 1.6)
    assert _ranks.chance_groups(ranks) == [(0, 1), (1, 2), (2, 3)]


def test_comparison_when_written_then_has_scores_spread_and_diagram(
    tmp_path, monkeypatch
):
    page = tmp_path / "page.md"
    page.write_text("Before.\n<!-- results -->\nold\n<!-- end of results -->\nAfter.")
    results = tmp_path / "suite.jsonl"
    rows = [
        result(f"{data}-200-minilm", method, seed, score + seed / 50)
        | {"seconds": seconds, "n_trainable_params": 1234}
        for data, bonus in (("sst2", 0), ("trec6", 0.1), ("rotten", 0.05))
        for method, score, seconds in (
            ("SKTuningClassifier", 0.8 + bonus, 2),
            ("LoRA", 0.7, 5),
            (suite.FASTER, 0.75, 5),
            ("frozen + linear", 0.6, 1),
        )
        for seed in (0, 1)
    ]
    fell_back = result("sms-200-minilm", "SKTuningClassifier", 0, 0.9)
    rows.append(fell_back | {"seconds": 2, "comparison": {"kept": "linear_probe"}})
    results.write_text("\n".join(map(json.dumps, rows)))
    monkeypatch.setattr(make_comparison, "PAGE", page)
    monkeypatch.setattr(make_comparison, "RESULTS", results)
    make_comparison.main()
    text = page.read_text()
    assert text.startswith("Before.")
    assert text.endswith("After.")
    assert "old" not in text
    line = "| `sst2-200-minilm` | accuracy | **0.810** ±0.014 | 0.710 ±0.014 | 0.760"
    assert line in text
    assert "| `sms-200-minilm` | average precision | 0.900* |" in text  # ours alone
    assert "ours 1.00, LoRA 2.00." in text
    assert "ours 1.00, LoRA at 3e-3 2.00." in text
    assert "| LoRA | 3 | 0 | 0 | +0.150 | +0.150 | +0.100 | `sst2-200-minilm` |" in text
    assert "| LoRA | 2.50 | 1,234 |" in text
    assert "Gemma" not in text
    assert (tmp_path / "ranks_minilm.svg").stat().st_size > 1000


VARIANTS = {
    **ablation.COMMON,
    **ablation.OF_ENCODERS,
    **ablation.OF_DECODERS,
    **ablation.OF_FEW_TEXTS,
}
PATCHED = {
    name: method.run.keywords
    for name, method in VARIANTS.items()
    if getattr(method.run, "keywords", {}).get("patches")
}


@pytest.fixture(scope="module")
def small_case(tiny_roberta):
    # In batches of 4, 24 texts have 6 steps an epoch: "auto" is 20 epochs.
    params = {"model": str(tiny_roberta), "batch_size": 4}
    nothing = {"split": None, "scoring": "", "ours": {}, "peers": {}, "bars": ()}
    task = Task(**nothing, score=lambda *_: {}, params=params)
    args = argparse.Namespace(set=[], verbose=0)
    rows = (TEXTS, TEXTS, np.array(LABELS), np.array(LABELS))
    return _methods.Case(task, 0, None, rows, args)


@pytest.mark.parametrize("name", PATCHED)
def test_ablation_when_a_variant_is_patched_then_something_changes(
    name, small_case, monkeypatch
):
    found = []
    measure = ablation.measure

    def keep(case, estimator, rows):
        result = measure(case, estimator, rows)
        found.append(estimator.predict_proba(TEXTS))
        return result

    monkeypatch.setattr(ablation, "measure", keep)
    epochs = "auto" if name.startswith(("epochs", "batches")) else 1
    params = PATCHED[name] | {"max_epochs": epochs}
    ablation.train(small_case, **params | {"patches": ()})
    ablation.train(small_case, **params)
    before, after = found
    assert not np.allclose(before, after, atol=1e-4)


def test_differences_when_seeds_and_tasks_differ_then_pairs_are_compared():
    plain, worse = ablation.BASE, "rank 2"
    results = [
        result("sst2-1000-minilm", plain, 0, 0.80),
        result("sst2-1000-minilm", worse, 0, 0.79),
        result("sst2-1000-minilm", plain, 1, 0.70),
        result("sst2-1000-minilm", worse, 1, 0.71),
        result("trec6-1000-minilm", worse, 0, 0.99),  # has nothing to compare with
        result("trec6-1000-minilm", plain, 2, 0.88),
        result(
            "trec6-1000-minilm", [*ablation.RESEEDED][0], 2, 0.92
        ),  # the mean is 0.9
        result("trec6-1000-minilm", worse, 2, 0.87),
        result("trec6-1000-minilm", "rank 4", 2, 0.91),
        result("trec6-1000-gemma", worse, 2, 0.1),
        result("trec6-200-minilm", worse, 2, 0.1),
    ]
    better, found = ablation.differences(ablation.TASKS, results, "1000-minilm")
    assert (better.method, better.n_runs) == ("rank 4", 1)
    assert better.mean == pytest.approx(1)
    assert np.isnan(better.error)
    assert (found.method, found.n_runs) == (worse, 3)
    assert found.mean == pytest.approx(-1)
    assert found.error == pytest.approx(2 / 3**0.5)
    assert dict(found.by_task) == pytest.approx({"sst2": 0, "trec6": -3})


def test_prompts_when_compared_then_kinds_and_forecast_are_right():
    scores = {
        "default": (0.5, 0.7),
        "after: it was": (0.6, 0.9),
        "after: verdict": (0.7, 0.8),
        "long: think": (0.4, 0.6),
        "unrelated: law": (0.9, 0.1),
    }
    results = [
        {**result("sst2-1000-minilm", name, 0, score), "task": "sst2"}
        for method, pair in scores.items()
        for name, score in zip((f"{method}, frozen", method), pair, strict=True)
    ]
    pairs = prompts.before_and_after(prompts.TASKS, results, "sst2")
    assert pairs == scores
    kinds = prompts.kinds(pairs)
    assert kinds["after"] == [(0.6, 0.9), (0.7, 0.8)]
    assert len(kinds["all about the task"]) == 4
    told = prompts.foretold(pairs)
    assert told.correlation == pytest.approx(0.8)
    assert (told.chosen, told.best, told.median) == (0.8, 0.9, 0.75)


def test_prompts_when_searched_then_stand_beside_each_of_them():
    names = [*prompts.candidates(prompts.REVIEWS)]
    assert len(names) == 5
    assert "default" in names
    scores = dict(zip(names, (0.8, 0.6, 0.7, 0.9, 0.5), strict=True))
    results = [
        {**result("sst2-1000-minilm", name, 0, score), "task": "sst2", "seconds": 5.0}
        for name, score in {**scores, prompts.SEARCHED: 0.85}.items()
    ]
    (found,) = prompts.searched(prompts.TASKS, results, "sst2")
    assert (found.worst, found.best, found.score) == (0.5, 0.9, 0.85)
    assert found.mean == pytest.approx(0.7)
    assert not prompts.searched(prompts.TASKS, results[1:], "sst2")  # one is missing


def test_findings_when_written_then_have_all_tables(tmp_path, monkeypatch):
    of_findings = [
        *("ablation", "ablation few", "prompts", "few", "text rank", "contrast"),
        *("sizes", "rates", "head rates", "layers"),
    ]
    pages = {"findings": of_findings, "tasks": ["tasks"]}
    for name, parts in pages.items():
        marks = [f"<!-- {part} -->old<!-- end of {part} -->" for part in parts]
        (tmp_path / f"{name}.md").write_text("Before. " + " ".join(marks) + " After.")
    rows = {
        "ablation": [
            result("sst2-1000-minilm", ablation.BASE, 0, 0.8),
            result("sst2-1000-minilm", "rank 2", 0, 0.7),
            result("trec50-200-minilm", ablation.BASE, 0, 0.6),
            result("trec50-200-minilm", "epochs x 2", 0, 0.65),
        ],
        "prompts": [
            {**result("sst2-1000-minilm", name, 0, score), "task": "sst2"}
            for i, prompt in enumerate(("default", "after: it was", "long: think"))
            for name, score in (
                (prompt, 0.8 + i / 50),
                (f"{prompt}, frozen", 0.7 + i / 50),
            )
        ],
        "tasks": [
            {**result("sst2-1000-minilm", method, seed, 0), "task": "wnut-ner"}
            | {"f1": score + seed / 50, "n_train": 1836}
            for method, score in (
                ("SKTuningTokenClassifier", 0.4),
                ("frozen + LR", 0.3),
            )
            for seed in (0, 1)
        ],
        "suite": [
            result("trec6-200-minilm", "SKTuningClassifier", 0, 0.9),
            result("trec6-200-minilm", "SKTuningClassifier", 0, 0.7)
            | {"overrides": {"text_rank": "0"}},
            result("trec6-200-gemma", "SKTuningClassifier", 1, 0.6),
            result("trec6-200-gemma", "SKTuningClassifier", 1, 0.5)
            | {"overrides": {"text_rank": "0"}},
            result("trec6-1000-gemma", "SKTuningClassifier", 1, 0.5),
            result("sms-200-minilm", "SKTuningClassifier", 0, 0.5)
            | {"overrides": {"contrast": "0"}, "average_precision": 0.75},
            result("sms-200-minilm", "SKTuningClassifier", 0, 0.5)
            | {"average_precision": 1.0},
            result("trec50-200-minilm", "SKTuningClassifier", 0, 0.5),
            result("trec50-200-minilm", "SKTuningClassifier", 0, 0.25)
            | {"overrides": {"head_lr": "0.003"}},
        ],
    }
    rows["suite"] += [
        result("trec50-1000-minilm", method, 0, score)
        | {"overrides": overrides, "n_trainable_params": n_values}
        for method, overrides, score, n_values in (
            ("LoRA", {}, 0.7, 2000),
            (suite.FASTER, {}, 0.72, 2000),
            ("SKTuningClassifier", {}, 0.8, 1000),
            ("SKTuningClassifier", {"adapter_rank": "4"}, 0.75, 500),
            ("SKTuningClassifier", {"adapter_rank": "2"}, 0.65, 250),
        )
    ]
    rows["prompts"] += [
        {**result("sst2-1000-minilm", prompt, seed, score), "task": "sst2"}
        | {"train_size": make_findings.FEW}
        for prompt, scores in (
            ("default", (0.8, 0.9)),
            ("unrelated: law", (0.55, 0.85)),
            ("long: think", (0.75, 0.6)),
        )
        for seed, score in enumerate(scores)
    ]
    for name, results in rows.items():
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, results)))
    monkeypatch.setattr(make_findings, "DOCS", tmp_path)
    monkeypatch.setattr(make_findings, "RESULTS", tmp_path)
    make_findings.main()
    text = (tmp_path / "findings.md").read_text() + (tmp_path / "tasks.md").read_text()
    assert "old" not in text
    assert text.count("Before.") == text.count("After.") == 2
    gained = "| `sms-200-minilm` | average precision | 1 | 0.750 | 1.000 | +0.250 |"
    assert text.count(gained) == 1
    assert "| rank 2 | -10.0 |  | sst2 -10.0 |" in text
    assert "200 texts, one run of each:" in text
    assert "| epochs x 2 | +5.0 |  | trec50 +5.0 |" in text
    assert "| `trec50-200-minilm` | accuracy | 1 | 0.250 | 0.500 | +0.250 |" in text
    assert "| long | 1 | 0.740 | 0.840 |" in text
    assert "| unrelated | 1 | 0.550 | 0.850 |" in text
    assert "Rank correlation between draws: 0.50." in text
    assert "| `trec6-200-minilm` | accuracy | 1 | 0.700 | 0.900 | +0.200 |" in text
    assert "| `trec6-200-gemma` | accuracy | 1 | 0.500 | 0.600 | +0.100 |" in text
    assert "trec6-1000-gemma" not in text  # one without a partner
    assert "| `trec50-1000-minilm` | 0.700 | 0.720 | 0.800 | 0.750 | 0.650 |" in text
    assert "| trained | 2,000 | 2,000 | 1,000 | 500 | 250 |" in text
    assert (
        "| `wnut-ner` | 1,836 | f1 | 0.410 ±0.014 | frozen + LR 0.310 ±0.014 |" in text
    )


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


@pytest.mark.parametrize("every", [1, 2, None])
def test_speed_when_followed_then_time_and_steps_only_rise(every, tiny_bert):
    args = argparse.Namespace(
        model=tiny_bert, prompt="Judge.", epochs=3, batch_size=8, every=every
    )
    y = (np.array(LABELS) == "good").astype(int)
    found = speed.run_ours(speed.OURS, args, (TEXTS, TEXTS, y, y), 0)
    steps = found["steps"]
    assert len(steps) == len(found["scores"]) == len(found["seconds"])
    assert min(found["seconds"]) > 0
    assert np.diff(steps).min() > 0
    if every:
        assert steps[:-1] == list(range(every, steps[-1], every))
    else:
        assert len(steps) == 3


def test_nearly_there_when_accuracy_is_crossed_twice_then_first_counts():
    found = {"steps": [4, 8, 12], "scores": [0.5, 0.9, 0.8], "seconds": [2, 1, 1]}
    assert speed.nearly_there(found) == [3, 8]
    assert speed.first_with(0.95, found["steps"], found["scores"]) == np.inf


@pytest.mark.filterwarnings("ignore")  # theirs
def test_peer_when_scored_by_steps_then_has_a_curve(tiny_bert, monkeypatch):
    pytest.importorskip("peft")
    monkeypatch.setattr(logging, "set_verbosity_error", lambda: None)
    import _peers

    y = (np.array(LABELS) == "good").astype(int)
    data = list(TEXTS), list(TEXTS), y, y
    shared = {"epochs": 2, "batch_size": 8, "dtype": torch.float32, "seed": 0}
    found = _peers.fit_peer("LoRA", tiny_bert, data, **shared, every=2)
    n_steps = 2 * -(-len(y) // 8)
    assert found["steps"] == sorted({*range(2, n_steps + 1, 2), n_steps})
    assert len(found["scores"]) == len(found["seconds"]) == len(found["steps"])


def pairs_and_labels(data, split="train"):
    return [(f"{split} {i}", "so") for i in range(6)], [
        f"{split} {i}" for i in range(6)
    ]


@pytest.mark.parametrize(("spare", "n_test"), [(False, 6), (True, 8)])
def test_split_when_rowsare_left_then_they_are_tested_on_if_asked_for(spare, n_test):
    args = argparse.Namespace(data=None, train_size=None)
    X, X_test, y, y_test = _rows.split_official(
        args, 3, None, pairs_and_labels, size=4, spare=spare
    )
    assert (len(X), len(X_test)) == (4, n_test)
    assert not {*X} & {*X_test}
    assert [pair[0] for pair in [*X, *X_test]] == [*y, *y_test]


def test_word_counts_when_texts_are_pairs_then_both_are_counted(small_case):
    pairs = [("one", "good"), ("two", "bad")] * 6
    labels = ["good", "bad"] * 6
    rows = pairs, pairs, labels, labels
    task = replace(small_case.task, score=lambda y, found: {"same": [*found] == y})
    case = replace(small_case, rows=rows, task=task)
    assert _methods.fit_words(case, partial(tfidf_logistic, "accuracy"))["same"]
