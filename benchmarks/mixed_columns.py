"""Texts beside numbers: what the scores of the texts are worth to another model.

    python benchmarks/mixed_columns.py --tasks sst2,hutto,sms
    python benchmarks/mixed_columns.py --table

Each task has 400 rows to train on, of a text and of numbers, and 600 to test on. The
numbers of "sst2" and "hutto" are made: the standardised target with noise of twice its
spread added. Those of "sms" are counted in the message: characters, digits, and signs
that spam is fond of. The last model is logistic or ridge regression with a penalty by
cross-validation ("linear"), or `HistGradientBoosting...` ("trees").

text alone            the estimator itself, with its defaults
numbers alone         the last model on the numbers
cross-fitted scores   on the numbers and `CrossFittedScores(estimator)`
scores, same rows     on the numbers and scores of an estimator that has learned them
embeddings, same rows on the numbers and its `transform`
"""

import time
import warnings
from functools import partial

import data
import numpy as np
import ours
import results
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from sklearn.linear_model import LogisticRegressionCV, RidgeCV
from sklearn.metrics import accuracy_score, log_loss, r2_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tables import line, table

from sksemantic import CrossFittedScores, SKTuningClassifier, SKTuningRegressor

N_TRAIN, N_TEST, NOISE = 400, 600, 2.0
TEXT, NUMBERS = "text alone", "numbers alone"
COLUMNS = ("cross-fitted scores", "scores, same rows", "embeddings, same rows")


def noisy(texts, targets, rng):
    """Return one number a row, which says something of the target."""
    spread = (targets - targets.mean()) / targets.std()
    return (spread + NOISE * rng.standard_normal(len(targets)))[:, None]


def counts(texts, targets, rng):
    """Return what is counted in each message."""
    return np.array(
        [
            [len(text), sum(map(str.isdigit, text)), sum(map(text.count, "!£$"))]
            for text in texts
        ],
        float,
    )


TASKS = {
    "sst2": (data.load_sst2, "1", noisy),
    "hutto": (data.load_hutto, None, noisy),
    "sms": (data.load_sms, "spam", counts),
}


def split(name, seed):
    """Return texts, numbers and targets to train on, then those to test on."""
    load, positive, numbers_of = TASKS[name]
    rng = np.random.default_rng(seed)
    texts, targets = load()
    rows = rng.permutation(len(texts))[: N_TRAIN + N_TEST]
    texts = np.array(texts, object)[rows]
    targets = np.array(targets)[rows]
    targets = targets if positive is None else (targets == positive).astype(int)
    given = texts, numbers_of(texts, targets, rng), targets
    return [each[:N_TRAIN] for each in given], [each[N_TRAIN:] for each in given]


def last_models(is_regression):
    """Return the models that read all columns, by name."""
    if is_regression:
        linear, trees = RidgeCV(np.logspace(-2, 5, 15)), HistGradientBoostingRegressor
    else:
        penalties = {"Cs": np.logspace(-5, 2, 8), "max_iter": 2000}
        linear = LogisticRegressionCV(scoring="neg_log_loss", **penalties)
        trees = HistGradientBoostingClassifier
    return {
        "linear": make_pipeline(StandardScaler(), linear),
        "trees": trees(random_state=0),
    }


def measure(name, seed):
    """Fit everything on one draw of rows; what is measured, by model and columns."""
    (texts, numbers, y), (texts_test, numbers_test, y_test) = split(name, seed)
    is_regression = TASKS[name][1] is None
    estimator = SKTuningRegressor if is_regression else SKTuningClassifier
    start = time.process_time()
    scores = CrossFittedScores(estimator(random_state=seed))
    unseen = scores.fit_transform(texts, y)
    seconds = time.process_time() - start
    fitted = scores.estimator_
    columns = {
        COLUMNS[0]: (unseen, scores.transform(texts_test)),
        COLUMNS[1]: (scores.transform(texts), scores.transform(texts_test)),
        COLUMNS[2]: (fitted.transform(texts), fitted.transform(texts_test)),
    }
    given = {NUMBERS: (numbers, numbers_test)} | {
        what: (np.hstack([train, numbers]), np.hstack([test, numbers_test]))
        for what, (train, test) in columns.items()
    }
    found = {}
    for measured, function in MEASURES[is_regression].items():
        found[measured] = {TEXT: function(fitted, texts_test, y_test)}
    for kind, model in last_models(is_regression).items():
        for what, (train, test) in given.items():
            model.fit(train, y)
            for measured, function in MEASURES[is_regression].items():
                found[measured][f"{kind}: {what}"] = function(model, test, y_test)
    return {"cpu_seconds": round(seconds, 1), "scores": found}


def accuracy_of(model, X, y):
    """Return the share of rows that a classifier gets right."""
    return accuracy_score(y, model.predict(X))


def log_loss_of(model, X, y):
    """Return the log-loss of a classifier's probabilities: lower is better."""
    return log_loss(y, model.predict_proba(X))


def r2_of(model, X, y):
    """Return a regressor's R2."""
    return r2_score(y, model.predict(X))


MEASURES = {
    False: {"accuracy": accuracy_of, "log-loss": log_loss_of},
    True: {"R2": r2_of},
}


def plan(args):
    """Yield the head of every run, and what is called to run it."""
    warnings.simplefilter("ignore")
    for name in TASKS if args.tasks in ([], ["all"]) else args.tasks:
        for seed in range(args.first_seed, args.first_seed + args.seeds):
            head = {"task": name, "method": "ours", "seed": seed}
            head["defaults"] = results.defaults_id(ours.defaults)
            yield head, partial(measure, name, seed)


def mixed_table(rows):
    """Return a line for each task, measure and last model: means over the draws."""
    lines = []
    for name in TASKS:
        group = [row["scores"] for row in rows if row["task"] == name]
        for measured in group[0] if group else ():
            for kind in ("linear", "trees"):
                names = [TEXT, *(f"{kind}: {what}" for what in (NUMBERS, *COLUMNS))]
                values = [[each[measured][key] for each in group] for key in names]
                means = [f"{np.mean(each):.3f}" for each in values]
                lines.append(line([name, len(group), measured, kind, *means]))
    heading = ["task", "draws", "measure", "last model", TEXT, NUMBERS, *COLUMNS]
    return table(heading, lines)


def tables(rows):
    """Return the table by name."""
    return {"mixed columns": mixed_table(rows)}


def main():
    """Run what is missing, and print the table."""
    args = results.parser(
        __doc__, "mixed_columns.jsonl", f"{', '.join(TASKS)}, all"
    ).parse_args()
    n_failed = 0 if args.table else results.run_missing(plan(args), args.file)
    print("\n".join(mixed_table(results.read(args.file))))
    results.finish(n_failed)


if __name__ == "__main__":
    main()
