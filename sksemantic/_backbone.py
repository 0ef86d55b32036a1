"""Backbones: load, freeze, inspect and share them.

With `_injection` the only module that knows transformers' models.
"""

import struct
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from io import StringIO
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakValueDictionary

import torch
from packaging.version import Version
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import AutoModel, AutoTokenizer, PreTrainedModel
from transformers import __version__ as transformers_version
from transformers.utils import logging as transformers_logging

from sksemantic._injection import AttentionInjection
from sksemantic.exceptions import UnsupportedBackboneError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from sksemantic._injection import Injection
    from sksemantic._resolution import BackboneSource


_GGUF_FROM = Version("5.23")
_LINE_END = "\n"
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


class SpecialTokens(NamedTuple):
    """Token ids that the tokenizer puts to the left and right of a text."""

    left: list[int]
    right: list[int]


class Backbone:
    """A frozen language model, its tokenizer, and what there is to know about them.

    Parameters
    ----------
    model : PreTrainedModel
        The bare model, without a task head. It is frozen and put in eval mode for good.
    tokenizer : PreTrainedTokenizerBase
        A fast tokenizer.
    source : BackboneSource or None
        Where the weights came from: all that a pickle of a backbone holds.

    Attributes
    ----------
    is_causal : bool
        Whether a token sees only the tokens before it, found by a probe forward.
    hidden_size : int
        C.
    max_positions : int
        The most tokens (prompt and text together) that the model has positions for.
    special_tokens : SpecialTokens
        What the tokenizer puts around one text.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: "PreTrainedTokenizerBase",
        source: "BackboneSource | None" = None,
    ) -> None:
        self.source = source
        self.model = model.requires_grad_(False).eval()
        self.tokenizer = tokenizer
        self.injection: Injection = AttentionInjection(model)
        self.hidden_size: int = model.config.hidden_size
        self.is_causal = self._sees_only_the_past()
        self.max_positions = _max_positions(model, tokenizer)
        self.special_tokens = _special_tokens(tokenizer)

    def __deepcopy__(self, memo: dict[int, Any]) -> "Backbone":
        """Share: a frozen model never needs a copy."""
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as a reference to the weights, never the weights."""
        if self.source is None:
            raise TypeError("A backbone without a source cannot be pickled.")
        return load_backbone, (self.source, self.device, self.model.dtype)

    @property
    def device(self) -> torch.device:
        """The device the weights are on."""
        return self.model.device

    @property
    def n_layers(self) -> int:
        """L, the number of layers."""
        return self.model.config.num_hidden_layers

    @property
    def pad_id(self) -> int:
        """Id that fills up short rows; always masked, so any id serves."""
        pad_id = self.tokenizer.pad_token_id
        return 0 if pad_id is None else pad_id

    @property
    def start_id(self) -> int | None:
        """Id that can stand where a sequence must not be empty."""
        names = ("bos_token_id", "cls_token_id", "eos_token_id", "pad_token_id")
        ids = [getattr(self.tokenizer, name, None) for name in names]
        return next((i for i in ids if i is not None), None)

    def embed(self, input_ids: Tensor) -> Tensor:
        """Look up input embeddings: (..., T) -> (..., T, C), without positions."""
        return self.model.get_input_embeddings()(input_ids)

    def encode(self, texts: list[str], *, going_on: bool = False) -> list[list[int]]:
        """Tokenise texts as they are, without special tokens.

        With `going_on` they are the continuation of another text: a tokenizer that puts
        a space before every text (SentencePiece) is kept from doing so.
        """
        if not texts:
            return []
        if going_on and self._puts_a_space_first():
            # Behind a line's end there is none; the line's end itself is cut off again.
            (lead,) = self._encode([_LINE_END])
            whole = self._encode([_LINE_END + text for text in texts])
            if all(ids[: len(lead)] == lead for ids in whole):
                return [ids[len(lead) :] for ids in whole]
        return self._encode(texts)

    def _encode(self, texts: list[str]) -> list[list[int]]:
        encoded = self.tokenizer(
            texts,
            add_special_tokens=False,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,
        )
        return encoded["input_ids"]

    def _puts_a_space_first(self) -> bool:
        tokens = self.tokenizer.tokenize("a")
        return bool(tokens) and tokens[0].startswith("▁")

    @torch.no_grad()
    def _sees_only_the_past(self) -> bool:
        """Compare the first token's output before two different second tokens."""
        ids = torch.tensor([[5, 6], [5, 7]], device=self.device)
        inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        first = self.injection.run(inputs)[:, 0].float()  # (2, C)
        return torch.allclose(first[0], first[1], rtol=1e-3, atol=1e-4)


