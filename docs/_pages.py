"""Parts of the documentation's pages that are written by scripts."""

from pathlib import Path

DOCS = Path(__file__).parent


def write_part(page, name, lines):
    """Replace what stands between ``<!-- name -->`` and ``<!-- end of name -->``."""
    start, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    head, rest = page.read_text("utf-8").split(start)
    _, tail = rest.split(end)
    body = "\n".join(lines).strip("\n")
    page.write_text(f"{head}{start}\n\n{body}\n\n{end}{tail}", "utf-8")


def table(heading, rows):
    """Return a table in Markdown, line by line."""
    return [table_line(heading), table_line(["---"] * len(heading)), *rows]


def table_line(cells):
    """Return one line of a table."""
    return f"| {' | '.join(cells)} |"
