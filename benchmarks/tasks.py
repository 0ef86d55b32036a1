"""Held-out scores on every kind of task, beside the peers of its kind.

Pairs of texts, several targets, several labels, ordered classes, labels of words, a
rare class, and few or no labelled texts; `accuracy.py` has the plain tasks. Every seed
draws its own training rows where there is something to draw. With ``--json FILE`` each
result is appended as soon as it is there, and what the file already has is not run
again; ``--report FILE`` prints its tables.
"""

from functools import partial

from _baselines import (
    ENTAILMENT_PROMPT,
    GEMMA,
    MINILM,
    QUESTION_PROMPT,
    REVIEW_PROMPT,
    embedding_logistic,
    embedding_one_vs_rest,
    embedding_ridge,
    tfidf_logistic,
    tfidf_one_vs_rest,
)
from _data import load_conll2003, load_rte, load_stsb, load_wnut
from _methods import (
    fit_cosine,
    fit_few_head,
    fit_majority,
    fit_pair_head,
    fit_rank_head,
    fit_separately,
    fit_setfit,
    pair_ridge,
)
from _rows import (
    SHOTS,
    entity_types,
    ranks,
    spam,
    split_few,
    split_official,
    split_random,
    sst2,
    targets,
    trec,
)
from _runner import (
    CLASSIFIER,
    REGRESSOR,
    WORDS,
    Bar,
    Method,
    Task,
    main,
    matched,
    on_states,
    on_vectors,
    on_words,
    ours,
    tuned,
)
from _scores import (
    score_accuracy,
    score_entities,
    score_labels,
    score_likeness,
    score_ranking,
    score_ranks,
    score_targets,
    score_types,
    spearman,
)

SEPARATE = f"{REGRESSOR}, one per target"
ORDINAL = f"{CLASSIFIER}, ordinal"


