"""The interface between the adapter and a backbone."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from inspect import signature
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import nn

from sksemantic._backbone.layers import entering, make_visitable, recording
from sksemantic.exceptions import UnsupportedBackboneError

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    LayerPrefix = tuple[Tensor, ...]
    Prefix = list[LayerPrefix]


@dataclass(frozen=True)
class PromptStates:
    """What the frozen backbone made of the prompt, in each layer that takes a prefix.

    Attributes
    ----------
    states : list of Tensor (P, C)
        Hidden states entering the layer.
    prefix : list of tuple of Tensor (H, P, D)
        What the text finds there: the layer's own keys and values (rotated, where the
        backbone rotates them), or the states themselves (1, P, C).
    layers : list of int
        Which of the backbone's layers these are: all of them, but in hybrids.
    """

    states: "list[Tensor]"
    prefix: "Prefix"
    layers: list[int]

    @property
    def n_layers(self) -> int:
        """Number of layers that take a prefix."""
        return len(self.prefix)


@dataclass(frozen=True)
class SplitLayer:
    """Where a backbone is entered in the middle.

    Attributes
    ----------
    layer : int
        The first layer that is run.
    n_lower : int
        How many layers that take a prefix lie below it.
    """

    layer: int
    n_lower: int


@dataclass(frozen=True)
class Positions:
    """Where the text behind a prefix of P tokens is counted from.

    It goes on where the prompt ended, at P. Only an encoder with a learned table of
    positions keeps its text's own, from zero: such tables are short, and what is
    trained on starts there.

    Attributes
    ----------
    given : bool
        Whether the backbone takes `position_ids`.
    own : int or None
        First position of a text that keeps its own, None for those that go on.
    """

    given: bool
    own: int | None

    @classmethod
    def of(cls, model: "PreTrainedModel", is_causal: bool) -> "Positions":
        """Inspect a backbone."""
        given = "position_ids" in signature(model.forward).parameters
        table = position_table(model)
        if is_causal or table is None:
            return cls(given, None)
        return cls(given, first_position(table))

    def of_text(self, n_prompt: int, n_text: int) -> "Tensor | None":
        """Return the positions (1, T) of a text behind a prefix that has none."""
        if not self.given:
            return None
        start = n_prompt if self.own is None else self.own
        return torch.arange(start, start + n_text)[None]

    def of_both(self, n_prompt: int, n_text: int) -> "Tensor | None":
        """Return the positions (1, P + T) of prompt and text in one row."""
        if not self.given or self.own is None:
            return None  # the model counts so by itself
        ranges = [torch.arange(self.own, self.own + n) for n in (n_prompt, n_text)]
        return torch.cat(ranges)[None]


def position_table(model: nn.Module) -> nn.Embedding | None:
    """Return the backbone's learned table of positions, if it has one."""
    for name, module in model.named_modules():
        if (
            isinstance(module, nn.Embedding)
            and name.endswith(_TABLE_NAMES)
            and "Sinusoidal" not in type(module).__name__  # rotary, in a table
        ):
            return module
    return None


def first_position(table: nn.Embedding) -> int:
    """Return where counting starts: RoBERTa's does behind the padding index."""
    return 0 if table.padding_idx is None else table.padding_idx + 1


_TOLERANCE = 1e-3  # of the largest output
_HALF_TOLERANCE = 0.1
_TABLE_NAMES = ("position_embeddings", "embed_positions", ".wpe")


