"""Which words of a text speak for which class, or for how much."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sksemantic._inputs.columns import Columns
from sksemantic._inputs.dataset import TextDataset
from sksemantic._inputs.words import mark_words, split_words
from sksemantic._model.attribution import integrated_gradients
from sksemantic._model.pooling import PAIR
from sksemantic._tasks.classification import Classification

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from sksemantic._inputs.template import Template
    from sksemantic._model.module import SemanticModule
    from sksemantic._tasks.base import Task

    Row = tuple[str, ...]  # the texts of one sample
    Span = tuple[int, int, int]  # which of them a word is in, its start and its end

METHODS = ("auto", "shapley", "integrated_gradients", "occlusion")
# Above so many words "auto" takes gradients: their time does not grow with the words.
MOST_WORDS = 48


@dataclass(frozen=True, eq=False)
class Explanation:
    """The words of one text, and what each has to do with each class.

    Attributes
    ----------
    text : str or tuple of str
        As it was passed; several texts of a row in a tuple.
    words : list of str
        In order; those of several texts one after the other.
    scores : ndarray of shape (n_words, n_classes)
        What each word adds to the logit of each class, the mean over the classes
        taken off; to the log-odds of each label, or of each ordered class but the first
        against all below it; or to each predicted number, in its units.
    names : list
        What the columns of `scores` are: classes, labels, steps between ordered
        classes such as "2 or above", "number", or the numbers of several targets.
    prediction : object
        As of `predict`.
    spans : list of (int, int, int)
        Which text of the row each word is in, and its first and last place there.
    method : str, default=None
        How the scores were computed: "shapley", "integrated_gradients" or "occlusion".
    shown : int or None, default=None
        The column that is shown by default: of the predicted class, of the most
        probable label, or of the step to the predicted ordered class. None: that of
        `prediction`, if it is one of `names`, else the first.
    """

    __module__ = "sksemantic"  # where users find it

    text: str | tuple[str, ...]
    words: list[str]
    scores: "NDArray"
    names: list[Any]
    prediction: Any
    spans: list[tuple[int, int, int]]
    method: str | None = None
    shown: int | None = None

    def __repr__(self) -> str:
        """Return the text and its strongest words."""
        words = ", ".join(f"{word} {score:+.3g}" for word, score in self.top(n=3))
        return (
            f"<Explanation of {self.text!r:.60}: {self.names[self.column()]!s}, "
            f"by {self.method}: {words}>"
        )

    def top(self, name: Any = None, n: int = 5) -> list[tuple[str, float]]:
        """Return the words that speak most for a class, the strongest first.

        Parameters
        ----------
        name : object, default=None
            One of `names`; by default that of `shown`.
        n : int, default=5

        Returns
        -------
        list of (str, float)
        """
        column = self.scores[:, self.column(name)]
        return [
            (self.words[i], float(column[i]))
            for i in np.argsort(-column, kind="stable")[:n]
        ]

    def column(self, name: Any = None) -> int:
        """Return which column of `scores` belongs to a name.

        Raises
        ------
        ValueError
            If there is no such name.
        """
        if name is None:
            if self.shown is not None:
                return self.shown
            is_class = np.ndim(self.prediction) == 0 and self.prediction in self.names
            return self.names.index(self.prediction) if is_class else 0
        if name not in self.names:
            raise ValueError(f"name must be one of {self.names}. Got {name!r} instead.")
        return self.names.index(name)


def explain_by_gradients(
    module: "SemanticModule",
    template: "Template",
    data: TextDataset,
    texts: Columns,
    task: "Task",
    n_steps: int,
) -> list["NDArray"]:
    """Return the score (n_words, K) of each word of each row of texts."""
    marks = mark_words(template, texts.values)
    n_words = [len(_word_spans(row)) for row in _rows(texts)]
    is_difference = _is_one_of_two(task)
    found = integrated_gradients(
        module,
        data.windows(),
        marks.flat >= 0,
        n_steps=n_steps,
        is_difference=is_difference,
    )
    if is_difference:
        found = [np.hstack([-one, one]) for one in found]
    n_windows = np.ones(len(texts), int) if data.n_windows is None else data.n_windows
    window = iter(range(len(marks)))
    explained = []
    for count, n_own in zip(n_windows, n_words, strict=True):
        scores = np.zeros((n_own, task.n_outputs))
        for i in (next(window) for _ in range(count)):
            own = marks[i] >= 0
            np.add.at(scores, marks[i][own], found[i][own] / count)
        explained.append(task.explainable(scores))
    return explained


def explain_by_shapley(
    compute: "Callable[[Columns], NDArray]",
    texts: Columns,
    outputs: "NDArray",
    task: "Task",
) -> list["NDArray"]:
    """Return the approximate Shapley values (n_words, K) of each row's words.

    A Shapley value is the mean, over how many other words there are, of what a word
    adds to them. The mean of the two ends, all others and none, is the same where at
    most two words interact. Where more do, the values would not add up to what the
    whole text adds to an empty one, as Shapley values do: each gets the same share of
    what is missing (additive efficient normalisation: Jethani et al., FastSHAP, ICLR
    2022, section 3). Arguments are those of `explain_by_occlusion`.
    """
    lost = explain_by_occlusion(compute, texts, outputs, task)
    alone = _change_words(compute, texts, task, _word_alone)
    nothing = Columns([[""]] * texts.n_columns, texts.names)
    empty = task.explainable(compute(nothing))  # (1, K)
    ends = [(one + other - empty) / 2 for one, other in zip(lost, alone, strict=True)]
    missing = task.explainable(outputs) - empty - [each.sum(axis=0) for each in ends]
    return [
        each + rest / max(1, len(each))
        for each, rest in zip(ends, missing, strict=True)
    ]


def explain_by_occlusion(
    compute: "Callable[[Columns], NDArray]",
    texts: Columns,
    outputs: "NDArray",
    task: "Task",
) -> list["NDArray"]:
    """Return the score (n_words, K) of each word: what is lost without it.

    `outputs` (n, K) are the head's of the texts, and `compute` returns those of others.
    """
    parts = _change_words(compute, texts, task, _without_word)
    whole = task.explainable(outputs)
    return [own - part for own, part in zip(whole, parts, strict=True)]


def _change_words(
    compute: "Callable[[Columns], NDArray]",
    texts: Columns,
    task: "Task",
    change: "Callable[[Row, Span], Row]",
) -> list["NDArray"]:
    """Return the outputs (n_words, K) of each row, changed once for each word."""
    changed: list[Row] = []
    counts = []
    for row in _rows(texts):
        spans = _word_spans(row)
        changed += [change(row, span) for span in spans]
        counts.append(len(spans))
    if not changed:
        return [np.zeros((0, task.n_outputs)) for _ in counts]
    columns = [list(column) for column in zip(*changed, strict=True)]
    outputs = task.explainable(compute(Columns(columns, texts.names)))
    return np.split(outputs, np.cumsum(counts)[:-1])


def _without_word(row: "Row", span: "Span") -> "Row":
    i, start, end = span
    return (*row[:i], row[i][:start] + row[i][end:], *row[i + 1 :])


def _word_alone(row: "Row", span: "Span") -> "Row":
    i, start, end = span
    return tuple(row[i][start:end] if k == i else "" for k in range(len(row)))


def choose_methods(module: "SemanticModule", texts: Columns, method: str) -> "NDArray":
    """Return by which method each row is explained (n,)."""
    if method != "auto":
        return np.full(len(texts), method)
    n_words = np.array([len(_word_spans(row)) for row in _rows(texts)])
    is_long = (n_words > MOST_WORDS) & can_take_gradients(module)
    return np.where(is_long, "integrated_gradients", "shapley")


def make_explanations(
    texts: Columns,
    scores: list["NDArray"],
    names: list[Any],
    predictions: "NDArray",
    methods: "NDArray",
    shown: "NDArray",
) -> list[Explanation]:
    """Return an explanation for each row of texts."""
    found = []
    lists = methods.tolist(), shown.tolist()
    rows = zip(_rows(texts), scores, predictions, *lists, strict=True)
    for row, own, prediction, method, column in rows:
        spans = _word_spans(row)
        words = [row[i][start:end] for i, start, end in spans]
        text = row[0] if len(row) == 1 else row
        facts = names, prediction, spans, method, column
        found.append(Explanation(text, words, own, *facts))
    return found


def can_take_gradients(module: "SemanticModule") -> bool:
    """Whether states can enter the first layer, and each row is read once."""
    return module.backbone.has_layer_hooks and module.config.pooling != PAIR


def _is_one_of_two(task: "Task") -> bool:
    return isinstance(task, Classification) and task.n_outputs == 2


def _word_spans(row: "Row") -> list["Span"]:
    """Return which text of a row each word is in, and where it starts and ends."""
    return [
        (i, word.start(), word.end())
        for i, text in enumerate(row)
        for word in split_words(text)
    ]


def _rows(texts: Columns) -> list["Row"]:
    return [*zip(*texts.values, strict=True)]
