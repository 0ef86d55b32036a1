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

import results
from engine_predictions import BY, disk, predict, predict_killed
from engine_searches import NOT_SCATTERED, search, search_killed
from engine_workers import LOG, STARTS
from tables import line, table

TASKS = {
    "search": (*STARTS, "optuna"),
    "search-killed": (
        *("dask 2x1", f"dask 2x1{NOT_SCATTERED}", "loky", "ray", "optuna"),
    ),
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


def tables(rows):
    """Return the lines of the tables, by name."""
    makers = {"search": searches, "killed": killed, "predict": predictions}
    makers["disk"] = texts_on_disk
    found = {f"engines {name}": make(rows) for name, make in makers.items()}
    return {name: lines for name, lines in found.items() if len(lines) > 2}


def of_task(rows, task):
    """Return the rows of a task by method."""
    return {row["method"]: row for row in rows if row["task"] == task}


def searches(rows):
    """Return a table of searches beside that of one process."""
    found = of_task(rows, "search")
    lines = []
    for name, row in found.items():
        cells = (name, f"{row['seconds']:.0f}", *compared(row, found["serial"]))
        lines.append(line([*cells, ", ".join(map(str, row["loads"]))]))
    heads = ["engine", "seconds", "same best", "log-losses differ by"]
    return table([*heads, "backbone loaded, by process"], lines)


def compared(row, serial):
    """Return whether a search has found the same, and how far its scores are off."""
    off = [
        abs(x - y) for x, y in zip(row["losses"], serial["losses"], strict=True) if x
    ]
    n_lacking = row["losses"].count(None)
    lacking = f", {n_lacking} lacking" if n_lacking else ""
    is_same = "yes" if row["best"] == serial["best"] else "no"
    return is_same, f"{max(off):.1g}{lacking}"


def killed(rows):
    """Return a table of what has come of work whose worker was killed."""
    lines = []
    serial = of_task(rows, "search").get("serial")
    for name, row in of_task(rows, "search-killed").items():
        end = row.get("error")
        if end is None:
            is_same, off = compared(row, serial)
            end = f"complete; same best: {is_same}; log-losses differ by {off}"
        lines.append(line(["search", name, end]))
    for name, row in of_task(rows, "predict-killed").items():
        end = row.get("error")
        if end is None:
            end = f"{row['n_rows']:,} rows, {row['n_different']} differ"
        lines.append(line(["prediction", name, end]))
    return table(["what", "engine", "what has come of it"], lines)


def predictions(rows):
    """Return a table of predictions at all sizes."""
    sizes = [n for n in (50_000, 200_000) if of_task(rows, f"predict-{n}")]
    by_size = [of_task(rows, f"predict-{n}") for n in sizes]
    lines = []
    for name in by_size[-1] if by_size else ():
        found = [each.get(name) for each in by_size]
        peaks = [f"{row['peak_mib']:,.0f}" if row else "" for row in found]
        last = found[-1]
        in_order = "yes" if last["in_order"] else "no"
        cells = (f"{last['n_different']}", in_order, f"{last['seconds']:.0f}")
        lines.append(line([name, *peaks, *cells]))
    heads = [f"MiB at {n:,} rows" for n in sizes]
    heads += ["labels that differ", "in order", "seconds"]
    return table(["engine", *heads], lines)


def texts_on_disk(rows):
    """Return a table of the memory that fits have taken."""
    lines = []
    for task in TASKS:
        found = of_task(rows, task) if task.startswith("disk") else {}
        if len(found) == 2:
            sizes = [f"{found[how]['step_mib']:,.0f}" for how in ("list", "column")]
            lines.append(line([f"{int(task.partition('-')[2]):,}", *sizes]))
    return table(["texts", "MiB of a list", "MiB of a column on the disk"], lines)


def main():
    """Run what is missing, or print the tables."""
    parser = results.parser(__doc__, "engines.jsonl", ", ".join(TASKS))
    args = parser.parse_args()
    if args.table:
        for name, lines in tables(results.read(args.file)).items():
            print("", name, "", *lines, sep="\n")
    else:
        results.finish(results.run_missing(plan(args), args.file))


if __name__ == "__main__":
    main()
