"""What fits cost, beside the least that a frozen backbone lets them cost.

The yardstick is F, the time of one forward pass of the bare backbone over the training
texts, length-sorted, in the batch size that suits it best. Training needs a forward and
a backward pass of the tuned layers for each text and epoch, 2 * E * F * k / L, where k
of L layers are run; what lies below is needed once, F. Everything is measured
alternately in one run; medians are printed. Instead, ``--memory`` reports the peak
memory of fits of growing size, each in a process of its own, and ``--linear`` their
seconds.
"""

import argparse
import json
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
from _baselines import GEMMA, MINILM, PROMPTS, FrozenBackbone, fast_dtype
from _data import data_folder, load_sst2
from throughput import best_batch_size, forget_peak, peak_mib, timed

TUNED = {MINILM: (3,), GEMMA: (12, 6)}
N_LAYERS = {MINILM: 6, GEMMA: 18}
DEFAULT = {GEMMA: (12, 8)}  # layers that are run, and tuned, where not all are
RATES = (1e-3, 2e-3, 3e-3, 4e-3, 5e-3, 6e-3)
BARS = {"fit, all layers": 1.4, "5-fold": 1.15, "6 rates x 3 folds": 1.15}


def make(args, **parameters):
    """Return the estimator that is measured, of a fixed number of epochs."""
    from sksemantic import FallbackWarning, SKTuningClassifier

    warnings.simplefilter("ignore", FallbackWarning)
    return SKTuningClassifier(
        model=args.model,
        prompt=PROMPTS[args.model],
        max_epochs=args.epochs,
        random_state=0,
        **{"tuned_layers": "all", "n_layers": "all"} | parameters,
    )


def costs(args, X, y):
    """Return what is measured, by name: the call, and its floor in units of F.

    Predictions on held-out folds count in the floor as what they are: the tuned layers,
    once.
    """
    from sklearn.model_selection import GridSearchCV, cross_val_score

    epochs, layers = args.epochs, N_LAYERS[args.model]
    k = TUNED[args.model][0]
    share = k / layers
    found = {"fit, all layers": (lambda: make(args).fit(X, y), 2 * epochs)}
    for tuned in TUNED[args.model]:
        clf = make(args, tuned_layers=tuned)
        found[f"fit, top {tuned}"] = (
            lambda clf=clf: clf.fit(X, y),
            1 + 2 * epochs * tuned / layers,
        )
    if args.model in DEFAULT:
        run, tuned = DEFAULT[args.model]
        clf = make(args, tuned_layers="auto", n_layers="auto")
        found["fit, default"] = (
            lambda clf=clf: clf.fit(X, y),
            (run + 2 * epochs * tuned) / layers,
        )
    clf = make(args, tuned_layers=k)
    found["5-fold"] = (
        lambda: cross_val_score(clf, X, y, cv=5),
        1 + 5 * 0.8 * 2 * epochs * share + share,
    )
    if args.grid:
        search = GridSearchCV(clf, {"lr": list(RATES)}, cv=3)
        found["6 rates x 3 folds"] = (
            lambda: search.fit(X, y),
            1 + (18 * 2 / 3 + 1) * 2 * epochs * share + 6 * share,
        )
    return found


def measure(args):
    """Return the seconds of everything, once per repeat, and the floors."""
    from sksemantic._store import activations

    X, y = load_rows(args, args.rows)
    backbone = FrozenBackbone(args.model, fast_dtype())
    prompt = PROMPTS[args.model]
    # What stands behind the slot belongs to every text.
    texts = [text + prompt.split("{text}")[1] for text in X] if prompt else X
    ids = backbone.tokenize(texts)
    batch_size = best_batch_size(backbone, texts)
    clf = make(args).set_params(max_epochs=1).fit(X[:64], y[:64])  # loads
    calls = costs(args, X, y)
    seconds = {name: [] for name in ("F", "predict", *calls)}
    for _ in range(args.repeats):
        for name, (call, _) in calls.items():
            seconds["F"].append(timed(backbone.embed_ids, ids, "mean", batch_size)[1])
            activations.clear()
            seconds[name].append(timed(call)[1])
        clf.net_.module_.memo = None
        seconds["predict"].append(timed(clf.predict, X)[1])
    floors = {name: floor for name, (_, floor) in calls.items()}
    return seconds, floors | {"predict": 1}


def load_rows(args, rows):
    """Return so many phrases and labels, drawn at random; over and over if need be."""
    X, y = load_sst2(args.data)
    order = np.random.RandomState(0).permutation(len(X))
    order = np.resize(order, rows)
    X, y = np.asarray(X, dtype=object)[order], np.asarray(y)[order]
    if len(set(order)) < rows:
        X = [f"{text} {i}" for i, text in enumerate(X)]
    return list(X), y


