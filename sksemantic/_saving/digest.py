"""What stands for a fit, and for what it is given: short, and the same everywhere."""

import hashlib
import re
from collections.abc import Mapping
from functools import partial
from types import BuiltinFunctionType, FunctionType
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np
import torch

from sksemantic._backbone.fingerprint import fingerprint
from sksemantic._version import library_versions

if TYPE_CHECKING:
    from sksemantic._inputs.dataset import Ragged, TextDataset
    from sksemantic._training.fitted import FittedModel
    from sksemantic._training.job import Job, Request

KEY_LENGTH = 16
_PLACE_IN_MEMORY = re.compile(r" at 0x[0-9a-fA-F]+")


def digest(value: Any) -> str:
    """Return what stands for a value: equal ones have the same, in every process."""
    found = hashlib.sha256()
    _add(found, value)
    return found.hexdigest()[:KEY_LENGTH]


def facts_of(job: "Job") -> dict[str, Any]:
    """Return all that the result of a fit depends on, large values by their digest.

    Where the chance comes from is left out if nobody has set it.
    """
    request, trainer = job.request, job.trainer
    model = trainer.module.config.to_dict()
    source = model["backbone"].pop("source")
    training = trainer.config.to_dict()
    for name in ("verbose", "checkpoint_seconds"):
        del training[name]
    former = request.former
    has_seed = request.parameters["random_state"] is not None
    return {
        "backbone weights": fingerprint(trainer.module.config.backbone.source),
        "backbone": {name: source[name] for name in ("name", "revision")},
        "model": model,
        "training": training,
        "callbacks": [*map(_described, trainer.config.callbacks)],
        "device": str(trainer.module.backbone.device),
        "labels": digest(trainer.task.to_state()),
        **_data_facts(job.data),
        "side information": digest(_of_side_information(job)),
        "fit before": "none" if former is None else digest(_of_former(former)),
        "random_state": digest(trainer.rng.get_state()) if has_seed else "none",
        "versions": library_versions(),
    }


def facts_of_call(request: "Request") -> dict[str, str]:
    """Return what a fit was called with; what it shows, and its chance, are left out.

    A parameter that holds objects is described as far as it can be shown.
    """
    texts, targets, former = request.texts, request.targets, request.former
    shown = {
        f"{name!r} parameter": _PLACE_IN_MEMORY.sub("", repr(value))
        for name, value in request.parameters.items()
        if name not in ("random_state", "verbose")
    }
    return {
        "X": digest(getattr(texts, "values", texts)),
        "y": digest([targets.values, targets.task.to_state(), targets.labelled]),
        "sample_weight": digest(targets.weights),
        "groups": digest(None if request.groups is None else [*request.groups]),
        "fit before": "none" if former is None else digest(_of_former(former)),
        "version": repr(library_versions()),
        **shown,
    }


def _of_former(former: "FittedModel") -> list[Any]:
    return [former.weights, former.task.to_state()]


def _data_facts(data: "TextDataset") -> dict[str, str]:
    groups = data.groups
    return {
        "X": digest(_of_texts(data)),
        "y": digest(data.targets),
        "sample_weight": digest(data.weights),
        "groups": digest(None if groups is None else [*map(str, groups)]),
    }


def _of_texts(data: "TextDataset") -> list[Any]:
    words, pairs = data.word_positions, data.pair_texts
    tokens = [*map(_of_ragged, (data.token_ids, words, pairs))]
    return [*tokens, data.n_windows]


def _of_ragged(ragged: "Ragged | None") -> Any:
    if ragged is None:
        return None
    return [ragged.flat, ragged.starts, ragged.second_starts]


def _of_side_information(job: "Job") -> Any:
    side = job.side
    vectors = [
        None if labels is None else labels.vectors
        for labels in (side.label_texts, side.new_label_texts)
    ]
    others = side.unlabelled
    return [*vectors, None if others is None else _of_texts(others)]


def _described(callback: Any) -> str:
    """Return a callback's class, and what stands for its parameters."""
    if isinstance(callback, tuple):
        name, callback = callback
        return f"{name}: {_described(callback)}"
    kind = callback if isinstance(callback, type) else type(callback)
    given = {} if kind is callback else vars(callback)
    given = {name: given[name] for name in given if not name.endswith("_")}
    return f"{kind.__module__}.{kind.__qualname__} {digest(given)}"


def _add(found: Any, value: Any) -> None:
    if isinstance(value, torch.Tensor):
        value = value.cpu().numpy()
    if isinstance(value, np.ndarray) and value.dtype != object:
        found.update(f"{value.dtype.str}{value.shape}".encode())
        found.update(np.ascontiguousarray(value).tobytes())
    elif isinstance(value, Mapping):
        found.update(f"{len(value)} entries:".encode())
        for key, each in value.items():
            found.update(f"{key!r}=".encode())
            _add(found, each)
    elif isinstance(value, list | tuple | np.ndarray):
        found.update(f"{len(value)} values:".encode())
        for each in value:
            _add(found, each)
    else:
        _add_object(found, value)


def _add_object(found: Any, value: Any) -> None:
    """Add what is no container: a function by its code."""
    if isinstance(value, partial):
        _add(found, [value.func, value.args, value.keywords])
    elif isinstance(value, FunctionType):
        code, cells = value.__code__, value.__closure__ or ()
        parts = [code.co_code, code.co_names, [*map(repr, code.co_consts)]]
        _add(found, [*parts, value.__defaults__, [c.cell_contents for c in cells]])
    elif isinstance(value, type | BuiltinFunctionType):
        found.update(f"{value.__module__}.{value.__qualname__};".encode())
    elif _PLACE_IN_MEMORY.search(repr(value)):
        found.update(uuid4().bytes)  # equal to no other
    else:
        found.update(f"{type(value).__name__} {value!r};".encode())
