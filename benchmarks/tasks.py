"""Held-out scores on every kind of task, beside the peers of its kind.

Pairs of texts, several targets, several labels, ordered classes, labels of words, a
rare class, and few or no labelled texts; `accuracy.py` has the plain tasks. Every seed
draws its own training rows where there is something to draw. With ``--json FILE`` each
result is appended as soon as it is there, and what the file already has is not run
again; ``--report FILE`` prints its tables.
"""

import argparse
import gc
import json
import sys
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from _baselines import (
    GEMMA,
    MINILM,
    embedding_logistic,
    embedding_one_vs_rest,
    embedding_ridge,
    tfidf_logistic,
    tfidf_one_vs_rest,
)
from _data import data_folder, load_conll2003, load_rte, load_stsb, load_wnut
from _methods import (
    Case,
    fit_cosine,
    fit_few_head,
    fit_head,
    fit_lora,
    fit_majority,
    fit_ours,
    fit_pair_head,
    fit_rank_head,
    fit_separately,
    fit_setfit,
    fit_word_head,
    fit_words,
    match_label_texts,
    reader,
)
from _rows import (
    SHOTS,
    TARGETS,
    entity_types,
    ranks,
    spam,
    split_few,
    split_official,
    split_random,
    sst2,
    targets,
    trec,
)
from accuracy import REVIEW_PROMPT, mark, mean, method_label, override
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    f1_score,
    mean_absolute_error,
    r2_score,
)

PAIR_PROMPT = "{0}\nQuestion: {1} True or false?\nAnswer:"
QUESTION_PROMPT = 'Question: "{text}"\nThe answer to this question is a'
CLASSIFIER, REGRESSOR = "SKTuningClassifier", "SKTuningRegressor"
WORDS = "SKTuningTokenClassifier"
SEPARATE = f"{REGRESSOR}, one per target"
ORDINAL = f"{CLASSIFIER}, ordinal"


@dataclass(frozen=True)
class Bar:
    """What the mean over the seeds should reach.

    Attributes
    ----------
    amount : float
        The score itself, or how far it should be ahead of the peer's.
    peer : str or None
        The method that has to be beaten.
    shots : int or None
        The labelled texts of each class with which it should.
    """

    amount: float = 0.0
    peer: str | None = None
    shots: int | None = None


@dataclass(frozen=True)
class Method:
    """One way to do a task.

    Attributes
    ----------
    run : callable
        Called with a `Case`, returns its scores and what else is known.
    seeded : bool
        Whether seeds differ on the same rows.
    shots : tuple or None
        The numbers of labelled texts of each class that it works with; None is any.
    across : bool
        Whether it does the same for each model: other tasks' results hold here, too.
    """

    run: Callable
    seeded: bool = False
    shots: tuple | None = None
    across: bool = False


@dataclass(frozen=True)
class Task:
    """What is trained on what, beside which peers, and what it has to reach.

    Attributes
    ----------
    split : callable
        Called with the arguments, a seed and `shots`, returns X_train, X_test, y_train
        and y_test.
    score : callable
        Called with y_test and the predictions, returns scores by name.
    scoring : str
        The one that is compared.
    ours, peers : dict
        Methods by name. The first of ours has to pass the bars.
    bars : tuple of Bar
        What it has to reach.
    params : dict
        Of the estimators; the peers have the same model and prompt.
    predict : callable
        Called with what was fitted and with texts.
    lower : bool
        Whether a lower score is better.
    drawn : bool
        Whether each seed has its own rows.
    shots : tuple
        The numbers of labelled texts of each class, for a task on few texts.
    seeds : int
        How many there are by default.
    """

    split: Callable
    score: Callable
    scoring: str
    ours: dict
    peers: dict
    bars: tuple
    params: dict = field(default_factory=dict)
    predict: Callable = lambda model, X: model.predict(X)
    lower: bool = False
    drawn: bool = True
    shots: tuple = (None,)
    seeds: int = 3

    @property
    def model(self):
        """The backbone."""
        return self.params.get("model", MINILM)


def score_labels(y_true, y_pred):
    """Return the accuracy, and the mean F1 of the classes."""
    return {
        "accuracy": accuracy_score(y_true, y_pred),
        "f1_macro": f1_score(y_true, y_pred, average="macro"),
    }


