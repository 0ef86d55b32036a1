"""Load a backbone's weights and tokenizer."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from packaging.version import Version
from safetensors import safe_open
from transformers import AutoModel, AutoTokenizer, PreTrainedModel
from transformers import __version__ as transformers_version
from transformers.quantizers import AutoQuantizationConfig

from sksemantic._backbone.foreign_errors import refuse_foreign_errors
from sksemantic._backbone.layers import (
    find_layers,
    no_layers_error,
    record_calls,
    refuse_model_errors,
)
from sksemantic._backbone.model_size import check_model_size
from sksemantic._backbone.silence import silence_transformers
from sksemantic._backbone.source import BackboneSource
from sksemantic._backbone.tokenizer import check_tokenizer_files
from sksemantic._backbone.tokenizer_parts import check_tokenizer_parts
from sksemantic._backbone.torch_state import torch_generator
from sksemantic._backbone.weight_files import check_weight_files
from sksemantic.exceptions import UnsupportedBackboneError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor
    from transformers import PreTrainedConfig, PreTrainedTokenizerBase

# Earlier releases build a wrong tokenizer from a GGUF file, without an error.
_GGUF_SINCE = Version("5.23")
# How the output embeddings of causal models are called in their files.
_OUTPUT_EMBEDDINGS = {"lm_head.weight", "embed_out.weight", "output.weight"}


@dataclass(frozen=True)
class BackboneConfig:
    """Which weights, and how they are to be held."""

    source: BackboneSource
    device: torch.device
    dtype: torch.dtype
    prefix_mechanism: str = "auto"  # by name
    quantization_config: dict[str, Any] | None = None  # of transformers
    # Which layers go where; takes the place of `device` for the weights.
    device_map: str | dict[str, Any] | None = None
    n_layers: str | int = "all"  # how many to keep, from the bottom; or "auto"


def load_weights(
    config: BackboneConfig,
) -> "tuple[PreTrainedModel, PreTrainedTokenizerBase]":
    """Load a model with all its layers, without a task head, and its tokenizer.

    Refuse weights that cannot be loaded safely, or are not complete.
    """
    source = config.source
    n_found = check_weight_files(source)
    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    if source.gguf_file is not None:
        options["gguf_file"] = source.gguf_file
        check_gguf_support(source, transformers_version)
    with (
        _refuse_broken_files(source),
        torch_generator(),
        silence_transformers(),
        _gguf_read_once(source),
    ):
        check_model_size(source, n_found, options)
        model, info = AutoModel.from_pretrained(
            source.location,
            dtype=config.dtype,
            use_safetensors=True,  # never a pickle
            output_loading_info=True,
            **options,
            **_placement(config),
        )
        tokenizer = AutoTokenizer.from_pretrained(source.location, **options)
    _check_complete(source, info, has_encoder=_has_encoder_and_decoder(model))
    check_tokenizer_files(source, tokenizer)
    check_tokenizer_parts(tokenizer)
    with _refuse_broken_files(source):
        text_model: Any = _text_model(model)
    _check_is_model(source, text_model)
    if not hasattr(model, "hf_device_map"):
        text_model.to(config.device)
    return text_model, tokenizer


def _refuse_broken_files(source: "BackboneSource") -> AbstractContextManager[None]:
    return refuse_foreign_errors(
        f"The weights of model={source.name!r} were found ({source.origin}, "
        f"{source.location}) but could not be loaded",
        "\nOnly safetensors and GGUF weights of architectures that transformers "
        "itself implements are loaded; pickled weights and remote code never are.",
    )


def check_gguf_support(source: "BackboneSource", version: str) -> None:
    """Refuse a GGUF file with releases of transformers that misread it."""
    if Version(version) < _GGUF_SINCE:
        raise UnsupportedBackboneError(
            f"The weights of model={source.name!r} are a GGUF file, for which "
            f"transformers {version} builds a wrong tokenizer, without an error. "
            f"Install transformers>={_GGUF_SINCE} (pip install sksemantic[gguf])."
        )


def _placement(config: BackboneConfig) -> dict[str, Any]:
    """Return how the weights are packed, and where they go if not to one device."""
    options: dict[str, Any] = {}
    if config.source.gguf_file is not None:
        # Here, as releases that do not read GGUF files do not have it.
        from transformers import GgufConfig

        # Dense weights, where transformers would keep the blocks of the file packed.
        options["quantization_config"] = GgufConfig(dequantize=True)
    if config.quantization_config is not None:
        options["quantization_config"] = AutoQuantizationConfig.from_dict(
            dict(config.quantization_config)
        )
        options["device_map"] = {"": config.device}  # packed weights cannot be moved
    if config.device_map is not None:
        options["device_map"] = config.device_map
    return options


def _text_model(model: "PreTrainedModel") -> "PreTrainedModel":
    """Return the part that reads text: of encoder and decoder the encoder."""
    if _has_encoder_and_decoder(model):
        return model.get_encoder()
    if model.config.get_text_config() is not model.config:  # with vision, or audio
        return model.get_decoder()
    return model


def _check_is_model(source: "BackboneSource", part: object) -> None:
    if not isinstance(part, PreTrainedModel):
        raise UnsupportedBackboneError(
            f"The part of model={source.name!r} ({source.location}) that reads text "
            f"must be a model, and is a {type(part).__name__}: its config.json is that "
            "of another architecture than it names."
        )
    n_layers = getattr(part.config, "num_hidden_layers", 1)
    if isinstance(n_layers, int) and n_layers < 1:
        raise UnsupportedBackboneError(
            f"The config.json of model={source.name!r} ({source.location}) must have "
            f"a num_hidden_layers of at least 1. Got {n_layers} instead."
        )


def _has_encoder_and_decoder(model: "PreTrainedModel") -> bool:
    """Whether it is of both kinds; the config of an encoder saved alone denies it."""
    parts = (getattr(model, name, None) for name in ("encoder", "decoder"))
    has_both = all(isinstance(part, torch.nn.Module) for part in parts)
    return has_both or bool(model.config.is_encoder_decoder)


def _check_complete(
    source: "BackboneSource", info: dict[str, Any], *, has_encoder: bool
) -> None:
    """Refuse weights that leave part of what is used of the model at random.

    Poolers are not used, nor decoders: of a model that has both, the encoder reads.
    """
    missing = sorted(
        key
        for key in info["missing_keys"]
        if "pooler" not in key and not (has_encoder and key.startswith("decoder."))
    )
    if missing:
        raise UnsupportedBackboneError(
            f"The weights of model={source.name!r} ({source.location}) lack "
            f"{len(missing)} tensors of their own architecture, {missing[0]!r} among "
            "them: the backbone would be partly random. Save the whole model with "
            "`save_pretrained`."
        )


@contextmanager
def _gguf_read_once(source: "BackboneSource") -> Iterator[None]:
    """Let transformers read a GGUF file once: for config, tokenizer and weights.

    It opens the file anew for each, and a large vocabulary takes it half a minute: it
    is looked up value by value in a `numpy.memmap`, which makes each slice a memmap
    as well. A plain array on the same memory is read in a third of the time.
    """
    if source.gguf_file is None:
        yield
        return
    library: Any = import_module("gguf")
    reader = library.GGUFReader

    class PlainReader(library.GGUFReader):
        @property
        def data(self) -> "NDArray":
            return self._data

        @data.setter
        def data(self, mapped: "NDArray") -> None:
            self._data = mapped.view(np.ndarray)

    library.GGUFReader = cache(PlainReader)
    try:
        yield
    finally:
        library.GGUFReader = reader


def read_output_embeddings(source: "BackboneSource", ids: list[int]) -> "Tensor | None":
    """Return the output embeddings (n, C) of tokens from the files, if they have any.

    The model without its task head has none.
    """
    for file in sorted(Path(source.location).glob("*.safetensors")):
        with safe_open(file, framework="pt") as tensors:
            for name in _OUTPUT_EMBEDDINGS & set(tensors.keys()):
                rows = tensors.get_slice(name)
                return torch.stack([rows[i : i + 1][0] for i in ids])
    return None


def remove_upper_layers(model: "PreTrainedModel", n_layers: int) -> None:
    """Remove all layers above the `n_layers` lowest.

    What the last of them puts out then goes where the whole model's went: through a
    final norm, where there is one. A model that does not work without the upper layers
    is refused, and left as it was.
    """
    problem = "Its layers cannot be told apart: {error}"
    with refuse_model_errors(problem):
        layers, calls = find_layers(model)
    if layers is None:
        raise UnsupportedBackboneError(problem.format(error=no_layers_error(model)))
    upper = layers[n_layers:]
    expected = next(call.hidden for call in calls if call.module is upper[0])
    # The lists in the config that hold one value for each layer.
    former = {
        name: value
        for name, value in vars(model.config).items()
        if isinstance(value, list)
        and len(value) == len(layers)
        and name != "architectures"
    }
    shorter = {k: v[:n_layers] for k, v in former.items()}
    is_removed = False
    try:
        with refuse_model_errors("It does not work without its upper layers: {error}"):
            _set_layers(model.config, n_layers, shorter)
            del layers[n_layers:]
            (call,) = record_calls(model, {layers[-1]})
        is_tuple = isinstance(call.output, tuple)
        output = call.output[0] if is_tuple else call.output
        is_removed = torch.equal(output, expected)
    finally:
        if not is_removed:
            layers.extend(upper[len(layers) - n_layers :])
            _set_layers(model.config, len(layers), former)
    if not is_removed:
        raise UnsupportedBackboneError(
            "Without its upper layers, the others put out something else."
        )


def _set_layers(
    config: "PreTrainedConfig", n_layers: int, settings: dict[str, list]
) -> None:
    """Write into a config how many layers there are, and their settings."""
    if config.num_hidden_layers != n_layers:
        try:
            config.num_hidden_layers = n_layers
        except (AttributeError, NotImplementedError) as exc:  # a property of the config
            raise UnsupportedBackboneError(
                f"Its upper layers cannot be removed from its config: {exc}"
            ) from exc
    for name, value in settings.items():
        setattr(config, name, value)
