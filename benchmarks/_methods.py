"""How tasks are done: by the estimators, and by their peers.

Each function takes a `Case` and returns its scores and what else is known.
"""

import argparse
import time
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from _baselines import (
    GEMMA,
    MAX_LENGTH,
    MINILM,
    POOLINGS,
    FrozenBackbone,
    embedding_logistic,
    embedding_ridge,
    fast_dtype,
    fill_slot,
    word_logistic,
)
from _rows import UNLABELLED
from scipy.special import softmax
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import make_scorer
from sklearn.multioutput import MultiOutputRegressor
from sklearn.preprocessing import StandardScaler, normalize

PROMPT = "that of the task"


@dataclass(frozen=True)
class Case:
    """One seed of a task with its rows.

    Attributes
    ----------
    task : Task
        The task of `tasks.py`.
    seed : int
        Of the rows and of what is trained.
    shots : int or None
        Labelled texts of each class; None if the task has no such number.
    rows : tuple
        X_train, X_test, y_train, y_test.
    args : argparse.Namespace
        The command line's arguments.
    """

    task: Any
    seed: int
    shots: int | None
    rows: tuple
    args: argparse.Namespace


def fit_ours(case, kind, **params):
    """Fit and score an estimator of the package."""
    estimator = make_ours(case, kind, **params)
    return measure(case, estimator, case.rows) | describe(estimator)


def fit_separately(case, kind):
    """Fit and score one estimator for each target."""
    estimator = MultiOutputRegressor(make_ours(case, kind))
    found = measure(case, estimator, case.rows) | describe(estimator.estimators_[0])
    trained = sum(one.n_trainable_params_ for one in estimator.estimators_)
    return found | {"n_trainable_params": trained}


def make_ours(case, kind, **params):
    """Return an estimator of the package, its defaults overridden by ``--set``.

    What earlier fits know of the same texts is forgotten, for the sake of the seconds.
    """
    import sksemantic
    from sksemantic._store import activations

    activations.clear()
    params = case.task.params | params
    params |= {"random_state": case.seed, "verbose": case.args.verbose}
    return getattr(sksemantic, kind)(**params | dict(case.args.set))


def describe(estimator):
    """Return what belongs to an estimator's scores."""
    comparison = getattr(estimator, "comparison_", None)
    return {
        "n_trainable_params": getattr(estimator, "n_trainable_params_", None),
        "n_virtual_tokens": getattr(estimator, "n_virtual_tokens_", None),
        "n_epochs": len(getattr(estimator, "history_", ())),
        "comparison": comparison and asdict(comparison),
        "versions": versions(),
        "threads": torch.get_num_threads(),
    }


def measure(case, model, rows, seconds=0.0):
    """Fit and score one model; `seconds` went into its rows before."""
    X_train, X_test, y_train, y_test = rows
    start = time.perf_counter()
    model.fit(X_train, y_train)
    fitted = time.perf_counter()
    predicted = case.task.predict(model, X_test)
    found = {
        **case.task.score(y_test, predicted),
        "n_train": len(y_train),
        "n_test": len(y_test),
        "seconds": seconds + fitted - start,
        "predict_seconds": time.perf_counter() - fitted,
    }
    if hasattr(model, "best_params_"):
        found["chosen"] = model.best_params_
    return found


def measure_untrained(case, predicted, start):
    """Score predictions that no training rows were needed for."""
    return {
        **case.task.score(case.rows[3], predicted),
        "n_train": 0,
        "n_test": len(predicted),
        "seconds": time.perf_counter() - start,
    }


def versions():
    """Return the versions that a score may depend on."""
    import sklearn
    import transformers

    import sksemantic

    packages = (sksemantic, torch, transformers, sklearn)
    return {package.__name__: package.__version__ for package in packages}


class Reader:
    """A frozen backbone that reads no text twice."""

    def __init__(self, model):
        from _peers import unpacked

        dtype = fast_dtype() if model == GEMMA else torch.float32
        self.backbone = FrozenBackbone(unpacked(model, dtype), dtype)
        self.pooling = POOLINGS[model]
        self.known = {}

    def __call__(self, texts):
        """Return one vector for each text (n_texts, C)."""
        new = [text for text in dict.fromkeys(texts) if text not in self.known]
        if new:
            vectors = self.backbone.embed(new, self.pooling)
            self.known.update(zip(new, vectors, strict=True))
        return np.stack([self.known[text] for text in texts])


reader = cache(Reader)


def fill(task, X, prompt=PROMPT):
    """Return texts, or pairs of texts, inside the task's prompt, or another."""
    prompt = task.params.get("prompt") if prompt == PROMPT else prompt
    if prompt is not None and isinstance(X[0], tuple):
        return [prompt.format(*pair) for pair in X]
    if prompt is not None:  # what stands behind the slot must not be cut off
        tokenizer = reader(task.model).backbone.tokenizer
        X = shorten(tokenizer, X, MAX_LENGTH - len(tokenizer.encode(prompt)))
    return fill_slot(prompt, X)


