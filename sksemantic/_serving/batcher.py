"""Requests that come at about the same time are answered together."""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from sksemantic._serving.engine import WorkerDied
from sksemantic._serving.limits import Limits
from sksemantic._serving.messages import EXPLAIN, Answer, Job

# So many texts take as long, each of them, as more do: measured with MiniLM on a CPU.
_ENOUGH_TEXTS = 32


@dataclass
class _Waiting:
    job: Job
    since: float
    answer: "asyncio.Future[Answer]"

    @property
    def n_texts(self) -> int:
        return len(self.job.texts)


class Batcher:
    """A queue of jobs, and batches of those that have waited long enough.

    While one batch is run the next one fills. A batch begins when its first job has
    waited for `Limits.wait_seconds`, or when it has as many texts as it may have. Of
    many texts that wait it takes half: while the others are read, answers are sent, and
    who has got one may ask again. A batch explains for one job at most: that takes
    long. A job whose client has gone is not run.
    """

    def __init__(
        self,
        run: Callable[[list[Job]], Awaitable[list[Answer]]],
        limits: Limits,
        on_batch: Callable[[int, int, float], None],
    ) -> None:
        self._run = run
        self._limits = limits
        self._on_batch = on_batch  # is told of jobs, texts and seconds
        self._queue: deque[_Waiting] = deque()
        self._has_news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._is_running = False
        self.n_texts = 0  # that wait
        self._seconds_a_text = 0.01  # a moving average

    def start(self) -> None:
        """Begin to run batches."""
        self._has_news = asyncio.Event()  # an application may be started again
        self._task = asyncio.create_task(self._work())

    async def stop(self) -> None:
        """Answer what is still waiting, and end."""
        while self._queue or self._is_running:
            await asyncio.sleep(0.01)
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    @property
    def seconds_to_wait(self) -> float:
        """About how long it takes until what waits now is answered."""
        return self.n_texts * self._seconds_a_text

    def has_room(self, n_texts: int) -> bool:
        """Whether so many more texts may wait."""
        return self.n_texts + n_texts <= self._limits.queue_texts

    def submit(self, job: Job) -> "asyncio.Future[Answer]":
        """Let a job wait; cancel what is returned if nobody waits for it any more.

        After `Limits.timeout_seconds` the answer is 503, even if the job is being run.
        """
        loop = asyncio.get_running_loop()
        answer = loop.create_future()
        timer = loop.call_later(self._limits.timeout_seconds, _give_up, answer)
        answer.add_done_callback(lambda _: timer.cancel())
        self._queue.append(_Waiting(job, time.monotonic(), answer))
        self.n_texts += len(job.texts)
        self._has_news.set()
        return answer

    async def _work(self) -> None:
        while True:
            await self._fill()
            batch = self._take()
            self._is_running = bool(batch)
            if batch:
                await self._answer(batch)
            self._is_running = False

    async def _fill(self) -> None:
        """Wait until a batch is to begin."""
        while not self._queue:
            self._has_news.clear()
            await self._has_news.wait()
        begin = self._queue[0].since + self._limits.wait_seconds
        while self.n_texts < self._limits.batch_texts:
            left = begin - time.monotonic()
            if left <= 0:
                return
            self._has_news.clear()
            try:
                await asyncio.wait_for(self._has_news.wait(), left)
            except TimeoutError:
                return

    def _take(self) -> list[_Waiting]:
        """Take the jobs of a batch from the queue, but those nobody waits for."""
        batch: list[_Waiting] = []
        n_texts = 0
        most = min(self._limits.batch_texts, max(_ENOUGH_TEXTS, self.n_texts // 2))
        while self._queue:
            first = self._queue[0]
            if batch and n_texts + first.n_texts > most:
                break
            if first.job.method == EXPLAIN and any(
                each.job.method == EXPLAIN for each in batch
            ):
                break
            self._queue.popleft()
            self.n_texts -= first.n_texts
            if first.answer.done():  # its client has gone, or has waited too long
                continue
            batch.append(first)
            n_texts += first.n_texts
        return batch

    async def _answer(self, batch: list[_Waiting]) -> None:
        start = time.monotonic()
        try:
            answers = await self._run([each.job for each in batch])
        except WorkerDied:
            lost = Answer(status=503, detail="The worker was lost; try again.")
            answers = [lost] * len(batch)
        except Exception as exc:
            failed = Answer(status=500, detail=f"{type(exc).__name__}: {exc}")
            answers = [failed] * len(batch)
        n_texts, seconds = sum(each.n_texts for each in batch), time.monotonic() - start
        self._seconds_a_text += 0.2 * (seconds / n_texts - self._seconds_a_text)
        self._on_batch(len(batch), n_texts, seconds)
        for each, answer in zip(batch, answers, strict=True):
            if not each.answer.done():
                each.answer.set_result(answer)


def _give_up(answer: "asyncio.Future[Answer]") -> None:
    """Say that it took too long, if nothing has been said."""
    if not answer.done():
        answer.set_result(Answer(status=503, detail="Waited too long."))
