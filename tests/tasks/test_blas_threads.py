import threading

import pytest
from threadpoolctl import ThreadpoolController, threadpool_limits

from sksemantic._tasks.blas_threads import one_blas_thread


def n_threads():
    libraries = ThreadpoolController().select(user_api="blas").info()
    return {library["num_threads"] for library in libraries}


def test_blas_when_blocks_overlap_then_has_one_thread_until_the_last_is_left():
    first_is_open, second_is_open = threading.Event(), threading.Event()

    def be_first():
        with one_blas_thread():
            first_is_open.set()
            second_is_open.wait(60)

    with threadpool_limits(2, user_api="blas"):
        if n_threads() != {2}:
            pytest.skip("BLAS has no threads here")
        first = threading.Thread(target=be_first)
        first.start()
        first_is_open.wait(60)
        with one_blas_thread():
            second_is_open.set()
            first.join()
            assert n_threads() == {1}
        assert n_threads() == {2}
