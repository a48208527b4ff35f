"""The worker process: runs the loops for drains, background jobs and webhook deliveries."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from synckairos.config import Settings
from synckairos.process import drain_and_job_loops
from synckairos.process.interpreter_tuning import tune_gc
from synckairos.process.metrics_endpoint import open_metrics_endpoint
from synckairos.telemetry.guarded_loop import LONGEST_PAUSE_S, keep_running
from synckairos.telemetry.metrics import set_build_info
from synckairos.telemetry.outages import StoreOutage
from synckairos.telemetry.tracing import tracing
from synckairos.webhooks import dispatcher

_POSTGRES_EFFECT = "versions stay in the outbox, jobs and webhooks wait, and nothing is lost; live sessions work"


async def run_worker(
    settings: Settings,
    *,
    dispatch: Callable[[Settings, StoreOutage], Awaitable[None]] = dispatcher.run_dispatcher,
    restart_s: float = LONGEST_PAUSE_S,
) -> None:
    """Drain the outbox, run background jobs and send webhooks until cancelled.

    `dispatch` is the loop that sends webhooks. If this loop fails or returns, it is started again after at most
    `restart_s` seconds. Drains and jobs continue in the meantime.

    Raises: The exceptions of `open_metrics_endpoint` and `run_arq_worker`.
    """
    tune_gc()
    set_build_info("worker")
    outage = StoreOutage("postgres", "DATABASE_URL", _POSTGRES_EFFECT)
    send = partial(dispatch, settings, outage)
    async with tracing(settings.trace_ratio, "worker"), open_metrics_endpoint(settings):
        tasks = [asyncio.create_task(keep_running("webhooks", send, longest_pause_s=restart_s))]
        try:
            await drain_and_job_loops.run_arq_worker(settings, outage)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
