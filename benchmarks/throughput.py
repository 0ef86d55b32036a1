"""Seconds, bytes and memory of one estimator, each beside what it is compared with.

Whatever is compared is measured alternately in one run, because other work on the
machine comes and goes; medians and their ratios are printed. Memory is measured in
processes of their own, before anything else is loaded.
"""

import argparse
import gc
import io
import json
import pickle
import subprocess
import sys
import time
import warnings
from collections import defaultdict
from pathlib import Path

import numpy as np

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
BATCH_SIZES = (8, 16, 32, 64, 128, 256)
EPOCHS = 2
MEMORY_BAR = 1.3
GRID = {
    "prompt": [
        "What is this text about?",
        "Classify the following text",
        "Which kind of text is it",
        "Read the text and name its category",
    ]
}
IMPORTS = (
    "import sksemantic",
    "from sksemantic import SKTuningClassifier",
    "import sklearn.linear_model",
    "import torch",
)
RATIOS = (
    ("epoch", "F"),
    ("fit besides epochs", "F"),
    ("predict", "bare backbone"),
    ("import sksemantic", "import sklearn.linear_model"),
)


def measure_memory(args):
    """Return the peak memory and the backbones of one fit, and of a search."""
    return {kind: in_new_process(args, kind) for kind in ("fit", "grid")}


def in_new_process(args, kind):
    """Return what `fit_once` finds out in a process that does nothing else."""
    command = [sys.executable, __file__, "--child", kind]
    command += ["--model", args.model, "--dataset", args.dataset]
    command += ["--memory-rows", str(args.memory_rows)]
    output = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    return json.loads(output.stdout.splitlines()[-1])


def fit_once(args):
    """Fit one estimator, or a search over prompts, and print what it took."""
    from sklearn.model_selection import GridSearchCV

    loads = count_loads()
    X, _, y, _ = load_rows(args.dataset, args.memory_rows)
    estimator = make_estimator(args, 1)
    if args.child == "grid":
        estimator = GridSearchCV(estimator, GRID, cv=3, error_score="raise")
    before = peak_mib()
    seconds = timed(estimator.fit, X, y)[1]
    found = {"peak_mib": peak_mib(), "before_mib": before, "seconds": seconds}
    print(json.dumps(found | {"loads": len(loads), "alive": backbones_alive()}))


def count_loads():
    """Return a list that grows by one whenever a pretrained model is loaded."""
    from transformers import PreTrainedModel

    loads = []
    load = PreTrainedModel.from_pretrained.__func__

    def counted(cls, *args, **kwargs):
        loads.append(cls.__name__)
        return load(cls, *args, **kwargs)

    PreTrainedModel.from_pretrained = classmethod(counted)
    return loads


def backbones_alive():
    """Return how many pretrained models the process holds."""
    from transformers import PreTrainedModel

    gc.collect()
    objects = gc.get_objects()
    models = [each for each in objects if issubclass(type(each), PreTrainedModel)]
    parts = {id(part) for each in models for part in [*each.modules()][1:]}
    return sum(id(model) not in parts for model in models)


