"""What labels are called, as a head that needs no examples.

For causal backbones a label's direction is the output embedding of its text: the logit
with which the backbone itself would go on with that text after the prompt. For encoders
it is the embedding of the label's text. Either is badly calibrated as it stands.
"""

from typing import TYPE_CHECKING

import numpy as np

from sksemantic._inputs.dataset import TextDataset

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sksemantic._inputs.template import Template
    from sksemantic._model.module import SemanticModule


def label_directions(
    module: "SemanticModule", template: "Template", texts: list[list[str]]
) -> "NDArray":
    """Return a direction in the space of the features (K, C) for each label.

    Parameters
    ----------
    module : SemanticModule
        Untrained.
    template : Template
    texts : list of list of str
        The texts of each label; their directions are averaged.

    Raises
    ------
    ValueError
        If an encoder reads several texts a row, or a causal backbone has no output
        embeddings.
    """
    if module.backbone.is_causal:
        return np.stack([_continuation(module, template, each) for each in texts])
    if template.n_texts > 1:
        raise ValueError(
            "The 'label_texts' parameter needs a causal backbone for pairs of texts: "
            "what an encoder makes of a label's text is not like a pair."
        )
    flat = [text for each in texts for text in each]
    found = module.frozen.features(TextDataset(template.rows([flat])))
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    parts = np.split(found, np.cumsum([len(each) for each in texts])[:-1])
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


def calibrated(
    directions: "NDArray", features: "NDArray", scale: "NDArray"
) -> "NDArray":
    """Return the head (K, C) on standardised features that the directions stand for.

    Its logits have mean zero over the texts at hand for every label, so that none is
    preferred before a text is read, and a standard deviation of one over texts and
    labels. Both are properties of the texts alone: no labels are needed.

    Parameters
    ----------
    directions : ndarray of shape (K, C)
    features : ndarray of shape (n, C)
        Standardised, so that they have mean zero.
    scale : ndarray of shape (C,)
        By which they were divided.
    """
    coef = (directions - directions.mean(axis=0)) * scale
    spread = (features @ coef.T).std()
    return coef / spread if spread > 0 else coef
