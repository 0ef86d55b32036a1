"""How far a fit is, how long the rest will take, and who is told."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, Self

from torch import Tensor

from sksemantic._training.display import Display, duration, make_display

if TYPE_CHECKING:
    from skorch import NeuralNet

_LOGGER = logging.getLogger("sksemantic")
_LOGGED_FROM = 10.0  # seconds; the forecast of a shorter fit helps no one
_SHOWN_FROM = 5.0  # seconds, from which the reading of texts is shown
_FORECAST_SHARE = 0.05  # of the fit, after which the forecast is kept in `FitTiming`
_WEIGHT_OF_FORECAST = 0.05  # share of a phase that its forecast counts for, once begun

Shapes = Sequence[tuple[int, int]]  # texts and tokens a text, padding included


def shapes_of(batch: Mapping[str, Tensor]) -> Shapes:
    """Return the shapes of the token ids of a batch, pairs' own texts included."""
    found = [batch[name] for name in ("input_ids", "pair_ids") if name in batch]
    return [(ids.numel() // max(1, ids.shape[-1]), ids.shape[-1]) for ids in found]


@dataclass(frozen=True)
class BatchCost:
    """Seconds of one batch: some each, some by the token, some by pairs of tokens.

    Attributes
    ----------
    per_batch, per_token, per_pair : float
        The last is of two tokens of one text: attention.
    """

    per_batch: float = 0.0
    per_token: float = 0.0
    per_pair: float = 0.0

    def seconds(self, shapes: Shapes) -> float:
        """Return the seconds of a batch that is read in arrays of these shapes."""
        n_tokens = sum(n * length for n, length in shapes)
        n_pairs = sum(n * length**2 for n, length in shapes)
        return self.per_batch + self.per_token * n_tokens + self.per_pair * n_pairs

    def over(self, n_processes: int) -> "BatchCost":
        """Return the cost of a batch that so many processes share."""
        costs = self.per_batch, self.per_token, self.per_pair
        return BatchCost(*(cost / n_processes for cost in costs))

    def less(self, other: "BatchCost", share: float = 1.0) -> "BatchCost":
        """Return what is left without (a share of) another cost; never below zero."""
        return BatchCost(
            max(0.0, self.per_batch - share * other.per_batch),
            max(0.0, self.per_token - share * other.per_token),
            max(0.0, self.per_pair - share * other.per_pair),
        )


@dataclass(frozen=True)
class FitTiming:
    """What a fit took, and what was foreseen.

    Attributes
    ----------
    seconds : float
        Of the whole fit.
    phases : dict of str to float
        Seconds by phase: "checks", "loading", "tokenising", "measuring", "frozen
        pass", "linear probe", "training", "comparison".
    forecast : float or None
        Seconds of the whole fit as they were foreseen once 5 % of it was done, or as
        soon as anything could be foreseen; None if nothing was.
    """

    seconds: float
    phases: dict[str, float]
    forecast: float | None = None


class ReadingProgress:
    """Follows the reading of texts, and shows it if that takes more than a moment."""

    def __init__(self, what: str, verbose: int, n_tokens: int) -> None:
        self._what = what
        self._verbose = verbose
        self._n_tokens = n_tokens
        self._n_done = 0
        self._start = time.perf_counter()
        self._display = Display()
        self._is_shown = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        self._display.close()

    def count(self, batch: Mapping[str, Tensor]) -> None:
        """Note that a batch is done."""
        if not self._verbose:
            return
        self._n_done += int(batch["attention_mask"].sum())
        elapsed = time.perf_counter() - self._start
        left = elapsed * (self._n_tokens / self._n_done - 1)
        if not self._is_shown and elapsed + left > _SHOWN_FROM:
            self._display = make_display(self._what, self._verbose)
            self._is_shown = True
        self._display.show(self._n_done / self._n_tokens, left, "reading texts")


@dataclass
class _Phase:
    seconds: float = 0.0  # so far
    expected: float = 0.0  # of the whole phase
    done: float = 0.0  # of what was expected
    is_over: bool = False

    @property
    def left(self) -> float:
        """The forecast of the rest, at the pace of what is done."""
        if self.is_over:
            return 0.0
        if not self.done:
            return max(self.expected - self.seconds, 0.0)
        prior = _WEIGHT_OF_FORECAST * self.expected
        pace = (self.seconds + prior) / (self.done + prior)
        return pace * max(self.expected - self.done, 0.0)


class EpochHooks(Protocol):
    """Who is told of every epoch."""

    def begin_epoch(self) -> None:
        """Tell of an epoch that begins."""

    def end_epoch(self, net: "NeuralNet") -> bool:
        """Tell of an epoch that ends; return whether training is to stop."""


@dataclass
class Progress:
    """Follows a fit through its phases.

    A phase lasts until the next one begins; one that begins again goes on. Used as a
    context manager: the display is closed whatever happens.
    """

    display: Display = field(default_factory=Display)
    costs: Mapping[str, BatchCost] = field(default_factory=dict)
    hooks: EpochHooks | None = None

    def __post_init__(self) -> None:
        self._start = self._phase_start = time.perf_counter()
        self._phases: dict[str, _Phase] = {}
        self._name = ""
        self._share = 0.0
        # Seconds since the start, and the forecast of the whole at that moment.
        self._forecasts: list[tuple[float, float]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        self.display.close()

    @property
    def is_watched(self) -> bool:
        """Whether anyone sees how far it is, or what is foreseen."""
        return type(self.display) is not Display or _LOGGER.isEnabledFor(logging.INFO)

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self._start

    @property
    def left(self) -> float:
        """The forecast of what is left, in seconds."""
        self._close_phase()
        return sum(phase.left for phase in self._phases.values())

    def seconds_of(self, name: str) -> float:
        """Seconds of a phase so far."""
        self._close_phase()
        return self._phases[name].seconds

    def begin(self, name: str, *, is_interlude: bool = False) -> None:
        """End the phase of now, and begin another; after an interlude it goes on."""
        self._close_phase()
        if self._name and not is_interlude:
            self._phases[self._name].is_over = True
        self._name = name
        self._phases.setdefault(name, _Phase())
        self._update(name)

    def expect(
        self, seconds: Mapping[str, float], costs: Mapping[str, BatchCost] | None = None
    ) -> None:
        """Take the forecast of phases, and of batches by kind; say what it comes to."""
        self.costs = self.costs if costs is None else costs
        for name, expected in seconds.items():
            self._phases.setdefault(name, _Phase()).expected = expected
        self._update()
        if not self._forecasts:
            return
        total = self._forecasts[-1][1]
        if total > _LOGGED_FROM:
            _LOGGER.info("fit will take about %s in all", duration(total))

    def count(self, kind: str, batch: Mapping[str, Tensor]) -> None:
        """Note that a batch is done, at the expected cost of its kind."""
        if kind in self.costs:
            cost = self.costs[kind].seconds(shapes_of(batch))
            self._phases[self._name].done += cost
        self._update()

    def show(self, text: str, note: str | None = None) -> None:
        """Show other words than the phase's name; a note beside them stays if None."""
        self._update(text, note)

    def end(self) -> FitTiming:
        """Return what the phases took."""
        self._close_phase()
        total = self.elapsed
        late = [f for at, f in self._forecasts if at >= _FORECAST_SHARE * total]
        forecast = late[0] if late else None
        phases = {name: phase.seconds for name, phase in self._phases.items()}
        self.display.finish(f"done in {duration(total)}")
        return FitTiming(total, phases, forecast)

    def to_state(self) -> dict[str, float]:
        """Return how far it is, for another run of the same fit."""
        training = self._phases.get("training", _Phase())
        seconds = self.seconds_of("training") if "training" in self._phases else 0.0
        return {"elapsed": self.elapsed, "seconds": seconds, "done": training.done}

    def go_on_from(self, state: Mapping[str, float]) -> None:
        """Add what an earlier run of this fit has done."""
        self._start -= state["elapsed"]
        training = self._phases.setdefault("training", _Phase())
        training.seconds += state["seconds"]
        training.done += state["done"]

    def _close_phase(self) -> None:
        """Add the time until now to the phase of now."""
        now = time.perf_counter()
        if self._name:
            self._phases[self._name].seconds += now - self._phase_start
        self._phase_start = now

    def _update(self, text: str | None = None, note: str | None = None) -> None:
        left, elapsed = self.left, self.elapsed
        has_forecast = any(phase.expected for phase in self._phases.values())
        if has_forecast:
            if not self._forecasts or elapsed > 1.01 * self._forecasts[-1][0]:
                self._forecasts.append((elapsed, elapsed + left))
            self._share = max(self._share, elapsed / (elapsed + left))
        self.display.show(self._share, left if has_forecast else None, text, note)
