"""Explanations of single texts by LIME and SHAP, through their own packages.

Both are given the words that our explanations are of, and probabilities of any texts.
They return how much each word speaks for one class (n_words,).
"""

import numpy as np

from sksemantic._inputs.words import split_words


def lime_scores(predict_proba, text, column, seed, n_samples=5000):
    """Explain by LIME, by default with its 5,000 samples.

    As the order of words counts, each occurrence is a word of its own, and words are
    left out, as they are where the explanations are judged; by default LIME leaves out
    all occurrences of a word at once.
    """
    from lime.lime_text import LimeTextExplainer

    words = [word.group() for word in split_words(text)]
    explainer = LimeTextExplainer(
        split_expression=lambda text: [word.group() for word in split_words(text)],
        bow=False,
        mask_string="",
        random_state=seed,
    )
    explained = explainer.explain_instance(
        text,
        predict_proba,
        labels=(column,),
        num_features=len(words),
        num_samples=n_samples,
    )
    scores = np.zeros(len(words))
    for word, score in explained.as_map()[column]:
        scores[word] = score
    return scores


def shap_scores(predict_proba, text, column, seed, mask_token=None):
    """Explain by `shap.Explainer` with its default 500 evaluations.

    Words are hidden by "...", SHAP's default, or left out with an empty `mask_token`.
    """
    import shap

    np.random.seed(seed)  # noqa: NPY002, SHAP draws from it
    masker = shap.maskers.Text(tokenize)
    if mask_token is not None:
        masker.mask_token = mask_token
    explainer = shap.Explainer(predict_proba, masker)
    return explainer([text], silent=True).values[0][:, column]


def tokenize(text, return_offsets_mapping=True):
    """Return the words of a text as a tokenizer of transformers would."""
    words = split_words(text)
    return {
        "input_ids": [word.group() for word in words],
        "offset_mapping": [word.span() for word in words],
    }
