"""From texts to batches: tokenise ragged, bucket by length, pad only within a batch."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from sksemantic._store import tokens
from sksemantic.exceptions import TruncationWarning

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sksemantic._backbone import Backbone
    from sksemantic._prompt import Prompt

DEFAULT_MAX_LENGTH = 512
_FEWEST_TEXT_TOKENS = 8  # room that any prompt has to leave for the texts
_BATCHES_PER_BUCKET = 32


class Template:
    """Lays special tokens and the prompt around texts, as token ids.

    Parameters
    ----------
    backbone : Backbone
    prompt : Prompt
    method : {"prefix", "prompt"}
        Under "prompt" the prompt takes up positions of every backbone; under "prefix"
        only of causal ones (the texts of an encoder keep their own positions).
    max_length : int or None
        Longest text in tokens, with its special tokens and what follows the slot, but
        without the prompt. None: what the positions allow, at most 512.

    Raises
    ------
    ValueError
        If the prompt leaves no room for texts, or `max_length` exceeds the positions.
    """

    def __init__(
        self,
        backbone: "Backbone",
        prompt: "Prompt",
        method: str,
        max_length: int | None,
    ) -> None:
        self._backbone = backbone
        before, self._space = _natural_boundary(prompt, backbone)
        self._going_on = backbone.is_causal
        (before_ids,) = backbone.encode([before])
        (after_ids,) = backbone.encode([prompt.after], going_on=self._going_on)
        left, right = backbone.special_tokens
        self._filler = backbone.start_id
        if backbone.is_causal:
            # One running text: the prompt opens it, nothing closes it.
            self.prompt_ids = left + before_ids
            self._left, self._right = [], after_ids
        else:
            self.prompt_ids = left + before_ids + right
            self._left, self._right = left, after_ids + right
        if not self.prompt_ids:
            self.prompt_ids = [self._filler_id(prompt)]
        room = backbone.room(method, len(self.prompt_ids))
        self.max_length = self._fit(max_length, room, backbone, prompt)

    def rows(self, texts: list[str]) -> "Ragged":
        """Return the token ids of each text, cut to `max_length`, with one warning."""
        budget = self.max_length - len(self._left) - len(self._right)
        encoded = tokens.encode(
            (self._backbone.uid, self._going_on),
            [self._space + text for text in texts],
            partial(self._backbone.encode, going_on=self._going_on),
        )
        n_cut = sum(len(ids) > budget for ids in encoded)
        if n_cut:
            longest = max(map(len, encoded)) + len(self._left) + len(self._right)
            warnings.warn(
                f"{n_cut} of {len(texts)} texts are longer than max_length="
                f"{self.max_length} tokens (the longest has {longest}) and were cut at "
                "the end. Raise 'max_length' if the backbone has the positions, or "
                "silence this with warnings.simplefilter('ignore', TruncationWarning).",
                TruncationWarning,
                stacklevel=user_stacklevel(),
            )
        around = [np.array(ids, np.int32) for ids in (self._left, self._right)]
        rows = [np.concatenate([around[0], ids[:budget], around[1]]) for ids in encoded]
        filler = np.array([self._filler or 0], np.int32)  # an empty text, unadorned
        return Ragged.of([row if len(row) else filler for row in rows])

    def _filler_id(self, prompt: "Prompt") -> int:
        if self._filler is None:
            raise ValueError(
                "The 'prompt' parameter must have text before its slot for a backbone "
                "without a start token. Got "
                f"{prompt.before + '{text}' + prompt.after!r} instead. Put some words "
                "before {text}."
            )
        return self._filler

    def _fit(
        self, max_length: int | None, room: int, backbone: "Backbone", prompt: "Prompt"
    ) -> int:
        """Return the longest row there is room for."""
        around = len(self._left) + len(self._right)
        if len(self.prompt_ids) > backbone.max_positions or (
            min(room, backbone.max_positions) < around + _FEWEST_TEXT_TOKENS
        ):
            raise ValueError(
                f"The 'prompt' parameter is too long: {len(self.prompt_ids)} tokens "
                f"before and {around} around the text leave fewer than "
                f"{_FEWEST_TEXT_TOKENS} tokens for the texts, of the backbone's "
                f"{backbone.max_positions} positions or of its sliding window. Shorten "
                "the prompt."
            )
        if max_length is None:
            return min(room, max(DEFAULT_MAX_LENGTH, around + _FEWEST_TEXT_TOKENS))
        if not around < max_length <= room:
            raise ValueError(
                f"The 'max_length' parameter must be between {around + 1} and {room} "
                f"tokens for this backbone and prompt ({backbone.max_positions} "
                f"positions, {len(self.prompt_ids)} for the prompt, {around} around "
                f"each text). Got {max_length} instead."
            )
        return max_length


def _natural_boundary(prompt: "Prompt", backbone: "Backbone") -> tuple[str, str]:
    """Place the white space between prompt and text where tokenizers expect it.

    A causal backbone reads `before + space + text` as one running text. The space goes
    with the word behind it, as in its training; a prompt without a slot ends its line.
    """
    before = prompt.before
    if not backbone.is_causal:
        return before.strip(), ""
    if not prompt.has_slot and not before[-1:].isspace():
        return before + "\n", ""
    if before.endswith(" ") and not before.endswith("  "):
        return before[:-1], " "
    return before, ""


class Ragged:
    """Rows of token ids of different lengths, laid end to end.

    Attributes
    ----------
    flat : ndarray of shape (n_tokens,), int32
    starts : ndarray of shape (n_rows + 1,), int64
        Where each row starts, and where the last one ends.
    """

    def __init__(self, flat: "NDArray", lengths: "NDArray") -> None:
        self.flat = flat
        self.starts = np.concatenate([[0], np.cumsum(lengths)])

    @classmethod
    def of(cls, rows: "Sequence[Any]") -> "Ragged":
        """Lay rows of ids end to end."""
        lengths = np.fromiter(map(len, rows), np.int64, len(rows))
        flat = np.concatenate([np.zeros(0, np.int32), *rows]).astype(np.int32)
        return cls(flat, lengths)

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __iter__(self) -> "Iterator[NDArray]":
        return (self[i] for i in range(len(self)))

    def __getitem__(self, i: int) -> "NDArray":
        return self.flat[self.starts[i] : self.starts[i + 1]]

    @property
    def lengths(self) -> "NDArray":
        """Number of tokens of each row (n_rows,)."""
        return np.diff(self.starts)

    def take(self, indices: "NDArray") -> "Ragged":
        """Return the rows at these indices, in their order."""
        lengths = self.lengths[indices]
        taken = Ragged(self.flat[:0], lengths)
        shifts = np.repeat(self.starts[:-1][indices] - taken.starts[:-1], lengths)
        taken.flat = self.flat[np.arange(taken.starts[-1]) + shifts]
        return taken

    def padded(self, fill: int) -> "tuple[NDArray, NDArray]":
        """Return ids (B, T), padded on the right, and which of them are real (B, T)."""
        lengths = self.lengths
        mask = np.arange(lengths.max(initial=0)) < lengths[:, None]
        ids = np.full(mask.shape, fill, np.int64)
        ids[mask] = self.flat
        return ids, mask

    def digest(self) -> bytes:
        """Return a fingerprint of all rows."""
        found = blake2b(self.flat.tobytes())
        found.update(self.starts.tobytes())
        return found.digest()

    def keys(self) -> list[bytes]:
        """Return each row as bytes, to look it up by."""
        return [row.tobytes() for row in self]


class TextDataset(Dataset):
    """Tokenised texts with their targets and weights.

    Parameters
    ----------
    rows : Ragged, or list of list of int
        Token ids of each text.
    targets : ndarray of shape (n,) or None
        Class indices (int64) or standardised targets (float32).
    weights : ndarray of shape (n,) or None
        Sample weights; None counts every row once.
    """

    def __init__(
        self,
        rows: "Ragged | Sequence[Any]",
        targets: "NDArray | None" = None,
        weights: "NDArray | None" = None,
    ) -> None:
        self.rows = rows if isinstance(rows, Ragged) else Ragged.of(rows)
        n = len(self.rows)
        self.targets = np.zeros(n, np.int64) if targets is None else targets
        self.weights = np.ones(n, np.float32) if weights is None else weights

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: int) -> "tuple[NDArray, Any, Any]":
        return self.rows[i], self.targets[i], self.weights[i]

    def __getitems__(self, indices: list[int]) -> "TextDataset":
        """Return a batch, as torch's loaders ask for it."""
        return self.take(np.asarray(indices))

    @property
    def lengths(self) -> "NDArray":
        """Number of tokens of each text (n,)."""
        return self.rows.lengths

    def take(self, indices: "NDArray") -> "TextDataset":
        """Return the rows at these indices, in their order."""
        rows = self.rows.take(indices)
        return TextDataset(rows, self.targets[indices], self.weights[indices])

    def by_length(self) -> "tuple[TextDataset, NDArray]":
        """Return the rows from short to long, and the permutation that did it."""
        order = np.argsort(self.lengths, kind="stable")
        return self.take(order), order


