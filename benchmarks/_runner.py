"""Tables of tasks, run and reported: the common part of the benchmarks of scores.

Every seed draws its own training rows where there is something to draw. With ``--json
FILE`` each result is appended as soon as it is there, one JSON object a line, and what
the file already has is not run again; ``--report FILE`` prints its tables. One method
that fails does not stop the others.
"""

import argparse
import ast
import gc
import json
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from _baselines import MINILM
from _data import data_folder
from _methods import (
    Case,
    fit_head,
    fit_ours,
    fit_tuned,
    fit_word_head,
    fit_words,
    match_label_texts,
    reader,
)
from _rows import SHOTS, TARGETS
from _scores import entity_f1

CLASSIFIER, REGRESSOR = "SKTuningClassifier", "SKTuningRegressor"
WORDS = "SKTuningTokenClassifier"


@dataclass(frozen=True)
class Bar:
    """What the mean over the seeds should reach.

    Attributes
    ----------
    amount : float
        The score itself, or how far it should be ahead of the peer's.
    peer : str or None
        The method that has to be beaten.
    shots : int or None
        The labelled texts of each class with which it should.
    """

    amount: float = 0.0
    peer: str | None = None
    shots: int | None = None


@dataclass(frozen=True)
class Method:
    """One way to do a task.

    Attributes
    ----------
    run : callable
        Called with a `Case`, returns its scores and what else is known.
    seeded : bool
        Whether seeds differ on the same rows.
    shots : tuple or None
        The numbers of labelled texts of each class that it works with; None is any.
    across : bool
        Whether it does the same for each model: other tasks' results hold here, too.
    """

    run: Callable
    seeded: bool = False
    shots: tuple | None = None
    across: bool = False


@dataclass(frozen=True)
class Task:
    """What is trained on what, beside which peers, and what it has to reach.

    Attributes
    ----------
    split : callable
        Called with the arguments, a seed and `shots`, returns X_train, X_test, y_train
        and y_test.
    score : callable
        Called with y_test and the predictions, returns scores by name.
    scoring : str
        The one that is compared.
    ours, peers : dict
        Methods by name. The first of ours has to pass the bars.
    bars : tuple of Bar
        What it has to reach.
    params : dict
        Of the estimators; the peers have the same model and prompt.
    predict : callable
        Called with what was fitted and with texts.
    lower : bool
        Whether a lower score is better.
    drawn : bool
        Whether each seed has its own rows.
    shots : tuple
        The numbers of labelled texts of each class, for a task on few texts.
    seeds : int
        How many there are by default.
    """

    split: Callable
    score: Callable
    scoring: str
    ours: dict
    peers: dict
    bars: tuple
    params: dict = field(default_factory=dict)
    predict: Callable = lambda model, X: model.predict(X)
    lower: bool = False
    drawn: bool = True
    shots: tuple = (None,)
    seeds: int = 3

    @property
    def model(self):
        """The backbone."""
        return self.params.get("model", MINILM)


def ours(kind, **params):
    """Return the method that is an estimator of the package."""
    return Method(partial(fit_ours, kind=kind, **params), seeded=True)


def on_words(make, *, across=False):
    """Return the method that is a model of word counts."""
    return Method(partial(fit_words, make=make), across=across)


def on_vectors(make):
    """Return the method that is a model of frozen vectors."""
    return Method(partial(fit_head, make=make))


def on_states():
    """Return the method that is a model of frozen states of words."""
    return Method(partial(fit_word_head, scoring=entity_f1))


def matched(centred):
    """Return the method that compares texts with label texts."""
    return Method(partial(match_label_texts, centred=centred), shots=(0,))


def tuned(method, epochs, batch_size, shots=None, kind="classes"):
    """Return one of PEFT's methods; `epochs` is called with the number of rows."""
    run = partial(
        fit_tuned, method=method, epochs=epochs, batch_size=batch_size, kind=kind
    )
    return Method(run, seeded=True, shots=shots)


def run_tasks(tasks, args, results):
    """Yield the results that are not there yet; None for a method that failed."""
    for name in chosen_tasks(tasks, args):
        yield from run_task(name, tasks[name], args, results)
        reader.cache_clear()
        gc.collect()


def chosen_tasks(tasks, args):
    """Return the names of the tasks to run and to report."""
    return list(tasks) if "all" in args.task else args.task


