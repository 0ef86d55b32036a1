"""The interface between the adapter and a backbone."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from inspect import signature
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import nn

from sksemantic._backbone.layers import record_states, refuse_model_errors, start_at
from sksemantic._backbone.prefix.stacking import PackedPrefix, stack_prefixes
from sksemantic.exceptions import UnsupportedBackboneError

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from sksemantic._backbone.prefix.stacking import Prefix as Prefix

_TOLERANCE = 1e-3  # of the largest output
_HALF_PRECISION_TOLERANCE = 0.1
_TABLE_NAMES = ("position_embeddings", "embed_positions", ".wpe")


@dataclass(frozen=True)
class PromptStates:
    """What the frozen backbone made of the prompt in the layers that take a prefix."""

    states: "list[Tensor]"  # (P, C) entering the layer
    # What the text finds there: the layer's own keys and values (H, P, D), rotated if
    # the backbone rotates them, or the states themselves (1, P, C).
    prefix: "Prefix"
    layers: list[int]  # which of the backbone's: all, except in hybrid models

    @property
    def n_layers(self) -> int:
        """Number of layers that take a prefix."""
        return len(self.prefix)


@dataclass(frozen=True)
class SplitLayer:
    """The layer from which on a backbone is run alone."""

    layer: int  # the first that is run
    n_lower: int  # how many layers below it take a prefix


@dataclass(frozen=True)
class Positions:
    """Where the positions of a text after a prefix of P tokens start.

    They continue the prompt's, at P. Only with an encoder that has a learned table of
    positions they start at zero, as without a prefix: such tables are short, and the
    encoder was trained on texts that start there.
    """

    given: bool  # whether the backbone takes `position_ids`
    own: int | None  # the first, of a text whose positions do not continue the prompt's

    @classmethod
    def of(cls, model: "PreTrainedModel", is_causal: bool) -> "Positions":
        """Inspect a backbone."""
        given = "position_ids" in signature(model.forward).parameters
        table = None if is_causal else learned_positions(model)
        return cls(given, None if table is None else table.start)

    def of_text(self, n_prompt: "int | Tensor", ids: "Tensor") -> "dict[str, Tensor]":
        """Return the positions (1, T) of texts (B, T) after P tokens, as an input.

        With a number of tokens for each text (B, 1) they are (B, T).
        """
        if not self.given:
            return {}
        start = n_prompt if self.own is None else self.own
        positions = torch.arange(ids.shape[1], device=ids.device)[None]
        return {"position_ids": positions + start}

    def of_both(self, n_prompt: int, ids: "Tensor") -> "dict[str, Tensor]":
        """Return the positions (1, P + T) of both in one row, as an input."""
        if not self.given or self.own is None:
            return {}  # the model's own positions are these
        lengths = (n_prompt, ids.shape[1])
        ranges = [torch.arange(self.own, self.own + length) for length in lengths]
        return {"position_ids": torch.cat(ranges)[None].to(ids.device)}


def learned_positions(model: nn.Module) -> range | None:
    """Return the positions of texts in the backbone's learned table, if it has one."""
    for name, module in model.named_modules():
        if (
            isinstance(module, nn.Embedding)
            and name.endswith(_TABLE_NAMES)
            and "Sinusoidal" not in type(module).__name__  # rotary, in a table
        ):
            padding = module.padding_idx  # RoBERTa's texts start after it
            return range(0 if padding is None else padding + 1, module.num_embeddings)
    return None


