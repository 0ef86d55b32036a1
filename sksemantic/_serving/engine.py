"""The worker as the server sees it: it is called, and started again if it dies."""

import asyncio
import contextlib
import itertools
import os
import signal
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing import get_context
from typing import Any

from sksemantic._serving import worker_process
from sksemantic._serving.messages import LOG, Answer, Job, ModelFacts

_SECONDS_OF_WATCH = 1.0
# After so many seconds, and so many of a client's longest waits, a call is given up.
_HANGS, _HANGS_IN_WAITS = 300.0, 10
_KILL = getattr(signal, "SIGKILL", signal.SIGTERM)  # Windows has one of them


class WorkerDied(Exception):
    """The worker's process ended while it worked: the system may lack memory."""


class Engine:
    """Models in a worker: a process of its own, or with `isolate=False` a thread.

    A process that dies, for lack of memory or by a signal, is started again with the
    same models.
    """

    def __init__(
        self,
        sources: Mapping[str, Any],
        device: str | None,
        backbone: str | None,
        *,
        isolate: bool,
    ) -> None:
        self.models: dict[str, ModelFacts] = {}
        self.on_restart: Callable[[], None] = lambda: None
        self.patience = 30.0  # seconds of a call, after which the worker is not ready
        self._is_loaded = False
        self._is_closed = False
        self._pid: int | None = None
        self._calls: dict[int, float] = {}  # not answered yet: when they were made
        self._numbers = itertools.count()
        self._sources = dict(sources)
        self._places = device, backbone
        self._isolate = isolate
        self._thread_worker: Any = None
        self._executor: Executor | None = None
        self._restarting = asyncio.Lock()

    @property
    def is_ready(self) -> bool:
        """Whether all models are loaded, and the worker answers."""
        return self._is_loaded and self._seconds_at_work < self.patience

    @property
    def _seconds_at_work(self) -> float:
        """How long ago the call was made that the worker is at; 0 if it has none."""
        return time.monotonic() - min(self._calls.values(), default=time.monotonic())

    @property
    def is_started(self) -> bool:
        """Whether there is a worker, or has been one."""
        return self._executor is not None

    async def start(self) -> None:
        """Start the worker and load all models.

        Raises
        ------
        ValueError
            If one cannot be loaded.
        """
        self._is_closed, self._restarting = False, asyncio.Lock()
        await self._begin()
        for name, source in self._sources.items():
            await self._take_in(name, source)
        self._is_loaded = True

    async def _begin(self) -> None:
        """Start a worker without models."""
        if self._isolate:
            self._executor = ProcessPoolExecutor(
                1, get_context("spawn"), initializer=worker_process.begin
            )
            loop = asyncio.get_running_loop()
            self._pid = await loop.run_in_executor(self._executor, os.getpid)
        else:
            self._executor = ThreadPoolExecutor(1, "sksemantic-worker")
            self._thread_worker = worker_process.make_worker()

    async def _take_in(self, name: str, source: Any) -> None:
        self._note(await self._submit("load", name, source, *self._places))

    def _note(self, facts: ModelFacts) -> None:
        """Note a model that the worker has loaded."""
        self.models[facts.name] = facts
        message = "%r is loaded: a %s on %s."
        LOG.info(message, facts.name, facts.kind, facts.backbone)

    async def watch(self) -> None:
        """See that the worker lives, until this is cancelled.

        One that has died is started again even if nobody asks it for anything, and one
        that hangs is killed.
        """
        while True:
            await asyncio.sleep(_SECONDS_OF_WATCH)
            if not self._calls:
                with contextlib.suppress(WorkerDied):
                    await self._call("ping")
                continue
            longest = max(_HANGS, _HANGS_IN_WAITS * self.patience)
            if self._is_loaded and self._seconds_at_work > longest:
                LOG.error("The worker does not answer; it is killed.")
                self._kill(_KILL)

    async def run(self, jobs: list[Job]) -> list[Answer]:
        """Answer jobs.

        Raises
        ------
        WorkerDied
            If the worker died meanwhile; by then it has been started again.
        """
        answers: list[Answer] = await self._call("run", jobs)
        return answers

    async def load(self, name: str, source: Any) -> ModelFacts:
        """Load a model, in place of one of the same name.

        Raises
        ------
        ValueError
            If it cannot be loaded; one of the same name stays as it was.
        WorkerDied
        """
        facts: ModelFacts = await self._call("load", name, source, *self._places)
        self._sources[name] = source
        self._note(facts)
        return facts

    async def drop(self, name: str) -> None:
        """Drop a model, once what has come before is answered."""
        del self.models[name], self._sources[name]
        await self._call("drop", name)
        LOG.info("%r is dropped.", name)

    def close(self) -> None:
        """End the worker; one that is still at work in its process is killed."""
        self._is_loaded, self._is_closed = False, True
        if self._calls:
            self._kill(signal.SIGTERM)
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)

    def _kill(self, by: signal.Signals) -> None:
        if self._pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, by)

    async def _call(self, method: str, *args: Any) -> Any:
        """Call a method of the worker, after what it does now."""
        async with self._restarting:  # until the models are loaded again
            executor = self._executor
        try:
            return await self._submit(method, *args)
        except BrokenProcessPool as exc:
            async with self._restarting:  # others see that it died as well
                if self._executor is executor and not self._is_closed:
                    with contextlib.suppress(BrokenProcessPool):  # it is tried again
                        await self._restart()
            raise WorkerDied from exc

    async def _submit(self, method: str, *args: Any) -> Any:
        function: Any = partial(worker_process.call, method)
        if not self._isolate:
            function = getattr(self._thread_worker, method)
        loop = asyncio.get_running_loop()
        number = next(self._numbers)
        self._calls[number] = time.monotonic()
        try:
            return await loop.run_in_executor(self._executor, function, *args)
        finally:
            del self._calls[number]

    async def _restart(self) -> None:
        """Start a process with the same models, in place of one that died.

        A model that cannot be loaded any more is dropped: the others are served.
        """
        LOG.error("The worker's process has died; it is started again.")
        self._is_loaded = False
        self.on_restart()
        if self._executor is not None:
            self._executor.shutdown(wait=False)
        await self._begin()
        for name, source in [*self._sources.items()]:
            try:
                await self._take_in(name, source)
            except BrokenProcessPool:
                raise
            except Exception as exc:
                LOG.error("%r cannot be loaded again, and is dropped: %s", name, exc)
                self.models.pop(name, None)
                self._sources.pop(name, None)
        self._is_loaded = True
