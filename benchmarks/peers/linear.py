"""Linear models of word counts and of frozen states, and peers that are not trained.

Each is called with a `Case` of `tasks.py` and returns the outcome. The penalties are
chosen by cross-validation, by the very score that is compared.
"""

import time

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.dummy import DummyClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import make_scorer
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, normalize
from splits import UNLABELLED, labelled

from peers.frozen import GEMMA, MAX_LENGTH, reader

# Penalties to choose from: C of logistic regressions, alpha of ridge regressions. Those
# of pairs are stronger: a pair has twice as many features as a text.
WORD_C, WORD_ALPHA = [1, 3, 10, 30, 100], [0.3, 1, 3, 10]
STATE_C, STATE_ALPHA = [0.001, 0.003, 0.01, 0.03, 0.1, 1], [1, 10, 30, 100, 300, 1000]
PAIR_C = [1e-4, 3e-4, 0.001, 0.003, 0.01, 0.1]
PAIR_ALPHA = [300, 1000, 3000, 10_000, 30_000]
LABELS_C = [0.3, 1, 3, 10, 100, 1000]  # of word counts, label by label
TAGGER_C = [0.0003, 0.001, 0.003, 0.01, 0.03, 0.1]
TAGGER_WORDS = 10_000  # as many words choose the tagger's penalty


def logistic(features, penalties, scoring):
    """Return a search for the penalty of a logistic regression."""
    model = make_pipeline(features, LogisticRegression(max_iter=2000))
    grid = {"logisticregression__C": penalties}
    return GridSearchCV(model, grid, cv=5, scoring=scoring)


def ridge(features, penalties, scoring):
    """Return a search for the penalty of a ridge regression."""
    model = make_pipeline(features, Ridge())
    return GridSearchCV(model, {"ridge__alpha": penalties}, cv=5, scoring=scoring)


def one_vs_rest(features, penalties):
    """Return a search for the penalty, and for whether rare labels weigh more."""
    heads = OneVsRestClassifier(LogisticRegression(max_iter=2000))
    grid = {
        "onevsrestclassifier__estimator__C": penalties,
        "onevsrestclassifier__estimator__class_weight": [None, "balanced"],
    }
    return GridSearchCV(make_pipeline(features, heads), grid, cv=5, scoring="f1_micro")


def linear_model(case, features, of_classes, of_numbers):
    """Return the linear model for the task, with a choice of penalties."""
    kind, scoring = case.task.kind, case.task.linear_scoring
    if kind == "labels":
        return one_vs_rest(features, of_classes)
    if kind == "numbers":
        return ridge(features, of_numbers, scoring)
    return logistic(features, of_classes, scoring)


def fit_tfidf(case):
    """Fit a model of words and word pairs; those of a pair's two texts are added."""
    X_train, X_test, *targets = case.rows
    if isinstance(X_train[0], tuple):
        X_train, X_test = ([" ".join(pair) for pair in X] for X in (X_train, X_test))
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    of_classes = LABELS_C if case.task.kind == "labels" else WORD_C
    model = linear_model(case, words, of_classes, WORD_ALPHA)
    return case.measure(model, (X_train, X_test, *targets))


def fill(case, X, prompt):
    """Return texts, or pairs of texts, inside a prompt; None for no prompt."""
    if prompt is None:
        return list(X)
    if isinstance(X[0], tuple):
        return [prompt.format(*pair) for pair in X]
    # What stands after the slot must not be cut off.
    tokenizer = reader(case.task.model).backbone.tokenizer
    X = shorten(tokenizer, X, MAX_LENGTH - len(tokenizer.encode(prompt)))
    return [prompt.replace("{text}", text) for text in X]


def shorten(tokenizer, texts, room):
    """Return texts cut at the end of their token number `room`."""
    places = tokenizer(
        list(texts), add_special_tokens=False, return_offsets_mapping=True
    )["offset_mapping"]
    return [
        text[: ends[room - 1][1]] if len(ends) > room else text
        for text, ends in zip(texts, places, strict=True)
    ]


def fit_frozen(case, prompt="", layer=None):
    """Fit a linear model on the frozen states of texts inside the task's prompt.

    With another `prompt`, None for none, that one; with a `layer`, counted from 1, on
    the states of that layer. Pairs that no prompt joins are read text by text.
    """
    X_train, X_test, y_train, y_test = case.rows
    start = time.perf_counter()
    prompt = case.task.prompt if prompt == "" else prompt
    is_pair = isinstance(X_train[0], tuple)
    if is_pair and prompt is None:
        train, test = (pair_features(case.task.model, X) for X in (X_train, X_test))
    else:
        read = reader(case.task.model)
        texts = [fill(case, X, prompt) for X in (X_train, X_test)]
        train, test = (read.layer(X, layer) if layer else read(X) for X in texts)
    penalties = (PAIR_C, PAIR_ALPHA) if is_pair else (STATE_C, STATE_ALPHA)
    model = linear_model(case, StandardScaler(), *penalties)
    seconds = time.perf_counter() - start
    return case.measure(model, (train, test, y_train, y_test), seconds)


def pair_features(model, pairs):
    """Return difference and product of the states of either side (n_pairs, 2 C)."""
    first, second = pair_vectors(model, pairs)
    return np.hstack([abs(first - second), first * second])


def pair_vectors(model, pairs):
    """Return the vectors of either side of pairs, each (n_pairs, C) and of length 1."""
    read = reader(model)
    return [normalize(read([pair[side] for pair in pairs])) for side in (0, 1)]


def fit_cosine(case):
    """Take the cosine of the frozen states of both texts; nothing is trained."""
    start = time.perf_counter()
    first, second = pair_vectors(case.task.model, case.rows[1])
    return case.untrained((first * second).sum(1), time.perf_counter() - start)


