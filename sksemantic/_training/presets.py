"""Which training configuration a fit starts from: presets by backbone and task."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from sksemantic._tasks.base import Task
from sksemantic._tasks.classification import ClassifierTask
from sksemantic._training.config import TrainingConfig

_ENCODER = TrainingConfig()
_CAUSAL = TrainingConfig(
    lr=2e-3, head_lr=1e-3, min_epochs=5, contrast=0.0, frozen_share=1 / 3
)
_LR_FACTOR_FROM_PROBE = 1 / 4
_HEAD_LR_FROM_PROBE = 1e-4


def from_linear_probe(config: TrainingConfig, **changes: Any) -> TrainingConfig:
    """Return the configuration with a head that starts from the linear probe.

    Its rates are lower.
    """
    return replace(
        config,
        head_init="linear_probe",
        lr=_LR_FACTOR_FROM_PROBE * config.lr,
        head_lr=min(config.head_lr, _HEAD_LR_FROM_PROBE),
        **changes,
    )


_MORE_STEPS: dict[str, Any] = {"most_epochs": 90, "min_steps": 180}
_CONTRAST_FIRST: dict[str, Any] = {
    "objective": "contrast",
    "temperature": 1.0,
    "batch_size": 64,
    "warmup": 0.05,
    "min_epochs": 2,
    "most_epochs": 40,
    "min_steps": 40,
}
PRESETS = {
    "encoder": _ENCODER,
    "encoder, words": replace(_ENCODER, lr=1e-2, head_lr=3e-3),
    "encoder, from the linear probe": from_linear_probe(_ENCODER),
    "encoder, contrast first": replace(_ENCODER, lr=5e-3, **_CONTRAST_FIRST),
    "encoder, few labels": from_linear_probe(_ENCODER, **_MORE_STEPS),
    "causal": _CAUSAL,
    "causal, words": _CAUSAL,
    "causal, from the linear probe": from_linear_probe(_CAUSAL),
    "causal, contrast first": replace(_CAUSAL, **_CONTRAST_FIRST),
    "causal, few labels": from_linear_probe(_CAUSAL),
}
# A step moves every weight alike: each output of a full matrix moves by as many terms
# as there are states, not as the adapter has ranks. Measured on SST-2 with MiniLM.
FULL_MATRIX_LR_FACTOR = 0.1
# More epochs for several targets: measured on the hutto ratings with MiniLM.
SEVERAL_TARGETS_EPOCHS_FACTOR = 1.5


def _most_texts_to_contrast_first(
    task: Task, config: TrainingConfig, *, is_causal: bool
) -> int:
    """Return up to how many texts the contrast comes first by default."""
    if task.has_words:
        return 0 if is_causal else config.contrast_first_sentences
    if not isinstance(task, ClassifierTask) or not task.can_contrast_first:
        return 0
    return len(task.classes) * config.contrast_first_texts


def _asks_for_other_training(changes: Mapping[str, Any]) -> bool:
    """Return whether an option makes no sense where the contrast comes first."""
    is_watched = changes.get("early_stopping") or changes.get("callbacks")
    return bool(is_watched or changes.keys() & {"contrast", "head_init", "head_lr"})


def resolve_training_config(
    changes: Mapping[str, Any],
    task: Task,
    *,
    n_texts: int,
    is_causal: bool,
    is_pair: bool = False,
    has_full_matrices: bool = False,
    has_label_texts: bool = False,
    has_linear_probe: bool = True,
    is_fresh: bool = True,
    was_contrasted: bool = False,
) -> TrainingConfig:
    """Return the preset with some fields changed, nothing left open.

    A change to "auto" leaves the preset's value. The situation says whether the
    adapter has full matrices, not low rank; whether the labels have texts; whether
    there is a linear probe to start from, which a first `partial_fit` lacks; whether
    training starts afresh: no warm start, no `partial_fit`; and whether a warm start
    goes on from a model that was trained by contrast.
    """
    changes = {
        name: value.item() if isinstance(value, np.generic) else value
        for name, value in changes.items()
        if not (isinstance(value, str) and value == "auto")
    }
    changed = replace(_ENCODER, **changes)
    is_few = has_label_texts and is_fresh and changed.is_few(n_texts)
    # Frozen features of a causal model know more by their length: measured with Gemma 3
    # 270M on SST-2; those of MiniLM by their direction.
    has_length = is_causal and is_few and changed.are_too_few(n_texts, task.n_outputs)
    most_texts = _most_texts_to_contrast_first(task, changed, is_causal=is_causal)
    suits = not (is_pair or has_full_matrices or _asks_for_other_training(changes))
    can_end_with_head = has_linear_probe and (is_fresh or was_contrasted)
    suits = suits and can_end_with_head and not has_length
    default = "contrast" if suits and n_texts <= most_texts else "task"
    objective = changes.get("objective", default)
    default = "linear_probe" if is_pair or is_few else "zeros"
    head_init = default if is_few else changes.get("head_init", default)
    if not has_linear_probe and head_init == "linear_probe":
        head_init = "zeros"
    name = "causal" if is_causal else "encoder"
    if objective == "contrast":
        name += ", contrast first"
    elif head_init == "linear_probe":
        name += ", few labels" if is_few else ", from the linear probe"
    elif task.has_words:
        name += ", words"
    preset = PRESETS[name]
    if has_full_matrices:
        preset = replace(preset, lr=FULL_MATRIX_LR_FACTOR * preset.lr)
    if task.skorch_kind == "numbers" and task.n_outputs > 1:
        min_epochs = math.ceil(SEVERAL_TARGETS_EPOCHS_FACTOR * preset.min_epochs)
        preset = replace(preset, min_epochs=min_epochs)
    if is_pair:  # those of a class have a relation in common, not a subject
        preset = replace(preset, contrast=0.0)
    if has_label_texts and objective == "task":
        # A few labelled texts are too little to learn a map of the texts from, or what
        # those of a class have in common.
        preset = replace(preset, contrast=0.0, text_rank=0)
    config = replace(preset, **changes | {"head_init": head_init})
    can_contrast = task.can_contrast and objective == "task"
    contrast = config.contrast if can_contrast else 0.0
    if "contrast" not in changes:
        contrast *= config.contrast_share(n_texts, task.n_outputs)
    return replace(config, max_epochs=config.n_epochs(n_texts), contrast=contrast)
