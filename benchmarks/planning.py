"""Planning for scale: constants that are measured, and what follows from them.

    python benchmarks/planning.py
    python benchmarks/planning.py --table

Measured: tokens a second of predictions and of training steps; bytes of a saved
estimator, of one more estimator in memory, and of a trained part on the wire. Memory is
that of a process which has done nothing else: it loads an estimator and makes copies.
From these the tables compute time, memory and money. What is assumed, and not measured,
stands in `ASSUMED`.
"""

import argparse
import ctypes
import gc
import os
import subprocess
import sys
import time
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import psutil
import results
from tables import line, table

from sksemantic import SKTuningClassifier, clear_cache, load_estimator
from sksemantic.datasets import load_definitions

MODELS = {
    "MiniLM": "sentence-transformers/all-MiniLM-L6-v2",
    "Gemma 3 270M": "google/gemma-3-270m",
}
N_TRAIN, N_TEST, REPEATS, N_COPIES = 128, 256, 3, 200
# Not measured here: names, and what they are taken to be.
ASSUMED = {
    "tokens of a text": 40,
    "training rows": 10_000,
    "epochs of training": 10,
    "dollars an hour of a CPU core": 0.05,
    "dollars an hour of a GPU": 3.0,
    "operations a second of a GPU in bfloat16": 400e12,
    "share of a GPU's operations that is reached": 0.4,
}
# Numbers in the layers that run, those of the embeddings left out; all numbers.
SIZES = {
    "MiniLM": (10.6e6, 22.7e6),
    "Gemma 3 270M": (67e6, 268e6),
    "7 B": (6.5e9, 7.0e9),
    "70 B": (68.5e9, 70.6e9),
}


def count_tokens(clf, texts):
    """Return how many tokens of texts the backbone reads."""
    tokenizer = clf.get_module().backbone.tokenizer
    return sum(map(len, tokenizer(list(texts))["input_ids"]))


def measure(name):
    """Return the constants of one backbone on this machine."""
    texts, labels = load_definitions(return_X_y=True)
    train, test = list(texts[:N_TRAIN]), list(texts[N_TRAIN : N_TRAIN + N_TEST])
    clf = SKTuningClassifier(MODELS[name], max_epochs=2, random_state=0)
    clf.fit(train, labels[:N_TRAIN])
    n_tokens = count_tokens(clf, test)
    seconds = []
    for _ in range(REPEATS + 1):
        start = time.process_time()
        clf.predict_proba(test)
        seconds.append(time.process_time() - start)
    clear_cache()
    epochs = []
    for _ in range(2):
        short, long = deepcopy(clf), deepcopy(clf)
        for each, n in ((short, 1), (long, 4)):
            each.set_params(max_epochs=n, training={"contrast": 0, "objective": "task"})
            start = time.process_time()
            each.fit(train, labels[:N_TRAIN])
            epochs.append((n, time.process_time() - start))
    by_length = {n: min(x for m, x in epochs if m == n) for n in (1, 4)}
    step = (by_length[4] - by_length[1]) / 3
    with TemporaryDirectory() as folder:
        clf.save_pretrained(folder)
        saved = sum(file.stat().st_size for file in Path(folder).rglob("*"))
        command = [sys.executable, __file__, "--memory-of", folder]
        found = subprocess.run(command, check=True, capture_output=True, text=True)
    return {
        "model": name,
        "method": "ours",
        "threads": int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)),
        "predict_tokens_a_second": round(n_tokens / median(seconds[1:])),
        "train_tokens_a_second": round(count_tokens(clf, train) / step),
        "memory_bytes_an_estimator": int(found.stdout),
        "saved_bytes": saved,
        "step_bytes": 4 * sum(p.numel() for p in clf.get_module().parameters()),
    }


def memory_of_one_more(folder):
    """Return the bytes of a copy of an estimator that has predicted."""
    text = ["a short text"]
    clf = load_estimator(folder)
    clf.predict(text)
    gc.collect()
    with suppress(OSError, AttributeError):  # what loading has left is given back
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    process = psutil.Process()
    before = process.memory_info().rss
    copies = [deepcopy(clf) for _ in range(N_COPIES)]
    for copy in copies:
        copy.predict(text)
    return round((process.memory_info().rss - before) / N_COPIES)


