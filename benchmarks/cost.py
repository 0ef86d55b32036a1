"""Seconds, memory and bytes of the estimator, each beside what it is compared with.

    python benchmarks/cost.py --measures fits --tasks sst2-600-minilm
    python benchmarks/cost.py --measures peers --tasks sst2-600-gemma --plot curve.svg
    python benchmarks/cost.py --table

fits      whole fits, folds, a search and predictions beside F, the time of one forward
          pass of the bare backbone over the training texts, sorted by length, in its
          best batch size. Training k of L layers for E epochs costs at least
          2 E F k / L, what lies below F (L - k) / L once.
peers     seconds and accuracy of all methods, each trained for 1, 2, ... epochs
mechanisms  seconds of an epoch and of predictions by each prefix mechanism
scaling   seconds and peak memory of fits of growing size, in processes of their own
search    peak memory of one fit, and of a search over four prompts and three folds
imports   seconds of imports, in processes of their own
Runs take turns: seed by seed, and not method by method, as other work on the machine
comes and goes. Seeds repeat what is the same from each.
"""

import json
import subprocess
import sys
import time
from functools import cache, partial
from pathlib import Path

import numpy as np
import ours
import results
from catalogue import task_named
from cost_tables import plot_curves, tables
from peers.frozen import FrozenBackbone, fast_dtype
from sklearn.model_selection import GridSearchCV, cross_val_score
from tasks import Case

BATCH_SIZES = (8, 16, 32, 64, 128, 256)
N_LAYERS = {"minilm": 6, "gemma": 18}
DEFAULT_LAYERS = {"minilm": (6, 6), "gemma": (12, 8)}  # run, and tuned
TOP = {"minilm": (3,), "gemma": (12, 6)}  # layers tuned, of all that are run
ALL_LAYERS = {"model_kwargs__n_layers": "all", "tuned_layers": "all"}
RATES = (1e-3, 2e-3, 3e-3, 4e-3, 5e-3, 6e-3)
MECHANISMS = ("attention", "kv_cache", "hidden_states")  # decoders have two of them
SIZES = (1000, 4000, 16_000, 64_000)
SEARCHED = 300  # texts of "search"
WORDS = 14  # of each text of "scaling": some 20 tokens
PROMPTS = (
    *("What is this text about?", "Classify the following text"),
    *("Which kind of text is it", "Read the text and name its category"),
)
IMPORTS = (
    *("import sksemantic", "from sksemantic import SKTuningClassifier"),
    *("import sklearn.linear_model", "import torch"),
)
EPOCHS = 5


def timed(function, *args):
    """Return the seconds that a call takes."""
    start = time.perf_counter()
    function(*args)
    return round(time.perf_counter() - start, 4)


@cache
def rows_of(task, seed):
    """Return the rows of a task's seed; they are drawn once."""
    return task.split(seed)


def make(task, seed=0, **settings):
    """Return the estimator of a task for a fixed number of epochs."""
    settings = {"max_epochs": EPOCHS, **settings}
    return ours.make_ours(Case(task, seed, ()), **settings)


@cache
def bare(task):
    """Return the bare backbone, the training texts' ids and the best batch size."""
    X = rows_of(task, 0)[0]
    backbone = FrozenBackbone(task.model, fast_dtype())
    # What stands after the slot belongs to every text.
    after = task.prompt.split("{text}")[1] if task.prompt else ""
    ids = backbone.tokenize([text + after for text in X])
    backbone.embed_ids(ids, BATCH_SIZES[0])  # the first pass allocates
    seconds = {size: timed(backbone.embed_ids, ids, size) for size in BATCH_SIZES}
    return backbone, ids, min(seconds, key=seconds.get)


def time_bare(task):
    """Return the seconds of F, from token ids."""
    backbone, *texts = bare(task)
    return {"seconds": timed(backbone.embed_ids, *texts)}


def time_fit(task, floor, run=None, **settings):
    """Return the seconds of a fit without loading, and its floor in units of F.

    Instead of a fit, `run` may do something else with the estimator, X and y.
    """
    X, _, y, _ = rows_of(task, 0)
    estimator = make(task, **settings)
    ours.forget(estimator)
    if run is not None:
        return {"seconds": timed(run, estimator, X, y), "floor": floor}
    seconds = timed(estimator.fit, X, y)
    return {"seconds": seconds, "floor": floor, **ours.describe(estimator)}