def run_task(name, task, args, results):
    """Yield one result for each method, number of labelled texts, and seed."""
    rows = {}
    for head, method in plan(name, task, args):
        if any(same(head, result) for result in results):
            continue
        seed, shots = head["seed"], head["shots"]
        known = [r for r in results if method.across and same_data(head, r)]
        if known:
            yield known[0] | head
            continue
        if (seed, shots) not in rows:
            rows[seed, shots] = task.split(args, seed, shots)
        case = Case(task, seed, shots, rows[seed, shots], args)
        try:
            yield head | method.run(case)
        except Exception:  # the others go on
            print(f"{head} failed:\n{traceback.format_exc()}", flush=True)
            yield None


def plan(name, task, args):
    """Yield what identifies each result of a task, and its method; ours come first."""
    seeds = range(args.first_seed, args.first_seed + (args.seeds or task.seeds))
    overrides = {key: str(value) for key, value in args.set}
    for group, own in ((task.ours, True), (task.peers, False)):
        if not (args.ours if own else args.baselines):
            continue
        chosen = {key: group[key] for key in group if key in (args.only or group)}
        for seed in seeds:
            for label, method in chosen.items():
                if seed > args.first_seed and not differs(task, method, args):
                    continue
                for shots in task.shots:
                    if wanted(method, shots, args):
                        head = {"task": name, "method": label, "seed": seed}
                        head |= {"shots": shots, "train_size": args.train_size}
                        yield head | {"overrides": overrides if own else {}}, method


def differs(task, method, args):
    """Return whether a method's result differs between the seeds."""
    return task.drawn or method.seeded or bool(args.train_size)


def wanted(method, shots, args):
    """Return whether a method is run with that many labelled texts of each class."""
    if shots is None:
        return True
    return shots in args.shots and (method.shots is None or shots in method.shots)


def same(head, result):
    """Return whether a result is that of a part of the plan."""
    return all(result[key] == value for key, value in head.items())


def same_data(head, result):
    """Return whether a result is that of another model's task on the same data."""
    data = [one["task"].rpartition("-")[0] for one in (head, result)]
    return data[0] == data[1] and same(head | {"task": result["task"]}, result)


def report(tasks, results, args):
    """Print a table for each task, number of labelled texts and training size."""
    tables = {}
    for result in results:
        if result["task"] in chosen_tasks(tasks, args):
            key = (result["task"], result["shots"], result["train_size"])
            tables.setdefault(key, []).append(result)
    for (name, shots, _), rows in sorted(tables.items(), key=partial(by_plan, tasks)):
        task = tasks[name]
        size = f"{max(row['n_train'] for row in rows)} training rows"
        if shots is not None:
            size = f"{shots} labelled texts per class"
        print(f"\n{name}: {task.scoring}, {size}, {rows[0]['n_test']} test rows")
        report_task(task, shots, rows)


def by_plan(tasks, table):
    """Return where a table belongs."""
    name, shots, train_size = table[0]
    return list(tasks).index(name), shots or 0, train_size or 0


def report_task(task, shots, results):
    """Print mean, seconds and seeds of each method, and whether the bars are passed."""
    [methods] = by_seed(results).values()
    groups = {label: [*runs.values()] for label, runs in methods.items()}
    width = max(map(len, groups))
    heading = "seeds (* the closed form was kept)"
    print(f"{'':{width}}     mean   seconds  trained  {heading}")
    for label, runs in groups.items():
        print(f"{label:{width}}  {summary(task, runs)}")
    main = next(iter(task.ours))
    for label, runs in groups.items():
        if runs[0]["method"] == main:
            for bar in task.bars:
                if bar.shots == shots:
                    print(f"{label}: {verdict(task, bar, runs, groups)}")


def summary(task, runs):
    """Return one line: mean, seconds, trained parameters, every seed, other scores."""
    seeds = " ".join(f"{run[task.scoring]:.3f}{mark(run)}" for run in runs)
    trained = runs[0].get("n_trainable_params") or ""
    line = f"{mean(runs, task.scoring):7.3f}  {mean(runs, 'seconds'):8.1f}"
    line += f"  {trained:>7}  {seeds}"
    others = [f"{name} {mean(runs, name):.3f}" for name in other_scores(task, runs)]
    return f"{line}  ({', '.join(others)})" if others else line


