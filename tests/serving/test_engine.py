"""The worker's process: it is watched, and started again."""

import asyncio
import os
import signal

import pytest

pytest.importorskip("fastapi")

from sksemantic._serving import engine as module
from sksemantic._serving.engine import Engine, WorkerDied
from sksemantic._serving.messages import Job

JOB = Job("one", "predict", ["a film"])


async def until(condition):
    """Wait until something is so."""
    for _ in range(600):
        if condition():
            return
        await asyncio.sleep(0.1)
    raise AssertionError("it has not come about")


@pytest.fixture
def saved(fitted, tmp_path):
    """Save a model twice, with its backbone; return the directories by name."""
    places = {name: tmp_path / name for name in ("one", "two")}
    for place in places.values():
        fitted.save_pretrained(place, backbone=True)
    return places


@pytest.mark.slow
def test_engine_when_its_worker_dies_or_hangs_then_starts_it_again(saved, monkeypatch):
    monkeypatch.setattr(module, "_HANGS", 1.0)
    restarts = []

    async def live():
        engine = Engine(saved, "cpu", None, isolate=True)
        engine.patience = 0.3
        engine.on_restart = lambda: restarts.append(engine._pid)
        await engine.start()
        watch = asyncio.create_task(engine.watch())
        os.kill(engine._pid, signal.SIGKILL)  # while nobody asks
        await until(lambda: restarts and engine.is_ready)
        (answer,) = await engine.run([JOB])
        assert answer.status == 200
        (saved["two"] / "config.json").unlink()
        os.kill(engine._pid, signal.SIGSTOP)
        asked = asyncio.create_task(engine.run([JOB]))
        await until(lambda: not engine.is_ready)  # it has not answered for too long
        with pytest.raises(WorkerDied):
            await asked
        await until(lambda: engine.is_ready)
        assert [*engine.models] == ["one"]  # the other is there no more
        watch.cancel()
        engine.close()

    asyncio.run(live())
    assert len(restarts) == 2
