import ablation_tables
import accuracy
import cost_tables
import forecast
import numpy as np
import pytest
import ranks
import results
import threads


def row(task, method, seed, score, settings=None, defaults="0", **others):
    scores = dict.fromkeys(("accuracy", "average_precision", "f1"), score)
    found = {"task": task, "method": method, "seed": seed, "scores": scores}
    found |= {"set": settings or {}, "defaults": defaults, "seconds": 2.0}
    return found | {"n_train": 200, "n_trainable_params": 1000} | others


def test_comparison_when_written_then_has_spread_ranks_duels_and_diagram(tmp_path):
    rows = [
        row(f"{data}-200-minilm", method, seed, score + seed / 50, seconds=seconds)
        for data, bonus in (("sst2", 0), ("trec6", 0.1), ("rotten", 0.05))
        for method, score, seconds in (
            ("ours", 0.8 + bonus, 2.0),
            ("lora", 0.7, 5.0),
            ("lora-3e-3", 0.75, 5.0),
            ("frozen", 0.6, 1.0),
        )
        for seed in (0, 1)
    ]
    rows.append(row("sms-200-minilm", "ours", 0, 0.9, kept="linear_probe"))
    text = "\n".join(accuracy.tables(rows, tmp_path)["results"])
    assert (
        "| `sst2-200-minilm` | accuracy | 0 | **0.810** ±0.014 | 0.710 ±0.014" in text
    )
    assert "| `sms-200-minilm` | average precision | 0 | 0.900* |" in text  # ours alone
    assert "ours 1.00, LoRA 2.00." in text
    assert "| LoRA | 3 | 0 | 0 | +0.150 | +0.150 | +0.100 | `sst2-200-minilm` |" in text
    assert "| LoRA | 2.50 | 1,000 |" in text
    assert "Gemma" not in text
    assert (tmp_path / "ranks_minilm.svg").stat().st_size > 1000


def test_tables_when_defaults_differ_then_only_the_last_count_and_are_named():
    rows = [
        row("wnut-all-minilm", "ours", 0, 0.1),
        row("wnut-all-minilm", "ours", 1, 0.3),
        row("wnut-all-minilm", "ours", 0, 0.5, defaults="new"),
        row("wnut-all-minilm", "frozen", 0, 0.2),
    ]
    lines = accuracy.tables(rows)["tasks"]
    cells = "| `wnut-all-minilm` | 200 | f1 | new | 0.500 | frozen + linear 0.200 |"
    assert lines[-1] == cells


def test_gains_when_forms_differ_then_pairs_of_the_same_defaults_are_compared():
    rank = {"training__text_rank": 0}
    rows = [
        row("trec6-200-minilm", "ours", 0, 0.9),
        row("trec6-200-minilm", "ours", 1, 0.1),  # has no partner
        row("trec6-200-minilm", "ours", 0, 0.7, rank),
        row("sst2-200-minilm", "ours", 0, 0.9, defaults="new"),
        row("sst2-200-minilm", "ours", 0, 0.7, rank),
    ]
    lines = accuracy.tables(rows)["text rank"][2:]
    assert lines == [
        "| `trec6-200-minilm` | accuracy | 1 | 0 | 0.700 | 0.900 | +0.200 |"
    ]


CELLS = {
    "first": {"ours": {0: 0.9}, "LoRA": {0: 0.8}, "linear": {0: 0.7}},
    "second": {"ours": {0: 0.9}, "LoRA": {0: 0.9}, "linear": {0: 0.5}},
    "third": {"ours": {0: 0.6}, "LoRA": {0: 0.7}, "linear": {0: 0.603}},
    "fourth": {"ours": {0: 0.5}, "linear": {0: 0.4}},  # not for the ranks
}


def test_rank_when_methods_tie_then_they_share_a_place():
    found = ranks.rank(CELLS)
    assert found.methods == ["LoRA", "ours", "linear"]
    np.testing.assert_allclose(found.means, [4.5 / 3, 5.5 / 3, 8 / 3])
    assert found.n_tasks == found.n_data == 3
    # Demšar 2006, table 5: q is 2.343 for three methods at 5 %
    assert found.critical == pytest.approx(2.343 * np.sqrt(3 * 4 / (6 * 3)), abs=1e-3)
    assert ranks.rank(CELLS, among=["nobody"]) is None


