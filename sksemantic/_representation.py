"""How a fitted estimator is shown: in a notebook, by `print`, and with which link."""

from functools import cache
from html import escape
from importlib.metadata import PackageNotFoundError, metadata
from typing import Any

from sksemantic._training.fit_facts import fit_facts
from sksemantic._training.fitted_state import FittedState

_LONGEST = 100  # characters of a fact in a terminal
_STYLE = (
    "border-collapse:collapse;margin:.5em 0;font-size:.9em;color:inherit;"
    "background:transparent"
)
_CELL = "text-align:left;vertical-align:top;padding:.15em 1em .15em 0;border:none"


class Represented(FittedState):
    """An estimator that shows what its fit has made, without loading anything.

    `repr` stays the call that makes the estimator, as scikit-learn has it.
    """

    _doc_link_module = "sksemantic"

    @property
    def _doc_link_template(self) -> str:
        """Where scikit-learn's diagram links to; nowhere if there is no such page."""
        return _documentation_link()

    def __str__(self) -> str:
        """Return the call that makes the estimator and, fitted, what it has learned."""
        facts = self._facts()
        width = max(map(len, facts), default=0)
        lines = [f"  {name:<{width}}  {_short(fact)}" for name, fact in facts.items()]
        return "\n".join([repr(self), *lines])

    def _repr_html_inner(self) -> str:
        return super()._repr_html_inner() + self._facts_as_html()

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, str]:
        bundle = super()._repr_mimebundle_(**kwargs)
        bundle["text/plain"] = str(self)
        if "text/html" in bundle:
            bundle["text/html"] += self._facts_as_html()
        return bundle

    def _facts(self) -> dict[str, str]:
        return fit_facts(self._model) if self.__sklearn_is_fitted__() else {}

    def _facts_as_html(self) -> str:
        cells = f'<td style="{_CELL}">'
        rows = "".join(
            f"<tr>{cells}{escape(name)}</td>{cells}{escape(fact)}</td></tr>"
            for name, fact in self._facts().items()
        )
        return f'<table style="{_STYLE}">{rows}</table>' if rows else ""


def _short(fact: str) -> str:
    fact = " ".join(fact.split())
    return fact if len(fact) <= _LONGEST else f"{fact[: _LONGEST - 3]}..."


@cache
def _documentation_link() -> str:
    """Return the pattern of the reference's addresses, or "" where none is named."""
    try:
        named = metadata("sksemantic").get_all("Project-URL") or []
    except PackageNotFoundError:  # run from a folder that is not installed
        return ""
    links = dict(each.split(", ", 1) for each in named)
    base = links.get("Documentation", "").rstrip("/")
    page = "generated/{estimator_module}.{estimator_name}.html"
    return f"{base}/{page}" if base else ""
