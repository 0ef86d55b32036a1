"""What was foreseen of a fit, beside what it took; and fits within time limits.

    python benchmarks/forecast.py --seeds 1
    python benchmarks/forecast.py --methods limit --tasks sst2-1000-minilm --seeds 3
    python benchmarks/forecast.py --table

forecast  `estimate_fit_time`, then the same fit, in a new process: seconds and memory
limit     the same fit free, and within 1/4, 1/2 and twice the seconds it took, beside
          the linear probe; the backbone is loaded
grid      `estimate_fit_time` for so many texts of so many words, two classes
"""

import json
import subprocess
import sys
import time
import warnings
from functools import partial
from statistics import median

import numpy as np
import ours
import results
from calibration import FALLS_BACK
from catalogue import task_named
from cost import forget_peak, peak_mib
from tables import by_task, line, table
from tasks import Case

CASES = (
    *("sst2-8-minilm", "sst2-100-minilm", "trec6-1000-minilm", "sst2-4000-minilm"),
    *("sst2-20000-minilm", "rte-300-minilm", "conll-300-minilm", "bbc-50-minilm"),
    *("bbc-500-minilm", "sst2-8-gemma", "sst2-200-gemma", "bbc-50-gemma"),
)
LIMITED = ("sst2-1000-minilm", "trec6-1000-minilm", "sst2-200-gemma")
SHARES = (0.25, 0.5, 2.0)
METHODS = ("forecast", "limit", "grid")
GRID = [(n, words) for n in (100, 1000, 10_000) for words in (15, 75, 300)]
BACKBONES = ("minilm", "gemma")
MAX_TEST = 1500


def forecast(task, seed):
    """Return what was foreseen and what came, in a process of its own."""
    command = [sys.executable, __file__, "--child", task.name, str(seed)]
    output = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    return json.loads(output.stdout.splitlines()[-1])


def forecast_child(name, seed):
    """Estimate, fit, and print both."""
    task = task_named(name)
    X, _, y, _ = task.split(seed)
    estimator = ours.make_ours(Case(task, seed, ()))
    start = time.perf_counter()
    estimate = estimator.estimate_fit_time(X, y)
    asked = time.perf_counter() - start
    forget_peak()
    start = time.perf_counter()
    estimator.fit(X, y)
    seconds = time.perf_counter() - start
    timing = estimator.timing_
    found = {
        "seconds": seconds,
        "estimated": estimate.seconds,
        "forecast": timing.forecast,
        "asked_seconds": asked,
        "peak_mib": peak_mib(),
        "estimated_peak_mib": estimate.peak_bytes / 2**20,
        "phases": timing.phases,
        "estimated_phases": estimate.phases,
    }
    print(json.dumps(found))


def limit(task, seed):
    """Return seconds and scores of a free fit, and of fits within shares of it."""
    X, X_test, y, y_test = task.split(seed)
    case = Case(task, seed, ())

    def run(**settings):
        estimator = ours.make_ours(case, **settings)
        ours.forget(estimator)
        start = time.perf_counter()
        estimator.fit(X, y)
        seconds = time.perf_counter() - start
        score = estimator.score(X_test[:MAX_TEST], y_test[:MAX_TEST])
        epochs = len(estimator.history_)
        return {"seconds": seconds, "score": score, "epochs": epochs}

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        free = run()
        probe = run(**FALLS_BACK)
        limited = {s: run(time_limit=s * free["seconds"]) for s in SHARES}
    return {
        "seconds": free["seconds"],
        "free": free,
        "probe": probe,
        "limited": {str(share): found for share, found in limited.items()},
    }


def grid(backbone, n_texts, n_words):
    """Return the estimate for texts put together from phrases of SST-2."""
    task = task_named(f"sst2-all-{backbone}")
    X, _, y, _ = task.split(0)
    words = np.resize(" ".join(X[:5000]).split(), n_texts * n_words)
    texts = [" ".join(row) for row in words.reshape(n_texts, n_words)]
    estimator = ours.make_ours(Case(task, 0, ()))
    estimate = estimator.estimate_fit_time(texts, np.resize(y, n_texts))
    return {"estimated": estimate.seconds, "estimated_bytes": estimate.peak_bytes}


RUNS = {"forecast": forecast, "limit": limit}


