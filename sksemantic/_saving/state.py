"""A fitted model in JSON values and tensors, and back, checked."""

import math
from typing import Any

import numpy as np

from sksemantic._backbone.loading import BackboneConfig
from sksemantic._backbone.source import BackboneSource
from sksemantic._model.config import ModelConfig
from sksemantic._saving.checks import BrokenFile, check, check_entries, check_fields
from sksemantic._saving.tasks import read_task
from sksemantic._saving.values import to_json
from sksemantic._tasks.linear_probe_config import LinearProbeConfig
from sksemantic._training.comparison import Comparison
from sksemantic._training.config import TrainingConfig
from sksemantic._training.fitted import FittedModel
from sksemantic._training.progress import FitTiming

Tensors = dict[str, "np.ndarray"]
_DTYPES = ("float32", "bfloat16", "float16")
_MOST_LAYERS = 10_000
_MOST_TOKENS = 1_000_000
_ENTRIES: dict[str, Any] = {
    "model": dict[str, Any],
    "training": dict[str, Any],
    "task": dict[str, Any],
    "columns": dict[str, Any],
    "history": list[dict[str, Any]],
    "linear_probe": dict[str, Any] | None,
    "comparison": dict[str, Any] | None,
    "temperature": float,
    "timing": dict[str, Any],
    "optimizer": dict[str, Any] | None,
    "n_texts": int,
    "fingerprint": str | None,
}


def to_files(model: FittedModel) -> tuple[dict[str, Any], Tensors]:
    """Return a model's JSON values, and its tensors by name."""
    state = model.to_state()
    tensors = {f"weights.{name}": value for name, value in state["weights"].items()}
    probe, optimizer = state["linear_probe"], state["optimizer"]
    if probe is not None:
        for name in ("coef", "intercept"):
            tensors[f"linear_probe.{name}"] = probe.pop(name)
    if optimizer is not None:
        for number, moments in optimizer.pop("state").items():
            for name, value in moments.items():
                tensors[f"optimizer.{number}.{name}"] = value
    # Where the files were is nobody else's business.
    del state["model"]["backbone"]["source"]["location"]
    values = {name: to_json(state[name]) for name in _ENTRIES}
    return values, {name: np.ascontiguousarray(v) for name, v in tensors.items()}


def from_files(values: dict[str, Any], tensors: Tensors) -> FittedModel:
    """Return the model of `to_files`; where its backbone is, it does not know.

    Raises
    ------
    BrokenFile
        If anything is not as `to_files` writes it.
    """
    check_entries(_ENTRIES, values, "fitted")
    state = dict(values)
    _check_tensors(tensors)
    weights = _part(tensors, "weights.")
    state["weights"] = weights
    state["model"] = _model(values["model"], weights)
    n_outputs = state["model"]["n_outputs"]
    read_task(values["task"], n_outputs)
    _check_training(values["training"])
    state["columns"] = _columns(values["columns"])
    state["linear_probe"] = _linear_probe(
        values["linear_probe"], _part(tensors, "linear_probe."), weights
    )
    if values["comparison"] is not None:
        check_fields(Comparison, values["comparison"], "comparison")
    check_fields(FitTiming, values["timing"], "timing")
    if not 0 < values["temperature"] < math.inf:
        raise BrokenFile("temperature must be a positive number")
    state["optimizer"] = _optimizer(
        values["optimizer"], _part(tensors, "optimizer."), weights
    )
    try:
        return FittedModel.from_state(state | {"format": FittedModel.FORMAT})
    except (TypeError, KeyError, AttributeError) as exc:
        raise BrokenFile(f"it lacks something: {exc}") from exc


def _part(tensors: Tensors, prefix: str) -> Tensors:
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }


def _check_tensors(tensors: Tensors) -> None:
    """Refuse tensors that are not finite float32, and foreign names."""
    for name, value in tensors.items():
        if not name.startswith(("weights.", "linear_probe.", "optimizer.")):
            raise BrokenFile(f"there is a tensor {name!r:.60}, which is unknown")
        if value.dtype not in (np.float32, np.float64):
            raise BrokenFile(f"the tensor {name!r:.60} is of {value.dtype}")
        if not np.isfinite(value).all():
            raise BrokenFile(f"the tensor {name!r:.60} has values that are not finite")


