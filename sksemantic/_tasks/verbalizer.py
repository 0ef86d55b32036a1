"""The verbalizer: a vector for each label, made of the label's texts.

For causal models the vector of a label is the output embedding of its text: its
product with the last state is the logit of that text as the continuation of the prompt
(Schick & Schuetze 2021, arXiv 2001.07676, section 3.1). For encoders it is the
embedding of the label's text.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from sklearn.preprocessing import normalize

from sksemantic._inputs.dataset import TextDataset

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from sksemantic._inputs.template import Template
    from sksemantic._model.module import SemanticModule


@dataclass(frozen=True)
class LabelTexts:
    """The texts of the labels, as the backbone reads them.

    Attributes
    ----------
    vectors : ndarray of shape (K, C)
        One for each label, in the space of an untrained module's features.
    data : TextDataset or None
        An encoder's texts, those of a label one after the other.
    counts : tuple of int
        How many texts each label has.
    """

    vectors: "NDArray"
    data: TextDataset | None = None
    counts: tuple[int, ...] = ()

    def read_again(self, read: "Callable[[TextDataset], NDArray]") -> "NDArray":
        """Return the vectors (K, C) of a trained module, whose features `read` are.

        The output embeddings of a causal model are not trained.
        """
        return (
            self.vectors if self.data is None else _means(read(self.data), self.counts)
        )


def read_label_texts(
    module: "SemanticModule", template: "Template", texts: list[list[str]]
) -> LabelTexts:
    """Tokenise and read the texts of each label; the module must be untrained.

    Raises
    ------
    ValueError
        If an encoder reads several texts a row, a causal model has no output
        embeddings, or the texts of two labels are the same to the backbone.
    """
    if module.backbone.is_causal:
        vectors = np.stack([_continuation(module, template, each) for each in texts])
        _refuse_equal(vectors, texts)
        return LabelTexts(vectors)
    if template.n_texts > 1:
        raise ValueError(
            "The 'label_texts' parameter needs a causal model for pairs of texts: "
            "an encoder's embedding of a label's text is not like that of a pair."
        )
    flat = TextDataset(template.rows([[text for each in texts for text in each]]))
    counts = tuple(map(len, texts))
    vectors = _means(module.frozen.features(flat), counts)
    _refuse_equal(vectors, texts)
    return LabelTexts(vectors, flat, counts)


def _refuse_equal(vectors: "NDArray", texts: list[list[str]]) -> None:
    """Refuse labels whose texts are all one to the backbone."""
    for i, vector in enumerate(vectors):
        for j in range(i):
            if np.allclose(vector, vectors[j], rtol=1e-6, atol=1e-6):
                raise ValueError(
                    "The 'label_texts' parameter must give every label texts that the "
                    f"backbone can tell apart. Got {texts[j]!r} and {texts[i]!r}, "
                    "which are the same to it."
                )


def _means(features: "NDArray", counts: tuple[int, ...]) -> "NDArray":
    """Return the mean of each label's features (n, C), which get length one."""
    parts = np.split(normalize(features), np.cumsum(counts)[:-1])
    return np.stack([part.mean(axis=0) for part in parts])


def _continuation(
    module: "SemanticModule", template: "Template", texts: list[str]
) -> "NDArray":
    """Return the mean output embedding (C,) of all tokens of the texts."""
    rows = [
        module.backbone.output_embeddings(ids).mean(axis=0)
        for ids in template.continuations(texts)
    ]
    return np.mean(rows, axis=0)