_shared: WeakValueDictionary[tuple[Any, ...], Backbone] = WeakValueDictionary()
_latest: list[Backbone] = []
_lock = Lock()


def load_backbone(
    source: "BackboneSource", device: torch.device, dtype: torch.dtype
) -> Backbone:
    """Load a backbone, or return the copy this process already holds.

    The latest one is kept alive, so that a search whose estimators come and go does not
    load it again and again; any other is freed with the last estimator that uses it.

    Raises
    ------
    UnsupportedBackboneError
        If the weights are there but cannot be loaded safely or take no prefix.
    """
    key = (source.location, source.gguf_file, _stamp(source), str(device), dtype)
    with _lock:
        backbone = _shared.get(key)
        if backbone is None:
            _latest.clear()  # let the former one go first: never hold two without need
            backbone = _shared[key] = _load(source, device, dtype)
        _latest[:] = [backbone]
    return backbone


def _stamp(source: "BackboneSource") -> int:
    """When the weights were last written: a changed directory is another backbone."""
    files = Path(source.location).glob(source.gguf_file or "*.safetensors")
    return max((file.stat().st_mtime_ns for file in files), default=0)


def _load(
    source: "BackboneSource", device: torch.device, dtype: torch.dtype
) -> Backbone:
    kwargs: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    if source.gguf_file is not None:
        kwargs["gguf_file"] = source.gguf_file
    try:
        with _quiet_transformers(), torch.random.fork_rng(devices=[]):
            model, info = AutoModel.from_pretrained(
                source.location,
                dtype=dtype,
                use_safetensors=True,  # never a pickle
                output_loading_info=True,
                **kwargs,
                **_dequantized(source),
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
    return Backbone(model.to(device), tokenizer, source)


def _dequantized(source: "BackboneSource") -> dict[str, Any]:
    """Ask for dense weights where transformers would keep GGUF blocks packed."""
    if source.gguf_file is None:
        return {}
    if Version(transformers_version) < _GGUF_FROM:
        raise UnsupportedBackboneError(
            f"The weights of model={source.name!r} are a GGUF file, for which "
            f"transformers {transformers_version} builds a wrong tokenizer, without an "
            f"error. Install transformers>={_GGUF_FROM} (pip install sksemantic[gguf])."
        )
    from transformers import GgufConfig

    return {"quantization_config": GgufConfig(dequantize=True)}


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


def _max_positions(model: PreTrainedModel, tokenizer: "PreTrainedTokenizerBase") -> int:
    """Return how many tokens the model has positions for."""
    limits = [tokenizer.model_max_length]
    for name, module in model.named_modules():
        if isinstance(module, nn.Embedding) and name.endswith("position_embeddings"):
            # RoBERTa counts its positions from behind the padding index.
            skipped = 0 if module.padding_idx is None else module.padding_idx + 1
            limits.append(module.num_embeddings - skipped)
    if len(limits) == 1:
        limits.append(getattr(model.config, "max_position_embeddings", limits[0]))
    return int(min(limits))


def _special_tokens(tokenizer: "PreTrainedTokenizerBase") -> SpecialTokens:
    """Find what the tokenizer puts around a text, by showing it one."""
    plain = tokenizer("a", add_special_tokens=False)["input_ids"]
    full = tokenizer("a")["input_ids"]
    starts = range(len(full) - len(plain) + 1)
    at = next(i for i in starts if full[i : i + len(plain)] == plain)
    return SpecialTokens(full[:at], full[at + len(plain) :])