def _model(values: dict[str, Any], weights: Tensors) -> dict[str, Any]:
    """Return a checked model config, with no place of its backbone."""
    check_entries(
        {"backbone": dict[str, Any]},
        {"backbone": values.get("backbone")},
        "model",
    )
    backbone = values["backbone"]
    check(dict[str, Any], backbone.get("source"), "model.backbone.source")
    if "location" in backbone["source"]:
        raise BrokenFile("model.backbone.source has a location, which is never saved")
    source = backbone["source"] | {"location": ""}
    check_fields(BackboneSource, source, "model.backbone.source")
    checked = backbone | {"source": BackboneSource(**source)}
    if checked.pop("dtype", None) not in _DTYPES:
        raise BrokenFile("model.backbone.dtype must be one of " + ", ".join(_DTYPES))
    if checked.get("prefix_mechanism", "") is None:  # of a soft prompt
        del checked["prefix_mechanism"]
    without = ("device", "dtype")
    check_fields(BackboneConfig, checked, "model.backbone", without)
    rest = {name: value for name, value in values.items() if name != "backbone"}
    check_fields(ModelConfig, rest, "model", without=("backbone",))
    _check_sizes(values, weights)
    return values | {"backbone": backbone | {"source": source}}


def _check_sizes(model: dict[str, Any], weights: Tensors) -> None:
    """Refuse numbers that the weights contradict, or that no model can have.

    The shapes of the adapter depend on the backbone: they are compared once it is
    loaded.
    """
    head = weights.get("head.weight", np.zeros(0))
    if head.ndim != 2 or head.shape[0] != model["n_outputs"] or not head.size:
        raise BrokenFile("the tensor 'weights.head.weight' has not the model's outputs")
    expected = {
        "head.bias": head.shape[:1],
        "feature_mean": head.shape[1:],
        "feature_scale": head.shape[1:],
    }
    for name, shape in expected.items():
        if name not in weights or weights[name].shape != shape:
            raise BrokenFile(f"the tensor 'weights.{name}' must have the shape {shape}")
    if not (weights["feature_scale"] > 0).all():
        raise BrokenFile("the tensor 'weights.feature_scale' must be positive")
    longest = max(max(value.shape, default=1) for value in weights.values())
    first, stop = model["tuned_layers"]
    limits = {
        "adapter_rank": (1, max(longest, 8)),
        "text_rank": (0, longest),
        "n_virtual_tokens": (1, _MOST_TOKENS),
        "max_length": (1, _MOST_TOKENS),
        "n_texts": (1, _MOST_TOKENS),
    }
    for name, (low, high) in limits.items():
        if not low <= model[name] <= high:
            raise BrokenFile(f"model.{name} is {model[name]!r:.60}, which cannot be")
    if not 0 <= first <= stop <= _MOST_LAYERS:
        raise BrokenFile("model.tuned_layers is no range of layers")
    if not 0 <= model["dropout"] < 1:
        raise BrokenFile("model.dropout must be at least 0 and below 1")


def _check_training(values: dict[str, Any]) -> None:
    probe = values.get("linear_probe")
    check_fields(LinearProbeConfig, probe, "training.linear_probe")
    changed = values | {"linear_probe": LinearProbeConfig()}
    check_fields(TrainingConfig, changed, "training")


def _columns(values: dict[str, Any]) -> dict[str, Any]:
    hints = {"n_features_in_": int, "feature_names_in_": list[str]}
    check_entries(hints, values, "columns", optional=tuple(hints))
    return values


def _linear_probe(
    values: dict[str, Any] | None, arrays: Tensors, weights: Tensors
) -> dict[str, Any] | None:
    if values is None:
        if arrays:
            raise BrokenFile("there are tensors of a linear probe, and none")
        return None
    check_entries({"penalty": float, "cv_loss": float}, values, "linear_probe")
    shapes = {
        "coef": (None, weights["head.weight"].shape[1]),
        "intercept": (None,),
    }
    for name, shape in shapes.items():
        value = arrays.get(name, np.zeros(0))
        if value.ndim != len(shape) or value.shape[1:] != shape[1:] or not value.size:
            raise BrokenFile(f"the tensor 'linear_probe.{name}' has another shape")
    return values | {name: arrays[name] for name in shapes}


def _optimizer(
    values: dict[str, Any] | None, arrays: Tensors, weights: Tensors
) -> dict[str, Any] | None:
    """Return the optimizer's state, by parameter number and name."""
    if values is None:
        if arrays:
            raise BrokenFile("there are tensors of an optimizer, and none")
        return None
    check_entries({"param_groups": list[dict[str, Any]]}, values, "optimizer")
    moments: dict[str, dict[str, Any]] = {}
    for name, value in arrays.items():
        number, _, moment = name.partition(".")
        if not number.isascii() or not number.isdigit() or int(number) >= len(weights):
            raise BrokenFile(f"the tensor 'optimizer.{name:.60}' is of no parameter")
        moments.setdefault(number, {})[moment] = value
    return values | {"state": moments}
