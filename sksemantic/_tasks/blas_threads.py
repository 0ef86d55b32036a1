"""One thread of BLAS, for logistic regressions.

The threads of BLAS and of scikit-learn's own loops take turns, and each wait for CPUs
on which the others spin: on two CPUs a logistic regression took seven times as long.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from threadpoolctl import threadpool_limits

from sksemantic._backbone.torch_state import fork_safe_lock

_lock = fork_safe_lock()
_open: list[None] = []  # one entry for each block
_limit = ExitStack()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Limit BLAS to one thread, until the last block that is open is left.

    BLAS has one number for all threads of Python.
    """
    with _lock:
        if not _open:
            _limit.enter_context(threadpool_limits(1, user_api="blas"))
        _open.append(None)
    try:
        yield
    finally:
        with _lock:
            _open.pop()
            if not _open:
                _limit.close()
