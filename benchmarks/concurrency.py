"""Threads that predict beside a fit, and a fit that is repeated many times.

    python benchmarks/concurrency.py predictions --threads 16 --seconds 120
    python benchmarks/concurrency.py fits --times 200

"predictions" asks four estimators on one backbone in many threads, while a fifth is
fitted again and again. Every answer must have the bits of the one that was given before
by a single thread, and every fit those of the first. "fits" repeats a fit, and counts
memory, open files and threads of the process. They are to stay as they are after the
first tenth of the fits.
"""

import argparse
import gc
import os
import sys
import threading
import time
import warnings
from collections import Counter
from functools import partial

import numpy as np
import psutil
from data import load_sst2

from sksemantic import SKTuningClassifier, SKTuningRegressor, SKTuningTokenClassifier

N_TRAIN, N_FEW = 64, 16
SIZES = (1, 3, 32, 100)  # texts of one call
CALLS = ("predict", "predict_proba", "transform")
GROWTH = 16 * 2**20  # bytes of memory that 200 fits may differ by
SETTLED = 5  # seconds after the last fit, until its threads have ended


def texts_of(split, n_texts):
    """Return the first texts of SST-2, and their labels."""
    texts, labels = load_sst2(split)
    return texts[:n_texts], labels[:n_texts]


def tags_of(texts):
    """Return a label for each word of texts."""
    return [["long" if len(word) > 5 else "short" for word in x.split()] for x in texts]


def estimators(texts, labels, **parameters):
    """Return four fitted estimators on one backbone, of several kinds and methods."""
    numbers = [float(label) for label in labels]
    parameters = {"max_epochs": 1, "random_state": 0, **parameters}
    return [
        SKTuningClassifier(**parameters).fit(texts, labels),
        SKTuningClassifier(method="prompt", **parameters).fit(texts, labels),
        SKTuningRegressor(tuned_layers=1, **parameters).fit(texts, numbers),
        SKTuningTokenClassifier(**parameters).fit(texts, tags_of(texts)),
    ]


def is_same(one, other):
    """Whether two answers have the same bits."""
    return all(map(np.array_equal, one, other)) and len(one) == len(other)


def calls_of(fitted, texts):
    """Return functions of no arguments, each of which asks an estimator something."""
    return [
        partial(getattr(estimator, name), texts[-size:])
        for estimator in fitted
        for name in CALLS
        if hasattr(estimator, name)
        for size in SIZES
    ]


def predictions(n_threads, seconds, train, test, **parameters):
    """Ask in threads beside a fit; count what was right, wrong, and failed."""
    calls = calls_of(estimators(*train, **parameters), test[0])
    expected = [call() for call in calls]
    fifth = {"max_epochs": 1, "random_state": 1, **parameters}
    fit = partial(SKTuningClassifier(**fifth).fit, *train)
    reference = fit().predict_proba(test[0])
    found, lock, end = Counter(), threading.Lock(), time.monotonic() + seconds

    def count(what, is_right):
        with lock:
            found[f"{what}: {'equal' if is_right else 'DIFFERENT'}"] += 1

    def work(step):
        try:
            step()
        except Exception as exc:
            with lock:
                found[f"FAILED with {exc!r:.100}"] += 1

    def ask(seed):
        rng = np.random.RandomState(seed)
        while time.monotonic() < end:
            i = rng.randint(len(calls))
            count("answers", is_same(calls[i](), expected[i]))

    def train_again():
        while time.monotonic() < end:
            clf = SKTuningClassifier(**fifth).fit(*train)
            count("fits", is_same(clf.predict_proba(test[0]), reference))

    steps = [train_again, *[partial(ask, seed) for seed in range(n_threads)]]
    threads = [threading.Thread(target=work, args=(step,)) for step in steps]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def sizes_now():
    """Return bytes of memory, number of files and number of threads of this process."""
    gc.collect()
    process = psutil.Process()
    return process.memory_info().rss, process.num_fds(), process.num_threads()


def fits(times, train, shows=print, **parameters):
    """Repeat a fit and a prediction; return the sizes after each tenth of the fits."""
    parameters = {"max_epochs": 2, **parameters}
    found = []
    for done in range(1, times + 1):
        clf = SKTuningClassifier(random_state=done, **parameters)
        clf.fit(*train).predict(train[0])
        if done % max(1, times // 10) == 0:
            del clf
            time.sleep(SETTLED)
            memory, n_files, n_threads = sizes_now()
            found.append((memory, n_files, n_threads))
            shows(
                f"{done:6} fits {memory / 2**20:8.1f} MiB {n_files:4} files "
                f"{n_threads:4} threads"
            )
    return found


def grows(found):
    """Return which of the sizes have grown since the first tenth of the fits."""
    (memory, *first), (memory_now, *last) = found[0], found[-1]
    growth = {"memory": memory_now - memory > GROWTH}
    growth |= zip(("files", "threads"), map(int.__gt__, last, first), strict=True)
    return [name for name, is_more in growth.items() if is_more]


def main():
    """Run one of the two, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=("predictions", "fits"))
    parser.add_argument("--threads", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--times", type=int, default=200)
    args = parser.parse_args()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    warnings.simplefilter("ignore")
    train = texts_of("train", N_TRAIN)
    start = time.perf_counter()
    if args.what == "predictions":
        test = texts_of("test", max(SIZES))
        found = predictions(args.threads, args.seconds, train, test)
        for name, count in sorted(found.items()):
            print(f"{name:20} {count:8,}")
        is_wrong = any("DIFFERENT" in name or "FAILED" in name for name in found)
    else:
        growth = grows(fits(args.times, texts_of("train", N_FEW)))
        print(f"grown: {', '.join(growth) or 'nothing'}")
        is_wrong = bool(growth)
    print(f"{time.perf_counter() - start:.0f} s")
    sys.exit(is_wrong)


if __name__ == "__main__":
    main()
