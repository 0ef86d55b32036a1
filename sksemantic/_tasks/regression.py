"""A number, or several, for each text."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from torch.nn import functional as F

from sksemantic._tasks.base import Task
from sksemantic._tasks.linear_probe import LinearProbe, ProbeFitter, ProbeRows

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

HUBER_DELTA = 1.35  # of standardised targets: 95 % as efficient as the mean (Huber)
_LARGEST_TARGET = 1e15  # standardised; its square has to be finite in float32
_SMALLEST_ERROR = 1e-3  # of standardised targets: keeps the reweighting finite
_NORMAL_MAD = 1.4826  # standard deviation over median absolute deviation, if normal


class Regression(Task, name="regression"):
    """Regression of standardised targets.

    Parameters
    ----------
    center, scale : ndarray of shape (n_targets,)
        What is subtracted from each target, and what it is then divided by.
    is_multi_output : bool
        Whether y is a table.
    loss : {"squared_error", "huber", "absolute_error", "quantile"}
    quantile : float
        Which one, for the "quantile" loss.
    """

    loss_names = ("loss of the standardised targets",)
    skorch_kind = "numbers"

    def __init__(
        self,
        center: "NDArray",
        scale: "NDArray",
        is_multi_output: bool = False,
        loss: str = "squared_error",
        quantile: float = 0.5,
    ) -> None:
        self.center = center
        self.scale = scale
        self.is_multi_output = is_multi_output
        self.n_outputs = len(center)
        self.loss_name = loss
        self.quantile = quantile if loss == "quantile" else 0.5

    @classmethod
    def from_targets(
        cls, y: "NDArray", weights: "NDArray | None", loss: str, quantile: float
    ) -> Self:
        """Take centre and scale from the targets (n,) or (n, n_targets).

        Those of robust losses are median and median absolute deviation.
        """
        location = _mean if loss == "squared_error" else _median
        columns = y.reshape(len(y), -1).T
        center, scale = np.array([location(column, weights) for column in columns]).T
        return cls(center, scale, y.ndim == 2, loss, quantile)

    def encode(self, y: "NDArray") -> "NDArray":
        """Return standardised targets, float32, of y's shape."""
        columns = y.reshape(len(y), -1)  # (n, n_targets)
        if columns.shape[1] != self.n_outputs:
            raise ValueError(
                f"y has {columns.shape[1]} target(s), but this SKTuningRegressor was "
                f"fitted with {self.n_outputs}."
            )
        standardised = (columns - self.center) / self.scale
        row, column = np.unravel_index(np.abs(standardised).argmax(), columns.shape)
        if abs(standardised[row, column]) > _LARGEST_TARGET:
            raise ValueError(
                f"y must not be further than {_LARGEST_TARGET:g} times the spread "
                f"({self.scale[column]:g}) from the median ({self.center[column]:g}): "
                "training in float32 cannot tell the others apart. Got "
                f"{columns[row, column]:g} in row {row} instead."
            )
        return standardised.reshape(y.shape).astype(np.float32)

    def check_goes_on_from(self, former: Task) -> None:
        """Refuse another number of targets."""
        if self.n_outputs != former.n_outputs:
            raise ValueError(
                f"y has {self.n_outputs} target(s), but this SKTuningRegressor was "
                f"fitted with {former.n_outputs}."
            )

    def loss(self, scores: "Tensor", targets: "Tensor") -> "Tensor":
        """Return the chosen loss, averaged over the targets."""
        errors = targets.reshape(scores.shape) - scores
        if self.loss_name == "squared_error":
            each = errors.square()
        elif self.loss_name == "huber":
            zeros = torch.zeros_like(errors)
            each = F.huber_loss(errors, zeros, reduction="none", delta=HUBER_DELTA)
        else:
            each = torch.maximum(self.quantile * errors, (self.quantile - 1) * errors)
        return each.mean(dim=1)

    def losses(self, scores: "NDArray", targets: "NDArray") -> "NDArray":
        """Return the chosen loss (n, 1)."""
        with torch.no_grad():
            each = self.loss(
                torch.as_tensor(scores, dtype=torch.float64),
                torch.as_tensor(targets, dtype=torch.float64),
            )
        return each.numpy()[:, None]

    def fit_linear_probe(
        self,
        fitter: ProbeFitter,
        rows: ProbeRows,
        penalty: float | None = None,
        prior: "NDArray | LinearProbe | None" = None,
    ) -> LinearProbe:
        """Fit ridge regression."""
        rows = replace(rows, y=rows.y.reshape(len(rows.y), self.n_outputs))
        reweigh = None if self.loss_name == "squared_error" else self._reweigh
        return fitter.fit_ridge(rows, penalty, reweigh)

    def predict(self, scores: "NDArray") -> "NDArray":
        """Return predictions in the units of y, (n,) or (n, n_targets)."""
        predictions = scores * self.scale + self.center
        return predictions if self.is_multi_output else predictions[:, 0]

    def output_names(self) -> list[Any]:
        """Return the numbers of the targets, or a name for the only one."""
        return ["number"] if self.n_outputs == 1 else super().output_names()

    def explainable(self, outputs: "NDArray") -> "NDArray":
        """Return differences of predictions in the units of y."""
        return outputs * self.scale

    def to_state(self) -> dict[str, Any]:
        """Return centre, scale and loss."""
        return {
            "center": self.center,
            "scale": self.scale,
            "is_multi_output": self.is_multi_output,
            "loss": self.loss_name,
            "quantile": self.quantile,
        }

    def _reweigh(self, errors: "NDArray") -> "NDArray":
        """Return the weights that turn squared errors into the chosen loss.

        Iteratively reweighted least squares: half the loss's slope over the error.
        """
        size = np.maximum(np.abs(errors), _SMALLEST_ERROR)
        if self.loss_name == "huber":
            return np.minimum(1.0, HUBER_DELTA / size)
        return np.where(errors > 0, self.quantile, 1 - self.quantile) / size


def _mean(values: "NDArray", weights: "NDArray | None") -> tuple[float, float]:
    """Return mean and standard deviation, 1 if that is 0."""
    mean = np.average(values, weights=weights)
    spread = np.sqrt(np.average(np.square(values - mean), weights=weights))
    return float(mean), float(spread) or 1.0


def _median(values: "NDArray", weights: "NDArray | None") -> tuple[float, float]:
    """Return the median and a scale that outliers do not move.

    The scale is that of a normal distribution with the same median absolute deviation.
    """
    if weights is not None:
        values = values[weights > 0]
    median = float(np.median(values))
    deviations = np.abs(values - median)
    spread = np.median(deviations)
    if spread == 0 and deviations.any():  # of more than half that are equal
        spread = np.median(deviations[deviations > 0])
    return median, _NORMAL_MAD * float(spread) or 1.0
