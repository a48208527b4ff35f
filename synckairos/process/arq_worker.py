"""The worker process: kicks from arq, and sweeps of its own. The other file that imports arq.

arq's loop ends at the first Redis fault, so it is supervised here; while it is away, the sweep drains alone. Background
jobs have a loop of their own, beside the drains' and never in front of them.
"""

import asyncio
import logging
import os
import socket
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC
from typing import Any

import orjson
from arq.worker import Function, Worker, func
from redis.exceptions import RedisError

from synckairos.audit.arq_wakeups import DRAIN_JOB, arq_queue_name, open_arq_queue, serialize_job, wakeup_key
from synckairos.audit.batch_writer import AuditWriter
from synckairos.audit.drain import RETRY_DELAYS_S, OutboxDrain
from synckairos.audit.lag_alerts import LagAlerts
from synckairos.backoff import Backoff
from synckairos.config import Settings
from synckairos.errors import StoreUnavailable
from synckairos.history.cold.object_store import ColdStorage
from synckairos.history.participant_sessions.refresh import SummaryRefresh
from synckairos.jobs.enqueue import JobQueue
from synckairos.jobs.handlers import JobHandlers
from synckairos.jobs.runner import JobRunner
from synckairos.jobs.table import JobTable, open_job_pool
from synckairos.jobs.wakeups import RUN_JOB, JobWakeups
from synckairos.store.connect import open_store
from synckairos.store.failed_entries import FailedEntries
from synckairos.store.keys import Keys
from synckairos.store.outbox import Outbox
from synckairos.store.outbox_limits import OutboxLimits
from synckairos.store.sessions import SessionStore
from synckairos.store.shared_connection import RedisPipe
from synckairos.telemetry import log

SWEEP_S = 2.0
"""Seconds between two looks at every partition, for what no kick came for."""

TEND_S = 30.0
"""Seconds between two looks at what is to be archived by itself."""

_AT_ONCE = 4
_JOBS_AT_ONCE = 2
_POLL_S = 0.05
_JOB_POLL_S = 0.5
# A long drain is no fault, nor a long export; jobs have ids of their own, so a dead one's stands in nobody's way.
_JOB_TIMEOUT_S = 86_400
_RESTART_S = (0.2, 5.0)  # limits of the first and of the longest delay before arq's loop is started again

logger = log.get_logger(__name__)


async def run_arq_worker(
    settings: Settings, *, backoff_s: Sequence[float] = RETRY_DELAYS_S, sweep_s: float = SWEEP_S
) -> None:
    """Drain until cancelled. A store that is away, at the start too, is waited for.

    Cancelling gives up the batch under way: it was not taken out of the outbox, so the next worker does it again.
    Raises: StoreMismatch, where the store isn't ours to write.
    """
    logging.getLogger("arq.worker").setLevel(logging.WARNING)  # two lines a job, many jobs a second
    keys = Keys(settings.key_prefix, settings.partitions)
    # One more than drains may hold, to ask whether Postgres answers.
    audit_writer = AuditWriter(settings.database_url, settings.key_prefix, connections=_AT_ONCE + 1)
    await audit_writer.open()
    try:
        async with RedisPipe(settings.redis_url, settings.redis_timeout_s) as pipe:
            await _wait_for_store(pipe, keys, sweep_s)
            outbox = Outbox(pipe, keys, OutboxLimits.of(settings))
            drain = OutboxDrain(
                outbox,
                FailedEntries(pipe, keys),
                audit_writer,
                session_ttl_s=settings.session_ttl_s,
                backoff_s=backoff_s,
                at_once=_AT_ONCE,
                after_commit=SummaryRefresh(pipe, keys).after_commit,
            )
            drains = _Drains(drain, audit_writer)
            max_jobs = _AT_ONCE + 2 * settings.partitions
            async with asyncio.TaskGroup() as group:
                group.create_task(_sweep(drains, outbox, sweep_s), name="sweep")
                group.create_task(_take(_drain_function(drains), settings, "drain", max_jobs, _POLL_S), name="kicks")
                group.create_task(_jobs(settings, pipe, outbox, sweep_s), name="jobs")
    finally:
        await audit_writer.close()


async def _wait_for_store(pipe: RedisPipe, keys: Keys, pause_s: float) -> None:
    while True:
        try:
            await open_store(pipe, keys)
        except StoreUnavailable as fault:
            logger.warning("worker waits for redis", setting="REDIS_URL", error=str(fault.__cause__ or fault))
            await asyncio.sleep(pause_s)
        else:
            logger.info("worker started", partitions=keys.partitions)
            return


class _Drains:
    """Drains that are interrupted and come back: said once each time, not at every try."""

    def __init__(self, drain: OutboxDrain, audit_writer: AuditWriter) -> None:
        self._drain = drain
        self._writer = audit_writer
        self._interrupted = False

    async def drain_partition(self, partition: int) -> None:
        """Drain a partition as far as its stores let us."""
        try:
            await self._drain.drain_partition(partition)
        except StoreUnavailable as fault:
            self._note(fault)

    async def is_possible(self) -> bool:
        """Tell whether Postgres answers: found out once, not by every partition."""
        try:
            await self._writer.check_reachable()
        except StoreUnavailable as fault:
            self._note(fault)
            return False
        if self._interrupted:
            logger.info("drain goes on")
            self._interrupted = False
        return True

    def _note(self, fault: StoreUnavailable) -> None:
        if not self._interrupted:
            logger.warning("drain interrupted", error=fault.message)
            self._interrupted = True


