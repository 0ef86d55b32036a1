"""Backbones: frozen language models, inspected and tested when they are made."""

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from sksemantic._backbone.kernels import pack_linears, speed_up_norms
from sksemantic._backbone.layers import hook_layers, refuse_model_errors
from sksemantic._backbone.loading import read_output_embeddings
from sksemantic._backbone.prefix.attention import replace_attention
from sksemantic._backbone.prefix.base import (
    learned_positions,
    outputs_agree,
    run_model,
)
from sksemantic._backbone.prefix.choice import choose_prefix_mechanism, is_self_test_on
from sksemantic._backbone.tokenizer import (
    adds_leading_space,
    encode,
    encode_without_space,
    find_pair_tokens,
    find_special_tokens,
    find_start_id,
)
from sksemantic._backbone.torch_state import torch_state
from sksemantic.exceptions import UnsupportedBackboneError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from sksemantic._backbone.loading import BackboneConfig
    from sksemantic._backbone.prefix.base import PrefixMechanism

# Activations in bytes for each hidden feature of a token; Gemma 3 270M keeps 38.
_BYTES_PER_FEATURE = 40
_TRAINING_BYTES = 2**30
_SHARE_OF_GPU = 1 / 2
_FEWEST_TOKENS = 256


class BatchLimits(NamedTuple):
    """How many tokens a batch may have, padding included, and how many of padding."""

    tokens: int
    padding: int | None = None


# On a CPU measured with MiniLM and Gemma 3 270M: half or twice as many are slower.
# There a batch takes as long, whatever is in it, as 64 tokens of MiniLM.
_INFERENCE_LIMITS = {"cpu": BatchLimits(1024, 64), "gpu": BatchLimits(16384)}


