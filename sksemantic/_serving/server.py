"""One server: its models, its queue and its counters."""

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from fastapi import FastAPI, HTTPException, Request

from sksemantic._serving.batcher import Batcher
from sksemantic._serving.engine import Engine, WorkerDied
from sksemantic._serving.limits import Limits
from sksemantic._serving.messages import EXPLAIN, LOG, Answer, Job, ModelFacts
from sksemantic._serving.metrics import Metrics
from sksemantic._serving.schemas import Place, Texts

# Of one request to explain: a text is read dozens of times, or for each of its words.
_MAX_EXPLAINED, _MAX_CHARACTERS = 8, 5000
_SECONDS_TO_STOP = 5.0  # once no client waits any more


class Server:
    """Models that are asked over HTTP, and what is counted of it."""

    def __init__(
        self,
        engine: Engine,
        limits: Limits,
        models_folder: "str | Path | None",
    ) -> None:
        self.engine = engine
        self.limits = limits
        self.folder = None if models_folder is None else Path(models_folder).resolve()
        self.metrics = Metrics()
        engine.patience = limits.timeout_seconds
        engine.on_restart = self.metrics.worker_restarts.inc
        self.batcher = Batcher(self.engine.run, limits, self.metrics.count_batch)
        self.is_stopping = False
        self._loading: set[asyncio.Task[ModelFacts]] = set()

    @contextlib.asynccontextmanager
    async def lifespan(self, app: FastAPI) -> AsyncIterator[None]:
        """Load the models and answer; at the end answer what waits, then stop."""
        self.is_stopping = False
        await self.engine.start()
        self.batcher.start()
        watch = asyncio.create_task(self.engine.watch())
        try:
            yield
        finally:
            self.is_stopping = True
            watch.cancel()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.batcher.stop(), _SECONDS_TO_STOP)
            await asyncio.to_thread(self.engine.close)

    @property
    def is_ready(self) -> bool:
        """Whether texts are answered."""
        return self.engine.is_ready and not self.is_stopping

    async def answer(
        self, request: Request, texts: Texts, method: str
    ) -> tuple[ModelFacts, Any]:
        """Return the facts of the model that was asked, and its answer."""
        start = time.perf_counter()
        try:
            facts = self._check(texts, method)
            job = Job(facts.name, method, texts.texts)
            answer = await self._wait_for(request, job)
            if answer.status != 200:
                later = {"Retry-After": "5"} if answer.status == 503 else None
                raise HTTPException(answer.status, answer.detail, later)
            self.metrics.texts.labels(facts.name).inc(len(texts.texts))
            return facts, answer.value
        finally:
            seconds = time.perf_counter() - start
            self.metrics.request_seconds.labels(method).observe(seconds)

    def _check(self, texts: Texts, method: str) -> ModelFacts:
        """Return the model's facts; refuse what cannot be answered now, or ever."""
        if not self.engine.is_started:
            raise HTTPException(
                503,
                "No model was loaded: the lifespan of this application has not run. "
                "Where it is mounted, the outer one has to run it.",
            )
        models, name = self.engine.models, texts.model
        if name is None and len(models) == 1:
            (name,) = models
        if name is None:
            raise HTTPException(400, f"Name a model: {', '.join(models)}.")
        if name not in models:
            raise HTTPException(404, f"There is no model {name!r}.")
        facts = models[name]
        if method not in facts.methods:
            raise HTTPException(400, f"{name!r} is a {facts.kind}, without {method}.")
        most = _MAX_EXPLAINED if method == EXPLAIN else self.limits.request_texts
        if len(texts.texts) > most:
            raise HTTPException(413, f"A request may have {most} texts at most.")
        if method == EXPLAIN and _n_characters(texts.texts) > _MAX_CHARACTERS:
            raise HTTPException(
                413, f"An explanation may have {_MAX_CHARACTERS:,} characters at most."
            )
        if not self.is_ready:
            raise HTTPException(503, "Not ready.", {"Retry-After": "5"})
        if not self.batcher.has_room(len(texts.texts)):
            seconds = max(1, math.ceil(self.batcher.seconds_to_wait))
            raise HTTPException(503, "Too busy.", {"Retry-After": str(seconds)})
        return facts

    async def _wait_for(self, request: Request, job: Job) -> Answer:
        """Return the answer of a job, which is not run once its client has gone."""
        answer = self.batcher.submit(job)
        gone = asyncio.create_task(_is_gone(request))
        try:
            first: Any = {answer, gone}
            await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                raise HTTPException(499, "The client has gone.")
            return answer.result()
        finally:
            answer.cancel()
            gone.cancel()

    def check_folder(self) -> Path:
        """Return the folder of models; refuse if there is none."""
        if self.folder is None:
            raise HTTPException(
                403,
                "This server loads and drops no models: it was started without "
                "--models-folder, or create_app without models_folder.",
            )
        return self.folder

    def directory(self, place: Place) -> Path:
        """Return the directory of a model to load; it must be in the folder."""
        folder = self.check_folder()
        with contextlib.suppress(OSError, ValueError):  # it is no path at all
            directory = (folder / place.directory).resolve()
            if directory.is_relative_to(folder) and directory.is_dir():
                return directory
        raise HTTPException(
            404,
            f"There is no directory {place.directory[:100]!r} in the folder of models. "
            "Pass its path relative to that folder.",
        )

    async def load(self, place: Place) -> ModelFacts:
        """Load a model; a client that has waited too long learns that it goes on."""
        directory = self.directory(place)
        loading = asyncio.create_task(self.engine.load(place.name, str(directory)))
        self._loading.add(loading)
        loading.add_done_callback(self._loaded)
        await asyncio.wait([loading], timeout=self.limits.timeout_seconds)
        if not loading.done():
            raise HTTPException(
                503, "It is still being loaded: see GET /models.", {"Retry-After": "5"}
            )
        try:
            return loading.result()
        except WorkerDied as exc:
            raise HTTPException(503, "The worker was lost while loading.") from exc
        except Exception as exc:
            said = str(exc).replace(str(directory), place.directory)
            raise HTTPException(400, said) from exc

    def _loaded(self, loading: "asyncio.Task[ModelFacts]") -> None:
        """Forget a task that has ended; say why it has failed."""
        self._loading.discard(loading)
        if not loading.cancelled() and loading.exception() is not None:
            LOG.error("A model was not loaded: %s", loading.exception())


async def _is_gone(request: Request) -> None:
    """Return when the client has gone."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _n_characters(texts: list[Any]) -> int:
    return sum(
        len(text) if isinstance(text, str) else _n_characters(text) for text in texts
    )
