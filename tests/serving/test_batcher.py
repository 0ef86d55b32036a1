"""Which of the jobs that wait are run together."""

import asyncio

import pytest

pytest.importorskip("fastapi")

from sksemantic._serving.batcher import Batcher
from sksemantic._serving.engine import WorkerDied
from sksemantic._serving.limits import Limits
from sksemantic._serving.messages import Answer, Job


def answered(sizes, run=None, method="predict", **limits):
    """Return the texts of each batch, and all answers, of jobs that come at once."""
    batches = []

    async def note(jobs):
        batches.append([len(job.texts) for job in jobs])
        return [Answer(job.texts) for job in jobs] if run is None else run(jobs)

    async def ask():
        batcher = Batcher(note, Limits(**limits), lambda *counts: None)
        batcher.start()
        jobs = [Job("m", method, ["a"] * size) for size in sizes]
        answers = await asyncio.gather(*map(batcher.submit, jobs))
        await batcher.stop()
        return answers

    return batches, asyncio.run(ask())


def test_batch_when_few_texts_wait_then_takes_all():
    batches, answers = answered([1, 2, 29])
    assert batches == [[1, 2, 29]]
    assert [len(answer.value) for answer in answers] == [1, 2, 29]


def test_batch_when_many_texts_wait_then_takes_half():
    batches, answers = answered([1] * 200)
    assert [*map(sum, batches)] == [100, 50, 32, 18]
    assert {answer.status for answer in answers} == {200}


def test_batch_when_limited_then_has_no_more_texts_but_for_one_job():
    batches, _ = answered([3, 3, 9, 3, 3], batch_texts=6)
    assert batches == [[3, 3], [9], [3, 3]]


def test_batch_when_texts_are_explained_then_of_one_job():
    batches, _ = answered([3, 2, 1], method="explain")
    assert batches == [[3], [2], [1]]


@pytest.mark.parametrize(("error", "status"), [(WorkerDied, 503), (KeyError, 500)])
def test_answers_when_a_batch_fails_then_say_so(error, status):
    def fail(jobs):
        raise error

    _, answers = answered([1, 1], fail)
    assert [answer.status for answer in answers] == [status] * 2


def test_job_when_it_has_waited_too_long_then_is_not_run():
    batches, (answer,) = answered([1], timeout_seconds=1e-9)
    assert (batches, answer.status) == ([], 503)
