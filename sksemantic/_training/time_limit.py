"""What a fit leaves out to be done in time.

The forecast decides before training: texts, if else too little time were left for it,
then epochs. While training, the clock decides: the learning rates fall, and the weights
are averaged, by the share of the time that is over, if that is more than the share of
the epochs.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

from sksemantic._training.display import duration
from sksemantic._training.processes import ALONE, Processes
from sksemantic._training.progress import Progress
from sksemantic._warnings import user_stacklevel
from sksemantic.exceptions import TimeLimitWarning

# Share of the time that is left once batches have been measured: what comes before
# training takes no more, by leaving out texts.
_MOST_BEFORE_TRAINING = 0.5
_FEWEST_TEXTS = 100  # are left, whatever the limit
_MARGIN = 0.02  # of the limit, for what is not foreseen


@dataclass
class TimeLimit:
    """The seconds that a fit may take; None for no limit.

    `after` is the forecast of what comes after training, in seconds. Of several
    processes the clock of the first one counts.
    """

    seconds: float | None
    progress: Progress
    processes: Processes = ALONE
    after: float = 0.0
    epochs_left: float = float("inf")  # that there is time for, by the forecast
    _foreseen: float = 0.0  # seconds of a fit without a limit

    @property
    def left(self) -> float:
        """Seconds left for training, and for what comes before it."""
        if self.seconds is None:
            return float("inf")
        return (1 - _MARGIN) * self.seconds - self.progress.elapsed - self.after

    @property
    def share_over(self) -> float:
        """Share of the training's time that is over; 1 if there is none."""
        if self.seconds is None:
            return 0.0
        trained, left = self.progress.seconds_of("training"), self.left
        return self.processes.same(trained / (trained + left) if left > 0 else 1.0)

    def has(self, seconds: float) -> bool:
        """Whether so many seconds are left."""
        return self.seconds is None or self.processes.same(self.left >= seconds)

    def foresee(self, phases: Mapping[str, float]) -> None:
        """Note what the whole fit would take; the first forecast counts."""
        if not self._foreseen:
            self._foreseen = self.progress.elapsed + sum(phases.values())

    def n_texts(self, phases: Mapping[str, float], n_texts: int) -> int:
        """Return how many texts there is time for, by the forecast of all."""
        if self.seconds is None:
            return n_texts
        before = max(phases["frozen pass"] + phases["linear probe"], 1e-9)
        self.after = phases.get("comparison", 0.0)
        share = _MOST_BEFORE_TRAINING * max(self.left, 0.0) / before
        n_in_time = max(int(share * n_texts), _FEWEST_TEXTS)
        return self.processes.same(min(n_texts, n_in_time))

    def n_epochs(self, phases: Mapping[str, float], max_epochs: int) -> int:
        """Return how many epochs are begun, by the forecast."""
        if self.seconds is None:
            return max_epochs
        self.after = phases.get("comparison", 0.0)
        before = phases["frozen pass"] + phases["linear probe"]
        share = max(self.left - before, 0.0) / phases["training"]
        self.epochs_left = self.processes.same(share * max_epochs)
        return min(max_epochs, int(self.epochs_left) + 1)

    def warn(
        self,
        n_texts: tuple[int, int],
        n_epochs: tuple[float, int],
        n_layers: tuple[int, int] = (0, 0),
    ) -> None:
        """Say what was cut: of each kind how many were left, of how many."""
        cuts = []
        if n_layers[0] < n_layers[1]:
            cuts.append(f"{n_layers[0]} of {n_layers[1]} layers were tuned")
        if n_epochs[0] < n_epochs[1]:
            cuts.append(f"training took {n_epochs[0]:.3g} of {n_epochs[1]} epochs")
        if n_texts[0] < n_texts[1]:
            cuts.append(f"{n_texts[0]} of {n_texts[1]} texts were used")
        if self.seconds is None or not cuts:
            return
        all_seconds = self._foreseen
        is_whole = n_texts[0] == n_texts[1] and n_layers[0] == n_layers[1]
        if n_epochs[0] and is_whole:  # the pace is known by now
            more = n_epochs[1] / n_epochs[0] - 1
            trained = self.progress.seconds_of("training")
            all_seconds = self.progress.elapsed + more * trained
        warnings.warn(
            f"For time_limit={self.seconds:g} seconds {' and '.join(cuts)}; all would "
            f"have taken about {duration(all_seconds)}. "
            "Raise 'time_limit' for a better fit, or silence this with "
            "warnings.simplefilter('ignore', TimeLimitWarning).",
            TimeLimitWarning,
            stacklevel=user_stacklevel(),
        )
