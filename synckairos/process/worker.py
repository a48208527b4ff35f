"""The worker process: runs the loops for drains, background jobs and webhook deliveries."""

import asyncio
from collections.abc import Awaitable, Callable

from synckairos.backoff import Backoff
from synckairos.config import Settings
from synckairos.process import drain_and_job_loops
from synckairos.process.gc_tuning import tune_gc
from synckairos.telemetry import log
from synckairos.webhooks import dispatcher

RESTART_S = 5.0
"""Maximum seconds before a background loop that ended is started again."""

logger = log.get_logger(__name__)


async def run_worker(
    settings: Settings,
    *,
    dispatch: Callable[[Settings], Awaitable[None]] = dispatcher.run_dispatcher,
    restart_s: float = RESTART_S,
) -> None:
    """Drain the outbox, run background jobs and send webhooks until cancelled.

    `dispatch` is the loop that sends webhooks. If it fails, it is started again after at most `restart_s` seconds, and
    drains and jobs continue.

    Raises: The exceptions of `run_arq_worker`.
    """
    tune_gc()
    tasks = [asyncio.create_task(_keep_running("webhooks", dispatch, settings, restart_s))]
    try:
        await drain_and_job_loops.run_arq_worker(settings)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _keep_running(
    name: str, loop: Callable[[Settings], Awaitable[None]], settings: Settings, restart_s: float
) -> None:
    """Run `loop` until cancelled. Start the loop again with back-off when it returns or fails.

    `name` is for the log. `restart_s` is the maximum delay in seconds.
    """
    backoff = Backoff(longest_s=restart_s)
    while True:
        began_s = asyncio.get_running_loop().time()
        try:
            await loop(settings)
        except Exception:
            logger.exception("background loop failed and is started again", job=name)
        await asyncio.sleep(backoff.next_after_run_s(asyncio.get_running_loop().time() - began_s))
