import json

import pytest
import results


def test_run_missing_when_run_again_then_only_what_failed_is_run(tmp_path, capsys):
    file, calls = tmp_path / "rows.jsonl", []

    def plan(is_broken):
        def run(name):
            calls.append(name)
            if name == "tfidf" and is_broken:
                raise RuntimeError("no words")
            return {"scores": {"accuracy": 0.5}}

        for name in ("ours", "tfidf", "frozen"):
            head = {"task": "sst2", "method": name, "seed": 0}
            yield head, lambda name=name: run(name)

    assert results.run_missing(plan(is_broken=True), file) == 1
    assert "no words" in capsys.readouterr().out
    assert results.run_missing(plan(is_broken=False), file) == 0
    assert calls == ["ours", "tfidf", "frozen", "tfidf"]
    assert [row["method"] for row in results.read(file)] == ["ours", "frozen", "tfidf"]


def test_rows_when_written_then_say_where_they_are_from(tmp_path):
    plan = [({"method": "tfidf", "seed": 0}, lambda: {"seconds": 1.0})]
    results.run_missing(plan, tmp_path / "rows.jsonl")
    (row,) = results.read(tmp_path / "rows.jsonl")
    assert {"torch", "transformers", "scikit-learn", "python"} <= set(row["versions"])
    assert {"processor", "cores", "threads", "dtype"} <= set(row["machine"])
    assert row["defaults"] is None
    assert "commit" in row


def test_defaults_id_when_a_default_changes_then_changes():
    assert len(results.defaults_id(lambda: {"lr": 1})) == 8
    assert results.defaults_id(lambda: {"lr": 1}) == results.defaults_id(
        lambda: {"lr": 1}
    )
    assert results.defaults_id(lambda: {"lr": 1}) != results.defaults_id(
        lambda: {"lr": 2}
    )


def test_heads_when_settings_or_defaults_differ_then_are_not_there():
    row = {"task": "sst2", "method": "ours", "set": {"lr": 1e-3}, "defaults": "0"}
    assert results.is_there({"task": "sst2", "set": {"lr": 1e-3}}, [row])
    assert not results.is_there({"task": "sst2", "set": {}}, [row])
    assert not results.is_there({"task": "sst2", "defaults": "1"}, [row])


@pytest.mark.parametrize("name", ["accuracy", "ablation", "cost"])
def test_kept_rows_when_read_then_all_have_their_origin(name):
    rows = results.read(results.RESULTS / f"{name}.jsonl")
    assert rows
    heads = set()
    for row in rows:
        assert {"task", "method", "seed", "defaults", "commit", "versions"} <= set(row)
        assert row["defaults"] is not None or not results.is_ours(row["method"])
        head = [row.get(k) for k in ("measure", "task", "method", "set", "defaults")]
        heads.add(json.dumps([*head, row["seed"], row.get("epochs"), row.get("rows")]))
    assert len(heads) == len(rows)
