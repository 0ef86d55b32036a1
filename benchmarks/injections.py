"""The three ways to give a backbone its prefix: the same scores, other speeds.

Seconds per training step and per prediction are measured alternately in one run, on the
same batch, and printed as ratios of the first mechanism's. With ``--scores`` each
mechanism also trains an estimator from every seed.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from _baselines import GEMMA, MINILM, PROMPTS
from _data import data_folder, load_sst2
from sklearn.model_selection import train_test_split

MECHANISMS = {
    MINILM: ("attention", "kv_cache", "hidden_states"),
    GEMMA: ("attention", "kv_cache"),
}
SIZES = {MINILM: 3600, GEMMA: 1500}


def measure_speed(args):
    """Return the median seconds of a step and a prediction by each mechanism."""
    X, y = load_sst2(args.data)
    rows = slice(0, args.batch_size)
    modules = {name: trained(args, name, X[:64], y[:64]) for name in args.mechanisms}
    seconds = {name: {"step": [], "predict": []} for name in modules}
    for _ in range(args.repeats):
        for name, clf in modules.items():
            inputs = batch(clf, X[rows])
            seconds[name]["step"].append(timed(step, clf.net_.module_, inputs))
            seconds[name]["predict"].append(timed(predict, clf.net_.module_, inputs))
    return {
        name: {what: float(np.median(times)) for what, times in found.items()}
        for name, found in seconds.items()
    }


def trained(args, prefix_mechanism, X, y):
    """Return an estimator that has seen a few texts."""
    from sksemantic import SKTuningClassifier

    return SKTuningClassifier(
        model=args.model,
        prompt=PROMPTS[args.model],
        prefix_mechanism=prefix_mechanism,
        max_epochs=1,
        random_state=0,
    ).fit(X, y)


def batch(clf, texts):
    """Return token ids and mask of one batch of texts."""
    from sksemantic._inputs.dataset import TextDataset, collate

    rows = TextDataset(clf._template.rows([texts]))
    inputs, _ = collate(clf.net_.module_.backbone.pad_id)(rows)
    del inputs["sample_weight"]
    return inputs


def step(module, inputs):
    """Run a training step without the optimizer."""
    module.train()
    module(**inputs).square().sum().backward()
    module.zero_grad()


def predict(module, inputs):
    """Run a prediction."""
    module.eval()
    with module.folded():
        module(**inputs)


def timed(function, *args):
    """Return the seconds that a call takes."""
    start = time.perf_counter()
    function(*args)
    return time.perf_counter() - start


def measure_scores(args):
    """Yield the test accuracy by every mechanism from every seed."""
    from sksemantic import SKTuningClassifier

    X_test, y_test = load_sst2(args.data, "test")
    X, y = load_sst2(args.data)
    for seed in range(args.seeds):
        X_train, _, y_train, _ = train_test_split(
            X,
            y,
            train_size=args.train_size or SIZES[args.model],
            stratify=y,
            random_state=seed,
        )
        for name in args.mechanisms:
            clf = SKTuningClassifier(
                model=args.model,
                prompt=PROMPTS[args.model],
                prefix_mechanism=name,
                random_state=seed,
            ).fit(X_train, y_train)
            yield {
                "model": args.model,
                "prefix_mechanism": clf.prefix_mechanism_,
                "seed": seed,
                "n_train": len(X_train),
                "accuracy": clf.score(X_test, y_test),
            }


def report(speed, scores):
    """Print ratios of seconds, and mean accuracies."""
    first, *_ = speed
    print(f"{'':10}  step  predict   (seconds, and as ratio of {first})")
    for name, found in speed.items():
        parts = [
            f"{found[what]:.3f} ({found[what] / speed[first][what]:.2f})"
            for what in ("step", "predict")
        ]
        print(f"{name:10}  {'  '.join(parts)}")
    for name in {score["prefix_mechanism"]: None for score in scores}:
        found = [s["accuracy"] for s in scores if s["prefix_mechanism"] == name]
        each = " ".join(f"{value:.3f}" for value in found)
        print(f"{name:10}  accuracy {np.mean(found):.3f}   ({each})")


def parse_args():
    """Return the command line's arguments."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--model", choices=[*MECHANISMS], default=MINILM)
    add("--repeats", type=int, default=15)
    add("--batch-size", type=int, default=32)
    add("--scores", action="store_true", help="train from every seed, too")
    add("--seeds", type=int, default=3)
    add("--train-size", type=int)
    add("--data", type=Path, default=data_folder(), help="folder that holds sst2/")
    add("--json", type=Path, metavar="FILE", help="append each result to this file")
    args = parser.parse_args()
    args.mechanisms = MECHANISMS[args.model]
    return args


def main():
    """Measure, and print the table."""
    args = parse_args()
    torch.manual_seed(0)
    results = [{"model": args.model, "seconds": measure_speed(args)}]
    for score in measure_scores(args) if args.scores else ():
        results.append(score)
        print(json.dumps(score), flush=True)
    if args.json:
        with args.json.open("a") as file:
            file.writelines(json.dumps(result) + "\n" for result in results)
    report(results[0]["seconds"], results[1:])


if __name__ == "__main__":
    main()
