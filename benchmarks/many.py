"""Many fitted estimators on one backbone: texts a second in common batches.

    python benchmarks/many.py --repeats 8
    python benchmarks/many.py --table

256 definitions, all different, are spread evenly over 1, 8, 64 and 1,000 estimators on
MiniLM, and predicted by `predict_many`; with 1,000 estimators a call has texts for 256
of them, others each time. "one" is the `predict` of one estimator with all 256 texts,
and "one by one" the `predict` of each estimator with its own. All are measured in turn.

Eight estimators are fitted, with eight prompts of different lengths; the others are
their copies, each with noise of its own added to all it has learned. Every answer is
compared with that of the estimator alone.
"""

import argparse
import gc
import time
from copy import deepcopy
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import plots
import psutil
import results
import torch
from tables import line, table

from sksemantic import SKTuningClassifier, predict_proba_many
from sksemantic.datasets import load_definitions

N_ROWS, SIZES, N_TRAIN = 256, (1, 8, 64, 1000), 64
PROMPTS = (
    None,
    "Kind of thing.",
    "What is it?",
    "Is it an animal, a plant or food?",
    "Say in one word what kind of thing is defined here.",
    "Classify the definition by the kind of thing that it defines.",
    "A dictionary says what a word means. Which kind of thing does it name?",
    "Definitions of seven kinds: animals, plants, food, artifacts, acts and others.",
)
NOISE = 0.1  # of the root mean square of each trained tensor


def fitted(texts, labels):
    """Return estimators with different prompts."""
    return [
        SKTuningClassifier(prompt=prompt, max_epochs=1, random_state=seed).fit(
            texts, labels
        )
        for seed, prompt in enumerate(PROMPTS)
    ]


@torch.no_grad()
def copied(estimators, n_estimators):
    """Return so many estimators, copies with noise of their own."""
    generator = torch.Generator().manual_seed(0)
    copies = []
    for i in range(n_estimators):
        copies.append(deepcopy(estimators[i % len(estimators)]))
        for weight in copies[-1].get_module().parameters():
            noise = torch.randn(weight.shape, generator=generator)
            weight += NOISE * weight.square().mean().sqrt() * noise
    return copies


def requests_of(estimators, texts, first):
    """Return the texts in equal parts, for estimators from one on."""
    n_used = min(len(estimators), len(texts))
    parts = np.array_split(np.array(texts, object), n_used)
    return [
        (estimators[(first + i) % len(estimators)], part.tolist())
        for i, part in enumerate(parts)
    ]


def one_by_one(requests):
    """Answer each request alone."""
    return [estimator.predict_proba(X) for estimator, X in requests]


def seconds_of(call):
    """Return how long a call takes, and what it returns."""
    start = time.perf_counter()
    answer = call()
    return time.perf_counter() - start, answer


def measure(n_repeats):
    """Yield a row for each number of estimators."""
    texts, labels = load_definitions(return_X_y=True)
    eight = fitted(list(texts[:N_TRAIN]), labels[:N_TRAIN])
    test = list(dict.fromkeys(texts[N_TRAIN:]))[:N_ROWS]
    many, n_bytes = {}, {}
    for n in SIZES:
        before = resident_bytes()
        many[n] = copied(eight, n)
        for each in many[n]:
            each.predict(test[:1])  # each computes its prefix once
        n_bytes[n] = (resident_bytes() - before) / n
    runs = {n: [] for n in SIZES}
    for repeat in range(n_repeats + 1):
        for n in SIZES:
            runs[n].append(run_once(many[n], test, repeat))
    for n in SIZES:
        errors = [error for _, error in runs[n]]
        seconds = [each for each, _ in runs[n][1:]]  # the first warms up
        medians = {what: median(each[what] for each in seconds) for what in seconds[0]}
        yield {
            "n_estimators": n,
            "rows": N_ROWS,
            "repeats": n_repeats,
            "seconds": {what: round(value, 4) for what, value in medians.items()},
            "throughput_over_one": round(
                median(each["one"] / each["mixed"] for each in seconds), 3
            ),
            "largest_error": float(max(errors)),
            "bytes_an_estimator": round(n_bytes[n]),
        }


def resident_bytes():
    """Return the memory of this process, once what nobody needs is freed."""
    gc.collect()
    return psutil.Process().memory_info().rss


def run_once(estimators, texts, repeat):
    """Return the seconds of each way, and the largest difference between answers."""
    requests = requests_of(estimators, texts, repeat * N_ROWS)
    one = estimators[repeat % len(estimators)]  # prompts differ in their length
    ways = {
        "one": partial(one.predict_proba, texts),
        "mixed": partial(predict_proba_many, requests),
        "one by one": partial(one_by_one, requests),
    }
    found = {what: seconds_of(call) for what, call in ways.items()}
    pairs = zip(found["mixed"][1], found["one by one"][1], strict=True)
    seconds = {what: each for what, (each, _) in found.items()}
    return seconds, max(np.abs(a - b).max() for a, b in pairs)


def many_table(rows):
    """Return a line for each number of estimators."""
    heading = [
        "estimators",
        "texts a second, mixed",
        "one estimator = 1",
        "one by one = 1",
        "largest difference",
        "kB an estimator",
    ]
    lines = []
    for row in rows:
        seconds = row["seconds"]
        cells = [
            f"{row['n_estimators']:,}",
            f"{row['rows'] / seconds['mixed']:.0f}",
            f"{row['throughput_over_one']:.2f}",
            f"{seconds['one by one'] / seconds['mixed']:.1f}",
            f"{row['largest_error']:.0e}",
            f"{row['bytes_an_estimator'] / 1000:.0f}",
        ]
        lines.append(line(cells))
    return table(heading, lines)


def plot(rows, file):
    """Draw texts a second against the number of estimators."""
    figure, axes = plots.subplots(figsize=(5, 3))
    numbers = [row["n_estimators"] for row in rows]
    for what, label in (
        ("one", "one estimator, all texts"),
        ("mixed", "predict_many"),
        ("one by one", "one predict for each"),
    ):
        speeds = [row["rows"] / row["seconds"][what] for row in rows]
        axes.plot(numbers, speeds, marker="o", label=label)
    axes.set(xscale="log", ylim=(0, None), xlabel="estimators", ylabel="texts a second")
    axes.legend()
    plots.save(figure, file)


def latest(rows):
    """Return the latest row of each number of estimators."""
    return [*{row["n_estimators"]: row for row in rows}.values()]


def tables(rows):
    """Return the table by name."""
    return {"many estimators": many_table(latest(rows))}


def main():
    """Measure, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeats", type=int, default=8)
    parser.add_argument("--file", type=Path, default=results.RESULTS / "many.jsonl")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--plot", type=Path, help="file to draw the speeds in")
    args = parser.parse_args()
    if not args.table:
        for row in measure(args.repeats):
            results.append(args.file, row | results.provenance("ours"))
    rows = latest(results.read(args.file))
    print("\n".join(many_table(rows)))
    if args.plot is not None:
        plot(rows, args.plot)


if __name__ == "__main__":
    main()
