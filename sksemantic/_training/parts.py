"""A batch in parts that are run at once, and the share of each process in them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from sksemantic._inputs.batching import Batch
    from sksemantic._training.processes import Processes

# What has a column for each token, and what tells how many of them there are.
_BY_TOKEN = {
    "input_ids": "attention_mask",
    "attention_mask": "attention_mask",
    "token_type_ids": "attention_mask",
    "pair_ids": "pair_mask",
    "pair_mask": "pair_mask",
}


@dataclass(frozen=True)
class Part:
    """Texts that are run at once.

    Attributes
    ----------
    inputs : dict of str to Tensor
    targets : Tensor
        Of the rows: of the texts, or of their words.
    """

    inputs: dict[str, Tensor]
    targets: Tensor

    def __len__(self) -> int:
        return len(self.inputs["input_ids"])

    def cut(self, texts: range) -> "Part":
        """Return some of the texts that follow one another."""
        starts = self._row_starts()
        rows = slice(starts[texts.start], starts[texts.stop])
        inputs = {k: each[texts.start : texts.stop] for k, each in self.inputs.items()}
        return Part(inputs, self.targets[rows])

    def without_padding(self) -> "Part":
        """Return the texts with no more padding than the longest of them needs."""
        inputs = dict(self.inputs)
        for name, mask_name in _BY_TOKEN.items():
            if name in inputs:
                longest = int(self.inputs[mask_name].sum(dim=-1).max())
                inputs[name] = inputs[name][..., :longest]
        return Part(inputs, self.targets)

    def shares(self, processes: "Processes") -> list[int]:
        """Return how many rows each process reads."""
        starts = self._row_starts()
        texts = range(len(self))
        shares = [processes.share(texts, rank) for rank in range(processes.size)]
        return [starts[each.stop] - starts[each.start] for each in shares]

    def own(self, processes: "Processes") -> "Part":
        """Return the texts that this process reads; there may be none."""
        if processes.size == 1:
            return self
        part = self.cut(processes.share(range(len(self))))
        return part.without_padding() if len(part) else part

    def _row_starts(self) -> list[int]:
        """Return where the rows of each text start, and where those of the last end."""
        if "word_positions" not in self.inputs:
            return list(range(len(self) + 1))
        n_words = (self.inputs["word_positions"] >= 0).sum(dim=1)
        return [0, *n_words.cumsum(0).tolist()]


def size_of(inputs: dict[str, Tensor]) -> tuple[int, int]:
    """Return how many texts a batch has, and how many tokens, padding included."""
    tokens = [inputs[name] for name in ("input_ids", "pair_ids") if name in inputs]
    return len(tokens[0]), sum(each.numel() for each in tokens)


def parts_of(batch: "Batch", token_budget: int) -> Iterator[Part]:
    """Yield a batch in parts of about so many tokens at most."""
    whole = Part(*batch)
    n_texts, n_tokens = size_of(whole.inputs)
    size = max(1, token_budget * n_texts // n_tokens)
    for start in range(0, n_texts, size):
        yield whole.cut(range(start, min(start + size, n_texts)))
