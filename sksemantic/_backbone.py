"""Backbones: load, freeze, inspect and share them.

With `_injection` the only module that knows transformers' models.
"""

import struct
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from functools import cached_property
from io import StringIO
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakValueDictionary

import torch
from packaging.version import Version
from safetensors import SafetensorError
from torch import Tensor
from transformers import AutoModel, AutoTokenizer, PreTrainedModel
from transformers import __version__ as transformers_version
from transformers.utils import logging as transformers_logging

from sksemantic._injection import (
    agree,
    choose_injection,
    first_position,
    is_self_test_on,
    make_joinable,
    position_table,
    run_bare,
)
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
    injection_name : {"auto", "attention", "cache", "states"}
        How it is to be given a prefix.

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
        injection_name: str = "auto",
    ) -> None:
        self.source = source
        self.injection_name = injection_name
        self.model = model.requires_grad_(False).eval()
        model.config.use_cache = False  # nothing is ever generated
        self.tokenizer = tokenizer
        make_joinable(model)
        self.hidden_size: int = model.config.hidden_size
        self.is_causal = self._probe()
        self.max_positions = _max_positions(model, tokenizer)
        self.special_tokens = _special_tokens(tokenizer)

    def __deepcopy__(self, memo: dict[int, Any]) -> "Backbone":
        """Share: a frozen model never needs a copy."""
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as a reference to the weights, never the weights."""
        if self.source is None:
            raise TypeError("A backbone without a source cannot be pickled.")
        dtype = self.model.dtype
        return load_backbone, (self.source, self.device, dtype, self.injection_name)

    @cached_property
    def injection(self) -> "Injection":
        """The mechanism that gives it a prefix, chosen and tested at first use.

        Raises
        ------
        UnsupportedBackboneError
            If there is none that works.
        """
        return choose_injection(self.model, self.is_causal, self.injection_name)

    def answers_to(self, injection_name: str) -> bool:
        """Whether it was asked for, or has chosen, the named mechanism."""
        chosen = vars(self).get("injection")
        return injection_name in (self.injection_name, getattr(chosen, "name", None))

    def room(self, method: str, n_prompt: int) -> int:
        """Return how many tokens a text may have behind a prompt of P tokens."""
        if method == "prompt":
            return self.max_positions - n_prompt
        return self.injection.room(self.max_positions, n_prompt)

    def run(self, inputs: dict[str, Tensor]) -> Tensor:
        """Return the last hidden states (B, T, C) of the model as it is."""
        return run_bare(self.model, inputs)

    @property
    def device(self) -> torch.device:
        """The device the weights are on."""
        return self.model.device

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

    def _probe(self) -> bool:
        """Run tiny batches; return whether a token sees only those before it.

        Raises
        ------
        UnsupportedBackboneError
            If the model cannot read a text.
        """
        try:
            if is_self_test_on():
                self._check_reading()
            return self._sees_only_the_past()
        except UnsupportedBackboneError:
            raise
        except Exception as exc:  # an architecture may fail in any way of its own
            raise UnsupportedBackboneError(
                f"{type(self.model).__name__} does not read texts as language models "
                f"do: {exc}. Use another `model`."
            ) from exc

    @torch.no_grad()
    def _check_reading(self) -> None:
        """Refuse what would make predictions depend on a text's batch, or on its form.

        Raises
        ------
        UnsupportedBackboneError
        """
        ids = torch.tensor([[5, 6, 7]], device=self.device)
        padded = torch.cat([ids, torch.full_like(ids, self.pad_id)], dim=1)
        mask = torch.ones_like(padded)
        mask[:, ids.shape[1] :] = 0
        plain = {"attention_mask": torch.ones_like(ids)}
        expected = self.run({"input_ids": ids, **plain})
        behind = self.run({"input_ids": padded, "attention_mask": mask})
        embedded = self.run({"inputs_embeds": self.embed(ids), **plain})
        if not agree(behind[:, : ids.shape[1]], expected, self.model.dtype):
            problem = "depends on the padding behind a text"
        elif not agree(embedded, expected, self.model.dtype):
            problem = "is another one if it reads embeddings instead of token ids"
        else:
            return
        raise UnsupportedBackboneError(
            f"The output of {type(self.model).__name__} {problem}: predictions would "
            "not be reliable. Use another `model`."
        )

    @torch.no_grad()
    def _sees_only_the_past(self) -> bool:
        """Compare the first token's output before two different second tokens."""
        ids = torch.tensor([[5, 6], [5, 7]], device=self.device)
        inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        first = self.run(inputs)[:, 0].float()  # (2, C)
        return torch.allclose(first[0], first[1], rtol=1e-3, atol=1e-4)


_shared: WeakValueDictionary[tuple[Any, ...], Backbone] = WeakValueDictionary()
_latest: list[Backbone] = []
_lock = Lock()


def load_backbone(
    source: "BackboneSource",
    device: torch.device,
    dtype: torch.dtype,
    injection_name: str = "auto",
) -> Backbone:
    """Load a backbone, or return the copy this process already holds.

    Backbones that differ in their injection alone share their weights. The latest one
    is kept alive, so that a search whose estimators come and go does not load it again
    and again; any other is freed with the last estimator that uses it.

    Raises
    ------
    UnsupportedBackboneError
        If the weights are there but cannot be loaded safely or take no prefix.
    """
    key = (source.location, source.gguf_file, _stamp(source), str(device), dtype)
    with _lock:
        kin = [other for other_key, other in [*_shared.items()] if other_key[0] == key]
        backbone = next((b for b in kin if b.answers_to(injection_name)), None)
        if backbone is None:
            if kin:
                loaded = kin[0].model, kin[0].tokenizer
            else:
                _latest.clear()  # let the former one go: never hold two without need
                loaded = _load(source, device, dtype)
            backbone = Backbone(*loaded, source, injection_name)
            _shared[key, injection_name] = backbone
        _latest[:] = [backbone]
    return backbone


def _stamp(source: "BackboneSource") -> int:
    """When the weights were last written: a changed directory is another backbone."""
    files = Path(source.location).glob(source.gguf_file or "*.safetensors")
    return max((file.stat().st_mtime_ns for file in files), default=0)


def _load(
    source: "BackboneSource", device: torch.device, dtype: torch.dtype
) -> tuple[PreTrainedModel, "PreTrainedTokenizerBase"]:
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
    text_model: torch.nn.Module = _text_model(model)
    return text_model.to(device), tokenizer  # type: ignore[return-value]


def _text_model(model: PreTrainedModel) -> PreTrainedModel:
    """Return the part that reads text: of encoder and decoder the former."""
    if model.config.is_encoder_decoder:
        return model.get_encoder()
    if model.config.get_text_config() is not model.config:  # with vision, or audio
        return model.get_decoder()
    return model


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
    table = position_table(model)
    if table is not None:
        limits.append(table.num_embeddings - first_position(table))
    configured = getattr(model.config, "max_position_embeddings", None)
    if configured:
        limits.append(configured)
    return int(min(limits))


def _special_tokens(tokenizer: "PreTrainedTokenizerBase") -> SpecialTokens:
    """Find what the tokenizer puts around a text, by showing it one."""
    plain = tokenizer("a", add_special_tokens=False)["input_ids"]
    full = tokenizer("a")["input_ids"]
    starts = range(len(full) - len(plain) + 1)
    at = next(i for i in starts if full[i : i + len(plain)] == plain)
    return SpecialTokens(full[:at], full[at + len(plain) :])
