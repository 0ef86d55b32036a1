"""Seconds and accuracy beside those of other ways to adapt the same backbone.

Same backbone, texts, epochs, batch size and type of weights on every side; each peer as
its documentation recommends, see `_peers.py`. All methods take turns in one run.
Printed are medians, the seconds as ratios of ours: per epoch, for the whole fit, and
until a method first reaches 95 % of its own final accuracy, and the accuracy of the
slower of ours and the peer. ``--every N`` scores after so many steps instead of every
epoch; ``--plot FILE`` draws accuracy against seconds and against steps.
"""

import argparse
import json
import pickle
import time
import traceback
import warnings
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path
from unittest.mock import patch

import numpy as np
from _baselines import (
    GEMMA,
    MINILM,
    POOLINGS,
    PROMPTS,
    FrozenBackbone,
    embedding_logistic,
    fast_dtype,
    fill_slot,
    tfidf_logistic,
)
from _data import data_folder, load_sst2
from _plots import save, subplots
from sklearn.model_selection import train_test_split
from skorch.callbacks import Callback
from throughput import peak_mib, timed

OURS = "SKTuningClassifier"
ALL = f"{OURS}, all layers"
OVER_NOISE = f"{OURS}, over noise"
PEERS = ("LoRA", "prefix tuning", "prompt tuning", "P-tuning", "full fine-tuning")
AUTHORS = "authors' algorithm"
SETFIT = "SetFit"
MOST_FOR_SETFIT = 100  # texts
NEARLY = 0.95  # of the final accuracy
NOT_NEURAL = ("frozen + LR", "TF-IDF + LR")


def methods(args):
    """Return what takes part, ours first."""
    whole = [ALL] if args.model == GEMMA else []  # an encoder's default is all
    ours = [OURS, *whole, OVER_NOISE, *(f"{OURS}, top {k}" for k in args.tuned)]
    authors = [AUTHORS] if args.model == GEMMA else []  # a decoder is what they take
    few = args.model == MINILM and args.rows <= MOST_FOR_SETFIT
    setfit = [SETFIT] if few else []
    return args.only or [*ours, *PEERS, *authors, *setfit, *NOT_NEURAL]


def run(name, args, data, seed):
    """Return seconds and test accuracy of every epoch, and what was trained."""
    from _peers import fit_authors, fit_peer, fit_setfit

    X_train, X_test, y_train, y_test = data
    if name.startswith(OURS):
        return run_ours(name, args, data, seed)
    if name == "TF-IDF + LR":
        peer, seconds = timed(tfidf_logistic("accuracy").fit, X_train, y_train)
        return {"seconds": [seconds], "scores": [peer.score(X_test, y_test)]}
    prompt = args.prompt
    if name == "frozen + LR":
        return run_frozen(args, data)
    shared = {"epochs": args.epochs, "batch_size": args.batch_size}
    shared |= {"dtype": fast_dtype(), "seed": seed, "every": args.every}
    if name == SETFIT:
        return fit_setfit(args.model, data, seed=seed)
    if name == AUTHORS:
        before, after = prompt.split("{text}")
        texts = [[text + after for text in X] for X in (X_train, X_test)]
        return fit_authors(args.model, before, (*texts, y_train, y_test), **shared)
    texts = [fill_slot(prompt, X) for X in (X_train, X_test)]
    found = fit_peer(name, args.model, (*texts, y_train, y_test), **shared)
    kept = ("steps", "seconds", "scores", "trained", "bytes")
    return {key: found[key] for key in kept}


def run_ours(name, args, data, seed):
    """Fit the estimator; its epochs hold the frozen pass and the comparison, too.

    Over noise it trains the same adapter, on random states instead of the prompt's in
    all layers, and is not compared with the closed form, which would be kept instead.
    """
    from _variants import UNCOMPARED, over_noise, without_comparison

    from sksemantic import FallbackWarning, SKTuningClassifier
    from sksemantic._model import inference as _inference
    from sksemantic._store import activations
    from sksemantic._training import trainer as _training

    warnings.simplefilter("ignore", FallbackWarning)
    X_train, X_test, y_train, y_test = data
    special = {}
    if name == OVER_NOISE:
        special = UNCOMPARED
    elif name != OURS:
        tuned = int(name.rsplit(" ", 1)[1]) if ", top " in name else "all"
        special = {"n_layers": "all", "tuned_layers": tuned}
    clf = SKTuningClassifier(
        model=args.model,
        prompt=args.prompt,
        max_epochs=args.epochs,
        batch_size=args.batch_size,
        random_state=seed,
        **special,
    )
    # The net's own callbacks, so that texts are held back as they are by default.
    build = _training.build_net

    def followed(module, task, *, callbacks, **others):
        return build(module, task, callbacks=[("follow", follow), *callbacks], **others)

    activations.clear()
    template = clf.set_params(max_epochs=1).fit(X_train[:32], y_train[:32])
    test = template._check_and_tokenise(list(X_test))
    activations.clear()

    def score(module):
        found = _inference.compute_scores(module, test).argmax(axis=1)
        module.train()
        return float((found == np.asarray(y_test)).mean())

    follow = Follow(score, args.every)
    with ExitStack() as patches:
        patches.enter_context(patch.object(_training, "build_net", followed))
        if name == OVER_NOISE:
            patches.enter_context(over_noise())
            patches.enter_context(without_comparison())
        clf.set_params(max_epochs=args.epochs).fit(X_train, y_train)
    follow.end(lambda: clf.score(X_test, y_test))
    return {
        "steps": follow.steps,
        "seconds": np.diff([0.0, *follow.marks]).tolist(),
        "scores": follow.scores,
        "trained": clf.n_trainable_params_,
        "bytes": len(pickle.dumps(clf)),
    }


