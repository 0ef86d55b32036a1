"""What things are, by their definitions: 1,050 short texts of seven kinds."""

import csv
from importlib import resources
from typing import Any, Literal

import numpy as np
from sklearn.utils import Bunch

SUBSETS = ("train", "test", "all")
COLUMNS = ("word", "definition", "kind")
DESCRIPTION = """\
Definitions of things, and what kind of thing each one is.

1,050 definitions of nouns, each with one of seven kinds: animal, artifact (what
people make), body (its parts), feeling, food, person, place. There are 100
definitions of each kind to train on and 50 to test on. They are drawn at random
from the nouns of WordNet 3.0 that occur in its counted texts, with 4 to 25 words
each and without the examples that follow them there. The kinds are those of
WordNet's lexicographer files; "place" is its "location".

Source: C. Fellbaum (ed.), "WordNet: An Electronic Lexical Database", MIT Press,
1998. WordNet 3.0 Copyright 2006 by Princeton University. All rights reserved. The
licence, which allows to use, copy, modify and distribute, lies beside the data.
"""


def load_definitions(
    *,
    subset: Literal["train", "test", "all"] = "train",
    return_X_y: bool = False,
    as_frame: bool = False,
) -> Any:
    """Load definitions of things, labelled with what kind of thing each one is.

    A small set for a first try: the words of the definitions differ, their meaning
    tells the kind. It is a part of the package and needs no network.

    =================   ================================================
    Classes             7: animal, artifact, body, feeling, food, person,
                        place
    Texts of a class    100 to train on, 50 to test on
    Words of a text     4 to 25
    Language            English
    =================   ================================================

    Parameters
    ----------
    subset : {"train", "test", "all"}, default="train"
        The 700 texts to train on, the 350 to test on, or both, in this order.
    return_X_y : bool, default=False
        Return ``(data, target)`` instead of a Bunch.
    as_frame : bool, default=False
        Give pandas objects instead of a list and an array: the texts and the kinds as
        Series, and all columns as a DataFrame in ``frame``.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        With the attributes

        data : list of str, or Series, of length n_texts
            The definitions.
        target : ndarray of str, or Series, of shape (n_texts,)
            The kind of each one.
        words : list of str, or Series, of length n_texts
            What is defined. Several of them have more than one definition.
        target_names : list of str
            The seven kinds, in alphabetical order.
        frame : DataFrame of shape (n_texts, 3) or None
            The columns ``word``, ``definition`` and ``kind``, with ``as_frame=True``.
        DESCR : str
            What the data are and where they come from.

    (data, target) : tuple
        With ``return_X_y=True``.

    Raises
    ------
    ValueError
        If ``subset`` is none of the three.

    Examples
    --------
    >>> from sksemantic.datasets import load_definitions
    >>> X, y = load_definitions(return_X_y=True)
    >>> len(X), X[0], str(y[0])
    (700, 'a feeling of intense dislike', 'feeling')
    """
    if subset not in SUBSETS:
        raise ValueError(f"subset must be one of {SUBSETS}, got {subset!r}.")
    file = resources.files(__package__) / "data" / "definitions.csv"
    every_row = csv.DictReader(file.read_text("utf-8").splitlines())
    rows = [row for row in every_row if subset in ("all", row["subset"])]
    columns = {name: [row[name] for row in rows] for name in COLUMNS}
    bunch = Bunch(
        data=columns["definition"],
        target=np.array(columns["kind"]),
        words=columns["word"],
        target_names=sorted(set(columns["kind"])),
        frame=None,
        DESCR=DESCRIPTION,
    )
    if as_frame:
        import pandas as pd

        frame = pd.DataFrame(columns)
        bunch.update(
            frame=frame,
            data=frame["definition"],
            target=frame["kind"],
            words=frame["word"],
        )
    return (bunch.data, bunch.target) if return_X_y else bunch
