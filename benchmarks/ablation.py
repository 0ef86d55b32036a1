"""What each default is worth: one thing changed at a time, on the same rows and seeds.

    python benchmarks/ablation.py --tasks sst2-1000-minilm,prompts-sst2 --seeds 2
    python benchmarks/ablation.py --table

A variant is a name and what it sets, see `variants`. In all of them but "compared" no
texts are held out, and the linear probe is never kept: what trains badly shows it. The
base is the mean of three trainings on the same rows: the luck of a single one would be
in every difference. Rows of a variant that is not defined here any more stay in the
file and in the tables; it changed the package's inside and cannot be run again.

A task ``prompts-sst2-500-gemma`` compares the prompts of `prompts.toml`, before
training, ", frozen", and after it; "searched" leaves the choice among every fourth of
those about the task to GridSearchCV. ``layers-sst2-1000-gemma`` has what a linear model
makes of the frozen states of every layer.
"""

import tomllib
from dataclasses import replace
from functools import partial

import ours
import results
from ablation_tables import BASES, candidates, tables
from catalogue import task_named
from ours import describe, fit_ours, forget, make_ours
from peers.frozen import reader
from peers.linear import fit_frozen
from sklearn.model_selection import GridSearchCV
from tasks import Case

PROMPTS = tomllib.loads((results.FOLDER / "prompts.toml").read_text("utf-8"))
OTHERS = PROMPTS["unrelated"] | PROMPTS["random"]  # not about the task
UNCOMPARED = {
    "training__validation_fraction": 1e-6,
    "training__min_validation_texts": 0,
}
# The package's own rates, of adapter and head, for single texts.
RATES = {"minilm": (4e-3, 1.5e-3), "gemma": (2e-3, 1e-3)}
EPOCHS, STEPS = {"minilm": 6, "gemma": 5}, 120  # the package's least of either
N_LAYERS = {"gemma": 18, "minilm": 6}
AT_LENGTH = (
    "Read the following text slowly and with care. Think of what it says, of what it "
    "leaves out, of whoever wrote it and of whom it was written for, and then decide "
    "which one of a few classes it belongs to."
)


def rates(backbone, lr=1.0, head_lr=1.0):
    """Return the package's rates, each times a factor."""
    own = RATES[backbone]
    return {"lr": lr * own[0], "training__head_lr": head_lr * own[1]}


