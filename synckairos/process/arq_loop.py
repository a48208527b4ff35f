"""arq's loop on one queue: started again with back-off when it ends, because it ends at the first Redis fault.

A message only announces work that a sweep also finds. So a lost message or a dropped queue causes only delay. The only
other module that imports arq is `audit.drain_wakeups`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import UTC
from typing import Any

import orjson
from arq.cron import CronJob, cron
from arq.worker import Function, Worker, func
from redis.exceptions import RedisError

from synckairos.audit.drain_wakeups import (
    DRAIN_JOB,
    arq_queue_name,
    drain_wakeup_key,
    make_arq_client,
    serialize_arq_job,
)
from synckairos.backoff import Backoff
from synckairos.config import Settings
from synckairos.jobs.wakeups import RUN_JOB
from synckairos.store.redis_errors import is_about_invalid_data
from synckairos.telemetry import log
from synckairos.telemetry.invalid_data import PARSE_ERRORS, report_invalid_data
from synckairos.telemetry.outages import StoreOutage

_JOB_TIMEOUT_S = 86_400
"""Seconds after which arq cancels a drain or job. One day, because a long drain or export is not a fault.

arq also blocks the message id of a dead worker for this time. This has no effect, because each id is used one time.
"""
_RESTART_S = (0.2, 5.0)
"""Seconds before arq's loop is started again: maximum of the first delay, and maximum of all later delays."""

logger = log.get_logger(__name__)


def job_function(run: Callable[[int], Awaitable[None]]) -> Function:
    """Return the arq function that runs a background job. `run` is called with the id of the job."""

    async def run_job(ctx: dict[str, Any], job_id: int) -> None:
        await run(job_id)

    return func(run_job, name=RUN_JOB)


def drain_function(drain: Callable[[int], Awaitable[None]]) -> Function:
    """Return the arq function that drains a partition of the outbox. `drain` is called with the partition."""

    async def drain_partition(ctx: dict[str, Any], partition: int) -> None:
        await ctx["redis"].delete(drain_wakeup_key(ctx["redis"], partition))
        await drain(partition)

    return func(drain_partition, name=DRAIN_JOB)


def daily_function(run: Callable[[], Awaitable[None]], name: str, hour: int) -> CronJob:
    """Return the arq function that calls `run` once a day at minute 0 of `hour` (UTC), in one of all workers.

    `name` identifies the function in the queue. All workers must use the same name.
    """

    async def run_daily(ctx: dict[str, Any]) -> None:
        await run()

    return cron(run_daily, name=name, hour=hour, minute=0, second=0, microsecond=0)


async def run_arq_loop(
    function: Function,
    settings: Settings,
    outage: StoreOutage,
    queue: str,
    max_jobs: int,
    poll_s: float,
    daily_functions: Sequence[CronJob] = (),
) -> None:
    """Run arq's worker on `queue` until cancelled. Start the worker again with back-off when it ends.

    `max_jobs` is the maximum number of messages that the worker handles at the same time. `poll_s` is the number of
    seconds between two reads of the queue. `daily_functions` run at their instants. An instant that passes while the
    queue's Redis is unreachable is made up for, because the functions keep their next instant.
    """
    backoff = Backoff(*_RESTART_S)
    part = f"{queue} queue"
    while True:
        client = make_arq_client(settings.queue_redis_url, settings.key_prefix, settings.redis_timeout_s, queue)
        try:
            await client.ping()
        except (RedisError, OSError) as error:
            outage.report_unreachable(part, error)
            await client.aclose(close_connection_pool=True)
            await asyncio.sleep(backoff.next_s())
            continue
        outage.report_reachable(part)
        worker = Worker(
            [function],
            redis_pool=client,
            queue_name=arq_queue_name(settings.key_prefix, queue),
            job_serializer=serialize_arq_job,
            job_deserializer=orjson.loads,
            handle_signals=False,
            max_jobs=max_jobs,
            job_timeout=_JOB_TIMEOUT_S,
            keep_result=0,
            max_tries=3,
            poll_delay=poll_s,
            timezone=UTC,
            cron_jobs=daily_functions,
        )
        began_s = asyncio.get_running_loop().time()
        loop = asyncio.create_task(worker.main(), name="arq")
        try:
            await asyncio.wait([loop])
        finally:
            await _close(worker, loop)
        fault = None if loop.cancelled() else loop.exception()
        if isinstance(fault, PARSE_ERRORS) or (fault is not None and is_about_invalid_data(fault)):
            await _drop_queue(settings, queue, fault)
        elif isinstance(fault, RedisError | OSError):
            outage.report_unreachable(part, fault)
        else:
            logger.warning("job queue interrupted", queue=queue, error=f"{type(fault).__name__}: {fault}")
        await asyncio.sleep(backoff.delay_after_run_s(asyncio.get_running_loop().time() - began_s))


async def _drop_queue(settings: Settings, queue: str, fault: BaseException) -> None:
    """Drop all messages of a queue, because arq cannot read one of them. `fault` is the exception of arq.

    The dropped messages announced drains or jobs. The next sweep finds these drains and jobs. If Redis is unavailable,
    the messages stay.
    """
    name = arq_queue_name(settings.key_prefix, queue)
    report_invalid_data(name, fault)
    client = make_arq_client(settings.queue_redis_url, settings.key_prefix, settings.redis_timeout_s, queue)
    with suppress(RedisError, OSError):
        await client.delete(name)
    await client.aclose(close_connection_pool=True)


async def _close(worker: Worker, loop: asyncio.Task[None]) -> None:
    """Cancel arq's loop and its tasks, and close arq's Redis connections.

    arq's own `close` would wait for Redis, also if Redis is unreachable. The cancelled work is repeated later.
    """
    remaining: set[asyncio.Task[Any]] = {loop, *worker.tasks.values()}
    while remaining:
        # Repeat the cancellation, because arq and redis-py ignore a single cancellation in some places.
        for task in remaining:
            task.cancel()
        done, remaining = await asyncio.wait(remaining, timeout=0.2)
        for task in done:
            if not task.cancelled():
                task.exception()
    with suppress(RedisError, OSError):
        await worker.pool.aclose(close_connection_pool=True)
