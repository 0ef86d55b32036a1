"""One thread of BLAS, for logistic regressions.

The threads of BLAS and of scikit-learn's own loops take turns, and each wait for CPUs
on which the others spin: on two CPUs a logistic regression took seven times as long.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from threadpoolctl import threadpool_limits

from sksemantic._backbone.torch_state import fork_safe_lock

_lock = fork_safe_lock()
_limits: list[threadpool_limits] = []  # one for each block that is open, the same one


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Limit BLAS to one thread, until the last block that is open is left.

    BLAS has one number for all threads of Python.
    """
    with _lock:
        limit = _limits[0] if _limits else threadpool_limits(1, user_api="blas")
        _limits.append(limit)
    try:
        yield
    finally:
        with _lock:
            _limits.pop()
            if not _limits:
                limit.restore_original_limits()
