"""Load a backbone's weights and tokenizer, once for all who use them."""

import math
import struct
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import torch
from packaging.version import Version
from safetensors import SafetensorError, safe_open
from transformers import AutoModel, AutoTokenizer
from transformers import __version__ as transformers_version
from transformers.quantizers import AutoQuantizationConfig
from transformers.utils import logging as transformers_logging

from sksemantic._backbone.backbone import Backbone, sees_only_the_past
from sksemantic._backbone.prefix import cut
from sksemantic.exceptions import UnsupportedBackboneError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from sksemantic._backbone.source import BackboneSource

_CAUSAL_SHARE = 2 / 3
_GGUF_FROM = Version("5.23")
# What loaders raise on broken, foreign or unknown files.
_LOADING_ERRORS = (
    OSError,
    ValueError,
    KeyError,
    RuntimeError,
    ImportError,
    SafetensorError,
    struct.error,
)

# How the output embeddings of causal models are called in their files.
_OUTPUT_EMBEDDINGS = {"lm_head.weight", "embed_out.weight", "output.weight"}

_depths: dict[tuple[str, ...], "Depth"] = {}
# By weights, number of layers, and prefix_mechanism.
_shared: WeakValueDictionary[tuple[Any, ...], Backbone] = WeakValueDictionary()
_latest: list[Backbone] = []
_lock = Lock()


@dataclass(frozen=True)
class BackboneSpec:
    """Which weights, and how they are to be held.

    Attributes
    ----------
    source : BackboneSource
    device : torch.device
    dtype : torch.dtype
    prefix_mechanism : {"auto", "attention", "kv_cache", "hidden_states"}
        How the backbone is to be given a prefix.
    quantization : dict or None
        A quantization config of transformers, as a dictionary.
    device_map : str or dict or None
        Which layers go where; takes the place of `device` for the weights.
    n_layers : {"auto", "all"} or int
        How many of the layers to keep, from the bottom.
    """

    source: "BackboneSource"
    device: torch.device
    dtype: torch.dtype
    prefix_mechanism: str = "auto"
    quantization: dict[str, Any] | None = None
    device_map: str | dict[str, Any] | None = None
    n_layers: str | int = "all"

    @property
    def weights_key(self) -> tuple[str, ...]:
        """What two specs must have in common to share weights, but for `n_layers`."""
        source = self.source
        held = (source.location, source.gguf_file, _stamp(source), self.device)
        how = (self.dtype, self.quantization, self.device_map)
        return tuple(map(repr, (*held, *how)))


@dataclass(frozen=True)
class Depth:
    """What of a backbone is known once it was loaded.

    Attributes
    ----------
    n_layers : int
        Of the whole model.
    is_causal : bool
    can_cut : bool
        False once it was found that it cannot do without its upper layers.
    """

    n_layers: int
    is_causal: bool
    can_cut: bool = True

    @classmethod
    def of(cls, model: "PreTrainedModel") -> "Depth":
        """Look at a model."""
        try:
            is_causal = sees_only_the_past(model)
        except torch.cuda.OutOfMemoryError:
            raise
        except Exception:  # that it cannot read is said when it is used
            is_causal = False
        return cls(model.config.num_hidden_layers, is_causal)

    def keep(self, n_layers: str | int) -> int:
        """Return how many layers to keep: "auto" is two thirds of causal models'.

        What lies in the middle says more of a text than the top, which is about its
        next word (Skean et al. 2025, arXiv 2502.02013, section 4); with Gemma 3 270M
        that holds for frozen features, and costs trained ones nothing.

        Raises
        ------
        ValueError
            If there are not so many.
        """
        if n_layers == "auto" and self.is_causal and self.can_cut:
            return math.ceil(_CAUSAL_SHARE * self.n_layers)
        if isinstance(n_layers, str):
            return self.n_layers
        if n_layers > self.n_layers:
            raise ValueError(
                "The 'n_layers' parameter must be 'auto', 'all' or at most "
                f"{self.n_layers}, the number of layers of this backbone. Got "
                f"{n_layers} instead."
            )
        return int(n_layers)


