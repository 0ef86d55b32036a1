"""From rows of token ids to batches: bucket by length, pad only within a batch."""

from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BATCHES_PER_BUCKET = 32


class Ragged:
    """Rows of token ids of different lengths, laid end to end.

    Attributes
    ----------
    flat : ndarray of shape (n_tokens,), int32
    starts : ndarray of shape (n_rows + 1,), int64
        Where each row starts, and where the last one ends.
    second_starts : ndarray of shape (n_rows,), int64, or None
        Where, within a row, tokens of the second type start, for pairs of texts.
    """

    def __init__(
        self,
        flat: "NDArray",
        lengths: "NDArray",
        second_starts: "NDArray | None" = None,
    ) -> None:
        self.flat = flat
        self.starts = np.concatenate([[0], np.cumsum(lengths)])
        self.second_starts = second_starts

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
        second_starts = (
            None if self.second_starts is None else self.second_starts[indices]
        )
        taken = Ragged(self.flat[:0], lengths, second_starts)
        taken.flat = self.flat[self.places(indices)]
        return taken

    def places(self, indices: "NDArray") -> "NDArray":
        """Return where in `flat` the entries of these rows are, in their order."""
        lengths = self.lengths[indices]
        ends = np.cumsum(lengths)
        shifts = np.repeat(self.starts[:-1][indices] - (ends - lengths), lengths)
        return np.arange(lengths.sum()) + shifts

    def padded(self, fill: int) -> "tuple[NDArray, NDArray]":
        """Return ids (B, T), padded on the right, and which of them are real (B, T)."""
        lengths = self.lengths
        mask = np.arange(lengths.max(initial=0)) < lengths[:, None]
        ids = np.full(mask.shape, fill, np.int64)
        ids[mask] = self.flat
        return ids, mask

    def types(self) -> "NDArray":
        """Return the padded token types (B, T) of pairs."""
        assert self.second_starts is not None
        steps = np.arange(self.lengths.max(initial=0))
        is_second = (steps >= self.second_starts[:, None]) & (
            steps < self.lengths[:, None]
        )
        return is_second.astype(np.int64)

    def digest(self) -> bytes:
        """Return a fingerprint of all rows."""
        found = blake2b(self.flat.tobytes())
        found.update(self.starts.tobytes())
        if self.second_starts is not None:
            found.update(self.second_starts.tobytes())
        return found.digest()

    def keys(self) -> list[bytes]:
        """Return each row as bytes, to look it up by."""
        if self.second_starts is None:
            return [row.tobytes() for row in self]
        second_starts = self.second_starts.tolist()
        return [pair_key(row, i) for row, i in zip(self, second_starts, strict=True)]


def pair_key(ids: "NDArray", second: int) -> bytes:
    """Return the key of a row whose tokens of the second type start somewhere."""
    return ids.tobytes() + b"\x00pair" + second.to_bytes(4, "little")