def plan(args):
    """Yield the head of every run, and what is called to run it."""
    for method in args.methods or METHODS:
        if method == "grid":
            for backbone in BACKBONES:
                for size in GRID:
                    name = "-".join(map(str, (*size, backbone)))
                    head = {"task": name, "method": method, "seed": 0}
                    head["defaults"] = results.defaults_id(ours.defaults)
                    yield head, partial(grid, backbone, *size)
            continue
        default = CASES if method == "forecast" else LIMITED
        for seed in range(args.first_seed, args.first_seed + args.seeds):
            for name in args.tasks or default:
                task = task_named(name, args.limit)
                head = {"task": task.name, "method": method, "seed": seed}
                head["defaults"] = results.defaults_id(ours.defaults)
                yield head, partial(RUNS[method], task, seed)


def forecast_table(runs):
    """Return one line for each task: medians over the seeds."""
    heading = ["task", "seconds", "estimated / true", "forecast at 5 % / true"]
    heading += ["asked, seconds", "peak MiB", "estimated / true"]
    lines = []
    for task, rows in runs.items():

        def mid(value, rows=rows):
            return median(map(value, rows))

        cells = (
            task,
            f"{mid(lambda r: r['seconds']):.1f}",
            f"{mid(lambda r: r['estimated'] / r['seconds']):.2f}",
            f"{mid(lambda r: r['forecast'] / r['seconds']):.2f}",
            f"{mid(lambda r: r['asked_seconds']):.1f}",
            f"{mid(lambda r: r['peak_mib']):.0f}",
            f"{mid(lambda r: r['estimated_peak_mib'] / r['peak_mib']):.2f}",
        )
        lines.append(line(cells))
    return table(heading, lines)


def limit_table(runs):
    """Return one line for each task and limit: medians over the seeds."""
    heading = ["task", "limit, share of a free fit", "taken / limit", "score", "epochs"]
    lines = []
    for task, rows in runs.items():
        fits = {"linear probe alone": [row["probe"] for row in rows]}
        for share in SHARES:
            fits[f"{share:g}"] = [row["limited"][str(share)] for row in rows]
        fits["none"] = [row["free"] for row in rows]
        shares = {f"{share:g}": share for share in SHARES}
        for name, found in fits.items():
            taken = ""
            if name in shares:
                limits = [shares[name] * row["seconds"] for row in rows]
                pairs = zip(found, limits, strict=True)
                taken = f"{median(fit['seconds'] / limit for fit, limit in pairs):.2f}"
            score = median(fit["score"] for fit in found)
            epochs = median(fit["epochs"] for fit in found)
            lines.append(line([task, name, taken, f"{score:.3f}", f"{epochs:g}"]))
    return table(heading, lines)


def grid_table(runs):
    """Return one line for each number of texts and words; one column a backbone."""
    lines = []
    for n_texts, n_words in GRID:
        cells = [f"{n_texts:,}", n_words]
        for backbone in BACKBONES:
            rows = runs.get(f"{n_texts}-{n_words}-{backbone}", [])
            cells.append(shown(rows[-1]["estimated"]) if rows else "")
        lines.append(line(cells))
    return table(["texts", "words a text", "MiniLM", "Gemma 3 270M"], lines)


def shown(seconds):
    """Return seconds, minutes or hours, of two digits."""
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds >= 1.5 * size:
            return f"{float(f'{seconds / size:.2g}'):g} {unit}"
    return f"{float(f'{seconds:.2g}'):g} s"


def tables(rows):
    """Return the tables by name."""
    found = by_task(rows)

    def runs_of(method):
        return {
            task: [*methods[method].values()]
            for task, methods in found.items()
            if method in methods
        }

    return {
        "forecast": forecast_table(runs_of("forecast")),
        "limit": limit_table(runs_of("limit")),
        "grid": grid_table(runs_of("grid")),
    }


def main():
    """Run what is missing, and print the tables."""
    if sys.argv[1:2] == ["--child"]:
        return forecast_child(sys.argv[2], int(sys.argv[3]))
    parser = results.parser(__doc__, "forecast.jsonl", "see catalogue.py")
    args = parser.parse_args()
    n_failed = 0 if args.table else results.run_missing(plan(args), args.file)
    for name, lines in tables(results.read(args.file)).items():
        print(f"\n{name}\n\n" + "\n".join(lines))
    results.finish(n_failed)


if __name__ == "__main__":
    main()