def load_backbone(spec: BackboneSpec) -> Backbone:
    """Load a backbone, or return the copy this process already holds.

    Backbones that differ in their prefix mechanism alone share their weights. The
    latest one is kept alive, so that a search whose estimators come and go does not
    load it again and again; any other is freed with the last estimator that uses it.

    Raises
    ------
    UnsupportedBackboneError
        If the weights are there but cannot be loaded safely or take no prefix.
    ValueError
        If the backbone has not so many layers, or cannot do without all of them.
    """
    key = spec.weights_key
    with _lock:
        loaded = None
        if key not in _depths:
            loaded = _load_alone(spec)
            _depths[key] = Depth.of(loaded[0])
        n_layers = _depths[key].keep(spec.n_layers)
        kin = _kin(key, n_layers)
        if not kin:
            loaded = loaded or _load_alone(spec)
            n_layers = _cut(loaded[0], n_layers, spec)
            kin = _kin(key, n_layers)  # it may have turned out that all are needed
        backbone = next((b for b in kin if b.answers_to(spec.prefix_mechanism)), None)
        if backbone is None:
            if kin:
                loaded = kin[0].model, kin[0].tokenizer
            assert loaded is not None
            backbone = Backbone(
                *loaded, (load_backbone, (spec,)), spec.prefix_mechanism
            )
            _shared[key, n_layers, spec.prefix_mechanism] = backbone
        _latest[:] = [backbone]
    return backbone


def _kin(key: tuple[str, ...], n_layers: int) -> list[Backbone]:
    """Return the backbones there are with the same weights and number of layers."""
    return [b for (*held, _), b in [*_shared.items()] if held == [key, n_layers]]


def _load_alone(
    spec: BackboneSpec,
) -> "tuple[PreTrainedModel, PreTrainedTokenizerBase]":
    """Let the former backbone go before the next is loaded: never hold two for none."""
    _latest.clear()
    return _load(spec)


def _cut(model: "PreTrainedModel", n_layers: int, spec: BackboneSpec) -> int:
    """Take away the upper layers; return how many are left.

    If that cannot be, "auto" keeps them all, now and later.
    """
    depth = _depths[spec.weights_key]
    if n_layers < depth.n_layers:
        try:
            cut(model, n_layers)
        except UnsupportedBackboneError as exc:
            if spec.n_layers == "auto":
                _depths[spec.weights_key] = replace(depth, can_cut=False)
                return depth.n_layers
            raise ValueError(
                "The 'n_layers' parameter must be 'auto' or 'all' for "
                f"model={spec.source.name!r}: {exc} Got {n_layers} instead."
            ) from exc
    return n_layers


def output_embeddings(backbone: Backbone, ids: list[int]) -> "NDArray":
    """Return the output embeddings (n, C) of some tokens.

    They are the input's where the two are tied; else they are read from the weights'
    files, as the bare model has none.

    Raises
    ------
    ValueError
        If there are none.
    """
    if backbone.model.config.get_text_config().tie_word_embeddings:
        weight = backbone.model.get_input_embeddings().weight
        return weight[ids].float().cpu().numpy()
    spec: BackboneSpec | None = backbone.spec
    files = [] if spec is None else Path(spec.source.location).glob("*.safetensors")
    for file in sorted(files):
        with safe_open(file, framework="pt") as tensors:
            for name in _OUTPUT_EMBEDDINGS & set(tensors.keys()):
                rows = tensors.get_slice(name)
                found = torch.stack([rows[i : i + 1][0] for i in ids])
                return found.float().numpy()
    raise ValueError(
        "The 'label_texts' parameter needs a causal backbone with output embeddings, "
        f"but the weights of {type(backbone.model).__name__} have none: they were "
        "saved without its language modelling head. Use the whole model's weights."
    )


def release() -> None:
    """Let the latest backbone go, unless an estimator holds it."""
    with _lock:
        _latest.clear()


def _stamp(source: "BackboneSource") -> int:
    """When the weights were last written: a changed directory is another backbone."""
    files = Path(source.location).glob(source.gguf_file or "*.safetensors")
    return max((file.stat().st_mtime_ns for file in files), default=0)


