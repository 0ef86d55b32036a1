"""A shorter fit: by fewer epochs, or by fewer tuned layers.

    python benchmarks/shorter.py --seeds 3
    python benchmarks/shorter.py --table

Every fit has its seconds and its score. Of a number of tuned layers the table has the
curve through its fits, read at the seconds of each fit of all layers: what `time_limit`
could choose instead.
"""

import time
import warnings
from functools import partial
from statistics import mean

import numpy as np
import ours
import results
from catalogue import task_named
from tables import by_task, line, table
from tasks import Case

TASKS = ("sst2-1000-minilm", "trec6-1000-minilm", "sst2-200-gemma")
LAYERS = {"minilm": ("auto", 3, 2), "gemma": ("auto", 6, 3)}
EPOCHS = (1, 2, 3, 5, 8)
MAX_TEST = 1500


def fits(task, layers, seed):
    """Return seconds and score of fits of so many epochs, of the upper layers."""
    X, X_test, y, y_test = task.split(seed)
    case = Case(task, seed, ())
    found = []
    for epochs in EPOCHS:
        estimator = ours.make_ours(case, tuned_layers=layers, max_epochs=epochs)
        ours.forget(estimator)
        start = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            estimator.fit(X, y)
        seconds = time.perf_counter() - start
        score = estimator.score(X_test[:MAX_TEST], y_test[:MAX_TEST])
        found.append({"epochs": epochs, "seconds": seconds, "score": score})
    return {"fits": found}


def plan(args):
    """Yield the head of every run, and what is called to run it."""
    for seed in range(args.first_seed, args.first_seed + args.seeds):
        for name in args.tasks or TASKS:
            task = task_named(name, args.limit)
            for layers in LAYERS[name.rpartition("-")[2]]:
                method = f"{layers} layers"
                head = {"task": task.name, "method": method, "seed": seed}
                head["defaults"] = results.defaults_id(ours.defaults)
                yield head, partial(fits, task, layers, seed)


def shorter_table(rows):
    """Return a line for each task and number of layers: mean scores at equal time."""
    heading = ["task", "tuned layers"]
    heading += [f"in the time of {epochs} epochs of all" for epochs in EPOCHS]
    lines = []
    for task, methods in by_task(rows).items():
        seconds = {
            seed: [fit["seconds"] for fit in row["fits"]]
            for seed, row in methods["auto layers"].items()
        }
        for method, runs in methods.items():
            curves = [
                at(seconds[seed], row["fits"])
                for seed, row in runs.items()
                if seed in seconds
            ]
            scores = [f"{mean(each):.3f}" for each in zip(*curves, strict=True)]
            name = method.removesuffix(" layers").replace("auto", "all (default)")
            lines.append(line([f"`{task}`", name, *scores]))
    return table(heading, lines)


def at(seconds, fits):
    """Return the score that fits have reached after so many seconds."""
    times, scores = ([fit[key] for fit in fits] for key in ("seconds", "score"))
    return np.interp(seconds, times, scores)


def tables(rows):
    """Return the table by name."""
    return {"shorter": shorter_table(rows)}


def main():
    """Run what is missing, and print the table."""
    args = results.parser(__doc__, "shorter.jsonl", ", ".join(TASKS)).parse_args()
    n_failed = 0 if args.table else results.run_missing(plan(args), args.file)
    print("\n".join(shorter_table(results.read(args.file))))
    results.finish(n_failed)


if __name__ == "__main__":
    main()