def search(estimator, X, y):
    """Search over six learning rates and three folds."""
    GridSearchCV(estimator, {"lr": list(RATES)}, cv=3).fit(X, y)


@cache
def fitted(task, **settings):
    """Return a fitted estimator of a task."""
    X, _, y, _ = rows_of(task, 0)
    return make(task, **settings).fit(X, y)


def time_predict(task):
    """Return the seconds of predicting the training texts."""
    X = rows_of(task, 0)[0]
    estimator = fitted(task, max_epochs=1)
    return {"seconds": timed(estimator.predict, X), "floor": 1}


def fits(task):
    """Return what is measured beside F, by name."""
    n_layers, (run, tuned) = N_LAYERS[task.backbone], DEFAULT_LAYERS[task.backbone]
    found = {
        "F": partial(time_bare, task),
        "ours, default": partial(time_fit, task, (run + 2 * EPOCHS * tuned) / n_layers),
        "ours, all layers": partial(time_fit, task, 2 * EPOCHS, **ALL_LAYERS),
    }
    for top in TOP[task.backbone]:
        layers = ALL_LAYERS | {"tuned_layers": top}
        share = top / n_layers
        floor = 1 + 2 * EPOCHS * share
        found[f"ours, top {top}"] = partial(time_fit, task, floor, **layers)
    top = TOP[task.backbone][0]
    layers, share = ALL_LAYERS | {"tuned_layers": top}, top / n_layers
    # Predictions on held-out folds run the tuned layers once.
    for name, run, n_fits, n_predictions in (
        ("5 folds", partial(cross_val_score, cv=5), 5 * 0.8, 1),
        ("6 rates x 3 folds", search, 18 * 2 / 3 + 1, 6),
    ):
        floor = 1 + (n_fits * 2 * EPOCHS + n_predictions) * share
        call = partial(time_fit, task, floor, run, **layers)
        found[f"ours, top {top}, {name}"] = call
    return found | {"ours, predict": partial(time_predict, task)}


def fit_peer(task, method, run, epochs, seed):
    """Train a method for some epochs; return its outcome with the peak memory."""
    settings = {"max_epochs": epochs} if results.is_ours(method) else {}
    case = Case(task, seed, rows_of(task, seed), settings, epochs)
    return run(case) | {"peak_mib": peak_mib()}


def peers(task):
    """Return all methods with each number of epochs, ours with all layers, too."""
    all_layers = {"ours, all layers": partial(ours.fit_ours, **ALL_LAYERS)}
    methods = task.methods | (all_layers if task.is_causal else {})
    for method, run in methods.items():
        has_epochs = not method.startswith(("frozen", "tfidf", "setfit"))
        for epochs in range(1, EPOCHS + 1) if has_epochs else (1,):
            yield method, epochs, partial(fit_peer, task, method, run, epochs)


def time_mechanism(task, name):
    """Return the seconds of an epoch and of predictions by one prefix mechanism."""
    X, X_test, y, y_test = rows_of(task, 0)
    settings = {"model_kwargs__prefix_mechanism": name, "max_epochs": 2}
    estimator = make(task, **settings)
    ours.forget(estimator)
    estimator.fit(X, y)
    epochs = [epoch["dur"] for epoch in estimator.history_]
    return {
        "seconds": round(float(np.median(epochs)), 4),
        "predict_seconds": timed(estimator.predict, X_test),
        "scores": {"accuracy": estimator.score(X_test, y_test)},
        "mechanism": estimator.prefix_mechanism_,
    }


def in_new_process(*arguments):
    """Return what this script prints, as its last line, in a process of its own."""
    command = [sys.executable, __file__, "--child", *map(str, arguments)]
    output = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    return json.loads(output.stdout.splitlines()[-1])


