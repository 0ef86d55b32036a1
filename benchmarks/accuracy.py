"""Held-out scores of the estimators on plain tasks, beside what a user would try first.

`tasks.py` has every other kind of task. Every seed draws its own split, or its own
training rows, and trains from that seed; the peers see the same rows.
"""

from functools import partial

from _baselines import (
    GEMMA,
    REVIEW_PROMPT,
    embedding_logistic,
    embedding_ridge,
    tfidf_logistic,
    tfidf_ridge,
)
from _data import load_hutto, load_trec
from _methods import fit_head
from _rows import split_random, split_sst2
from _runner import (
    CLASSIFIER,
    REGRESSOR,
    Bar,
    Method,
    Task,
    main,
    on_vectors,
    on_words,
    ours,
)
from _scores import score_labels, score_numbers


def classification(scoring, split, bar, **params):
    """Return a task of classification."""
    make = partial(embedding_logistic, scoring)
    peers = {
        "TF-IDF + LR": on_words(partial(tfidf_logistic, scoring)),
        "frozen + LR": on_vectors(make),
    }
    if "prompt" in params:
        bare = partial(fit_head, make=make, prompt=None)
        peers["frozen, no prompt + LR"] = Method(bare)
    return Task(
        split=split,
        score=score_labels,
        scoring=scoring,
        ours={CLASSIFIER: ours(CLASSIFIER)},
        peers=peers,
        bars=(Bar(bar),),
        params=params,
    )


TASKS = {
    "sst2-minilm": classification("accuracy", partial(split_sst2, size=3600), 0.83),
    "sst2-gemma": classification(
        "accuracy",
        partial(split_sst2, size=1500),
        0.895,
        model=GEMMA,
        prompt=REVIEW_PROMPT,
    ),
    "trec-minilm": classification(
        "f1_macro", partial(split_random, load=load_trec), 0.93
    ),
    "hutto-minilm": Task(
        split=partial(split_random, load=load_hutto),
        score=score_numbers,
        scoring="r2",
        ours={REGRESSOR: ours(REGRESSOR)},
        peers={
            "TF-IDF + Ridge": on_words(tfidf_ridge),
            "frozen + Ridge": on_vectors(embedding_ridge),
        },
        bars=(Bar(0.55), Bar(peer="frozen + Ridge")),
    ),
}


if __name__ == "__main__":
    main(__doc__, TASKS)
