"""The worker process: runs the loops for drains, background jobs and webhook deliveries."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial

from synckairos.config import Settings
from synckairos.process import drain_and_job_loops
from synckairos.process.interpreter_tuning import tune_gc
from synckairos.process.metrics_endpoint import open_metrics_endpoint
from synckairos.process.process_group import ProcessGroup
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
    group: ProcessGroup | None = None,
) -> None:
    """Drain the outbox, run background jobs and send webhooks until cancelled.

    `dispatch` is the loop that sends webhooks. If this loop fails or returns, it is started again after at most
    `restart_s` seconds. Drains and jobs continue in the meantime. `group` is the group of processes that share the port
    for metrics, None for a single worker.

    Raises: The exceptions of `open_metrics_endpoint` and `run_arq_worker`.
    """
    tune_gc()
    set_build_info("worker")
    outage = StoreOutage("postgres", "DATABASE_URL", _POSTGRES_EFFECT)
    send = partial(dispatch, settings, outage)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(tracing(settings.trace_ratio, "worker"))
        if group is not None:
            await stack.enter_async_context(group.join())
        await stack.enter_async_context(open_metrics_endpoint(settings, group))
        tasks = [asyncio.create_task(keep_running("webhooks", send, longest_pause_s=restart_s))]
        try:
            await drain_and_job_loops.run_arq_worker(settings, outage)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
