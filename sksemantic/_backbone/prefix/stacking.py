"""One prefix for each row of a batch: several prefixes, padded to one length."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Hashable

    # Each layer's tensors (H, P, D); or those of each row of a batch, (B, H, P, D).
    Prefix = list[tuple[Tensor, ...]]


@dataclass(frozen=True)
class PackedPrefix:
    """A prefix whose tensors of one shape (H, P, D) are one, (n, H, P, D).

    It is padded and stacked with others in few steps.
    """

    kinds: "list[list[Hashable]]"  # of the tensors of each layer: shape and device
    tensors: "dict[Hashable, Tensor]"  # of each kind, in order
    length: int  # P

    @classmethod
    def of(cls, prefix: "Prefix") -> "PackedPrefix":
        """Pack a prefix."""
        kinds: list[list[Hashable]] = []
        by_kind: dict[Hashable, list[Tensor]] = {}
        for layer in prefix:
            kinds.append([(len(x), x.shape[-1], x.device) for x in layer])
            for kind, tensor in zip(kinds[-1], layer, strict=True):
                by_kind.setdefault(kind, []).append(tensor)
        tensors = {kind: torch.stack(each) for kind, each in by_kind.items()}
        return cls(kinds, tensors, prefix[0][0].shape[-2])

    def unpacked(self) -> "Prefix":
        """Return the prefix, on the same memory."""
        return _by_layer(self.kinds, self.tensors)


def stack_prefixes(
    prefixes: Sequence[PackedPrefix], rows: Tensor
) -> "tuple[Prefix, Tensor | None]":
    """Return the prefix (B, H, P, D) of rows that each have one of several, and a mask.

    `rows` (B,) says which one a row has. Shorter ones are padded at the front; the mask
    (B, P) says which tokens are real, and is None if all are.
    """
    lengths = torch.tensor([prefix.length for prefix in prefixes])
    longest = int(lengths.max())
    together: dict[Hashable, Tensor] = {}
    for kind, some in prefixes[0].tensors.items():
        n, n_heads, _, width = some.shape
        # (n, B, H, P, D): every layer's tensor is contiguous.
        stacked = some.new_zeros(n, len(rows), n_heads, longest, width)
        for i, row in enumerate(rows.tolist()):
            start = longest - prefixes[row].length
            stacked[:, i, :, start:] = prefixes[row].tensors[kind]
        together[kind] = stacked
    prefix = _by_layer(prefixes[0].kinds, together)
    if lengths.min() == longest:
        return prefix, None
    steps = torch.arange(longest)
    mask = steps >= longest - lengths[rows, None]
    return prefix, mask.to(prefix[0][0].device)


def _by_layer(
    kinds: "list[list[Hashable]]", tensors: "dict[Hashable, Tensor]"
) -> "Prefix":
    """Return each layer's tensors; those of one kind are one, in order."""
    left: dict[Hashable, Iterator[Tensor]] = {k: iter(x) for k, x in tensors.items()}
    return [tuple(next(left[kind]) for kind in layer) for layer in kinds]
