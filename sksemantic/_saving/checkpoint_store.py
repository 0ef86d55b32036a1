"""The states of fits in a directory: one folder for each, named by what it was called.

A folder is found again by data, parameters and versions together, so that the fits of a
search have theirs side by side. All files are JSON and safetensors.
"""

import json
import os
import shutil
import warnings
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file

from sksemantic._saving.digest import KEY_LENGTH, digest, facts_of
from sksemantic._saving.directory import (
    is_running,
    place_of,
    replace_files,
    settle,
    write_tensors,
)
from sksemantic._saving.state import from_files, to_files
from sksemantic._saving.values import Unsavable, from_json, to_json
from sksemantic._training.checkpoint import Tree
from sksemantic._training.fitted import FittedModel
from sksemantic._training.job import Job
from sksemantic._warnings import user_stacklevel

_FORMAT = 1
_FACTS = "fit"
_FINISHED = "finished"
_STATES = ("start", "position")
_ARRAY, _TENSOR = "array", "tensor"  # the only key of what stands for one


def open_store(directory: "str | Path", job: Job) -> "CheckpointStore":
    """Return where the state of a fit is kept; one without a seed leaves nothing."""
    has_seed = job.request.parameters["random_state"] is not None
    return CheckpointStore(Path(directory), facts_of(job), keeps_result=has_seed)


class CheckpointStore:
    """The folder of one fit in the directory of all.

    Parameters
    ----------
    directory : Path
    facts : dict
        Of JSON values, nested: all that the result of the fit depends on. It is
        recognised by them.
    keeps_result : bool
        Whether the finished model stays, for the same fit to return it; else nothing
        does.
    """

    def __init__(
        self, directory: Path, facts: Mapping[str, Any], *, keeps_result: bool
    ) -> None:
        self._facts = dict(facts)
        self._facts = json.loads(json.dumps(facts))  # as they are read again
        self._directory = directory
        self._folder = directory / digest([_FORMAT, self._facts])
        self._keeps_result = keeps_result
        self._is_full = False

    def read(self, name: str) -> Tree | None:
        """Return what was written last by this name; None if there is nothing.

        What is broken is told, and left aside.
        """
        return self._read(name)

    def write(self, **trees: Tree) -> None:
        """Write trees by their names, all at once, in the place of former ones.

        Where that is impossible the fit goes on without, and says so once.
        """
        if "start" in trees:
            self._warn_of_others()
            self._remove("position")  # of a start that could not be read
            trees[_FACTS] = {"facts": self._facts, "process": os.getpid()}
        try:
            self._write(trees)
            self._is_full = False
        except OSError as exc:
            if not self._is_full:
                warnings.warn(
                    f"The state of this fit cannot be saved in {str(self._folder)!r}: "
                    f"{exc}. The fit goes on.",
                    UserWarning,
                    stacklevel=user_stacklevel(),
                )
            self._is_full = True

    def finished(self) -> tuple[FittedModel, Tree] | None:
        """Return the model that the fit has led to, and what was kept with it."""
        tree = self._read(_FINISHED)
        if tree is None:
            return None
        try:
            fitted = from_json(tree["fitted"])
            return from_files(fitted, tree["tensors"]), tree["extra"]
        except ValueError as exc:
            self._warn_of_broken(_FINISHED, exc)
            return None

    def finish(self, model: FittedModel, extra: Tree) -> None:
        """Keep the model in the place of the state.

        The state stays if the labels are of a type that only Python could hold.
        """
        if not self._keeps_result:
            shutil.rmtree(self._folder, ignore_errors=True)
            return
        try:
            values, tensors = to_files(model)
        except Unsavable:
            return
        self.write(finished={"fitted": values, "tensors": tensors, "extra": extra})
        if not self._is_full:
            self._remove(*_STATES)

    def _remove(self, *names: str) -> None:
        settle(self._folder)
        for name in names:
            for file in (_json(name), _tensors(name)):
                (self._folder / file).unlink(missing_ok=True)

    def _read(self, name: str) -> Tree | None:
        path = place_of(self._folder, _json(name))
        if not path.is_file():
            return None
        try:
            values = json.loads(path.read_text("utf-8"))
            file = place_of(self._folder, _tensors(name))
            tensors = load_file(file) if file.exists() else {}
            return _joined(from_json(values), tensors)
        except Exception as exc:  # safetensors has its own, and no base for it
            self._warn_of_broken(name, exc)
            return None

    def _write(self, trees: Mapping[str, Tree]) -> None:
        writers: dict[str, Any] = {}
        for name, tree in trees.items():
            tensors: dict[str, np.ndarray] = {}
            values = to_json(_split(tree, tensors))
            text = json.dumps(values, allow_nan=False)
            writers[_json(name)] = partial(Path.write_text, data=text, encoding="utf-8")
            if tensors:
                writers[_tensors(name)] = partial(write_tensors, tensors)
        replace_files(self._folder, writers)

    def _warn_of_broken(self, name: str, error: Exception) -> None:
        warnings.warn(
            f"The state {_json(name)!r} of this fit in {str(self._folder)!r} cannot be "
            f"read ({error}): it is left aside.",
            UserWarning,
            stacklevel=user_stacklevel(),
        )

    def _warn_of_others(self) -> None:
        """Say where another fit has stopped that this one may have been meant to be."""
        for folder in sorted(self._directory.glob("?" * KEY_LENGTH)):
            fit = folder / _json(_FACTS)
            is_begun = (folder / _json("start")).is_file() and fit.is_file()
            if folder == self._folder or not is_begun:
                continue
            try:
                found = json.loads(fit.read_text("utf-8"))
                changes = ", ".join(_changes(found["facts"], self._facts))
                is_going_on = is_running(found["process"])
            except (ValueError, KeyError, TypeError, OSError):  # of no use to anyone
                continue
            if is_going_on:
                continue
            warnings.warn(
                f"{str(folder)!r} holds the state of a fit that was not finished, but "
                f"of another one than this: {changes}. This one starts anew; the other "
                "goes on where nothing has changed. Remove the folder if it is no "
                "longer needed.",
                UserWarning,
                stacklevel=user_stacklevel(),
            )


