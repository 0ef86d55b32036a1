"""What a command says where it cannot go on, and with which exit code."""

import difflib
from collections.abc import Iterable

FAILED, WRONG_USAGE = 1, 2
INTERRUPTED, READER_GONE = 130, 141  # 128 and the number of the signal


class UsageError(Exception):
    """The command line is wrong, or does not fit the files; nothing was done."""


class WorkError(Exception):
    """The work could not be done, for what is in a file or on the machine."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a sentence with the names that are most like a name, or nothing."""
    by_word: dict[str, list[str]] = {}
    for each in known:
        for word in {each.lower(), each.rpartition("__")[2].lower()}:
            by_word.setdefault(word, []).append(each)
    start = name.lower()
    longer = [word for word in by_word if len(start) > 2 and word.startswith(start)]
    close = sorted(longer, key=len)[:3]
    close = close or difflib.get_close_matches(start, by_word, n=3, cutoff=0.6)
    found = dict.fromkeys(each for word in close for each in by_word[word])
    return f" Did you mean {' or '.join(map(repr, found))}?" if found else ""


def count(n: int, noun: str, verbs: str = "") -> str:
    """Return a number and a noun, and the verb that goes with them: "is are"."""
    one, _, several = verbs.partition(" ")
    verb = one if n == 1 else several
    return f"{n:,} {noun}{'' if n == 1 else 's'}{' ' * bool(verb)}{verb}"