class BucketSampler(Sampler[list[int]]):
    """Shuffled batches of texts of similar length.

    Every epoch is a fresh permutation, cut into buckets of a few dozen batches; each
    bucket is sorted by length, and the batches are shuffled again.
    """

    def __init__(
        self, lengths: "NDArray", batch_size: int, generator: np.random.RandomState
    ) -> None:
        self.lengths = lengths
        self.batch_size = batch_size
        self.generator = generator

    def __len__(self) -> int:
        return -(-len(self.lengths) // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        order = self.generator.permutation(len(self.lengths))
        size = self.batch_size * _BATCHES_PER_BUCKET
        batches: list[list[int]] = []
        for start in range(0, len(order), size):
            bucket = order[start : start + size]
            bucket = bucket[np.argsort(self.lengths[bucket], kind="stable")]
            batches += [
                bucket[i : i + self.batch_size].tolist()
                for i in range(0, len(bucket), self.batch_size)
            ]
        for i in self.generator.permutation(len(batches)):
            yield batches[i]


def train_batches(
    dataset: TextDataset,
    batch_size: int,
    pad_id: int,
    generator: np.random.RandomState,
) -> DataLoader:
    """Iterate in shuffled buckets."""
    sampler = BucketSampler(dataset.lengths, batch_size, generator)
    return DataLoader(dataset, batch_sampler=sampler, collate_fn=collate(pad_id))


class TokenBudgetSampler(Sampler[list[int]]):
    """Batches of neighbouring texts, as many as the token budget allows."""

    def __init__(self, lengths: "NDArray", budget: int) -> None:
        self.batches: list[list[int]] = []
        longest = 0
        for i, length in enumerate(lengths.tolist()):
            longest = max(longest, length)
            if not self.batches or (len(self.batches[-1]) + 1) * longest > budget:
                self.batches.append([])
                longest = length
            self.batches[-1].append(i)

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.batches)