def score_likeness(y_true, y_pred):
    """Return the correlations of Spearman and Pearson."""
    return {
        "spearman": spearman(y_true, y_pred),
        "pearson": pearsonr(y_true, y_pred).statistic,
    }


def spearman(y_true, y_pred):
    """Return the correlation of the ranks."""
    return spearmanr(y_true, y_pred).statistic


def score_targets(y_true, y_pred):
    """Return the mean R2, and that of each target."""
    each = r2_score(y_true, y_pred, multioutput="raw_values")
    return {"r2": each.mean(), **dict(zip(TARGETS, each, strict=True))}


def score_types(y_true, y_pred):
    """Return the F1 of all decisions, and the mean F1 of the types."""
    f1 = partial(f1_score, y_true, y_pred, zero_division=0)
    return {"f1_micro": f1(average="micro"), "f1_macro": f1(average="macro")}


def score_entities(y_true, y_pred):
    """Return F1, precision and recall of whole entities."""
    from seqeval import metrics

    true, found = ([list(map(str, row)) for row in rows] for rows in (y_true, y_pred))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # no entity at all was found
        return {
            "f1": metrics.f1_score(true, found),
            "precision": metrics.precision_score(true, found),
            "recall": metrics.recall_score(true, found),
        }


def entity_f1(y_true, y_pred):
    """Return the F1 of whole entities."""
    return score_entities(y_true, y_pred)["f1"]


def score_ranking(y_true, probability):
    """Return the average precision of the rare class, 1."""
    return {"average_precision": average_precision_score(y_true, probability)}


def score_ranks(y_true, y_pred):
    """Return the mean distance in ranks, and the accuracy."""
    return {
        "mae": mean_absolute_error(y_true, y_pred),
        "accuracy": accuracy_score(y_true, y_pred),
    }


def ours(kind, **params):
    """Return the method that is an estimator of the package."""
    return Method(partial(fit_ours, kind=kind, **params), seeded=True)


def on_words(make):
    """Return the method that is a model of word counts."""
    return Method(partial(fit_words, make=make))


def on_vectors(make):
    """Return the method that is a model of frozen vectors."""
    return Method(partial(fit_head, make=make))


def on_states():
    """Return the method that is a model of frozen states of words."""
    return Method(partial(fit_word_head, scoring=entity_f1))


def matched(centred):
    """Return the method that compares texts with label texts."""
    return Method(partial(match_label_texts, centred=centred), shots=(0,))


def lora(epochs, batch_size, shots=None):
    """Return the method that is LoRA; `epochs` is called with the number of rows."""
    run = partial(fit_lora, epochs=epochs, batch_size=batch_size)
    return Method(run, seeded=True, shots=shots)


