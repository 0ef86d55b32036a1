"""Write the tables of the pages, and the diagrams, from the results of the benchmarks.

Usage: ``python docs/make_tables.py``. They are never edited by hand. A page has a table
where it has ``<!-- NAME -->``, with a name of the `tables` of a benchmark.
"""

import sys

from _pages import DOCS, write_part

sys.path.insert(0, str(DOCS.parent / "benchmarks"))

import ablation  # noqa: E402
import ablation_tables  # noqa: E402
import accuracy  # noqa: E402
import calibration  # noqa: E402
import cost_tables  # noqa: E402
import engines  # noqa: E402
import explanations  # noqa: E402
import few_tables  # noqa: E402
import forecast  # noqa: E402
import int8  # noqa: E402
import latency  # noqa: E402
import long_texts  # noqa: E402
import many  # noqa: E402
import mixed_columns  # noqa: E402
import planning  # noqa: E402
import processes  # noqa: E402
import results  # noqa: E402
import serving  # noqa: E402
import shorter  # noqa: E402
import threads  # noqa: E402

PAGES = (
    *("comparison", "findings", "performance", "tasks", "guide/few_labels"),
    *("guide/explanations", "guide/long_documents", "guide/probabilities"),
    *("guide/many_machines", "guide/many_processes", "guide/planning"),
    *("guide/serving", "guide/speed", "guide/text_and_numbers", "guide/threads"),
)
# The results keep the names that the variants had when they were run. The pages name
# the parameter that a variant sets.
VARIANTS = {
    "text's states refined: not": "`text_rank`: 0",
    "text's states refined: rank ": "`text_rank`: ",
    "features dropped: none": "`dropout`: 0",
    "features dropped: half": "`dropout`: 0.5",
    "texts contrasted: not": "`contrast`: 0",
    "texts contrasted: in full": "`contrast`: 1.0",
    "texts contrasted: by": "`contrast`: by",
    "| rank ": "| `adapter_rank`: ",
    "adapter: full matrices": '`adapter`: `"linear"`',
    "method: prompt": '`method`: `"prompt"`',
    "rates of the adapter ": "`lr` ",
    "rates of the head ": "`head_lr` ",
    "batches of ": "`batch_size`: ",
    "weights decay by 0.1": "`weight_decay`: 0.1",
    "weights averaged: never": "`average_from`: 1",
    "weights averaged: from two thirds": "`average_from`: 2/3",
    "head: from random weights": '`head_init`: `"random"`',
    "head: from the linear probe": '`head_init`: `"linear_probe"`, the usual rates',
    "head: the same, slower rates": '`head_init`: `"linear_probe"`, slower rates',
    "pooling: first": '`pooling`: `"first"`',
    "pooling: mean": '`pooling`: `"mean"`',
    "tuned: upper half": "`tuned_layers`: 3, the upper half",
    "tuned: uppermost": "`tuned_layers`: 1",
    "all of the lower 12 tuned": '`tuned_layers`: `"all"` of the lower 12',
}
FROZEN_AND_TRAINED = {
    "of frozen and draw 0": "of the frozen and the trained models",
    "The best prompt of frozen": "The best prompt of the frozen model",
    "in draw 0": "after training",
    "draw 0": "trained",
}
DRAWS = {  # of the training texts
    "of draw 0 and draw 1": "of the two draws",
    "of draw 0": "of the first draw",
    "in draw 1": "in the second draw",
    "draw 0": "trained, first draw",
    "draw 1": "trained, second draw",
}
TITLES = {
    "ablation": VARIANTS,
    "ablation few": VARIANTS,
    "prompts": FROZEN_AND_TRAINED,
    "few": DRAWS,
    "text rank": {"| without | with |": "| `text_rank` 0 | `text_rank` 4 |"},
    "contrast": {"| without | with |": "| `contrast` 0 | with `contrast` |"},
}


def renamed(name, lines):
    """Return a table's lines with the titles of the pages.

    Where several lines are of one search each, they say on which draw it was.
    """
    for old, new in TITLES.get(name, {}).items():
        lines = [line.replace(old, new) for line in lines]
    searches = [i for i, line in enumerate(lines) if line.startswith("`GridSearchCV`")]
    if len(searches) > 1:
        for i, draw in zip(searches, ("First", "Second"), strict=True):
            lines[i] = f"{draw} draw: {lines[i]}"
    return lines


def main():
    """Replace every table that a page has a place for."""
    rows = results.read(results.RESULTS / "accuracy.jsonl")
    tables = accuracy.tables(rows, DOCS)
    tables |= few_tables.tables(results.read(results.RESULTS / "few.jsonl"), DOCS)
    rows = results.read(results.RESULTS / "ablation.jsonl")
    tables |= ablation_tables.tables(rows, ablation.PROMPTS)
    rows = results.read(results.RESULTS / "calibration.jsonl")
    tables["calibration"] = calibration.table(rows)
    rows = results.read(results.RESULTS / "cost.jsonl")
    tables["fits"] = cost_tables.cost_table(rows, "fits")
    named = (engines, explanations, forecast, int8, latency, long_texts, many)
    named = (*named, mixed_columns, planning, processes, serving, shorter, threads)
    for module in named:
        rows = results.read(results.RESULTS / f"{module.__name__}.jsonl")
        tables |= module.tables(rows) if rows else {}
    for page in (DOCS / f"{name}.md" for name in PAGES):
        for name, lines in tables.items():
            if f"<!-- {name} -->" in page.read_text("utf-8"):
                write_part(page, name, renamed(name, lines))


if __name__ == "__main__":
    main()
