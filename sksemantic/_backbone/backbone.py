"""Backbones: frozen language models, inspected and proved when they are made.

With `_loading` and `_injection` the only module that knows transformers' models.
"""

from functools import cached_property
from inspect import signature
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from sksemantic._backbone.kernels import speed_up_norms
from sksemantic._backbone.prefix import (
    agree,
    choose_prefix_mechanism,
    first_position,
    is_self_test_on,
    make_joinable,
    position_table,
    run_bare,
)
from sksemantic.exceptions import UnsupportedBackboneError

if TYPE_CHECKING:
    from collections.abc import Callable

    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from sksemantic._backbone.prefix import PrefixMechanism

_LINE_END = "\n"
_KEPT_PER_LAYER = 40  # bytes for each hidden unit of a token; Gemma 3 270M keeps 38
_ROOM = 2**30
# On a CPU measured with MiniLM and Gemma 3 270M: half or twice as many are slower.
_TOKENS_AT_ONCE = {"cpu": 1024, "gpu": 16384}
_SHARE_OF_GPU = 1 / 2
_FEWEST_TOKENS = 256


class SpecialTokens(NamedTuple):
    """Token ids that the tokenizer puts to the left and right of a text."""

    left: list[int]
    right: list[int]


class PairTokens(NamedTuple):
    """How the tokenizer puts two texts into one row."""

    left: list[int]
    middle: list[int]
    right: list[int]
    has_types: bool  # whether the tokens of the second text are of another type
    n_first: int  # how many tokens in the middle still are of the first


class Backbone:
    """A frozen language model, its tokenizer, and what there is to know about them.

    Parameters
    ----------
    model : PreTrainedModel
        The bare model, without a task head. It is frozen and put in eval mode for good.
    tokenizer : PreTrainedTokenizerBase
        A fast tokenizer.
    reload : tuple of (callable, arguments) or None
        What gives it back: all that a pickle of a backbone holds.
    mechanism_name : {"auto", "attention", "kv_cache", "hidden_states"}
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
    pair_tokens : PairTokens or None
        What it puts around two; None if it has no form for pairs.
    """

    def __init__(
        self,
        model: "PreTrainedModel",
        tokenizer: "PreTrainedTokenizerBase",
        reload: "tuple[Callable[..., Backbone], tuple[Any, ...]] | None" = None,
        mechanism_name: str = "auto",
    ) -> None:
        self._reload = reload
        self.mechanism_name = mechanism_name
        self.model = model.requires_grad_(False).eval()
        model.config.use_cache = False  # nothing is ever generated
        self.tokenizer = tokenizer
        make_joinable(model)
        speed_up_norms(model)
        self.hidden_size: int = model.config.hidden_size
        self.is_causal = self._probe()
        self.max_positions = _max_positions(model, tokenizer)
        self.special_tokens = _special_tokens(tokenizer)
        self.pair_tokens = _pair_tokens(tokenizer, model)

    def __deepcopy__(self, memo: dict[int, Any]) -> "Backbone":
        """Share: a frozen model never needs a copy."""
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as a reference to the weights, never the weights."""
        if self._reload is None:
            raise TypeError("A backbone without a source cannot be pickled.")
        return self._reload

    @cached_property
    def prefix_mechanism(self) -> "PrefixMechanism":
        """The mechanism that gives it a prefix, chosen and tested at first use.

        Raises
        ------
        UnsupportedBackboneError
            If there is none that works.
        """
        return choose_prefix_mechanism(self.model, self.is_causal, self.mechanism_name)

    @property
    def spec(self) -> Any:
        """What it was loaded by, or None."""
        return None if self._reload is None else self._reload[1][0]

    def answers_to(self, mechanism_name: str) -> bool:
        """Whether it was asked for, or has chosen, the named mechanism."""
        chosen = vars(self).get("prefix_mechanism")
        return mechanism_name in (self.mechanism_name, getattr(chosen, "name", None))

    def room(self, method: str, n_prompt: int) -> int:
        """Return how many tokens a text may have behind a prompt of P tokens."""
        if method == "prompt":
            return self.max_positions - n_prompt
        return self.prefix_mechanism.room(self.max_positions, n_prompt)

    def run(self, inputs: dict[str, Tensor]) -> Tensor:
        """Return the last hidden states (B, T, C) of the model as it is."""
        return run_bare(self.model, inputs)

    @property
    def n_layers(self) -> int:
        """How many layers are run."""
        return int(self.model.config.num_hidden_layers)

    @property
    def device(self) -> torch.device:
        """The device the weights are on."""
        return self.model.device

    @property
    def inference_tokens(self) -> int:
        """How many tokens, padding included, suit one forward without gradient."""
        return _TOKENS_AT_ONCE["cpu" if self.device.type == "cpu" else "gpu"]

    @property
    def training_tokens(self) -> int:
        """How many tokens, padding included, one forward with gradient may have.

        Estimated from the activations that a layer keeps for its backward pass.
        """
        per_token = (
            _KEPT_PER_LAYER * self.hidden_size * self.model.config.num_hidden_layers
        )
        room = _ROOM
        if self.device.type == "cuda":
            room = int(_SHARE_OF_GPU * torch.cuda.mem_get_info(self.device)[0])
        return max(_FEWEST_TOKENS, room // per_token)

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

    @property
    def unknown_id(self) -> int:
        """Id for a word that the tokenizer makes nothing of."""
        unknown = self.tokenizer.unk_token_id
        return (self.start_id or 0) if unknown is None else unknown

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
        if going_on and self.puts_a_space_first:
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

    @cached_property
    def puts_a_space_first(self) -> bool:
        """Whether the tokenizer puts a space in front of every text (SentencePiece)."""
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
            return sees_only_the_past(self.model)
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
        if not agree(behind[:, : ids.shape[1]], expected, self.model):
            problem = "depends on the padding behind a text"
        elif not agree(embedded, expected, self.model):
            problem = "is another one if it reads embeddings instead of token ids"
        else:
            return
        raise UnsupportedBackboneError(
            f"The output of {type(self.model).__name__} {problem}: predictions would "
            "not be reliable. Use another `model`."
        )


@torch.no_grad()
def sees_only_the_past(model: "PreTrainedModel") -> bool:
    """Compare the first token's output before two different second tokens."""
    ids = torch.tensor([[5, 6], [5, 7]], device=model.device)
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    first = run_bare(model, inputs)[:, 0].float()  # (2, C)
    return torch.allclose(first[0], first[1], rtol=1e-3, atol=1e-4)


def _max_positions(
    model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase"
) -> int:
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


def _pair_tokens(
    tokenizer: "PreTrainedTokenizerBase", model: "PreTrainedModel"
) -> PairTokens | None:
    """Find how the tokenizer joins two texts, by showing it a pair."""
    plain = tokenizer("a", add_special_tokens=False)["input_ids"]
    encoded = tokenizer("a", "a", return_token_type_ids=True)
    ids, types = encoded["input_ids"], encoded["token_type_ids"]
    n = len(plain)
    places = [i for i in range(len(ids) - n + 1) if ids[i : i + n] == plain]
    if len(places) != 2 or places[1] == places[0] + n:
        return None  # the texts would run into each other
    first, second = places
    middle = ids[first + n : second]
    takes_types = "token_type_ids" in signature(model.forward).parameters
    has_types = takes_types and types[second] == 1 and types[first] == 0
    n_first = types[first + n : second].count(0)
    return PairTokens(ids[:first], middle, ids[second + n :], has_types, n_first)
