"""Searches and predictions inside engines, beside those of one process.

    python benchmarks/engines.py --tasks search,predict
    python benchmarks/engines.py --table

Needs `pip install "dask[dataframe,distributed]" "ray[data]" pyspark optuna datasets`,
and Java for Spark. Each row has a process of its own, and two workers.

search          a grid of 8 over MiniLM, 2 folds: log-losses, what is best, how often
                each process has loaded the backbone, bytes of a task beside the data
search-killed   the same; the first worker that has fitted something is killed
predict-N       N rows by a tiny random model: how many are not as in memory, and the
                peak memory of the worker that took most
predict-killed  the same; the first worker that has predicted something is killed
disk-N          what a fit to N texts has taken of memory before its first step
"""

import json
import os
import subprocess
import sys
import tempfile
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import results
from engine_predictions import BY, disk, predict, predict_killed
from engine_searches import search, search_killed
from engine_workers import LOG, STARTS
from tables import line, table

TASKS = {
    "search": (*STARTS, "optuna"),
    "search-killed": ("loky", "dask 2x1", "ray", "optuna"),
    "predict-50000": tuple(BY),
    "predict-200000": tuple(BY),
    "predict-killed": ("dask", "ray", "spark"),
    "disk-50000": ("list", "column"),
    "disk-200000": ("list", "column"),
}


def run(task, method):
    """Return the outcome of one row, in this process."""
    warnings.simplefilter("ignore")
    name, _, size = task.partition("-")
    if task == "search":
        return search(method)
    if size == "killed":
        return {"search": search_killed, "predict": predict_killed}[name](method)
    return {"predict": predict, "disk": disk}[name](int(size), method)


def in_new_process(task, method):
    """Return the outcome of one row, of a process of its own."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        code = f"import engines; engines.child({task!r}, {method!r})"
        paths = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
        environment = {
            "OMP_NUM_THREADS": "1",
            "HF_HUB_OFFLINE": "1",
            "TOKENIZERS_PARALLELISM": "false",
            **os.environ,
            LOG: folder,
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        }
        command = [sys.executable, "-c", code]
        subprocess.run(command, env=environment, check=True, timeout=900)
        return json.loads((Path(folder) / "outcome.json").read_text())


def child(task, method):
    """Write the outcome of one row."""
    outcome = run(task, method)
    text = json.dumps(outcome, default=results.plain)
    (Path(os.environ[LOG]) / "outcome.json").write_text(text)


def plan(args):
    """Yield the rows that were asked for."""
    for task in args.tasks or TASKS:
        for method in args.methods or TASKS[task]:
            if method in TASKS[task]:
                head = {"task": task, "method": method, "seed": 0}
                yield head, partial(in_new_process, task, method)


def print_tables(rows):
    """Print what was measured, a table for each task."""
    serial = [r for r in rows if (r["task"], r["method"]) == ("search", "serial")]
    for task in TASKS:
        found = [row for row in rows if row["task"] == task]
        if not found:
            continue
        names = ["killed", "error", "seconds", "n_different", "in_order", "n_workers"]
        names += ["peak_mib", "step_mib", "loads", "task_bytes"]
        names = [name for name in names if any(name in row for row in found)]
        lines = []
        for row in found:
            cells = [shown(row.get(name, "")) for name in names]
            if task.startswith("search"):
                cells += difference(row, serial[0])
            lines.append(line([row["method"], *cells]))
        heads = [*names, *["same best", "scores differ by"] * task.startswith("search")]
        print("", task, "", *table(["engine", *heads], lines), sep="\n")


def difference(row, serial):
    """Return whether a search has found the same, and how far its scores are off."""
    if "losses" not in row or None in row["losses"]:
        return ["", ""]
    off = np.abs(np.subtract(row["losses"], serial["losses"])).max()
    return [shown(row["best"] == serial["best"]), f"{off:.1g}"]


def shown(value):
    """Return a cell."""
    return f"{value:.1f}" if isinstance(value, float) else str(value)


def main():
    """Run what is missing, or print the tables."""
    parser = results.parser(__doc__, "engines.jsonl", ", ".join(TASKS))
    args = parser.parse_args()
    if args.table:
        print_tables(results.read(args.file))
    else:
        results.finish(results.run_missing(plan(args), args.file))


if __name__ == "__main__":
    main()
