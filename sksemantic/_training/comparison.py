"""Trained model against closed-form head, on texts that neither has seen."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from skorch.callbacks import Callback

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from skorch import NeuralNet

    from sksemantic._inputs.dataset import TextDataset
    from sksemantic._tasks.base import Task

# Standard errors. To be kept, the trained one may be behind by as many as settle the
# matter in its favour: on other texts it is mostly better even so.
_SETTLED = 2.0
_TIED = 1.0


@dataclass(frozen=True)
class Comparison:
    """Trained model against closed-form head on the same held-back texts.

    Attributes
    ----------
    n_texts : int
        Number of held-back texts.
    trained, linear_probe : tuple of float
        Mean losses: error rate, and log-loss at the temperature that suits these texts
        best (classifier), or the loss of the standardised targets (regressor).
    standard_errors : tuple of float
        Standard errors of the paired differences of these means.
    kept : {"trained", "linear_probe"}
        The closed form if it is clearly ahead: by two standard errors over all losses.
        Each difference counts in units of the standard error it has if both are alike,
        for error rates McNemar's statistic; so the clearer loss decides.
    settled : bool
        Whether the trained one is better in one loss by two standard errors and in
        none worse by one.
    """

    n_texts: int
    trained: tuple[float, ...]
    linear_probe: tuple[float, ...]
    standard_errors: tuple[float, ...]
    kept: str
    settled: bool

    @classmethod
    def paired(
        cls, trained: "NDArray", linear_probe: "NDArray", weights: "NDArray"
    ) -> "Comparison":
        """Compare two arrays of losses (n, k), row by row."""
        weights = weights.astype(np.float64) / weights.sum()  # (n,)
        means = weights @ trained, weights @ linear_probe  # (k,) each
        gains = linear_probe - trained  # (n, k)
        gain = weights @ gains
        with np.errstate(invalid="ignore"):  # a diverged model's losses are infinite
            errors = np.sqrt(np.square(weights) @ np.square(gains - gain))
            sizes = np.sqrt(np.square(weights) @ np.square(gains))
            lead = np.divide(gain, sizes, out=np.zeros_like(gain), where=sizes > 0)
        # A diverged model has losses that are not numbers: it is never kept.
        finite = bool(np.isfinite(means[0]).all())
        better = (gain > _SETTLED * errors).any() and (gain >= -_TIED * errors).all()
        settled = finite and bool(better)
        kept = settled or (finite and lead.sum() >= -_SETTLED * len(lead) ** 0.5)
        return cls(
            n_texts=len(trained),
            trained=tuple(map(float, means[0])),
            linear_probe=tuple(map(float, means[1])),
            standard_errors=tuple(map(float, errors)),
            kept="trained" if kept else "linear_probe",
            settled=settled,
        )


class StopWhenBetter(Callback):
    """End training once the held-back texts may join it.

    That is when the model clearly beats the closed form on them or, as they must not
    come too late to be learned from, when it is to be kept after `patience` epochs.
    """

    def __init__(
        self, task: "Task", held: "TextDataset", reference: "NDArray", patience: int
    ) -> None:
        self.task = task
        self.held = held
        self.reference = reference  # losses of the closed form by row, (n, k)
        self.patience = patience
        self.stopped_ = False
        self.found_: Comparison | None = None

    def on_epoch_begin(self, net: "NeuralNet", **kwargs: Any) -> None:
        """Forget the former epoch's scores."""
        self.scores_: list[NDArray] = []

    def on_batch_end(
        self,
        net: "NeuralNet",
        y_pred: Any = None,
        training: bool = False,
        **kwargs: Any,
    ) -> None:
        """Keep the scores that skorch computes for its validation loss."""
        if not training:
            self.scores_.append(y_pred.detach().float().cpu().numpy())

    def on_epoch_end(self, net: "NeuralNet", **kwargs: Any) -> None:
        """Compare, and end the loop the way skorch's `EarlyStopping` does."""
        if not self.scores_:  # the held-back texts have joined
            return
        scores = np.concatenate(self.scores_)
        losses = self.held.text_means(self.task.losses(scores, self.held.targets))
        found = Comparison.paired(losses, self.reference, self.held.text_weights)
        self.found_ = found
        epoch = len(net.history)
        is_kept = epoch >= self.patience and found.kept == "trained"
        self.stopped_ = epoch < net.max_epochs and (found.settled or is_kept)
        if self.stopped_:
            raise KeyboardInterrupt