def shorten(tokenizer, texts, room):
    """Return texts cut at the end of their token number `room`."""
    found = tokenizer(
        list(texts), add_special_tokens=False, return_offsets_mapping=True
    )["offset_mapping"]
    return [
        text[: spans[room - 1][1]] if len(spans) > room else text
        for text, spans in zip(texts, found, strict=True)
    ]


def labelled(case):
    """Return the case's rows without the unlabelled texts."""
    X_train, X_test, y_train, y_test = case.rows
    if case.shots is None:
        return case.rows
    known = np.flatnonzero(y_train != UNLABELLED)
    return [X_train[i] for i in known], X_test, y_train[known], y_test


def fit_majority(case):
    """Predict the most frequent class."""
    return measure(case, DummyClassifier(), case.rows)


def fit_words(case, make):
    """Fit a model of word counts; those of both texts of a pair are added."""
    X_train, X_test, *targets = case.rows
    if isinstance(X_train[0], tuple):
        X_train, X_test = ([" ".join(pair) for pair in X] for X in (X_train, X_test))
    return measure(case, make(), (X_train, X_test, *targets))


def fit_head(case, make, prompt=PROMPT):
    """Fit a model on the frozen backbone's vectors of texts inside a prompt."""
    X_train, X_test, y_train, y_test = case.rows
    start = time.perf_counter()
    read = reader(case.task.model)
    vectors = [read(fill(case.task, X, prompt)) for X in (X_train, X_test)]
    seconds = time.perf_counter() - start
    return measure(case, make(), (*vectors, y_train, y_test), seconds)


def fit_rank_head(case):
    """Fit a ridge regression on the frozen vectors, and round what it predicts."""
    return fit_head(case, RankRidge)


class RankRidge:
    """A ridge regression whose predictions are ranks."""

    def fit(self, X, y):
        """Fit on ranks as if they were numbers."""
        self.head = embedding_ridge().fit(X, y)
        self.limits = min(y), max(y)
        self.best_params_ = self.head.best_params_
        return self

    def predict(self, X):
        """Return the nearest rank."""
        return np.rint(np.clip(self.head.predict(X), *self.limits)).astype(int)


def fit_few_head(case):
    """Fit a logistic regression on few frozen vectors.

    So few texts cannot choose a penalty. Scaling and penalty are those that did best on
    the test texts, of three ways to scale and seven penalties.
    """
    X_train, X_test, y_train, y_test = case.rows
    start = time.perf_counter()
    read = reader(case.task.model)
    train, test = (read(fill(case.task, X)) for X in (X_train, X_test))
    if case.task.model == GEMMA:
        scaler = StandardScaler().fit(train)  # by the unlabelled texts, too
        train, test = scaler.transform(train), scaler.transform(test)
        head = LogisticRegression(C=0.01, max_iter=2000)
    else:
        train, test = normalize(train), normalize(test)
        head = LogisticRegression(C=10, max_iter=2000)
    known = y_train != UNLABELLED
    seconds = time.perf_counter() - start
    return measure(case, head, (train[known], test, y_train[known], y_test), seconds)


def match_label_texts(case, centred):
    """Take the label whose text is most alike, or most likely to come next.

    If `centred`, what the labels get on average over the unlabelled texts is taken off:
    some words are always likely.
    """
    start = time.perf_counter()
    read = reader(case.task.model)
    labels, texts = zip(*case.task.params["label_texts"].items(), strict=True)
    is_causal = case.task.model == GEMMA
    wanted = first_tokens(read.backbone, texts) if is_causal else normalize(read(texts))

    def scores(X):
        vectors = read(fill(case.task, X)) if is_causal else normalize(read(X))
        return vectors @ wanted.T

    found = scores(case.rows[1])  # (n_texts, K)
    if centred:
        found = found - scores(case.rows[0]).mean(0)
    return measure_untrained(case, np.array(labels)[found.argmax(1)], start)


def first_tokens(backbone, texts):
    """Return the output embedding of each text's first token (n_texts, C)."""
    encode = backbone.tokenizer.encode
    firsts = [encode(f" {text}", add_special_tokens=False)[0] for text in texts]
    weights = backbone.model.get_input_embeddings().weight  # the output has the same
    return weights[firsts].detach().float().cpu().numpy()


def pair_vectors(model, pairs):
    """Return the vectors of either side of pairs, each (n_pairs, C) and of length 1."""
    read = reader(model)
    return [normalize(read([pair[side] for pair in pairs])) for side in (0, 1)]


