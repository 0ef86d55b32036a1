"""What each part of the recipe is worth: one thing changed at a time.

The estimator with one of its defaults, or one of its inner constants, replaced, on the
same rows as the base, seed by seed. The base are the defaults, but for the comparison
with the closed form: it is switched off throughout, so that a variant that trains badly
shows it instead of falling back. After the tables come the differences from the base,
in points, with their standard error over tasks and seeds. The base is the mean of three
trainings on the same rows: the luck of a single one would be in every difference.
"""

import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from math import ceil
from unittest.mock import patch

import numpy as np
import torch
from _baselines import GEMMA, MINILM, REVIEW_PROMPT, embedding_logistic
from _methods import describe, make_ours, measure
from _runner import CLASSIFIER, Method, by_seed, main, plain
from _variants import (
    UNCOMPARED,
    AttentionPooled,
    Direct,
    DroppingTokens,
    Gated,
    Mixed,
    Partial,
    ValuesOnly,
    adapter,
    conditioned,
    module,
    over_noise,
    supervised_contrast,
    weighing,
    without_comparison,
)
from prompts import ABOUT
from suite import PROMPTS
from suite import TASKS as SUITE
from torch import nn

from sksemantic._model import module as _module
from sksemantic._tasks import base as _task
from sksemantic._training import config as _recipe
from sksemantic._training import net as _net
from sksemantic._training import trainer as _training

BASE = "base"
RESEEDED = {"base, another seed": 100, "base, a third seed": 200}
THREE_SEEDS, THREE_PROMPTS = "three seeds averaged", "three prompts averaged"


def constant(module, **values):
    """Return patches of inner constants."""
    return [patch.object(module, name, value) for name, value in values.items()]


def rates(lr=1.0, head_lr=1.0):
    """Return the patch that multiplies the default learning rates."""
    table = {
        is_causal: (lr * own[0], head_lr * own[1])
        for is_causal, own in _recipe._AUTO_RATES.items()
    }
    return constant(_recipe, _AUTO_RATES=table)


def smoothed(task, scores, targets):
    """Return the cross-entropy of labels of which a tenth is spread over all."""
    return nn.functional.cross_entropy(
        scores, targets, reduction="none", label_smoothing=0.1
    )


def head_start(factor):
    """Return the patch that starts the head at the closed form times a factor."""

    def start(trainer, data, reference=None):
        head = trainer.module.head
        trainer._set_head(reference)
        with torch.no_grad():
            head.weight.mul_(factor)
            head.bias.mul_(factor)

    return [patch.object(_training.Trainer, "_init_head", start)]


def decayed(amount):
    """Return the patch that lets weights decay."""
    build = partial(_net.build_net, weight_decay=amount)
    return [patch.object(_training, "build_net", build)]


def averaged_from(share):
    """Return the patch that averages the weights from that share of the training on."""

    class From(_net.TailAverage):
        def __init__(self, max_epochs):
            super().__init__(max_epochs, share)

    return constant(_training, TailAverage=From)


def epochs(factor):
    """Return the patches that change the number of epochs."""
    fewest = {key: ceil(factor * n) for key, n in _recipe._FEWEST_EPOCHS.items()}
    steps = ceil(factor * _recipe._FEWEST_STEPS)
    return constant(_recipe, _FEWEST_EPOCHS=fewest, _FEWEST_STEPS=steps)


def train(case, patches=(), **params):
    """Fit and score a variant."""
    with ExitStack() as stack:
        for each in (without_comparison(), *patches):
            stack.enter_context(each)
        estimator = make_ours(case, CLASSIFIER, **UNCOMPARED, **params)
        return measure(case, estimator, case.rows) | describe(estimator)


def reseed(case, by):
    """Fit and score the base on the same rows, with other random numbers."""
    return train(replace(case, seed=case.seed + by))


def refit_head(case):
    """Fit the estimator, then the head anew, by cross-validation, on what it makes."""
    X_train, X_test, y_train, y_test = case.rows
    start = time.perf_counter()
    with without_comparison():
        estimator = make_ours(case, CLASSIFIER, **UNCOMPARED)
        estimator.fit(X_train, y_train)
        rows = (estimator.transform(X_train), estimator.transform(X_test))
    seconds = time.perf_counter() - start
    head = embedding_logistic("accuracy")
    return measure(case, head, (*rows, y_train, y_test), seconds)


class Averaged:
    """Several estimators behind one backbone; their probabilities are averaged."""

    def __init__(self, estimators):
        self.estimators = estimators

    def fit(self, X, y):
        """Fit all."""
        for estimator in self.estimators:
            estimator.fit(X, y)
        return self

    def predict(self, X):
        """Return the classes that are likeliest on average."""
        found = np.mean([one.predict_proba(X) for one in self.estimators], axis=0)
        return self.estimators[0].classes_[found.argmax(axis=1)]


