"""Words of texts, coloured by what they add to a class."""

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from sksemantic._displays.drawing import axes_for
from sksemantic._explanation import Explanation

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_FOR, _AGAINST = "34, 139, 84", "214, 69, 65"  # red, green, blue
_ANSI_FOR, _ANSI_AGAINST, _ANSI_END = "\x1b[32m", "\x1b[31m", "\x1b[0m"
_SHOWN_FROM = 0.15  # of the strongest word, in a terminal
_STYLE = (
    "font-family: sans-serif; line-height: 1.8; max-width: 60em; margin: 0 0 0.6em 0"
)


@dataclass(eq=False)
class TokenAttributionDisplay:
    """Texts whose words are coloured by what they add to a class.

    Made by `from_estimator`. The last expression of a notebook's cell shows it as HTML,
    `print` in a terminal's colours; `plot` draws the words of one text as bars.

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
        ValueError
            If the estimator has no class of this name.
        """
        explanations = estimator.explain(X, **kwargs)
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
        """
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
        words = [explanation.words[j].replace("$", r"\$") for j in strongest]
        ax.set_yticks(places, words)
        ax.invert_yaxis()
        ax.axvline(0, color="0.4", linewidth=0.8)
        ax.set_xlabel(f"added to {name}")
        return self

    def _repr_html_(self) -> str:
        largest = max(
            [
                float(np.abs(self._scores(each)[0]).max(initial=0))
                for each in self.explanations
            ],
            default=0,
        )
        return "\n".join(
            self._paragraph(each, largest or 1.0) for each in self.explanations
        )

    def __str__(self) -> str:
        """Return the texts with the strongest words in a terminal's colours."""
        lines = []
        for explanation in self.explanations:
            scores, name = self._scores(explanation)
            least = _SHOWN_FROM * np.abs(scores).max(initial=0)
            marks = [
                ("", "")
                if abs(score) < least or score == 0
                else (_ANSI_FOR if score > 0 else _ANSI_AGAINST, _ANSI_END)
                for score in scores
            ]
            lines.append(f"{name}: {_joined(explanation, marks, str)}")
        return "\n".join(lines)

    def _paragraph(self, explanation: Explanation, largest: float) -> str:
        scores, name = self._scores(explanation)
        marks = []
        for score in scores:
            strength = min(1.0, abs(score) / largest)
            color = _FOR if score > 0 else _AGAINST
            style = f"background: rgba({color}, {0.75 * strength:.2f})"
            marks.append((f'<span style="{style}" title="{score:+.3f}">', "</span>"))
        shown = _joined(explanation, marks, escape)
        return f'<p style="{_STYLE}"><b>{escape(str(name))}</b>: {shown}</p>'

    def _scores(self, explanation: Explanation) -> tuple[Any, Any]:
        """Return the scores of the words (n_words,), and what they are added to."""
        column = explanation.column(self.name)
        return explanation.scores[:, column], explanation.names[column]


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
