"""One text at a time: how long a prediction takes, beside the bare model.

    python benchmarks/latency.py --tasks sst2-600-minilm,sst2-600-gemma
    python benchmarks/latency.py --table

Of each text there are two times: that of `predict([text])`, and that of tokenising the
text and one forward pass of the bare model, all its layers, as transformers makes it.
The two take turns. The rows have the medians, and the median of the ratios.
"""

import time
from functools import partial

import numpy as np
import ours
import results
import torch
from catalogue import task_named
from peers.frozen import FrozenBackbone, fast_dtype
from tables import line, table
from tasks import Case

METHODS = {"ours, predict": "predict", "ours, predict_proba": "predict_proba"}
N_TEXTS = 400
N_FIRST = 20  # calls before the measured ones


def milliseconds(function, *args):
    """Return the milliseconds that a call takes."""
    start = time.perf_counter()
    function(*args)
    return 1e3 * (time.perf_counter() - start)


def read_bare(backbone, text):
    """Tokenise a text and run the bare model on it."""
    inputs = backbone.tokenizer([text], return_tensors="pt").to(backbone.device)
    with torch.inference_mode():
        return backbone.model(**inputs)


def time_one_by_one(task, method, seed):
    """Return the medians over the test texts, read one by one."""
    rows = task.split(seed)
    X_train, X_test, y_train, _ = rows
    estimator = ours.make_ours(Case(task, seed, rows), max_epochs=1)
    predict = getattr(estimator.fit(X_train, y_train), method)
    backbone = FrozenBackbone(task.model, fast_dtype())
    # What stands after the slot belongs to every text.
    after = task.prompt.split("{text}")[1] if task.prompt else ""
    texts = list(X_test)[: N_FIRST + N_TEXTS]
    times = [
        (
            milliseconds(predict, [text]),
            milliseconds(read_bare, backbone, text + after),
        )
        for text in texts
    ]
    own, bare = np.array(times[N_FIRST:]).T
    return {
        "milliseconds": round(float(np.median(own)), 3),
        "bare_milliseconds": round(float(np.median(bare)), 3),
        "ratio": round(float(np.median(own) / np.median(bare)), 3),
        "median_of_ratios": round(float(np.median(own / bare)), 3),
        "n_texts": len(own),
    }


def plan(args):
    """Yield the head of every run, and what is called to run it."""
    for name in args.tasks or ["sst2-600-minilm"]:
        task = task_named(name, args.limit)
        for seed in range(args.first_seed, args.first_seed + args.seeds):
            for method in args.methods or METHODS:
                head = {"task": task.name, "method": method, "seed": seed}
                head["defaults"] = results.defaults_id(ours.defaults)
                head["machine"] = results.machine()
                yield head, partial(time_one_by_one, task, METHODS[method], seed)


def milliseconds_table(rows):
    """Return the medians over the seeds, line by line."""
    found = {}
    for row in rows:
        key = row["machine"]["processor"], row["task"], row["method"], row["defaults"]
        found.setdefault(key, []).append(row)
    names = ("milliseconds", "bare_milliseconds", "ratio")
    lines = []
    for (processor, task, method, defaults), group in found.items():
        middle = [float(np.median([row[name] for row in group])) for name in names]
        cells = [processor, f"`{task}`", method.removeprefix("ours, "), defaults]
        lines.append(line([*cells, *(f"{value:.2f}" for value in middle)]))
    heading = [
        "processor",
        "task",
        "",
        "defaults",
        "ms",
        "ms of the bare model",
        "ratio",
    ]
    return table(heading, lines)


def tables(rows):
    """Return the table by name."""
    return {"latency": milliseconds_table(rows)}


def main():
    """Measure what is missing, and print the table."""
    args = results.parser(__doc__, "latency.jsonl", "see catalogue.py").parse_args()
    n_failed = 0 if args.table else results.run_missing(plan(args), args.file)
    print("\n".join(milliseconds_table(results.read(args.file))))
    results.finish(n_failed)


if __name__ == "__main__":
    main()
