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


def test_tables_when_made_then_compare_with_the_serial_search():
    found = engines.tables(
        [
            search_row("serial", [1.0, 2.0], seconds=3.2, loads=[1]),
            search_row("loky", [1.0, None], seconds=1.0, loads=[1, 1]),
            {"task": "search-killed", "method": "ray", "error": "Died"},
        ]
    )
    assert found["engines search"][2:] == [
        "| serial | 3 | yes | 0 | 1 |",
        "| loky | 1 | yes | 0, 1 lacking | 1, 1 |",
    ]
    assert found["engines killed"][2:] == ["| search | ray | Died |"]
    assert "engines disk" not in found


def test_tables_when_of_predictions_then_have_each_size():
    row = {"method": "dask", "seconds": 9.0, "n_different": 0, "in_order": True}
    sizes = {50_000: 300.0, 200_000: 301.0}
    rows = [row | {"task": f"predict-{n}", "peak_mib": x} for n, x in sizes.items()]
    rows += [{"task": "disk-50000", "method": "list", "step_mib": 80.0}]
    rows += [{"task": "disk-50000", "method": "column", "step_mib": 60.0}]
    found = engines.tables(rows)
    assert found["engines predict"][-1] == "| dask | 300 | 301 | 0 | yes | 9 |"
    assert found["engines disk"][-1] == "| 50,000 | 80 | 60 |"


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
