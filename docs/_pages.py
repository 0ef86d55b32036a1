"""Parts of the documentation's pages that are written by scripts."""

from pathlib import Path

import numpy as np

DOCS = Path(__file__).parent


def write_part(page, name, lines):
    """Replace what stands between ``<!-- name -->`` and ``<!-- end of name -->``."""
    start, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    head, rest = page.read_text("utf-8").split(start)
    _, tail = rest.split(end)
    body = "\n".join(lines).strip("\n")
    page.write_text(f"{head}{start}\n\n{body}\n\n{end}{tail}", "utf-8")


def mean_and_spread(scores):
    """Return a mean over seeds and, of several seeds, its standard deviation."""
    text = f"{np.mean(scores):.3f}"
    return f"{text} ±{np.std(scores, ddof=1):.3f}" if len(scores) > 1 else text


def table(heading, rows):
    """Return a table in Markdown, line by line."""
    return [table_line(heading), table_line(["---"] * len(heading)), *rows]


def table_line(cells):
    """Return one line of a table."""
    return f"| {' | '.join(cells)} |"