def _load(spec: BackboneSpec) -> "tuple[PreTrainedModel, PreTrainedTokenizerBase]":
    source = spec.source
    kwargs: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    if source.gguf_file is not None:
        kwargs["gguf_file"] = source.gguf_file
    try:
        with _quiet_transformers(), torch.random.fork_rng(devices=[]):
            model, info = AutoModel.from_pretrained(
                source.location,
                dtype=spec.dtype,
                use_safetensors=True,  # never a pickle
                output_loading_info=True,
                **kwargs,
                **_placement(spec),
            )
            tokenizer = AutoTokenizer.from_pretrained(source.location, **kwargs)
    except _LOADING_ERRORS as exc:
        raise UnsupportedBackboneError(
            f"The weights of model={source.name!r} were found ({source.origin}, "
            f"{source.location}) but could not be loaded: {exc}\n"
            "Only safetensors and GGUF weights of architectures that transformers "
            "itself implements are loaded; pickled weights and remote code never are."
        ) from exc
    _check_complete(source, info)
    _check_vocabulary(source, tokenizer)
    text_model: Any = _text_model(model)
    if not hasattr(model, "hf_device_map"):
        text_model.to(spec.device)
    return text_model, tokenizer


def _text_model(model: "PreTrainedModel") -> "PreTrainedModel":
    """Return the part that reads text: of encoder and decoder the former."""
    if model.config.is_encoder_decoder:
        return model.get_encoder()
    if model.config.get_text_config() is not model.config:  # with vision, or audio
        return model.get_decoder()
    return model


def _placement(spec: BackboneSpec) -> dict[str, Any]:
    """Return how the weights are packed, and where they go if not to one device."""
    options: dict[str, Any] = {}
    if spec.source.gguf_file is not None:
        options["quantization_config"] = _dense(spec.source)
    if spec.quantization is not None:
        options["quantization_config"] = AutoQuantizationConfig.from_dict(
            dict(spec.quantization)
        )
        options["device_map"] = {"": spec.device}  # packed weights cannot be moved
    if spec.device_map is not None:
        options["device_map"] = spec.device_map
    return options


def _dense(source: "BackboneSource") -> Any:
    """Ask for dense weights where transformers would keep GGUF blocks packed."""
    if Version(transformers_version) < _GGUF_FROM:
        raise UnsupportedBackboneError(
            f"The weights of model={source.name!r} are a GGUF file, for which "
            f"transformers {transformers_version} builds a wrong tokenizer, without an "
            f"error. Install transformers>={_GGUF_FROM} (pip install sksemantic[gguf])."
        )
    from transformers import GgufConfig

    return GgufConfig(dequantize=True)


def _check_complete(source: "BackboneSource", info: dict[str, Any]) -> None:
    """Refuse weights that leave part of the model at random; poolers are not used."""
    missing = sorted(key for key in info["missing_keys"] if "pooler" not in key)
    if missing:
        raise UnsupportedBackboneError(
            f"The weights of model={source.name!r} ({source.location}) lack "
            f"{len(missing)} tensors of their own architecture, {missing[0]!r} among "
            "them: the backbone would be partly random. Save the whole model with "
            "`save_pretrained`."
        )


def _check_vocabulary(
    source: "BackboneSource", tokenizer: "PreTrainedTokenizerBase"
) -> None:
    """Refuse a tokenizer made up for want of its files: all words would be unknown."""
    if source.gguf_file is not None:
        return
    names = {*tokenizer.vocab_files_names.values(), "tokenizer.json"}
    if not any((Path(source.location) / name).is_file() for name in names):
        raise UnsupportedBackboneError(
            f"The weights of model={source.name!r} ({source.location}) come without "
            f"the files of their tokenizer ({', '.join(sorted(names))}). Save it there "
            "with `tokenizer.save_pretrained`."
        )


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    """Silence transformers' load report and bars, then restore the user's settings.

    The bar of a GGUF file heeds no setting: it is kept off standard error.
    """
    verbosity = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        with redirect_stderr(StringIO()):
            yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()
