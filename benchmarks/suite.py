"""The estimators beside their peers: development tasks, sizes, backbones and seeds.

A task is named after its data, training rows and backbone: ``trec6-1000-minilm``.
Methods that train a network do so for as many epochs as the estimator, in batches of
the same size, and read the same texts inside the same prompt. After the tables of
`_runner.py` come the average ranks over all tasks that every method has done, with the
critical difference of Nemenyi's test, and how often the estimator won, tied and lost.
"""

from dataclasses import replace
from functools import partial

import numpy as np
from _baselines import (
    ENTAILMENT_PROMPT,
    GEMMA,
    MINILM,
    QUESTION_PROMPT,
    REVIEW_PROMPT,
    embedding_logistic,
    embedding_ridge,
    tfidf_logistic,
    tfidf_ridge,
)
from _data import load_conll2003, load_hutto, load_rte, load_stsb, load_trec
from _methods import fit_pair_head, fit_setfit, pair_logistic, pair_ridge
from _ranks import duel, rank
from _rows import (
    articles,
    films,
    spam,
    split_grouped,
    split_official,
    split_random,
    split_sst2,
)
from _runner import (
    CLASSIFIER,
    REGRESSOR,
    WORDS,
    Method,
    Task,
    by_seed,
    chosen_tasks,
    main,
    method_label,
    on_states,
    on_vectors,
    on_words,
    ours,
    tuned,
)
from _scores import (
    score_entities,
    score_labels,
    score_likeness,
    score_numbers,
    score_ranking,
    spearman,
)

SIZES = (200, 1000, 4000)
PEFT = ("LoRA", "prefix tuning", "prompt tuning", "P-tuning")
FASTER = "LoRA at 3e-3"
# PEFT's other two fail on labels of tokens.
FOR_WORDS = ("LoRA", "prefix tuning", FASTER)
BATCH_SIZE = 32
OURS = "ours"
BACKBONES = {"minilm": MINILM, "gemma": GEMMA}

PROMPTS = {
    "sst2": REVIEW_PROMPT,
    "rotten": REVIEW_PROMPT,
    "hutto": REVIEW_PROMPT,
    "trec6": QUESTION_PROMPT,
    "trec50": QUESTION_PROMPT,
    "rte": ENTAILMENT_PROMPT,
    "stsb": 'First: "{0}"\nSecond: "{1}"\nHow alike the two are:',
    "sms": 'Text message: "{text}"\nIs this message spam? Answer:',
    "bbc": 'News article: "{text}"\nThe section of this article is',
}
WITHOUT_CAUSAL = ("conll",)  # a causal model has not read what follows a word


