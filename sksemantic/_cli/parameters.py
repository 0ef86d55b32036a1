"""From the options of a command to an estimator."""

import json
from pathlib import Path
from typing import Any

import sksemantic
from sksemantic._cli.columns import Target
from sksemantic._cli.errors import UsageError, did_you_mean
from sksemantic._cli.options import Task, Training
from sksemantic._inputs.prompt import Prompt

# Options that are parameters of the same name, passed on where they are given.
_PLAIN = (
    *("model", "method", "max_epochs", "max_length", "random_state", "device"),
    "time_limit",
)
_PYTHON = {"None": None, "True": True, "False": False}


def make_estimator(
    training: Training, target: Target, prompt: str | None = None
) -> Any:
    """Return an unfitted estimator for a target.

    Raises
    ------
    UsageError
        If a parameter is unknown, or has no value that the estimator takes.
    """
    # It takes seconds to import, and is not needed to tell what is wrong with a file.
    from sksemantic._training.build import check_parameters

    is_classifier = target.task is Task.classification
    name = "SKTuningClassifier" if is_classifier else "SKTuningRegressor"
    estimator = getattr(sksemantic, name)(verbose=1)
    parameters = _given(training, target)
    if prompt is not None:
        parameters["prompt"] = prompt
    known = estimator.get_params(deep=True)
    for parameter in parameters:
        if parameter not in known:
            hint = did_you_mean(parameter, known)
            raise UsageError(f"{name} has no parameter {parameter!r}.{hint}")
    try:
        estimator.set_params(**parameters)
        estimator._validate_params()
        check_parameters(estimator.get_params(deep=False), name)
        check_prompt(estimator.prompt, training.text)
    except (ValueError, TypeError) as exc:
        raise UsageError(str(exc)) from exc
    return estimator


def check_prompt(prompt: str | None, columns: list[str]) -> None:
    """Refuse a prompt whose slots are not of these columns.

    Raises
    ------
    UsageError
    """
    if prompt is None:
        return
    try:
        names = tuple(columns) if len(columns) > 1 else None
        Prompt.parse(prompt).columns(len(columns), names)
    except ValueError as exc:
        raise UsageError(f"The prompt {prompt!r} cannot be used. {exc}") from exc


def _given(training: Training, target: Target) -> dict[str, Any]:
    """Return the parameters that the command line names."""
    found = {name: getattr(training, name) for name in _PLAIN}
    found = {name: value for name, value in found.items() if value is not None}
    if training.ordinal:
        found["ordinal"] = True
    if training.class_weight is not None:
        found["class_weight"] = _value(training.class_weight)
    if training.label_texts == "labels":
        found["label_texts"] = "labels"
    elif training.label_texts is not None:
        found["label_texts"] = _read_json(training.label_texts)
    for setting in training.set_ or ():
        name, equals, value = setting.partition("=")
        if not equals:
            raise UsageError(f"--set must be NAME=VALUE. Got {setting!r} instead.")
        found[name.strip()] = _value(value)
    for name in ("class_weight", "label_texts"):  # JSON has no other keys than str
        if isinstance(found.get(name), dict) and target.has_integers:
            found[name] = {_integer(key): each for key, each in found[name].items()}
    return found


def _value(text: str) -> Any:
    """Return what stands in a text as JSON, or the text itself."""
    if text in _PYTHON:
        return _PYTHON[text]
    try:
        return json.loads(text)
    except ValueError:
        return text


def _integer(key: str) -> int | str:
    try:
        return int(key)
    except ValueError:
        return key


def _read_json(path: str) -> Any:
    try:
        return json.loads(Path(path).read_text("utf-8-sig"))
    except OSError as exc:
        raise UsageError(f"--label-texts: {exc}") from exc
    except ValueError as exc:
        raise UsageError(f"--label-texts: {path} is no JSON ({exc}).") from exc
