"""The worker process put together: the drain, and beside it what must never be in its way."""

import asyncio
from collections.abc import Awaitable, Callable

from synckairos.backoff import Backoff
from synckairos.config import Settings
from synckairos.process import arq_worker
from synckairos.process.gc_tuning import tune_gc
from synckairos.telemetry import log
from synckairos.webhooks import dispatcher

RESTART_S = 5.0
"""Seconds before a background loop that ended is started again: limit of the longest delay."""

logger = log.get_logger(__name__)


async def run_worker(
    settings: Settings,
    *,
    dispatch: Callable[[Settings], Awaitable[None]] = dispatcher.run_dispatcher,
    restart_s: float = RESTART_S,
) -> None:
    """Drain, and send webhooks, until cancelled. Raises what `audit.worker.run` raises: nothing else ends it."""
    tune_gc()
    beside = [asyncio.create_task(_keep_running("webhooks", dispatch, settings, restart_s))]
    try:
        await arq_worker.run_arq_worker(settings)
    finally:
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)


async def _keep_running(
    name: str, job: Callable[[Settings], Awaitable[None]], settings: Settings, restart_s: float
) -> None:
    """Run a job, and again after a pause should it ever end by itself."""
    backoff = Backoff(longest_s=restart_s)
    while True:
        began_s = asyncio.get_running_loop().time()
        try:
            await job(settings)
        except Exception:
            logger.exception("ended by itself and begins again", job=name)
        await asyncio.sleep(backoff.next_after_run_s(asyncio.get_running_loop().time() - began_s))