class Follow(Callback):
    """Scores after every epoch, or some steps, outside the measured time.

    A second training, if there is one, goes on where the first one ended.
    """

    def __init__(self, score, every=None):
        self.score = score
        self.every = every
        self.n_steps = 0
        self.steps, self.marks, self.scores = [], [], []
        self.lost = 0.0  # seconds of scoring
        self.start = time.perf_counter()

    def on_batch_end(self, net, training=False, **kwargs):
        """Count the step, and score if it is time to."""
        self.n_steps += training
        if training and self.every and self.n_steps % self.every == 0:
            self.mark(lambda: self.score(net.module_))

    def on_epoch_end(self, net, **kwargs):
        """Score."""
        if not self.every:
            self.mark(lambda: self.score(net.module_))

    def mark(self, score):
        """Stop the time, and score."""
        stopped = time.perf_counter()
        self.marks.append(stopped - self.start - self.lost)
        self.steps.append(self.n_steps)
        self.scores.append(score())
        self.lost += time.perf_counter() - stopped

    def end(self, score):
        """Score the outcome, in place of the last step's own."""
        if self.steps[-1:] == [self.n_steps]:
            for curve in (self.steps, self.marks, self.scores):
                curve.pop()
        self.mark(score)


def run_frozen(args, data):
    """Fit a logistic regression on the frozen backbone's embeddings."""
    X_train, X_test, y_train, y_test = data
    prompt = args.prompt
    backbone = FrozenBackbone(args.model, fast_dtype())
    pooling = POOLINGS[args.model]
    start = time.perf_counter()
    features = backbone.embed(fill_slot(prompt, X_train), pooling)
    peer = embedding_logistic("accuracy").fit(features, y_train)
    seconds = time.perf_counter() - start
    found = peer.score(backbone.embed(fill_slot(prompt, X_test), pooling), y_test)
    return {"seconds": [seconds], "scores": [found], "trained": features.shape[1] + 1}


def first_with(accuracy, places, scores):
    """Return the first place on an axis where an accuracy is reached, or infinity."""
    pairs = zip(places, scores, strict=True)
    return next((place for place, score in pairs if score >= accuracy), np.inf)


def nearly_there(result):
    """Return after how many seconds and steps a run is within 5 % of its own end."""
    scores = result["scores"]
    seconds = np.cumsum(result["seconds"])
    steps = result.get("steps") or np.full(len(scores), np.nan)
    return [first_with(NEARLY * scores[-1], axis, scores) for axis in (seconds, steps)]


def report(results):
    """Print medians and ratios."""
    ours = results.get(OURS)
    base = np.median([sum(r["seconds"]) for r in ours]) if ours else np.nan
    print(
        f"\n{'':26}{'accuracy':>9}{'fit s':>9}{'ratio':>7}{'steps':>7}"
        f"{'to 95 %: s':>11}{'steps':>7}{'vs ours':>9}{'trained':>11}{'bytes':>12}"
    )
    for name, runs in results.items():
        total = np.median([sum(r["seconds"]) for r in runs])
        accuracy = np.median([r["scores"][-1] for r in runs])
        steps = np.median([(r.get("steps") or [0])[-1] for r in runs])
        near_s, near_steps = np.median([nearly_there(r) for r in runs], axis=0)
        common = reach(runs, ours) if ours else float("nan")
        print(
            f"{name:26}{accuracy:9.3f}{total:9.1f}"
            f"{total / base:7.2f}{steps:7.0f}{near_s:11.1f}{near_steps:7.0f}"
            f"{common:9.2f}{runs[0].get('trained', 0):11d}{runs[0].get('bytes', 0):12d}"
        )
    print(
        "\nvs ours: the peer's seconds over ours to the accuracy that the worse of the "
        "two ends with"
    )


