"""The process of the worker: the server's own imports none of what it computes with."""

import os
import signal
import warnings
from functools import cache
from multiprocessing import parent_process
from multiprocessing.connection import wait
from threading import Thread
from typing import TYPE_CHECKING, Any

from sksemantic._serving.messages import LOG

if TYPE_CHECKING:
    from sksemantic._serving.worker import Worker


def begin() -> None:
    """Leave Ctrl-C to the parent, and end with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    warnings.showwarning = _log_warning
    parent = parent_process()
    if parent is not None:
        Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _log_warning(
    message: Warning | str, category: type[Warning], *where: Any, **line: Any
) -> None:
    """Log a warning without the place in the code, which tells nobody anything."""
    LOG.warning("%s: %s", category.__name__, message)


def _end_with(sentinel: Any) -> None:
    wait([sentinel])
    os._exit(1)


def call(method: str, *args: Any) -> Any:
    """Call a method of this process's worker."""
    return getattr(_only_worker(), method)(*args)


@cache
def _only_worker() -> "Worker":
    return make_worker()


def make_worker() -> "Worker":
    """Return a worker without models; this imports torch."""
    from sksemantic._serving.worker import Worker

    return Worker()
