"""Checks of a saved task: what its targets were."""

from collections.abc import Callable
from typing import Any

import numpy as np

from sksemantic._saving.checks import BrokenFile, check_entries
from sksemantic._tasks.base import Task

_LOSSES = ("squared_error", "huber", "absolute_error", "quantile")
_KINDS_OF = {
    "SKTuningClassifier": ("classification", "multilabel", "ordinal"),
    "SKTuningRegressor": ("regression",),
    "SKTuningTokenClassifier": ("token_classification",),
}
_Array = np.ndarray


def check_kind(cls: type, fitted: dict[str, Any]) -> None:
    """Refuse fitted values whose task is none of those of an estimator's class."""
    names = [kind for each in cls.__mro__ for kind in _KINDS_OF.get(each.__name__, ())]
    task = fitted.get("task")
    name = task.get("name") if isinstance(task, dict) else None
    if name not in names:
        raise BrokenFile(f"task.name {name!r:.60} is none of {', '.join(names)}")


def read_task(saved: Any, n_outputs: int) -> Task:
    """Return the task of `{"name": ..., "values": ...}`, with so many outputs."""
    check_entries({"name": str, "values": dict[str, Any]}, saved, "task")
    name, values = saved["name"], saved["values"]
    if name not in _CHECKS:
        raise BrokenFile(f"task.name {name!r:.60} is none of {', '.join(_CHECKS)}")
    _CHECKS[name](values)
    task = Task.from_state(name, values)
    if task.n_outputs != n_outputs:
        raise BrokenFile(f"the task has {task.n_outputs} outputs, the head {n_outputs}")
    return task


def _check_classes(classes: _Array) -> None:
    labels = classes.tolist()
    if (
        classes.ndim != 1
        or len(labels) < 2
        or len({*map(_hashed, labels)}) < len(labels)
    ):
        raise BrokenFile("task.values.classes must be at least two different labels")


def _hashed(label: Any) -> Any:
    try:
        hash(label)
    except TypeError as exc:
        raise BrokenFile(f"{label!r:.60} is no label") from exc
    return label


def _check_numbers(
    name: str, values: Any, n: int, is_right: Callable[[_Array], _Array]
) -> None:
    is_numbers = values.dtype.kind in "fiu" and values.shape == (n,)
    if not is_numbers or not (np.isfinite(values) & is_right(values)).all():
        raise BrokenFile(f"task.values.{name} must be {n} numbers that are possible")


def _classification(values: dict[str, Any]) -> None:
    check_entries({"classes": _Array}, values, "task.values")
    _check_classes(values["classes"])


def _ordinal(values: dict[str, Any]) -> None:
    check_entries({"classes": _Array, "ranks": _Array}, values, "task.values")
    classes, ranks = values["classes"], values["ranks"]
    _check_classes(classes)
    if ranks.dtype.kind not in "iu" or sorted(ranks.tolist()) != [*range(len(classes))]:
        raise BrokenFile("task.values.ranks must be the places of the classes")


def _multilabel(values: dict[str, Any]) -> None:
    hints = {"classes": _Array, "label_names": _Array | None}
    check_entries(hints, values, "task.values", optional=("label_names",))
    classes, names = values["classes"], values.get("label_names")
    _check_classes(classes)
    n = len(classes)
    if classes.tolist() != [*range(n)]:
        raise BrokenFile("task.values.classes must be the numbers of the columns")
    if names is not None and not _are_names(names, n):
        raise BrokenFile(f"task.values.label_names must be {n} names")


def _are_names(names: _Array, n: int) -> bool:
    return names.shape == (n,) and all(isinstance(name, str) for name in names)


def _tokens(values: dict[str, Any]) -> None:
    hints = {"classes": _Array, "class_weights": _Array | None}
    check_entries(hints, values, "task.values")
    _check_classes(values["classes"])
    weights, n = values["class_weights"], len(values["classes"])
    if weights is not None:
        _check_numbers("class_weights", weights, n, lambda w: w >= 0)


def _regression(values: dict[str, Any]) -> None:
    hints = {
        "center": _Array,
        "scale": _Array,
        "is_multi_output": bool,
        "loss": str,
        "quantile": float,
    }
    check_entries(hints, values, "task.values")
    n = values["center"].size
    _check_numbers("center", values["center"], n, np.isfinite)
    _check_numbers("scale", values["scale"], n, lambda scale: scale > 0)
    if values["loss"] not in _LOSSES or not 0 < values["quantile"] < 1:
        raise BrokenFile("task.values has no loss, or no quantile, that there is")
    if n != 1 and not values["is_multi_output"]:
        raise BrokenFile("task.values has several targets for one")


_CHECKS: dict[str, Callable[[dict[str, Any]], None]] = {
    "classification": _classification,
    "ordinal": _ordinal,
    "multilabel": _multilabel,
    "token_classification": _tokens,
    "regression": _regression,
}
