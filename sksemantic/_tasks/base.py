"""What every kind of target answers: one class for each kind, in one file each."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from sksemantic._tasks.linear_probe import LinearProbe, ProbeFitter, ProbeRows

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor


class Task(ABC):
    """A kind of target: encoding, losses, linear probe and decoding.

    A row is what gets one prediction: a text, or a word of a text.

    Attributes
    ----------
    n_outputs : int
        K, the outputs of the head.
    name : str
        Of the kind, in saved states.
    loss_names : tuple of str
        What the columns of `losses` are called.
    skorch_kind : {"classes", "labels", "numbers"}
        Which of skorch's scores are shown while training.
    can_contrast : bool
        Whether two texts are of the same class or of different ones, nothing between.
    can_contrast_first : bool
        Whether the texts of a class can be drawn together before the head is fitted.
    has_words : bool
        Whether the rows are words.
    """

    n_outputs: int
    name: ClassVar[str]
    loss_names: ClassVar[tuple[str, ...]]
    skorch_kind: ClassVar[str]
    can_contrast: ClassVar[bool] = False
    can_contrast_first: ClassVar[bool] = False
    has_words: ClassVar[bool] = False
    _kinds: ClassVar[dict[str, type["Task"]]] = {}

    def __init_subclass__(cls, *, name: str | None = None, **kwargs: Any) -> None:
        """Register the kind, so that `from_state` finds it by its name."""
        super().__init_subclass__(**kwargs)
        if name is not None:
            cls.name = name
            Task._kinds[name] = cls

    @abstractmethod
    def encode(self, y: "NDArray") -> "NDArray":
        """Return the targets that the model is trained on.

        Raises
        ------
        ValueError
            If y holds what this task cannot predict.
        """

    @abstractmethod
    def check_goes_on_from(self, former: "Task") -> None:
        """Refuse to go on from a model that predicts what this one does not.

        There may be more classes or labels than before, not fewer.

        Raises
        ------
        ValueError
        """

    def former_outputs(self, former: "Task") -> "NDArray":
        """Return which output of the former head each one was (K,); -1 for a new one.

        `check_goes_on_from` has accepted the former task.
        """
        return np.arange(self.n_outputs)

    @abstractmethod
    def loss(self, scores: "Tensor", targets: "Tensor") -> "Tensor":
        """Return the training loss of each row (n,)."""

    @abstractmethod
    def losses(self, scores: "NDArray", targets: "NDArray") -> "NDArray":
        """Return the losses (n, k) by which two models are compared.

        The first is what `score` is about.
        """

    @abstractmethod
    def fit_linear_probe(
        self,
        fitter: ProbeFitter,
        rows: ProbeRows,
        penalty: float | None = None,
        prior: "NDArray | LinearProbe | None" = None,
    ) -> LinearProbe:
        """Fit the linear probe; near a label prior (K, C), or a head, if it can be."""

    def lacks_classes(self, rows: ProbeRows) -> bool:
        """Return whether a class has no row, so that a linear probe would lose it."""
        return False

    def fit_new_outputs(
        self,
        fitter: ProbeFitter,
        rows: ProbeRows,
        head: LinearProbe,
        is_new: "NDArray",
    ) -> LinearProbe:
        """Return the head with new outputs fitted, those of `is_new` (K,); keep others.

        Outputs that do not depend on one another are those of a linear probe.
        """
        probe = self.fit_linear_probe(fitter, rows, head.penalty)
        coef = np.where(is_new[:, None], probe.coef, head.coef)
        return replace(
            head, coef=coef, intercept=np.where(is_new, probe.intercept, head.intercept)
        )

    @abstractmethod
    def predict(self, scores: "NDArray") -> "NDArray":
        """Return predictions as in y by the head's outputs (n, K)."""

    def output_names(self) -> list[Any]:
        """Return what each of the head's outputs is about (K,)."""
        return list(range(self.n_outputs))

    def shown_outputs(self, outputs: "NDArray") -> "NDArray":
        """Return which output says most of what is predicted of each row (n,)."""
        return np.zeros(len(outputs), np.int64)

    def explainable(self, outputs: "NDArray") -> "NDArray":
        """Return the head's outputs (..., K), or parts of them, in the user's terms."""
        return outputs

    def initial_bias(self, targets: "NDArray", weights: "NDArray") -> "NDArray":
        """Return the bias (K,) of a head whose weights are zero."""
        return np.zeros(self.n_outputs)

    def strata(self, targets: "NDArray", n_texts: int) -> "NDArray":
        """Return the stratum (n_texts,) of each text: a split keeps their shares."""
        return np.zeros(n_texts, np.int64)

    @abstractmethod
    def to_state(self) -> dict[str, Any]:
        """Return the arguments of the constructor, as arrays and JSON values."""

    @classmethod
    def from_state(cls, name: str, state: dict[str, Any]) -> Self:
        """Return the task of `to_state`."""
        task = Task._kinds[name](**state)
        assert isinstance(task, cls)
        return task


def log_odds(is_positive: "NDArray", weights: "NDArray") -> "NDArray":
    """Return the log-odds of each column (K,), one row added on either side."""
    n_positive = (weights * is_positive).sum(axis=0)
    n_negative = (weights * ~is_positive).sum(axis=0)
    return np.log(n_positive + 1) - np.log(n_negative + 1)


@dataclass(frozen=True)
class Targets:
    """What y says.

    Attributes
    ----------
    task : Task
    values : ndarray
        The targets that the model is trained on, of the labelled texts.
    weights : ndarray or None
        Of the labelled texts, class weights included.
    labelled : ndarray or None
        Which texts have a label, as indices; None if all have.
    label_texts : list of list of str or None
        The texts of each label.
    """

    task: "Task"
    values: "NDArray"
    weights: "NDArray | None" = None
    labelled: "NDArray | None" = None
    label_texts: list[list[str]] | None = None

    def class_counts(self) -> "NDArray":
        """Return how many texts of positive weight each class has (K,)."""
        values = self.values
        if self.weights is not None:
            values = values[self.weights > 0]
        return np.bincount(values, minlength=self.task.n_outputs)
