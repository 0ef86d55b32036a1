import gc
import os
import threading
import weakref

import pytest
from sklearn.base import BaseEstimator

from sksemantic._training.training_lock import training_lock


def is_free(estimator):
    """Whether another thread gets the lock of an estimator."""
    found = []

    def look():
        lock = training_lock(estimator)
        found.append(lock.acquire(blocking=False))
        if found[0]:
            lock.release()

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    return found[0]


def test_lock_when_held_then_others_wait_for_the_same_estimator_alone():
    one, other = BaseEstimator(), BaseEstimator()
    with training_lock(one), training_lock(one):
        assert not is_free(one)
        assert is_free(other)
    assert is_free(one)


def test_lock_when_its_estimator_goes_then_nothing_is_left():
    estimator = BaseEstimator()
    with training_lock(estimator):
        pass
    held = weakref.ref(estimator)
    del estimator
    gc.collect()
    assert held() is None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_lock_when_another_thread_holds_it_then_is_free_in_a_forked_child():
    estimator, is_held, may_end = BaseEstimator(), threading.Event(), threading.Event()

    def hold():
        with training_lock(estimator):
            is_held.set()
            may_end.wait(60)

    holder = threading.Thread(target=hold)
    holder.start()
    is_held.wait(60)
    child = os.fork()
    if child == 0:
        os._exit(0 if training_lock(estimator).acquire(timeout=5) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    may_end.set()
    holder.join()
