"""Nothing is shown while weights are loaded, except by other threads."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import current_thread
from typing import Any

from tqdm import TMonitor
from transformers.utils import logging as transformers_logging


@contextmanager
def silence_transformers() -> Iterator[None]:
    """Silence transformers' load report and bars, then restore the user's settings."""
    verbosity = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        with _silent_thread():
            yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()


@contextmanager
def _silent_thread() -> Iterator[None]:
    """Keep this thread off standard error: the bar of a GGUF file has no setting."""
    stream = sys.stderr
    of_others = _StreamOfOthers(stream)
    sys.stderr = of_others
    try:
        yield
    finally:
        of_others.silent = None  # whoever holds it goes on writing
        if sys.stderr is of_others:
            sys.stderr = stream


class _StreamOfOthers:
    """A stream that drops what the thread writes that makes it."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.silent: Any = current_thread()

    def write(self, text: str) -> int:
        """Write the text of another thread."""
        # tqdm has a thread of its own that refreshes bars.
        thread, is_lost = current_thread(), self._stream is None
        is_bar = self.silent is not None and isinstance(thread, TMonitor)
        if is_lost or is_bar or thread is self.silent:
            return len(text)
        return int(self._stream.write(text))

    def flush(self) -> None:
        """Flush the stream, if there is one."""
        if self._stream is not None:
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