class PrefixMechanism(ABC):
    """Runs a frozen backbone with a prefix in every layer.

    A model that it does not suit is refused. `has_layer_hooks` says whether hooks are
    set on the layers of the model.
    """

    name: ClassVar[str]

    def __init__(
        self, model: "PreTrainedModel", positions: Positions, has_layer_hooks: bool
    ) -> None:
        self.model = model
        self.positions = positions
        self.has_layer_hooks = has_layer_hooks
        self._mixes_lengths: bool | None = None

    def max_text_length(self, max_positions: int, n_prompt: int) -> int:
        """Return how many tokens a text may have after a prefix of P tokens."""
        keeps_own = self.positions.given and self.positions.own is not None
        return max_positions if keeps_own else max_positions - n_prompt

    @abstractmethod
    def read(self, inputs_embeds: "Tensor") -> PromptStates:
        """Run the backbone over one prompt (1, P, C); record what the layers make."""

    @abstractmethod
    def run(
        self,
        inputs: "dict[str, Tensor]",
        prefix: "Prefix",
        prefix_mask: "Tensor | None" = None,
    ) -> "Tensor":
        """Return the last hidden states (B, T, C) of a batch after the prefix.

        Where each row has a prefix of its own, the mask (B, P) says which of its tokens
        are real; None: all are.
        """

    def run_recording(
        self, inputs: "dict[str, Tensor]", prefix: "Prefix", split_layer: SplitLayer
    ) -> "tuple[Tensor, Tensor]":
        """Return the last hidden states, and those entering a layer, (B, T, C) each."""
        length = inputs["input_ids"].shape[1]
        with record_states(split_layer.layer, length) as recorded:
            hidden = self.run(inputs, prefix)
        return hidden, recorded.get()

    def run_lower(
        self, inputs: "dict[str, Tensor]", prefix: "Prefix", split_layer: SplitLayer
    ) -> "Tensor":
        """Return the states (B, T, C) entering a layer, and run no further."""
        length = inputs["input_ids"].shape[1]
        with record_states(split_layer.layer, length, stop=True) as recorded:
            self.run(inputs, prefix)
        return recorded.get()

    def run_upper(
        self,
        inputs: "dict[str, Tensor]",
        prefix: "Prefix",
        split_layer: SplitLayer,
        states: "Tensor",
    ) -> "Tensor":
        """Return the last hidden states (B, T, C) of states that enter a layer."""
        with start_at(split_layer.layer, states):
            return self.run(inputs, self._prefix_from(prefix, split_layer))

    @torch.no_grad()
    def can_split(self, read: PromptStates, split_layer: SplitLayer) -> bool:
        """Whether the layers from a split layer on give the same output when run alone.

        That is tried, on two tiny texts after the prompt: layers may share weights, or
        pass on more than hidden states.
        """
        n_layers = self.model.config.num_hidden_layers
        if not self.has_layer_hooks or not 0 < split_layer.layer < n_layers:
            return False
        inputs, real = self._tiny_texts()
        expected = self.run(inputs, read.prefix)
        try:
            # A layer may lack what one below it passes on besides hidden states.
            with refuse_model_errors():
                states = self.run_lower(inputs, read.prefix, split_layer)
                output = self.run_upper(inputs, read.prefix, split_layer, states)
        except UnsupportedBackboneError:
            return False
        return outputs_agree(output[real], expected[real], self.model)

    @torch.no_grad()
    def can_mix_lengths(self, prefix: "Prefix") -> bool:
        """Whether the rows of a batch may have prefixes of different lengths.

        That is tried, once, on two tiny texts: one after a prefix, one after that
        prefix twice.
        """
        if self._mixes_lengths is None:
            self._mixes_lengths = self._try_two_lengths(prefix)
        return self._mixes_lengths

    def _try_two_lengths(self, prefix: "Prefix") -> bool:
        inputs, real = self._tiny_texts()
        twice = [tuple(torch.cat([x, x], dim=-2) for x in layer) for layer in prefix]
        packed = [PackedPrefix.of(prefix), PackedPrefix.of(twice)]
        mixed, prefix_mask = stack_prefixes(packed, torch.tensor([0, 1]))
        try:
            with refuse_model_errors():
                output = self.run(inputs, mixed, prefix_mask)
        except UnsupportedBackboneError:
            return False
        rows = [{k: x[i : i + 1] for k, x in inputs.items()} for i in range(2)]
        pairs = zip(rows, (prefix, twice), strict=True)
        expected = torch.cat([self.run(*each) for each in pairs])
        return outputs_agree(output[real], expected[real], self.model)

    def _tiny_texts(self) -> "tuple[dict[str, Tensor], Tensor]":
        """Return two texts of two lengths, and which tokens are real (B, T)."""
        ids = torch.tensor([[5, 6, 7], [8, 9, 9]], device=self.model.device)
        mask = torch.tensor([[1, 1, 1], [1, 1, 0]], device=self.model.device)
        return {"input_ids": ids, "attention_mask": mask}, mask.bool()

    def _prefix_from(self, prefix: "Prefix", split_layer: SplitLayer) -> "Prefix":
        """Return the prefix that `run` needs when the layers below are skipped."""
        return prefix


def outputs_agree(
    output: "Tensor", expected: "Tensor", model: "PreTrainedModel"
) -> bool:
    """Whether two outputs (B, T, C) are the same, as far as the weights can tell."""
    if output.shape != expected.shape:
        return False
    is_exact = model.dtype == torch.float32 and not hasattr(model, "hf_quantizer")
    tolerance = _TOLERANCE if is_exact else _HALF_PRECISION_TOLERANCE
    largest = expected.float().abs().max()
    difference = (output.float() - expected.float()).abs().max()
    return bool(difference <= tolerance * largest)


def run_model(model: "PreTrainedModel", inputs: "dict[str, Tensor]") -> "Tensor":
    """Return the last hidden states (B, T, C) of a model."""
    hidden = getattr(model(**inputs), "last_hidden_state", None)
    if hidden is None:
        raise UnsupportedBackboneError("It returns no last hidden states.")
    return hidden.to(model.device)  # the last layer may be on another one


def hidden_states_of(output: Any) -> "list[Tensor]":
    """Return the hidden states (P, C) of one prompt before and after each layer."""
    if getattr(output, "hidden_states", None) is None:
        raise UnsupportedBackboneError("It returns no hidden states of its layers.")
    return [states[0] for states in output.hidden_states]


def expand_prefix(prefix: "Tensor", states: "Tensor") -> "Tensor":
    """Repeat a prefix (H, P, D) for each of a batch's states (B, ...), uncopied.

    One that has a row for each of them is returned as it is.
    """
    prefix = prefix.to(states)
    is_of_rows = prefix.dim() == 4
    return prefix if is_of_rows else prefix.expand(len(states), *prefix.shape)


def prefix_length(prefix: "Prefix", mask: "Tensor | None") -> "int | Tensor":
    """Return the number of tokens P, or those that are real in each row (B, 1)."""
    return prefix[0][0].shape[-2] if mask is None else mask.sum(dim=1, keepdim=True)
