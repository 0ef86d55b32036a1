"""One thread of BLAS, for logistic regressions.

The threads of BLAS and of scikit-learn's own loops take turns, and each wait for CPUs
on which the others spin: on two CPUs a logistic regression took seven times as long.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from threadpoolctl import threadpool_limits

_in_use = Lock()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Limit BLAS to one thread, unless somebody in this process does so already.

    BLAS has one number for all threads of Python: the one that comes second would find
    the limit, and give back that.
    """
    if not _in_use.acquire(blocking=False):
        yield
        return
    try:
        with threadpool_limits(1, user_api="blas"):
            yield
    finally:
        _in_use.release()