def average(case, prompts=None):
    """Fit and score three estimators together, of three prompts or three seeds."""
    if prompts:
        variants = [(case, {"prompt": prompt}) for prompt in prompts]
    else:
        variants = [(replace(case, seed=case.seed + 100 * i), {}) for i in range(3)]
    estimators = [
        make_ours(each, CLASSIFIER, **UNCOMPARED, **params) for each, params in variants
    ]
    with without_comparison():
        return measure(case, Averaged(estimators), case.rows)


def variant(patches=(), **params):
    """Return the method that changes one thing."""
    return Method(partial(train, patches=patches, **params), seeded=True)


AT_LENGTH = (
    "Read the following text slowly and with care. Think of what it says, of what it "
    "leaves out, of whoever wrote it and of whom it was written for, and then decide "
    "which one of a few classes it belongs to."
)
COMMON = {
    BASE: variant(),
    **{name: Method(partial(reseed, by=by), True) for name, by in RESEEDED.items()},
    # adapter
    "rank 2": variant(adapter_rank=2),
    "rank 4": variant(adapter_rank=4),
    "rank 16": variant(adapter_rank=16),
    "rank 32": variant(adapter_rank=32),
    "adapter: full matrices": variant(adapter="linear"),
    "adapter: none, keys and values trained": variant([adapter(Direct)]),
    # A step moves what has one term less than what has as many as ranks.
    "adapter: none, at rates x 4": variant([adapter(Direct), *rates(lr=4)]),
    "text's states refined: not": variant(text_rank=0),
    "text's states refined: rank 1": variant(text_rank=1),
    "text's states refined: rank 2": variant(text_rank=2),
    "text's states refined: rank 8": variant(text_rank=8),
    "text's states refined: rank 16": variant(text_rank=16),
    "adapter: on keys only": variant([adapter(Partial)]),
    "adapter: on values only": variant([adapter(ValuesOnly)]),
    "adapter: and a gate per head": variant([adapter(Gated)]),
    "adapter: depends on the text": variant(conditioned()),
    "noise for the prompt's states": variant([over_noise()]),
    "method: prompt": variant(method="prompt"),
    # head
    "head: from the closed form": variant(
        constant(_recipe, _GENTLE_RATES=_recipe._AUTO_RATES),
        head_init="linear_probe",
    ),
    "head: the same, slower rates": variant(head_init="linear_probe"),
    "head: the closed form, not trained": variant(
        constant(_recipe, _GENTLE_RATES=_recipe._AUTO_RATES),
        head_init="linear_probe",
        head_lr=1e-12,
    ),
    "head: from a fifth of the closed form": variant(head_start(0.2)),
    "head: from random weights": variant(head_init="random"),
    "head: fitted anew at the end": Method(refit_head, seeded=True),
    "pooling: attention": variant([module(AttentionPooled)]),
    "pooling: of five layers": variant([module(Mixed)]),
    "features dropped: none": variant(constant(_module, _DROPOUT=0.0)),
    "features dropped: half": variant(constant(_module, _DROPOUT=0.5)),
    # training
    "rates of the adapter / 3": variant(rates(lr=1 / 3)),
    "rates of the adapter x 3": variant(rates(lr=3)),
    "rates of the head / 3": variant(rates(head_lr=1 / 3)),
    "rates of the head x 3": variant(rates(head_lr=3)),
    "epochs / 2": variant(epochs(1 / 2)),
    "epochs x 2": variant(epochs(2)),
    "batches of 16": variant(batch_size=16),
    "batches of 64": variant(constant(_recipe, _FEWEST_STEPS=1), batch_size=64),
    "weights decay by 0.1": variant(decayed(0.1)),
    "texts contrasted: not": variant(contrast=0),
    "texts contrasted: in full": variant(contrast=1.0),
    "texts contrasted: by Khosla's loss": variant(
        constant(_net, contrast_loss=supervised_contrast), contrast=0.5
    ),
    "labels smoothed": variant([patch.object(_task.Classification, "loss", smoothed)]),
    "weights averaged: never": variant(averaged_from(1.0)),
    "weights averaged: from two thirds": variant(averaged_from(2 / 3)),
    THREE_SEEDS: Method(average, seeded=True),
}
OF_ENCODERS = {
    "tuned: upper half": variant(tuned_layers=3),
    "tuned: uppermost": variant(tuned_layers=1),
    "prompt: one word": variant(prompt="Classify"),
    "prompt: forty words": variant(prompt=AT_LENGTH),
    "prompt: weighs a twentieth": variant(weighing(3.0)),
    "pooling: first": variant(pooling="first"),
    "tokens dropped: a tenth": variant([module(DroppingTokens)]),
}
OF_DECODERS = {
    "all layers run, upper 12 tuned": variant(n_layers="all"),
    "15 layers run and tuned": variant(n_layers=15, tuned_layers="all"),
    "9 layers run and tuned": variant(n_layers=9, tuned_layers="all"),
    "all layers run and tuned": variant(n_layers="all", tuned_layers="all"),
    "all of the lower 12 tuned": variant(tuned_layers="all"),
    "pooling: mean": variant(pooling="mean"),
}
# What may count for more with few texts.
OF_FEW_TEXTS = {
    name: COMMON[name]
    for name in (
        BASE,
        *RESEEDED,
        "rates of the adapter x 3",
        "rates of the head / 3",
        "epochs x 2",
        "texts contrasted: not",
        "features dropped: none",
        "text's states refined: not",
    )
} | {
    "rates of the head x 2": variant(rates(head_lr=2)),
    "tokens dropped: a tenth": OF_ENCODERS["tokens dropped: a tenth"],
    "tokens dropped: a tenth, rates of the head x 2": variant(
        [module(DroppingTokens), *rates(head_lr=2)]
    ),
}
ASKED = {
    "sst2": (
        REVIEW_PROMPT,
        '"{text}"\nThe verdict of this critic:',
        'Review: "{text}"\nShort and clear, the film is',
    ),
    "trec6": (
        PROMPTS["trec6"],
        'Someone asks: "{text}"\nThey are looking for a',
        'Question: "{text}"\nWhat kind of thing is asked for? A',
    ),
}
TOLD = (
    "Classify the text.",
    "What is this text about, and what does it say?",
    "Read carefully: what matters is the meaning.",
)


