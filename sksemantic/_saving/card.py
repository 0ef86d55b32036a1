"""The model card of a saved estimator."""

from typing import TYPE_CHECKING, Any

from huggingface_hub import ModelCardData

from sksemantic._training.fit_facts import fit_facts

if TYPE_CHECKING:
    from sksemantic._training.fitted import FittedModel

CARD_MARK = "<!-- Written by sksemantic. Without this line it is not written again. -->"
_MOST_LABELS = 20
_PIPELINES = {
    "token_classification": "token-classification",
    "regression": "text-classification",
}


def model_card(name: str, model: "FittedModel", is_bundled: bool) -> str:
    """Return the card of a fitted estimator of the class `name`, in Markdown."""
    config, task = model.config.model, model.task
    source = config.backbone.source
    is_id = source.origin in ("hub", "hub cache", "weights package")
    data = ModelCardData(
        library_name="sksemantic",
        tags=["sksemantic", "sk-tuning", "parameter-efficient"],
        pipeline_tag=_PIPELINES.get(task.name, "text-classification"),
        base_model=source.name if is_id else None,
    )
    facts = fit_facts(model)
    del facts["backbone"], facts["prompt"]  # told beside the table
    lines = [
        f"---\n{data.to_yaml()}\n---",
        CARD_MARK,
        f"# {name}",
        f"A text model by [SK-Tuning](https://arxiv.org/abs/2410.08598): the frozen "
        f"backbone `{source.name}` reads a prompt, and a trained adapter of "
        f"{model.n_trained:,} numbers turns what it understood into a prefix of every "
        "text.",
        _table(facts),
        "## How to load it",
        _loading(name, is_bundled=is_bundled, is_id=is_id),
        "## Prompt",
        _quoted(config.prompt),
    ]
    if is_bundled:
        lines += [
            "## Backbone",
            f"The directory `backbone` has the files of `{source.name}`, under the "
            "licence of whoever made it.",
        ]
    labels = _labels(task)
    if labels:
        lines += ["## Labels", labels]
    return "\n\n".join(lines) + "\n"


def _table(facts: dict[str, str]) -> str:
    rows = [f"| {name} | {value} |" for name, value in facts.items()]
    return "\n".join(["| | |", "|---|---|", *rows])


def _loading(name: str, *, is_bundled: bool, is_id: bool) -> str:
    more = "" if is_bundled or is_id else ", model=THE_BACKBONE"
    code = (
        f"from sksemantic import {name}\n\n"
        f"model = {name}.from_pretrained(DIRECTORY_OR_HUB_ID{more})\n"
        "model.predict([...])"
    )
    return f"```python\n{code}\n```"


def _labels(task: Any) -> str:
    names = getattr(task, "label_names", None)
    labels = getattr(task, "classes", ()) if names is None else names
    shown = [f"`{str(label):.60}`" for label in labels[:_MOST_LABELS]]
    more = f", and {len(labels) - _MOST_LABELS} more" * (len(labels) > _MOST_LABELS)
    return ", ".join(shown).replace("\n", " ") + more


def _quoted(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines() or [""])
