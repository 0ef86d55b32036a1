"""The worker as the server sees it: it is called, and started again if it dies."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing import get_context
from typing import Any

from sksemantic._serving import worker_process
from sksemantic._serving.messages import LOG, Answer, Job, ModelFacts


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
        self.is_ready = False
        self._is_closed = False
        self._pid: int | None = None
        self._n_calls = 0  # that the worker has not answered
        self._sources = dict(sources)
        self._places = device, backbone
        self._isolate = isolate
        self._thread_worker: Any = None
        self._executor: Executor | None = None
        self._restarting = asyncio.Lock()

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
        if self._isolate:
            self._executor = ProcessPoolExecutor(
                1, get_context("spawn"), initializer=worker_process.begin
            )
            loop = asyncio.get_running_loop()
            self._pid = await loop.run_in_executor(self._executor, os.getpid)
        else:
            self._executor = ThreadPoolExecutor(1, "sksemantic-worker")
            self._thread_worker = worker_process.make_worker()
        for name, source in self._sources.items():
            facts = await self._submit("load", name, source, *self._places)
            self.models[name] = facts
            LOG.info("%r is loaded: a %s on %s.", name, facts.kind, facts.backbone)
        self.is_ready = True

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
        self.models[name] = facts
        LOG.info("%r is loaded: a %s on %s.", name, facts.kind, facts.backbone)
        return facts

    async def drop(self, name: str) -> None:
        """Drop a model, once what has come before is answered."""
        del self.models[name], self._sources[name]
        await self._call("drop", name)
        LOG.info("%r is dropped.", name)

    def close(self) -> None:
        """End the worker; one that is still at work in its process is killed."""
        self.is_ready, self._is_closed = False, True
        if self._n_calls and self._pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGTERM)
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)

    async def _call(self, method: str, *args: Any) -> Any:
        """Call a method of the worker, after what it does now."""
        executor = self._executor
        try:
            return await self._submit(method, *args)
        except BrokenProcessPool as exc:
            async with self._restarting:  # others see that it died as well
                if self._executor is executor and not self._is_closed:
                    await self._restart()
            raise WorkerDied from exc

    async def _submit(self, method: str, *args: Any) -> Any:
        function: Any = partial(worker_process.call, method)
        if not self._isolate:
            function = getattr(self._thread_worker, method)
        loop = asyncio.get_running_loop()
        self._n_calls += 1
        try:
            return await loop.run_in_executor(self._executor, function, *args)
        finally:
            self._n_calls -= 1

    async def _restart(self) -> None:
        """Start a process with the same models, in place of one that died."""
        LOG.error("The worker's process has died; it is started again.")
        self.is_ready = False
        self.on_restart()
        if self._executor is not None:
            self._executor.shutdown(wait=False)
        await self.start()
