"""From an estimator's parameters to a module: everything "auto" is decided here."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from sksemantic._backbone.device import resolve_device, resolve_dtype
from sksemantic._backbone.loading import BackboneConfig
from sksemantic._backbone.source import resolve
from sksemantic._inputs.model_options import ModelOptions, check_model_kwargs
from sksemantic._inputs.validation import (
    check_quantization,
    check_tuned_layers,
    refuse_prefix_only,
)
from sksemantic._model.config import resolve_model_config, resolve_pooling
from sksemantic._model.module import SemanticModule
from sksemantic._model.pooling import PAIR, TOKENS
from sksemantic._training.config import TrainingConfig
from sksemantic._training.options import OWN_PARAMETERS, check_training_options
from sksemantic._training.presets import resolve_training_config
from sksemantic._training.process_group import check_places

if TYPE_CHECKING:
    from sksemantic._backbone.backbone import Backbone
    from sksemantic._inputs.prompt import Prompt
    from sksemantic._inputs.template import Template
    from sksemantic._tasks.base import Targets

Parameters = Mapping[str, Any]  # of an estimator, by name


def check_parameters(parameters: Parameters, caller: str) -> None:
    """Check what needs neither texts nor a backbone.

    Raises
    ------
    ValueError
        If parameters are wrong, or do not go together.
    """
    check_training_options(parameters["training"], caller)
    check_model_kwargs(parameters["model_kwargs"], caller)
    check_places(parameters)
    check_tuned_layers(parameters["tuned_layers"])
    if parameters["method"] == "prompt":
        tuned_layers = parameters["tuned_layers"]
        refuse_prefix_only("tuned_layers", tuned_layers, "auto", also="all")
        text_rank = _option(parameters, "text_rank")
        refuse_prefix_only("training__text_rank", text_rank, "auto", 0)
        mechanism = (parameters["model_kwargs"] or {}).get("prefix_mechanism", "auto")
        refuse_prefix_only("model_kwargs__prefix_mechanism", mechanism, "auto")
    head_init = _option(parameters, "head_init")
    has_label_texts = parameters.get("label_texts") is not None
    if has_label_texts and head_init not in ("auto", "linear_probe"):
        raise ValueError(
            "The 'head_init' entry of the 'training' parameter must be 'auto' or "
            "'linear_probe' with 'label_texts', which the linear probe reads. Got "
            f"{head_init!r} instead."
        )


def check_task_options(
    parameters: Parameters, targets: "Targets", *, is_partial: bool = False
) -> None:
    """Refuse what `training` asks for and the task, or `partial_fit`, does not have.

    Raises
    ------
    ValueError
    """
    task = targets.task
    for name, accepted, is_able, kind in (
        ("contrast", 0, task.can_contrast, "classes without an order"),
        ("objective", "task", task.can_contrast_first, "classes"),
    ):
        value = _option(parameters, name)
        if value not in ("auto", accepted) and not is_able:
            raise ValueError(
                f"The {name!r} entry of the 'training' parameter must be 'auto' or "
                f"{accepted!r} unless every text is of one of several {kind}: other "
                f"texts are more or less alike. Got {value!r} instead."
            )
    if is_partial and _option(parameters, "objective") == "contrast":
        raise ValueError(
            "The 'objective' entry of the 'training' parameter must be 'auto' or "
            "'task' for partial_fit, which trains the head as well. Got 'contrast' "
            "instead: set_params(training__objective='task')."
        )
    pooling = _option(parameters, "pooling")
    if pooling != "auto" and task.has_words:
        raise ValueError(
            "The 'pooling' entry of the 'training' parameter must be 'auto' where "
            f"words are labelled: each word's own state is read. Got {pooling!r} "
            "instead."
        )


def has_few_labelled(parameters: Parameters, targets: "Targets") -> bool:
    """Return whether there are so few that a causal model reads the label texts.

    With more labelled texts these cost more than they tell: they need the uppermost
    layers, which say less of a text than its middle. Measured with Gemma 3 270M.
    """
    enough = _option(parameters, "enough_texts_per_class")
    if enough == "auto":
        enough = TrainingConfig.enough_texts_per_class
    counts = targets.class_counts()
    return bool(counts.min() == 0 or counts.mean() < enough)


def resolve_backbone_config(
    parameters: Parameters, default_n_layers: str | int
) -> BackboneConfig:
    """Find the weights, check the device, and say how the backbone is to be loaded.

    `default_n_layers` is what "auto" stands for.

    Raises
    ------
    BackboneNotFoundError
        If there are no such weights.
    ValueError
        If the device is not there, or the weights cannot be quantized.
    """
    options = ModelOptions(**deepcopy(parameters["model_kwargs"] or {}))
    device = resolve_device(parameters["device"])
    source = resolve(parameters["model"], options.revision)
    n_layers = options.n_layers
    if n_layers == "auto":
        n_layers = default_n_layers
    return BackboneConfig(
        source,
        device,
        resolve_dtype(options.dtype, device),
        options.prefix_mechanism,
        check_quantization(options.quantization_config, source),
        options.device_map,
        n_layers,
    )


def resolve_training(
    parameters: Parameters,
    backbone: "Backbone",
    targets: "Targets",
    pooling: str,
    **situation: Any,
) -> TrainingConfig:
    """Decide everything that is "auto" about training.

    `situation` goes to `resolve_training_config`.
    """
    changes = {name: parameters[name] for name in OWN_PARAMETERS}
    changes |= (parameters["training"] or {}) | {"pooling": pooling}
    if isinstance(changes.get("callbacks"), list):
        changes["callbacks"] = tuple(changes["callbacks"])
    return resolve_training_config(
        changes,
        targets.task,
        is_causal=backbone.is_causal,
        is_pair=pooling == PAIR,
        has_full_matrices=parameters["adapter"] == "linear",
        has_label_texts=targets.label_texts is not None,
        **situation,
    )


def build_module(
    parameters: Parameters,
    backbone: "Backbone",
    backbone_config: BackboneConfig,
    prompt: "Prompt",
    targets: "Targets",
    n_columns: int,
    rng: np.random.RandomState,
    *,
    had_unit_length: bool = False,
    **situation: Any,
) -> "tuple[SemanticModule, Template, TrainingConfig]":
    """Decide everything that is "auto", and build an untrained module.

    `n_columns` is the number of texts a row, and `rng` is for the initial values.
    `had_unit_length` says whether the head goes on from one that reads features of
    length one, and `situation` goes to `resolve_training_config`.
    """
    max_length = parameters["max_length"]
    pooling = TOKENS
    if not targets.task.has_words:
        pooling = resolve_pooling(
            _option(parameters, "pooling"),
            backbone.is_causal,
            is_pair=n_columns == 2 and not prompt.has_slots,
        )
    training = resolve_training(parameters, backbone, targets, pooling, **situation)
    model_config, template = resolve_model_config(
        backbone,
        prompt,
        backbone_config=backbone_config,
        n_texts=n_columns,
        max_length=None if max_length is None else int(max_length),
        long_texts=parameters.get("long_texts", "truncate"),
        method=parameters["method"],
        adapter=parameters["adapter"],
        adapter_rank=parameters["adapter_rank"],
        tuned_layers=parameters["tuned_layers"],
        frozen_share=training.frozen_share,
        text_rank=training.text_rank,
        is_text_rank_default=_option(parameters, "text_rank") == "auto",
        pooling=pooling,
        dropout=training.dropout,
        has_unit_length=had_unit_length or training.objective == "contrast",
        n_outputs=targets.task.n_outputs,
    )
    training = replace(training, text_rank=model_config.text_rank)
    seed = rng.randint(np.iinfo(np.int32).max)
    module = SemanticModule.seeded(backbone, template.prompt_ids, model_config, seed)
    return module, template, training


def _option(parameters: Parameters, name: str) -> Any:
    return (parameters["training"] or {}).get(name, "auto")
