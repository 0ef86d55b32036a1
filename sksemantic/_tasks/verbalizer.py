"""The verbalizer: a vector for each label, made of the label's texts.

For causal models the vector of a label is the output embedding of its text: its
product with the last state is the logit of that text as the continuation of the prompt
(Schick & Schuetze 2021, arXiv 2001.07676, section 3.1). For encoders it is the
embedding of the label's text.
"""

from typing import TYPE_CHECKING

import numpy as np

from sksemantic._inputs.dataset import TextDataset

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sksemantic._inputs.template import Template
    from sksemantic._model.module import SemanticModule


def label_vectors(
    module: "SemanticModule", template: "Template", texts: list[list[str]]
) -> "NDArray":
    """Return a vector in the space of the features (K, C) for each label.

    The vectors of a label's texts are averaged. The module must be untrained.

    Raises
    ------
    ValueError
        If an encoder reads several texts a row, or a causal model has no output
        embeddings.
    """
    if module.backbone.is_causal:
        return np.stack([_continuation(module, template, each) for each in texts])
    if template.n_texts > 1:
        raise ValueError(
            "The 'label_texts' parameter needs a causal model for pairs of texts: "
            "an encoder's embedding of a label's text is not like that of a pair."
        )
    flat = [text for each in texts for text in each]
    embeddings = module.frozen.features(TextDataset(template.rows([flat])))
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    parts = np.split(embeddings, np.cumsum([len(each) for each in texts])[:-1])
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
