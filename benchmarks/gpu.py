"""Seconds a step and memory on a GPU, beside PEFT's methods and the bare model.

    python benchmarks/gpu.py --seconds 270
    python benchmarks/gpu.py --table
    python benchmarks/gpu.py --sizes tiny --shapes 4x16 --steps 3 --file trial.jsonl

Llama-like backbones with random weights, of 1 and 7 billion parameters in bfloat16, are
made on the spot, and saved in a temporary folder. Batches have 16 texts of 64 or of 256
tokens, the prompt and PEFT's prefix 20. What a whole `fit` of our estimator does in a
step is measured beside transformers' `Trainer` with PEFT's LoRA and prefix tuning, and
beside "forward and backward" of the bare frozen model, down to its input embeddings.

It stops by itself: what is left once the time is over is named. The last command runs
on a CPU, to try the script: its numbers mean nothing.
"""

import argparse
import tempfile
import time
from functools import partial
from pathlib import Path

import gpu_methods
import gpu_models
import ours
import results
from gpu_methods import FLOOR, METHODS, OURS, Combination
from tables import NAMES, line, table

START = time.perf_counter()  # what is imported above takes seconds as well
HIGHEST_OVER_FLOOR, HIGHEST_OVER_LORA = 1.4, 0.5


def head_of(combination):
    """Return what says which run a row is of."""
    shape = f"{combination.batch_size}x{combination.length}"
    method = combination.method
    is_ours = results.is_ours(method)
    return {
        "task": f"gpu-{combination.size}-{shape}",
        "method": method,
        "seed": 0,
        "steps": combination.n_steps,
        "defaults": results.defaults_id(ours.defaults) if is_ours else None,
        "machine": results.machine(),
    }


def combinations(args, folder_of):
    """Yield all that is to be measured: size by size, method by method."""
    for size in args.sizes:
        for method in args.methods:
            # That one is to show that it works.
            is_extra = method == "ours, device_map"
            for batch_size, length in args.shapes[:1] if is_extra else args.shapes:
                yield Combination(
                    method, size, batch_size, length, args.steps, folder_of(size)
                )


def plan(args, parent, skipped):
    """Yield the head of every run and what is called, until the time is over."""
    loaded = gpu_methods.Networks()
    for combination in combinations(args, lambda size: parent / size):
        head = head_of(combination)
        if results.is_there(head, results.read(args.file)):
            continue
        if time.perf_counter() - START > args.seconds:
            skipped.append(f"{head['task']} {head['method']}")
            continue
        yield head, partial(run, combination, loaded)


def run(combination, loaded):
    """Return the outcome of a combination; make its backbone if it is not there."""
    if not combination.folder.exists():
        loaded.free()
        start = time.perf_counter()
        gpu_models.save_backbone(combination.size, combination.folder)
        loaded.free()
        print(f"{combination.size}: made in {time.perf_counter() - start:.0f} s")
    outcome = gpu_methods.measure(combination, loaded)
    return outcome | {"script_seconds": round(time.perf_counter() - START)}


def cell(value, digits=0):
    """Return a number as it is shown; "-" if there is none."""
    return "-" if value is None else f"{value:,.{digits}f}"


def ratio(row, other, name):
    """Return how large a number is beside that of another row, or None."""
    if other is None or row.get(name) is None or not other.get(name):
        return None
    return row[name] / other[name]


def gpu_table(rows):
    """Return the lines of a table of steps: one for each task and method."""
    heading = ["task", "method", "ms a step", "floor = 1", "LoRA = 1"]
    heading += ["peak GiB", "LoRA = 1", "waits a step", "attention", "texts/s"]
    heading += ["64 copies"]
    by_key = latest(rows)
    lines = []
    for (task, method), row in by_key.items():
        floor, lora = by_key.get((task, FLOOR)), by_key.get((task, "lora"))
        peak = row["step_peak_mib"]
        kernels = row["kernels"].items()
        cells = [
            task.removeprefix("gpu-"),
            NAMES.get(method, method),
            cell(1000 * row["seconds_a_step"], 1),
            cell(ratio(row, floor, "seconds_a_step"), 2),
            cell(ratio(row, lora, "seconds_a_step"), 2),
            cell(None if peak is None else peak / 1024, 1),
            cell(ratio(row, lora, "step_peak_mib"), 2),
            cell(row["n_waits"]),
            ", ".join(f"{name} {count}" for name, count in kernels) or "-",
            cell(row.get("texts_a_second")),
            cell(row.get("texts_a_second_of_many")),
        ]
        lines.append(line(cells))
    return table(heading, lines)


def latest(rows):
    """Return the latest row of each task and method."""
    return {(row["task"], row["method"]): row for row in rows}


def verdicts(rows):
    """Yield for each row of ours whether it is within the bars."""
    by_key = latest(rows)
    for (task, method), row in by_key.items():
        if method not in OURS:
            continue
        lora = by_key.get((task, "lora"))
        limits = [
            ("floor", by_key.get((task, FLOOR)), "seconds_a_step", HIGHEST_OVER_FLOOR),
            ("LoRA's seconds", lora, "seconds_a_step", HIGHEST_OVER_LORA),
            ("LoRA's memory", lora, "step_peak_mib", 1),
        ]
        for what, other, name, limit in limits:
            found = ratio(row, other, name)
            if found is not None:
                says = "within" if found <= limit else "MISSED"
                yield f"{task} {method}: {found:.2f} of {what}, bar {limit}: {says}"


def shape(text):
    """Return the texts of a batch and their tokens, of "16x64"."""
    batch_size, length = map(int, text.split("x"))
    return batch_size, length


def parse():
    """Return the arguments."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--sizes", type=results.names, default=["1b", "7b"], metavar="NAME,...")
    add("--methods", nargs="+", default=METHODS, choices=METHODS)
    add("--shapes", type=shape, nargs="+", default=[(16, 64), (16, 256)])
    add("--steps", type=int, default=12, help="that are counted")
    add("--seconds", type=float, default=270, help="after which nothing is begun")
    add("--folder", help="where the backbones are kept while it runs: 16 GB")
    add("--file", type=Path, default=results.RESULTS / "gpu.jsonl")
    add("--table", action="store_true", help="run nothing, print the tables")
    return parser.parse_args()


def main():
    """Measure, and print the table."""
    args = parse()
    n_failed, skipped = 0, []
    if not args.table:
        with tempfile.TemporaryDirectory(dir=args.folder) as parent:
            runs = plan(args, Path(parent), skipped)
            n_failed = results.run_missing(runs, args.file)
    rows = results.read(args.file)
    print("\n".join([*gpu_table(rows), "", *verdicts(rows)]))
    for each in skipped:
        print(f"skipped, there was no time: {each}")
    results.finish(n_failed)


if __name__ == "__main__":
    main()
