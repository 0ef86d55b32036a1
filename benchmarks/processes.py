"""One fit on several processes, beside the same fit on one: values, bytes, seconds.

    python benchmarks/processes.py --processes 2
    python benchmarks/processes.py --table

torchrun starts the processes, each with one thread. The backbone computes in float32,
of which the rounding is all that differs. What goes over the wire is counted by each
process: all that it takes part in summing, gathering or being told.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import ours
import results
import torch.distributed as dist
from catalogue import task_named
from tables import line, table
from tasks import Case

# By task, what else is set: texts are contrasted by default where they are few.
PLAN = {
    ("sst2-600-minilm", "ours, no contrast"): {"training__contrast": 0},
    ("sst2-600-minilm", "ours"): {},
    ("stsb-200-minilm", "ours"): {},
    ("conll-150-minilm", "ours"): {},
}
EPOCHS = 2
FLOAT_BYTES = 4
ONE_FLAG = 4  # whether a process has failed is told before each exchange


class Wire:
    """Counts the bytes that this process exchanges, step by step."""

    def __init__(self):
        self.since, self.steps, self.n_bytes = 0, [], 0
        for name, place in (("all_reduce", 0), ("broadcast", 0), ("all_gather", 1)):
            setattr(dist, name, self.counted(getattr(dist, name), place))

    def counted(self, exchange, place):
        """Return an exchange that is counted; gradients are summed once a step."""

        def count(*args, **kwargs):
            n_bytes = args[place].nbytes
            self.n_bytes += n_bytes
            self.since += n_bytes
            if exchange.__name__ == "all_reduce" and n_bytes > ONE_FLAG:
                self.steps.append(self.since)
                self.since = 0
            return exchange(*args, **kwargs)

        return count


def fit(name, settings, folder):
    """Fit one task with all processes, and save what has come of it."""
    wire = Wire()
    task = task_named(name)
    X, X_test, y, _ = task.split(0)
    settings = {
        **{"max_epochs": EPOCHS, "device": "cpu", "model_kwargs__dtype": "float32"},
        **{"training__processes": "all", **settings},
    }
    estimator = ours.make_ours(Case(task, 0, ()), **settings)
    start = time.perf_counter()
    estimator.fit(X, y)
    seconds = time.perf_counter() - start
    rank = int(os.environ["RANK"])
    state = estimator.get_module().state_dict()
    np.savez(
        Path(folder) / f"{rank}.npz",
        weights=np.concatenate([each.numpy().ravel() for each in state.values()]),
        predictions=np.hstack(
            [*map(np.ravel, predictions(task, estimator, X_test[:200]))]
        ),
        n_trained=estimator.n_trainable_params_,
        steps=wire.steps,
        n_bytes=wire.n_bytes,
        seconds=[
            seconds,
            estimator.timing_.seconds,
            estimator.timing_.phases["training"],
        ],
    )


def predictions(task, estimator, X):
    """Return numbers, or probabilities."""
    return (
        estimator.predict(X) if task.kind == "numbers" else estimator.predict_proba(X)
    )


def fits(name, settings, n_processes):
    """Return what each process has saved."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "torch.distributed.run"]
        command += ["--nproc-per-node", str(n_processes), __file__]
        command += ["--fit", json.dumps([name, settings, folder])]
        subprocess.run(command, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
        files = [Path(folder) / f"{rank}.npz" for rank in range(n_processes)]
        return [dict(np.load(file)) for file in files]


def measure(name, settings, n_processes):
    """Return how far several processes are from one, and what they exchange."""
    (alone,) = fits(name, settings, 1)
    several = fits(name, settings, n_processes)
    first = several[0]
    most = {
        what: max(float(np.abs(each[what] - alone[what]).max()) for each in several)
        for what in ("weights", "predictions")
    }
    n_trained = int(first["n_trained"])
    step = float(np.median(first["steps"]))
    return {
        "difference": most,
        "n_trained": n_trained,
        "n_steps": len(first["steps"]),
        "bytes_a_step": step,
        "bytes_a_trained_value": round(step / n_trained, 3),
        "bytes": int(first["n_bytes"]),
        "seconds": {
            "alone": alone["seconds"].round(2).tolist(),
            "together": first["seconds"].round(2).tolist(),
        },
    }


def processes_table(rows):
    """Return how far several processes are from one, and what they exchange."""
    lines = []
    for row in rows:
        difference = row["difference"]
        share = row["bytes_a_step"] / (FLOAT_BYTES * row["n_trained"])
        cells = [
            row["task"],
            "`contrast=0`" if row["method"].endswith("no contrast") else "",
            row["processes"],
            f"{difference['weights']:.0e}",
            f"{difference['predictions']:.0e}",
            f"{row['bytes_a_step'] / 1e3:.0f} kB",
            f"{share:.2f}",
        ]
        lines.append(line(cells))
    heading = ["task", "", "processes", "trained values", "predictions"]
    heading += ["sent in a step", "over 4 bytes a trained value"]
    return table(heading, lines)


def tables(rows):
    """Return the table by name."""
    return {"processes": processes_table(rows)}


def main():
    """Measure what is missing, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--processes", type=int, default=2, help="how many (default: 2)")
    add("--file", default=results.RESULTS / "processes.jsonl", type=Path)
    add("--table", action="store_true", help="run nothing, print the table")
    add("--fit", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.fit:
        return fit(*json.loads(options.fit))
    if options.table:
        return print("\n".join(processes_table(results.read(options.file))))
    defaults = results.defaults_id(ours.defaults)
    n = options.processes
    plan = [
        (
            {"task": name, "method": method, "processes": n, "defaults": defaults},
            partial(measure, name, settings, n),
        )
        for (name, method), settings in PLAN.items()
    ]
    results.finish(results.run_missing(plan, options.file))


if __name__ == "__main__":
    main()
