"""Texts of which a tokenizer knows nothing."""

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from sksemantic._inputs.columns import name_rows
from sksemantic._warnings import user_stacklevel
from sksemantic.exceptions import UnreadableTextWarning

if TYPE_CHECKING:
    from numpy.typing import NDArray


def warn_of_unreadable(texts: "Sequence[NDArray]", unknown: int) -> None:
    """Warn of texts, as token ids, that have no other token than the unknown one."""
    rows = [i for i, ids in enumerate(texts) if len(ids) and np.all(ids == unknown)]
    if rows:
        warnings.warn(
            f"{len(rows)} of {len(texts)} texts hold nothing that the tokenizer of the "
            f"backbone knows, the first in row(s) {name_rows(rows)}: each of their "
            "tokens is the one for unknown words, so that they all look alike. Replace "
            "what cannot be read (emoji by their names, for example), or take a "
            "backbone that reads any character, such as model='roberta-base'.",
            UnreadableTextWarning,
            stacklevel=user_stacklevel(),
        )
