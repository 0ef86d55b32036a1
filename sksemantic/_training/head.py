"""The head outside training: the scale of its features, its start, its end."""

import math
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from sksemantic._model.inference import compute_head_inputs
from sksemantic._tasks.label_prior import label_prior
from sksemantic._tasks.linear_probe import LinearProbe, ProbeFitter, ProbeRows
from sksemantic._training.holdout import at_most
from sksemantic._training.process_group import processes_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray
    from torch import Tensor

    from sksemantic._inputs.dataset import TextDataset
    from sksemantic._model.module import SemanticModule
    from sksemantic._tasks.base import Task
    from sksemantic._training.config import TrainingConfig
    from sksemantic._training.side_information import SideInformation

_SMALLEST_SCALE = 1e-4  # of the largest of its kind; below it a feature is constant


def set_feature_scale(
    module: "SemanticModule", features: "NDArray", weights: "NDArray"
) -> None:
    """Standardise what the head reads by the frozen features' mean and scale."""
    counted = features[weights > 0]
    # In single precision the spread of equal numbers is not quite zero.
    scale = counted.std(axis=0, dtype=np.float64)
    # Those of a pair are three kinds of numbers side by side.
    kinds = scale.reshape(-1, module.backbone.hidden_size)
    largest = np.maximum(kinds.max(axis=1, keepdims=True), _SMALLEST_SCALE)
    kinds[kinds < _SMALLEST_SCALE * largest] = 1.0
    _assign(module.feature_mean, counted.mean(axis=0))
    _assign(module.feature_scale, scale)


def scale_by_all(
    module: "SemanticModule",
    features: "NDArray",
    data: "TextDataset",
    others: "Iterable[TextDataset | None]",
    read: "Callable[[TextDataset], NDArray]",
) -> "tuple[NDArray, NDArray]":
    """Set the features' scale by the texts, and by others, which have no labels.

    Return the features (n, C) and the weights (n,) of all. `read` computes the features
    of the others.
    """
    weights = data.row_weights
    for other in others:
        if other is not None and len(other):
            features = np.concatenate([features, read(other)])
            weights = np.concatenate([weights, other.row_weights])
    set_feature_scale(module, features, weights)
    return features, weights


def standardise(module: "SemanticModule", features: "NDArray") -> "NDArray":
    """Return features (n, C) of mean zero and scale one, as the head reads them."""
    centred = features - module.feature_mean.cpu().numpy()
    centred /= module.feature_scale.cpu().numpy()
    return centred


def init_head(
    module: "SemanticModule",
    task: "Task",
    data: "TextDataset",
    start: str,
    probe: "LinearProbe | None",
    rng: np.random.RandomState,
) -> None:
    """Start the head at zero, at random as `nn.Linear` does, or from a linear probe."""
    if start == "linear_probe":
        assert probe is not None
        module.load_state_dict(head_state(module, probe), strict=False)
        return
    head = module.head
    bound = 1 / math.sqrt(head.in_features) if start == "random" else 0.0
    _assign(head.weight, rng.uniform(-bound, bound, head.weight.shape))
    _assign(head.bias, task.initial_bias(data.targets, data.row_weights))


def fit_head_to_windows(
    module: "SemanticModule",
    task: "Task",
    data: "TextDataset",
    config: "TrainingConfig",
    rng: np.random.RandomState,
) -> None:
    """Fit the head anew to the mean features of long texts, if numbers are predicted.

    Trained on one window at a time, it is too small for the mean of several: the noise
    of single windows draws the coefficients to zero. Measured on the editorials, where
    R2 rises from 0.52 to 0.58. The order of classes does not change by that.
    """
    if data.n_windows is None or task.skorch_kind != "numbers":
        return
    data = at_most(data, config.max_probe_rows, rng)
    read = partial(compute_head_inputs, module)
    raw = processes_of(config.processes).read(read, data)
    features = standardise(module, raw)
    rows = ProbeRows(features, data.targets, data.row_weights)
    fitter = ProbeFitter(config.linear_probe, rng)
    state = head_state(module, task.fit_linear_probe(fitter, rows))
    module.load_state_dict(state, strict=False)


