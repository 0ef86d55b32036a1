"""How many threads torch computes with, and how they wait, beside other processes.

The threads of OpenMP wait for one another many times in each step. By default they spin
meanwhile. Where another process needs the processor, a thread that spins keeps those
from running that all wait for, and a step takes several times as long.
"""

import ctypes
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from threading import Thread

import torch
from joblib.externals.loky import cpu_count
from threadpoolctl import ThreadpoolController

from sksemantic._backbone.torch_state import fork_safe_lock

# By these, users say how many threads there are and how they wait.
_NUMBER_SETTINGS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
_WAIT_SETTINGS = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
_MAX_IDLE_THREADS = 64
_SECONDS_AFTER_USE = 1.0


@contextmanager
def shared_cpus() -> Iterator[None]:
    """Compute with no more threads than CPUs, which sleep while they wait.

    What users have set stays as it is, and afterwards all is as it was before.
    """
    with ExitStack() as stack:
        if not _is_set(_NUMBER_SETTINGS):
            stack.enter_context(_no_more_threads_than_cpus())
        if not _is_set(_WAIT_SETTINGS) and torch.get_num_threads() > 1:
            for openmp in _openmp_libraries():
                stack.enter_context(openmp.sleeping())
        yield


def _is_set(names: tuple[str, ...]) -> bool:
    return any(name in os.environ for name in names)


@contextmanager
def _no_more_threads_than_cpus() -> Iterator[None]:
    """Limit this thread's OpenMP by affinity and quota, which torch does not read."""
    n_threads = torch.get_num_threads()
    n_cpus = cpu_count() if n_threads > 1 else 1
    if n_threads <= n_cpus or _is_set_in_torch():
        yield
        return
    with _controller().limit(limits=n_cpus, user_api="openmp"):
        yield


def _is_set_in_torch() -> bool:
    """Whether `torch.set_num_threads` was called.

    Without it a new thread takes the number that OpenMP has there.
    """
    numbers = []

    def start() -> None:
        with _controller().limit(limits=1, user_api="openmp"):
            numbers.append(torch.get_num_threads())

    thread = Thread(target=start)
    thread.start()
    thread.join()
    return numbers != [1]


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()


@cache
def _openmp_libraries() -> "list[_Openmp]":
    """Return the OpenMP libraries whose threads can be made to sleep."""
    found: list[_Openmp] = []
    for info in _controller().select(user_api="openmp").info():
        library = ctypes.CDLL(info["filepath"])
        if hasattr(library, "kmp_set_blocktime"):
            found.append(_LlvmOpenmp(library))
        elif hasattr(library, "GOMP_parallel"):
            found.append(_GnuOpenmp(library))
    return found


class _Openmp:
    """An OpenMP library in this process."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self.library = library

    @contextmanager
    def sleeping(self) -> Iterator[None]:
        """Let the threads sleep while they wait for one another."""
        raise NotImplementedError


class _LlvmOpenmp(_Openmp):
    """LLVM's and Intel's: a function sets how long this thread's helpers spin."""

    @contextmanager
    def sleeping(self) -> Iterator[None]:
        milliseconds = self.library.kmp_get_blocktime()
        self.library.kmp_set_blocktime(0)
        try:
            yield
        finally:
            self.library.kmp_set_blocktime(milliseconds)


class _GnuOpenmp(_Openmp):
    """GNU's: threads hardly spin where it has more of them than there are CPUs.

    So there are more, which do nothing. The documentation of GOMP_SPINCOUNT says this;
    the variable itself is read but once, when the library is loaded. The threads stay
    for a second or two after use, so that they serve many small predictions.
    """

    def __init__(self, library: ctypes.CDLL) -> None:
        super().__init__(library)
        self.users: set[object] = set()
        self.has_idle_threads = False
        self.used_at = 0.0
        self.lock = fork_safe_lock()

    @contextmanager
    def sleeping(self) -> Iterator[None]:
        user = object()
        try:
            with self.lock:
                self.users.add(user)
                if not self.has_idle_threads:
                    self.has_idle_threads = self._start_idle_threads()
            yield
        finally:
            with self.lock:
                self.users.discard(user)
                self.used_at = time.monotonic()

    def _start_idle_threads(self) -> bool:
        """Start as many threads as are lacking, unless these are very many."""
        n_lacking = self.library.omp_get_num_procs() + 2 - torch.get_num_threads()
        if n_lacking > _MAX_IDLE_THREADS:
            return False
        Thread(target=self._stay, args=(max(2, n_lacking),), daemon=True).start()
        return True

    def _stay(self, n_threads: int) -> None:
        """Run a region in which so many threads do next to nothing; keep them."""
        self.library.GOMP_parallel(self.library.omp_get_thread_num, None, n_threads, 0)
        while True:
            time.sleep(_SECONDS_AFTER_USE)
            with self.lock:
                seconds = time.monotonic() - self.used_at
                if not self.users and seconds > _SECONDS_AFTER_USE:
                    self.has_idle_threads = False
                    return
