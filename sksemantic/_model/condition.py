"""What a module puts before its texts, kept from one prediction to the next."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from sksemantic._backbone.prefix.stacking import PackedPrefix


@dataclass
class KeptCondition:
    """What an adapter has made, and the weights that it had then."""

    weights: list[Tensor]
    condition: Any  # each layer's prefix, or the soft prompt (P, C)

    @cached_property
    def packed(self) -> PackedPrefix:
        """The prefix in a form that is quick to stack with others."""
        packed = PackedPrefix.of(self.condition)
        self.condition = packed.unpacked()  # the memory of one, not of both
        return packed


class ConditionKeeper:
    """Runs an adapter only if it has changed; copies and pickles keep nothing."""

    def __init__(self, adapter: nn.Module) -> None:
        self._adapter = adapter
        # `parameters()` takes as long as a comparison of their values.
        self._places = [
            (owner, name)
            for owner in adapter.modules()
            for name, _ in owner.named_parameters(recurse=False)
        ]
        self._kept: KeptCondition | None = None

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_kept": None}

    @torch.inference_mode()
    def get(self) -> KeptCondition:
        """Return what the adapter makes, without gradient. Threads may call.

        Every weight is compared, as it may be trained by anyone.
        """
        weights = [getattr(owner, name) for owner, name in self._places]
        kept = self._kept
        if kept is None or not all(map(_is_same, kept.weights, weights)):
            copies = [weight.clone() for weight in weights]
            kept = self._kept = KeptCondition(copies, self._adapter())
        return kept


def _is_same(kept: Tensor, weight: Tensor) -> bool:
    return kept.device == weight.device and torch.equal(kept, weight)
