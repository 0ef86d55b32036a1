"""Write the tables of the pages, and the diagrams, from the results of the benchmarks.

Usage: ``python docs/make_tables.py``. They are never edited by hand. A page has a table
where it has ``<!-- NAME -->``, with a name of `accuracy.tables` or `ablation.tables`.
"""

import sys

from _pages import DOCS, write_part

sys.path.insert(0, str(DOCS.parent / "benchmarks"))

import ablation  # noqa: E402
import ablation_tables  # noqa: E402
import accuracy  # noqa: E402
import results  # noqa: E402

PAGES = ("comparison", "findings", "performance", "tasks")


def main():
    """Replace every table that a page has a place for."""
    rows = results.read(results.RESULTS / "accuracy.jsonl")
    tables = accuracy.tables(rows, DOCS)
    rows = results.read(results.RESULTS / "ablation.jsonl")
    tables |= ablation_tables.tables(rows, ablation.PROMPTS)
    for page in (DOCS / f"{name}.md" for name in PAGES):
        for name, lines in tables.items():
            if f"<!-- {name} -->" in page.read_text("utf-8"):
                write_part(page, name, lines)


if __name__ == "__main__":
    main()
