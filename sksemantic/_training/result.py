"""What a training leaves."""

from dataclasses import dataclass
from typing import Any

from sksemantic._tasks.linear_probe import LinearProbe
from sksemantic._training.comparison import Comparison


@dataclass(frozen=True)
class TrainingResult:
    """What training leaves, beside the module's own weights.

    Attributes
    ----------
    history : list of dict
        skorch's record of the epochs, without that of single batches.
    linear_probe : LinearProbe or None
    comparison : Comparison or None
        None if no texts were held out.
    temperature : float
        What the scores are divided by before they become probabilities.
    optimizer_state : dict or None
        To go on from, after `partial_fit`.
    is_interrupted : bool
        Whether the user has ended the training; not saved.
    n_wanted : int or None
        Epochs that the training would have taken without a time limit, if it ends by
        itself; not saved.
    """

    history: list[dict[str, Any]]
    linear_probe: LinearProbe | None = None
    comparison: Comparison | None = None
    temperature: float = 1.0
    optimizer_state: dict[str, Any] | None = None
    is_interrupted: bool = False
    n_wanted: int | None = None
