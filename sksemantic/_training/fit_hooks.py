"""What scikit-learn does around a fit: checked parameters, and callbacks.

scikit-learn 1.9 has callbacks that are told of every step of a fit, inside searches too
(`sklearn.callback`): `ProgressBar`, `ScoringMonitor`. Here a fit is a task whose
subtasks are the epochs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeVar

from sklearn.base import _fit_context
from sklearn.utils import _safe_indexing

from sksemantic._training.fitted import Config, FittedModel
from sksemantic._training.progress import FitTiming
from sksemantic._training.result import TrainingResult

if TYPE_CHECKING:
    from skorch import NeuralNet

    from sksemantic._training.job import Job

try:
    from sklearn.callback import CallbackSupportMixin
except ImportError:  # before 1.9

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Nothing: this release of scikit-learn has no callbacks."""


__all__ = ["CallbackSupportMixin", "FitHooks", "checked_fit"]

Method = TypeVar("Method", bound=Callable[..., Any])


def checked_fit(method: Method) -> Method:
    """Have scikit-learn check the parameters first, and end its callbacks at the end.

    Its own decorator has no types, and hides from editors what `fit` returns.
    """
    return _fit_context(prefer_skip_nested_validation=True)(method)


@dataclass
class FitHooks:
    """Tells the callbacks of an estimator of a fit and its epochs.

    Attributes
    ----------
    job : Job
        The fit, ready to begin.
    context : sklearn.callback.CallbackContext
        Of the whole fit.
    given : dict
        What every callback is given: the estimator, and the labelled texts.
    """

    job: "Job"
    context: Any
    given: dict[str, Any]
    _epoch: Any = None

    @classmethod
    def begin(
        cls, job: "Job", estimator: Any, X: Any, y: Any, sample_weight: Any
    ) -> "FitHooks | None":
        """Tell of the fit that begins; None if there is nobody to tell."""
        is_part = hasattr(estimator, "_parent_callback_ctx")  # of another's fit
        if not (is_part or getattr(estimator, "_skl_callbacks", None)):
            return None
        labelled = job.request.targets.labelled
        if labelled is not None:  # a metric has nothing to compare with elsewhere
            X, y = (_safe_indexing(each, labelled) for each in (X, y))
            if sample_weight is not None:
                sample_weight = _safe_indexing(sample_weight, labelled)
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        given = {"estimator": estimator, "X": X, "y": y, "metadata": metadata}
        n_epochs = int(job.trainer.config.max_epochs)
        context = estimator._init_callback_context(max_subtasks=n_epochs)
        context.call_on_fit_task_begin(**given)
        return cls(job, context, given)

    def begin_epoch(self) -> None:
        """Tell of an epoch that begins."""
        self._epoch = self.context.subcontext(task_name="epoch")
        self._epoch.call_on_fit_task_begin(**self.given)

    def end_epoch(self, net: "NeuralNet") -> bool:
        """Tell of an epoch that ends; return whether a callback wants to stop.

        Where the head is fitted after the last epoch, no model is ready before.
        """
        has_head = self.job.trainer.config.objective != "contrast"
        return self._epoch.call_on_fit_task_end(
            **self.given,
            reconstruction_attributes=partial(self._state, net) if has_head else None,
        )

    def end(self, model: FittedModel) -> None:
        """Tell of the fit that ends, with what it has made."""
        self.context.call_on_fit_task_end(
            **self.given, reconstruction_attributes={"_fitted": model}
        )

    def _state(self, net: "NeuralNet") -> dict[str, FittedModel]:
        """Return the model as it is now; training goes on with weights of its own."""
        trainer = self.job.trainer
        state = net.module_.state_dict()
        model = FittedModel(
            config=Config(net.module_.config, trainer.config),
            task=trainer.task,
            result=TrainingResult(list(net.history)),
            columns=SimpleNamespace(**self.job.request.columns),
            timing=FitTiming(trainer.progress.elapsed, {}),
            weights={name: v.cpu().numpy().copy() for name, v in state.items()},
            n_texts=len(self.job.data),
        )
        return {"_fitted": model}