class Backbone:
    """A frozen language model, its tokenizer, and what there is to know about them.

    The model, without a task head, is frozen and put in eval mode for good. `load`
    returns the backbone of a config: a pickle holds these two alone. `is_whole` says
    whether it has all its layers.
    """

    def __init__(
        self,
        model: "PreTrainedModel",
        tokenizer: "PreTrainedTokenizerBase",
        config: "BackboneConfig | None" = None,
        load: "Callable[[BackboneConfig], Backbone] | None" = None,
        *,
        is_whole: bool = True,
    ) -> None:
        self.model = model.requires_grad_(False).eval()
        self.tokenizer = tokenizer
        self.config = config
        self.is_whole = is_whole
        self._load = load
        self._mechanism_name = config.prefix_mechanism if config else "auto"
        self._mechanism: PrefixMechanism | None = None
        self.special_tokens = find_special_tokens(tokenizer)
        self.pair_tokens = find_pair_tokens(tokenizer, model)
        self.adds_leading_space = adds_leading_space(tokenizer)
        pad_id, unknown_id = tokenizer.pad_token_id, tokenizer.unk_token_id
        self.pad_id: int = 0 if pad_id is None else pad_id  # masked, so any id serves
        self.start_id = find_start_id(tokenizer)
        # For a word of which the tokenizer makes no tokens.
        self.unknown_id: int = self.start_id or 0 if unknown_id is None else unknown_id
        around = [*self.special_tokens, [self.unknown_id, self.start_id or 0]]
        self._check_ids(max(map(max, filter(None, around))))
        model.config.use_cache = False  # nothing is ever generated
        replace_attention(model)
        speed_up_norms(model)
        pack_linears(model)
        if is_self_test_on():
            self._check_reading()
        self.is_causal = sees_only_the_past(model)
        # Whether its layers can be skipped, and their outputs edited.
        self.has_layer_hooks = hook_layers(model)
        self.hidden_size: int = model.config.hidden_size
        self.max_positions = _max_positions(model, tokenizer)

    def with_config(self, config: "BackboneConfig") -> "Backbone":
        """Return a backbone of another prefix mechanism that shares the weights."""
        other = object.__new__(Backbone)
        vars(other).update(vars(self), config=config)
        other._mechanism_name = config.prefix_mechanism
        other._mechanism = None
        return other

    def __deepcopy__(self, memo: dict[int, Any]) -> "Backbone":
        """Share: a frozen model never needs a copy."""
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as a reference to the weights, never the weights."""
        if self._load is None:
            raise TypeError("A backbone without a source cannot be pickled.")
        return self._load, (self.config,)

    @property
    def prefix_mechanism(self) -> "PrefixMechanism":
        """The mechanism that gives it a prefix, chosen and tested at first use."""
        if self._mechanism is None:
            with torch_state:  # a fork waits for this too
                self._mechanism = self._mechanism or choose_prefix_mechanism(
                    self.model,
                    self.is_causal,
                    self.has_layer_hooks,
                    self._mechanism_name,
                )
        return self._mechanism

    def has_mechanism(self, name: str) -> bool:
        """Whether a mechanism was asked for, or has been chosen."""
        return name in (self._mechanism_name, getattr(self._mechanism, "name", None))

    def max_text_length(self, method: str, n_prompt: int) -> int:
        """Return how many tokens a text may have after a prompt of P tokens."""
        if method == "prompt":
            return self.max_positions - n_prompt
        return self.prefix_mechanism.max_text_length(self.max_positions, n_prompt)

    def run(self, inputs: dict[str, Tensor]) -> Tensor:
        """Return the last hidden states (B, T, C) of the model without a prefix."""
        return run_model(self.model, inputs)

    @property
    def n_layers(self) -> int:
        """How many layers are run."""
        return int(self.model.config.num_hidden_layers)

    @property
    def device(self) -> torch.device:
        """The device the weights are on."""
        return self.model.device

    @property
    def inference_limits(self) -> BatchLimits:
        """How many tokens suit one forward without gradient."""
        return _INFERENCE_LIMITS["cpu" if self.device.type == "cpu" else "gpu"]

    @property
    def training_tokens(self) -> int:
        """How many tokens, padding included, one forward with gradient may have."""
        bytes_per_token = _BYTES_PER_FEATURE * self.hidden_size * self.n_layers
        n_bytes = _TRAINING_BYTES
        if self.device.type == "cuda":
            n_bytes = int(_SHARE_OF_GPU * torch.cuda.mem_get_info(self.device)[0])
        return max(_FEWEST_TOKENS, n_bytes // bytes_per_token)

    def embed(self, input_ids: Tensor) -> Tensor:
        """Look up input embeddings: (..., T) -> (..., T, C), without positions."""
        return self.model.get_input_embeddings()(input_ids)

    def output_embeddings(self, ids: list[int]) -> "NDArray":
        """Return the output embeddings (n, C) of some tokens.

        They are the input's where the two are tied; else they are read from the
        weights' files. A backbone that has none is refused.
        """
        rows = None
        if self.model.config.get_text_config().tie_word_embeddings:
            rows = self.model.get_input_embeddings().weight[ids]
        elif self.config is not None:
            rows = read_output_embeddings(self.config.source, ids)
        if rows is not None:
            return rows.float().cpu().numpy()
        raise ValueError(
            "The 'label_texts' parameter needs a causal model with output "
            f"embeddings, but the weights of {type(self.model).__name__} have none: "
            "they were saved without its language modelling head. Use the whole "
            "model's weights."
        )

    def encode(
        self, texts: list[str], *, is_continuation: bool = False
    ) -> list[list[int]]:
        """Return the token ids of texts, without special tokens.

        With `is_continuation` they continue another text: a tokenizer that puts a space
        before every text is kept from doing so.
        """
        makes_space = is_continuation and self.adds_leading_space
        encoding = encode_without_space if makes_space else encode
        rows = encoding(self.tokenizer, texts)
        self._check_ids(max(map(max, filter(None, rows)), default=0))
        return rows

    def _check_ids(self, largest: int) -> None:
        """Refuse a token for which the model has no embedding."""
        n_embeddings = len(self.model.get_input_embeddings().weight)
        if largest >= n_embeddings:
            raise UnsupportedBackboneError(
                f"The tokenizer of {type(self.model).__name__} makes the token "
                f"{largest}, and the model knows {n_embeddings} tokens. Use the "
                "tokenizer that belongs to it."
            )

    @torch.no_grad()
    def _check_reading(self) -> None:
        """Refuse a model whose predictions depend on a text's batch, or on its form."""
        with refuse_model_errors(_cannot_read(self.model)):
            ids = torch.tensor([[5, 6, 7]], device=self.device)
            mask = torch.ones_like(ids)
            expected = self.run({"input_ids": ids, "attention_mask": mask})
            padded, padded_mask = pad(ids, (0, 3), value=self.pad_id), pad(mask, (0, 3))
            output = self.run({"input_ids": padded, "attention_mask": padded_mask})
            before_padding = output[:, : ids.shape[1]]
            embedded = {"inputs_embeds": self.embed(ids), "attention_mask": mask}
            from_embeddings = self.run(embedded)
        if not outputs_agree(before_padding, expected, self.model):
            problem = "depends on the padding after a text"
        elif not outputs_agree(from_embeddings, expected, self.model):
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
    with refuse_model_errors(_cannot_read(model)):
        first = run_model(model, inputs)[:, 0].float()  # (2, C)
    return torch.allclose(first[0], first[1], rtol=1e-3, atol=1e-4)


def _cannot_read(model: "PreTrainedModel") -> str:
    """Return the message for a model that fails on any text."""
    return (
        f"{type(model).__name__} does not read texts as language models do: {{error}}. "
        "Use another `model`."
    )


def _max_positions(
    model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase"
) -> int:
    """Return how many tokens, prompt and text together, have positions."""
    limits = [tokenizer.model_max_length]
    table = learned_positions(model)
    if table is not None:
        limits.append(len(table))
    configured = getattr(model.config, "max_position_embeddings", None)
    if configured:
        limits.append(configured)
    return int(min(limits))
