"""All tasks by name, DATA-SIZE-BACKBONE: ``trec6-1000-minilm``.

The size is a number of training rows, ``all``, or a number of labelled texts a class,
``8shot``, or of sentences with labelled words, ``20sentences``; it and the backbone may
be left out, then 1,000 rows and MiniLM are taken.
"""

import re
from dataclasses import replace
from functools import partial

import scores
import splits
from data import (
    load_conll2003,
    load_editorials,
    load_hutto,
    load_rte,
    load_stsb,
    load_trec,
    load_wnut,
)
from ours import fit_ours, fit_ours_per_target
from peers import linear
from peers.frozen import MODELS
from tasks import Data, Task

REVIEW = 'Movie review: "{text}"\nOverall, the movie was'
QUESTION = 'Question: "{text}"\nThe answer to this question is a'
ENTAILMENT = "{0}\nQuestion: {1} True or false?\nAnswer:"
LABEL_TEXTS = {
    ("sst2", "gemma"): ["terrible", "great"],
    ("sst2", "minilm"): ["a bad, terrible movie", "a good, great movie"],
    ("trec6", "gemma"): [
        *("abbreviation", "definition", "thing", "person", "place", "number")
    ],
    ("trec6", "minilm"): [
        "What does this abbreviation stand for?",
        "What does this word mean? How does it work?",
        "What thing, animal, color, food or product is it?",
        "Who is the person?",
        "Where is the place? What city or country?",
        "How many? How much? When?",
    ],
}


def random(load, **options):
    """Return the split that holds out rows at random."""
    return partial(splits.split_random, load=load, **options)


def official(load, **options):
    """Return the split with the official test rows."""
    return partial(splits.split_official, load=load, **options)


SPAM = 'Text message: "{text}"\nIs this message spam? Answer:'
ARTICLE = 'News article: "{text}"\nThe section of this article is'
ALIKE = 'First: "{0}"\nSecond: "{1}"\nHow alike the two are:'
PAIRS = Data(official(load_rte, spare=True), prompt=ENTAILMENT)
NUMBERS = {"kind": "numbers", "score": scores.score_numbers, "scoring": "r2"}
ENTITIES = {"kind": "words", "score": scores.score_entities, "scoring": "f1"}
DATA = {
    # Data sets of the grid, with the comparison of all methods.
    "sst2": Data(splits.split_sst2, prompt=REVIEW),
    "rotten": Data(partial(splits.split_grouped, load=splits.films), prompt=REVIEW),
    "trec6": Data(random(load_trec), prompt=QUESTION),
    "trec50": Data(random(partial(load_trec, fine=True)), prompt=QUESTION),
    "bbc": Data(random(splits.articles), prompt=ARTICLE),
    "newsgroups": Data(random(splits.long_messages), has_networks=False),
    "sms": Data(
        random(splits.spam), scores.score_ranking, "average_precision", prompt=SPAM
    ),
    "hutto": Data(random(load_hutto, test_size=1000), **NUMBERS, prompt=REVIEW),
    "editorials": Data(random(load_editorials), **NUMBERS, has_networks=False),
    # The 277 official test pairs have a standard error of three points.
    "rte": PAIRS,
    "stsb": Data(
        official(load_stsb),
        scores.score_likeness,
        "spearman",
        "numbers",
        prompt=ALIKE,
        others={"peers": {"cosine": linear.fit_cosine}},
    ),
    "conll": Data(official(load_conll2003), **ENTITIES),
    # Other kinds of targets, each with the peers of its kind.
    "rte-official": replace(
        PAIRS,
        split=official(load_rte),
        others={"peers": {"majority": linear.fit_majority}},
        batch_size=16,
    ),
    "hutto-multi": Data(
        random(splits.targets, test_size=1000),
        scores.score_targets,
        "r2",
        "numbers",
        others={"ours": {"ours-per-target": fit_ours_per_target}},
        has_networks=False,
    ),
    "wnut-types": Data(
        random(splits.entity_types),
        scores.score_types,
        "f1_micro",
        "labels",
        has_networks=False,
    ),
    "wnut": Data(random(load_wnut), **ENTITIES),
    "hutto3": Data(random(splits.ratings_in_three, test_size=1000), prompt=REVIEW),
    "ordinal": Data(
        random(splits.ranks, test_size=2000),
        scores.score_ranks,
        "mae",
        others={
            "ours": {"ours-ordinal": partial(fit_ours, ordinal=True)},
            "peers": {"frozen-rounded": linear.fit_frozen_rounded},
        },
        has_networks=False,
    ),
}
GRID = (
    *("sst2", "rotten", "trec6", "trec50", "bbc"),
    *("sms", "hutto", "rte", "stsb", "conll"),
)
SIZES = (200, 1000, 4000)
LARGEST = {"bbc": 1000, "rte": 1000}  # where there are fewer than 4,000 rows
SHOTS = (0, 1, 4, 8, 16, 64)
SENTENCES = (5, 10, 20, 50)
MOST_SENTENCES_TESTED = 300  # of so few sentences the draw matters more


def all_names():
    """Return the names of all tasks: the grid first, the larger ones later."""
    names = [
        f"{data}-{size}-{backbone}"
        for size in SIZES
        for data in GRID
        for backbone in MODELS
        if size <= LARGEST.get(data, size)
        # A causal model has not read what follows a word.
        if not (data == "conll" and backbone == "gemma")
    ]
    names += ["sst2-3600-minilm", "sst2-1500-gemma", "trec6-all-minilm"]
    names += ["hutto-all-minilm", "stsb-all-minilm", "hutto-multi-2000-minilm"]
    names += ["wnut-types-all-minilm", "conll-3000-minilm", "wnut-all-minilm"]
    names += ["sms-all-minilm", "ordinal-2000-minilm", "rte-official-all-gemma"]
    names += [f"conll-{n}sentences-minilm" for n in SENTENCES]
    return names + [
        f"{data}-{shots}shot-{backbone}"
        for data, backbone in LABEL_TEXTS
        for shots in SHOTS
    ]


def task_named(name, limit=None):
    """Return the task of a name, with at most `limit` training rows."""
    pattern = rf"({'|'.join(sorted(DATA, key=len, reverse=True))})"
    pattern += rf"(?:-(\d+|all)|-(\d+)(shot|sentences))?(?:-({'|'.join(MODELS)}))?"
    match = re.fullmatch(pattern, name)
    data, size, few, unit, backbone = match.groups() if match else [None] * 5
    backbone = backbone or "minilm"
    kind = {"shot": "classes", "sentences": "words"}.get(unit)
    if match is None or (unit and DATA[data].kind != kind):
        raise ValueError(
            f"There is no task {name!r}: expected DATA-SIZE-BACKBONE with DATA one of "
            f"{', '.join(DATA)}, SIZE a number of rows, 'all', of single classes "
            f"'8shot', or of words '20sentences', and BACKBONE one of "
            f"{', '.join(MODELS)}."
        )
    if unit == "sentences":
        name = f"{data}-{few}sentences-{backbone}"
        n_tested = MOST_SENTENCES_TESTED
        return Task(name, DATA[data], int(few), backbone, n_tested=n_tested)
    if unit == "shot":
        name = f"{data}-{few}shot-{backbone}"
        texts = tuple(LABEL_TEXTS.get((data, backbone), ()))
        return Task(name, DATA[data], 0, backbone, int(few), texts)
    n_rows = 0 if size == "all" else int(size or 1000)
    if limit:
        n_rows = min(n_rows or limit, limit)
    return Task(f"{data}-{n_rows or 'all'}-{backbone}", DATA[data], n_rows, backbone)