def peak_mib():
    """Return the most memory that this process has held, in MiB."""
    status = Path("/proc/self/status")
    if status.exists():  # ru_maxrss would count what the parent process held, too
        line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    import resource

    unit = 1024**2 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def forget_peak():
    """Let `peak_mib` start anew, where the system can; return what is held now."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pass
    return peak_mib()


def measure_speed(args):
    """Return the seconds that each step took, once per repeat, and the sizes."""
    from _baselines import FrozenBackbone, fast_dtype

    X_train, X_test, y_train, _ = load_rows(args.dataset, args.rows)
    backbone = FrozenBackbone(args.model, fast_dtype())
    batch_size = best_batch_size(backbone, X_test)
    train_ids = backbone.tokenize(X_train)
    seconds = defaultdict(list)
    for _ in range(args.repeats):
        estimator = with_one_run(make_estimator(args, EPOCHS))
        _, fit = timed(estimator.fit, X_train, y_train)
        epochs = [epoch["dur"] for epoch in estimator.history_]
        seconds["epoch"] += epochs
        seconds["fit besides epochs"].append(fit - sum(epochs))
        _, frozen = timed(backbone.embed_ids, train_ids, "mean", batch_size)
        seconds["F"].append(frozen)
        _, predict = timed(estimator.predict, X_test)
        seconds["predict"].append(predict)
        _, bare = timed(backbone.embed, X_test, "mean", batch_size)
        seconds["bare backbone"].append(bare)
        for statement in IMPORTS:
            seconds[statement].append(import_seconds(statement))
    return seconds, sizes(estimator) | {"bare_batch_size": batch_size}


def best_batch_size(backbone, texts):
    """Return the batch size with which the bare backbone is fastest, best of two."""
    ids = backbone.tokenize(texts)
    backbone.embed_ids(ids, "mean", BATCH_SIZES[0])  # the first pass allocates
    fastest = {}
    for _ in range(2):
        for size in BATCH_SIZES:
            _, seconds = timed(backbone.embed_ids, ids, "mean", size)
            fastest[size] = min(seconds, fastest.get(size, seconds))
    return min(fastest, key=fastest.get)


def sizes(estimator):
    """Return the trained parameters and the bytes of the pickled estimator."""
    import joblib

    buffer = io.BytesIO()
    joblib.dump(estimator, buffer)
    return {
        "n_trainable_params": estimator.n_trainable_params_,
        "pickle_bytes": len(pickle.dumps(estimator)),
        "joblib_bytes": len(buffer.getvalue()),
    }


def import_seconds(statement):
    """Return how long an import takes in a new process."""
    code = f"import time; s = time.perf_counter(); {statement}"
    command = [sys.executable, "-c", f"{code}; print(time.perf_counter() - s)"]
    return float(subprocess.check_output(command, text=True))


def make_estimator(args, max_epochs):
    """Return the estimator that is measured."""
    from sksemantic import FallbackWarning, SKTuningClassifier

    # So few epochs need not beat the closed form.
    warnings.simplefilter("ignore", FallbackWarning)
    return SKTuningClassifier(
        model=args.model, n_layers="all", max_epochs=max_epochs, random_state=0
    )


def with_one_run(estimator):
    """Return the estimator, set to train once; by default `fit` may start over.

    A callback has this effect: the texts held back at first stay held back.
    """
    from skorch.callbacks import Callback

    return estimator.set_params(callbacks=[Callback()])


def load_rows(dataset, rows):
    """Return as many texts to train on as to predict, and their labels."""
    import _data
    from sklearn.model_selection import train_test_split

    load = getattr(_data, f"load_{dataset}")
    X, y, *_ = load()
    return train_test_split(
        X, y, train_size=rows, test_size=rows, stratify=y, random_state=0
    )


def timed(function, *args):
    """Return the result of a call and its seconds."""
    start = time.perf_counter()
    result = function(*args)
    return result, time.perf_counter() - start


def report_memory(args, memory):
    """Print the peaks, their ratio and the bar."""
    print(f"\nMemory, {args.memory_rows} rows, 1 epoch")
    for kind, found in memory.items():
        print(
            f"  {kind:4}  peak {found['peak_mib']:7.0f} MiB  (before the fit "
            f"{found['before_mib']:.0f})  backbones loaded {found['loads']}, "
            f"alive {found['alive']}  {found['seconds']:.1f} s"
        )
    ratio = memory["grid"]["peak_mib"] / memory["fit"]["peak_mib"]
    verdict = "kept" if ratio <= MEMORY_BAR else "MISSED"
    print(
        f"  grid of {len(GRID['prompt'])} prompts x 3 folds over one fit: {ratio:.2f}"
    )
    print(f"  bar <= {MEMORY_BAR} {verdict}")


def report_speed(args, seconds, facts):
    """Print median and range of each step, then the ratios and the sizes."""
    middle = {name: float(np.median(values)) for name, values in seconds.items()}
    print(f"\nSeconds, {args.rows} rows of {args.dataset}: median (fastest - slowest)")
    for name, values in seconds.items():
        spread = f"({min(values):.3f} - {max(values):.3f})"
        print(f"  {name:42} {middle[name]:8.3f}  {spread}")
    print("\nRatios of medians")
    for name, other in RATIOS:
        print(f"  {f'{name} / {other}':42} {middle[name] / middle[other]:8.2f}")
    own, bare = args.rows / middle["predict"], args.rows / middle["bare backbone"]
    batch_size, trained = facts["bare_batch_size"], facts["n_trainable_params"]
    print(f"\npredict {own:.0f} texts/s, bare backbone {bare:.0f} texts/s", end=" ")
    print(f"(its best batch size, {batch_size})")
    print(
        f"trained parameters {trained}, {4 * trained} bytes as float32; pickle", end=" "
    )
    print(f"{facts['pickle_bytes']} bytes, joblib {facts['joblib_bytes']} bytes")


def parse_args():
    """Return the command line's arguments."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--model", default=MINILM)
    add("--dataset", choices=["trec", "rotten_tomatoes", "bbc"], default="trec")
    add("--rows", type=int, default=1000, help="to train on, and to predict")
    add("--repeats", type=int, default=5)
    add("--memory-rows", type=int, default=300, help="to train on for the memory")
    add("--no-memory", dest="memory", action="store_false")
    add("--json", type=Path, metavar="FILE", help="append what was measured")
    add("--child", choices=["fit", "grid"], help=argparse.SUPPRESS)
    return parser.parse_args()


def main():
    """Measure and print."""
    args = parse_args()
    if args.child:
        return fit_once(args)
    memory = measure_memory(args) if args.memory else None
    if memory:
        report_memory(args, memory)
    seconds, facts = measure_speed(args)
    report_speed(args, seconds, facts)
    if args.json:
        setting = {"model": args.model, "dataset": args.dataset, "rows": args.rows}
        result = setting | facts | {"seconds": seconds, "memory": memory}
        with args.json.open("a") as file:
            file.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
