"""What holds the models and reads the texts, in a process or thread of its own."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from sksemantic._base import BaseSKTuning
from sksemantic._classifier import SKTuningClassifier
from sksemantic._inputs.words import split_words
from sksemantic._model.mixed import compute_scores_of_many
from sksemantic._prediction import Prediction
from sksemantic._regressor import SKTuningRegressor
from sksemantic._saved import load_estimator
from sksemantic._serving.messages import (
    EXPLAIN,
    LOG,
    MOST_WORDS,
    PREDICT,
    PREDICT_PROBA,
    Answer,
    Job,
    ModelFacts,
)
from sksemantic._token_classifier import SKTuningTokenClassifier
from sksemantic.exceptions import BackboneNotFoundError

_KINDS: dict[type, str] = {
    SKTuningClassifier: "classifier",
    SKTuningRegressor: "regressor",
    SKTuningTokenClassifier: "token classifier",
}


def _loaded(source: Any, device: str | None, backbone: str | None) -> BaseSKTuning:
    """Return a fitted estimator, as it is or from its directory or hub id.

    `backbone` says where the backbone is, if it is not found otherwise.
    """
    if isinstance(source, BaseSKTuning):
        return source
    try:
        return load_estimator(source, device=device)
    except BackboneNotFoundError:
        if backbone is None:
            raise
    return load_estimator(source, device=device, model=backbone)


class Worker:
    """Fitted estimators by their names."""

    def __init__(self) -> None:
        self._models: dict[str, BaseSKTuning] = {}

    def load(
        self, name: str, source: Any, device: str | None, backbone: str | None
    ) -> ModelFacts:
        """Take a model in, in place of one of the same name; run it once."""
        estimator = _loaded(source, device, backbone).set_params(verbose=0)
        facts = _facts(name, estimator)
        text: Any = "" if facts.n_texts == 1 else ("",) * facts.n_texts
        if facts.kind == "token classifier":
            text = ["a"]
        estimator.predict([text])  # what is loaded at the first call is loaded now
        self._models[name] = estimator
        return facts

    def ping(self) -> None:
        """Do nothing: whoever asks learns that this process lives."""

    def drop(self, name: str) -> None:
        """Forget a model."""
        self._models.pop(name, None)

    def run(self, jobs: Sequence[Job]) -> list[Answer]:
        """Answer all jobs: predictions by common batches, explanations one by one.

        What is wrong with one job does not touch the others.
        """
        answers: list[Answer | None] = [None] * len(jobs)
        prepared: dict[int, Prediction] = {}
        for i, job in enumerate(jobs):
            estimator = self._models.get(job.model)
            if estimator is None:  # it has been dropped meanwhile
                detail = f"There is no model {job.model!r}."
                answers[i] = Answer(status=404, detail=detail)
                continue
            try:
                X = _rows(estimator, job.texts)
                if job.method == EXPLAIN:
                    answers[i] = _explained(estimator, X)
                else:
                    prepared[i] = estimator._prepare_prediction(job.method, X)
            except Exception as exc:
                answers[i] = _failed(exc)
        for i, answer in zip(prepared, _answered([*prepared.values()]), strict=True):
            answers[i] = answer
        return [answer or Answer(status=500) for answer in answers]


def _answered(predictions: list[Prediction]) -> list[Answer]:
    """Return what is made of each prediction; if all together fail, of each alone."""
    try:
        requests = [(each.module, each.data) for each in predictions]
        scores = compute_scores_of_many(requests)
    except Exception as exc:
        if len(predictions) == 1:
            return [_failed(exc, is_ours=True)]
        return [_answered([each])[0] for each in predictions]
    found = []
    for prediction, rows in zip(predictions, scores, strict=True):
        try:
            found.append(Answer(_in_json(prediction.answer_of(rows))))
        except Exception as exc:
            found.append(_failed(exc, is_ours=True))
    return found


def _failed(error: Exception, *, is_ours: bool = False) -> Answer:
    """Return the answer that an error gives: invalid texts are the client's."""
    if isinstance(error, TypeError | ValueError) and not is_ours:
        return Answer(status=400, detail=str(error))
    LOG.error("A request failed.", exc_info=error)
    return Answer(status=500, detail=f"{type(error).__name__}: {error}")


def _rows(estimator: BaseSKTuning, texts: list[Any]) -> list[Any]:
    """Return X: several texts of a row are a tuple, words of a text are a list."""
    if isinstance(estimator, SKTuningTokenClassifier):
        return texts
    return [tuple(text) if isinstance(text, list) else text for text in texts]


def _explained(estimator: Any, X: list[Any]) -> Answer:
    """Return each text's words, and what each has to do with each class."""
    rows = [row if isinstance(row, tuple) else (row,) for row in X]
    if sum(len(split_words(text)) for row in rows for text in row) > MOST_WORDS:
        detail = f"An explanation may have {MOST_WORDS} words and signs at most."
        return Answer(status=413, detail=detail)
    found = [
        {
            "words": each.words,
            "scores": each.scores.tolist(),
            "names": _in_json(each.names),
            "column": each.column(),
            "prediction": _in_json(each.prediction),
            "method": each.method,
        }
        for each in estimator.explain(X)
    ]
    return Answer(found)


def _facts(name: str, estimator: Any) -> ModelFacts:
    """Return what is told of a fitted estimator."""
    config = estimator._model.config.model
    kind = _KINDS[type(estimator)]
    classes = getattr(estimator, "classes_", None)
    methods = [PREDICT, PREDICT_PROBA, EXPLAIN]
    return ModelFacts(
        name,
        kind,
        None if classes is None else _in_json(classes),
        config.n_texts,
        config.backbone.source.name,
        config.prompt,
        [method for method in methods if hasattr(estimator, method)],
    )


def _in_json(value: Any) -> Any:
    """Return numbers, strings and lists; anything else as a string."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_in_json(each) for each in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return str(value)
