"""The states of fits in a directory: one folder for each, named by what it was called.

A folder is found again by data, parameters and versions together, so that the fits of a
search have theirs side by side. All files are JSON and safetensors.
"""

import json
import shutil
import warnings
from collections.abc import Mapping
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout
from safetensors.numpy import load, save

from sksemantic._saving.checks import BrokenFile, check_entries
from sksemantic._saving.digest import KEY_LENGTH, digest, facts_of
from sksemantic._saving.directory import place_of, replace_files, settle, sha256_of
from sksemantic._saving.state import from_files, to_files
from sksemantic._saving.trees import join_tensors, split_tensors
from sksemantic._saving.values import Unsavable, from_json, to_json
from sksemantic._training.checkpoint import Tree
from sksemantic._training.fitted import FittedModel
from sksemantic._training.job import Job
from sksemantic._warnings import user_stacklevel

_FORMAT = 1
_FACTS = "fit"
_FINISHED = "finished"
_LOCK = ".lock"
_MOST_AT_ONCE = 100
_ENTRIES: dict[str, dict[str, Any]] = {
    "start": {
        "plan": dict[str, Any],
        "tuned_layers": tuple,
        "rng": tuple,
        "rng_at_step": tuple,
        "dropout": torch.Tensor,
        "probe": dict[str, Any],
        "weights": dict[str, Any],
        "n_threads": int,
        "cache_limit": int,
    },
    "position": {
        "weights": dict[str, Any],
        "optimizer": dict[str, Any],
        "callbacks": dict[str, Any],
        "history": list[dict[str, Any]],
        "batches": list[dict[str, Any]],
        "is_time_up": bool,
        "dropout": torch.Tensor,
        "rng": tuple,
        "decision": dict[str, Any] | None,
        "progress": dict[str, float],
    },
    "finished": {
        "fitted": dict[str, Any],
        "tensors": dict[str, Any],
        "extra": dict[str, Any],
    },
}


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

    Notes
    -----
    The folder is locked until `close`; a fit that runs at the same time as the same one
    has a folder of its own.
    """

    def __init__(
        self, directory: Path, facts: Mapping[str, Any], *, keeps_result: bool
    ) -> None:
        self._facts = json.loads(json.dumps(facts))  # as they are read again
        self._directory = directory
        self._keeps_result = keeps_result
        self._is_full = False
        key = digest([_FORMAT, self._facts])
        self._folder = directory / key
        for n in count(1):
            self._lock = _lock_of(self._folder)
            if self._lock is not None or n > _MOST_AT_ONCE:
                break
            self._keeps_result = False  # the one that runs already keeps it
            self._folder = directory / f"{key}-{n}"

    def close(self) -> None:
        """Let others have the folder."""
        if self._lock is not None:
            self._lock.release()

    def read(self, name: str) -> Tree | None:
        """Return what was written last by this name; None if there is nothing.

        What is broken is told, and left aside.
        """
        path = place_of(self._folder, _json(name))
        if not path.is_file():
            return None
        try:
            values = json.loads(path.read_text("utf-8"))
            file = place_of(self._folder, _tensors(name))
            content = file.read_bytes() if file.exists() else b""
            if values["sha256"] != sha256_of(content):
                raise BrokenFile("the tensors are not those that were written with it")
            tensors = load(content) if content else {}
            tree = join_tensors(from_json(values["tree"]), tensors)
            if name in _ENTRIES:
                check_entries(_ENTRIES[name], tree, name)
        except Exception as exc:  # safetensors has its own, and no base for it
            self._warn_of_broken(name, exc)
            return None
        return tree

    def write(self, **trees: Tree) -> None:
        """Write trees by their names, all at once, in the place of former ones.

        Where that is impossible the fit goes on without, and says so once.
        """
        try:
            if "start" in trees:
                self._warn_of_others()
                self._remove("position")  # of a start that could not be read
                trees[_FACTS] = {"facts": self._facts}
            self._write(trees)
            self._is_full = False
        except Exception as exc:  # whatever it is, the fit is worth more
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
        tree = self.read(_FINISHED)
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
            self.close()
            shutil.rmtree(self._folder, ignore_errors=True)
            return
        try:
            values, tensors = to_files(model)
        except Unsavable:
            return
        self.write(finished={"fitted": values, "tensors": tensors, "extra": extra})
        if not self._is_full:
            self._remove("start", "position")

    def _remove(self, *names: str) -> None:
        settle(self._folder)
        for name in names:
            for file in (_json(name), _tensors(name)):
                (self._folder / file).unlink(missing_ok=True)

    def _write(self, trees: Mapping[str, Tree]) -> None:
        writers: dict[str, Any] = {}
        for name, tree in trees.items():
            tensors: dict[str, np.ndarray] = {}
            values = to_json(split_tensors(tree, tensors))
            content = save(tensors) if tensors else b""
            values = {"tree": values, "sha256": sha256_of(content)}
            text = json.dumps(values, allow_nan=False)
            writers[_json(name)] = partial(Path.write_text, data=text, encoding="utf-8")
            if tensors:
                writers[_tensors(name)] = partial(Path.write_bytes, data=content)
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
                found = from_json(json.loads(fit.read_text("utf-8"))["tree"])
                changes = ", ".join(_changes(found["facts"], self._facts))
            except (ValueError, KeyError, TypeError, OSError):  # of no use to anyone
                continue
            lock = _lock_of(folder)
            if lock is None:  # it is going on
                continue
            lock.release()
            warnings.warn(
                f"{str(folder)!r} holds the state of a fit that was not finished, but "
                f"of another one than this: {changes}. This one starts anew; the other "
                "goes on where nothing has changed. Remove the folder if it is no "
                "longer needed.",
                UserWarning,
                stacklevel=user_stacklevel(),
            )


def _lock_of(folder: Path) -> FileLock | None:
    """Return the lock of a folder, held; None if another fit holds it."""
    lock = FileLock(folder / _LOCK, timeout=0, thread_local=False)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except (Timeout, OSError):
        return None
    return lock


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