def test_rank_when_tasks_share_their_data_then_they_count_once():
    cells = {f"one-{size}": CELLS["first"] for size in (200, 1000, 4000)}
    other = {"ours": {0: 0.1}, "LoRA": {0: 0.2}, "linear": {0: 0.3}}
    found = ranks.rank(cells | {"two-200": other})
    assert (found.n_tasks, found.n_data) == (4, 2)
    np.testing.assert_allclose(found.means, 2.0)  # 1, 2, 3 and 3, 2, 1


def test_duel_when_gaps_are_small_or_seeds_differ_then_are_tied_or_left_out():
    found = ranks.duel(CELLS, "ours", "linear")
    assert (found.won, found.tied, found.lost) == (3, 1, 0)
    assert (found.median, found.worst) == pytest.approx((0.15, -0.003))
    cells = {"one": {"ours": {0: 0.9, 1: 0.5}, "LoRA": {0: 0.8}}}
    assert ranks.duel(cells, "ours", "LoRA").mean == pytest.approx(0.1)


def test_differences_when_seeds_and_defaults_differ_then_pairs_are_compared():
    rows = [
        row("sst2-1000-minilm", "base", 0, 0.80),
        row("sst2-1000-minilm", "rank 2", 0, 0.79),
        row("sst2-1000-minilm", "base", 1, 0.70),
        row("sst2-1000-minilm", "rank 2", 1, 0.71),
        row("trec6-1000-minilm", "base", 2, 0.88),
        row("trec6-1000-minilm", "base, another seed", 2, 0.92),  # the mean is 0.9
        row("trec6-1000-minilm", "rank 2", 2, 0.87),
        row("trec6-1000-minilm", "rank 2", 3, 0.1),  # has no base
        row("sst2-1000-minilm", "rank 2", 0, 0.1, defaults="new"),  # nor has this
        row("trec6-1000-gemma", "rank 2", 2, 0.1),
    ]
    (found,) = ablation_tables.differences(rows, "1000-minilm")
    assert (found.method, found.defaults, found.n_runs) == ("rank 2", "0", 3)
    assert found.mean == pytest.approx(-1)
    assert found.error == pytest.approx(2 / 3**0.5)
    assert dict(found.by_task) == pytest.approx({"sst2": 0, "trec6": -3})


def test_prompts_when_frozen_and_trained_then_kinds_and_correlation_are_right():
    scores = {
        "default": (0.5, 0.7),
        "after: it was": (0.6, 0.9),
        "after: verdict": (0.7, 0.8),
        "long: think": (0.4, 0.6),
        "unrelated: law": (0.9, 0.1),
    }
    rows = [
        row("prompts-sst2-500-gemma", name, 0, score)
        for prompt, pair in scores.items()
        for name, score in zip((f"{prompt}, frozen", prompt), pair, strict=True)
    ]
    rows.append(row("prompts-sst2-500-gemma", "searched", 0, 0.85))
    prompts = {"sst2": dict.fromkeys(["default", "a", "b", "c", "after: it was"])}
    text = "\n".join(ablation_tables.tables(rows, prompts)["prompts"])
    assert "| after | 2 | 0.650 (0.600 to 0.700) | 0.850 (0.800 to 0.900) |" in text
    assert "| all about the task | 4 |" in text
    assert "draw 0: 0.80. The best prompt of frozen has 0.800 in draw 0" in text
    assert "0.850; with each of these 0.700 to 0.900, mean 0.800." in text


def test_costs_when_there_is_a_floor_then_ratios_are_to_the_first_line():
    rows = [
        row("sst2-200-minilm", "F", 0, 0, defaults=None, measure="fits"),
        row("sst2-200-minilm", "ours", 0, 0, measure="fits", floor=5, seconds=11.0),
    ]
    lines = cost_tables.tables(rows)["fits"]
    assert lines[0] == "| task |  | defaults | seconds | of the first | of its floor |"
    assert lines[-1] == "| `sst2-200-minilm` | ours | 0 | 11.000 | 5.50 | 1.10 |"


