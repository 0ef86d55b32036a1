"""The backbones that this process holds: each is loaded once, for all who use it."""

import gc
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from sksemantic._backbone.backbone import Backbone, sees_only_the_past
from sksemantic._backbone.loading import (
    BackboneConfig,
    load_weights,
    remove_upper_layers,
)
from sksemantic._backbone.torch_state import torch_state
from sksemantic.exceptions import UnsupportedBackboneError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    Load = Callable[[BackboneConfig], tuple[PreTrainedModel, PreTrainedTokenizerBase]]

_SHARE_OF_CAUSAL_LAYERS = 2 / 3

WeightsKey = tuple[str, ...]


@dataclass(frozen=True)
class WholeModel:
    """What is remembered of a model with all its layers."""

    n_layers: int
    is_causal: bool
    works_without_upper_layers: bool = True  # False once it was tried in vain

    def n_layers_to_keep(self, n_layers: str | int) -> int:
        """Return how many layers to keep: "auto" is two thirds of causal models'.

        The layers in the middle say more of a text than the top, which is about its
        next word (Skean et al. 2025, arXiv 2502.02013, section 4); with Gemma 3 270M
        that holds for frozen features, and costs trained ones nothing.
        """
        if n_layers == "auto" and self.is_causal and self.works_without_upper_layers:
            return math.ceil(_SHARE_OF_CAUSAL_LAYERS * self.n_layers)
        if isinstance(n_layers, str):
            return self.n_layers
        if n_layers > self.n_layers:
            raise ValueError(
                "The 'n_layers' entry of 'model_kwargs' must be 'auto', 'all' or at "
                f"most {self.n_layers}, the number of layers of this backbone. Got "
                f"{n_layers} instead."
            )
        return int(n_layers)


class BackboneRegistry:
    """Backbones by weights, number of layers and prefix mechanism.

    Backbones that differ in their prefix mechanism alone share their weights. The
    latest one is kept alive, so that a search whose estimators come and go does not
    load it again and again; any other is freed with the last estimator that uses it.
    """

    def __init__(self, load: "Load" = load_weights) -> None:
        self._load = load
        self._whole_models: dict[WeightsKey, WholeModel] = {}
        self._backbones: WeakValueDictionary[tuple[WeightsKey, int, str], Backbone] = (
            WeakValueDictionary()
        )
        self._latest: Backbone | None = None

    def get(self, config: BackboneConfig) -> Backbone:
        """Return the backbone of a config, and load it if this registry lacks it."""
        key = _weights_key(config)
        with torch_state:
            loaded = None
            if key not in self._whole_models:
                loaded = self._load_alone(config)
                n_layers = loaded[0].config.num_hidden_layers
                is_causal = sees_only_the_past(loaded[0])
                self._whole_models[key] = WholeModel(n_layers, is_causal)
            n_layers = self._whole_models[key].n_layers_to_keep(config.n_layers)
            backbone = self._find(key, n_layers, config)
            if backbone is None:
                model, tokenizer = loaded or self._load_alone(config)
                n_layers = self._keep_layers(model, key, n_layers, config)
                # If all layers proved to be needed, they may be held already.
                backbone = self._find(key, n_layers, config)
                if backbone is None:
                    is_whole = n_layers == self._whole_models[key].n_layers
                    backbone = Backbone(
                        model, tokenizer, config, load_backbone, is_whole=is_whole
                    )
            self._backbones[key, n_layers, config.prefix_mechanism] = backbone
            self._latest = backbone
        return backbone

    def release(self) -> None:
        """Let the latest backbone go, unless an estimator holds it."""
        with torch_state:
            self._latest = None
            gc.collect()  # a layer and its hooks refer to each other

    def _find(
        self, key: WeightsKey, n_layers: int, config: BackboneConfig
    ) -> Backbone | None:
        """Return a backbone with the same weights and layers, if it is held."""
        same_weights = [
            backbone
            for (*weights, _), backbone in [*self._backbones.items()]
            if weights == [key, n_layers]
        ]
        for backbone in same_weights:
            if backbone.has_mechanism(config.prefix_mechanism):
                return backbone
        return same_weights[0].with_config(config) if same_weights else None

    def _load_alone(
        self, config: BackboneConfig
    ) -> "tuple[PreTrainedModel, PreTrainedTokenizerBase]":
        """Load weights; free the latest backbone first if no one else holds it."""
        self.release()
        return self._load(config)

    def _keep_layers(
        self,
        model: "PreTrainedModel",
        key: WeightsKey,
        n_layers: int,
        config: BackboneConfig,
    ) -> int:
        """Remove the upper layers; return how many are left.

        If the model does not work without them, "auto" keeps all, now and later.
        """
        whole = self._whole_models[key]
        if n_layers == whole.n_layers:
            return n_layers
        try:
            remove_upper_layers(model, n_layers)
        except UnsupportedBackboneError as exc:
            if config.n_layers != "auto":
                raise ValueError(
                    "The 'n_layers' entry of 'model_kwargs' must be 'auto' or 'all' "
                    f"for model={config.source.name!r}: {exc} Got {n_layers} instead."
                ) from exc
            self._whole_models[key] = replace(whole, works_without_upper_layers=False)
            return whole.n_layers
        return n_layers


def _weights_key(config: BackboneConfig) -> WeightsKey:
    """Return what two configs must have in common to share their weights."""
    source = config.source
    found = Path(source.location).glob(source.gguf_file or "*.safetensors")
    files = [file for file in found if file.is_file()]
    # When they were last written: other files are other weights.
    written = max((file.stat().st_mtime_ns for file in files), default=0)
    held = (config.device, config.dtype, config.quantization_config, config.device_map)
    return tuple(map(repr, (source.location, source.gguf_file, written, *held)))


_REGISTRY = BackboneRegistry()


def load_backbone(config: BackboneConfig) -> Backbone:
    """Load a backbone, or return the copy that this process already holds.

    Refuse weights that cannot be loaded safely, and more layers than there are.
    """
    return _REGISTRY.get(config)


def release_backbones() -> None:
    """Free the latest backbone, unless an estimator holds it."""
    _REGISTRY.release()
