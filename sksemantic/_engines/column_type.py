"""The type of a column of predictions, in the words of every engine."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sksemantic._base import BaseSKTuning

if TYPE_CHECKING:
    from numpy.typing import NDArray

# By the name of a value's type: what pyarrow, and what Spark call it.
_NAMES = {
    "str": ("string", "StringType"),
    "bool": ("bool", "BooleanType"),
    "int64": ("int64", "LongType"),
    "float64": ("double", "DoubleType"),
    "float32": ("float", "FloatType"),
}
_OF_KIND = {"U": "str", "b": "bool", "i": "int64", "u": "int64", "f": "float64"}
_OF_CLASS = ((str, "str"), (bool, "bool"), (int, "int64"), (float, "float64"))


@dataclass(frozen=True)
class ColumnType:
    """Values of one type, in so many lists a row.

    Attributes
    ----------
    value : {"str", "bool", "int64", "float64", "float32"}
    depth : int
        0: a value for each row; 1: a list of values; 2: a list of lists.
    is_ragged : bool
        Whether the rows' lists are of different lengths.
    """

    value: str
    depth: int = 0
    is_ragged: bool = False

    @property
    def pandas(self) -> str:
        """The dtype of a Series."""
        return "object" if self.depth else self.value

    def arrow(self) -> Any:
        """Return the type of pyarrow."""
        import pyarrow

        found = pyarrow.type_for_alias(_NAMES[self.value][0])
        for _ in range(self.depth):
            found = pyarrow.list_(found)
        return found

    def spark(self) -> Any:
        """Return the type of pyspark."""
        from pyspark.sql import types

        found = getattr(types, _NAMES[self.value][1])()
        for _ in range(self.depth):
            found = types.ArrayType(found)
        return found


def type_of_predictions(estimator: Any, method: str) -> ColumnType:
    """Return the type of what a method returns; the backbone is not needed for it.

    Raises
    ------
    ValueError
        If there are labels that not every engine has a type for.
    """
    last = _last_step(estimator)
    if isinstance(last, BaseSKTuning):
        return _type_of_own(last, method)
    classes = getattr(last, "classes_", None)
    if method == "transform" or (method == "predict" and classes is None):
        n_outputs = getattr(last, "n_outputs_", 1)
        return ColumnType("float64", int(method == "transform" or n_outputs > 1))
    if method == "predict":
        return ColumnType(_value_of_labels(np.asarray(classes)))
    is_binary = classes is not None and len(classes) == 2
    return ColumnType("float64", int(method != "decision_function" or not is_binary))


def _last_step(estimator: Any) -> Any:
    """Return what answers in a pipeline or a search."""
    while True:
        if hasattr(estimator, "best_estimator_"):
            estimator = estimator.best_estimator_
        elif hasattr(estimator, "steps"):
            estimator = estimator.steps[-1][1]
        else:
            return estimator


def _type_of_own(estimator: BaseSKTuning, method: str) -> ColumnType:
    """Return the type of one row, whose scores are zero."""
    task: Any = estimator._model.task
    logits = getattr(task, "logits", None)
    answers = {"predict": task.predict, "decision_function": logits}
    row = np.zeros((1, task.n_outputs))
    if method in answers:
        row = answers[method](row)
    value = "float32" if method == "transform" else _value_of_labels(row)
    return ColumnType(value, int(task.has_words) + row.ndim - 1, task.has_words)


def _value_of_labels(labels: "NDArray") -> str:
    if labels.dtype.kind in _OF_KIND:
        return _OF_KIND[labels.dtype.kind]
    for kind, name in _OF_CLASS:
        if labels.dtype == object and all(isinstance(x, kind) for x in labels.flat):
            return name
    raise ValueError(
        "The labels must be all str, all bool, all int or all float: not every engine "
        f"has a type for others. Got {labels.tolist()!r:.80} instead. Fit to their "
        "names, or predict with method='predict_proba'."
    )
