"""The worker process put together: the drain, and beside it what must never be in its way."""

import asyncio
from collections.abc import Awaitable, Callable

from synckairos.config import Settings
from synckairos.process import arq_worker
from synckairos.process.gc_tuning import tune_gc
from synckairos.telemetry import log
from synckairos.webhooks import dispatcher

_AGAIN_S = 5.0

logger = log.get(__name__)


async def run_worker(settings: Settings) -> None:
    """Drain, and send webhooks, until cancelled. Raises what `audit.worker.run` raises: nothing else ends it."""
    tune_gc()
    beside = [asyncio.create_task(_keep_up("webhooks", dispatcher.run_dispatcher, settings))]
    try:
        await arq_worker.run_arq_worker(settings)
    finally:
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)


async def _keep_up(name: str, job: Callable[[Settings], Awaitable[None]], settings: Settings) -> None:
    """Run a job, and again after a pause should it ever end by itself."""
    while True:
        try:
            await job(settings)
        except Exception:
            logger.exception("ended by itself and begins again", job=name)
        await asyncio.sleep(_AGAIN_S)
