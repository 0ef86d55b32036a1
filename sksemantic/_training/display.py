"""What `verbose=1` shows: one bar, or a line a minute where there is no terminal."""

import sys
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from typing import Any

from tqdm.auto import tqdm

_SECONDS_BETWEEN_LINES = 60.0
_SECONDS_BETWEEN_UPDATES = 0.1
# Of a standard error that is closed, or whose reader is gone: no fit fails for that.
_UNUSABLE = (OSError, ValueError)
_BAR = "{desc} {percentage:3.0f}%|{bar}| {elapsed}{postfix}"


class Display:
    """Shows nothing."""

    def show(
        self,
        share: float,
        seconds_left: float | None,
        text: str | None = None,
        note: str | None = None,
    ) -> None:
        """Show how much is done, what is left, and what is being done.

        `text` and `note` stay as they were where they are None.
        """

    def finish(self, text: str) -> None:
        """Show that all is done."""

    def close(self) -> None:
        """Leave the last state on the screen."""


class _Texts(Display, ABC):
    """Remembers the texts that are shown."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._text = self._note = ""
        self._has_forecast = False
        self._shown_at = -float("inf")

    def show(
        self,
        share: float,
        seconds_left: float | None,
        text: str | None = None,
        note: str | None = None,
    ) -> None:
        """Show what has changed, if it is time for that."""
        is_new = text is not None and text != self._text
        is_first = seconds_left is not None and not self._has_forecast
        self._text = self._text if text is None else text
        self._note = self._note if note is None else note
        self._has_forecast |= is_first
        pause = time.monotonic() - self._shown_at
        if self._is_due(pause, has_new_text=is_new, has_first_forecast=is_first):
            left = "" if seconds_left is None else f"{duration(seconds_left)} left"
            notes = [part for part in (left, self._note) if part]
            with suppress(*_UNUSABLE):
                self._write(share, notes)
            self._shown_at = time.monotonic()

    def finish(self, text: str) -> None:
        """Show that all is done, and the last note."""
        self._text = text
        with suppress(*_UNUSABLE):
            self._write(1.0, [self._note] if self._note else [])

    @abstractmethod
    def _is_due(
        self, pause: float, *, has_new_text: bool, has_first_forecast: bool
    ) -> bool:
        """Whether to show something, so many seconds after the last time."""

    @abstractmethod
    def _write(self, share: float, notes: list[str]) -> None:
        """Show the texts."""


class _Bar(_Texts):
    """One bar of tqdm, for terminals and notebooks; below other bars it disappears."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        # leave=None: an inner bar, below one of a search, goes when it is done.
        self._bar: Any = tqdm(total=1.0, desc=what, leave=None, bar_format=_BAR)

    def _is_due(
        self, pause: float, *, has_new_text: bool, has_first_forecast: bool
    ) -> bool:
        return has_new_text or pause >= _SECONDS_BETWEEN_UPDATES

    def _write(self, share: float, notes: list[str]) -> None:
        self._bar.n = min(share, 1.0)
        self._bar.set_description_str(f"{self._what}: {self._text}", refresh=False)
        self._bar.set_postfix_str(", ".join(notes), refresh=False)
        self._bar.refresh()

    def close(self) -> None:
        """Leave the bar as it is."""
        with suppress(*_UNUSABLE):
            self._bar.close()


class _Lines(_Texts):
    """A line at the start, at the first forecast, each minute, and at the end."""

    def _is_due(
        self, pause: float, *, has_new_text: bool, has_first_forecast: bool
    ) -> bool:
        return has_first_forecast or pause >= _SECONDS_BETWEEN_LINES

    def _write(self, share: float, notes: list[str]) -> None:
        head = f"{self._what}: {self._text}, {share:.0%}"
        print(", ".join([head, *notes]), file=sys.stderr, flush=True)  # noqa: T201


def _is_notebook() -> bool:
    """Whether a notebook's kernel runs this; others may have imported its packages."""
    get_shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)
    return hasattr(get_shell(), "kernel")


def make_display(what: str, verbose: int) -> Display:
    """Return what shows the progress of a fit or a prediction.

    `verbose=1` is a bar in terminals and notebooks, and lines elsewhere. 0 shows
    nothing, and 2 or more have lines of their own for each epoch.
    """
    if verbose != 1 or sys.stderr is None:
        return Display()
    try:
        has_bar = _is_notebook() or getattr(sys.stderr, "isatty", lambda: False)()
        return _Bar(what) if has_bar else _Lines(what)
    except _UNUSABLE:
        return Display()


def duration(seconds: float) -> str:
    """Return a number of seconds as people say it: 4 s, 2 min 10 s, 3 h 5 min."""
    whole = max(round(seconds), 0)
    if whole < 60:
        return f"{whole} s" if seconds >= 0.95 else f"{seconds:.1f} s"
    if whole < 600:
        minutes, rest = divmod(whole, 60)
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    minutes = round(seconds / 60)
    if minutes < 120:
        return f"{minutes} min"
    hours, rest = divmod(minutes, 60)
    return f"{hours} h {rest} min" if rest else f"{hours} h"