class TextDataset(Dataset):
    """Tokenised texts with their targets and weights.

    A unit is what gets a prediction: a whole row or, where there are
    `word_positions`, each of the row's tokens that they name.

    Parameters
    ----------
    rows : Ragged, or list of list of int
        Token ids of each text.
    targets : ndarray of shape (n_rows,) or (n_rows, k), or None
        Class indices (int64), indicators or standardised targets (float32).
    weights : ndarray of shape (n,) or None
        Sample weights; None counts every row once.
    word_positions : Ragged or None
        Positions, within each row, of the tokens that are labelled.
    groups : ndarray of shape (n,) or None
        Rows of one group are held back together.
    parts : Ragged or None
        The two texts of each pair, one after the other, as rows of their own (2n).
    """

    def __init__(
        self,
        rows: "Ragged | Sequence[Any]",
        targets: "NDArray | None" = None,
        weights: "NDArray | None" = None,
        word_positions: Ragged | None = None,
        groups: "NDArray | None" = None,
        parts: Ragged | None = None,
    ) -> None:
        self.rows = rows if isinstance(rows, Ragged) else Ragged.of(rows)
        self.word_positions = word_positions
        self.groups = groups
        self.parts = parts
        n = len(self.rows)
        n_rows = n if word_positions is None else len(word_positions.flat)
        self.targets = np.zeros(n_rows, np.int64) if targets is None else targets
        self.weights = np.ones(n, np.float32) if weights is None else weights

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: int) -> "tuple[NDArray, Any, Any]":
        return self.rows[i], self.targets[self.rows_of(np.array([i]))], self.weights[i]

    def __getitems__(self, indices: list[int]) -> "TextDataset":
        """Return a batch, as torch's loaders ask for it."""
        return self.take(np.asarray(indices))

    @property
    def lengths(self) -> "NDArray":
        """Number of tokens of each text (n,)."""
        return self.rows.lengths

    def rows_of(self, indices: "NDArray") -> "NDArray":
        """Return the places of these rows' units among all, in the rows' order."""
        return (
            indices
            if self.word_positions is None
            else self.word_positions.places(indices)
        )

    @property
    def row_weights(self) -> "NDArray":
        """Weight of each unit: its row's (n_rows,)."""
        if self.word_positions is None:
            return self.weights
        return np.repeat(self.weights, self.word_positions.lengths)

    @property
    def text_weights(self) -> "NDArray":
        """Weight of each row in a mean over all units (n,)."""
        if self.word_positions is None:
            return self.weights
        return self.weights * self.word_positions.lengths

    def text_means(self, values: "NDArray") -> "NDArray":
        """Average what belongs to units (n_rows, ...) over each row (n, ...)."""
        if self.word_positions is None:
            return values
        ends = self.word_positions.starts
        total = np.concatenate([np.zeros_like(values[:1]), np.cumsum(values, axis=0)])
        counts = np.maximum(self.word_positions.lengths, 1)
        counts = counts.reshape(-1, *[1] * (values.ndim - 1))
        return (total[ends[1:]] - total[ends[:-1]]) / counts

    def keys(self) -> list[bytes]:
        """Return each row as bytes, to look it up by."""
        keys = self.rows.keys()
        if self.word_positions is None:
            return keys
        return [
            word_positions_key(k, word_positions)
            for k, word_positions in zip(keys, self.word_positions, strict=True)
        ]

    def digest(self) -> bytes:
        """Return a fingerprint of all there is to read."""
        all_rows = (self.rows, self.word_positions, self.parts)
        return b"".join(rows.digest() for rows in all_rows if rows is not None)

    def take(self, indices: "NDArray") -> "TextDataset":
        """Return the rows at these indices, in their order."""
        both = np.stack([2 * indices, 2 * indices + 1], axis=1).ravel()
        return TextDataset(
            self.rows.take(indices),
            self.targets[self.rows_of(indices)],
            self.weights[indices],
            None if self.word_positions is None else self.word_positions.take(indices),
            None if self.groups is None else self.groups[indices],
            None if self.parts is None else self.parts.take(both),
        )

    def by_length(self) -> "tuple[TextDataset, NDArray]":
        """Return the rows from short to long, and the permutation that did it."""
        order = np.argsort(self.lengths, kind="stable")
        return self.take(order), order


def word_positions_key(row: bytes, word_positions: "NDArray") -> bytes:
    """Return the key of a row of which some tokens are asked for."""
    return row + b"\x00spots" + word_positions.astype(np.int32).tobytes()


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
        if batch.rows.second_starts is not None:
            inputs["token_type_ids"] = torch.from_numpy(batch.rows.types())
        if batch.word_positions is not None:
            inputs["word_positions"] = torch.from_numpy(
                batch.word_positions.padded(-1)[0]
            )  # (B, S)
        if batch.parts is not None:
            ids, mask = batch.parts.padded(pad_id)
            shape = (len(batch), 2, -1)
            inputs["part_ids"] = torch.from_numpy(ids).view(shape)
            inputs["part_mask"] = torch.from_numpy(mask.astype(np.int64)).view(shape)
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