def few_epochs(n_train, steps):
    """Return the epochs for that many steps of 8 texts; 5 at least."""
    return max(5, -(-steps * 8 // n_train))


def few_task(load, bars=(), **params):
    """Return a task on few labelled texts."""
    peers = ("frozen + LR", "SetFit", "LoRA")
    # With 8 texts per class of TREC, twice the steps are no better than these; with a
    # quarter of them, MiniLM is 25 points worse.
    epochs = partial(few_epochs, steps=120 if params["model"] == GEMMA else 480)
    return Task(
        split=partial(split_few, load=load),
        score=lambda y, found: {"accuracy": accuracy_score(y, found)},
        scoring="accuracy",
        ours={CLASSIFIER: ours(CLASSIFIER)},
        peers={
            "label texts": matched(centred=False),
            "label texts, centred": matched(centred=True),
            "frozen + LR": Method(fit_few_head, shots=SHOTS[1:]),
            "SetFit": Method(fit_setfit, seeded=True, shots=SHOTS[1:], across=True),
            "LoRA": lora(epochs, batch_size=8, shots=SHOTS[2:]),
        },
        bars=(*bars, *(Bar(peer=peer, shots=8) for peer in peers)),
        params=params,
        shots=SHOTS,
        seeds=5,
    )


TASKS = {
    "rte-gemma": Task(
        split=partial(split_official, load=load_rte),
        score=score_labels,
        scoring="accuracy",
        ours={CLASSIFIER: ours(CLASSIFIER)},
        peers={
            "majority": Method(fit_majority),
            "frozen + LR": on_vectors(partial(embedding_logistic, "accuracy")),
            "LoRA": lora(lambda n_train: 5, batch_size=16),
        },
        bars=(Bar(0.04, "frozen + LR"), Bar(0.08, "majority")),
        params={"model": GEMMA, "prompt": PAIR_PROMPT},
        drawn=False,
    ),
    "stsb-minilm": Task(
        split=partial(split_official, load=load_stsb),
        score=score_likeness,
        scoring="spearman",
        ours={REGRESSOR: ours(REGRESSOR)},
        peers={
            "cosine": Method(fit_cosine),
            "frozen + Ridge": Method(partial(fit_pair_head, scoring=spearman)),
        },
        bars=(Bar(0.82),),
        drawn=False,
    ),
    "hutto-multi": Task(
        split=partial(split_random, load=targets, test_size=1000, size=2000),
        score=score_targets,
        scoring="r2",
        ours={
            REGRESSOR: ours(REGRESSOR),
            SEPARATE: Method(partial(fit_separately, kind=REGRESSOR), seeded=True),
        },
        peers={"frozen + Ridge": on_vectors(embedding_ridge)},
        bars=(Bar(peer=SEPARATE),),
    ),
    "wnut-multilabel": Task(
        split=partial(split_random, load=entity_types),
        score=score_types,
        scoring="f1_micro",
        ours={CLASSIFIER: ours(CLASSIFIER)},
        peers={
            "TF-IDF + LR": on_words(tfidf_one_vs_rest),
            "frozen + LR": on_vectors(embedding_one_vs_rest),
        },
        bars=(Bar(peer="TF-IDF + LR"), Bar(peer="frozen + LR")),
    ),
    "conll-minilm": Task(
        split=partial(split_official, load=load_conll2003, size=3000),
        score=score_entities,
        scoring="f1",
        ours={WORDS: ours(WORDS)},
        peers={"frozen + LR": on_states()},
        bars=(Bar(0.72), Bar(0.08, "frozen + LR")),
    ),
    "wnut-ner": Task(
        split=partial(split_random, load=load_wnut),
        score=score_entities,
        scoring="f1",
        ours={WORDS: ours(WORDS)},
        peers={"frozen + LR": on_states()},
        bars=(Bar(peer="frozen + LR"),),
    ),
    "sms-spam": Task(
        split=partial(split_random, load=spam),
        score=score_ranking,
        scoring="average_precision",
        ours={CLASSIFIER: ours(CLASSIFIER)},
        peers={
            "TF-IDF + LR": on_words(partial(tfidf_logistic, "average_precision")),
            "frozen + LR": on_vectors(partial(embedding_logistic, "average_precision")),
        },
        bars=(Bar(peer="TF-IDF + LR"),),
        predict=lambda model, X: model.predict_proba(X)[:, 1],
    ),
    "ordinal": Task(
        split=partial(split_random, load=ranks, test_size=2000, size=2000),
        score=score_ranks,
        scoring="mae",
        ours={ORDINAL: ours(CLASSIFIER, ordinal=True), CLASSIFIER: ours(CLASSIFIER)},
        peers={
            "frozen + LR": on_vectors(
                partial(embedding_logistic, "neg_mean_absolute_error")
            ),
            "frozen + Ridge, rounded": Method(fit_rank_head),
        },
        bars=(Bar(peer=CLASSIFIER),),
        lower=True,
    ),
    "fewshot-sst2-gemma": few_task(
        sst2,
        bars=(Bar(0.78, shots=0),),
        model=GEMMA,
        prompt=REVIEW_PROMPT,
        label_texts={0: "terrible", 1: "great"},
    ),
    "fewshot-sst2-minilm": few_task(
        sst2,
        model=MINILM,
        prompt=None,
        label_texts={0: "a bad, terrible movie", 1: "a good, great movie"},
    ),
    "fewshot-trec-gemma": few_task(
        trec,
        model=GEMMA,
        prompt=QUESTION_PROMPT,
        label_texts={
            0: "abbreviation",
            1: "definition",
            2: "thing",
            3: "person",
            4: "place",
            5: "number",
        },
    ),
    "fewshot-trec-minilm": few_task(
        trec,
        model=MINILM,
        prompt=None,
        label_texts={
            0: "What does this abbreviation stand for?",
            1: "What does this word mean? How does it work?",
            2: "What thing, animal, color, food or product is it?",
            3: "Who is the person?",
            4: "Where is the place? What city or country?",
            5: "How many? How much? When?",
        },
    ),
}


def run_tasks(args, results):
    """Yield the results that are not there yet; None for a method that failed."""
    for name in chosen_tasks(args):
        yield from run_task(name, args, results)
        reader.cache_clear()
        gc.collect()


def chosen_tasks(args):
    """Return the names of the tasks to run and to report."""
    return list(TASKS) if "all" in args.task else args.task


def run_task(name, args, results):
    """Yield one result for each method, number of labelled texts, and seed."""
    task, rows = TASKS[name], {}
    for head, method in plan(name, args):
        if any(same(head, result) for result in results):
            continue
        seed, shots = head["seed"], head["shots"]
        known = [r for r in results if method.across and same_data(head, r)]
        if known:
            yield known[0] | head
            continue
        if (seed, shots) not in rows:
            rows[seed, shots] = task.split(args, seed, shots)
        case = Case(task, seed, shots, rows[seed, shots], args)
        try:
            yield head | method.run(case)
        except Exception:  # the others go on
            print(f"{head} failed:\n{traceback.format_exc()}", flush=True)
            yield None


def plan(name, args):
    """Yield what identifies each result of a task, and its method; ours come first."""
    task = TASKS[name]
    seeds = range(args.first_seed, args.first_seed + (args.seeds or task.seeds))
    overrides = {key: str(value) for key, value in args.set}
    for group, own in ((task.ours, True), (task.peers, False)):
        if not (args.ours if own else args.baselines):
            continue
        chosen = {key: group[key] for key in group if key in (args.only or group)}
        for seed in seeds:
            for label, method in chosen.items():
                if seed > args.first_seed and not differs(task, method, args):
                    continue
                for shots in task.shots:
                    if wanted(method, shots, args):
                        head = {"task": name, "method": label, "seed": seed}
                        head |= {"shots": shots, "train_size": args.train_size}
                        yield head | {"overrides": overrides if own else {}}, method


def differs(task, method, args):
    """Return whether a method's result differs between the seeds."""
    return task.drawn or method.seeded or bool(args.train_size)


def wanted(method, shots, args):
    """Return whether a method is run with that many labelled texts of each class."""
    if shots is None:
        return True
    return shots in args.shots and (method.shots is None or shots in method.shots)


def same(head, result):
    """Return whether a result is that of a part of the plan."""
    return all(result[key] == value for key, value in head.items())


def same_data(head, result):
    """Return whether a result is that of another model's task on the same data."""
    data = [one["task"].rpartition("-")[0] for one in (head, result)]
    return data[0] == data[1] and same(head | {"task": result["task"]}, result)


def report(results, args):
    """Print a table for each task, number of labelled texts and training size."""
    tables = {}
    for result in results:
        if result["task"] in chosen_tasks(args):
            key = (result["task"], result["shots"], result["train_size"])
            tables.setdefault(key, []).append(result)
    for (name, shots, _), rows in sorted(tables.items(), key=by_plan):
        task = TASKS[name]
        size = f"{max(row['n_train'] for row in rows)} training rows"
        if shots is not None:
            size = f"{shots} labelled texts per class"
        print(f"\n{name}: {task.scoring}, {size}, {rows[0]['n_test']} test rows")
        report_task(task, shots, rows)


def by_plan(table):
    """Return where a table belongs."""
    name, shots, train_size = table[0]
    return list(TASKS).index(name), shots or 0, train_size or 0


def report_task(task, shots, results):
    """Print mean, seconds and seeds of each method, and whether the bars are passed."""
    groups = {}
    for result in results:  # a seed that was run again replaces its earlier result
        groups.setdefault(method_label(result), {})[result["seed"]] = result
    groups = {label: list(runs.values()) for label, runs in groups.items()}
    width = max(map(len, groups))
    heading = "seeds (* the closed form was kept)"
    print(f"{'':{width}}     mean   seconds  trained  {heading}")
    for label, runs in groups.items():
        print(f"{label:{width}}  {summary(task, runs)}")
    main = next(iter(task.ours))
    for label, runs in groups.items():
        if runs[0]["method"] == main:
            for bar in task.bars:
                if bar.shots == shots:
                    print(f"{label}: {verdict(task, bar, runs, groups)}")


def summary(task, runs):
    """Return one line: mean, seconds, trained parameters, every seed, other scores."""
    seeds = " ".join(f"{run[task.scoring]:.3f}{mark(run)}" for run in runs)
    trained = runs[0].get("n_trainable_params") or ""
    line = f"{mean(runs, task.scoring):7.3f}  {mean(runs, 'seconds'):8.1f}"
    line += f"  {trained:>7}  {seeds}"
    others = [f"{name} {mean(runs, name):.3f}" for name in other_scores(task, runs)]
    return f"{line}  ({', '.join(others)})" if others else line


def other_scores(task, runs):
    """Return the scores besides the one that is compared."""
    names = ("accuracy", "f1_macro", "pearson", "precision", "recall", *TARGETS)
    return [name for name in names if name in runs[0] and name != task.scoring]


def verdict(task, bar, runs, groups):
    """Return whether the mean over the seeds passes a bar."""
    reached = mean(runs, task.scoring)
    sign = -1 if task.lower else 1
    if bar.peer is None:
        passed = sign * (reached - bar.amount) >= 0
        return f"bar {bar.amount:.3f} {'reached' if passed else 'MISSED'}"
    label = method_label(runs[0] | {"method": bar.peer})  # with the same overrides
    peers = groups.get(label, groups.get(bar.peer))
    if peers is None:
        return f"bar {bar.peer} is not there"
    other = mean(peers, task.scoring)
    ahead = sign * (reached - other)
    passed = ahead >= bar.amount if bar.amount else ahead > 0
    line = f"bar {bar.peer} {other:.3f}"
    line += f" by {bar.amount:.3f}" if bar.amount else ""
    return f"{line}: {ahead:+.3f} {'reached' if passed else 'MISSED'}"


def parse_args():
    """Return the command line's arguments."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--task", nargs="+", choices=[*TASKS, "all"], default=["all"])
    add("--seeds", type=int, help="number of seeds (default: 3; 5 on few texts)")
    add("--first-seed", type=int, default=0, help="default: 0")
    add("--train-size", type=int, help="train on this many rows; 0 is all of them")
    add("--shots", type=int, nargs="+", choices=SHOTS, default=SHOTS)
    add("--set", type=override, action="append", default=[], metavar="NAME=VALUE")
    add("--only", nargs="+", metavar="METHOD", help="these methods alone")
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--no-baselines", dest="baselines", action="store_false")
    only.add_argument("--only-baselines", dest="ours", action="store_false")
    add("--data", type=Path, default=data_folder(), help="folder that holds rte/")
    add("--json", type=Path, metavar="FILE", help="append each result to this file")
    add(
        "--report", type=Path, metavar="FILE", help="print this file's tables, run none"
    )
    add("--verbose", type=int, default=0)
    return parser.parse_args()


def read_results(file):
    """Return the results of a file; none if it does not exist yet."""
    if file is None or not file.exists():
        return []
    return [json.loads(line) for line in file.open()]


def main():
    """Run what is missing and print the tables."""
    args = parse_args()
    if args.report:
        return report(read_results(args.report), args)
    results = read_results(args.json)
    n_failed = 0
    for result in run_tasks(args, results):
        if result is None:
            n_failed += 1
            continue
        line = json.dumps(result, default=float)
        results.append(json.loads(line))
        print(line, flush=True)
        if args.json:
            with args.json.open("a") as file:
                file.write(line + "\n")
    report(results, args)
    if n_failed:
        sys.exit(f"{n_failed} methods failed, see above")


if __name__ == "__main__":
    main()