async def _sweep(drains: _Drains, outbox: Outbox, sweep_s: float) -> None:
    """Look at every partition every `sweep_s` seconds, and tell how far behind the audit is."""
    lag = LagAlerts()
    async with asyncio.TaskGroup() as group:
        while True:
            with suppress(StoreUnavailable):
                lag.observe(await outbox.backlog())
            if await drains.is_possible():
                # Nobody waits here: a partition that is never empty must not keep us from the others.
                for partition in range(outbox.keys.partitions):
                    group.create_task(drains.drain_partition(partition))
            await asyncio.sleep(sweep_s)


async def _jobs(settings: Settings, pipe: RedisPipe, outbox: Outbox, sweep_s: float) -> None:
    """Carry background jobs out, and queue those that are due by themselves."""
    async with open_job_pool(settings.database_url) as pool:
        job_table = JobTable(pool)
        store = SessionStore(pipe, outbox.keys, settings.history_length)
        handlers = JobHandlers(
            pool, ColdStorage(settings.archive_url), job_table, store, outbox, SummaryRefresh(pipe, outbox.keys)
        )
        runner = JobRunner(job_table, handlers.run, f"{socket.gethostname()}:{os.getpid()}")
        wakeups = JobWakeups(settings.queue_redis_url, settings.key_prefix, settings.redis_timeout_s)
        function = _job_function(runner)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_take(function, settings, "job", _JOBS_AT_ONCE, _JOB_POLL_S), name="carry out")
                group.create_task(
                    _sweep_jobs(runner, JobQueue(job_table, wakeups), wakeups, settings, sweep_s), name="tend"
                )
        finally:
            await wakeups.close()


async def _sweep_jobs(
    runner: JobRunner, job_queue: JobQueue, wakeups: JobWakeups, settings: Settings, sweep_s: float
) -> None:
    """Look every `sweep_s` seconds for jobs that nobody was told of, or that somebody left."""
    next_s = 0.0
    while True:
        with suppress(StoreUnavailable):  # the drain tells of it
            await runner.sweep(wakeups.wake_up)
            if (now_s := asyncio.get_running_loop().time()) >= next_s:
                await job_queue.enqueue_scheduled(settings.archive_after_s, settings.retention_s)
                next_s = now_s + TEND_S
        await asyncio.sleep(sweep_s)


def _job_function(runner: JobRunner) -> Function:
    async def carry_out(ctx: dict[str, Any], job_id: int) -> None:
        await runner.run_job(job_id)

    return func(carry_out, name=RUN_JOB)


def _drain_function(drains: _Drains) -> Function:
    async def drain_partition(ctx: dict[str, Any], partition: int) -> None:
        await ctx["redis"].delete(wakeup_key(ctx["redis"], partition))
        await drains.drain_partition(partition)

    return func(drain_partition, name=DRAIN_JOB)


async def _take(function: Function, settings: Settings, queue: str, max_jobs: int, poll_s: float) -> None:
    """Run arq's worker on a queue, again after each end, later each time until it lasts."""
    backoff = Backoff(*_RESTART_S)
    while True:
        worker = Worker(
            [function],
            redis_pool=open_arq_queue(settings.queue_redis_url, settings.key_prefix, settings.redis_timeout_s, queue),
            queue_name=arq_queue_name(settings.key_prefix, queue),
            job_serializer=serialize_job,
            job_deserializer=orjson.loads,
            handle_signals=False,
            max_jobs=max_jobs,
            job_timeout=_JOB_TIMEOUT_S,
            keep_result=0,
            max_tries=3,
            poll_delay=poll_s,
            timezone=UTC,
        )
        began_s = asyncio.get_running_loop().time()
        loop = asyncio.create_task(worker.main(), name="arq")
        try:
            await asyncio.wait([loop])
        finally:
            await _close(worker, loop)
        fault = None if loop.cancelled() else loop.exception()
        logger.warning("job queue interrupted", queue=queue, error=f"{type(fault).__name__}: {fault}")
        await asyncio.sleep(backoff.next_after_run_s(asyncio.get_running_loop().time() - began_s))


async def _close(worker: Worker, loop: asyncio.Task[None]) -> None:
    """End arq's loop and its jobs, without waiting on a Redis that is away; what was under way is done again."""
    left: set[asyncio.Task[Any]] = {loop, *worker.tasks.values()}
    while left:
        # Again and again: in arq and redis-py there are places that swallow a cancellation.
        for task in left:
            task.cancel()
        done, left = await asyncio.wait(left, timeout=0.2)
        for task in done:
            if not task.cancelled():
                task.exception()
    with suppress(RedisError, OSError):
        await worker.pool.aclose(close_connection_pool=True)
