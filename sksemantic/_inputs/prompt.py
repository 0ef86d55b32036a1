"""The user's prompt: literal text, and slots for the texts of a row."""

from dataclasses import dataclass
from string import Formatter
from typing import TYPE_CHECKING

from sksemantic._inputs.columns import refuse_surrogates

if TYPE_CHECKING:
    from sksemantic._backbone.backbone import Backbone

TEXT = "text"  # the slot of the only text of a row
_REMEDY = (
    "Write a plain text such as 'Classify the sentiment.', or put the {text} slot "
    "where each text belongs, such as 'Review: {text}\\nOverall, it was'. Several "
    "columns go into slots by name or position, such as '{premise} ... {hypothesis}' "
    "or '{0} ... {1}'. Literal braces are doubled: '{{' and '}}'."
)
_OTHER_COLUMNS = (
    "Columns that are not texts go into a tabular model, beside the scores that "
    "CrossFittedScores makes of the texts, with a ColumnTransformer."
)


@dataclass(frozen=True)
class Prompt:
    """A parsed prompt: the names of its slots, and the literals around them.

    There is one literal more than there are slots. The first is what the backbone reads
    once, as semantic prefix or soft prompt. The others are put around the texts.
    """

    literals: tuple[str, ...]
    fields: tuple[str, ...] = ()

    @classmethod
    def parse(cls, template: str) -> "Prompt":
        """Split a template at its slots.

        Refuse what is no template, has a slot twice, or no text besides its slots.
        """
        refuse_surrogates(template, "the 'prompt' parameter")
        fields, literals = _split(template)
        twice = sorted({field for field in fields if fields.count(field) > 1})
        if twice or not all(fields):
            problem = "twice" if twice else "without a name"
            raise ValueError(
                f"The 'prompt' parameter has a slot {problem}: "
                f"{_shown(twice or [''])} in {template!r}. {_REMEDY}"
            )
        if not "".join(literals).strip():
            raise ValueError(
                "The 'prompt' parameter must contain some text besides its slots. "
                f"Got {template!r} instead. {_REMEDY}"
            )
        return cls(tuple(literals), tuple(fields))

    def __str__(self) -> str:
        """Return the template that it was parsed from."""
        doubled = [each.replace("{", "{{").replace("}", "}}") for each in self.literals]
        slots = [*("{" + field + "}" for field in self.fields), ""]
        return "".join(map("".join, zip(doubled, slots, strict=True)))

    @property
    def has_slots(self) -> bool:
        """Whether texts go into slots, instead of after the prompt."""
        return bool(self.fields)

    def columns(self, n_columns: int, names: tuple[str, ...] | None) -> list[int]:
        """Return which column goes into which slot; without slots, all in order.

        `names` are those of the columns, if X is a table with named columns. Refuse
        columns that do not match the slots.
        """
        if not self.fields:
            if n_columns > 2:
                listed = f" ({', '.join(map(repr, names))})" if names else ""
                raise ValueError(
                    f"X has {n_columns} columns{listed}; with a 'prompt' "
                    "without slots it may have one text a row, or a pair of texts. "
                    "Select the text column, for example X['text'], or name the "
                    "columns in slots of the prompt, such as '{a} ... {b} ... {c}'. "
                    f"{_OTHER_COLUMNS}"
                )
            return list(range(n_columns))
        if self.fields == (TEXT,) and n_columns == 1:
            return [0]
        chosen = [self._column(field, n_columns, names) for field in self.fields]
        unused = sorted(set(range(n_columns)) - set(chosen))
        if unused:
            called = [names[i] if names else str(i) for i in unused]
            raise ValueError(
                f"The 'prompt' parameter has no slot for column(s) {_shown(called)} "
                f"of X. Put them into the prompt, or pass X without them. "
                f"{_OTHER_COLUMNS}"
            )
        return chosen

    def _column(self, field: str, n_columns: int, names: tuple[str, ...] | None) -> int:
        if names is not None and field in names:
            return names.index(field)
        if field.isdecimal() and int(field) < n_columns:
            return int(field)
        if n_columns == 1 and names is None:
            expected = "X holds one text a row: its slot is {text}."
        else:
            called = list(names or map(str, range(n_columns)))
            expected = f"X has the columns {_shown(called)}."
        raise ValueError(
            f"The 'prompt' parameter has the slot {_shown([field])}, but X has no such "
            f"column. {expected}"
        )


def _shown(fields: list[str]) -> str:
    return ", ".join("{" + field + "}" for field in fields)


def _split(template: str) -> tuple[list[str], list[str]]:
    """Return the field names of a format string and the literals around them."""
    fields: list[str] = []
    literals = [""]
    try:
        pieces = list(Formatter().parse(template))
    except ValueError as exc:
        raise ValueError(
            f"The 'prompt' parameter is not a valid template ({exc}). "
            f"Got {template!r} instead. {_REMEDY}"
        ) from exc
    for literal, field, spec, conversion in pieces:
        literals[-1] += literal
        if field is None:
            continue
        if spec or conversion:
            raise ValueError(
                "The 'prompt' parameter must not format its slots. Got "
                f"{{{field}{'!' + conversion if conversion else ''}"
                f"{':' + spec if spec else ''}}} in {template!r} instead. {_REMEDY}"
            )
        fields.append(field)
        literals.append("")
    return fields, literals


def split_spaces(
    prompt: Prompt, backbone: "Backbone", n_texts: int
) -> tuple[list[str], list[str]]:
    """Return what comes around the texts, and the space that each text starts with.

    Backbones were trained on words that start with their space, so a single space at
    the end of a literal moves to the text after it. A prompt without slots, and every
    text but the last, ends with a line break.
    """
    literals = list(prompt.literals)
    spaces = [""] * n_texts
    if not prompt.has_slots:
        literals += ["\n"] * (n_texts - 1) + [""]
        if backbone.is_causal and not literals[0][-1:].isspace():
            literals[0] += "\n"
            return literals, spaces
    for i, literal in enumerate(literals[:-1]):
        if literal.endswith(" ") and not literal.endswith("  "):
            literals[i], spaces[i] = literal[:-1], " "
    if not backbone.is_causal:  # it reads prompt and text as two sequences
        literals[0], spaces[0] = prompt.literals[0].strip(), ""
    return literals, spaces
