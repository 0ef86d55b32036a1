"""The frozen backbone in int8, beside bfloat16: seconds and accuracy.

    python benchmarks/int8.py --tasks sst2-1000-minilm,trec6-1000-gemma
    python benchmarks/int8.py --table

In each way of computing, the linear layers of the bare model read the test texts, in
batches of similar length. The ways take turns; the medians are kept. The accuracy is
that of one linear probe, fitted on what the model computes in float32.

float32           plain linear layers
bfloat16          plain linear layers
bfloat16, packed  as the estimators compute
int8, torch       `torch.ao.quantization.quantize_dynamic`, x86 engine
int8, torchao     `Int8DynamicActivationInt8WeightConfig`
"""

import copy
import time
import warnings
from functools import partial
from statistics import median

import numpy as np
import results
import torch
from catalogue import task_named
from peers import linear
from peers.frozen import FrozenBackbone
from sklearn.preprocessing import StandardScaler
from tables import line, table
from tasks import Case

from sksemantic._backbone.kernels import pack_linears

TASKS = ("sst2-1000-minilm", "trec6-1000-minilm", "sst2-1000-gemma")
REPEATS = 5
MAX_TEST = 500


def plain(model):
    """Leave a model as it is."""
    return model


def packed(model):
    """Pack the weights of the linear layers, as the estimators do."""
    model.requires_grad_(False)
    if not pack_linears(model):
        raise RuntimeError("this processor has no packed bfloat16")
    return model


def dynamic_int8(model):
    """Quantize by torch itself: weights ahead, activations as they come."""
    torch.backends.quantized.engine = "x86"
    layers = {torch.nn.Linear}
    return torch.ao.quantization.quantize_dynamic(model, layers, dtype=torch.qint8)


def torchao_int8(model):
    """Quantize by torchao: weights ahead, activations as they come."""
    from torchao.quantization import Int8DynamicActivationInt8WeightConfig, quantize_

    quantize_(model, Int8DynamicActivationInt8WeightConfig())
    return model


WAYS = {
    "float32": (torch.float32, plain),
    "bfloat16": (torch.bfloat16, plain),
    "bfloat16, packed": (torch.bfloat16, packed),
    "int8, torch": (torch.float32, dynamic_int8),
    "int8, torchao": (torch.bfloat16, torchao_int8),
}


def compare(task, seed):
    """Return seconds and accuracy of each way."""
    X, X_test, y, y_test = task.split(seed)
    X_test, y_test = list(X_test)[:MAX_TEST], y_test[:MAX_TEST]
    backbones = {}
    for name, (dtype, change) in WAYS.items():
        backbone = FrozenBackbone(task.model, dtype)
        backbone.model = change(copy.deepcopy(backbone.model))
        backbone.model.eval()
        backbones[name] = backbone
    ids = backbones["float32"].tokenize(X_test)
    seconds, features = {name: [] for name in WAYS}, {}
    for _ in range(REPEATS):
        for name, backbone in backbones.items():
            start = time.perf_counter()
            features[name] = backbone.embed_ids(ids)
            seconds[name].append(time.perf_counter() - start)
    case = Case(task, seed, (X, X_test, y, y_test))
    model = linear.linear_model(case, StandardScaler(), linear.STATE_C, [])
    model.fit(backbones["float32"].embed(X), y)
    return {
        "seconds": {name: median(each) for name, each in seconds.items()},
        "accuracy": {
            name: float(np.mean(model.predict(each) == y_test))
            for name, each in features.items()
        },
    }


def plan(args):
    """Yield the head of every run, and what is called to run it."""
    for name in args.tasks or TASKS:
        for seed in range(args.first_seed, args.first_seed + args.seeds):
            head = {"task": name, "method": "int8", "seed": seed}
            head["machine"] = results.machine()
            yield head, partial(compare, task_named(name, args.limit), seed)


def int8_table(rows):
    """Return a line for each processor and way: seconds over bfloat16, accuracy."""
    tasks = dict.fromkeys(row["task"] for row in rows)
    heading = ["processor", "the linear layers"]
    for task in tasks:
        heading += [f"`{task}`: seconds", "accuracy"]
    lines = []
    for processor in dict.fromkeys(row["machine"]["processor"] for row in rows):
        there = [row for row in rows if row["machine"]["processor"] == processor]
        for name in WAYS:
            cells = [processor, name]
            for task in tasks:
                cells += way_cells(name, [r for r in there if r["task"] == task])
            lines.append(line(cells))
    return table(heading, lines)


def way_cells(name, rows):
    """Return the seconds of a way, over those of packed bfloat16, and its accuracy."""
    if not rows:
        return ["", ""]
    base = "bfloat16, packed"
    ratios = [row["seconds"][name] / row["seconds"][base] for row in rows]
    scores = [row["accuracy"][name] for row in rows]
    return [f"{median(ratios):.2f}", f"{np.mean(scores):.3f}"]


def tables(rows):
    """Return the table by name."""
    return {"int8": int8_table(rows)}


def main():
    """Measure what is missing, and print the table."""
    args = results.parser(__doc__, "int8.jsonl", ", ".join(TASKS)).parse_args()
    n_failed = 0
    if not args.table:
        warnings.simplefilter("ignore")
        n_failed = results.run_missing(plan(args), args.file)
    print("\n".join(int8_table(results.read(args.file))))
    results.finish(n_failed)


if __name__ == "__main__":
    main()