def make_tasks():
    """Return the tasks of the ablation by name: those of the suite, with variants."""
    tasks = {}
    for name, prompts in ASKED.items():
        by_example = {
            "prompt: with two examples": variant(prompt=ABOUT[name]["long: examples"])
        }
        for model, short, own in (
            (MINILM, "minilm", OF_ENCODERS),
            (GEMMA, "gemma", OF_DECODERS | by_example),
        ):
            key = f"{name}-1000-{short}"
            told = prompts if model == GEMMA else TOLD
            several = Method(partial(average, prompts=told), seeded=True)
            methods = {**COMMON, **own, THREE_PROMPTS: several}
            tasks[key] = replace(SUITE[key], ours=methods, peers={})
    for key in ("sst2-200-minilm", "trec6-200-minilm", "trec50-200-minilm"):
        tasks[key] = replace(SUITE[key], ours=OF_FEW_TEXTS, peers={})
    return tasks


TASKS = make_tasks()


def summarise(tasks, results, args):
    """Print how far each variant is from the base, by number of texts and backbone."""
    for group in groups(tasks):
        lines = differences(tasks, results, group)
        if lines:
            print(f"\n{group}: points more than the base, by task")
        for line in lines:
            by_task = "  ".join(f"{name} {gap:+.1f}" for name, gap in line.by_task)
            found = f"{line.mean:+.2f} ± {line.error:.2f} of {line.n_runs}"
            print(f"  {line.method:40} {found}  {by_task}")


@dataclass(frozen=True)
class Difference:
    """How many points a variant is ahead of the base.

    Attributes
    ----------
    method : str
        The variant.
    mean, error : float
        Over all tasks and seeds, and its standard error.
    n_runs : int
        How many pairs of runs that is.
    by_task : list of tuple
        Names of data sets, and the mean over the seeds.
    """

    method: str
    mean: float
    error: float
    n_runs: int
    by_task: list


def groups(tasks):
    """Return what the names of the tasks end with: number of texts, and backbone."""
    return list(dict.fromkeys(name.partition("-")[2] for name in tasks))


def differences(tasks, results, group):
    """Return the differences of all variants in one group, the best ones first."""
    gaps = {}
    for task, methods in by_seed(plain(results)).items():
        if task.partition("-")[2] != group:
            continue
        scoring = tasks[task].scoring
        bases = [methods.pop(name) for name in (BASE, *RESEEDED) if name in methods]
        for method, runs in methods.items():
            for seed in sorted(runs):
                scores = [base[seed][scoring] for base in bases if seed in base]
                if scores:
                    gap = 100 * (runs[seed][scoring] - np.mean(scores))
                    gaps.setdefault(method, {}).setdefault(task, []).append(gap)
    found = [difference(method, by_task) for method, by_task in gaps.items()]
    return sorted(found, key=lambda line: -line.mean)


def difference(method, gaps):
    """Return the summary of one variant's differences by task."""
    runs = np.concatenate(list(gaps.values()))
    error = runs.std(ddof=1) / len(runs) ** 0.5 if len(runs) > 1 else np.nan
    by_task = [(name.partition("-")[0], np.mean(found)) for name, found in gaps.items()]
    return Difference(method, runs.mean(), error, len(runs), by_task)


if __name__ == "__main__":
    main(__doc__, TASKS, summarise)
