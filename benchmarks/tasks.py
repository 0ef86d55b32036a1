"""A task: what is trained on which rows, by which methods, and how it is scored.

`catalogue.py` has all tasks by name.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial

import scores
import splits
from ours import fit_ours, fit_ours_few
from peers import authors, linear, networks, setfit_peer
from peers.frozen import MODELS
from sklearn.metrics import make_scorer

# Our estimator with few labels: whether it is given label texts, and unlabelled texts.
OURS_FEW = [
    ("ours", False, False),
    ("ours-unlabelled", False, True),
    ("ours-label-texts", True, False),
    ("ours-label-texts-unlabelled", True, True),
]
MOST_FOR_SETFIT = 200  # training texts; it is made for few


@dataclass(frozen=True, eq=False)
class Data:
    """A data set: its split, what is predicted, how that is scored, Gemma's prompt.

    `kind` is "classes", "numbers", "labels" (several a text) or "words" (a label for
    each). `others` are methods beside those of the kind.
    """

    split: Callable
    score: Callable = scores.score_labels
    scoring: str = "accuracy"
    kind: str = "classes"
    prompt: str | None = None
    others: dict = field(default_factory=dict)
    has_networks: bool = True
    batch_size: int = 32


@dataclass(frozen=True)
class Task:
    """One data set, training size and backbone.

    With `shots`, that many labelled texts a class, and `label_texts`, what the labels
    are called. With `n_tested`, at most so many test rows, the same for all seeds.
    """

    name: str
    data: Data
    size: int
    backbone: str
    shots: int | None = None
    label_texts: tuple = ()
    n_tested: int = 0

    @property
    def kind(self):
        """What is predicted."""
        return self.data.kind

    @property
    def scoring(self):
        """The score that is compared."""
        return "accuracy" if self.has_unlabelled else self.data.scoring

    @property
    def linear_scoring(self):
        """The score by which linear models choose their penalty."""
        special = {
            "mae": "neg_mean_absolute_error",
            "spearman": make_scorer(scores.spearman),
        }
        return special.get(self.scoring, self.scoring)

    @property
    def model(self):
        """The backbone's id."""
        return MODELS[self.backbone]

    @property
    def is_causal(self):
        """Whether the backbone reads from left to right."""
        return self.backbone == "gemma"

    @property
    def prompt(self):
        """What all methods read with Gemma; with MiniLM ours alone has its default."""
        return self.data.prompt if self.is_causal else None

    @property
    def has_unlabelled(self):
        """Whether some of the training texts have no label."""
        return self.shots is not None

    @property
    def batch_size(self):
        """Texts a step of the networks."""
        return 8 if self.has_unlabelled else self.data.batch_size

    @property
    def params(self):
        """The parameters of our estimator."""
        found = {"model": self.model}
        if self.prompt is not None:
            found["prompt"] = self.prompt
        return found

    def score(self, y_true, y_pred):
        """Return scores by name."""
        score = scores.score_accuracy if self.has_unlabelled else self.data.score
        return {name: float(value) for name, value in score(y_true, y_pred).items()}

    def predict(self, model, X):
        """Return what is scored: labels, numbers or, of a rare class, probabilities."""
        if self.scoring == "average_precision":
            return model.predict_proba(X)[:, 1]
        return model.predict(X)

    def split(self, seed):
        """Return X_train, X_test, y_train and y_test of a seed."""
        if self.has_unlabelled:
            data = self.name.split("-")[0]
            load = {"sst2": splits.sst2, "trec6": splits.trec}.get(data)
            load = load or partial(splits.pool, self.data.split)
            return splits.split_few(self.shots, seed, load)
        X, X_test, y, y_test = self.data.split(self.size, seed)
        X_test, y_test = splits.draw(X_test, y_test, self.n_tested, 0)
        return X, X_test, y, y_test

    def peer_epochs(self, n_train):
        """Return the epochs of the networks: as many as ours has by default.

        With a few texts a class as many steps as LoRA gains from: with 8 texts a class
        of TREC, twice as many are no better, with a quarter MiniLM is 25 points worse.
        """
        if self.has_unlabelled:
            return max(5, -(-(120 if self.is_causal else 480) * 8 // n_train))
        fewest, n_steps = 5 if self.is_causal else 6, -(-n_train // 32)
        return min(30, max(fewest, -(-120 // n_steps)))

    @cached_property
    def methods(self):
        """The methods by name, ours first: functions of a `Case`."""
        if self.has_unlabelled:
            return few_methods(self.shots, has_label_texts=bool(self.label_texts))
        found = {"ours": fit_ours, **self.data.others.get("ours", {})}
        network_names = list(networks.RATES) if self.data.has_networks else []
        if self.kind == "words":  # PEFT's other two fail on labels of tokens
            network_names = ["lora", "lora-3e-3", "prefix-tuning", "full"]
        for name in network_names:
            found[name] = partial(networks.fit_network, method=name)
        if self.kind == "words":
            few = linear.fit_frozen_few_words
            return found | {"frozen": few if self.n_tested else linear.fit_frozen_words}
        found |= {"frozen": linear.fit_frozen, "tfidf": linear.fit_tfidf}
        found |= self.data.others.get("peers", {})
        if self.is_causal:
            found.pop("cosine", None)  # last tokens' states are all alike
        if not self.is_plain:
            return found
        if self.is_causal:
            found["frozen-no-prompt"] = partial(linear.fit_frozen, prompt=None)
            found["authors"] = authors.fit_authors
        elif 0 < self.size <= MOST_FOR_SETFIT and self.scoring == "accuracy":
            found["setfit"] = setfit_peer.fit_setfit
        return found

    @property
    def is_plain(self):
        """Whether single texts have one label each."""
        is_pair = "{0}" in (self.data.prompt or "")
        return self.kind == "classes" and self.data.has_networks and not is_pair


def few_methods(shots, *, has_label_texts):
    """Return the methods for some labelled texts a class, or none.

    Ours is given the labelled texts alone, or the unlabelled ones too, or what the
    labels are called, or all of these.
    """
    found = {}
    for name, label_texts, unlabelled in OURS_FEW:
        has_enough = shots or (label_texts and unlabelled)
        if has_enough and (has_label_texts or not label_texts):
            options = {"label_texts": label_texts, "unlabelled": unlabelled}
            found[name] = partial(fit_ours_few, **options)
    if has_label_texts:
        match = linear.match_label_texts
        found["label-texts"] = match
        found["label-texts-centred"] = partial(match, centred=True)
    if not shots:
        return found
    found |= {"frozen": linear.fit_frozen_few, "tfidf": linear.fit_tfidf_few}
    found["setfit"] = setfit_peer.fit_setfit
    if shots >= 4:
        found["lora"] = partial(networks.fit_network, method="lora")
    return found


@dataclass(frozen=True)
class Case:
    """One seed of a task, with its rows, and what is set for our estimator.

    `epochs` overrides those of every method; None leaves them as they are.
    """

    task: Task
    seed: int
    rows: tuple
    settings: dict = field(default_factory=dict)
    epochs: int | None = None

    @property
    def peer_epochs(self):
        """The epochs of the networks."""
        y = self.rows[2]
        n_train = len(y)
        if self.task.has_unlabelled:
            n_train = int((y != splits.UNLABELLED).sum())
        return self.epochs or self.task.peer_epochs(n_train)

    def measure(self, model, rows=None, seconds=0.0):
        """Fit and score a model; `seconds` went into its rows before."""
        X_train, X_test, y_train, y_test = rows or self.rows
        start, cpu = time.perf_counter(), time.process_time()
        model.fit(X_train, y_train)
        fitted, cpu = time.perf_counter(), time.process_time() - cpu
        predicted = self.task.predict(model, X_test)
        done = time.perf_counter()
        found = self.outcome(predicted, seconds + fitted - start, len(y_train))
        found["predict_seconds"] = round(done - fitted, 3)
        found["cpu_seconds"] = round(cpu, 3)
        if hasattr(model, "best_params_"):
            found["chosen"] = model.best_params_
        return found

    def untrained(self, predicted, seconds):
        """Score predictions that no training rows were needed for."""
        return self.outcome(predicted, seconds, 0)

    def outcome(self, predicted, seconds, n_train):
        """Return scores, rows and seconds."""
        found = self.task.score(self.rows[3], predicted)
        return {
            "scores": {name: round(value, 6) for name, value in found.items()},
            "n_train": n_train,
            "n_test": len(predicted),
            "seconds": round(seconds, 3),
        }