def reach(runs, ours):
    """Return the ratio of seconds to the accuracy that the worse of the two ends with.

    The accuracies are means over the repeats: single runs cross a line by chance.
    """
    curves = [mean_curve(group, "marks") for group in (runs, ours)]
    goal = min(scores[-1] for _, scores in curves)
    peer, own = (times[np.argmax(scores >= goal)] for times, scores in curves)
    return float(peer / own)


def mean_curve(runs, axis):
    """Return places on an axis, "steps" or "marks" (seconds), and mean scores there.

    The places are those of the run with the fewest. Each run is interpolated, and has
    its final score where it has ended.
    """
    curves = [
        (np.cumsum(r["seconds"]) if axis == "marks" else r["steps"]) for r in runs
    ]
    ends = [curve[-1] for curve in curves]
    places = min(curves, key=len)
    places = np.append(places[:-1], max(ends))
    scores = [
        np.interp(places, curve, run["scores"])
        for curve, run in zip(curves, runs, strict=True)
    ]
    return places, np.mean(scores, axis=0)


def plot(results, file):
    """Draw accuracy against seconds and against steps, the mean of the repeats."""
    figure, (by_time, by_step) = subplots(1, 2, figsize=(10, 4.5), sharey=True)
    for name, runs in results.items():
        by_time.plot(*mean_curve(runs, "marks"), marker=".", label=name)
        if "steps" in runs[0]:  # linear models take none
            by_step.plot(*mean_curve(runs, "steps"), marker=".")
    by_time.set(xscale="log", xlabel="seconds of training", ylabel="test accuracy")
    by_time.xaxis.set_minor_formatter("{x:.0f}")
    by_time.xaxis.set_major_formatter("{x:.0f}")
    by_time.tick_params(axis="x", which="both", labelsize="small", labelrotation=45)
    by_step.set(xlabel="steps")
    figure.legend(loc="outside lower center", ncols=3)
    save(figure, file)


def parse_args():
    """Return the command line's arguments."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--model", choices=[*PROMPTS], default=GEMMA)
    add("--rows", type=int, default=600, help="to train on")
    add("--epochs", type=int, default=5)
    add("--batch-size", type=int, default=32)
    add("--repeats", type=int, default=3)
    add("--first-seed", type=int, default=0)
    add("--every", type=int, metavar="N", help="score after N steps, not every epoch")
    add("--prompt", help="with {text} in it; default: that of the model")
    add("--tuned", type=int, nargs="*", default=[], help="top layers, beside all")
    add("--only", nargs="+", metavar="METHOD", help="these methods alone")
    add("--data", type=Path, default=data_folder(), help="folder that holds sst2/")
    add("--json", type=Path, metavar="FILE", help="append each run to this file")
    add("--plot", type=Path, metavar="FILE", help="draw accuracy against seconds")
    add("--report", type=Path, metavar="FILE", help="tell this file's runs, run none")
    args = parser.parse_args()
    args.prompt = args.prompt or PROMPTS[args.model]
    return args


def main():
    """Measure and print."""
    args = parse_args()
    results = read(args) if args.report else measure(args)
    report(results)
    if args.plot:
        plot(results, args.plot)


def read(args):
    """Return the runs of a file by method, with this model and as many texts."""
    results = defaultdict(dict)
    for line in args.report.read_text().splitlines():
        found = json.loads(line)
        if (found["model"], found["rows"]) == (args.model, args.rows):
            results[found["method"]][found["seed"]] = found
    return {method: list(runs.values()) for method, runs in results.items()}


def measure(args):
    """Run all methods by turns; return their runs by method."""
    X, y = load_sst2(args.data)
    X_test, y_test = load_sst2(args.data, "test")
    labels, y = np.unique(y, return_inverse=True)
    y_test = np.searchsorted(labels, y_test)
    results = defaultdict(list)
    for seed in range(args.first_seed, args.first_seed + args.repeats):
        X_train, _, y_train, _ = train_test_split(
            X, y, train_size=args.rows, stratify=y, random_state=seed
        )
        for name in methods(args):
            try:
                found = run(name, args, (X_train, X_test, y_train, y_test), seed)
            except Exception:  # a peer may fail in any way: the others go on
                print(f"{name} failed:\n{traceback.format_exc(limit=-2)}", flush=True)
                continue
            results[name].append(found)
            setting = {"model": args.model, "rows": args.rows, "seed": seed}
            record = setting | {"method": name, "peak_mib": peak_mib()} | found
            print(json.dumps(record), flush=True)
            if args.json:
                with args.json.open("a") as file:
                    file.write(json.dumps(record) + "\n")
    return results


if __name__ == "__main__":
    main()