def on_gpu(name, n_tokens):
    """Return the hours of a GPU that tokens take, by operations."""
    operations = 2 * SIZES[name][0] * n_tokens
    speed = ASSUMED["operations a second of a GPU in bfloat16"]
    return (
        operations
        / speed
        / ASSUMED["share of a GPU's operations that is reached"]
        / 3600
    )


def on_cpu(rows, name, n_tokens, what="predict"):
    """Return the hours of a core that tokens take, as measured; None: not measured."""
    for row in rows:
        if row["model"] == name:
            return n_tokens / row[f"{what}_tokens_a_second"] / 3600
    return None


def cost_table(rows):
    """Return hours and dollars of predictions, for each backbone and number of rows."""
    heading = ["backbone", "rows", "core hours", "dollars", "GPU hours", "dollars"]
    lines = []
    for name in SIZES:
        for n_rows in (10_000_000, 1_000_000_000):
            n_tokens = n_rows * ASSUMED["tokens of a text"]
            cpu, gpu = on_cpu(rows, name, n_tokens), on_gpu(name, n_tokens)
            price = ASSUMED["dollars an hour of a CPU core"]
            cells = [name, f"{n_rows:,}"]
            cells += ["", ""] if cpu is None else [f"{cpu:,.0f}", f"{cpu * price:,.0f}"]
            cells += [f"{gpu:,.2g}" if gpu < 10 else f"{gpu:,.0f}"]
            cells += [f"{gpu * ASSUMED['dollars an hour of a GPU']:,.0f}"]
            lines.append(line(cells))
    return table(heading, lines)


def training_table(rows):
    """Return hours of one fit for each backbone: forward, and backward twice that."""
    heading = ["backbone", "core hours", "GPU hours", "bytes a step on the wire"]
    n_tokens = ASSUMED["training rows"] * ASSUMED["epochs of training"]
    n_tokens *= ASSUMED["tokens of a text"]
    wire = {row["model"]: f"{row['step_bytes']:,}" for row in rows}
    lines = []
    for name in SIZES:
        cpu = on_cpu(rows, name, n_tokens, "train")
        cells = [name, "" if cpu is None else f"{cpu:.1f}"]
        cells += [f"{3 * on_gpu(name, n_tokens):.2g}", wire.get(name, "")]
        lines.append(line(cells))
    return table(heading, lines)


def memory_table(rows):
    """Return gigabytes of a backbone, and of 1,000 estimators on it."""
    heading = ["backbone", "weights, GB", "1,000 estimators, GB", "saved, MB each"]
    known = {row["model"]: row for row in rows}
    lines = []
    for name, (_, n_weights) in SIZES.items():
        row = known.get(name)
        cells = [name, f"{(2 if n_weights > 1e9 else 4) * n_weights / 1e9:.2g}"]
        cells += (
            ["", ""]
            if row is None
            else [
                f"{row['memory_bytes_an_estimator'] / 1e6:.1f}",
                f"{row['saved_bytes'] / 1e6:.1f}",
            ]
        )
        lines.append(line(cells))
    return table(heading, lines)


def constants_table(rows):
    """Return what was measured."""
    heading = ["measured on one core", *(row["model"] for row in rows)]
    names = {
        "predict_tokens_a_second": "tokens a second, predictions",
        "train_tokens_a_second": "tokens a second, training",
        "memory_bytes_an_estimator": "bytes of one more estimator in memory",
        "saved_bytes": "bytes of a saved estimator",
        "step_bytes": "bytes a step on the wire",
    }
    lines = [
        line([text, *(f"{row[name]:,}" for row in rows)])
        for name, text in names.items()
    ]
    return table(heading, lines)


def tables(rows):
    """Return all tables by name."""
    rows = [*{row["model"]: row for row in rows}.values()]
    assumed = [line([name, f"{value:,.6g}"]) for name, value in ASSUMED.items()]
    return {
        "planning constants": constants_table(rows),
        "planning assumptions": table(["assumed, not measured", ""], assumed),
        "planning predictions": cost_table(rows),
        "planning training": training_table(rows),
        "planning memory": memory_table(rows),
    }


def main():
    """Measure, or print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--file", type=Path, default=results.RESULTS / "planning.jsonl")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.memory_of:
        print(memory_of_one_more(args.memory_of))
        return
    if not args.table:
        for name in args.models.split(","):
            row = measure(name)
            results.append(args.file, row | results.provenance("ours"))
    for name, found in tables(results.read(args.file)).items():
        print(f"\n{name}\n", *found, sep="\n")


if __name__ == "__main__":
    main()
