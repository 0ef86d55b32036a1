"""Words of texts, coloured by what they add to a class."""

import os
import sys
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from sksemantic._displays.drawing import axes_for, own_estimator
from sksemantic._explanation import Explanation

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_FOR, _AGAINST = "34, 139, 84", "214, 69, 65"  # red, green, blue
_ANSI_FOR, _ANSI_AGAINST, _ANSI_END = "\x1b[32m", "\x1b[31m", "\x1b[0m"
_SHOWN_FROM = 0.15  # of the strongest word, in a terminal
_LONGEST_WORD = 24  # characters, in a picture
_STYLE = (
    "font-family: sans-serif; line-height: 1.8; max-width: 60em; margin: 0 0 0.6em 0"
)


@dataclass(eq=False)
class TokenAttributionDisplay:
    """Texts whose words are coloured by what they add to a class.

    Made by `from_estimator`. The last expression of a notebook's cell shows it as HTML,
    `print` in a terminal's colours, or with numbers where there is no terminal; `plot`
    draws the words of one text as bars. Green words speak for the class, red ones
    against it, as strongly as the colour says beside the text's strongest word.

    Parameters
    ----------
    explanations : list of Explanation
    name : object, default=None
        The class, label or target whose scores are shown; None for the predicted class
        of each text.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    bars_ : matplotlib BarContainer
    """

    __module__ = "sksemantic"  # where users find it

    explanations: list[Explanation]
    name: Any = None

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any, *, name: Any = None, **kwargs: Any
    ) -> Self:
        """Explain texts by a fitted estimator.

        Parameters
        ----------
        estimator : SKTuningClassifier or SKTuningRegressor
            Or a search for one.
        X : sequence of str of length n_samples, or of tuples, or table
            Texts.
        name : object, default=None
            As in the class.
        **kwargs : object
            Passed to `explain`.

        Returns
        -------
        TokenAttributionDisplay

        Raises
        ------
        TypeError
            If the estimator is another one.
        ValueError
            If the estimator has no class of this name.
        """
        own: Any = own_estimator(estimator, reads_texts=True)
        explanations = own.explain(X, **kwargs)
        for explanation in explanations:
            explanation.column(name)
        return cls(explanations, name)

    def plot(
        self, i: int = 0, *, n: int = 15, ax: "Axes | None" = None, **kwargs: Any
    ) -> Self:
        """Draw the strongest words of one text as bars.

        Parameters
        ----------
        i : int, default=0
            Which text.
        n : int, default=15
            How many words, at most.
        ax : matplotlib Axes, default=None
            Where to draw. By default a new figure.
        **kwargs : object
            Passed to matplotlib's `barh`.

        Returns
        -------
        self : TokenAttributionDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        IndexError
            If there is no such text.
        """
        n_texts = len(self.explanations)
        if not -n_texts <= i < n_texts:
            raise IndexError(
                f"i must be a place among {n_texts} texts. Got {i} instead."
            )
        explanation = self.explanations[i]
        scores, name = self._scores(explanation)
        strongest = np.sort(np.argsort(-np.abs(scores), kind="stable")[:n])
        size = (6.0, 1.0 + 0.28 * len(strongest))
        (ax,), self.figure_ = axes_for(ax, "TokenAttributionDisplay", figsize=size)
        self.ax_ = ax
        colors = [
            tuple(
                int(part) / 255 for part in (_FOR if score > 0 else _AGAINST).split(",")
            )
            for score in scores[strongest]
        ]
        places = np.arange(len(strongest))
        options = {"color": colors, **kwargs}
        self.bars_ = ax.barh(places, scores[strongest], **options)
        words = [_shortened(explanation.words[j]) for j in strongest]
        ax.set_yticks(places, words)
        ax.invert_yaxis()
        ax.axvline(0, color="0.4", linewidth=0.8)
        ax.set_xlabel(f"added to {name}")
        facts = [f"text {i % n_texts + 1} of {n_texts}"] if n_texts > 1 else []
        if len(strongest) < len(scores):
            facts.append(f"{len(strongest)} of {len(scores)} words")
        facts += filter(None, [explanation.method])
        ax.set_title(", ".join(facts), fontsize="medium")
        if not len(scores):
            ax.set(xticks=[], yticks=[], title="a text without words")
        return self

    def _repr_html_(self) -> str:
        methods = dict.fromkeys(each.method or "" for each in self.explanations)
        by = " and ".join(filter(None, methods))
        note = "green speaks for it, red against it" + (f"; by {by}" if by else "")
        legend = f'<p style="{_STYLE}; color: gray; font-size: smaller">{note}</p>'
        return "\n".join([*map(self._paragraph, self.explanations), legend])

    def __repr__(self) -> str:
        """Return what `print` shows."""
        return str(self)

    def __str__(self) -> str:
        """Return the texts with their strongest words marked."""
        mark = _colored if _has_colors() else _numbered
        lines = []
        for explanation in self.explanations:
            scores, _ = self._scores(explanation)
            least = _SHOWN_FROM * np.abs(scores).max(initial=0)
            marks = [
                ("", "") if abs(score) < least or score == 0 else mark(score)
                for score in scores
            ]
            shown = _joined(explanation, marks, visible)
            lines.append(f"{self._heading(explanation)}: {shown}")
        return "\n".join(lines)

    def _heading(self, explanation: Explanation) -> str:
        """Return what the words speak for, and what is predicted if it is another."""
        _, name = self._scores(explanation)
        predicted = explanation.prediction
        if np.ndim(predicted) or predicted == name:  # several labels have no room
            return visible(f"{name}")
        is_float = isinstance(predicted, float | np.floating)
        shown = f"{predicted:.4g}" if is_float else f"{predicted}"
        return visible(f"{name} ({shown} is predicted)")

    def _paragraph(self, explanation: Explanation) -> str:
        scores, _ = self._scores(explanation)
        largest = float(np.abs(scores).max(initial=0)) or 1.0
        marks = []
        for score in scores:
            strength = min(1.0, abs(score) / largest)
            color = _FOR if score > 0 else _AGAINST
            style = f"background: rgba({color}, {0.75 * strength:.2f})"
            marks.append((f'<span style="{style}" title="{score:+.3f}">', "</span>"))
        shown = _joined(explanation, marks, escape)
        heading = escape(self._heading(explanation))
        return f'<p dir="auto" style="{_STYLE}"><b>{heading}</b>: {shown}</p>'

    def _scores(self, explanation: Explanation) -> tuple[Any, Any]:
        """Return the scores of the words (n_words,), and what they are added to."""
        column = explanation.column(self.name)
        return explanation.scores[:, column], explanation.names[column]


