"""Words of plain texts, and which token belongs to which of them."""

import re
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING
from unicodedata import category

import numpy as np

from sksemantic._inputs.dataset import Ragged

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sksemantic._inputs.template import Template

_MARK = 2**30  # above every token id

_LAST_WITH_MARKS = 0x1F000  # what comes later are signs, and letters without marks
_JOINERS = "\u200c\u200d"  # inside words of some scripts, and inside emoji


@cache
def _word() -> re.Pattern[str]:
    """Return the pattern of a word.

    Letters and digits with what joins them ("don't", "3.5", "well-known"), or one sign.
    Marks belong to the letter or sign before them: vowels of many scripts, accents.
    """
    codes = map(chr, range(0x300, _LAST_WITH_MARKS))
    marks = "".join(each for each in codes if category(each).startswith("M"))
    letters = f"\\w[\\w{marks}{_JOINERS}]*"
    sign = f"[^\\w\\s][{marks}]*"
    return re.compile(f"{letters}(?:['’.,-]{letters})*|{sign}(?:\u200d{sign})*")


def split_words(text: str) -> list[re.Match[str]]:
    """Return the words of a text, in order, with their places."""
    return list(_word().finditer(text))


def words_of_tokens(
    texts: Sequence[str], count: "Callable[[list[str]], list[int]]"
) -> list["NDArray"]:
    """Return for each token of each text the index of its word (n_tokens,).

    A token belongs to the word in which it ends; what follows the last word belongs to
    that. A text without words has tokens of the word -1. `count` says how many tokens
    each of some texts has: any tokenizer can, with offsets or without.
    """
    words = [split_words(text) for text in texts]
    starts = [
        text[: word.end()]
        for text, own in zip(texts, words, strict=True)
        for word in own
    ]
    counts = iter(count([*starts, *texts]))
    ends = [np.fromiter((next(counts) for _ in own), np.int64) for own in words]
    found = []
    for own, n_tokens in zip(ends, counts, strict=True):
        own = np.maximum.accumulate(own) if len(own) else own
        places = np.searchsorted(own, np.arange(n_tokens), side="right")
        found.append(np.minimum(places, len(own) - 1))
    return found


def mark_words(template: "Template", columns: Sequence[Sequence[str]]) -> Ragged:
    """Return for each token of `template`'s rows, or windows, which word it is of.

    Words of several texts of a row are counted on; -1 is for what stands around the
    texts.
    """
    n_before = np.zeros(len(columns[0]), np.int64)
    encoded = []
    for i, texts in enumerate(columns):
        words = words_of_tokens(texts, partial(template.count_tokens, i))
        marks = [
            np.where(own < 0, 0, _MARK + own + n).astype(np.int32)
            for own, n in zip(words, n_before, strict=True)
        ]
        encoded.append(marks)
        n_before += [len(split_words(text)) for text in texts]
    if template.has_windows:
        marked = template.cut_into_windows(encoded[0])[0]
    else:
        marked = template.join(encoded, warns=False)
    is_word = marked.flat >= _MARK
    flat = np.where(is_word, marked.flat - _MARK, -1)
    return Ragged(flat, marked.lengths)
