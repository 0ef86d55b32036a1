"""From prompt and texts to rows of token ids."""

import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from sksemantic._inputs.dataset import Ragged, user_stacklevel
from sksemantic.exceptions import TruncationWarning

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sksemantic._backbone.backbone import Backbone
    from sksemantic._inputs.prompt import Prompt

DEFAULT_MAX_LENGTH = 512
_FEWEST_TEXT_TOKENS = 8  # room that any prompt has to leave for the texts


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
        self._is_continuation = backbone.is_causal
        (before,) = backbone.encode([literals[0]])
        inner = backbone.encode(literals[1:], is_continuation=self._is_continuation)
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
        room = backbone.max_text_length(method, len(self.prompt_ids))
        self.max_length = self._fit(max_length, room, backbone, prompt)

    @property
    def _n_around(self) -> int:
        return sum(map(len, self._around))

    def rows(self, columns: list[list[str]]) -> Ragged:
        """Return the token ids of each row, cut to `max_length`, with one warning.

        Of several texts the longest is cut first.
        """
        return self._lay_out(self._encoded(columns))

    def rows_and_parts(self, columns: list[list[str]]) -> tuple[Ragged, Ragged]:
        """Return the rows of `rows`, and each text on its own, those of a pair in turn.

        The latter are cut to `max_length` as well; what is too long alone was too long
        together, and told of.
        """
        encoded = self._encoded(columns)
        return self._lay_out(encoded), self._apart(encoded)

    def _lay_out(self, encoded: list[list["NDArray"]]) -> Ragged:
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
            found.second_starts = len(self._around[0]) + kept[:, 0] + self._n_first
        return found

    def _encoded(self, columns: list[list[str]]) -> list[list["NDArray"]]:
        """Return the token ids of each column's texts, nothing around them."""
        return [
            _encode(
                self._backbone,
                [space + text for text in texts] if space else texts,
                is_continuation=self._is_continuation,
            )
            for space, texts in zip(self._spaces, columns, strict=True)
        ]

    def _apart(self, encoded: list[list["NDArray"]]) -> Ragged:
        left, right = (np.array(ids, np.int32) for ids in self._backbone.special_tokens)
        budget = self.max_length - len(left) - len(right)
        filler = np.array([self._filler or 0], np.int32)
        rows = []
        for texts in zip(*encoded, strict=True):
            for ids in texts:
                row = np.concatenate([left, ids[:budget], right])
                rows.append(row if len(row) else filler)
        return Ragged.of(rows)

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
        word_positions : Ragged
            Where, in each row, its words are read off; over all rows every word once,
            in order.
        origins : ndarray of shape (n_rows,)
            Which text each row is of. A text without words has none.
        """
        backbone = self._backbone
        # The space belongs to the word behind it, unless a tokenizer adds one anyway.
        space = "" if backbone.adds_leading_space else " "
        flat = _encode(backbone, [space + word for words in texts for word in words])
        budget = self.max_length - self._n_around
        filler = np.array([backbone.unknown_id], np.int32)
        rows, word_positions, origins = [], [], []
        n_done = 0
        for number, words in enumerate(texts):
            encoded = flat[n_done : n_done + len(words)]
            encoded = [ids[:budget] if len(ids) else filler for ids in encoded]
            n_done += len(words)
            lengths = np.fromiter(map(len, encoded), np.int64, len(encoded))
            for first, behind, own in _windows(lengths, budget):
                window = lengths[first:behind]
                ends = len(self._around[0]) + np.cumsum(window)
                positions = ends - 1 if backbone.is_causal else ends - window
                row = [self._around[0], *encoded[first:behind], self._around[1]]
                rows.append(np.concatenate(row))
                word_positions.append(positions[own.start - first : own.stop - first])
                origins.append(number)
        return Ragged.of(rows), Ragged.of(word_positions), np.array(origins, np.int64)

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
            return self._backbone.encode(texts, is_continuation=True)
        space = "" if self._backbone.adds_leading_space else " "
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


def _encode(
    backbone: "Backbone", texts: list[str], *, is_continuation: bool = False
) -> list["NDArray"]:
    """Return the token ids (T_i,), int32, of each text."""
    encoded = backbone.encode(texts, is_continuation=is_continuation)
    return [np.array(ids, np.int32) for ids in encoded]


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