def fit_child(kind, task_name, n_rows):
    """Fit so many texts of 20 tokens, or search, and print what it took."""
    task = task_named(task_name)
    X, _, y, _ = task_named(f"{task.name.split('-')[0]}-all-{task.backbone}").split(0)
    order = np.resize(np.random.RandomState(0).permutation(len(X)), n_rows)
    words = " ".join(X[i] for i in order).split()
    rows = np.resize(words, WORDS * n_rows).reshape(-1, WORDS)
    X, y = (
        [" ".join([*row, str(i)]) for i, row in enumerate(rows)],
        np.asarray(y)[order],
    )
    settings = {"model_kwargs__n_layers": "all"} if kind == "search" else {}
    estimator = make(task, max_epochs=1, **settings)
    ours.forget(estimator)  # loads: that takes more than what is loaded
    before = forget_peak()
    if kind == "search":
        estimator = GridSearchCV(estimator, {"prompt": list(PROMPTS)}, cv=3)
    seconds = timed(estimator.fit, X, y)
    print(
        json.dumps({"seconds": seconds, "before_mib": before, "peak_mib": peak_mib()})
    )


def peak_mib():
    """Return the most memory that this process has held, in MiB (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    line = next(line for line in lines if line.startswith("VmHWM"))
    return round(int(line.split()[1]) / 1024, 1)


def forget_peak():
    """Let `peak_mib` start anew; return what is held now."""
    Path("/proc/self/clear_refs").write_text("5")
    return peak_mib()


def time_import(statement):
    """Return how long an import takes in a new process."""
    code = f"import time; s = time.perf_counter(); {statement}"
    command = [sys.executable, "-c", f"{code}; print(time.perf_counter() - s)"]
    return {"seconds": round(float(subprocess.check_output(command, text=True)), 4)}


def runs(measure, task, sizes):
    """Yield the name, what else belongs to the head, and the call of each run.

    A call takes the seed.
    """
    if measure == "peers":
        yield from peers(task)
        return
    if measure == "fits":
        found = {name: ({"epochs": EPOCHS}, run) for name, run in fits(task).items()}
    elif measure == "mechanisms":
        names = MECHANISMS[:2] if task.is_causal else MECHANISMS
        found = {f"ours, {n}": ({}, partial(time_mechanism, task, n)) for n in names}
    elif measure == "imports":
        found = {code: ({}, partial(time_import, code)) for code in IMPORTS}
    else:
        kinds = {"scaling": ("fit",), "search": ("fit", "search")}[measure]
        found = {}
        for size in sizes if measure == "scaling" else (SEARCHED,):
            for kind in kinds:
                run = partial(in_new_process, kind, task.name, size)
                found[f"ours, {kind}, {size} texts"] = {"rows": size}, run
    for name, (more, run) in found.items():
        yield name, more, lambda seed, run=run: run()


def plan(args):
    """Yield the head of every run, and what is called to run it; seed by seed."""
    for measure in args.measures:
        for name in args.tasks or ["sst2-600-minilm"]:
            task = task_named(name, args.limit)
            for seed in range(args.first_seed, args.first_seed + args.seeds):
                for method, more, run in runs(measure, task, args.sizes):
                    if args.methods and method not in args.methods:
                        continue
                    head = {"measure": measure, "task": task.name, "method": method}
                    head |= {"seed": seed, **more}
                    if results.is_ours(method):
                        head["defaults"] = results.defaults_id(ours.defaults)
                    yield head, partial(run, seed=seed)


def main():
    """Measure what is missing, and print the tables."""
    if sys.argv[1:2] == ["--child"]:
        kind, task, n_rows = sys.argv[2:]
        return fit_child(kind, task, int(n_rows))
    parser = results.parser(__doc__, "cost.jsonl", "see catalogue.py")
    add = parser.add_argument
    add("--measures", type=results.names, default=["fits"], metavar="NAME,...")
    add("--sizes", type=int, nargs="+", default=SIZES, help='of "scaling"')
    add("--plot", type=Path, metavar="FILE", help='draw the curves of "peers"')
    args = parser.parse_args()
    n_failed = 0 if args.table else results.run_missing(plan(args), args.file)
    rows = results.read(args.file)
    for name, lines in tables(rows).items():
        print(f"\n{name}\n\n" + "\n".join(lines))
    if args.plot:
        plot_curves(rows, args.plot)
    results.finish(n_failed)


if __name__ == "__main__":
    main()
