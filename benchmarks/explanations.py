"""Explanations of single predictions, beside those of LIME and SHAP.

    python benchmarks/explanations.py --tasks sst2,news
    python benchmarks/explanations.py --table

An estimator with its defaults is fitted on 1,000 texts, and its predictions for some
test texts are explained, one text a call. Each explanation is judged by what the words
that it names do to the probability of the predicted class, see `faithfulness.py`. The
texts "news" are the first 40 words of BBC's articles: headline, and a sentence or two.

ours, METHOD         `explain(method=METHOD)`
LIME                 5,000 samples, its default
LIME, 500 samples    a tenth of it
SHAP                 500 evaluations, its default; words are hidden by "..."
SHAP, words left out the same, but words are left out, as they are where it is judged
random               words in a random order
"""

import time
import warnings
from functools import cache, partial
from pathlib import Path

import numpy as np
import ours
import results
import splits
from faithfulness import measure
from peers.explainers import lime_scores, shap_scores
from tables import line, table

from sksemantic import SKTuningClassifier
from sksemantic._inputs.words import split_words

N_TRAINED, N_TEXTS, BLOCK = 1000, 200, 10
N_WORDS = 40  # of an article


def news(size, seed):
    """Return the split of the articles of BBC, cut to their first words."""
    X, X_test, *y = splits.split_random(size, seed, splits.articles)
    cut = [[" ".join(text.split()[:N_WORDS]) for text in each] for each in (X, X_test)]
    return *cut, *y


TASKS = {"sst2": splits.split_sst2, "news": news}


def explain_ours(clf, text, column, seed, **options):
    """Return the scores of `explain` for the predicted class."""
    (found,) = clf.explain([text], **options)
    return found.scores[:, column]


def explain_randomly(clf, text, column, seed):
    """Return scores without any meaning."""
    return np.random.RandomState(seed).random_sample(len(split_words(text)))


def of_peer(function, **options):
    """Return a function of an estimator from one of `predict_proba`."""
    return lambda clf, *args: function(clf.predict_proba, *args, **options)


METHODS = {
    "ours, shapley": partial(explain_ours, method="shapley"),
    "ours, integrated gradients": partial(explain_ours, method="integrated_gradients"),
    "ours, occlusion": partial(explain_ours, method="occlusion"),
    "LIME": of_peer(lime_scores),
    "LIME, 500 samples": of_peer(lime_scores, n_samples=500),
    "SHAP": of_peer(shap_scores),
    "SHAP, words left out": of_peer(shap_scores, mask_token=""),
    "random": explain_randomly,
}


@cache
def fitted(name, seed, folder):
    """Return an estimator, fitted or read from a folder, and the test texts."""
    X, X_test, y, _ = TASKS[name](N_TRAINED, seed)
    saved = None if folder is None else folder / f"{name}-{seed}"
    if saved is not None and saved.exists():
        clf = SKTuningClassifier.from_pretrained(saved)
    else:
        clf = SKTuningClassifier(random_state=seed).fit(X, y)
        if saved is not None:
            clf.save_pretrained(saved)
    rows = np.random.RandomState(seed).permutation(len(X_test))
    texts = [X_test[i] for i in rows if split_words(X_test[i])]
    return clf, texts[:N_TEXTS]


def explain_block(name, seed, method, first, folder=None):
    """Explain and judge some texts, and return what is measured, text by text."""
    clf, texts = fitted(name, seed, folder)
    explain = METHODS[method]
    explain(clf, "a film", 0, seed)  # what is compiled or read at the first call
    found, seconds, cpu_seconds = [], 0.0, 0.0
    for i, text in enumerate(texts[first : first + BLOCK], start=first):
        column = int(clf.predict_proba([text])[0].argmax())
        start, cpu = time.perf_counter(), time.process_time()
        scores = explain(clf, text, column, seed + i)
        seconds += time.perf_counter() - start
        cpu_seconds += time.process_time() - cpu
        spans = [word.span() for word in split_words(text)]
        found.append(measure(clf.predict_proba, text, spans, scores, column))
    return {
        "seconds": round(seconds, 3),
        "cpu_seconds": round(cpu_seconds, 3),
        "n_texts": len(found),
        "texts": found,
    }


def plan(args):
    """Yield the head of every run, and what is called to run it."""
    warnings.simplefilter("ignore")
    names = TASKS if args.tasks in ([], ["all"]) else args.tasks
    for name in names:
        for seed in range(args.first_seed, args.first_seed + args.seeds):
            for method in args.methods or METHODS:
                for first in range(0, args.limit or N_TEXTS, BLOCK):
                    head = {"task": name, "method": method, "seed": seed}
                    head["first_text"] = first
                    head["defaults"] = results.defaults_id(ours.defaults)
                    yield (
                        head,
                        partial(explain_block, name, seed, method, first, args.models),
                    )


COLUMNS = {
    "normalized_comprehensiveness": "comprehensiveness, normalised",
    "normalized_sufficiency": "sufficiency, normalised",
    "comprehensiveness": "comprehensiveness",
    "sufficiency": "sufficiency (lower is better)",
}


def explanations_table(rows):
    """Return a line for each task and method, of the texts that all of them have."""
    found, blocks = {}, {}
    for row in rows:
        found.setdefault((row["task"], row["method"]), []).append(row)
    for (task, _), group in found.items():
        own = {row["first_text"] for row in group}
        blocks[task] = blocks.get(task, own) & own
    lines = []
    for (task, method), group in sorted(found.items(), key=place):
        group = [row for row in group if row["first_text"] in blocks[task]]
        texts = [text for row in group for text in row["texts"]]
        cells = [task, method, len(texts)]
        for name in COLUMNS:
            values = [text[name] for text in texts if name in text]
            cells.append(f"{np.mean(values):.3f}" if values else "")
        cpu_seconds = sum(row["cpu_seconds"] for row in group)
        cells.append(f"{cpu_seconds / len(texts):.2f}")
        lines.append(line(cells))
    heading = ["task", "method", "texts", *COLUMNS.values()]
    return table([*heading, "processor seconds a text"], lines)


def place(item):
    """Return where a line belongs: tasks and methods in the order of this file."""
    (task, method), _ = item
    return [*TASKS].index(task), [*METHODS].index(method)


def tables(rows):
    """Return the table by name."""
    return {"explanations": explanations_table(rows)}


def main():
    """Run what is missing, and print the table."""
    parser = results.parser(__doc__, "explanations.jsonl", f"{', '.join(TASKS)}, all")
    parser.add_argument("--models", type=Path, help="where fitted estimators are kept")
    args = parser.parse_args()
    n_failed = 0 if args.table else results.run_missing(plan(args), args.file)
    print("\n".join(explanations_table(results.read(args.file))))
    results.finish(n_failed)


if __name__ == "__main__":
    main()
