"""How much the wording of the prompt matters, before and after training.

A decoder on 500 phrases of SST-2 and, with prompts of its own, on 500 questions of
TREC: twenty ways to ask, of every length and placement; five prompts that are about
something else; random words; next to none. All are trained on the same texts. "frozen"
is a logistic regression on the last token's states before any training, above all of
the backbone's layers; the estimator runs the lower two thirds. "searched" leaves the
choice among every fourth of those about the task to GridSearchCV, with three folds.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
from _baselines import GEMMA, QUESTION_PROMPT, REVIEW_PROMPT, embedding_logistic
from _data import load_trec
from _methods import fit_head, make_ours, measure
from _rows import split_random, split_sst2
from _runner import CLASSIFIER, Method, Task, by_seed, main, ours, plain
from _scores import score_labels
from scipy.stats import spearmanr
from sklearn.model_selection import GridSearchCV

ROWS = 500
FROZEN, SEARCHED = "frozen", "searched"

REVIEWS = {
    "default": REVIEW_PROMPT,
    "before: classify": "Classify the sentiment of the review.\n",
    "before: instruction": (
        "Decide whether the following excerpt from a movie review is positive or "
        "negative.\nExcerpt: "
    ),
    "before: one word": "Review: ",
    "after: it was": "{text}\nAll in all, it was",
    "after: verdict": '"{text}"\nThe verdict of this critic:',
    "after: sentiment": "{text}\nSentiment:",
    "around: sentiment": "Review: {text}\nSentiment (positive or negative):",
    "around: rating": 'Review: "{text}"\nRating out of ten:',
    "around: the movie was": 'Review: "{text}"\nIn short, the movie was',
    "around: film critic": 'A film critic wrote: "{text}"\nThe critic found the film',
    "around: recommend": 'Review: "{text}"\nWould the critic recommend it? Answer:',
    "around: feel": 'Someone said about a film: "{text}"\nThe film made them feel',
    "around: thumbs": 'Movie review: "{text}"\nThumbs up or thumbs down? Thumbs',
    "around: good or bad": 'Movie review: "{text}"\nQuestion: good or bad?\nAnswer:',
    "around: stars": 'Movie review: "{text}"\nStars: ',
    "long: classify": (
        "Classify the sentiment of each movie review as positive or negative.\n"
        'Movie review: "{text}"\nOverall, the movie was'
    ),
    "long: think": (
        "Below is an excerpt from a movie review. Critics use irony and faint praise; "
        "what counts is whether they liked the film.\n"
        'Movie review: "{text}"\nOverall, the movie was'
    ),
    "long: examples": (
        'Movie review: "a gripping, moving story"\nOverall, the movie was great.\n\n'
        'Movie review: "flat and far too long"\nOverall, the movie was terrible.\n\n'
        'Movie review: "{text}"\nOverall, the movie was'
    ),
    "long: examples, sentiment": (
        "Review: a gripping, moving story\nSentiment: positive\n"
        "Review: flat and far too long\nSentiment: negative\n"
        "Review: {text}\nSentiment:"
    ),
}
QUESTIONS = {
    "default": QUESTION_PROMPT,
    "before: classify": "Classify the question.\n",
    "before: instruction": (
        "Decide whether the question asks for a person, a place, a number, a "
        "definition, an abbreviation or another thing.\nQuestion: "
    ),
    "before: one word": "Question: ",
    "after: about": "{text}\nThis question is about a",
    "after: answer": "{text}\nAnswer:",
    "after: type": "{text}\nType of the answer:",
    "around: answer": "Question: {text}\nAnswer:",
    "around: type": "Question: {text}\nType (person, place, number or thing):",
    "around: the answer is": 'Question: "{text}"\nThe answer is the name of a',
    "around: quiz": 'The quizmaster asked: "{text}"\nThe answer has to be a',
    "around: looking for": 'Someone asks: "{text}"\nThey are looking for a',
    "around: know": 'Question: "{text}"\nWhat they want to know is the',
    "around: category": 'Question: "{text}"\nThe category of this question:',
    "around: expects": 'Question: "{text}"\nOne expects as an answer a',
    "around: kind": 'Question: "{text}"\nWhat kind of thing is asked for? A',
    "long: classify": (
        "Classify each question by what it asks for: a person, a place, a number, a "
        "definition, an abbreviation or another thing.\n"
        'Question: "{text}"\nThe answer to this question is a'
    ),
    "long: think": (
        "Below is a question from a quiz. Its first words often tell what is asked "
        "for, but not always; what counts is what the answer would be.\n"
        'Question: "{text}"\nThe answer to this question is a'
    ),
    "long: examples": (
        'Question: "Who wrote Hamlet?"\nThe answer to this question is a person.\n\n'
        'Question: "Where is Lima?"\nThe answer to this question is a place.\n\n'
        'Question: "{text}"\nThe answer to this question is a'
    ),
    "long: examples, type": (
        "Question: Who wrote Hamlet?\nType: person\n"
        "Question: Where is Lima?\nType: place\n"
        "Question: {text}\nType:"
    ),
}
ABOUT = {"sst2": REVIEWS, "trec6": QUESTIONS}
UNRELATED = {
    "unrelated: weather": 'Weather report: "{text}"\nTomorrow it will be',
    "unrelated: recipe": "Add two eggs, flour and sugar. {text}\nBake for",
    "unrelated: capital": "The capital of France is Paris.\n",
    "unrelated: code": "def main(argv): # {text}\n    return",
    "unrelated: law": "Article 4, paragraph 2 of the lease: {text}\nThe tenant shall",
}
RANDOM = {
    "random: dash": "- ",
    "random: lamp": "lamp violin seven under cargo moss ",
    "random: ocean": 'ocean of {text} plum, rather "octet" when stairs',
    "random: quartz": "quartz: {text} nylon by tram, hence",
}


def candidates(prompts):
    """Return the prompts by name that are searched among."""
    return {name: prompts[name] for name in [*prompts][::4]}


def search(case, prompts):
    """Fit and score the estimator with the prompt that cross-validation chooses."""
    found = GridSearchCV(make_ours(case, CLASSIFIER), {"prompt": prompts}, cv=3)
    return measure(case, found, case.rows)


def prompts_task(split, told):
    """Return a task whose methods are prompts, each frozen and trained."""
    prompts = {**told, **UNRELATED, **RANDOM}
    make = partial(embedding_logistic, "accuracy")
    frozen = {
        f"{name}, {FROZEN}": Method(
            partial(fit_head, make=make, prompt=slotted(prompt))
        )
        for name, prompt in {**prompts, "none": None}.items()
    }
    return Task(
        split=split,
        score=score_labels,
        scoring="accuracy",
        ours={
            **{name: ours(CLASSIFIER, prompt=prompts[name]) for name in prompts},
            SEARCHED: Method(
                partial(search, prompts=[*candidates(told).values()]), seeded=True
            ),
        },
        peers=frozen,
        bars=(),
        params={"model": GEMMA},
    )


def slotted(prompt):
    """Return a prompt with its slot, as the frozen peer wants it."""
    return prompt if prompt is None or "{text}" in prompt else prompt + "{text}"


TASKS = {
    name: prompts_task(split, ABOUT[name])
    for name, split in (
        ("sst2", partial(split_sst2, size=ROWS)),
        ("trec6", partial(split_random, load=load_trec, size=ROWS)),
    )
}


def summarise(tasks, results, args):
    """Print the spread over each kind of prompt, and what the frozen score tells."""
    results = plain(results, args.train_size)
    for name in tasks:
        pairs = before_and_after(tasks, results, name)
        told = foretold(pairs)
        if pairs:
            print(f"\n{name}: accuracy before and after training")
        for kind, found in kinds(pairs).items():
            before, after = np.array(found).T
            print(f"  {kind:24} {len(found):2}  {spread(before)}   {spread(after)}")
        if told is not None:
            print(
                f"  rank correlation of before and after: {told.correlation:.2f}; the "
                f"prompt that is best before training has {told.chosen:.3f} after it, "
                f"the best one {told.best:.3f}, the median one {told.median:.3f}"
            )
        for found in searched(tasks, results, name):
            print(
                f"  GridSearchCV among {found.n_prompts}: {found.score:.3f} in "
                f"{found.seconds:.0f} s; with each of them {found.worst:.3f} to "
                f"{found.best:.3f}, mean {found.mean:.3f}"
            )


@dataclass(frozen=True)
class Searched:
    """What a search among prompts ended with, beside a fit with each of them.

    Attributes
    ----------
    n_prompts : int
    score, seconds : float
        Of the search, the last fit included.
    worst, mean, best : float
        Scores of the prompts that were searched among, on the same rows.
    """

    n_prompts: int
    score: float
    seconds: float
    worst: float
    mean: float
    best: float


def searched(tasks, results, name):
    """Return what each seed's search ended with; all are on as many rows."""
    scoring = tasks[name].scoring
    runs = by_seed(results).get(name, {})
    names = candidates(ABOUT[name])
    found = []
    for seed, run in sorted(runs.get(SEARCHED, {}).items()):
        each = [runs[key][seed][scoring] for key in names if seed in runs.get(key, {})]
        if len(each) == len(names):
            spread = min(each), float(np.mean(each)), max(each)
            found.append(Searched(len(names), run[scoring], run["seconds"], *spread))
    return found


