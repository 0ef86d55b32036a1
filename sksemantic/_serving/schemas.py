"""What requests and answers look like."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, StrictStr, field_validator

_MOST_CHARACTERS = 100  # of a name
_TEXT: dict[str, Any] = {"type": "string"}
_TEXTS: dict[str, Any] = {"type": "array", "items": _TEXT}


class Texts(BaseModel):
    """Texts for one model."""

    model_config = ConfigDict(extra="forbid")

    model: StrictStr | None = Field(
        None, description="Its name; may be left out if there is one model."
    )
    texts: list[Any] = Field(
        description="Each a string; several texts of a row, or the words of a text for "
        "a token classifier, as a list of strings.",
        min_length=1,
        json_schema_extra={"items": {"anyOf": [_TEXT, _TEXTS]}},
    )

    @field_validator("texts")
    @classmethod
    def check_texts(cls, texts: list[Any]) -> list[Any]:
        """Refuse the first that is no text: a million wrong ones are one error."""
        for i, text in enumerate(texts):
            words = text if isinstance(text, list) else [text]
            wrong = [type(x).__name__ for x in words if not isinstance(x, str)]
            if wrong:
                raise ValueError(
                    f"texts[{i}] must be a string, or a list of strings. Got "
                    f"{wrong[0]} instead."
                )
        return texts


class Predictions(BaseModel):
    """What `predict` returns."""

    model: str
    predictions: list[Any]


class Probabilities(BaseModel):
    """What `predict_proba` returns; columns are in the order of the classes."""

    model: str
    classes: list[Any]
    probabilities: list[Any]


class WordScores(BaseModel):
    """The words of a text, and what each has to do with each class."""

    words: list[str]
    scores: list[list[float]]
    names: list[Any]
    column: int = Field(description="Which of the names is about the prediction.")
    prediction: Any
    method: str = Field(description="How the scores were computed.")


class Explanations(BaseModel):
    """What `explain` returns."""

    model: str
    explanations: list[WordScores]


class Refusal(BaseModel):
    """What is wrong with a request, or with the server."""

    detail: str


class Place(BaseModel):
    """A saved model in the server's folder of models."""

    model_config = ConfigDict(extra="forbid")

    name: StrictStr
    directory: StrictStr = Field(description="Relative to the folder of models.")

    @field_validator("name")
    @classmethod
    def check_name(cls, name: str) -> str:
        """Refuse what cannot stand in an address."""
        if not is_name(name):
            raise ValueError(f"name must be {NAME_RULE}")
        return name


NAME_RULE = "1 to 100 printable characters without '/', and not '.' or '..'"


def is_name(name: Any) -> bool:
    """Whether a model may be called so."""
    return (
        isinstance(name, str)
        and 0 < len(name) <= _MOST_CHARACTERS
        and name.isprintable()
        and "/" not in name
        and name not in (".", "..")
    )
