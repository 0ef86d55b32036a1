"""What the server and its worker tell each other."""

import logging
from dataclasses import dataclass
from typing import Any

LOG = logging.getLogger("sksemantic.serve")
PREDICT, PREDICT_PROBA, EXPLAIN = "predict", "predict_proba", "explain"
MOST_WORDS = 300  # of a request to explain: the text is read again for each of them


@dataclass(frozen=True)
class Job:
    """What one request asks of one model."""

    model: str
    method: str
    texts: list[Any]


@dataclass(frozen=True)
class Answer:
    """What a method returned, in JSON's types; or a status and what went wrong."""

    value: Any = None
    status: int = 200
    detail: str = ""


@dataclass(frozen=True)
class ModelFacts:
    """What is told of a model.

    Attributes
    ----------
    name : str
    kind : str
        "classifier", "regressor" or "token classifier".
    classes : list or None
        As JSON has them.
    n_texts : int
        Of each row.
    backbone, prompt : str
    methods : list of str
        Which of "predict", "predict_proba" and "explain" it has.
    """

    name: str
    kind: str
    classes: list[Any] | None
    n_texts: int
    backbone: str
    prompt: str
    methods: list[str]
