"""Held-out scores of the estimators beside the peers a user would try first.

Every seed draws its own split, or its own training rows, and trains from that seed.
The peers see the same rows, see `_baselines.py`. With ``--json FILE`` each result is
appended to the file as soon as it is there, one JSON object a line, so that a run which
is cut short loses nothing; ``--report FILE`` prints the table of such a file.
"""

import argparse
import ast
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from _baselines import (
    GEMMA,
    MINILM,
    FrozenBackbone,
    embedding_logistic,
    embedding_ridge,
    fast_dtype,
    fill_slot,
    tfidf_logistic,
    tfidf_ridge,
)
from _data import data_folder, load_hutto, load_sst2, load_trec
from sklearn.metrics import accuracy_score, f1_score, r2_score
from sklearn.model_selection import train_test_split

REVIEW_PROMPT = 'Movie review: "{text}"\nOverall, the movie was'
SCORES = {
    "accuracy": accuracy_score,
    "f1_macro": partial(f1_score, average="macro"),
    "r2": r2_score,
}


@dataclass(frozen=True)
class Task:
    """What is trained on what, and the score that it has to reach.

    Attributes
    ----------
    model : str
        The backbone of the estimator and of the frozen peers.
    split : callable
        Called with the arguments and a seed, returns X_train, X_test, y_train, y_test.
    scoring : str
        The score that is compared.
    bar : float
        Its mean over the seeds should be at least this.
    prompt : str or None
        The estimator's default if None.
    pooling : {"mean", "last"}
        How the frozen peers make one vector of a text.
    bar_peer : str or None
        A peer whose mean has to be beaten besides.
    """

    model: str
    split: Callable
    scoring: str
    bar: float
    prompt: str | None = None
    pooling: str = "mean"
    bar_peer: str | None = None


def split_sst2(args, seed, n_train):
    """Draw training phrases from SST-2; its 872 sentences are the test set."""
    X, y = load_sst2(args.data)
    size = args.train_size or n_train
    X_train, _, y_train, _ = train_test_split(
        X, y, train_size=size, stratify=y, random_state=seed
    )
    X_test, y_test = load_sst2(args.data, "test")
    return X_train, X_test, y_train, y_test


def split_random(args, seed, load):
    """Hold out a fifth of the rows at random."""
    X_train, X_test, y_train, y_test = train_test_split(
        *load(), test_size=0.2, random_state=seed
    )
    size = args.train_size or len(X_train)
    return X_train[:size], X_test, y_train[:size], y_test


TASKS = {
    "sst2-minilm": Task(
        model=MINILM,
        split=partial(split_sst2, n_train=3600),
        scoring="accuracy",
        bar=0.830,
    ),
    "sst2-gemma": Task(
        model=GEMMA,
        split=partial(split_sst2, n_train=1500),
        scoring="accuracy",
        bar=0.895,
        prompt=REVIEW_PROMPT,
        pooling="last",
    ),
    "trec-minilm": Task(
        model=MINILM,
        split=partial(split_random, load=load_trec),
        scoring="f1_macro",
        bar=0.93,
    ),
    "hutto-minilm": Task(
        model=MINILM,
        split=partial(split_random, load=load_hutto),
        scoring="r2",
        bar=0.55,
        bar_peer="frozen mean + Ridge",
    ),
}


def run_task(name, args):
    """Yield one result for each seed of the estimator, then of every peer."""
    task = TASKS[name]
    seeds = range(args.first_seed, args.first_seed + args.seeds)
    splits = {seed: task.split(args, seed) for seed in seeds}
    for seed, split in splits.items():
        yield {"task": name, "seed": seed} | run_estimator(task, seed, split, args)
    if args.baselines:
        for seed, result in run_peers(task, splits):
            yield {"task": name, "seed": seed} | result


