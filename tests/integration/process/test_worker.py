"""The worker process put together."""

import asyncio
import gc
from contextlib import suppress

from synckairos.config import Settings
from synckairos.process import worker
from tests.waiting import eventually


async def test_its_garbage_collector_is_spared(settings: Settings) -> None:
    before = gc.get_threshold()
    task = asyncio.create_task(worker.run_worker(settings))

    async def is_spared() -> bool:
        return gc.get_freeze_count() > 0

    try:
        await eventually(is_spared)
        assert gc.get_threshold() > before
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        gc.unfreeze()
        gc.set_threshold(*before)
