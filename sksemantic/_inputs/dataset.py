"""Tokenised texts with their targets and weights."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch.utils.data import Dataset

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Ragged:
    """Integer sequences of different lengths, stored end to end in int32."""

    def __init__(
        self,
        flat: "NDArray",
        lengths: "NDArray",
        second_starts: "NDArray | None" = None,
    ) -> None:
        self.flat = flat  # (n_values,)
        # Where each sequence starts, and where the last one ends.
        self.starts = np.concatenate([[0], np.cumsum(lengths)])  # (n + 1,)
        # Of pairs of texts: where, within a sequence, token type 1 starts.
        self.second_starts = second_starts  # (n,)

    @classmethod
    def of(cls, sequences: "Sequence[Any]") -> "Ragged":
        """Store sequences end to end."""
        lengths = np.fromiter(map(len, sequences), np.int64, len(sequences))
        flat = np.concatenate([np.zeros(0, np.int32), *sequences]).astype(np.int32)
        return cls(flat, lengths)

    @classmethod
    def joined(cls, parts: "Sequence[Ragged]") -> "Ragged":
        """Return the sequences of all parts; if one has pairs, all have."""
        seconds = [
            part.second_starts for part in parts if part.second_starts is not None
        ]
        return cls(
            np.concatenate([part.flat for part in parts]),
            np.concatenate([part.lengths for part in parts]),
            np.concatenate(seconds) if seconds else None,
        )

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __iter__(self) -> "Iterator[NDArray]":
        return (self[i] for i in range(len(self)))

    def __getitem__(self, i: int) -> "NDArray":
        return self.flat[self.starts[i] : self.starts[i + 1]]

    @property
    def lengths(self) -> "NDArray":
        """Length of each sequence (n,)."""
        return np.diff(self.starts)

    def take(self, indices: "NDArray") -> "Ragged":
        """Return the sequences at these indices, in this order."""
        seconds = self.second_starts
        return Ragged(
            self.flat[self.positions(indices)],
            self.lengths[indices],
            None if seconds is None else seconds[indices],
        )

    def keep(self, is_kept: "NDArray") -> "Ragged":
        """Return the sequences with some of their values, by a mask of all (m,)."""
        n_kept = np.concatenate([[0], np.cumsum(is_kept)])[self.starts]
        return Ragged(self.flat[is_kept], np.diff(n_kept))

    def positions(self, indices: "NDArray") -> "NDArray":
        """Return where in `flat` the values of these sequences are, in this order."""
        lengths = self.lengths[indices]
        ends = np.cumsum(lengths)
        shifts = np.repeat(self.starts[:-1][indices] - (ends - lengths), lengths)
        return np.arange(lengths.sum()) + shifts

    def padded(self, fill: int) -> "tuple[NDArray, NDArray]":
        """Return the values (n, T), padded on the right, and which are real (n, T)."""
        lengths = self.lengths
        mask = np.arange(lengths.max(initial=0)) < lengths[:, None]
        values = np.full(mask.shape, fill, np.int64)
        values[mask] = self.flat
        return values, mask

    def padded_types(self) -> "NDArray":
        """Return the padded token types (n, T) of pairs."""
        assert self.second_starts is not None
        steps = np.arange(self.lengths.max(initial=0))
        is_second = steps >= self.second_starts[:, None]
        return (is_second & (steps < self.lengths[:, None])).astype(np.int64)


class TextDataset(Dataset):
    """Tokenised texts with their targets and weights.

    A text is one entry of X, or one window of a text that is too long. A row is one
    prediction: of a whole text or, with `word_positions`, of one labelled word. Here n
    is the number of texts. Weights are ones by default.

    With `n_windows` (n,) a text has one row, and `token_ids` are those of its windows,
    one after the other: the row's features are the mean of those of its windows.
    """

    def __init__(
        self,
        token_ids: "Ragged | Sequence[Any]",
        targets: "NDArray | None" = None,
        weights: "NDArray | None" = None,
        word_positions: Ragged | None = None,
        groups: "NDArray | None" = None,
        pair_texts: Ragged | None = None,
        n_windows: "NDArray | None" = None,
    ) -> None:
        if not isinstance(token_ids, Ragged):
            token_ids = Ragged.of(token_ids)
        self.token_ids = token_ids  # of n texts, or of all windows
        self.n_windows = n_windows
        self.word_positions = word_positions  # of the tokens at which words are read
        self.groups = groups  # (n,); texts of one group are held out together
        self.pair_texts = pair_texts  # token ids of each pair's texts alone, in turn
        n = len(self.token_ids) if n_windows is None else len(n_windows)
        n_rows = n if word_positions is None else len(word_positions.flat)
        # Class indices (int64), indicators or standardised targets (float32):
        # (n_rows,) or (n_rows, k).
        self.targets = np.zeros(n_rows, np.int64) if targets is None else targets
        self.weights = np.ones(n, np.float32) if weights is None else weights  # (n,)

    def __len__(self) -> int:
        return len(self.weights)

    def __getitem__(self, i: int) -> "TextDataset":
        return self.take(np.array([i]))

    @property
    def lengths(self) -> "NDArray":
        """Number of tokens of each text, or of one of its windows (n,)."""
        if self.n_windows is None:
            return self.token_ids.lengths
        n_tokens = np.add.reduceat(self.token_ids.lengths, self._window_starts)
        return -(-n_tokens // self.n_windows)

    def rows_of(self, indices: "NDArray") -> "NDArray":
        """Return the indices of the rows of these texts, in this order."""
        words = self.word_positions
        return indices if words is None else words.positions(indices)

    @property
    def row_weights(self) -> "NDArray":
        """Weight of each row (n_rows,): its text's weight."""
        words = self.word_positions
        return self.weights if words is None else np.repeat(self.weights, words.lengths)

    @property
    def text_weights(self) -> "NDArray":
        """Weight of each text in a mean over all rows (n,)."""
        words = self.word_positions
        return self.weights if words is None else self.weights * words.lengths

    def text_means(self, values: "NDArray") -> "NDArray":
        """Return the mean over each text (n, ...) of values of rows (n_rows, ...)."""
        if self.word_positions is None:
            return values
        starts = self.word_positions.starts
        total = np.concatenate([np.zeros_like(values[:1]), np.cumsum(values, axis=0)])
        counts = np.maximum(self.word_positions.lengths, 1)
        counts = counts.reshape(-1, *[1] * (values.ndim - 1))
        return (total[starts[1:]] - total[starts[:-1]]) / counts

    def windows(self) -> "TextDataset":
        """Return the windows as texts of their own, with the targets of their texts."""
        if self.n_windows is None:
            return self
        texts = np.repeat(np.arange(len(self)), self.n_windows)
        return TextDataset(self.token_ids, self.targets[texts], self.weights[texts])

    def one_window_each(self, generator: np.random.RandomState) -> "TextDataset":
        """Return the texts with one of their windows each, drawn at random."""
        if self.n_windows is None:
            return self
        drawn = (generator.random_sample(len(self)) * self.n_windows).astype(int)
        token_ids = self.token_ids.take(self._window_starts + drawn)
        return TextDataset(token_ids, self.targets, self.weights)

    def mean_over_windows(self, values: "NDArray") -> "NDArray":
        """Return the mean of each text's windows (n, C) of values (n_windows, C).

        A window counts by its tokens.
        """
        if self.n_windows is None:
            return values
        weights = self.token_ids.lengths[:, None].astype(values.dtype)
        totals = np.add.reduceat(weights * values, self._window_starts)
        return totals / np.add.reduceat(weights, self._window_starts)

    def keys(self) -> list[bytes]:
        """Return each text's cache key: all that decides its states and features.

        Windows have keys of their own; texts of several windows have none.
        """
        n = len(self)
        seconds = self.token_ids.second_starts
        seconds = np.full(n, -1) if seconds is None else seconds
        heads = np.stack([self.lengths, seconds], axis=1).astype(np.int32)
        words = self.word_positions
        words = Ragged.of([[]] * n) if words is None else words
        return [
            head.tobytes() + ids.tobytes() + positions.astype(np.int32).tobytes()
            for head, ids, positions in zip(heads, self.token_ids, words, strict=True)
        ]

    def different(self) -> "tuple[TextDataset, NDArray]":
        """Return one of each kind of equal texts, and for each text which one it is."""
        n = len(self)
        if n < 2:
            return self, np.arange(n)
        keys = self.keys()
        if self.pair_texts is not None:
            alone = TextDataset(self.pair_texts).keys()
            keys = [
                b"".join(x) for x in zip(keys, alone[::2], alone[1::2], strict=True)
            ]
        first: dict[bytes, int] = {}
        places = np.array([first.setdefault(key, len(first)) for key in keys])
        if len(first) == n:
            return self, places
        return self.take(np.unique(places, return_index=True)[1]), places

    def take(self, indices: "NDArray") -> "TextDataset":
        """Return the texts at these indices, in this order."""
        if len(self) == len(indices) == 1:  # a prediction of one text is to be fast
            return self
        words, pairs, groups = self.word_positions, self.pair_texts, self.groups
        both = np.stack([2 * indices, 2 * indices + 1], axis=1).ravel()
        n_windows, parts = self.n_windows, indices
        if n_windows is not None:
            parts = Ragged(self.token_ids.flat, n_windows).positions(indices)
            n_windows = n_windows[indices]
        return TextDataset(
            self.token_ids.take(parts),
            self.targets[self.rows_of(indices)],
            self.weights[indices],
            None if words is None else words.take(indices),
            None if groups is None else groups[indices],
            None if pairs is None else pairs.take(both),
            n_windows,
        )

    def with_labelled_words(self, targets: "NDArray") -> "TextDataset":
        """Return the texts with targets of their words (n_rows,).

        Words of a negative target have no label: they are not read, and texts that have
        no others are left out.
        """
        words = self.word_positions
        assert words is not None
        is_labelled = targets >= 0
        words = words.keep(is_labelled)
        data = TextDataset(
            self.token_ids, targets[is_labelled], self.weights, words, self.groups
        )
        chosen = np.flatnonzero(words.lengths)
        return data if len(chosen) == len(data) else data.take(chosen)

    def by_length(self) -> "tuple[TextDataset, NDArray]":
        """Return the texts from short to long, and their former indices (n,).

        Those of one length are sorted by their tokens: batches, and with them the
        rounding, do not depend on the order of the texts.
        """
        lengths = self.lengths
        if len(self) == 1:
            return self, np.zeros(1, np.int64)
        keys = self.keys() if self.n_windows is None else [b""] * len(self)
        order = sorted(range(len(self)), key=lambda i: (lengths[i], keys[i]))
        return self.take(np.array(order, np.int64)), np.array(order, np.int64)

    @property
    def _window_starts(self) -> "NDArray":
        """Return which window is the first of each text (n,)."""
        assert self.n_windows is not None
        return np.cumsum(self.n_windows) - self.n_windows
