"""Predictions that are prepared: of one estimator, or of many together."""

from abc import abstractmethod
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
    from sksemantic._training.fitted import FittedModel
    from sksemantic._training.progress import ReadingProgress

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
        return self.answer_of(compute_scores(self.module, self.data, on_batch))

    def answer_of(self, scores: "NDArray") -> Any:
        """Return what the method returns, of the head's outputs (n_rows, K)."""
        return self.finish(scores.astype(np.float64))


class Predicts:
    """Estimators whose methods make answers of the head's outputs."""

    if TYPE_CHECKING:
        _model: FittedModel

        def _load_with_data(
            self, model: FittedModel, X: Any
        ) -> tuple[SemanticModule, TextDataset]: ...

        def _reading(self, data: TextDataset) -> ReadingProgress: ...

    @abstractmethod
    def _finisher(self, method: str, model: "FittedModel") -> "Finish":
        """Return what a method does with the head's outputs (n_rows, K)."""

    def _predict(self, method: str, X: Any) -> Any:
        """Return what a method makes of the head's outputs for texts."""
        prediction = self._prepare_prediction(method, X)
        with self._reading(prediction.data) as reading:
            return prediction.answer(reading.count)

    def _prepare_prediction(
        self, method: str, X: Any, model: "FittedModel | None" = None
    ) -> Prediction:
        """Check and tokenise texts; another thread may fit meanwhile.

        Who looks at X before passes the model, which is that of the call's begin.
        """
        model = model or self._model
        finish = self._finisher(method, model)
        return Prediction(*self._load_with_data(model, X), finish)
