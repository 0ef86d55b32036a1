"""The model's configuration: every "auto" of the model is decided here, once."""

from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import torch

from sksemantic._backbone.loading import BackboneConfig
from sksemantic._backbone.source import BackboneSource
from sksemantic._inputs.prompt import Prompt
from sksemantic._inputs.template import Template
from sksemantic._model.pooling import PAIR

if TYPE_CHECKING:
    from sksemantic._backbone.backbone import Backbone

TunedLayers = str | int | tuple[int, int]


@dataclass(frozen=True)
class ModelConfig:
    """All that decides a module's shape and what it reads, in plain values.

    Attributes
    ----------
    backbone : BackboneConfig
        Its `n_layers` is a number. Its `prefix_mechanism` is the one that is used, by
        name; None for a soft prompt.
    prompt : str
    n_texts : int
        Texts of each row.
    max_length : int
        The most tokens of a row.
    method : {"prefix", "prompt"}
    adapter : {"low_rank", "linear", "embedding"}
    adapter_rank : int
    tuned_layers : tuple of (int, int)
        The first tuned layer and the one after the last, counted over the layers that
        take a prefix. (0, 0) for a soft prompt.
    text_rank : int
        Rank of the text adapter; 0 for none.
    pooling : {"mean", "last", "first", "tokens", "pair"}
    dropout : float
        Of the features that the head reads, in training.
    n_outputs : int
        K.
    """

    backbone: BackboneConfig
    prompt: str
    n_texts: int
    max_length: int
    method: str
    adapter: str
    adapter_rank: int
    tuned_layers: tuple[int, int]
    text_rank: int
    pooling: str
    dropout: float
    n_outputs: int

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration in JSON values, without the device."""
        values = _to_dict(self)
        values["backbone"] = _to_dict(self.backbone) | {
            "source": asdict(self.backbone.source),
            "dtype": str(self.backbone.dtype).removeprefix("torch."),
        }
        del values["backbone"]["device"]
        return values | {"tuned_layers": list(self.tuned_layers)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "ModelConfig":
        """Return the configuration of `to_dict`; `load_model` decides the device."""
        backbone = values["backbone"] | {
            "source": BackboneSource(**values["backbone"]["source"]),
            "dtype": getattr(torch, values["backbone"]["dtype"]),
            "device": torch.device("cpu"),
        }
        changed = {
            "backbone": BackboneConfig(**backbone),
            "tuned_layers": tuple(values["tuned_layers"]),
        }
        return cls(**(values | changed))


def _to_dict(config: Any) -> dict[str, Any]:
    return {field.name: getattr(config, field.name) for field in fields(config)}


def resolve_model_config(
    backbone: "Backbone",
    prompt: Prompt,
    *,
    backbone_config: BackboneConfig,
    n_texts: int,
    max_length: int | None,
    method: str,
    adapter: str,
    adapter_rank: int,
    tuned_layers: TunedLayers,
    frozen_share: float,
    text_rank: str | int,
    default_text_rank: int,
    pooling: str,
    dropout: float,
    n_outputs: int,
) -> tuple[ModelConfig, Template]:
    """Decide what was left open, and check that everything fits the backbone.

    Parameters
    ----------
    backbone : Backbone
    prompt : Prompt
    backbone_config : BackboneConfig
        What the backbone was asked for by. The copy that several estimators share may
        have been loaded under another name.
    frozen_share : float
        Share of a causal backbone's layers, from the bottom, that are not tuned with
        `tuned_layers="auto"`.
    default_text_rank : int
        What `text_rank="auto"` stands for where the backbone's layers can be edited.
    n_texts, max_length, method, adapter, adapter_rank, tuned_layers, text_rank, \
pooling, dropout, n_outputs
        See `ModelConfig`; "auto", or None as `max_length`, where it is to be decided.

    Raises
    ------
    ValueError
        If prompt, `max_length` or `tuned_layers` do not fit the backbone.
    UnsupportedBackboneError
        If the backbone takes no prefix.
    """
    template = Template(backbone, prompt, method, max_length, n_texts)
    tuned, mechanism_name = (0, 0), None
    if method == "prefix":
        n_layers = _count_prefix_layers(backbone, template.prompt_ids)
        share = frozen_share if backbone.is_causal else 0
        tuned = resolve_tuned_layers(tuned_layers, n_layers, share)
        mechanism_name = backbone.prefix_mechanism.name
    is_pair = n_texts == 2 and not prompt.has_slots
    config = ModelConfig(
        backbone=replace(
            backbone_config,
            n_layers=backbone.n_layers,
            prefix_mechanism=mechanism_name,  # type: ignore[arg-type]
        ),
        prompt=str(prompt),
        n_texts=n_texts,
        max_length=template.max_length,
        method=method,
        adapter=adapter,
        adapter_rank=int(adapter_rank),
        tuned_layers=tuned,
        text_rank=resolve_text_rank(
            text_rank, backbone, method, adapter, default=default_text_rank
        ),
        pooling=resolve_pooling(pooling, backbone.is_causal, is_pair=is_pair),
        dropout=dropout,
        n_outputs=n_outputs,
    )
    return config, template


def resolve_tuned_layers(
    tuned_layers: TunedLayers, n_layers: int, frozen_share: float
) -> tuple[int, int]:
    """Return the first tuned layer and the one after the last.

    With Gemma 3 270M the upper two thirds are as good as all, in two thirds of the
    time; with MiniLM the uppermost layer alone costs six points.

    Raises
    ------
    ValueError
        If there are no such layers.
    """
    if tuned_layers == "auto":
        return int(frozen_share * n_layers), n_layers
    if tuned_layers == "all":
        return 0, n_layers
    if isinstance(tuned_layers, tuple | list):
        first, stop = map(int, tuned_layers)
    else:
        first, stop = n_layers - int(tuned_layers), n_layers
    if not (0 <= first < stop <= n_layers):
        raise ValueError(
            f"The 'tuned_layers' parameter must be 'all', at most {n_layers}, or a "
            f"range (first, behind the last) within (0, {n_layers}), for the number of "
            "layers of this backbone that are run and take a prefix (n_layers='all' "
            f"runs all of them). Got {tuned_layers!r} instead."
        )
    return first, stop


def resolve_text_rank(
    text_rank: str | int, backbone: "Backbone", method: str, adapter: str, default: int
) -> int:
    """Return the rank of the text adapter: the default where it is "auto".

    None with the forms of the paper, or where layers cannot be told apart.
    """
    if not isinstance(text_rank, str):
        return int(text_rank)
    if method != "prefix" or adapter != "low_rank":
        return 0
    return default if backbone.has_layer_hooks else 0


def resolve_pooling(pooling: str, is_causal: bool, *, is_pair: bool = False) -> str:
    """Return the kind that "auto" stands for: last for causal models, else mean.

    An encoder's pair that no prompt lays out is read together and apart.
    """
    if pooling != "auto":
        return pooling
    if is_causal:
        return "last"
    return PAIR if is_pair else "mean"


@torch.no_grad()
def _count_prefix_layers(backbone: "Backbone", prompt_ids: list[int]) -> int:
    """Return how many layers take a prefix: all of them, but in hybrids."""
    ids = torch.tensor([prompt_ids], device=backbone.device)
    return backbone.prefix_mechanism.read(backbone.embed(ids)).n_layers