def epochs(n_train, model):
    """Return the estimator's own number of epochs, for all methods."""
    fewest = 5 if model == GEMMA else 6
    steps = -(-n_train // BATCH_SIZE)
    return min(30, max(fewest, -(-120 // steps)))


def with_peft(model, kind="classes"):
    """Return PEFT's methods by name."""
    count = partial(epochs, model=model)
    names = FOR_WORDS if kind == "words" else (*PEFT, FASTER)
    return {name: tuned(name, count, BATCH_SIZE, kind=kind) for name in names}


def classification(model, params, split, scoring="accuracy", **others):
    """Return a task of single texts."""
    words = partial(tfidf_logistic, scoring)
    return Task(
        split=split,
        score=others.pop("score", score_labels),
        scoring=scoring,
        ours={CLASSIFIER: ours(CLASSIFIER)},
        peers={
            **with_peft(model),
            "frozen + linear": on_vectors(partial(embedding_logistic, scoring)),
            "TF-IDF + linear": on_words(words, across=True),
        },
        bars=(),
        params=params,
        **others,
    )


def regression(model, params, split):
    """Return a task of single texts and numbers."""
    return Task(
        split=split,
        score=score_numbers,
        scoring="r2",
        ours={REGRESSOR: ours(REGRESSOR)},
        peers={
            **with_peft(model, "numbers"),
            "frozen + linear": on_vectors(embedding_ridge),
            "TF-IDF + linear": on_words(tfidf_ridge, across=True),
        },
        bars=(),
        params=params,
    )


def entailment(model, params, split):
    """Return a task of pairs and classes."""
    return of_pairs(
        classification(model, params, split), partial(pair_logistic, "accuracy")
    )


def likeness(model, params, split):
    """Return a task of pairs and numbers."""
    task = regression(model, params, split)
    task = replace(task, score=score_likeness, scoring="spearman")
    return of_pairs(task, partial(pair_ridge, spearman))


def of_pairs(task, make):
    """Return a task with the peers of pairs; an encoder reads their texts apart."""
    peers = dict(task.peers)
    if task.model == MINILM:
        peers["frozen + linear"] = Method(partial(fit_pair_head, make=make))
    else:
        peers["frozen + linear"] = on_vectors(make)
    return replace(task, peers=peers)


def entities(model, params, split):
    """Return a task of words."""
    return Task(
        split=split,
        score=score_entities,
        scoring="f1",
        ours={WORDS: ours(WORDS)},
        peers={**with_peft(model, "words"), "frozen + linear": on_states()},
        bars=(),
        params=params,
    )


def spam_task(model, params, split):
    """Return the task of a rare class."""
    return classification(
        model,
        params,
        split,
        "average_precision",
        score=score_ranking,
        predict=lambda model, X: model.predict_proba(X)[:, 1],
    )


SOURCES = {
    "sst2": (classification, split_sst2),
    "rotten": (classification, partial(split_grouped, load=films)),
    "trec6": (classification, partial(split_random, load=load_trec)),
    "trec50": (
        classification,
        partial(split_random, load=partial(load_trec, fine=True)),
    ),
    "bbc": (classification, partial(split_random, load=articles)),
    "sms": (spam_task, partial(split_random, load=spam)),
    "hutto": (regression, partial(split_random, load=load_hutto, test_size=1000)),
    # The 277 official ones have a standard error of three points.
    "rte": (entailment, partial(split_official, load=load_rte, spare=True)),
    "stsb": (likeness, partial(split_official, load=load_stsb)),
    "conll": (entities, partial(split_official, load=load_conll2003)),
}
SETFIT = ("sst2", "rotten", "trec6", "trec50")  # with 200 texts; it is made for few
MOST = {"rte": 2490, "bbc": 1780}  # training rows there are


def make_tasks():
    """Return all tasks by name."""
    tasks = {}
    for size in SIZES:
        for name, (make, split) in SOURCES.items():
            for short, model in BACKBONES.items():
                is_there = size <= MOST.get(name, size)
                if is_there and (model == MINILM or name not in WITHOUT_CAUSAL):
                    params = {"model": model}
                    params |= {"prompt": PROMPTS[name]} if model == GEMMA else {}
                    task = make(model, params, partial(split, size=size))
                    if size == min(SIZES) and model == MINILM and name in SETFIT:
                        setfit = Method(fit_setfit, seeded=True)
                        task = replace(task, peers={**task.peers, "SetFit": setfit})
                    tasks[f"{name}-{size}-{short}"] = task
    return tasks


TASKS = make_tasks()


def summarise(tasks, results, args):
    """Print average ranks, and wins, ties and losses against each peer."""
    for short in (*BACKBONES, ""):
        chosen = [
            result
            for result in results
            if result["task"] in chosen_tasks(tasks, args)
            and result["task"].endswith(short)
            and result["train_size"] == args.train_size
        ]
        cells = scores_by_task(tasks, chosen)
        for methods in ([OURS, *PEFT], None):
            ranks = rank(cells, methods)
            if ranks is not None:
                line = f"{ranks.n_tasks} tasks of {ranks.n_data} data sets"
                print(f"\n{short or 'all'}: {line} that all of these have done")
                report_ranks(ranks)
        report_duels(cells)


def scores_by_task(tasks, results):
    """Return the scores by task, method and seed; higher is better."""
    return {
        name: {
            method: {seed: run[tasks[name].scoring] for seed, run in runs.items()}
            for method, runs in methods.items()
        }
        for name, methods in by_seed(results, label).items()
    }


def label(result):
    """Return the method, with overridden parameters; the estimators are ours."""
    name = method_label(result)
    is_ours = result["method"] in (CLASSIFIER, REGRESSOR, WORDS)
    return OURS + name.removeprefix(result["method"]) if is_ours else name


def report_ranks(ranks):
    """Print average ranks, 1 the best."""
    for method, mean_rank, score in zip(
        ranks.methods, ranks.means, ranks.scores, strict=True
    ):
        print(f"  {method:20} rank {mean_rank:.2f}, mean score {score:.3f}")
    if np.isfinite(ranks.critical):
        print(
            f"  Friedman p = {ranks.p_value:.2g}; critical difference "
            f"{ranks.critical:.2f} ranks"
        )


def report_duels(cells):
    """Print how often ours won, tied and lost, and by how much."""
    for peer in sorted({method for cell in cells.values() for method in cell} - {OURS}):
        found = duel(cells, OURS, peer)
        if found:
            print(
                f"  {OURS} against {peer:20} won {found.won}, tied {found.tied}, lost "
                f"{found.lost}; mean {found.mean:+.3f}, median {found.median:+.3f}, "
                f"worst {found.worst:+.3f}"
            )


if __name__ == "__main__":
    main(__doc__, TASKS, summarise)