class PrefixMechanism(ABC):
    """Runs a backbone with or without a prefix in every layer.

    Parameters
    ----------
    model : PreTrainedModel
        A frozen backbone.
    positions : Positions
        Where the text is counted from.

    Raises
    ------
    UnsupportedBackboneError
        If the mechanism does not suit the model.
    """

    name: ClassVar[str]

    def __init__(self, model: "PreTrainedModel", positions: Positions) -> None:
        self.model = model
        self.positions = positions

    def room(self, n_positions: int, n_prompt: int) -> int:
        """Return how many tokens a text may have behind a prefix of P tokens."""
        keeps_own = self.positions.given and self.positions.own is not None
        return n_positions if keeps_own else n_positions - n_prompt

    @abstractmethod
    def read(self, inputs_embeds: "Tensor") -> PromptStates:
        """Run the backbone over one prompt (1, P, C) and record what each layer saw."""

    @abstractmethod
    def run(self, inputs: "dict[str, Tensor]", prefix: "Prefix") -> "Tensor":
        """Return the last hidden states (B, T, C) of a batch behind the prefix."""

    def run_recording(
        self, inputs: "dict[str, Tensor]", prefix: "Prefix", split_layer: SplitLayer
    ) -> "tuple[Tensor, Tensor]":
        """Return the last hidden states, and those entering a layer, (B, T, C) each."""
        with recording(split_layer.layer, inputs["input_ids"].shape[1]) as visit:
            hidden = self.run(inputs, prefix)
        return hidden, visit.recorded()

    def run_lower(
        self, inputs: "dict[str, Tensor]", prefix: "Prefix", split_layer: SplitLayer
    ) -> "Tensor":
        """Return the states (B, T, C) entering a layer, and run no further."""
        length = inputs["input_ids"].shape[1]
        with recording(split_layer.layer, length, stop=True) as visit:
            self.run(inputs, prefix)
        return visit.recorded()

    def run_upper(
        self,
        inputs: "dict[str, Tensor]",
        prefix: "Prefix",
        split_layer: SplitLayer,
        states: "Tensor",
    ) -> "Tensor":
        """Return the last hidden states (B, T, C) of states that enter a layer."""
        with entering(split_layer.layer, states):
            return self.run(inputs, self._above(prefix, split_layer))

    def can_split(self, read: PromptStates, split_layer: SplitLayer) -> bool:
        """Whether the layers above an split_layer make the same of its recorded states.

        That is tried, on two tiny texts behind the prompt: layers may share weights, or
        hand on more than hidden states.
        """
        try:
            n_layers = make_visitable(self.model)
        except UnsupportedBackboneError:
            return False
        if not 0 < split_layer.layer < n_layers:
            return False
        ids = torch.tensor([[5, 6, 7], [8, 9, 9]], device=self.model.device)
        mask = torch.tensor([[1, 1, 1], [1, 1, 0]], device=self.model.device)
        inputs = {"input_ids": ids, "attention_mask": mask}
        try:
            with torch.no_grad():
                states = self.run_lower(inputs, read.prefix, split_layer)
                found = self.run_upper(inputs, read.prefix, split_layer, states)
                expected = self.run(inputs, read.prefix)
        except Exception:  # an architecture may fail in any way of its own
            return False
        real = mask.bool()
        return agree(found[real], expected[real], self.model)

    def _above(self, prefix: "Prefix", split_layer: SplitLayer) -> "Prefix":
        """Return the prefix as `run` wants it when the layers below are skipped."""
        return prefix


def agree(found: "Tensor", expected: "Tensor", model: "PreTrainedModel") -> bool:
    """Whether two outputs (B, T, C) are the same, as far as the weights can tell."""
    is_exact = model.dtype == torch.float32 and not hasattr(model, "hf_quantizer")
    tolerance = _TOLERANCE if is_exact else _HALF_TOLERANCE
    largest = expected.float().abs().max()
    return bool((found.float() - expected.float()).abs().max() <= tolerance * largest)


def run_bare(model: "PreTrainedModel", inputs: "dict[str, Tensor]") -> "Tensor":
    """Return the last hidden states (B, T, C) of the backbone as it is."""
    hidden = model(**inputs).last_hidden_state
    return hidden.to(model.device)  # the last layer may be on another one


def widened(mask: "Tensor", n_prompt: int) -> "Tensor":
    """Put P tokens that are seen in front of a batch's mask (B, T)."""
    return torch.cat([mask.new_ones(len(mask), n_prompt), mask], dim=1)  # (B, P + T)


def expanded(prefix: "Tensor", states: "Tensor") -> "Tensor":
    """Repeat a prefix (H, P, D) for each of a batch's states (B, ...), uncopied."""
    return prefix.to(states).expand(states.shape[0], *prefix.shape)  # (B, H, P, D)
