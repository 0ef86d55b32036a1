"""One training of an estimator at a time.

`partial_fit`, and `fit` with `warm_start=True`, go on from the values of the estimator:
of two that run at once, one would undo what the other has learned.
"""

import os
from contextlib import AbstractContextManager
from threading import RLock
from typing import Any
from weakref import WeakKeyDictionary

# Not in the estimators, which are copied, pickled and compared by what is in them.
_locks: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()
if hasattr(os, "register_at_fork"):
    # In the child nothing is being trained: the threads that did so are not there.
    os.register_at_fork(after_in_child=_locks.clear)


def training_lock(estimator: Any) -> AbstractContextManager[Any]:
    """Return the lock that whoever trains this estimator holds."""
    lock: AbstractContextManager[Any] = _locks.setdefault(estimator, RLock())
    return lock
