"""Long texts: cut, or read in windows; accuracy and seconds.

    python benchmarks/long_texts.py --tasks bbc-1000,newsgroups-500,editorials-400
    python benchmarks/long_texts.py --tasks all --methods probe --seeds 3
    python benchmarks/long_texts.py --table

The first command fits the estimator. "probe" is logistic or ridge regression on the
features of the frozen backbone, one row for each way of reading a text in `READINGS`.
"""

import time
from functools import cache
from statistics import mean, median

import numpy as np
import ours
import results
from catalogue import task_named
from peers import linear
from peers.frozen import reader
from sklearn.preprocessing import StandardScaler
from tasks import Case

TASKS = ("bbc-1000-minilm", "newsgroups-500-minilm", "editorials-all-minilm")
MAX_TEST = 500
FITS = {
    "truncate 512": {"long_texts": "truncate", "max_length": 512},
    "truncate 256": {"long_texts": "truncate", "max_length": 256},
    "truncate 128": {"long_texts": "truncate", "max_length": 128},
    "windows 256": {"long_texts": "windows", "max_length": 256},
    "windows 128": {"long_texts": "windows", "max_length": 128},
}
SPECIAL = 2  # tokens around each text, for MiniLM


def first(ids, length):
    """Return the start of a text, as the only window."""
    return [ids[: length - SPECIAL]]


def head_and_tail(ids, length, share=0.5):
    """Return a share of the tokens from the start, the others from the end."""
    room = length - SPECIAL
    n_first = int(share * room)
    fits = len(ids) <= room
    return [ids if fits else ids[:n_first] + ids[n_first - room :]]