def few_epochs(n_train, steps):
    """Return the epochs for that many steps of 8 texts; 5 at least."""
    return max(5, -(-steps * 8 // n_train))


def few_task(load, bars=(), **params):
    """Return a task on few labelled texts."""
    peers = ("frozen + LR", "SetFit", "LoRA")
    # With 8 texts per class of TREC, twice the steps are no better than these; with a
    # quarter of them, MiniLM is 25 points worse.
    epochs = partial(few_epochs, steps=120 if params["model"] == GEMMA else 480)
    return Task(
        split=partial(split_few, load=load),
        score=score_accuracy,
        scoring="accuracy",
        ours={CLASSIFIER: ours(CLASSIFIER)},
        peers={
            "label texts": matched(centred=False),
            "label texts, centred": matched(centred=True),
            "frozen + LR": Method(fit_few_head, shots=SHOTS[1:]),
            "SetFit": Method(fit_setfit, seeded=True, shots=SHOTS[1:], across=True),
            "LoRA": tuned("LoRA", epochs, batch_size=8, shots=SHOTS[2:]),
        },
        bars=(*bars, *(Bar(peer=peer, shots=8) for peer in peers)),
        params=params,
        shots=SHOTS,
        seeds=5,
    )


TASKS = {
    "rte-gemma": Task(
        split=partial(split_official, load=load_rte),
        score=score_labels,
        scoring="accuracy",
        ours={CLASSIFIER: ours(CLASSIFIER)},
        peers={
            "majority": Method(fit_majority),
            "frozen + LR": on_vectors(partial(embedding_logistic, "accuracy")),
            "LoRA": tuned("LoRA", lambda n_train: 5, batch_size=16),
        },
        bars=(Bar(0.04, "frozen + LR"), Bar(0.08, "majority")),
        params={"model": GEMMA, "prompt": ENTAILMENT_PROMPT},
        drawn=False,
    ),
    "stsb-minilm": Task(
        split=partial(split_official, load=load_stsb),
        score=score_likeness,
        scoring="spearman",
        ours={REGRESSOR: ours(REGRESSOR)},
        peers={
            "cosine": Method(fit_cosine),
            "frozen + Ridge": Method(
                partial(fit_pair_head, make=partial(pair_ridge, spearman))
            ),
        },
        bars=(Bar(0.82),),
        drawn=False,
    ),
    "hutto-multi": Task(
        split=partial(split_random, load=targets, test_size=1000, size=2000),
        score=score_targets,
        scoring="r2",
        ours={
            REGRESSOR: ours(REGRESSOR),
            SEPARATE: Method(partial(fit_separately, kind=REGRESSOR), seeded=True),
        },
        peers={"frozen + Ridge": on_vectors(embedding_ridge)},
        bars=(Bar(peer=SEPARATE),),
    ),
    "wnut-multilabel": Task(
        split=partial(split_random, load=entity_types),
        score=score_types,
        scoring="f1_micro",
        ours={CLASSIFIER: ours(CLASSIFIER)},
        peers={
            "TF-IDF + LR": on_words(tfidf_one_vs_rest),
            "frozen + LR": on_vectors(embedding_one_vs_rest),
        },
        bars=(Bar(peer="TF-IDF + LR"), Bar(peer="frozen + LR")),
    ),
    "conll-minilm": Task(
        split=partial(split_official, load=load_conll2003, size=3000),
        score=score_entities,
        scoring="f1",
        ours={WORDS: ours(WORDS)},
        peers={"frozen + LR": on_states()},
        bars=(Bar(0.72), Bar(0.08, "frozen + LR")),
    ),
    "wnut-ner": Task(
        split=partial(split_random, load=load_wnut),
        score=score_entities,
        scoring="f1",
        ours={WORDS: ours(WORDS)},
        peers={"frozen + LR": on_states()},
        bars=(Bar(peer="frozen + LR"),),
    ),
    "sms-spam": Task(
        split=partial(split_random, load=spam),
        score=score_ranking,
        scoring="average_precision",
        ours={CLASSIFIER: ours(CLASSIFIER)},
        peers={
            "TF-IDF + LR": on_words(partial(tfidf_logistic, "average_precision")),
            "frozen + LR": on_vectors(partial(embedding_logistic, "average_precision")),
        },
        bars=(Bar(peer="TF-IDF + LR"),),
        predict=lambda model, X: model.predict_proba(X)[:, 1],
    ),
    "ordinal": Task(
        split=partial(split_random, load=ranks, test_size=2000, size=2000),
        score=score_ranks,
        scoring="mae",
        ours={ORDINAL: ours(CLASSIFIER, ordinal=True), CLASSIFIER: ours(CLASSIFIER)},
        peers={
            "frozen + LR": on_vectors(
                partial(embedding_logistic, "neg_mean_absolute_error")
            ),
            "frozen + Ridge, rounded": Method(fit_rank_head),
        },
        bars=(Bar(peer=CLASSIFIER),),
        lower=True,
    ),
    "fewshot-sst2-gemma": few_task(
        sst2,
        bars=(Bar(0.78, shots=0),),
        model=GEMMA,
        prompt=REVIEW_PROMPT,
        label_texts={0: "terrible", 1: "great"},
    ),
    "fewshot-sst2-minilm": few_task(
        sst2,
        model=MINILM,
        prompt=None,
        label_texts={0: "a bad, terrible movie", 1: "a good, great movie"},
    ),
    "fewshot-trec-gemma": few_task(
        trec,
        model=GEMMA,
        prompt=QUESTION_PROMPT,
        label_texts={
            0: "abbreviation",
            1: "definition",
            2: "thing",
            3: "person",
            4: "place",
            5: "number",
        },
    ),
    "fewshot-trec-minilm": few_task(
        trec,
        model=MINILM,
        prompt=None,
        label_texts={
            0: "What does this abbreviation stand for?",
            1: "What does this word mean? How does it work?",
            2: "What thing, animal, color, food or product is it?",
            3: "Who is the person?",
            4: "Where is the place? What city or country?",
            5: "How many? How much? When?",
        },
    ),
}


if __name__ == "__main__":
    main(__doc__, TASKS)