def fit_head_last(
    module: "SemanticModule",
    task: "Task",
    data: "TextDataset",
    side: "SideInformation",
    config: "TrainingConfig",
    rng: np.random.RandomState,
    *,
    is_fresh: bool = True,
) -> None:
    """Fit the head to what a module that was trained without it makes of the texts.

    Unlabelled ones count for the mean and the scale of the features. With texts of the
    labels the head stays near what the trained module makes of these; if a class has no
    text, in a warm start, near the head that still knows it. If the features separate
    the texts that they were trained on, all penalties look alike and none can be
    chosen; if they do not, the penalty is cross-validated.
    """
    processes = processes_of(config.processes)
    read = partial(processes.read, partial(compute_head_inputs, module))
    raw, unlabelled = read(data), side.unlabelled
    former = trained_head(module, config.linear_probe.last_penalty)
    former_scale = _scale_of(module)
    if unlabelled is not None:
        unlabelled = at_most(unlabelled, config.max_probe_rows, rng)
    others = unlabelled, side.content_free
    everything, weights = scale_by_all(module, raw, data, others, read)
    prior: NDArray | LinearProbe | None = None
    if side.label_texts is not None:
        vectors = side.label_texts.read_again(read)
        counted = standardise(module, everything[weights > 0])
        prior = prior_of(module, vectors, counted)
    rows = ProbeRows(standardise(module, raw), data.targets, data.row_weights)
    fitter = ProbeFitter(config.linear_probe, rng)
    if not is_fresh and task.lacks_classes(rows):
        prior = _rescaled(former, former_scale, _scale_of(module))
    penalty = config.linear_probe.last_penalty
    probe = task.fit_linear_probe(fitter, rows, penalty, prior)
    weighed = rows.with_weight()
    if task.losses(probe.scores(weighed.features), weighed.y)[:, 0].any():
        probe = task.fit_linear_probe(fitter, rows, None, prior)
    module.load_state_dict(head_state(module, probe), strict=False)


def prior_of(
    module: "SemanticModule", vectors: "NDArray", features: "NDArray"
) -> "NDArray":
    """Return the label prior (K, C) of the labels' vectors (K, C).

    `features` (n, C) are those of texts, standardised.
    """
    return label_prior(vectors, features, module.feature_scale.cpu().numpy())


def trained_head(module: "SemanticModule", penalty: float) -> LinearProbe:
    """Return the module's head as a linear probe of this penalty."""
    state = module.head.state_dict()
    coef, intercept = (
        state[name].cpu().numpy().astype(np.float64) for name in ("weight", "bias")
    )
    return LinearProbe(coef, intercept, penalty, float("nan"))


def head_state(module: "SemanticModule", probe: "LinearProbe") -> "dict[str, Tensor]":
    """Return a linear probe as a part of the module's state."""
    weight, bias = (
        torch.as_tensor(values, dtype=module.head.weight.dtype)
        for values in (probe.coef, probe.intercept)
    )
    return {"head.weight": weight, "head.bias": bias}


def _scale_of(module: "SemanticModule") -> "tuple[NDArray, NDArray]":
    """Return copies of the features' mean and scale (C,)."""
    mean, scale = module.feature_mean, module.feature_scale
    return mean.cpu().numpy().copy(), scale.cpu().numpy().copy()


def _rescaled(
    head: LinearProbe,
    before: "tuple[NDArray, NDArray]",
    now: "tuple[NDArray, NDArray]",
) -> LinearProbe:
    """Return the head that gives the same scores at another mean and scale (C,)."""
    raw = head.coef / before[1]
    shift = raw @ (now[0] - before[0])
    return replace(head, coef=raw * now[1], intercept=head.intercept + shift)


@torch.no_grad()
def _assign(target: "Tensor", values: "NDArray") -> None:
    target.copy_(torch.as_tensor(np.asarray(values), dtype=target.dtype))
