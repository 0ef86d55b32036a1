"""What each seed trains on and is tested on.

A split is called with a size and a seed, and returns X_train, X_test, y_train, y_test.
The size is a number of training rows, 0 for all of them.
"""

import numpy as np
from data import (
    load_bbc,
    load_hutto,
    load_hutto_ratings,
    load_newsgroups,
    load_rotten_tomatoes,
    load_sms,
    load_sst2,
    load_trec,
    load_wnut,
)
from sklearn.model_selection import GroupShuffleSplit, train_test_split
from sklearn.preprocessing import MultiLabelBinarizer

MOST_SHOTS = 64  # labelled texts of each class in the largest of the few-shot tasks
UNLABELLED, N_UNLABELLED = -1, 200
MOST_TESTED = 1000  # rows of a few-shot task: five draws of each are tested on them
TARGETS = ("mean", "deviation", "negative", "strongly positive")


def split_official(size, seed, load, spare=False):
    """Return the official test rows, and `size` of the training rows.

    With `spare` those that are not trained on are tested on as well.
    """
    X, y = load()
    X_test, y_test = load("test")
    X_train, y_train = draw(X, y, size, seed)
    if spare:
        left = shuffled(X, seed)[len(X_train) :]
        X_test = X_test + [X[i] for i in left]
        y_test = y_test + [y[i] for i in left]
    return X_train, X_test, y_train, y_test


def split_random(size, seed, load, test_size=0.2):
    """Hold out rows at random, and return `size` of the other ones."""
    X_train, X_test, y_train, y_test = train_test_split(
        *load(), test_size=test_size, random_state=seed
    )
    X_train, y_train = draw(X_train, y_train, size, seed)
    return X_train, X_test, y_train, y_test


def split_grouped(size, seed, load, test_size=0.2):
    """Hold out whole groups at random."""
    X, y, groups = load()
    splitter = GroupShuffleSplit(1, test_size=test_size, random_state=seed)
    train, test = next(splitter.split(X, groups=groups))
    X_train, y_train = draw([X[i] for i in train], y[train], size, seed)
    return X_train, [X[i] for i in test], y_train, y[test]


def split_sst2(size, seed):
    """Draw training phrases from SST-2; its 872 sentences are the test set."""
    X, y = load_sst2()
    if size:
        X, _, y, _ = train_test_split(
            X, y, train_size=size, stratify=y, random_state=seed
        )
    X_test, y_test = load_sst2("test")
    return X, X_test, y, y_test


def split_few(shots, seed, load):
    """Return `shots` labelled texts of each class, and 200 unlabelled ones.

    More labelled texts are added to the same ones. The unlabelled texts are the same
    for all `shots`, and none of them is ever a labelled one. Rare classes have fewer.
    """
    X, X_test, y, y_test = load()
    order = np.random.RandomState(seed).permutation(len(y))
    by_class = [order[y[order] == label] for label in np.unique(y)]
    few = np.concatenate([rows[:shots] for rows in by_class])
    reserved = np.concatenate([rows[:MOST_SHOTS] for rows in by_class])
    others = order[~np.isin(order, reserved)][:N_UNLABELLED]
    y_train = np.concatenate([y[few], np.full(len(others), UNLABELLED)])
    return [X[i] for i in [*few, *others]], X_test, y_train, y_test


def labelled(rows):
    """Return the rows of `split_few` without the unlabelled texts."""
    X_train, X_test, y_train, y_test = rows
    known = np.flatnonzero(y_train != UNLABELLED)
    return [X_train[i] for i in known], X_test, y_train[known], y_test


def pool(split):
    """Return all rows of a split, numbers for labels; the test rows never change."""
    X, X_test, y, y_test = split(0, 0)
    labels = np.unique(y)
    kept = np.isin(y_test, labels)  # of classes that there are rows to learn from
    rows = shuffled(X_test, 0)
    rows = rows[kept[rows]][:MOST_TESTED]
    X_test, y_test = [X_test[i] for i in rows], np.asarray(y_test)[rows]
    return X, X_test, *(np.searchsorted(labels, each) for each in (y, y_test))


def draw(X, y, size, seed):
    """Return `size` rows at random; 0 is all of them."""
    if not 0 < size < len(X):
        return X, y
    chosen = shuffled(X, seed)[:size]
    X = [X[i] for i in chosen]
    return X, y[chosen] if isinstance(y, np.ndarray) else [y[i] for i in chosen]


def shuffled(X, seed):
    """Return the rows' numbers in the order in which a seed draws them."""
    return np.random.RandomState(seed).permutation(len(X))


def sst2():
    """Return all phrases and sentences of SST-2: negative is 0, positive is 1."""
    X, y = load_sst2()
    X_test, y_test = load_sst2("test")
    return X, X_test, np.array(y, dtype=int), np.array(y_test, dtype=int)


def trec():
    """Return the questions, always the same 500 held out; classes by the alphabet."""
    X, y = load_trec()
    _, y = np.unique(y, return_inverse=True)
    return train_test_split(X, y, test_size=500, stratify=y, random_state=0)


def targets():
    """Return sentences on films, and `TARGETS` of what people thought of each."""
    texts, ratings = load_hutto_ratings()
    rows = [np.array(row) for row in ratings]
    sums = [(r.mean(), r.std(), (r < 0).mean(), (r >= 3).mean()) for r in rows]
    return texts, np.array(sums)  # (n_texts, 4)


def ranks():
    """Return sentences on films, and their mean rating in five steps, from 0 to 4.

    The steps meet at -1.5, -0.5, 0.5 and 1.5 on the scale from -4 to 4.
    """
    texts, ratings = load_hutto()
    return texts, np.rint(np.clip(ratings, -2, 2)).astype(int) + 2


def ratings_in_three():
    """Return sentences on films, and 0, 1 or 2: rated below -1, up to 1, or above."""
    texts, ratings = load_hutto()
    return texts, np.digitize(ratings, (-1, 1))


def entity_types():
    """Return tweets, and which of the ten types of entities occur in each."""
    tweets, labels = load_wnut()
    found = [{label[2:] for label in row if label != "O"} for row in labels]
    indicator = MultiLabelBinarizer().fit_transform(found)  # (n_texts, 10)
    return [" ".join(words) for words in tweets], indicator


def films():
    """Return quotes on films without repetitions, "fresh" or "rotten", and the film."""
    rows = {text: rest for text, *rest in zip(*load_rotten_tomatoes(), strict=True)}
    y, groups = (np.array(column) for column in zip(*rows.values(), strict=True))
    return list(rows), y, groups


def articles():
    """Return news articles without their 98 repetitions, and their sections."""
    unique = dict(zip(*load_bbc(), strict=True))
    return list(unique), np.array(list(unique.values()))


def long_messages():
    """Return the newsgroup messages of 300 words or more, and their groups."""
    unique = dict(zip(*load_newsgroups(), strict=True))
    found = {text: group for text, group in unique.items() if text.count(" ") >= 299}
    return list(found), np.array(list(found.values()))


def spam():
    """Return the text messages without their 399 repetitions, and 1 for spam."""
    unique = dict(zip(*load_sms(), strict=True))
    return list(unique), np.array([label == "spam" for label in unique.values()], int)
