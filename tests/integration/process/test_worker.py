"""The worker process tunes the garbage collector before it starts to drain."""

import asyncio
import gc
from contextlib import suppress

from synckairos.config import Settings
from synckairos.process import worker
from tests.waiting import eventually


async def test_started_worker_freezes_objects_and_raises_the_collector_thresholds(settings: Settings) -> None:
    before = gc.get_threshold()
    gc.unfreeze()
    gc.set_threshold(700, 10, 10)  # another test of this process can have tuned the collector
    task = asyncio.create_task(worker.run_worker(settings))

    async def is_tuned() -> bool:
        return gc.get_freeze_count() > 0

    try:
        await eventually(is_tuned)
        assert gc.get_threshold() > (700, 10, 10)
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        gc.unfreeze()
        gc.set_threshold(*before)
