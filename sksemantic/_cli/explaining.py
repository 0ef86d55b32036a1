"""`sksemantic explain`: which words of a file's first texts decide."""

from html import escape
from itertools import islice
from typing import Any

import numpy as np
import pandas as pd
import typer

import sksemantic
from sksemantic._cli.columns import as_X, check_columns, read_texts
from sksemantic._cli.errors import UsageError
from sksemantic._cli.models import load, text_columns
from sksemantic._cli.options import Empty, Loading, Reading
from sksemantic._cli.tables import Table
from sksemantic._cli.writing import check_is_free, write_text

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>{title}</title></head>
<body>
{body}
</body>
</html>
"""
_STRONGEST = 5


def run(
    model: str,
    file: str,
    *,
    n: int,
    label: str | None,
    html: str | None,
    force: bool,
    reading: Reading,
    loading: Loading,
) -> None:
    """Carry out the command."""
    table = Table.at(file, reading)
    if html is not None:
        check_is_free(html, force=force)
    estimator, columns = load(model, loading)
    frame = pd.concat([*islice(table.chunks(n), 1)])
    known = [*map(str, frame.columns)]
    names = text_columns(estimator, columns, loading, known)
    check_columns(frame, names, table)
    _, texts = read_texts(frame, names, reading.empty or Empty.keep, table)
    X = as_X(texts, getattr(estimator, "feature_names_in_", None))
    explanations = estimator.explain(X) if len(texts) else []
    name = _name_of(label, explanations)
    display = sksemantic.TokenAttributionDisplay(explanations, name)
    if html is not None:
        body = display._repr_html_()
        write_text(html, _PAGE.format(title=escape(table.shown), body=body))
        typer.echo(f"Saved in {html}.", err=True)
        return
    for explanation in explanations:
        typer.echo(str(sksemantic.TokenAttributionDisplay([explanation], name)))
        typer.echo(_strongest(explanation, name))


def _name_of(label: str | None, explanations: list[Any]) -> Any:
    """Return the class that is written so."""
    if label is None or not explanations:
        return None
    by_text = {str(name): name for name in explanations[0].names}
    if label not in by_text:
        raise UsageError(f"--label must be one of {', '.join(by_text)}.")
    return by_text[label]


def _strongest(explanation: Any, name: Any) -> str:
    """Return the strongest words with their scores, in a line."""
    scores = explanation.scores[:, explanation.column(name)]
    places = np.argsort(-np.abs(scores), kind="stable")[:_STRONGEST]
    words = [f"{explanation.words[i]} {scores[i]:+.3g}" for i in places]
    return "    " + ", ".join(words)
