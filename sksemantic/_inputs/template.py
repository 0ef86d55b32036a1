"""From prompt and texts to token ids."""

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from sksemantic._inputs.dataset import Ragged
from sksemantic._inputs.disk_column import parts_of
from sksemantic._inputs.prompt import split_spaces
from sksemantic._inputs.unreadable import warn_of_unreadable
from sksemantic._inputs.windows import (
    cut_longest_first,
    equal_windows,
    overlapping_windows,
)
from sksemantic._warnings import user_stacklevel
from sksemantic.exceptions import TruncationWarning

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sksemantic._backbone.backbone import Backbone
    from sksemantic._inputs.prompt import Prompt

DEFAULT_MAX_LENGTH = 512
WINDOW_LENGTH = 128  # of a window, by default; see benchmarks/long_texts.py
_MIN_TEXT_TOKENS = 8  # every prompt has to leave so many for the texts


class Template:
    """Puts special tokens and the prompt around texts, as token ids.

    An entry of X has `n_texts` texts. A pair without slots takes the tokenizer's own
    form for pairs. For a causal model, or a tokenizer without such a form, the two
    texts follow each other on a line each.

    `max_length` is the most tokens of an entry. Special tokens and what the prompt has
    after its first slot count; what it has before that does not. None: as many as there
    are positions for, at most 512, of a window at most 128. With method="prompt" the
    prompt takes positions of every backbone, with "prefix" of causal ones only: the
    texts of an encoder keep their own. A prompt that leaves no room for texts is
    refused.

    `long_texts` says what becomes of a text above `max_length`: "truncate" or, of
    single texts, "windows".
    """

    def __init__(
        self,
        backbone: "Backbone",
        prompt: "Prompt",
        method: str,
        max_length: int | None,
        n_texts: int = 1,
        long_texts: str = "truncate",
    ) -> None:
        self._backbone = backbone
        self.has_windows = long_texts == "windows"
        self.n_texts = n_texts
        literals, self._spaces = split_spaces(prompt, backbone, n_texts)
        self._tail = literals[-1]
        (before,) = backbone.encode([literals[0]])
        inner = backbone.encode(literals[1:], is_continuation=backbone.is_causal)
        left, right = backbone.special_tokens
        self._second_start: int | None = None  # of token type 1, without the first text
        if backbone.is_causal:
            # The prompt opens one running text, which nothing closes.
            self.prompt_ids = left + before
            around = [[], *inner]
        else:
            self.prompt_ids = left + before + right
            around = [left, *inner[:-1], inner[-1] + right]
            pair = backbone.pair_tokens
            if n_texts == 2 and not prompt.has_slots and pair is not None:
                around = [pair.left, pair.middle, pair.right]
                if pair.has_types:
                    self._second_start = len(pair.left) + pair.n_first
        # What comes before, between and after the texts.
        self._around = [np.array(ids, np.int32) for ids in around]
        self._n_around = sum(map(len, self._around))
        if not self.prompt_ids:
            self.prompt_ids = [self._start_id(prompt.literals[0])]
        self.max_length = self._check_length(max_length, method)

    def rows(
        self, columns: Sequence[Sequence[str]], *, is_users: bool = True
    ) -> Ragged:
        """Return the token ids of each entry, cut to `max_length`, with one warning.

        Of several texts of an entry the longest is cut first. Texts that are not the
        user's may be unreadable without a warning.
        """
        return self.join(self._encode_columns(columns, is_users=is_users))

    def rows_and_pair_texts(
        self, columns: Sequence[Sequence[str]]
    ) -> tuple[Ragged, Ragged]:
        """Return what `rows` does, and the texts of each pair on their own, in turn.

        The latter are cut to `max_length` as well, without another warning.
        """
        encoded = self._encode_columns(columns)
        left, right = (np.array(ids, np.int32) for ids in self._backbone.special_tokens)
        budget = self.max_length - len(left) - len(right)
        single = [
            self._not_empty(np.concatenate([left, ids[:budget], right]))
            for texts in zip(*encoded, strict=True)
            for ids in texts
        ]
        return self.join(encoded), Ragged.of(single)

    def windows(self, texts: Sequence[str]) -> "tuple[Ragged, NDArray | None]":
        """Return the token ids of all windows, and how many each text has (n,).

        A text that is longer than `max_length` is cut into as few windows as possible,
        all of them of the same length, with special tokens and prompt around each. None
        if no text is.
        """
        (encoded,) = self._encode_columns([texts])
        return self.cut_into_windows(encoded)

    def cut_into_windows(
        self, encoded: list["NDArray"]
    ) -> "tuple[Ragged, NDArray | None]":
        """Return what `windows` does, of a number for each token of each text."""
        left, right = self._around
        parts = [
            equal_windows(ids, self.max_length - self._n_around) for ids in encoded
        ]
        windows = [
            self._not_empty(np.concatenate([left, part, right]))
            for text in parts
            for part in text
        ]
        n_windows = np.fromiter(map(len, parts), np.int64, len(parts))
        is_plain = len(windows) == len(encoded)
        return Ragged.of(windows), None if is_plain else n_windows

    def word_rows(self, texts: list[list[str]]) -> "tuple[Ragged, Ragged, NDArray]":
        """Return the token ids of texts that are split into words.

        A text that is longer than `max_length` becomes several overlapping windows.
        Each word belongs to the window where it is farthest from a cut. It is read at
        its first token or, with a causal model, at its last one.

        Return the windows, where in each of them its words are read (every word once,
        in order), and which text each window is of (n_windows,). A text without words
        has no window.
        """
        budget = self.max_length - self._n_around
        left, right = self._around
        windows, word_positions, origins = [], [], []
        for origin, words in enumerate(self._encode_words(texts, budget)):
            lengths = np.fromiter(map(len, words), np.int64, len(words))
            ends = np.cumsum(lengths)
            starts = ends - lengths
            read = ends - 1 if self._backbone.is_causal else starts
            for window, own in overlapping_windows(lengths, budget):
                ids = [left, *words[window.start : window.stop], right]
                windows.append(np.concatenate(ids))
                shift = len(left) - starts[window.start]
                word_positions.append(read[own.start : own.stop] + shift)
                origins.append(origin)
        rows, positions = Ragged.of(windows), Ragged.of(word_positions)
        return rows, positions, np.array(origins, np.int64)

    def continuations(self, texts: list[str]) -> list[list[int]]:
        """Return the token ids of texts that would continue an entry at its end."""
        if self._tail[-1:].isspace():
            return self._backbone.encode(texts, is_continuation=True)
        return self._backbone.encode([self._word_space + text for text in texts])

    @property
    def _word_space(self) -> str:
        """What separates a word from those before: "" if the tokenizer adds a space."""
        return "" if self._backbone.adds_leading_space else " "

    def _encode(
        self, space: str, texts: Sequence[str], *, is_continuation: bool = False
    ) -> list["NDArray"]:
        """Return the token ids (T_i,), int32, of each text after its space."""
        encoded: list[NDArray] = []
        for part in parts_of(texts):
            spaced = [space + text for text in part]
            ids = self._backbone.encode(spaced, is_continuation=is_continuation)
            encoded += [np.array(each, np.int32) for each in ids]
        return encoded

    def count_tokens(self, column: int, texts: list[str]) -> list[int]:
        """Return how many tokens each of some texts has that stand in a column."""
        is_causal = self._backbone.is_causal
        space = self._spaces[column]
        return [*map(len, self._encode(space, texts, is_continuation=is_causal))]

    def _encode_columns(
        self, columns: Sequence[Sequence[str]], *, is_users: bool = True
    ) -> list[list["NDArray"]]:
        pairs = zip(self._spaces, columns, strict=True)
        is_causal = self._backbone.is_causal
        encoded = [self._encode(*pair, is_continuation=is_causal) for pair in pairs]
        if is_users and self._backbone.tokenizer.unk_token_id is not None:
            for texts in encoded:
                warn_of_unreadable(texts, self._backbone.unknown_id)
        return encoded

    def _encode_words(
        self, texts: list[list[str]], budget: int
    ) -> list[list["NDArray"]]:
        """Return the token ids of each text's words, none empty or above the budget."""
        encoded = self._encode(self._word_space, [w for words in texts for w in words])
        unknown = np.array([self._backbone.unknown_id], np.int32)
        words = (ids[:budget] if len(ids) else unknown for ids in encoded)
        return [[next(words) for _ in text] for text in texts]

    def join(self, encoded: list[list["NDArray"]], *, warns: bool = True) -> Ragged:
        """Put special tokens and prompt around the texts of each entry.

        `encoded` has a number for each token of each text, of each column.
        """
        lengths = np.array([[*map(len, column)] for column in encoded]).T  # (n, k)
        budget = self.max_length - self._n_around
        kept = cut_longest_first(lengths, budget)  # (n, k)
        if warns:
            self._warn_if_cut(lengths.sum(axis=1), kept.sum(axis=1))
        entries = []
        for texts, sizes in zip(zip(*encoded, strict=True), kept, strict=True):
            ids = [self._around[0]]
            for text, size, after in zip(texts, sizes, self._around[1:], strict=True):
                ids += [text[:size], after]
            entries.append(self._not_empty(np.concatenate(ids)))
        joined = Ragged.of(entries)
        if self._second_start is not None:
            joined.second_starts = self._second_start + kept[:, 0]
        return joined

    def _not_empty(self, ids: "NDArray") -> "NDArray":
        """Return the ids, or one token that stands for an empty text."""
        return ids if len(ids) else np.array([self._backbone.start_id or 0], np.int32)

    def _warn_if_cut(self, lengths: "NDArray", kept: "NDArray") -> None:
        """Say how much of the texts, of so many tokens (n,), is not read."""
        n_cut = int((lengths > kept).sum())
        if n_cut:
            is_row = self.n_texts > 1
            remedy = "" if is_row else "set long_texts='windows' to read them whole, "
            warnings.warn(
                f"{n_cut} of {len(lengths)} texts are longer than max_length="
                f"{self.max_length} tokens (the longest has "
                f"{lengths.max() + self._n_around}) and were cut at the end"
                f"{', the longest of a row first' if is_row else ''}: "
                f"{1 - kept.sum() / lengths.sum():.1%} of all tokens are not read. "
                f"Raise 'max_length' if the backbone has the positions, {remedy}or "
                "silence this with warnings.simplefilter('ignore', TruncationWarning).",
                TruncationWarning,
                stacklevel=user_stacklevel(),
            )

    def _start_id(self, before: str) -> int:
        """Return the token that stands for an empty prompt."""
        if self._backbone.start_id is None:
            raise ValueError(
                "The 'prompt' parameter must have text before its first slot for a "
                f"backbone without a start token. Got {before!r} there instead."
            )
        return self._backbone.start_id

    def _check_length(self, max_length: int | None, method: str) -> int:
        """Return `max_length`, or the largest possible one up to the default."""
        n_positions = self._backbone.max_positions
        n_prompt, n_around = len(self.prompt_ids), self._n_around
        room = self._backbone.max_text_length(method, n_prompt)
        needed = n_around + _MIN_TEXT_TOKENS
        if n_prompt > n_positions or min(room, n_positions) < needed:
            raise ValueError(
                f"The 'prompt' parameter is too long: {n_prompt} tokens before and "
                f"{n_around} around the text leave fewer than {_MIN_TEXT_TOKENS} "
                f"tokens for the texts, of the backbone's {n_positions} positions or "
                "of its sliding window. Shorten the prompt."
            )
        if max_length is None:
            default = WINDOW_LENGTH if self.has_windows else DEFAULT_MAX_LENGTH
            return min(room, max(default, needed))
        if not n_around < max_length <= room:
            raise ValueError(
                f"The 'max_length' parameter must be between {n_around + 1} and {room} "
                f"tokens for this backbone and prompt ({n_positions} positions, "
                f"{n_prompt} for the prompt, {n_around} around each text). "
                f"Got {max_length} instead."
            )
        return max_length
