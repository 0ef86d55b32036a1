"""How faithful an explanation is: what the words it names do to the prediction.

Comprehensiveness is what the probability of the predicted class loses without the
words of the highest scores; sufficiency is what it loses if they alone are left. Both
are the mean over the shares of the words in `SHARES` (DeYoung et al., ACL 2020, section
4). They are normalised by what the probability loses without any word (Carton et al.,
EMNLP 2020), so that both are between 0 and 1, and higher is better.
"""

import numpy as np

SHARES = (0.01, 0.05, 0.1, 0.2, 0.5)
# Below this the empty text is predicted like the text: there is nothing to share out.
LEAST_DIFFERENCE = 0.01


def best_words(scores):
    """Return for each share which words have the highest scores, one at least."""
    order = np.argsort(-scores, kind="stable")
    counts = [max(1, int(np.ceil(share * len(scores) - 1e-9))) for share in SHARES]
    return [np.sort(order[:count]) for count in counts]


def without(text, spans, left_out):
    """Return a text without some of its words, which have these places."""
    for i in sorted(left_out, reverse=True):
        start, end = spans[i]
        text = text[:start] + text[end:]
    return text


def measure(predict_proba, text, spans, scores, column):
    """Return what the words of the highest scores do to the probability of a class.

    Parameters
    ----------
    predict_proba : callable
        Of a list of texts.
    text : str
    spans : list of (int, int)
        Where each word is.
    scores : ndarray of shape (n_words,)
    column : int
        Of the predicted class.
    """
    every = np.arange(len(scores))
    chosen = best_words(scores)
    texts = [text, without(text, spans, every)]
    texts += [without(text, spans, words) for words in chosen]
    texts += [without(text, spans, np.setdiff1d(every, words)) for words in chosen]
    whole, empty, *rest = predict_proba(texts)[:, column]
    lost_without, lost_with = whole - np.array(rest).reshape(2, len(SHARES))
    found = {
        "comprehensiveness": lost_without.mean(),
        "sufficiency": lost_with.mean(),
        "difference": whole - empty,
    }
    if whole - empty >= LEAST_DIFFERENCE:
        share = np.clip([lost_without, lost_with] / (whole - empty), 0, 1).mean(axis=1)
        found["normalized_comprehensiveness"] = share[0]
        found["normalized_sufficiency"] = 1 - share[1]
    return {name: round(float(value), 5) for name, value in found.items()}