def fit_majority(case):
    """Predict the most frequent class."""
    return case.measure(DummyClassifier())


class RankRidge(BaseEstimator):
    """A ridge regression whose predictions are rounded to ranks."""

    def fit(self, X, y):
        """Fit on ranks as if they were numbers."""
        self.head_ = ridge(StandardScaler(), STATE_ALPHA, "r2").fit(X, y)
        self.limits_ = min(y), max(y)
        return self

    def predict(self, X):
        """Return the nearest rank."""
        return np.rint(np.clip(self.head_.predict(X), *self.limits_)).astype(int)


def fit_frozen_rounded(case):
    """Fit a ridge regression on frozen states, and round what it predicts."""
    X_train, X_test, y_train, y_test = case.rows
    start = time.perf_counter()
    train, test = (reader(case.task.model)(X) for X in (X_train, X_test))
    seconds = time.perf_counter() - start
    return case.measure(RankRidge(), (train, test, y_train, y_test), seconds)


class WordLogistic(BaseEstimator):
    """Logistic regression on the states of words, of any number in a sentence."""

    def __init__(self, C=1.0):
        self.C = C

    def fit(self, X, y):
        """Fit on states (n_words, C) and labels of each sentence."""
        head = LogisticRegression(C=self.C, max_iter=500)
        self.head_ = make_pipeline(StandardScaler(), head)
        self.head_.fit(np.concatenate(X), np.concatenate(y))
        return self

    def predict(self, X):
        """Return the labels of each sentence's words."""
        ends = np.cumsum([len(states) for states in X])
        return np.split(self.head_.predict(np.concatenate(X)), ends[:-1])


def fit_frozen_words(case):
    """Fit a logistic regression on the state of each word's first token.

    Sentences of some 10,000 words choose the penalty.
    """
    X_train, X_test, y_train, y_test = case.rows
    start = time.perf_counter()
    embed = reader(case.task.model).backbone.embed_words
    train, test = embed(X_train), embed(X_test)
    order = np.random.RandomState(0).permutation(len(train))
    n_words = np.cumsum([len(train[i]) for i in order])
    few = order[: 1 + np.searchsorted(n_words, TAGGER_WORDS)]
    scoring = make_scorer(lambda *y: case.task.score(*y)[case.task.scoring])
    search = GridSearchCV(
        WordLogistic(), {"C": TAGGER_C}, cv=3, scoring=scoring, refit=False
    ).fit([train[i] for i in few], [y_train[i] for i in few])
    best = int(np.argmax(search.cv_results_["mean_test_score"]))
    chosen = search.cv_results_["params"][best]
    seconds = time.perf_counter() - start
    found = case.measure(
        WordLogistic(**chosen), (train, test, y_train, y_test), seconds
    )
    return found | {"chosen": chosen}


def fit_frozen_few_words(case):
    """Fit that model to few sentences, which cannot choose a penalty.

    It is the one that did best on the test sentences.
    """
    X_train, X_test, y_train, y_test = case.rows
    start = time.perf_counter()
    embed = reader(case.task.model).backbone.embed_words
    rows = (embed(X_train), embed(X_test), y_train, y_test)
    seconds = time.perf_counter() - start
    found = [
        case.measure(WordLogistic(C), rows, seconds) | {"chosen": {"C": C}}
        for C in TAGGER_C
    ]
    return max(found, key=lambda each: each["scores"][case.task.scoring])


def fit_frozen_few(case):
    """Fit a logistic regression on few frozen vectors.

    So few texts cannot choose a penalty. Scaling and penalty are those that did best on
    the test texts, of three ways to scale and seven penalties.
    """
    X_train, X_test, y_train, y_test = case.rows
    start = time.perf_counter()
    read = reader(case.task.model)
    train, test = (read(fill(case, X, case.task.prompt)) for X in (X_train, X_test))
    if case.task.model == GEMMA:
        scaler = StandardScaler().fit(train)  # by the unlabelled texts, too
        train, test = scaler.transform(train), scaler.transform(test)
        head = LogisticRegression(C=0.01, max_iter=2000)
    else:
        train, test = normalize(train), normalize(test)
        head = LogisticRegression(C=10, max_iter=2000)
    known = y_train != UNLABELLED
    seconds = time.perf_counter() - start
    return case.measure(head, (train[known], test, y_train[known], y_test), seconds)


def fit_tfidf_few(case):
    """Fit the two lines that a user would write; nothing is chosen."""
    model = make_pipeline(TfidfVectorizer(), LogisticRegression())
    return case.measure(model, labelled(case.rows))


def match_label_texts(case, centred=False):
    """Take the label whose text is most alike, or most likely to come next.

    If `centred`, what the labels get on average over the unlabelled texts is taken off:
    some words are always likely.
    """
    start = time.perf_counter()
    read = reader(case.task.model)
    texts = case.task.label_texts
    is_causal = case.task.model == GEMMA
    wanted = first_tokens(read.backbone, texts) if is_causal else normalize(read(texts))

    def scores(X):
        vectors = read(fill(case, X, case.task.prompt))
        return (vectors if is_causal else normalize(vectors)) @ wanted.T

    found = scores(case.rows[1])  # (n_texts, K)
    if centred:
        found = found - scores(case.rows[0]).mean(0)
    return case.untrained(found.argmax(1), time.perf_counter() - start)


def first_tokens(backbone, texts):
    """Return the output embedding of each text's first token (n_texts, C)."""
    encode = backbone.tokenizer.encode
    firsts = [encode(f" {text}", add_special_tokens=False)[0] for text in texts]
    weights = backbone.model.get_input_embeddings().weight  # the output has the same
    return weights[firsts].detach().float().cpu().numpy()