def before_and_after(tasks, results, name):
    """Return, by prompt, the mean score of the frozen model and of the trained one.

    All results are on as many rows.
    """
    scoring = tasks[name].scoring
    runs = by_seed(results).get(name, {})
    pairs = {}
    for method, trained in runs.items():
        frozen = runs.get(f"{method}, {FROZEN}", {})
        both = sorted(set(trained) & set(frozen))
        if both:
            found = [(frozen[seed][scoring], trained[seed][scoring]) for seed in both]
            pairs[method] = tuple(map(float, np.mean(found, axis=0)))
    return pairs


def kinds(pairs):
    """Return the pairs of scores of each kind of prompt."""
    found = {}
    for method, pair in pairs.items():
        found.setdefault(method.partition(":")[0], []).append(pair)
    told = list(related(pairs).values())
    return found | ({"all about the task": told} if told else {})


def related(pairs):
    """Return those of the prompts that are about the task."""
    others = (*UNRELATED, *RANDOM)
    return {method: pair for method, pair in pairs.items() if method not in others}


@dataclass(frozen=True)
class Foretold:
    """What the score before training says of the one after it.

    Attributes
    ----------
    correlation : float
        Spearman's, over the prompts that are about the task.
    chosen, best, median : float
        The score after training of the prompt that was the best before it, of the best
        one, and of the one in the middle.
    """

    correlation: float
    chosen: float
    best: float
    median: float


def foretold(pairs):
    """Return what frozen scores tell; None of fewer than three prompts."""
    pairs = np.array(list(related(pairs).values()))
    if len(pairs) < 3:
        return None
    before, after = pairs.T
    return Foretold(
        spearmanr(before, after).statistic,
        after[before.argmax()],
        after.max(),
        np.median(after),
    )


def spread(scores):
    """Return least, mean and most."""
    return f"{scores.min():.3f} {scores.mean():.3f} {scores.max():.3f}"


if __name__ == "__main__":
    main(__doc__, TASKS, summarise)
