"""Predictions that are prepared: of one estimator, or of many together."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sksemantic._inputs.dataset import TextDataset
from sksemantic._model.frozen import OnBatch
from sksemantic._model.inference import compute_scores

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from sksemantic._model.module import SemanticModule

    # Makes an answer of the head's outputs (n_rows, K) in float64.
    Finish = Callable[[NDArray], Any]


@dataclass(frozen=True)
class Prediction:
    """Checked and tokenised texts, and what makes an answer of what the head says."""

    module: "SemanticModule"
    data: TextDataset
    finish: "Finish"

    def answer(self, on_batch: OnBatch) -> Any:
        """Read the texts, and return what the method returns."""
        scores = compute_scores(self.module, self.data, on_batch)
        return self.finish(scores.astype(np.float64))
