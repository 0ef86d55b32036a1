"""The user's prompt: the text before the `{text}` slot and the text after it."""

from dataclasses import dataclass
from string import Formatter

_REMEDY = (
    "Write a plain text such as 'Classify the sentiment.', or put one {text} slot "
    "where each text belongs, such as 'Review: {text}\\nOverall, it was'. "
    "Literal braces are doubled: '{{' and '}}'."
)


@dataclass(frozen=True)
class Prompt:
    """A parsed prompt.

    `before` is what the backbone reads once (the semantic prefix or soft prompt),
    `after` is appended to every text.
    """

    before: str
    after: str = ""
    has_slot: bool = False

    @classmethod
    def parse(cls, template: str) -> "Prompt":
        """Split a template at its `{text}` slot; raise ValueError if it has another."""
        fields, literals = _split(template)
        if len(fields) > 1 or any(field != "text" for field in fields):
            shown = ", ".join("{" + field + "}" for field in fields)
            raise ValueError(
                "The 'prompt' parameter may contain at most one slot, and only "
                f"{{text}}. Got {shown} in {template!r} instead. {_REMEDY}"
            )
        before, after = literals[0], literals[1] if fields else ""
        if not (before + after).strip():
            raise ValueError(
                f"The 'prompt' parameter must contain some text besides its slot. "
                f"Got {template!r} instead. {_REMEDY}"
            )
        return cls(before, after, has_slot=bool(fields))


def _split(template: str) -> tuple[list[str], list[str]]:
    """Return the field names of a format string and the literals around them."""
    fields: list[str] = []
    literals = [""]
    try:
        parts = list(Formatter().parse(template))
    except ValueError as exc:
        raise ValueError(
            f"The 'prompt' parameter is not a valid template ({exc}). "
            f"Got {template!r} instead. {_REMEDY}"
        ) from exc
    for literal, field, spec, conversion in parts:
        literals[-1] += literal
        if field is not None:
            extra = (f"!{conversion}" if conversion else "") + (
                f":{spec}" if spec else ""
            )
            fields.append(field + extra)
            literals.append("")
    return fields, literals
