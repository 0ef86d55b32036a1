"""Seconds of a fit beside other processes that want the same processors.

    python benchmarks/threads.py --seeds 5
    python benchmarks/threads.py --table

Each method has a process of its own, that has fitted once before, and fits again on an
idle machine, beside one and two processes that compute with one thread each, and beside
a second such process that fits as well: then the longer fit counts. The methods take
turns.

ours            nothing is set, and torch is imported first
ours, spinning  the threads of torch wait as they do by default
ours, passive   OMP_WAIT_POLICY=passive, set before torch is imported
ours, 1 thread  OMP_NUM_THREADS=1
"""

import argparse
import os
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from functools import partial

import numpy as np
import ours
import psutil
import results
from catalogue import task_named
from cost import timed
from tables import line, table
from tasks import Case

TASK = "sst2-200-minilm"
EPOCHS = 2
BESIDE = {"idle": (0, 1), "1 busy": (1, 1), "2 busy": (2, 1), "2 fits": (0, 2)}
# What libgomp has by default; as it is set, the package leaves it.
METHODS = {
    "ours": {},
    "ours, spinning": {"GOMP_SPINCOUNT": "300000"},
    "ours, passive": {"OMP_WAIT_POLICY": "passive"},
    "ours, 1 thread": {"OMP_NUM_THREADS": "1"},
}
DISTURBED = 0.05  # share of the CPUs that others use
SETTINGS = {name for values in METHODS.values() for name in values}
BUSY = """
import os
import numpy as np
parent, x = os.getppid(), np.ones(100_000)
while os.getppid() == parent:  # this process is gone if it was killed
    for _ in range(1000):
        x = x * 1.0
"""


@contextmanager
def process(*arguments, **environment):
    """Run Python beside this process, and end it."""
    inherited = {k: v for k, v in os.environ.items() if k not in SETTINGS}
    command = [sys.executable, *arguments]
    pipes = dict.fromkeys(("stdin", "stdout"), subprocess.PIPE)
    environment = inherited | environment
    with subprocess.Popen(command, **pipes, env=environment, text=True) as child:
        try:
            yield child
        finally:
            child.kill()


def fits_of(children):
    """Let processes fit at once; return the longest one's seconds."""
    for child in children:
        child.stdin.write("fit\n")
        child.stdin.flush()
    return max(float(child.stdout.readline()) for child in children)


def measure(method, n_tries):
    """Return the seconds of the fit that was least disturbed, by what is beside it."""
    found, disturbed = {}, {}
    with ExitStack() as stack:
        arguments = (__file__, "--child")
        children = [
            stack.enter_context(process(*arguments, **METHODS[method]))
            for _ in range(max(n_fits for _, n_fits in BESIDE.values()))
        ]
        fits_of(children)
        for name, (n_busy, n_fits) in BESIDE.items():
            fitting = children[:n_fits]
            with ExitStack() as stack_of_busy:
                enter = stack_of_busy.enter_context
                busy = [enter(process("-c", BUSY)) for _ in range(n_busy)]
                time.sleep(1)  # until they have imported numpy
                tries = []
                while len(tries) < n_tries and not is_alone(tries):
                    tries.append(fits_among([*fitting, *busy], fitting))
            found[name], disturbed[name] = min(tries, key=lambda each: each[1])
    return {"seconds": found, "disturbed": disturbed}


def is_alone(tries):
    """Whether the last try was hardly disturbed."""
    return bool(tries) and tries[-1][1] < DISTURBED


def fits_among(processes, children):
    """Return the seconds of fits, and the share of the CPUs that others have used."""
    before = others_seconds(processes)
    start = time.perf_counter()
    seconds = fits_of(children)
    wall = time.perf_counter() - start
    used = others_seconds(processes) - before
    return seconds, round(used / wall / psutil.cpu_count(), 3)


def others_seconds(processes):
    """Return the seconds that CPUs were busy with other processes than these."""
    times = psutil.cpu_times()
    busy = sum(times) - times.idle - getattr(times, "iowait", 0.0)
    for each in processes:
        own = psutil.Process(each.pid).cpu_times()
        busy -= own.user + own.system
    return busy


def child():
    """Fit for each line that is read, and print the seconds without loading."""
    task = task_named(TASK)
    X, _, y, _ = task.split(0)
    for _ in sys.stdin:
        estimator = ours.make_ours(Case(task, 0, ()), max_epochs=EPOCHS)
        ours.forget(estimator)
        print(timed(estimator.fit, X, y), flush=True)


def threads_table(rows):
    """Return the median seconds, and how many times those of the idle machine."""
    lines = []
    for method in METHODS:
        found = [row["seconds"] for row in rows if row["method"] == method]
        if not found:
            continue
        cells = [method]
        for beside in BESIDE:
            seconds = np.median([each[beside] for each in found])
            ratio = np.median([each[beside] / each["idle"] for each in found])
            times = "" if beside == "idle" else f" ({ratio:.2f})"
            cells.append(f"{seconds:.1f}{times}")
        lines.append(line(cells))
    return table(["", *BESIDE], lines)


def tables(rows):
    """Return the table by name."""
    return {"threads": threads_table(rows)}


def main():
    """Measure what is missing, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--seeds", type=int, default=1, help="how many times (default: 1)")
    add("--first-seed", type=int, default=0)
    add("--methods", type=results.names, default=list(METHODS), metavar="NAME,...")
    add("--tries", type=int, default=1, help="while others disturb a fit")
    add("--file", default=results.RESULTS / "threads.jsonl", type=results.Path)
    add("--table", action="store_true", help="run nothing, print the table")
    add("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        return child()
    if options.table:
        return print("\n".join(threads_table(results.read(options.file))))
    defaults = results.defaults_id(ours.defaults)
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    plan = [
        (
            {"task": TASK, "method": name, "seed": seed, "defaults": defaults},
            partial(measure, name, options.tries),
        )
        for seed in seeds
        for name in options.methods
    ]
    results.finish(results.run_missing(plan, options.file))


if __name__ == "__main__":
    main()
