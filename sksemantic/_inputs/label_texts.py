"""The parameter `label_texts`: what labels are called."""

import re
import unicodedata
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sksemantic._inputs.columns import refuse_surrogates
from sksemantic._inputs.label_values import distinct, positions
from sksemantic._inputs.targets import check_labels

if TYPE_CHECKING:
    from numpy.typing import NDArray

LABELS = "labels"  # the labels are their own texts
_EXPECTED = (
    "The 'label_texts' parameter must map every label to a text, or to a list of "
    "texts, such as {0: 'terrible', 1: 'great'}."
)
_REMEDY = (
    "Say what the labels are called instead: label_texts={label: 'its text', ...}."
)
_SHOWN_LABELS = 5
# Between the words of a label: underscores, hyphens, slashes, and dots between words
# of two characters or more, as in "rec.sport.hockey" but not in "U.S.".
_SEPARATORS = re.compile(r"[_/\s\u2010\u2011-]+|(?<=\w\w)\.(?=\w\w)")
# Between the words of "NotSpam" and of "HTTPError".
_CAPITALS = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
# They name a class by its number, as in "LABEL_0".
_EMPTY_WORDS = {"category", "class", "cluster", "group", "label", "topic"}


def check_label_texts(label_texts: dict) -> "tuple[NDArray, list[list[str]]]":
    """Return the labels, sorted, and the texts of each.

    Refuse fewer than two labels, labels of mixed kinds, one without any text, and two
    that share one.
    """
    if len(label_texts) < 2:
        raise ValueError(f"{_EXPECTED} Got {len(label_texts)} label(s) only.")
    for label in label_texts:
        if np.ndim(label) == 0 and pd.isna(label) is True:
            raise ValueError(f"{_EXPECTED} Got the label {label!r}, which marks none.")
    keys = np.empty(len(label_texts), dtype=object)
    keys[:] = [*label_texts]
    labels = check_labels(keys, len(label_texts))
    texts_of = {
        label: _check_texts_of(label, given)
        for label, given in zip(labels.tolist(), label_texts.values(), strict=True)
    }
    labels = distinct(labels)
    texts = [texts_of[label] for label in labels.tolist()]
    _refuse_shared(labels, texts)
    return labels, texts


def _check_texts_of(label: Any, given: Any) -> list[str]:
    """Return the texts of a label, without white space around them."""
    texts = [given] if isinstance(given, str) else given
    is_list = isinstance(texts, list | tuple) and len(texts) > 0
    if not is_list or not all(isinstance(t, str) and t.strip() for t in texts):
        raise ValueError(f"{_EXPECTED} Got {given!r} for the label {label!r}.")
    for text in texts:
        refuse_surrogates(text, f"the 'label_texts' parameter, label {label!r}")
    return [text.strip() for text in texts]


def _refuse_shared(labels: "NDArray", texts: list[list[str]]) -> None:
    """Refuse a text that two labels have: it does not tell them apart."""
    owners: dict[str, Any] = {}
    for label, own in zip(labels.tolist(), texts, strict=True):
        for text in own:
            owner = owners.setdefault(text.casefold(), label)
            if owner != label:
                raise ValueError(
                    "The 'label_texts' parameter must give every label texts of its "
                    f"own. Got {text!r} for the labels {owner!r} and {label!r}."
                )


def texts_of_labels(labels: "NDArray") -> list[list[str]]:
    """Return the labels (K,) as texts, one for each: "not_spam" is "not spam".

    Refuse labels that are no words, and two of the same words.
    """
    values = labels.tolist()
    bad = [label for label in values if not isinstance(label, str)]
    bad = bad or [label for label in values if not _has_word(_as_words(label))]
    if bad:
        more = ", ..." if len(bad) > _SHOWN_LABELS else ""
        shown = ", ".join(map(repr, bad[:_SHOWN_LABELS])) + more
        raise ValueError(
            "The 'label_texts' parameter must be a dictionary unless every label of y "
            f"has a word in it, without digits. Got {shown}, no words, with "
            f"label_texts='labels'. {_REMEDY}"
        )
    for label in values:
        refuse_surrogates(label, f"y, in the label {label!r}")
    texts = [[_as_words(label)] for label in values]
    _refuse_shared(labels, texts)
    return texts


def refuse_no_label(labelled: "NDArray") -> None:
    """Refuse that no text has a label, by the indices of those that have one."""
    if not len(labelled):
        raise ValueError(
            "The 'label_texts' parameter must be a dictionary if no text has a label: "
            f"y says nothing of them. Got 'labels' instead. {_REMEDY}"
        )


def _as_words(label: str) -> str:
    """Return a label as one writes words: "not_spam" and "NotSpam" as two."""
    if not re.search(r"\s", label.strip()):  # in a phrase "YouTube" is one word
        label = _CAPITALS.sub(" ", label)
    return " ".join(_SEPARATORS.sub(" ", label).split())


def _has_word(text: str) -> bool:
    """Whether there is a word that says more than that it stands for a class."""
    return any(
        _is_word(part) and part.casefold() not in _EMPTY_WORDS for part in text.split()
    )


def _is_word(text: str) -> bool:
    """Whether it has no digit, and two letters, or one of a script without case."""
    if any(map(str.isdigit, text)):
        return False
    letters = [character for character in text if character.isalpha()]
    return len(letters) > 1 or any(unicodedata.category(x) == "Lo" for x in letters)


def refuse_unnamed(labels: "NDArray", named: "NDArray") -> None:
    """Refuse labels (n,) that are not among the `named` ones (K,)."""
    is_named = positions(labels, named) >= 0
    if len(labels) and (labels.dtype.kind in "US") != (named.dtype.kind in "US"):
        raise ValueError(
            "The 'label_texts' parameter must have the labels of y as keys, of the "
            f"same kind. Got {named.tolist()} for the labels "
            f"{distinct(labels).tolist()[:5]}, which never occur in it. Where "
            "scikit-learn replaces labels by their numbers (in VotingClassifier, or "
            "cross_val_predict of probabilities) these are the keys."
        )
    if not is_named.all():
        unnamed = distinct(labels[~is_named])
        raise ValueError(
            "The 'label_texts' parameter must name every label of y. Got "
            f"{named.tolist()}, without {unnamed.tolist()[:5]}. Unlabelled texts "
            "have the label -1."
        )
