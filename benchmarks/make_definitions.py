"""Make sksemantic/datasets/data/definitions.csv from the files of WordNet 3.0.

    python benchmarks/make_definitions.py FOLDER

FOLDER holds ``data.noun`` and ``cntlist.rev``, as WordNet's own archive and the
packages of Linux distributions have them (``wordnet-base`` of Debian puts them into
``/usr/share/wordnet``). Only senses that occur in WordNet's counted texts are taken,
so that the words are known ones, and as many of each kind.
"""

import csv
import random
import sys
from collections import defaultdict
from pathlib import Path

# The kinds, by the number of their lexicographer file.
KINDS = {
    5: "animal",
    6: "artifact",
    8: "body",
    12: "feeling",
    13: "food",
    15: "place",
    18: "person",
}
TRAIN, TEST = 100, 50  # definitions of each kind
TARGET = Path(__file__).parents[1] / "sksemantic" / "datasets" / "data"


def counted_senses(folder):
    """Return the sense keys that occur in the counted texts."""
    lines = (folder / "cntlist.rev").read_text(encoding="utf-8").splitlines()
    return {tuple(line.split()[0].split(":")[:3]) for line in lines}


def definitions(folder):
    """Return the known nouns of each kind, as pairs of word and definition."""
    counted = counted_senses(folder)
    found, seen = defaultdict(list), set()
    for line in (folder / "data.noun").read_text(encoding="utf-8").splitlines():
        if line.startswith("  "):  # the licence
            continue
        fields, _, gloss = line.partition(" | ")
        _, file_number, _, _, word, lex_id = fields.split()[:6]
        kind = KINDS.get(int(file_number))
        key = (f"{word.lower()}%1", file_number, f"{int(lex_id, 16):02d}")
        definition = gloss.split('; "')[0].split(";")[0].strip()
        is_known = key in counted and definition not in seen
        if kind and is_known and 4 <= len(definition.split()) <= 25:
            seen.add(definition)
            found[kind].append((word.replace("_", " "), definition))
    return found


def main(folder):
    """Write the rows, those to train on first, in random order."""
    rng = random.Random(0)
    rows = {"train": [], "test": []}
    for kind, pairs in sorted(definitions(folder).items()):
        drawn = rng.sample(pairs, TRAIN + TEST)
        rows["train"] += [(word, text, kind) for word, text in drawn[:TRAIN]]
        rows["test"] += [(word, text, kind) for word, text in drawn[TRAIN:]]
    with (TARGET / "definitions.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["subset", "word", "definition", "kind"])
        for subset, drawn in rows.items():
            rng.shuffle(drawn)
            writer.writerows([subset, *row] for row in drawn)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