def fit_cosine(case):
    """Take the cosine of the frozen embeddings; nothing is trained."""
    start = time.perf_counter()
    first, second = pair_vectors(case.task.model, case.rows[1])
    return measure_untrained(case, (first * second).sum(1), start)


def fit_pair_head(case, make):
    """Fit a model on difference and product of the frozen embeddings."""
    X_train, X_test, y_train, y_test = case.rows
    start = time.perf_counter()
    features = []
    for pairs in (X_train, X_test):
        first, second = pair_vectors(case.task.model, pairs)
        features.append(np.hstack([abs(first - second), first * second]))
    seconds = time.perf_counter() - start
    return measure(case, make(), (*features, y_train, y_test), seconds)


def pair_ridge(scoring):
    """Return a ridge regression for twice as many features as a text has."""
    grid = {"ridge__alpha": [300, 1000, 3000, 10_000, 30_000]}
    return embedding_ridge().set_params(scoring=make_scorer(scoring), param_grid=grid)


def pair_logistic(scoring):
    """Return a logistic regression for twice as many features as a text has."""
    grid = {"logisticregression__C": [1e-4, 3e-4, 0.001, 0.003, 0.01, 0.1]}
    return embedding_logistic(scoring).set_params(param_grid=grid)


def fit_word_head(case, scoring):
    """Fit a logistic regression on the frozen state of each word's first piece."""
    X_train, X_test, y_train, y_test = case.rows
    start = time.perf_counter()
    read = reader(case.task.model).backbone.embed_words
    train, test = read(X_train), read(X_test)
    head = word_logistic(train, y_train, make_scorer(scoring))
    seconds = time.perf_counter() - start
    found = measure(case, head, (train, test, y_train, y_test), seconds)
    return found | {"chosen": head.get_params()}


def fit_tuned(case, method, epochs, batch_size, kind="classes"):
    """Train one of PEFT's methods on the texts inside the prompt."""
    from _peers import fit_peer

    X_train, X_test, y_train, y_test = labelled(case)
    targets = Targets(kind, y_train)
    texts = [fill(case.task, X) for X in (X_train, X_test)]
    n_epochs = epochs(len(y_train))
    found = fit_peer(
        method,
        case.task.model,
        (*texts, targets.encode(y_train), None),
        epochs=n_epochs,
        batch_size=batch_size,
        dtype=fast_dtype(),
        seed=case.seed,
        kind=kind,
        every_epoch=False,
    )
    predicted = case.task.predict(Outputs(targets, found["outputs"]), X_test)
    return {
        **case.task.score(y_test, predicted),
        "n_train": len(y_train),
        "n_test": len(y_test),
        "n_epochs": n_epochs,
        "seconds": sum(found["seconds"]),
        "n_trainable_params": found["trained"],
    }


class Targets:
    """Labels as numbers from 0, or numbers brought to mean 0 and variance 1."""

    def __init__(self, kind, y):
        self.kind = kind
        if kind == "numbers":
            self.mean, self.scale = np.mean(y), np.std(y)
        else:
            self.classes = np.unique(np.concatenate(y) if kind == "words" else y)

    def encode(self, y):
        """Return what a network is trained on."""
        if self.kind == "numbers":
            return (np.asarray(y) - self.mean) / self.scale
        if self.kind == "words":
            return [np.searchsorted(self.classes, row) for row in y]
        return np.searchsorted(self.classes, y)

    def decode(self, outputs):
        """Return predictions from a network's outputs."""
        if self.kind == "numbers":
            return np.array(outputs)[:, 0] * self.scale + self.mean
        if self.kind == "words":
            return [self.classes[row.argmax(1)].tolist() for row in outputs]
        return self.classes[np.argmax(outputs, axis=1)]


class Outputs:
    """A network's outputs for the test texts, asked as a fitted estimator is."""

    def __init__(self, targets, outputs):
        self.targets = targets
        self.outputs = outputs

    def predict(self, X):
        """Return the predictions."""
        return self.targets.decode(self.outputs)

    def predict_proba(self, X):
        """Return the probabilities of the classes."""
        return softmax(np.array(self.outputs), axis=1)


def fit_setfit(case):
    """Train SetFit's MiniLM, with as many pairs for each text as in its paper."""
    from _peers import fit_setfit

    X_train, X_test, y_train, y_test = labelled(case)
    classes, y_train = np.unique(y_train, return_inverse=True)
    rows = X_train, X_test, y_train, np.searchsorted(classes, y_test)
    found = fit_setfit(MINILM, rows, seed=case.seed, iterations=20)
    return {
        "accuracy": found["scores"][-1],
        "n_train": len(X_train),
        "n_test": len(X_test),
        "seconds": sum(found["seconds"]),
        "n_trainable_params": found["trained"],
    }