def other_scores(task, runs):
    """Return the scores besides the one that is compared."""
    names = ("accuracy", "f1_macro", "pearson", "precision", "recall", *TARGETS)
    return [name for name in names if name in runs[0] and name != task.scoring]


def verdict(task, bar, runs, groups):
    """Return whether the mean over the seeds passes a bar."""
    reached = mean(runs, task.scoring)
    sign = -1 if task.lower else 1
    if bar.peer is None:
        passed = sign * (reached - bar.amount) >= 0
        return f"bar {bar.amount:.3f} {'reached' if passed else 'MISSED'}"
    label = method_label(runs[0] | {"method": bar.peer})  # with the same overrides
    peers = groups.get(label, groups.get(bar.peer))
    if peers is None:
        return f"bar {bar.peer} is not there"
    other = mean(peers, task.scoring)
    ahead = sign * (reached - other)
    passed = ahead >= bar.amount if bar.amount else ahead > 0
    line = f"bar {bar.peer} {other:.3f}"
    line += f" by {bar.amount:.3f}" if bar.amount else ""
    return f"{line}: {ahead:+.3f} {'reached' if passed else 'MISSED'}"


def method_label(result):
    """Return the method with the parameters that were overridden."""
    overrides = result.get("overrides", {}).items()
    return " ".join([result["method"], *(f"{key}={value}" for key, value in overrides)])


def by_seed(results, label=method_label):
    """Return the results by task, method and seed; the latest of a seed counts.

    Methods are named by `label`, called with a result.
    """
    groups = {}
    for result in results:
        methods = groups.setdefault(result["task"], {})
        methods.setdefault(label(result), {})[result["seed"]] = result
    return groups


def mark(run):
    """Return a star if the estimator kept its closed-form head."""
    comparison = run.get("comparison") or {}
    return "*" if comparison.get("kept") == "linear_probe" else ""


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


def parse_args(doc, tasks):
    """Return the command line's arguments."""
    parser = argparse.ArgumentParser(description=doc.split("\n")[0])
    add = parser.add_argument
    add("--task", nargs="+", choices=[*tasks, "all"], default=["all"])
    add("--seeds", type=int, help="number of seeds (default: 3; 5 on few texts)")
    add("--first-seed", type=int, default=0, help="default: 0")
    add("--train-size", type=int, help="train on this many rows; 0 is all of them")
    add("--shots", type=int, nargs="+", choices=SHOTS, default=SHOTS)
    add("--set", type=override, action="append", default=[], metavar="NAME=VALUE")
    add("--only", nargs="+", metavar="METHOD", help="these methods alone")
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--no-baselines", dest="baselines", action="store_false")
    only.add_argument("--only-baselines", dest="ours", action="store_false")
    add("--data", type=Path, default=data_folder(), help="folder that holds rte/")
    add("--json", type=Path, metavar="FILE", help="append each result to this file")
    add(
        "--report", type=Path, metavar="FILE", help="print this file's tables, run none"
    )
    add("--verbose", type=int, default=0)
    return parser.parse_args()


def read_results(file):
    """Return the results of a file; none if it does not exist yet."""
    if file is None or not file.exists():
        return []
    return [json.loads(line) for line in file.read_text().splitlines()]


def plain(results, train_size=None):
    """Return the results with the defaults on so many rows; None: a task's own."""
    return [r for r in results if (r["overrides"], r["train_size"]) == ({}, train_size)]


def tell(tasks, results, args, summarise):
    """Print the tables, and what follows from all of them."""
    report(tasks, results, args)
    if summarise is not None:
        summarise(tasks, results, args)


def main(doc, tasks, summarise=None):
    """Run what is missing, print the tables, and call `summarise` like `report`."""
    args = parse_args(doc, tasks)
    results = read_results(args.report or args.json)
    if args.report:
        tell(tasks, results, args, summarise)
        return
    n_failed = 0
    for result in run_tasks(tasks, args, results):
        if result is None:
            n_failed += 1
            continue
        line = json.dumps(result, default=float)
        results.append(json.loads(line))
        print(line, flush=True)
        if args.json:
            with args.json.open("a") as file:
                file.write(line + "\n")
    tell(tasks, results, args, summarise)
    if n_failed:
        sys.exit(f"{n_failed} methods failed, see above")
