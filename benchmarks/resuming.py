"""Fits that are killed at random moments, each resumed to the end.

    python benchmarks/resuming.py --times 50

A process that fits MiniLM to phrases of SST-2 gets SIGKILL at a random moment; another
one calls the same `fit`. What it has then must be what an uninterrupted fit has, to the
last bit: weights, history, comparison, temperature, linear probe and predictions.
"""

import argparse
import multiprocessing
import os
import random
import signal
import time
import warnings
from collections import Counter
from queue import Empty
from tempfile import TemporaryDirectory

from data import load_sst2

ESTIMATORS = ("SKTuningClassifier", "SKTuningRegressor")
SECONDS = (0.0, 0.5, 120.0)  # between two savings within an epoch


def fit(name, texts, targets, params, place, results):
    """Fit, and send what the fit has led to."""
    import sksemantic

    estimator = getattr(sksemantic, name)(**params, checkpoint_dir=place)
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        estimator.fit(texts, targets)
    seconds = time.perf_counter() - start
    probe = estimator.linear_probe_
    rows = [{k: v for k, v in row.items() if k != "dur"} for row in estimator.history_]
    predicted = estimator.predict(texts[:50])
    result = {
        "weights": [p.detach().numpy() for p in estimator.get_module().parameters()],
        "history": [{k: float(v) for k, v in row.items()} for row in rows],
        "comparison": estimator.comparison_,
        "temperature": getattr(estimator, "temperature_", None),
        "probe": [probe.coef, probe.intercept],
        "predictions": predicted,
    }
    results.put((seconds, result))


def is_same(a, b):
    """Return whether two results are equal to the last bit."""
    arrays = ("weights", "probe")
    same = all(
        x.tobytes() == y.tobytes()
        for name in arrays
        for x, y in zip(a[name], b[name], strict=True)
    )
    rest = ("history", "comparison", "temperature")
    same &= all(a[name] == b[name] for name in rest)
    return same and a["predictions"].tolist() == b["predictions"].tolist()


def run(context, arguments, kill_after=None):
    """Fit in a process; return seconds and result, or None if it was killed."""
    results = context.Queue()
    process = context.Process(target=fit, args=(*arguments, results))
    process.start()
    try:
        return results.get(timeout=kill_after)
    except Empty:
        os.kill(process.pid, signal.SIGKILL)
        return None
    finally:
        process.join()


def kills(times, seed, n_texts, max_epochs):
    """Kill and resume; return what came of it."""
    rng, found = random.Random(seed), Counter()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["sksemantic._classifier"])
    texts, labels = (list(each)[:n_texts] for each in load_sst2())
    for name in ESTIMATORS:
        targets = labels if name == "SKTuningClassifier" else [*map(float, labels)]
        params = {"random_state": 0, "max_epochs": max_epochs, "device": "cpu"}
        whole = None
        for _ in range(times // len(ESTIMATORS)):
            seconds = rng.choice(SECONDS)
            params["training"] = {"checkpoint_seconds": seconds}
            if whole is None:
                run(context, (name, texts, targets, params, None))  # warm the disk
                duration, whole = run(context, (name, texts, targets, params, None))
                print(f"{name}: {duration:.1f} s without interruption", flush=True)
            with TemporaryDirectory() as place:
                arguments = (name, texts, targets, params, place)
                moment = rng.uniform(0, duration)
                first = run(context, arguments, moment)
                n_states = sum(len(files) for *_, files in os.walk(place))
                spent, result = first or run(context, arguments)
            stopped = "ended before" if first else "killed"
            if not first and not n_states:
                stopped = "killed before any state"
            outcome = "bit-identical" if is_same(result, whole) else "ANOTHER RESULT"
            found[f"{stopped}: {outcome}"] += 1
            print(
                f"{moment:5.1f} s, saved every {seconds:g} s: {stopped}, resumed in "
                f"{spent:.1f} s, {outcome}",
                flush=True,
            )
    return found


def main():
    """Run all, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--times", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--texts", type=int, default=400)
    parser.add_argument("--epochs", type=int, default=6)
    args = parser.parse_args()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    for name, count in sorted(
        kills(args.times, args.seed, args.texts, args.epochs).items()
    ):
        print(f"{count:6}  {name}")


if __name__ == "__main__":
    main()