def test_curves_when_each_point_is_a_training_then_time_to_accuracy_is_the_first():
    rows = [
        row("sst2", method, 0, score, measure="peers", epochs=epochs, seconds=seconds)
        for method, points in (
            ("ours", [(0.8, 1.0), (0.9, 2.0)]),
            ("lora", [(0.7, 4.0), (0.85, 8.0)]),
        )
        for epochs, (score, seconds) in enumerate(points, 1)
    ]
    lines = cost_tables.tables(rows)["peers"]
    assert lines[-1] == "| `sst2` | LoRA | 0 | 0.850 | 8.0 | 4.00 | 4.00 | 8.0 |"


def test_kept_results_when_tabulated_then_pages_have_their_figures():
    tables = accuracy.tables(results.read(results.RESULTS / "accuracy.jsonl"))
    assert "0.756 ±0.002" in "\n".join(tables["results"])
    assert all(len(tables[name]) > 2 for name in accuracy.GAINS)


def test_threads_when_tabled_then_seconds_are_medians_and_ratios_those_of_one_run():
    rows = [
        {"method": "ours", "seconds": dict(zip(threads.BESIDE, seconds, strict=True))}
        for seconds in ((1, 2, 3, 4), (2, 2, 4, 6), (3, 12, 9, 9))
    ]
    lines = threads.threads_table(rows)
    assert lines[0] == "|  | idle | 1 busy | 2 busy | 2 fits |"
    assert lines[2:] == ["| ours | 2.0 | 2.0 (2.00) | 4.0 (3.00) | 6.0 (3.00) |"]


def test_threads_when_processes_are_run_then_they_end(monkeypatch):
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
    code = "import os; print(os.environ.get('OMP_WAIT_POLICY'), os.environ['NAME'])"
    code += "; input()"
    with threads.process("-c", code, NAME="x") as child:
        assert child.stdout.readline() == "None x\n"
        assert child.poll() is None
    assert child.poll() is not None


def forecast_row(method, seed, defaults="b", **values):
    head = {"task": "sst2-8-minilm", "method": method, "seed": seed}
    return head | {"defaults": defaults, **values}


def test_forecasts_when_tabled_then_are_medians_of_the_latest_defaults():
    rest = {"asked_seconds": 1.5, "peak_mib": 100.0, "estimated_peak_mib": 50.0}
    rest["seconds"] = 10
    rows = [
        forecast_row("forecast", seed, name, **rest, estimated=e, forecast=f)
        for seed, name, e, f in (
            (0, "a", 90, 90),
            (0, "b", 8, 9),
            (1, "b", 12, 11),
            (2, "b", 11, 13),
        )
    ]
    lines = forecast.tables(rows)["forecast"]
    assert lines[2:] == ["| sst2-8-minilm | 10.0 | 1.10 | 1.10 | 1.5 | 100 | 0.50 |"]


def test_limits_when_tabled_then_seconds_are_shares_of_the_limit():
    def fit(seconds, score, epochs):
        return {"seconds": seconds, "score": score, "epochs": epochs}

    limited = {"0.25": fit(3, 0.7, 1), "0.5": fit(5, 0.75, 3), "2.0": fit(10, 0.8, 6)}
    values = {"free": fit(10, 0.8, 6), "probe": fit(2, 0.6, 0), "limited": limited}
    lines = forecast.tables([forecast_row("limit", 0, seconds=10, **values)])["limit"]
    assert lines[2:] == [
        "| sst2-8-minilm | linear probe alone |  | 0.600 | 0 |",
        "| sst2-8-minilm | 0.25 | 1.20 | 0.700 | 1 |",
        "| sst2-8-minilm | 0.5 | 1.00 | 0.750 | 3 |",
        "| sst2-8-minilm | 2 | 0.50 | 0.800 | 6 |",
        "| sst2-8-minilm | none |  | 0.800 | 6 |",
    ]