def _changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return what is different between two fits."""
    found = []
    for name in [*now, *(before.keys() - now.keys())]:
        old, new = before.get(name), now.get(name)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            found += [f"{name}: {change}" for change in _changes(old, new)]
        elif old != new:
            is_digest = isinstance(new, str) and len(new) == KEY_LENGTH
            change = f"other {name}"
            found.append(change if is_digest else f"{name} was {old!r}, is {new!r}")
    return found


def _json(name: str) -> str:
    return f"{name}.json"


def _tensors(name: str) -> str:
    return f"{name}.safetensors"


def _split(value: Any, tensors: dict[str, np.ndarray]) -> Any:
    """Return a tree with marks where its arrays and tensors were; collect these."""
    kind = _TENSOR if isinstance(value, torch.Tensor) else _ARRAY
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray):
        name = str(len(tensors))
        tensors[name] = np.array(value, order="C")  # several may share their memory
        return {kind: name}
    if isinstance(value, Mapping):
        return {key: _split(each, tensors) for key, each in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_split(each, tensors) for each in value)
    return value


def _joined(value: Any, tensors: Mapping[str, np.ndarray]) -> Any:
    """Return the tree of `_split`."""
    if type(value) in (list, tuple):
        return type(value)(_joined(each, tensors) for each in value)
    if not isinstance(value, dict):
        return value
    if value.keys() == {_ARRAY}:
        return tensors[value[_ARRAY]]
    if value.keys() == {_TENSOR}:
        return torch.from_numpy(tensors[value[_TENSOR]])
    return {key: _joined(each, tensors) for key, each in value.items()}