def visible(text: str) -> str:
    """Return a text whose control characters a terminal shows, and does not obey."""
    return "".join(
        each if each.isprintable() or each in "\n\t" else ascii(each)[1:-1]
        for each in text
    )


def _has_colors() -> bool:
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ


def _colored(score: float) -> tuple[str, str]:
    return _ANSI_FOR if score > 0 else _ANSI_AGAINST, _ANSI_END


def _numbered(score: float) -> tuple[str, str]:
    return "", f"[{score:+.2g}]"


def _shortened(word: str) -> str:
    """Return a word as matplotlib shows it as it is, the end of a long one cut."""
    cut = word if len(word) <= _LONGEST_WORD else word[: _LONGEST_WORD - 1] + "…"
    return cut.replace("$", r"\$")


def _joined(explanation: Explanation, marks: list[tuple[str, str]], quote: Any) -> str:
    """Return the text, or the texts of a row, with something around each word."""
    text = explanation.text
    row = (text,) if isinstance(text, str) else text
    parts: list[list[str]] = [[] for _ in row]
    done = [0] * len(row)
    for (i, start, end), (before, after) in zip(explanation.spans, marks, strict=True):
        parts[i] += [quote(row[i][done[i] : start]), before]
        parts[i] += [quote(row[i][start:end]), after]
        done[i] = end
    ends = [quote(own[place:]) for own, place in zip(row, done, strict=True)]
    return " | ".join(
        "".join([*own, end]) for own, end in zip(parts, ends, strict=True)
    )
