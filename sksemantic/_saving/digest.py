"""What stands for a fit, and for what it is given: short, and the same everywhere."""

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from sksemantic._backbone.fingerprint import fingerprint
from sksemantic._saving.pretrained import versions

if TYPE_CHECKING:
    from sksemantic._inputs.dataset import Ragged, TextDataset
    from sksemantic._training.job import Job

KEY_LENGTH = 16


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
        "label texts": digest(_of_label_texts(job)),
        "fit before": "none" if former is None else digest(former.weights),
        "random_state": digest(trainer.rng.get_state()) if has_seed else "none",
        "versions": versions(),
    }


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


def _of_label_texts(job: "Job") -> Any:
    label_texts = job.label_texts
    if label_texts is None:
        return None
    others = label_texts.unlabelled
    return [label_texts.vectors, None if others is None else _of_texts(others)]


def _described(callback: Any) -> str:
    """Return a callback's class and its plain parameters."""
    if isinstance(callback, tuple):
        name, callback = callback
        return f"{name}: {_described(callback)}"
    kind = callback if isinstance(callback, type) else type(callback)
    plain = (type(None), bool, int, float, str)
    given = {
        name: value
        for name, value in ({} if kind is callback else vars(callback)).items()
        if isinstance(value, plain) and not name.endswith("_")
    }
    return f"{kind.__module__}.{kind.__qualname__}({given})"


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
        found.update(f"{type(value).__name__} {value!r};".encode())
