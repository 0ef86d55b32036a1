"""Predictions of many estimators at once."""

from collections.abc import Iterable
from typing import Any

from sklearn.exceptions import NotFittedError

from sksemantic._base import BaseSKTuning
from sksemantic._model.mixed import compute_scores_of_many
from sksemantic._prediction import Prediction


def predict_many(requests: "Iterable[tuple[Any, Any]]") -> list[Any]:
    """Predict with many estimators, those on one backbone by common batches.

    The frozen layers run once for a batch of texts of any of the estimators: each text
    is read behind the prefix of its own. Many estimators with a few texts each take
    about as long as one estimator with all of the texts.

    Parameters
    ----------
    requests : iterable of (estimator, X)
        Fitted classifiers, regressors and taggers, in any mixture, and what the
        `predict` of each takes. An estimator may come several times.

    Returns
    -------
    list of ndarray
        For each request what `estimator.predict(X)` returns, up to rounding.

    Raises
    ------
    TypeError, ValueError
        If a request is no pair, its estimator is none of this package or not fitted, or
        its X is invalid. The message begins with its place; nothing has been run.

    Examples
    --------
    >>> labels, scores = predict_many([(clf, texts), (reg, others)])  # doctest: +SKIP
    """
    return _answers("predict", requests)


def predict_proba_many(requests: "Iterable[tuple[Any, Any]]") -> list[Any]:
    """Return probabilities of many classifiers and taggers, by common batches.

    Parameters
    ----------
    requests : iterable of (estimator, X)
        As for `predict_many`, but without regressors.

    Returns
    -------
    list of ndarray
        For each request what `estimator.predict_proba(X)` returns, up to rounding.

    Raises
    ------
    TypeError, ValueError
        As by `predict_many`.
    """
    return _answers("predict_proba", requests)


def _answers(method: str, requests: "Iterable[tuple[Any, Any]]") -> list[Any]:
    """Check all requests, read their texts together, and return the answers."""
    is_pair = isinstance(requests, tuple) and any(
        isinstance(each, BaseSKTuning) for each in requests
    )
    if is_pair or not isinstance(requests, Iterable):
        raise TypeError(
            "requests must be a list of pairs of a fitted estimator and texts, "
            f"[(estimator, X), ...]. Got {type(requests).__name__} instead."
        )
    predictions = [
        _prepare(method, place, request) for place, request in enumerate(requests)
    ]
    scores = compute_scores_of_many([(each.module, each.data) for each in predictions])
    return [
        prediction.answer_of(rows)
        for prediction, rows in zip(predictions, scores, strict=True)
    ]


def _prepare(method: str, place: int, request: Any) -> Prediction:
    """Check and tokenise the texts of a request."""
    where = f"requests[{place}]"
    if not isinstance(request, tuple | list) or len(request) != 2:
        raise TypeError(
            f"{where} must be a pair of a fitted estimator and texts, "
            f"(estimator, X). Got {type(request).__name__} instead."
        )
    estimator, X = request
    if not isinstance(estimator, BaseSKTuning) or not hasattr(estimator, method):
        raise TypeError(
            f"{where} must begin with a fitted estimator of sksemantic that has "
            f"{method}. Got {type(estimator).__name__} instead."
        )
    try:
        return estimator._prepare_prediction(method, X)
    except Exception as exc:
        if type(exc) in (TypeError, ValueError, NotFittedError):
            raise type(exc)(f"{where}: {exc}") from exc
        exc.add_note(f"This was {where}.")
        raise
