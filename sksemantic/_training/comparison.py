"""Trained model against linear probe, on held-out texts that neither has seen."""

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sksemantic._warnings import user_stacklevel
from sksemantic.exceptions import FallbackWarning

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Comparison:
    """Trained model against linear probe on the same held-out texts.

    Attributes
    ----------
    n_texts : int
        Number of held-out texts.
    trained, linear_probe : tuple of float
        Mean losses, by `loss_names`.
    standard_errors : tuple of float
        Standard errors of the paired differences of these means.
    kept : {"trained", "linear_probe"}
        The linear probe if it is clearly better: by some standard errors over all
        losses. Each difference counts in units of the standard error that it has if
        both are alike (for error rates McNemar's statistic), so the clearer loss
        decides.
    has_joined : bool
        Whether the held-out texts joined the training after this comparison.
    loss_names : tuple of str
        What the losses are. Of classes and words the error rate, and the log-loss at
        the temperature with which it is lowest on these texts; of ordered classes the
        mean distance in classes, and the log-loss; of several labels a text the
        log-loss; of numbers the loss of the standardised targets. Empty in estimators
        that an earlier version has saved.
    """

    n_texts: int
    trained: tuple[float, ...]
    linear_probe: tuple[float, ...]
    standard_errors: tuple[float, ...]
    kept: str
    has_joined: bool = False
    loss_names: tuple[str, ...] = ()

    @classmethod
    def paired(
        cls,
        trained: "NDArray",
        linear_probe: "NDArray",
        weights: "NDArray",
        clearly_better: float,
        loss_names: tuple[str, ...],
    ) -> "Comparison":
        """Compare two arrays of losses (n, k), text by text.

        Parameters
        ----------
        trained, linear_probe : ndarray of shape (n, k)
        weights : ndarray of shape (n,)
        clearly_better : float
            Standard errors by which the linear probe must be ahead to be kept.
        loss_names : tuple of str, of length k
        """
        weights = weights.astype(np.float64) / weights.sum()
        means = weights @ trained, weights @ linear_probe  # (k,) each
        gains = linear_probe - trained  # (n, k)
        gain = weights @ gains
        with np.errstate(invalid="ignore"):  # a diverged model's losses are infinite
            errors = np.sqrt(np.square(weights) @ np.square(gains - gain))
            sizes = np.sqrt(np.square(weights) @ np.square(gains))
            lead = np.divide(gain, sizes, out=np.zeros_like(gain), where=sizes > 0)
        # A diverged model has losses that are not numbers: it is never kept.
        is_finite = bool(np.isfinite(means[0]).all())
        is_kept = is_finite and lead.sum() >= -clearly_better * len(lead) ** 0.5
        return cls(
            n_texts=len(trained),
            trained=tuple(map(float, means[0])),
            linear_probe=tuple(map(float, means[1])),
            standard_errors=tuple(map(float, errors)),
            kept="trained" if is_kept else "linear_probe",
            loss_names=loss_names,
        )

    def warn_of_fallback(self) -> None:
        """Say that the linear probe is used, unless both are right about every text."""
        if len(self.trained) > 1 and self.trained[0] == self.linear_probe[0] == 0:
            return
        names = self.loss_names or ("first loss", "log-loss")
        losses = " and ".join(
            f"the {name} {trained:.3f}, by the probe {probe:.3f}"
            for name, trained, probe in zip(
                names, self.trained, self.linear_probe, strict=False
            )
        )
        warnings.warn(
            f"The linear probe on the frozen backbone is used: on {self.n_texts} "
            f"held-out texts the trained model has {losses}. "
            "Another learning rate ('lr', training={'head_lr': ...}), more texts or "
            "another 'prompt' may help; silence this with "
            "warnings.simplefilter('ignore', FallbackWarning).",
            FallbackWarning,
            stacklevel=user_stacklevel(),
        )
