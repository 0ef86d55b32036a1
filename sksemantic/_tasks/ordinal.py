"""One of several ordered classes for each text."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from scipy.special import expit, log_expit
from torch.nn import functional as F

from sksemantic._inputs.label_values import is_in_order, positions
from sksemantic._inputs.targets import as_array
from sksemantic._tasks.base import Task, log_odds
from sksemantic._tasks.classification import ClassifierTask
from sksemantic._tasks.linear_probe import LinearProbe, ProbeFitter, ProbeRows

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor


class Ordinal(ClassifierTask, name="ordinal"):
    """Classification over ordered classes: K = n_classes - 1 conditional steps.

    Output k is the log-odds of a class above the k-th, given that it is not below it
    (CORN: Shi, Cao & Raschka 2021, arXiv 2111.08851).

    Parameters
    ----------
    classes : ndarray of shape (n_classes,)
        Labels, sorted.
    ranks : ndarray of shape (n_classes,)
        The place of each class in the order.
    """

    loss_names = ("mean distance in classes", "log-loss")
    skorch_kind = "labels"
    can_contrast_first = True

    def __init__(self, classes: "NDArray", ranks: "NDArray") -> None:
        super().__init__(classes)
        self.ranks = ranks
        self.n_outputs = len(classes) - 1

    @classmethod
    def from_parameter(cls, classes: "NDArray", ordinal: Any) -> Self:
        """Return the task of the `ordinal` parameter: True, or the classes in order.

        Raises
        ------
        ValueError
            If `ordinal` does not say what order the classes have.
        """
        return cls(classes, _ranks(classes, ordinal))

    def encode(self, y: "NDArray") -> "NDArray":
        """Return ranks (n,) of labels (n,)."""
        return self.ranks[super().encode(y)]

    def output_names(self) -> list[Any]:
        """Return which classes are beyond each step."""
        return [f"{name} or above" for name in self.in_order[1:].tolist()]

    def shown_outputs(self, outputs: "NDArray") -> "NDArray":
        """Return the step to the predicted class; of the lowest class the first."""
        return np.maximum(self.encode(self.predict(outputs)) - 1, 0)

    @property
    def in_order(self) -> "NDArray":
        """The classes in their order (n_classes,), as objects."""
        return self.classes[np.argsort(self.ranks)].astype(object)

    def check_goes_on_from(self, former: Task) -> None:
        """Refuse fewer classes, and another order of those there were."""
        super().check_goes_on_from(former)
        assert isinstance(former, Ordinal)
        if not is_in_order(former.in_order, self.in_order):
            raise ValueError(
                "The 'ordinal' parameter must give the classes the order that they had "
                f"in the fit before, {former.in_order.tolist()}. Got "
                f"{self.in_order.tolist()} instead. To start afresh, call fit with "
                "warm_start=False."
            )

    def former_outputs(self, former: Task) -> "NDArray":
        """Return which step each one was; -1 for a new one.

        The step out of a class is the same whatever classes are above it: it asks
        whether a text is above the class, if it is not below. The former highest class
        had none.
        """
        assert isinstance(former, Ordinal)
        return positions(self.in_order[:-1], former.in_order[:-1])

    def loss(self, scores: "Tensor", targets: "Tensor") -> "Tensor":
        """Return the negative log-likelihood of the class."""
        steps = torch.arange(self.n_outputs, device=scores.device)
        is_above = (targets[:, None] > steps).to(scores.dtype)
        each = F.binary_cross_entropy_with_logits(scores, is_above, reduction="none")
        return (each * (targets[:, None] >= steps)).sum(dim=1)

    def losses(self, scores: "NDArray", targets: "NDArray") -> "NDArray":
        """Return the distance in classes, and the log-loss."""
        distance = np.abs(_median_ranks(scores) - targets)
        return np.stack([distance, self.log_losses(scores, targets)], axis=1)

    def log_losses(self, scores: "NDArray", targets: "NDArray") -> "NDArray":
        """Return the log-loss of each row (n,)."""
        return -_log_probabilities(scores)[np.arange(len(targets)), targets]

    def fit_linear_probe(
        self,
        fitter: ProbeFitter,
        rows: ProbeRows,
        penalty: float | None = None,
        prior: "NDArray | LinearProbe | None" = None,
    ) -> LinearProbe:
        """Fit one logistic regression for each step."""
        steps, ranks = np.arange(self.n_outputs), rows.y[:, None]
        is_above = np.where(ranks >= steps, ranks > steps, np.nan)
        return fitter.fit_each_logistic(replace(rows, y=is_above), penalty)

    def strata(self, targets: "NDArray", n_texts: int) -> "NDArray":
        """Return the ranks themselves."""
        return targets

    def initial_bias(self, targets: "NDArray", weights: "NDArray") -> "NDArray":
        """Return each step's log-odds."""
        steps = np.arange(self.n_outputs)
        counts = weights[:, None] * (targets[:, None] >= steps)
        return log_odds(targets[:, None] > steps, counts)

    def predict(self, scores: "NDArray", threshold: Any = 0.5) -> "NDArray":
        """Return the median classes (n,), which have the least expected distance."""
        return self.classes[np.argsort(self.ranks)[_median_ranks(scores)]]

    def log_probabilities(self, scores: "NDArray") -> "NDArray":
        """Return log-probabilities (n, n_classes)."""
        return _log_probabilities(scores)[:, self.ranks]

    def logits(self, scores: "NDArray") -> "NDArray":
        """Return log-odds (n,) of the second of two classes, else log-probabilities."""
        return super().logits(self.log_probabilities(scores))

    def to_state(self) -> dict[str, Any]:
        """Return classes and ranks."""
        return super().to_state() | {"ranks": self.ranks}


def _median_ranks(scores: "NDArray") -> "NDArray":
    return (np.cumprod(expit(scores), axis=1) > 0.5).sum(axis=1)


def _log_probabilities(scores: "NDArray") -> "NDArray":
    """Return the log-probability of each rank (n, n_classes)."""
    reached = np.cumsum(log_expit(scores), axis=1)  # (n, K)
    zeros = np.zeros((len(scores), 1))
    stays = np.hstack([log_expit(-scores), zeros])
    return np.hstack([zeros, reached]) + stays


def _ranks(classes: "NDArray", ordinal: Any) -> "NDArray":
    """Return the rank of each class."""
    if isinstance(ordinal, bool | np.bool_):
        if classes.dtype.kind not in "biuf":
            raise ValueError(
                "The 'ordinal' parameter must list the classes in their order if "
                f"they are no numbers: ordinal={classes.tolist()!r}, put in order. "
                f"Got {ordinal!r} instead."
            )
        return np.arange(len(classes))
    order = as_array(ordinal)
    order = order if classes.dtype == object else np.array(order.tolist())
    places = positions(order, classes) if order.ndim == 1 else np.zeros(0)
    places = places[places >= 0]  # a fold may lack a class
    if not np.array_equal(np.sort(places), np.arange(len(classes))):
        raise ValueError(
            "The 'ordinal' parameter must list every class of y once: "
            f"{classes.tolist()}. Got {order.tolist()} instead."
        )
    return np.argsort(places)
