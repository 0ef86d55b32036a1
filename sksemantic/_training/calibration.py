"""One temperature for all probabilities.

C. Guo et al., "On calibration of modern neural networks", ICML 2017, section 4.2.

It is fitted on held-out texts at the moment of the comparison. These texts may then
join the training, in which the scores grow: by how much is measured on other texts, of
those that are trained on before and afterwards.
"""

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.optimize import minimize_scalar

from sksemantic._model.inference import compute_scores
from sksemantic._tasks.classification import ClassifierTask
from sksemantic._training.process_group import processes_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sksemantic._inputs.dataset import TextDataset
    from sksemantic._model.module import SemanticModule
    from sksemantic._tasks.base import Task
    from sksemantic._training.config import TrainingConfig

_LOG_TEMPERATURES = -2.0, 4.0  # bounds of the search: 0.14 to 55


class Calibration:
    """Follows how the scores of some training texts grow.

    `texts` are drawn from those that are trained on from the first epoch to the last.
    """

    def __init__(
        self, task: "Task", config: "TrainingConfig", train: "TextDataset"
    ) -> None:
        self._task = task
        self._config = config
        n_texts = min(len(train), config.max_calibration_texts)
        chosen = np.linspace(0, len(train) - 1, n_texts).astype(int)
        self._texts = train.take(chosen)
        self._held_out: tuple[NDArray, TextDataset] | None = None
        self._size = float("nan")

    def compare(
        self, module: "SemanticModule", scores: "NDArray", held_out: "TextDataset"
    ) -> None:
        """Note the scores (n, K) of the held-out texts, none of them trained on."""
        if not isinstance(self._task, ClassifierTask):
            return
        self._held_out = scores, held_out
        self._size = self._size_of_scores(module)

    def to_state(self) -> dict[str, Any]:
        """Return what was noted, for another run of the same fit."""
        scores = None if self._held_out is None else self._held_out[0]
        return {"scores": scores, "size": self._size}

    def restore(self, state: dict[str, Any], held_out: "TextDataset") -> None:
        """Take over what an earlier run has noted of these texts."""
        self._size = state["size"]
        if state["scores"] is not None:
            self._held_out = state["scores"], held_out

    def temperature(self, module: "SemanticModule") -> float:
        """Return the temperature of a module that may have been trained since."""
        if self._held_out is None or not isinstance(self._task, ClassifierTask):
            return 1.0
        scores, held_out = self._held_out
        if self._size == 0:  # all texts are empty
            return 1.0
        growth = self._size_of_scores(module) / self._size
        if not (np.isfinite(growth) and growth > 0 and np.isfinite(scores).all()):
            return 1.0
        fitted = fit_temperature(
            self._task,
            growth * scores,
            held_out.targets,
            held_out.row_weights,
            self._config,
        )
        return processes_of(self._config.processes).same(fitted)

    def _size_of_scores(self, module: "SemanticModule") -> float:
        """Return the root mean square of the scores; of classes, around their mean."""
        processes = processes_of(self._config.processes)
        read = partial(compute_scores, module)
        scores = processes.read(read, self._texts).astype(np.float64)
        if self._task.skorch_kind == "classes":
            scores -= scores.mean(axis=1, keepdims=True)
        return float(np.sqrt(np.square(scores).mean()))


def fit_temperature(
    task: ClassifierTask,
    scores: "NDArray",
    targets: "NDArray",
    weights: "NDArray",
    config: "TrainingConfig",
) -> float:
    """Return the temperature with the least log-loss, and near that of the config.

    The squared distance of their logarithms counts as well: with few held-out texts, of
    which hardly any is wrong, almost any temperature would fit.
    """
    weights = weights / weights.mean()

    def loss(log_temperature: float) -> float:
        losses = task.log_losses(scores * np.exp(-log_temperature), targets)
        distance = log_temperature - np.log(config.temperature)
        return weights @ losses + config.temperature_weight * distance**2

    best = minimize_scalar(loss, bounds=_LOG_TEMPERATURES, method="bounded")
    return float(np.exp(best.x))