def measure_linearity(args):
    """Yield the seconds of fits of growing size, each on texts of its own."""
    from sksemantic._store import activations, tokens

    X, y = load_rows(args, args.linear[0])
    make(args).set_params(max_epochs=1).fit(X[:64], y[:64])  # loads
    for rows in args.linear:
        X, y = load_rows(args, rows)
        activations.clear()
        tokens.clear()
        _, seconds = timed(make(args).fit, X, y)
        yield {"rows": rows, "seconds": seconds, "per_text": seconds / rows}


def draw_linearity(results, file):
    """Draw seconds against texts, beside a straight line through the largest fit."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    rows = np.array([result["rows"] for result in results])
    seconds = np.array([result["seconds"] for result in results])
    figure, axes = pyplot.subplots(figsize=(6, 4), layout="constrained")
    axes.plot(rows, seconds, marker="o", label="fit")
    axes.plot(rows, rows * seconds[-1] / rows[-1], linestyle="--", label="linear")
    axes.set(xscale="log", yscale="log", xlabel="texts", ylabel="seconds")
    axes.legend()
    figure.savefig(file)


def measure_memory(args):
    """Yield the peak memory of fits of growing size."""
    for rows in args.memory:
        command = [sys.executable, __file__, "--child", str(rows)]
        command += ["--model", args.model, "--epochs", str(args.epochs)]
        command += ["--budget", str(args.budget)] if args.budget is not None else []
        output = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
        yield json.loads(output.stdout.splitlines()[-1])


def fit_child(args):
    """Fit texts of 20 tokens, and print what it took."""
    from sksemantic import cache_limits

    X, y = load_rows(args, args.child)
    words = np.resize(" ".join(X).split(), 14 * args.child).reshape(-1, 14)
    X = [" ".join([*row, str(i)]) for i, row in enumerate(words)]
    clf = make(args, tuned_layers=1, n_layers="auto")
    warnings.simplefilter("ignore")
    clf.fit(X[:64], y[:64])
    before = forget_peak()  # loading takes more than what is loaded
    with cache_limits(memory=args.budget):
        _, seconds = timed(clf.fit, X, y)
    found = {"rows": args.child, "before_mib": before, "peak_mib": peak_mib()}
    print(json.dumps(found | {"seconds": seconds}))


def profile(args):
    """Print the operations that a fit spends most of its time in."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as record

    from sksemantic._store import activations

    X, y = load_rows(args, args.rows)
    clf = make(args)
    clf.fit(X[:64], y[:64])  # loads
    activations.clear()
    with record(activities=[ProfilerActivity.CPU]) as found:
        clf.fit(X, y)
    table = found.key_averages().table(sort_by="self_cpu_time_total", row_limit=16)
    print(table)


def report(args, seconds, floors):
    """Print medians, and ratios to the floor."""
    middle = {name: float(np.median(values)) for name, values in seconds.items()}
    frozen = middle["F"]
    print(
        f"\n{args.model}, {args.rows} texts, {args.epochs} epochs: F = {frozen:.2f} s"
    )
    whole = middle["fit, all layers"]
    for name, floor in floors.items():
        ratio = middle[name] / (floor * frozen)
        line = f"  {name:20} {middle[name]:8.2f} s  {ratio:5.2f} of its floor"
        if name.startswith("fit, ") and name != "fit, all layers":
            line += f", {middle[name] / whole:.2f} of all layers'"
        if name in BARS:
            verdict = "kept" if ratio <= BARS[name] else "MISSED"
            line += f"  (bar {BARS[name]} {verdict})"
        print(line)


def parse_args():
    """Return the command line's arguments."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--model", choices=[*PROMPTS], default=MINILM)
    add("--rows", type=int, default=1000)
    add("--epochs", type=int, default=5)
    add("--repeats", type=int, default=5)
    add("--no-grid", dest="grid", action="store_false")
    add("--memory", type=int, nargs="+", metavar="ROWS", help="sizes of fits")
    add("--linear", type=int, nargs="+", metavar="ROWS", help="sizes of fits, in time")
    add("--plot", type=Path, metavar="FILE", help="draw what --linear measured")
    add("--profile", action="store_true", help="show where the time of a fit goes")
    add("--budget", type=int, help="bytes of memory for activations, with --memory")
    add("--data", type=Path, default=data_folder(), help="folder that holds sst2/")
    add("--json", type=Path, metavar="FILE", help="append what was measured")
    add("--child", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


def main():
    """Measure and print."""
    args = parse_args()
    if args.child:
        return fit_child(args)
    if args.profile:
        return profile(args)
    if args.memory or args.linear:
        results = []
        for result in (measure_memory if args.memory else measure_linearity)(args):
            print(json.dumps(result), flush=True)
            results.append(result)
        if args.plot:
            draw_linearity(results, args.plot)
    else:
        start = time.time()
        seconds, floors = measure(args)
        report(args, seconds, floors)
        results = [{"seconds": seconds, "floors": floors, "started": start}]
    if args.json:
        setting = {"model": args.model, "epochs": args.epochs, "rows": args.rows}
        with args.json.open("a") as file:
            file.writelines(json.dumps(setting | each) + "\n" for each in results)


if __name__ == "__main__":
    main()