def run_estimator(task, seed, split, args):
    """Train and score the estimator once."""
    X_train, X_test, y_train, y_test = split
    estimator = make_estimator(task, seed, args)
    start = time.perf_counter()
    estimator.fit(X_train, y_train)
    fitted = time.perf_counter()
    predicted = estimator.predict(X_test)
    return {
        "method": type(estimator).__name__,
        **score(task, y_test, predicted),
        "n_train": len(X_train),
        "n_test": len(X_test),
        "seconds": fitted - start,
        "predict_seconds": time.perf_counter() - fitted,
        "n_trainable_params": estimator.n_trainable_params_,
        "n_virtual_tokens": estimator.n_virtual_tokens_,
        "n_epochs": len(estimator.history_),
        "comparison": estimator.comparison_ and asdict(estimator.comparison_),
        "overrides": {key: str(value) for key, value in args.set},
        "versions": versions(),
        "threads": torch.get_num_threads(),
    }


def versions():
    """Return the versions that a score may depend on."""
    import sklearn
    import transformers

    import sksemantic

    packages = (sksemantic, torch, transformers, sklearn)
    return {package.__name__: package.__version__ for package in packages}


def make_estimator(task, seed, args):
    """Return the task's estimator, its defaults overridden by ``--set``."""
    from sksemantic import SKTuningClassifier, SKTuningRegressor

    kind = SKTuningRegressor if task.scoring == "r2" else SKTuningClassifier
    params = {"model": task.model, "random_state": seed, "verbose": args.verbose}
    if task.prompt is not None:
        params["prompt"] = task.prompt
    return kind(**params | dict(args.set))


def run_peers(task, splits):
    """Yield a seed and the result of every peer; one backbone serves all seeds."""
    for seed, split in splits.items():
        yield seed, run_peer(task, f"TF-IDF + {head_name(task)}", words(task), split)
    backbone = FrozenBackbone(task.model, peer_dtype(task))
    for seed, split in splits.items():
        for label, prompt in frozen_peers(task).items():
            start = time.perf_counter()
            embedded = embed(backbone, task, prompt, split)
            seconds = time.perf_counter() - start
            yield seed, run_peer(task, label, head(task), embedded, seconds)


def frozen_peers(task):
    """Return the prompts to put around the texts, by name of the peer."""
    peers = {f"frozen {task.pooling} + {head_name(task)}": None}
    if task.prompt is not None:
        peers[f"frozen {task.pooling}, same prompt + {head_name(task)}"] = task.prompt
    return peers


def run_peer(task, label, model, split, seconds=0.0):
    """Fit and score one peer; `seconds` went into its features before."""
    X_train, X_test, y_train, y_test = split
    start = time.perf_counter()
    predicted = model.fit(X_train, y_train).predict(X_test)
    return {
        "method": label,
        **score(task, y_test, predicted),
        "n_train": len(y_train),
        "n_test": len(y_test),
        "seconds": seconds + time.perf_counter() - start,
        "chosen": {key: float(value) for key, value in model.best_params_.items()},
    }


def embed(backbone, task, prompt, split):
    """Return the split with vectors in place of the texts."""
    X_train, X_test, y_train, y_test = split
    vectors = [
        backbone.embed(fill_slot(prompt, X), task.pooling) for X in (X_train, X_test)
    ]
    return *vectors, y_train, y_test


def words(task):
    """Return the peer that counts words."""
    if task.scoring == "r2":
        return tfidf_ridge()
    return tfidf_logistic(task.scoring)


def head(task):
    """Return the linear model of the frozen peers."""
    if task.scoring == "r2":
        return embedding_ridge()
    return embedding_logistic(task.scoring)


def head_name(task):
    """Return the short name of the linear model."""
    return "Ridge" if task.scoring == "r2" else "LR"


def peer_dtype(task):
    """Return float32, which no encoder is too large for, and the fast type else."""
    return torch.float32 if task.pooling == "mean" else fast_dtype()


def score(task, y_true, y_pred):
    """Return the scores that apply to the task."""
    names = ["r2"] if task.scoring == "r2" else ["accuracy", "f1_macro"]
    return {name: float(SCORES[name](y_true, y_pred)) for name in names}