def spread(ids, length, n_tokens=32):
    """Return pieces of some tokens, from all over the text, as one window."""
    room = length - SPECIAL
    if len(ids) <= room:
        return [ids]
    starts = np.linspace(0, len(ids) - n_tokens, room // n_tokens).astype(int)
    return [sum((ids[start : start + n_tokens] for start in starts), [])]


def windows(ids, length):
    """Return all of a text in windows of the same length."""
    n_windows = max(1, -(-len(ids) // (length - SPECIAL)))
    ends = np.linspace(0, len(ids), n_windows + 1).astype(int)
    return [ids[a:b] for a, b in zip(ends[:-1], ends[1:], strict=True)]


def three_quarters(ids, length):
    """Return three quarters of the tokens from the start, the others from the end."""
    return head_and_tail(ids, length, 0.75)


# How a text is read in training and in prediction.
READINGS = {
    f"{name} {length}": ((way, length), (way, length))
    for name, way, lengths in (
        ("first", first, (64, 128, 256, 512)),
        ("head and tail", head_and_tail, (128, 256)),
        ("head and a quarter of tail", three_quarters, (128,)),
        ("spread", spread, (128,)),
        ("windows", windows, (128, 256, 512)),
    )
    for length in lengths
}
READINGS |= {
    f"first {short}, then {name} {length}": ((first, short), (way, length))
    for short, name, way, length in (
        (128, "first", first, 512),
        (128, "windows", windows, 128),
        (256, "windows", windows, 128),
    )
}


def plan(args):
    """Yield the head of every run, and what is called to run it."""
    for name in TASKS if args.tasks == ["all"] else args.tasks:
        task = task_named(name, args.limit)
        methods = args.methods or [*FITS]
        if methods == ["probe"]:
            methods = [f"probe {reading}" for reading in READINGS]
        for method in methods:
            for seed in range(args.first_seed, args.first_seed + args.seeds):
                head = {"task": task.name, "method": method, "seed": seed}
                if method in FITS:
                    head["defaults"] = results.defaults_id(ours.defaults)
                yield head, lambda t=task, m=method, s=seed: run(t, m, s)


def run(task, method, seed):
    """Fit one method, and score it on the test rows."""
    X, X_test, y, y_test = task.split(seed)
    case = Case(task, seed, (X, X_test[:MAX_TEST], y, y_test[:MAX_TEST]))
    if method in FITS:
        return ours.fit_ours(case, **FITS[method])
    return probe(case, *READINGS[method.removeprefix("probe ")])


def probe(case, in_training, in_prediction):
    """Fit a linear model on frozen features."""
    X_train, X_test, y_train, y_test = case.rows
    start = time.perf_counter()
    train = features(case.task.model, X_train, *in_training)
    test = features(case.task.model, X_test, *in_prediction)
    seconds = time.perf_counter() - start
    penalties = linear.STATE_C, linear.STATE_ALPHA
    model = linear.linear_model(case, StandardScaler(), *penalties)
    return case.measure(model, (train, test, y_train, y_test), seconds)


def features(model, texts, way, length):
    """Return the features of texts (n_texts, C): the mean over each one's windows."""
    read = window_reader(model)
    found = [read(way(ids, length)) for ids in read.tokenize(texts)]
    return np.stack(found)


class WindowReader:
    """Reads windows of texts with a frozen encoder, none of them twice."""

    def __init__(self, model):
        self.backbone = reader(model).backbone
        tokenizer = self.backbone.tokenizer
        self.around = tokenizer.cls_token_id, tokenizer.sep_token_id
        self.known = {}

    def tokenize(self, texts):
        """Return the token ids of texts, nothing cut, without special tokens."""
        encoded = self.backbone.tokenizer(
            list(texts), add_special_tokens=False, verbose=False
        )
        return encoded["input_ids"]

    def __call__(self, parts):
        """Return the mean vector (C,) of windows; one counts by its tokens."""
        parts = [tuple(part) for part in parts]
        first_id, last_id = self.around
        new = [part for part in parts if part not in self.known]
        ids = [[first_id, *part, last_id] for part in new]
        if ids:
            self.known.update(zip(new, self.backbone.embed_ids(ids), strict=True))
        vectors = [self.known[part] for part in parts]
        return np.average(vectors, axis=0, weights=[len(p) + SPECIAL for p in parts])


window_reader = cache(WindowReader)


def table(rows, names):
    """Return a line for each method: mean scores, and the ratio of the seconds."""
    tasks = [t for t in TASKS if any(row["task"] == t for row in rows)]
    lines = ["| read |" + "".join(f" {task} |" for task in tasks)]
    lines.append("|---|" + "---|" * len(tasks))
    for name in names:
        cells = [cell(rows, task, name) for task in tasks]
        if any(cells):
            title = name.removeprefix("probe ")
            lines.append(f"| {title} | " + " | ".join(cells) + " |")
    return lines


def cell(rows, task, method):
    """Return the mean score, its seeds, and seconds over those of 512 tokens."""
    scoring = task_named(task).scoring
    of = [row for row in rows if (row["task"], row["method"]) == (task, method)]
    if not of:
        return ""
    score = mean(row["scores"][scoring] for row in of)
    text = f"{score:.3f} ({len(of)})"
    base = {
        row["seed"]: row["seconds"]
        for row in rows
        if (row["task"], row["method"]) == (task, "truncate 512")
    }
    ratios = [row["seconds"] / base[row["seed"]] for row in of if row["seed"] in base]
    return f"{text}, {median(ratios):.2f}" if ratios and method in FITS else text


def tables(rows):
    """Return both tables by name."""
    return {
        "long texts": table(rows, FITS),
        "long texts probe": table(rows, [f"probe {name}" for name in READINGS]),
    }


def main():
    """Run what is missing, and print the tables."""
    parser = results.parser(__doc__, "long_texts.jsonl", f"{', '.join(TASKS)}, or all")
    args = parser.parse_args()
    n_failed = 0 if args.table else results.run_missing(plan(args), args.file)
    for lines in tables(results.read(args.file)).values():
        print("\n".join(lines), end="\n\n")
    results.finish(n_failed)


if __name__ == "__main__":
    main()