def epochs(backbone, factor):
    """Return the package's least epochs and steps, times a factor."""
    fewest = -(-EPOCHS[backbone] * factor // 1)
    return {
        "training__min_epochs": int(fewest),
        "training__min_steps": int(STEPS * factor),
    }


def variants(backbone):
    """Return what each variant sets, by name."""
    from_probe = {"training__head_init": "linear_probe"}
    found = {
        "compared with the linear probe": {
            "training__validation_fraction": 0.1,
            "training__min_validation_texts": 100,
        },
        "adapter: full matrices": {"adapter": "linear"},
        "method: prompt": {"method": "prompt"},
        "head: from the linear probe": from_probe | rates(backbone),
        "head: the same, slower rates": from_probe,
        "head: the linear probe, not trained": from_probe | rates(backbone, 1, 1e-9),
        "head: from random weights": {"training__head_init": "random"},
        "features dropped: none": {"training__dropout": 0.0},
        "features dropped: half": {"training__dropout": 0.5},
        "rates of the adapter / 3": rates(backbone, lr=1 / 3),
        "rates of the adapter x 3": rates(backbone, lr=3),
        "rates of the head / 3": rates(backbone, head_lr=1 / 3),
        "rates of the head x 2": rates(backbone, head_lr=2),
        "rates of the head x 3": rates(backbone, head_lr=3),
        "epochs / 2": epochs(backbone, 1 / 2),
        "epochs x 2": epochs(backbone, 2),
        "batches of 16": {"batch_size": 16},
        "batches of 64": {"batch_size": 64, "training__min_steps": 1},
        "weights decay by 0.1": {"training__weight_decay": 0.1},
        "weights averaged: never": {"training__average_from": 1.0},
        "weights averaged: from two thirds": {"training__average_from": 2 / 3},
        "no warmup": {"training__warmup": 0.0},
        "texts contrasted: not": {"training__contrast": 0.0},
        "texts contrasted: in full": {"training__contrast": 1.0},
        "text's states refined: not": {"training__text_rank": 0},
    }
    for rank in (2, 4, 16, 32):
        found[f"rank {rank}"] = {"adapter_rank": rank}
    for rank in (1, 2, 8, 16):
        found[f"text's states refined: rank {rank}"] = {"training__text_rank": rank}
    if backbone == "gemma":
        return found | of_decoders()
    return found | {
        "tuned: upper half": {"tuned_layers": 3},
        "tuned: uppermost": {"tuned_layers": 1},
        "prompt: one word": {"prompt": "Classify"},
        "prompt: forty words": {"prompt": AT_LENGTH},
        "pooling: first": {"training__pooling": "first"},
    }


def of_decoders():
    """Return variants that make sense for decoders alone."""
    layers, tuned = "model_kwargs__n_layers", "tuned_layers"
    return {
        "all layers run, upper 12 tuned": {layers: "all"},
        "15 layers run and tuned": {layers: 15, tuned: "all"},
        "9 layers run and tuned": {layers: 9, tuned: "all"},
        "all layers run and tuned": {layers: "all", tuned: "all"},
        "all of the lower 12 tuned": {tuned: "all"},
        "pooling: mean": {"training__pooling": "mean"},
    }


def fit_variant(case, settings, more=0):
    """Fit and score the estimator with something set, from another seed if `more`."""
    return fit_ours(replace(case, seed=case.seed + more), **UNCOMPARED | settings)


def fit_searched(case, prompts):
    """Fit and score the estimator with the prompt that cross-validation chooses."""
    estimator = make_ours(case)
    forget(estimator)
    search = GridSearchCV(estimator, {"prompt": prompts}, cv=3)
    return case.measure(search) | describe(search.best_estimator_)


def variant_methods(task, data):
    """Return the variants for a task by name: functions of a `Case`."""
    found = {
        name: partial(fit_variant, settings={}, more=more)
        for name, more in BASES.items()
    }
    for name, settings in variants(task.backbone).items():
        found[name] = partial(fit_variant, settings=settings)
    if data in PROMPTS and task.is_causal:
        examples = {"prompt": PROMPTS[data]["long: examples"]}
        found["prompt: with two examples"] = partial(fit_variant, settings=examples)
    return found


def prompt_methods(task, data):
    """Return each prompt, frozen and trained, and a search among some of them."""
    found = {}
    for name, prompt in (PROMPTS[data] | OTHERS).items():
        slotted = prompt if "{text}" in prompt else prompt + "{text}"
        found[name] = partial(fit_ours, prompt=prompt)
        found[f"{name}, frozen"] = partial(fit_frozen, prompt=slotted)
    found["none, frozen"] = partial(fit_frozen, prompt=None)
    prompts = [PROMPTS[data][name] for name in candidates(PROMPTS[data])]
    return found | {"searched": partial(fit_searched, prompts=prompts)}


def layer_methods(task, data):
    """Return a linear model for the frozen states of each layer."""
    return {
        f"layer {layer}, frozen": partial(fit_frozen, layer=layer)
        for layer in range(1, N_LAYERS[task.backbone] + 1)
    }


GROUPS = {"prompts": prompt_methods, "layers": layer_methods}
ALL = ("sst2-1000-minilm", "trec6-1000-minilm", "sst2-1000-gemma", "trec6-1000-gemma")
ALL += ("sst2-200-minilm", "trec6-200-minilm", "trec50-200-minilm")
ALL += ("prompts-sst2-500-gemma", "prompts-trec6-500-gemma")
ALL += ("layers-sst2-1000-gemma", "layers-trec6-1000-gemma", "layers-rte-1000-gemma")


def grouped(name, limit=None):
    """Return a task's full name, the task, and its methods."""
    group, _, rest = name.partition("-")
    if group not in GROUPS:
        task = task_named(name, limit)
        return task.name, task, variant_methods(task, name.partition("-")[0])
    data, _, size = rest.partition("-")
    usual = {"prompts": "500-gemma", "layers": "1000-gemma"}[group]
    task = task_named(f"{data}-{size or usual}", limit)
    return f"{group}-{task.name}", task, GROUPS[group](task, data)


def plan(args):
    """Yield the head of every run, and what is called to run it."""
    for name in ALL if args.tasks == ["all"] else args.tasks:
        full_name, task, methods = grouped(name, args.limit)
        split = {}
        for method, run in methods.items():
            if args.methods and method not in args.methods:
                continue
            for seed in range(args.first_seed, args.first_seed + args.seeds):
                head = {"task": full_name, "method": method, "seed": seed}
                if not method.endswith("frozen"):
                    head["defaults"] = results.defaults_id(ours.defaults)

                def fit(task=task, split=split, run=run, seed=seed):
                    if seed not in split:
                        split[seed] = task.split(seed)
                    return run(Case(task, seed, split[seed]))

                yield head, fit
        reader.cache_clear()


def main():
    """Run what is missing, and print the tables of these tasks."""
    parser = results.parser(__doc__, "ablation.jsonl", ", ".join(ALL))
    args = parser.parse_args()
    n_failed = 0 if args.table else results.run_missing(plan(args), args.file)
    rows = results.read(args.file)
    if args.tasks and args.tasks != ["all"]:
        wanted = {grouped(name, args.limit)[0] for name in args.tasks}
        rows = [row for row in rows if row["task"] in wanted]
    for name, lines in tables(rows, PROMPTS).items():
        if lines:
            print(f"\n{name}\n\n" + "\n".join(lines))
    results.finish(n_failed)


if __name__ == "__main__":
    main()
