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
    """Lays special tokens and the prompt around the texts of a row, as token ids.

    Without slots a pair of texts takes the tokenizer's own form of a pair. A causal
    backbone reads it as one running text, a line each; so does a tokenizer that has no
    form of its own.

    Parameters
    ----------
    backbone : Backbone
    prompt : Prompt
    method : {"prefix", "prompt"}
        Under "prompt" the prompt takes up positions of every backbone; under "prefix"
        only of causal ones (the texts of an encoder keep their own positions).
    max_length : int or None
        Longest row in tokens, with its special tokens and what the prompt lays around
        its texts, but without what stands before the first of them. None: what the
        positions allow, at most 512.
    n_texts : int
        Texts of each row.

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
        n_texts: int = 1,
    ) -> None:
        self._backbone = backbone
        self.n_texts = n_texts
        literals, self._spaces = _natural_boundaries(prompt, backbone, n_texts)
        self._going_on = backbone.is_causal
        (before,) = backbone.encode([literals[0]])
        inner = backbone.encode(literals[1:], going_on=self._going_on)
        left, right = backbone.special_tokens
        self._filler = backbone.start_id
        self._tail = literals[-1]
        self._has_types = False
        if backbone.is_causal:
            # One running text: the prompt opens it, nothing closes it.
            self.prompt_ids = left + before
            around = [[], *inner]
        else:
            self.prompt_ids = left + before + right
            around = [left, *inner[:-1], inner[-1] + right]
            pair = backbone.pair_tokens
            if n_texts == 2 and not prompt.has_slots and pair is not None:
                around = [pair.left, pair.middle, pair.right]
                self._has_types = pair.has_types
                self._n_first = pair.n_first
        self._around = [np.array(ids, np.int32) for ids in around]
        if not self.prompt_ids:
            self.prompt_ids = [self._filler_id(prompt)]
        room = backbone.room(method, len(self.prompt_ids))
        self.max_length = self._fit(max_length, room, backbone, prompt)

    @property
    def _n_around(self) -> int:
        return sum(map(len, self._around))

    def rows(self, columns: list[list[str]]) -> "Ragged":
        """Return the token ids of each row, cut to `max_length`, with one warning.

        Of several texts the longest is cut first.
        """
        encoded = [
            tokens.encode(
                (self._backbone.uid, self._going_on),
                [space + text for text in texts] if space else texts,
                partial(self._backbone.encode, going_on=self._going_on),
            )
            for space, texts in zip(self._spaces, columns, strict=True)
        ]
        lengths = np.array([[*map(len, column)] for column in encoded]).T  # (n, k)
        budget = self.max_length - self._n_around
        kept = _longest_first(lengths, budget)  # (n, k)
        self._warn_of_cuts(lengths, budget)
        rows = []
        filler = np.array([self._filler or 0], np.int32)  # an empty text, unadorned
        for texts, sizes in zip(zip(*encoded, strict=True), kept, strict=True):
            parts = [self._around[0]]
            for ids, size, behind in zip(texts, sizes, self._around[1:], strict=True):
                parts += [ids[:size], behind]
            row = np.concatenate(parts)
            rows.append(row if len(row) else filler)
        found = Ragged.of(rows)
        if self._has_types:
            found.seconds = len(self._around[0]) + kept[:, 0] + self._n_first
        return found

    def word_rows(self, texts: list[list[str]]) -> "tuple[Ragged, Ragged, NDArray]":
        """Return the token ids of texts that are split into words.

        A text that is longer than `max_length` becomes several overlapping rows. Each
        word is read off in the one where it is farthest from an end that is not the
        text's own: at its first token or, for causal backbones, which have read the
        word only then, at its last.

        Returns
        -------
        rows : Ragged
            Token ids (n_rows).
        spots : Ragged
            Where, in each row, its words are read off; over all rows every word once,
            in order.
        origins : ndarray of shape (n_rows,)
            Which text each row is of. A text without words has none.
        """
        backbone = self._backbone
        # The space belongs to the word behind it, unless a tokenizer adds one anyway.
        space = "" if backbone.puts_a_space_first else " "
        flat = tokens.encode(
            (backbone.uid, False),
            [space + word for words in texts for word in words],
            backbone.encode,
        )
        budget = self.max_length - self._n_around
        filler = np.array([backbone.unknown_id], np.int32)
        rows, spots, origins = [], [], []
        n_done = 0
        for number, words in enumerate(texts):
            encoded = flat[n_done : n_done + len(words)]
            encoded = [ids[:budget] if len(ids) else filler for ids in encoded]
            n_done += len(words)
            lengths = np.fromiter(map(len, encoded), np.int64, len(encoded))
            for first, behind, own in _windows(lengths, budget):
                window = lengths[first:behind]
                ends = len(self._around[0]) + np.cumsum(window)
                read_off = ends - 1 if backbone.is_causal else ends - window
                row = [self._around[0], *encoded[first:behind], self._around[1]]
                rows.append(np.concatenate(row))
                spots.append(read_off[own.start - first : own.stop - first])
                origins.append(number)
        return Ragged.of(rows), Ragged.of(spots), np.array(origins, np.int64)

    def _warn_of_cuts(self, lengths: "NDArray", budget: int) -> None:
        wanted = lengths.sum(axis=1)  # (n,)
        n_cut = int((wanted > budget).sum())
        if n_cut:
            warnings.warn(
                f"{n_cut} of {len(wanted)} texts are longer than max_length="
                f"{self.max_length} tokens (the longest has "
                f"{wanted.max() + self._n_around}) and were cut at the end"
                f"{', the longest of a row first' if lengths.shape[1] > 1 else ''}. "
                "Raise 'max_length' if the backbone has the positions, or silence this "
                "with warnings.simplefilter('ignore', TruncationWarning).",
                TruncationWarning,
                stacklevel=user_stacklevel(),
            )

    def continuations(self, texts: list[str]) -> list[list[int]]:
        """Return the token ids of texts that would go on where a row ends."""
        if self._tail[-1:].isspace():
            return self._backbone.encode(texts, going_on=True)
        space = "" if self._backbone.puts_a_space_first else " "
        return self._backbone.encode([space + text for text in texts])

    def _filler_id(self, prompt: "Prompt") -> int:
        if self._filler is None:
            raise ValueError(
                "The 'prompt' parameter must have text before its first slot for a "
                f"backbone without a start token. Got {prompt.before!r} there instead."
            )
        return self._filler

    def _fit(
        self, max_length: int | None, room: int, backbone: "Backbone", prompt: "Prompt"
    ) -> int:
        """Return the longest row there is room for."""
        around = self._n_around
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


def _natural_boundaries(
    prompt: "Prompt", backbone: "Backbone", n_texts: int
) -> tuple[list[str], list[str]]:
    """Return what is laid around the texts, and the space that each text starts with.

    White space belongs where tokenizers expect it: a single space goes with the word
    behind it, as in what backbones were trained on. A prompt without slots ends its
    line, and so does each text in front of another.
    """
    literals = list(prompt.literals)
    if not prompt.has_slots:
        literals += ["\n"] * (n_texts - 1) + [""]
        if backbone.is_causal and not literals[0][-1:].isspace():
            literals[0] += "\n"
            return literals, [""] * n_texts
    spaces = [""] * n_texts
    for i, literal in enumerate(literals[:-1]):
        if literal.endswith(" ") and not literal.endswith("  "):
            literals[i], spaces[i] = literal[:-1], " "
    if not backbone.is_causal:  # its text is a sequence of its own
        literals[0], spaces[0] = prompt.before.strip(), ""
    return literals, spaces


def _longest_first(lengths: "NDArray", budget: int) -> "NDArray":
    """Return how many tokens of each text (n, k) are kept within the budget of a row.

    The longest text of a row is cut first, until it is no longer than the next.
    """
    kept = lengths.copy()
    for i in np.flatnonzero(lengths.sum(axis=1) > budget):
        room = max(budget, 0)
        for n_left, place in enumerate(np.argsort(lengths[i], kind="stable")):
            share = room // (lengths.shape[1] - n_left)
            kept[i, place] = min(lengths[i, place], share)
            room -= kept[i, place]
    return kept


def _windows(lengths: "NDArray", budget: int) -> "Iterator[tuple[int, int, range]]":
    """Cut a text into windows of at most `budget` tokens that overlap by about half.

    Parameters
    ----------
    lengths : ndarray of shape (n_words,)
        Tokens of each word, at most `budget`.

    Yields
    ------
    first, behind : int
        The window's words.
    own : range
        Those that are read off in it: half of each overlap.
    """
    ends = np.cumsum(lengths)
    n_words = len(lengths)
    first = n_owned = 0
    while n_owned < n_words:
        before = ends[first - 1] if first else 0
        behind = int(np.searchsorted(ends, before + budget, side="right"))
        following = n_words
        if behind < n_words:
            half = (before + ends[behind - 1]) / 2
            following = int(np.searchsorted(ends, half, side="right"))
            following = min(max(following, first + 1), behind)
        n_read = behind if behind == n_words else (following + behind + 1) // 2
        yield first, behind, range(n_owned, n_read)
        n_owned = n_read
        first = following


class Ragged:
    """Rows of token ids of different lengths, laid end to end.

    Attributes
    ----------
    flat : ndarray of shape (n_tokens,), int32
    starts : ndarray of shape (n_rows + 1,), int64
        Where each row starts, and where the last one ends.
    seconds : ndarray of shape (n_rows,), int64, or None
        Where, within a row, tokens of the second type start, for pairs of texts.
    """

    def __init__(
        self, flat: "NDArray", lengths: "NDArray", seconds: "NDArray | None" = None
    ) -> None:
        self.flat = flat
        self.starts = np.concatenate([[0], np.cumsum(lengths)])
        self.seconds = seconds

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
        seconds = None if self.seconds is None else self.seconds[indices]
        taken = Ragged(self.flat[:0], lengths, seconds)
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
        assert self.seconds is not None
        steps = np.arange(self.lengths.max(initial=0))
        is_second = (steps >= self.seconds[:, None]) & (steps < self.lengths[:, None])
        return is_second.astype(np.int64)

    def digest(self) -> bytes:
        """Return a fingerprint of all rows."""
        found = blake2b(self.flat.tobytes())
        found.update(self.starts.tobytes())
        if self.seconds is not None:
            found.update(self.seconds.tobytes())
        return found.digest()

    def keys(self) -> list[bytes]:
        """Return each row as bytes, to look it up by."""
        if self.seconds is None:
            return [row.tobytes() for row in self]
        seconds = self.seconds.tolist()
        return [pair_key(row, i) for row, i in zip(self, seconds, strict=True)]


def pair_key(ids: "NDArray", second: int) -> bytes:
    """Return the key of a row whose tokens of the second type start somewhere."""
    return ids.tobytes() + b"\x00pair" + second.to_bytes(4, "little")


class TextDataset(Dataset):
    """Tokenised texts with their targets and weights.

    A unit is what gets a prediction: a whole row or, where there are `spots`, each of
    the row's tokens that they name.

    Parameters
    ----------
    rows : Ragged, or list of list of int
        Token ids of each text.
    targets : ndarray of shape (n_units,) or (n_units, k), or None
        Class indices (int64), indicators or standardised targets (float32).
    weights : ndarray of shape (n,) or None
        Sample weights; None counts every row once.
    spots : Ragged or None
        Positions, within each row, of the tokens that are labelled.
    groups : ndarray of shape (n,) or None
        Rows of one group are held back together.
    """

    def __init__(
        self,
        rows: "Ragged | Sequence[Any]",
        targets: "NDArray | None" = None,
        weights: "NDArray | None" = None,
        spots: Ragged | None = None,
        groups: "NDArray | None" = None,
    ) -> None:
        self.rows = rows if isinstance(rows, Ragged) else Ragged.of(rows)
        self.spots = spots
        self.groups = groups
        n = len(self.rows)
        n_units = n if spots is None else len(spots.flat)
        self.targets = np.zeros(n_units, np.int64) if targets is None else targets
        self.weights = np.ones(n, np.float32) if weights is None else weights

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: int) -> "tuple[NDArray, Any, Any]":
        return self.rows[i], self.targets[self.units(np.array([i]))], self.weights[i]

    def __getitems__(self, indices: list[int]) -> "TextDataset":
        """Return a batch, as torch's loaders ask for it."""
        return self.take(np.asarray(indices))

    @property
    def lengths(self) -> "NDArray":
        """Number of tokens of each text (n,)."""
        return self.rows.lengths

    def units(self, indices: "NDArray") -> "NDArray":
        """Return the places of these rows' units among all, in the rows' order."""
        return indices if self.spots is None else self.spots.places(indices)

    @property
    def unit_weights(self) -> "NDArray":
        """Weight of each unit: its row's (n_units,)."""
        if self.spots is None:
            return self.weights
        return np.repeat(self.weights, self.spots.lengths)

    @property
    def row_weights(self) -> "NDArray":
        """Weight of each row in a mean over all units (n,)."""
        if self.spots is None:
            return self.weights
        return self.weights * self.spots.lengths

    def row_means(self, values: "NDArray") -> "NDArray":
        """Average what belongs to units (n_units, ...) over each row (n, ...)."""
        if self.spots is None:
            return values
        ends = self.spots.starts
        total = np.concatenate([np.zeros_like(values[:1]), np.cumsum(values, axis=0)])
        counts = np.maximum(self.spots.lengths, 1)
        counts = counts.reshape(-1, *[1] * (values.ndim - 1))
        return (total[ends[1:]] - total[ends[:-1]]) / counts

    def keys(self) -> list[bytes]:
        """Return each row as bytes, to look it up by."""
        keys = self.rows.keys()
        if self.spots is None:
            return keys
        return [spots_key(k, spots) for k, spots in zip(keys, self.spots, strict=True)]

    def digest(self) -> bytes:
        """Return a fingerprint of all rows."""
        found = self.rows.digest()
        return found if self.spots is None else found + self.spots.digest()

    def take(self, indices: "NDArray") -> "TextDataset":
        """Return the rows at these indices, in their order."""
        return TextDataset(
            self.rows.take(indices),
            self.targets[self.units(indices)],
            self.weights[indices],
            None if self.spots is None else self.spots.take(indices),
            None if self.groups is None else self.groups[indices],
        )

    def by_length(self) -> "tuple[TextDataset, NDArray]":
        """Return the rows from short to long, and the permutation that did it."""
        order = np.argsort(self.lengths, kind="stable")
        return self.take(order), order


def spots_key(row: bytes, spots: "NDArray") -> bytes:
    """Return the key of a row of which some tokens are asked for."""
    return row + b"\x00spots" + spots.astype(np.int32).tobytes()


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
        if batch.rows.seconds is not None:
            inputs["token_type_ids"] = torch.from_numpy(batch.rows.types())
        if batch.spots is not None:
            inputs["spots"] = torch.from_numpy(batch.spots.padded(-1)[0])  # (B, S)
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
