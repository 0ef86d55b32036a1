"""Log-loss and calibration error of probabilities, beside the linear probe's.

    python benchmarks/calibration.py --tasks all --seeds 3
    python benchmarks/calibration.py --table

"ours" is the estimator with its defaults, "raw" the same fit without its temperature.
"probe" is the linear probe of such a fit: at so high a learning rate training is worse,
and the estimator falls back to it.
"""

import warnings
from statistics import median

import ours
import results
from catalogue import task_named
from scores import calibration_error, log_loss_of, probability_rows
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegressionCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from tasks import Case

import sksemantic

KINDS = ("sst2", "rotten", "trec6", "sms", "rte", "conll", "wnut-types", "ordinal")
SIZES = (200, 1000)
METHODS = ("ours", "probe", "tfidf")
MAX_TEST = 1500
FALLS_BACK = {"lr": 1e6, "training__head_lr": 1e6, "max_epochs": 1}


def plan(args):
    """Yield the head of every run, and what is called to run it."""
    every = [f"{kind}-{size}-minilm" for kind in KINDS for size in SIZES]
    for name in every if args.tasks == ["all"] else args.tasks:
        task = task_named(name, args.limit)
        for method in args.methods or METHODS:
            if method == "tfidf" and task.kind == "words":
                continue
            for seed in range(args.first_seed, args.first_seed + args.seeds):
                head = {"task": task.name, "method": method, "seed": seed}
                if method != "tfidf":
                    head["defaults"] = results.defaults_id(ours.defaults)
                yield head, lambda t=task, m=method, s=seed: run(t, m, s)


def run(task, method, seed):
    """Fit one method, and score its probabilities on the test rows."""
    case = Case(task, seed, task.split(seed), {})
    X, X_test, y, y_test = case.rows
    X_test, y_test = X_test[:MAX_TEST], y_test[:MAX_TEST]
    model = tfidf(task) if method == "tfidf" else estimator(case, method)
    as_texts = method == "tfidf" and isinstance(X[0], tuple)
    join = (lambda rows: [" ".join(row) for row in rows]) if as_texts else (lambda X: X)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(join(X), y)
    if method == "probe" and model.comparison_.kept != "linear_probe":
        raise RuntimeError("training was kept: this is not the linear probe")
    rows = probability_rows(task.kind, model, join(X_test), y_test)
    found = {"scores": score(*rows)}
    if method == "ours":
        found["temperature"] = model.temperature_
        if not settings_of(task):  # steps of ordered classes have temperatures alone
            found["raw"] = score(*rows, temperature=1 / model.temperature_)
    return found


def settings_of(task):
    """Return what is set for a task."""
    return {"ordinal": True} if task.name.startswith("ordinal") else {}


def estimator(case, method):
    """Return ours, or one that falls back to the linear probe."""
    settings = settings_of(case.task)
    if method == "probe":
        settings |= FALLS_BACK
    sksemantic.clear_cache()
    return ours.make_ours(case, **settings)


def tfidf(task):
    """Return logistic regression on TF-IDF, its penalty by log-loss."""
    linear = LogisticRegressionCV(
        scoring="neg_log_loss", cv=3, max_iter=1000, use_legacy_attributes=False
    )
    several = OneVsRestClassifier(linear) if task.kind == "labels" else linear
    return make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), several
    )


def score(probabilities, targets, temperature=1.0):
    """Return log-loss and expected calibration error."""
    return {
        "log_loss": log_loss_of(probabilities, targets, temperature),
        "ece": calibration_error(probabilities, targets, temperature),
    }


def table(rows):
    """Return one line for each task: medians over the seeds."""
    lines = [
        "| task | log-loss: ours | raw | linear probe | TF-IDF | ours / probe "
        "| ECE: ours | raw | linear probe |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for task in dict.fromkeys(row["task"] for row in rows):
        of = {
            m: [r for r in rows if (r["task"], r["method"]) == (task, m)]
            for m in METHODS
        }
        if not (of["ours"] and of["probe"]):
            continue

        def mid(method, name, key="scores", of=of):
            values = [row[key][name] for row in of[method] if key in row]
            return median(values) if values else float("nan")

        loss = [mid("ours", "log_loss"), mid("ours", "log_loss", "raw")]
        loss += [mid("probe", "log_loss"), mid("tfidf", "log_loss")]
        error = [mid("ours", "ece"), mid("ours", "ece", "raw"), mid("probe", "ece")]
        cells = [*loss, loss[0] / loss[2], *error]
        lines.append(
            f"| {task} | " + " | ".join(f"{cell:.3f}" for cell in cells) + " |"
        )
    return lines


def main():
    """Run what is missing, and print the table."""
    args = results.parser(__doc__, "calibration.jsonl", "16 cells, or all").parse_args()
    n_failed = 0 if args.table else results.run_missing(plan(args), args.file)
    print("\n".join(table(results.read(args.file))))
    results.finish(n_failed)


if __name__ == "__main__":
    main()
