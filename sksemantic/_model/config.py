"""The model's configuration: every "auto" of the model is replaced here, once."""

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from sksemantic._backbone.layers import no_layers_error
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
    """All that decides a module's parameters and what it reads, in plain values."""

    # With a number of layers, and the mechanism that is used; None for a soft prompt.
    backbone: BackboneConfig
    prompt: str
    n_texts: int  # of each entry of X
    max_length: int  # the most tokens of an entry of X, see `Template`
    method: str  # "prefix" or "prompt"
    adapter: str  # "low_rank", "linear" or "embedding"
    adapter_rank: int
    # The first one and the one after the last, counted over the layers that take a
    # prefix; (0, 0) for a soft prompt.
    tuned_layers: tuple[int, int]
    text_rank: int  # of the text adapter; 0 for none
    pooling: str  # "mean", "last", "first", "tokens" or "pair"
    dropout: float  # of the features that the head reads, in training
    n_outputs: int  # K
    n_virtual_tokens: int  # P, of the prefix or soft prompt
    # How a text above `max_length` is read: "truncate" or "windows".
    long_texts: str = "truncate"
    has_unit_length: bool = False  # whether features are scaled to length one

    @property
    def n_tuned_layers(self) -> int:
        """How many layers take a trained prefix."""
        first, stop = self.tuned_layers
        return stop - first

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration in JSON values, without the device."""
        values = asdict(self) | {"tuned_layers": list(self.tuned_layers)}
        del values["backbone"]["device"]
        values["backbone"]["dtype"] = str(self.backbone.dtype).removeprefix("torch.")
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "ModelConfig":
        """Return the configuration of `to_dict`; `load_model` decides the device."""
        backbone = values["backbone"] | {
            "source": BackboneSource(**values["backbone"]["source"]),
            "dtype": getattr(torch, values["backbone"]["dtype"]),
            "device": torch.device("cpu"),
        }
        tuned = tuple(values["tuned_layers"])
        changed = {"backbone": BackboneConfig(**backbone), "tuned_layers": tuned}
        return cls(**(values | changed))


def resolve_model_config(
    backbone: "Backbone",
    prompt: Prompt,
    *,
    backbone_config: BackboneConfig,
    n_texts: int,
    max_length: int | None,
    long_texts: str,
    method: str,
    adapter: str,
    adapter_rank: int,
    tuned_layers: TunedLayers,
    frozen_share: float,
    text_rank: int,
    is_text_rank_default: bool,
    pooling: str,
    dropout: float,
    has_unit_length: bool,
    n_outputs: int,
) -> tuple[ModelConfig, Template]:
    """Replace every "auto" and None; check that everything fits the backbone."""
    long_texts = resolve_long_texts(
        long_texts, max_length, n_texts, is_causal=backbone.is_causal
    )
    template = Template(backbone, prompt, method, max_length, n_texts, long_texts)
    tuned, mechanism = (0, 0), None
    if method == "prefix":
        tuned = _resolve_layers(backbone, template, tuned_layers, frozen_share)
        mechanism = backbone.prefix_mechanism.name
    rank = resolve_text_rank(text_rank, is_text_rank_default, backbone, method, adapter)
    config = ModelConfig(
        # Not `backbone.config`, of which several estimators share one copy.
        replace(
            backbone_config,
            n_layers=backbone.n_layers,
            prefix_mechanism=mechanism,  # type: ignore[arg-type]
        ),
        prompt=str(prompt),
        n_texts=n_texts,
        max_length=template.max_length,
        method=method,
        adapter=adapter,
        adapter_rank=int(adapter_rank),
        tuned_layers=tuned,
        text_rank=rank,
        pooling=pooling,
        dropout=dropout,
        n_outputs=n_outputs,
        n_virtual_tokens=len(template.prompt_ids),
        long_texts=long_texts,
        has_unit_length=has_unit_length,
    )
    return config, template


def resolve_tuned_layers(
    tuned_layers: TunedLayers, n_layers: int, frozen_share: float
) -> tuple[int, int]:
    """Return the first tuned layer and the one after the last.

    With "auto" a share of the layers, from the bottom, is not tuned. With Gemma 3 270M
    tuning the upper two thirds is as good as tuning all, in two thirds of the time.
    With MiniLM tuning the uppermost layer alone costs six points.
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
            f"range (first, one after the last) within (0, {n_layers}), for the number "
            "of layers of this backbone that are run and take a prefix "
            "(model_kwargs={'n_layers': 'all'} runs all of them). Got "
            f"{tuned_layers!r} instead."
        )
    return first, stop


def resolve_long_texts(
    long_texts: str, max_length: int | None, n_texts: int, *, is_causal: bool
) -> str:
    """Return how long texts are read: by default encoders read them in windows.

    A length that was asked for is by default the one to cut to. Several texts a row are
    cut, and so are those of causal models, with which windows have not been measured.
    """
    if long_texts == "windows" and n_texts > 1:
        raise ValueError(
            "The 'long_texts' parameter must be 'auto' or 'truncate' for several texts "
            f"a row: windows are of one text. Got {long_texts!r} instead, with "
            f"{n_texts} texts a row."
        )
    if long_texts == "auto":
        is_whole = max_length is None and n_texts == 1 and not is_causal
        return "windows" if is_whole else "truncate"
    return long_texts


def resolve_text_rank(
    text_rank: int, is_default: bool, backbone: "Backbone", method: str, adapter: str
) -> int:
    """Return the rank of the text adapter; 0 where the default does not apply.

    By default there is none in the other forms of the paper, nor where the backbone's
    layers cannot be edited one by one: there a rank that was asked for is refused.
    """
    if method == "prompt" or (is_default and adapter != "low_rank"):
        return 0
    if text_rank and not backbone.has_layer_hooks:
        if not is_default:
            raise no_layers_error(backbone.model)
        return 0
    return int(text_rank)


def resolve_pooling(pooling: str, is_causal: bool, *, is_pair: bool = False) -> str:
    """Return the pooling: by default last for causal models, else mean.

    A pair without slots is by default read three times by an encoder.
    """
    if pooling != "auto":
        return pooling
    if is_causal:
        return "last"
    return PAIR if is_pair else "mean"


@torch.no_grad()
def _resolve_layers(
    backbone: "Backbone",
    template: Template,
    tuned_layers: TunedLayers,
    frozen_share: float,
) -> tuple[int, int]:
    """Return the first tuned layer and the one after the last.

    Layers that take no prefix, in hybrid models, do not count.
    """
    ids = torch.tensor([template.prompt_ids], device=backbone.device)
    n_layers = backbone.prefix_mechanism.read(backbone.embed(ids)).n_layers
    return resolve_tuned_layers(tuned_layers, n_layers, frozen_share)
