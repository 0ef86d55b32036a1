import os
import pickle
from types import SimpleNamespace

import engine_workers
import engines
import pandas as pd
import pytest


@pytest.fixture
def log(tmp_path, monkeypatch):
    monkeypatch.setenv(engine_workers.LOG, str(tmp_path))
    return tmp_path


def search_row(method, losses, **more):
    best = {"lr": 1e-3}
    return {"task": "search", "method": method, "losses": losses, "best": best, **more}


def test_tables_when_printed_then_compare_with_the_serial_search(capsys):
    rows = [
        search_row("serial", [1.0, 2.0], seconds=3.21),
        search_row("loky", [1.0, 2.5], seconds=1.0),
        {"task": "search-killed", "method": "ray", "killed": 1, "error": "Died"},
    ]
    engines.print_tables(rows)
    printed = capsys.readouterr().out
    assert "| serial | 3.2 | True | 0 |" in printed
    assert "| loky | 1.0 | True | 0.5 |" in printed
    assert "| ray | 1 | Died |  |  |" in printed


def test_plan_when_methods_are_named_then_has_these_alone():
    args = SimpleNamespace(tasks=["search", "disk-50000"], methods=["loky", "list"])
    heads = [(head["task"], head["method"]) for head, _ in engines.plan(args)]
    assert heads == [("search", "loky"), ("disk-50000", "list")]


def test_workers_when_they_write_then_are_read_by_process(log):
    assert engine_workers.notes("fits") == {}
    engine_workers.note("fits", 7, "a")
    engine_workers.note("fits", 7, "b")
    engine_workers.note("fits", 8, "a")
    assert engine_workers.notes("fits") == {7: ["a", "b"], 8: ["a"]}


@pytest.mark.real
def test_watched_when_it_predicts_then_notes_its_memory(log):
    clf = engine_workers.Counted(max_epochs=1, model_kwargs={"n_layers": 1})
    clf.fit(["good", "fine", "bad", "dull"] * 4, [1, 1, 0, 0] * 4)
    watched = pickle.loads(pickle.dumps(engine_workers.Watched(clf, "text")))
    assert "prediction" in watched(pd.DataFrame({"text": ["good"]}))
    (peaks,) = engine_workers.notes("batches").values()
    assert float(*peaks) > 100
    assert [*engine_workers.notes("fits")] == [os.getpid()]
