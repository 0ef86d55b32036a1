"""How many threads torch computes with, and how they wait, beside other processes.

The threads of OpenMP wait for one another many times in each step. By default they spin
meanwhile. Where another process needs the processor, a thread that spins keeps those
from running that all wait for, and a step takes several times as long.
"""

import ctypes
import math
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import cache
from pathlib import Path
from threading import Event, Thread, local

import torch
from joblib.externals.loky import cpu_count
from threadpoolctl import ThreadpoolController

from sksemantic._backbone.torch_state import fork_safe_lock

# By these, users say how many threads there are and how they wait.
_NUMBER_SETTINGS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
_WAIT_SETTINGS = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
_MAX_IDLE_THREADS = 64
_SECONDS_BETWEEN_LOOKS = 0.25
_SECONDS_AFTER_USE = 1.0
_SPARE_CPUS = 0.2  # what the system itself needs
_STAT = Path("/proc/stat")
_LOAD = Path("/proc/loadavg")
_this_thread = local()  # `has_helpers`: whether OpenMP's threads have worked for it


def _work_alone() -> None:
    """Compute with one thread in the child of a fork.

    OpenMP's helpers belong to the thread that they have worked for. They do not come
    along, and in the child that thread would wait for them for ever.
    """
    if getattr(_this_thread, "has_helpers", False):
        torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_work_alone)


@contextmanager
def shared_cpus(n_threads: int | None = None) -> Iterator[None]:
    """Compute with no more threads than CPUs, which sleep where CPUs are short.

    What users have set stays as it is, and afterwards all is as it was before. A fit
    that goes on computes with as many threads as it has begun with.
    """
    with ExitStack() as stack:
        if n_threads is not None:
            if n_threads != torch.get_num_threads():
                stack.callback(torch.set_num_threads, torch.get_num_threads())
                torch.set_num_threads(n_threads)
        elif not _is_set(_NUMBER_SETTINGS):
            stack.enter_context(_no_more_threads_than_cpus())
        if torch.get_num_threads() > 1:
            _this_thread.has_helpers = True
            if not _is_set(_WAIT_SETTINGS):
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


class _Openmp(ABC):
    """An OpenMP library in this process."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self.library = library

    @abstractmethod
    def sleeping(self) -> AbstractContextManager[None]:
        """Let the threads sleep while they wait for one another."""


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

    So there are more, which do nothing, while other processes need CPUs; on an idle
    machine spinning is faster. The documentation of GOMP_SPINCOUNT says this; the
    variable itself is read but once, when the library is loaded.
    """

    def __init__(self, library: ctypes.CDLL) -> None:
        super().__init__(library)
        self.users: set[object] = set()
        self.used_at = 0.0
        self.n_threads = 1
        self.is_watched = False
        self.lock = fork_safe_lock()

    @contextmanager
    def sleeping(self) -> Iterator[None]:
        user = object()
        try:
            with self.lock:
                self.users.add(user)
                self.n_threads = torch.get_num_threads()
                if not self.is_watched:
                    self.is_watched = True
                    Thread(target=self._watch, daemon=True).start()
            yield
        finally:
            with self.lock:
                self.users.discard(user)
                self.used_at = time.monotonic()

    def _watch(self) -> None:
        """Have idle threads while CPUs are short, until some time after use."""
        n_cpus = self.library.omp_get_num_procs()
        ended: Event | None = None
        last = _others_seconds()
        is_short = _others_running() + self.n_threads > n_cpus
        short_at = time.monotonic() if is_short else -math.inf
        while self._is_used():
            start = time.monotonic()
            is_short = start - short_at < _SECONDS_AFTER_USE
            n_lacking = max(2, n_cpus + 2 - self.n_threads)
            if is_short and ended is None and n_lacking <= _MAX_IDLE_THREADS:
                ended = Event()
                arguments = (n_lacking, ended)
                Thread(target=self._stay, args=arguments, daemon=True).start()
            elif ended is not None and not is_short:
                ended.set()
                ended = None
            time.sleep(_SECONDS_BETWEEN_LOOKS)
            now, end = _others_seconds(), time.monotonic()
            n_others = (now - last) / (end - start)  # NaN where it is not known
            if not n_others + self.n_threads <= n_cpus + _SPARE_CPUS:
                short_at = end
            last = now
        if ended is not None:
            ended.set()

    def _is_used(self) -> bool:
        with self.lock:
            seconds = time.monotonic() - self.used_at
            self.is_watched = bool(self.users) or seconds < _SECONDS_AFTER_USE
            return self.is_watched

    def _stay(self, n_threads: int, ended: Event) -> None:
        """Run a region in which so many threads do next to nothing, and keep them."""
        self.library.GOMP_parallel(self.library.omp_get_thread_num, None, n_threads, 0)
        ended.wait()


def _others_running() -> float:
    """Return how many other threads run, or wait for a CPU, at this moment."""
    if not _LOAD.is_file():
        return math.inf
    n_running, _ = _LOAD.read_text().split()[3].split("/")
    return int(n_running) - 1


def _others_seconds() -> float:
    """Return for how long CPUs have worked for other processes; infinity: unknown."""
    if not _STAT.is_file():
        return math.inf
    with _STAT.open() as file:
        ticks = [int(value) for value in file.readline().split()[1:9]]
    busy = sum(ticks) - sum(ticks[3:5])  # without "idle" and "iowait"
    own = os.times()
    return busy / os.sysconf("SC_CLK_TCK") - own.user - own.system
