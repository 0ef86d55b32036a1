"""The interface between the adapter and a backbone."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor

    Prefix = list[tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class PromptStates:
    """What the frozen backbone made of the prompt, layer by layer.

    Attributes
    ----------
    states : list of Tensor (P, C)
        Hidden states entering each layer.
    keys, values : list of Tensor (H_kv, P, D)
        Each layer's own keys (rotated, where the backbone rotates them) and values.
    """

    states: "list[Tensor]"
    keys: "list[Tensor]"
    values: "list[Tensor]"

    @property
    def n_layers(self) -> int:
        """Number of layers that take a prefix."""
        return len(self.keys)

    @property
    def prefix(self) -> "Prefix":
        """The frozen prefix: keys and values exactly as the backbone computed them."""
        return list(zip(self.keys, self.values, strict=True))


class Injection(Protocol):
    """Runs a backbone with or without a prefix in every layer."""

    def read(self, inputs_embeds: "Tensor") -> PromptStates:
        """Run the backbone over one prompt (1, P, C) and record what each layer saw."""
        ...

    def run(
        self, inputs: "dict[str, Tensor]", prefix: "Prefix | None" = None
    ) -> "Tensor":
        """Return the last hidden states (B, T, C) of a batch behind the prefix."""
        ...
