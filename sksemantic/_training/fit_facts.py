"""What a fit has made, in words: for notebooks, terminals and model cards."""

from functools import lru_cache
from typing import TYPE_CHECKING

from sksemantic._backbone.source import is_there
from sksemantic._backbone.weight_files import check_weight_files
from sksemantic._training.display import duration
from sksemantic.exceptions import SKSemanticError

if TYPE_CHECKING:
    from sksemantic._backbone.source import BackboneSource
    from sksemantic._training.fitted import FittedModel

TASKS = {
    "classification": "one label for each text",
    "ordinal": "one of several ordered labels for each text",
    "multilabel": "any number of labels for each text",
    "token_classification": "one label for each word",
    "regression": "numbers for each text",
}


_OF_LONG = {"windows": "of longer ones in windows", "truncate": "longer ones are cut"}


def fit_facts(model: "FittedModel") -> dict[str, str]:
    """Return what a fit has made, by what it is; nothing is loaded for it."""
    config, texts = model.config.model, model.n_texts
    backbone = config.backbone
    first, end = config.tuned_layers
    n_tuned = f"{end - first} of {backbone.n_layers} layers tuned"
    is_prefix = config.method == "prefix"
    return {
        "task": TASKS[model.task.name],
        "backbone": backbone.source.name + (f", {n_tuned}" if is_prefix else ""),
        "prompt": config.prompt,
        "trained": _trained(model),
        "saved size": f"{_megabytes(model):.1f} MB, without the backbone",
        "texts": f"{texts:,}" if texts else "unknown",
        "tokens read of a text": f"{config.max_length}, {_OF_LONG[config.long_texts]}",
        "time": duration(model.timing.seconds),
        **_comparison(model),
    }


def _trained(model: "FittedModel") -> str:
    n_trained = model.n_trained
    source = model.config.model.backbone.source
    n_backbone = _count_weights(source) if is_there(source) else 0
    if not n_backbone:
        return f"{n_trained:,} numbers"
    share = n_trained / n_backbone
    return f"{n_trained:,} numbers, {share:.2%} of the backbone's {n_backbone:,}"


@lru_cache(maxsize=64)
def _count_weights(source: "BackboneSource") -> int:
    """Return how many weights the backbone's files have; 0 if they cannot be read.

    A notebook's cell asks several times, and a header may list a whole vocabulary.
    """
    try:
        return check_weight_files(source)
    except (SKSemanticError, OSError):
        return 0  # it is shown all the same


def _megabytes(model: "FittedModel") -> float:
    return sum(weights.nbytes for weights in model.weights.values()) / 1e6


def _comparison(model: "FittedModel") -> dict[str, str]:
    """Return trained model beside linear probe, on held-out texts."""
    comparison = model.result.comparison
    if comparison is None:
        return {}
    trained, probe = comparison.trained[0], comparison.linear_probe[0]
    facts = {
        f"{model.task.loss_names[0]} on {comparison.n_texts:,} held-out texts": (
            f"{trained:.4f} trained, {probe:.4f} by the linear probe"
        ),
        "kept": comparison.kept.replace("_", " "),
    }
    if comparison.kept == "trained" and probe < trained:
        facts["kept"] += ", as the linear probe is not clearly better"
    if comparison.has_joined:
        facts["after this comparison"] = "trained on the held-out texts too"
    return facts