def report(results):
    """Print a table for each task and training size among the results."""
    tables = {}
    for result in results:
        tables.setdefault((result["task"], result["n_train"]), []).append(result)
    for (name, n_train), rows in tables.items():
        print(f"\n{name}: {TASKS[name].scoring}, {n_train} training texts")
        report_task(TASKS[name], rows)


def report_task(task, results):
    """Print mean, seconds and seeds of each method, and whether the bar is reached."""
    groups = {}
    for result in results:  # a seed that was run again replaces its earlier result
        groups.setdefault(method_label(result), {})[result["seed"]] = result
    groups = {label: list(runs.values()) for label, runs in groups.items()}
    width = max(map(len, groups))
    heading = "seeds (* the closed form was kept)"
    print(f"{'':{width}}     mean   seconds  trained  {heading}")
    for label, runs in groups.items():
        print(f"{label:{width}}  {summary(task, runs)}")
    for label, runs in groups.items():
        if "n_trainable_params" in runs[0]:
            print(f"{label}: {verdict(task, runs, groups)}")


def method_label(result):
    """Return the method with the parameters that were overridden."""
    overrides = result.get("overrides", {}).items()
    return " ".join([result["method"], *(f"{key}={value}" for key, value in overrides)])


def summary(task, runs):
    """Return one line: mean, seconds, trained parameters, every seed, other scores."""
    seeds = " ".join(f"{run[task.scoring]:.3f}{mark(run)}" for run in runs)
    trained = runs[0].get("n_trainable_params", "")
    line = f"{mean(runs, task.scoring):7.3f}  {mean(runs, 'seconds'):8.1f}"
    line += f"  {trained:>7}  {seeds}"
    if task.scoring == "f1_macro":
        line += f"  (accuracy {mean(runs, 'accuracy'):.3f})"
    return line


def mark(run):
    """Return a star if the estimator kept its closed-form head."""
    comparison = run.get("comparison") or {}
    return "*" if comparison.get("kept") == "closed_form" else ""


def verdict(task, runs, groups):
    """Return whether the mean reaches the bar, and beats the peer it has to beat."""
    reached = mean(runs, task.scoring)
    verdicts = [f"bar {task.bar:.3f} {'reached' if reached >= task.bar else 'MISSED'}"]
    if task.bar_peer in groups:
        other = mean(groups[task.bar_peer], task.scoring)
        outcome = "beaten" if reached > other else "NOT BEATEN"
        verdicts.append(f"{task.bar_peer} {other:.3f} {outcome}")
    return ", ".join(verdicts)


def mean(runs, key):
    """Return the mean of one number over the runs."""
    return float(np.mean([run[key] for run in runs]))


def override(text):
    """Return the name and the value in ``name=value``."""
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"expected name=value, got {text!r}")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value


def parse_args():
    """Return the command line's arguments."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--task", nargs="+", choices=[*TASKS, "all"], default=["all"])
    add("--seeds", type=int, default=3, help="number of seeds (default: 3)")
    add("--first-seed", type=int, default=0, help="default: 0")
    add("--train-size", type=int, help="train on this many rows")
    add("--set", type=override, action="append", default=[], metavar="NAME=VALUE")
    add("--no-baselines", dest="baselines", action="store_false")
    add("--data", type=Path, default=data_folder(), help="folder that holds sst2/")
    add("--json", type=Path, metavar="FILE", help="append each result to this file")
    add("--report", type=Path, metavar="FILE", help="print this file's table, run none")
    add("--verbose", type=int, default=0)
    return parser.parse_args()


def main():
    """Run the tasks and print the table."""
    args = parse_args()
    if args.report:
        return report([json.loads(line) for line in args.report.open()])
    results = []
    for name in TASKS if "all" in args.task else args.task:
        for result in run_task(name, args):
            results.append(result)
            print(json.dumps(result), flush=True)
            if args.json:
                with args.json.open("a") as file:
                    file.write(json.dumps(result) + "\n")
    report(results)


if __name__ == "__main__":
    main()