def ordered_batches(
    dataset: TextDataset, pad_id: int, budget: int, batch_size: int | None = None
) -> "_OrderedBatches":
    """Iterate in the dataset's own order; sort it by length first.

    A batch has so many texts that its tokens, padding included, keep the budget;
    `batch_size` is for training.
    """
    return _OrderedBatches(dataset, pad_id, budget)


class _OrderedBatches:
    """What a torch loader would do, but that one draws a random number each time.

    What is kept from an earlier fit must not change the numbers drawn later in this.
    """

    def __init__(self, dataset: TextDataset, pad_id: int, budget: int) -> None:
        self.dataset = dataset
        self.batches = TokenBudgetSampler(dataset.lengths, budget)
        self.collate_fn = collate(pad_id)

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[tuple[dict[str, Tensor], Tensor]]:
        for indices in self.batches:
            yield self.collate_fn(self.dataset.__getitems__(indices))


def collate(pad_id: int) -> Callable[[Any], tuple[dict[str, Tensor], Tensor]]:
    """Return a function that pads rows on the right to the longest of their batch."""

    def pad(batch: TextDataset) -> tuple[dict[str, Tensor], Tensor]:
        ids, mask = batch.rows.padded(pad_id)
        inputs = {
            "input_ids": torch.from_numpy(ids),
            "attention_mask": torch.from_numpy(mask.astype(np.int64)),
            "sample_weight": torch.from_numpy(batch.weights.astype(np.float32)),
        }
        return inputs, torch.from_numpy(batch.targets)

    return pad


def user_stacklevel() -> int:
    """Return the stacklevel that points a warning at the line outside this package."""
    import sys

    level = 1
    frame = sys._getframe(1)
    while frame.f_back is not None and _is_ours(frame.f_globals.get("__name__", "")):
        frame = frame.f_back
        level += 1
    return level


def _is_ours(module: str) -> bool:
    return module.partition(".")[0] in {"sksemantic", "sklearn"}
