"""Loops of a worker process that drain the outbox and run background jobs.

Wake-ups through arq start most drains and jobs. A sweep starts them periodically, so that a lost wake-up causes only
delay. Drains and jobs have separate arq loops (`arq_loop.py`), so that a long job delays no drain.
"""

import asyncio
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial

from synckairos.admin.members import open_member_changes
from synckairos.audit.backlog_log import BacklogLog
from synckairos.audit.batch_writer import AuditDatabase
from synckairos.audit.charge_fill import ChargeFiller
from synckairos.audit.drain import OutboxDrain
from synckairos.audit.drain_wakeups import (
    make_arq_queue_outage,
)
from synckairos.audit.entry_rows import BatchRows
from synckairos.config import Settings
from synckairos.errors import StoreMoved, StoreUnavailable
from synckairos.history.cold.object_store import ColdStorage
from synckairos.history.participant_sessions.update_after_drain import SummaryRefresh
from synckairos.jobs.enqueue import JobQueue
from synckairos.jobs.handlers import JobHandlers
from synckairos.jobs.runner import JobRunner
from synckairos.jobs.table import JobTable, open_job_pool
from synckairos.jobs.wakeups import JobWakeups
from synckairos.members.nightly_schedule import NightlyMemberSchedule
from synckairos.members.reconciliation_job import MemberReconciliationJob
from synckairos.postgres.tenant_roles import require_roles
from synckairos.process.arq_loop import daily_function, drain_function, job_function, run_arq_loop
from synckairos.process.moved_store import RETRY_S, leave_moved_store, settings_after_move
from synckairos.revocations.copier import RevocationCopier
from synckairos.revocations.table import RevocationTable
from synckairos.store.connect import check_store_settings, make_pipe
from synckairos.store.control_store import ControlStore
from synckairos.store.failed_entries import FailedEntries
from synckairos.store.keys import Keys
from synckairos.store.outbox import Outbox
from synckairos.store.outbox_limits import OutboxLimits
from synckairos.store.running_releases import RunningReleases
from synckairos.store.sessions import SessionStore
from synckairos.store.shared_connection import RedisPipe
from synckairos.store.tenant_data import TenantData
from synckairos.stored_credentials.table import CredentialTable
from synckairos.telemetry import log
from synckairos.telemetry.guarded_loop import keep_running
from synckairos.telemetry.outages import LogThrottle, SilentOutage, StoreOutage
from synckairos.tenants.deletion import TenantDeletion, enqueue_due_deletions
from synckairos.tenants.table import TenantTable

SWEEP_INTERVAL_S = 2.0
"""Seconds between two sweeps. A sweep drains all partitions, for outbox entries whose wake-up was lost."""

SCHEDULE_INTERVAL_S = 30.0
"""Seconds between two checks whether a scheduled job (archive, retention) has work."""

CHARGE_SEARCH_INTERVAL_S = 3_600.0
"""Seconds between two searches for sessions whose charges are not complete. The search reads all session rows."""

_MAX_DRAINS = 4
"""Maximum number of partitions that one worker drains at the same time."""
_MAX_JOBS = 2
"""Maximum number of background jobs that one worker runs at the same time."""
_POLL_S = 0.05
"""Seconds between two reads of the drain queue by arq."""
_JOB_POLL_S = 0.5
"""Seconds between two reads of the job queue by arq."""
_EFFECT = "drains and jobs wait, and nothing in the outbox is lost; webhooks are sent"
"""Effect of a Redis outage on the worker, for the log."""

logger = log.get_logger(__name__)


async def run_arq_worker(
    settings: Settings, postgres_outage: StoreOutage | None = None, *, sweep_s: float = SWEEP_INTERVAL_S
) -> None:
    """Drain the outbox and run background jobs until cancelled, as `_run_on_store`. Follow the store if it moves."""
    while True:
        try:
            await _run_on_store(settings, postgres_outage, sweep_s=sweep_s)
        except* StoreMoved as group:
            moved = group.exceptions[0]
        else:
            return
        assert isinstance(moved, StoreMoved)  # no task has a group of its own
        settings = await _follow(settings, moved)


async def _follow(settings: Settings, moved: StoreMoved) -> Settings:
    """Return the settings of the new store as soon as its Redis answers."""
    while True:
        with suppress(StoreUnavailable):
            return await settings_after_move(settings, moved)
        await asyncio.sleep(RETRY_S)


async def _run_on_store(settings: Settings, postgres_outage: StoreOutage | None, *, sweep_s: float) -> None:
    """Drain the outbox and run background jobs until cancelled.

    If Redis or Postgres is unreachable, wait until it is reachable again. `postgres_outage` gets the reports about
    Postgres; None does not log outages of Postgres. `sweep_s` is the number of seconds between two sweeps.

    Cancellation stops a drain in the middle of a batch. The entries of the batch stay in the outbox, and the next drain
    writes them to Postgres.

    Raises:
        StoreMisconfigured: The data in Redis belongs to other settings, Redis is unsafe to write to, or tokens are
            required and the login of Postgres may not use the roles that separate tenants. Only at the start, before
            the first drain and job.
    """
    logging.getLogger("arq.worker").setLevel(logging.WARNING)  # at INFO arq writes two lines for each message
    keys = Keys(settings.key_prefix, settings.partitions)
    # Each drain can hold one connection. One more checks whether Postgres is reachable, one fills in charges, and one
    # reads documents for drains.
    writer = AuditDatabase(
        settings.database_url,
        settings.key_prefix,
        max_connections=_MAX_DRAINS + 3,
        stores_changes=settings.stores_changes,
        has_sparse_snapshots=settings.audit_snapshots == "sparse",
        requires_roles=settings.auth == "required",
    )
    at_postgres = postgres_outage or SilentOutage()
    writer.pool.outage = at_postgres
    await writer.open()
    try:
        if settings.auth == "required":
            await require_roles(writer.pool)
        pipe = make_pipe(settings.redis_url, settings.redis_timeout_s, move_key=keys.fixed_settings)
        pipe.outage = StoreOutage("redis", "REDIS_URL", _EFFECT)
        at_queue = pipe.outage if settings.queue_redis_url == settings.redis_url else make_arq_queue_outage()
        async with pipe:
            keys = await _wait_for_store(pipe, keys, sweep_s)
            outbox = Outbox(pipe, keys, OutboxLimits.from_settings(settings))
            charge_filler = ChargeFiller(writer.pool)
            summary_refresh = SummaryRefresh(pipe, keys)

            async def after_commit(rows: BatchRows) -> None:
                charge_filler.note_incomplete_sessions(rows)
                await summary_refresh.apply_audited_rows(rows)

            drain = OutboxDrain(
                outbox,
                FailedEntries(pipe, keys),
                writer,
                session_ttl_s=settings.session_ttl_s,
                max_concurrent=_MAX_DRAINS,
                after_commit=after_commit,
            )
            drains = _Drains(drain, writer, pipe.outage, at_postgres)
            max_messages = _MAX_DRAINS + 2 * settings.partitions
            on_wakeup = drain_function(drains.drain_partition)
            async with asyncio.TaskGroup() as group:
                group.create_task(keep_running("sweep", lambda: _sweep(drains, outbox, sweep_s)), name="sweep")
                group.create_task(
                    run_arq_loop(on_wakeup, settings, at_queue, "drain", max_messages, _POLL_S),
                    name="drain wake-ups",
                )
                run_jobs = partial(_run_jobs, settings, pipe, outbox, at_queue, at_postgres, sweep_s)
                group.create_task(keep_running("jobs", run_jobs), name="jobs")
                announce = partial(RunningReleases(pipe, keys).announce_until_cancelled, "worker")
                group.create_task(keep_running("release", announce), name="release")
                group.create_task(leave_moved_store(pipe, keys), name="move of the store")
                fill_charges = partial(_fill_charges, charge_filler, sweep_s)
                group.create_task(keep_running("charges", fill_charges), name="charges")
                copier = RevocationCopier(
                    ControlStore(pipe, keys), RevocationTable(writer.pool), CredentialTable(writer.pool).end_revoked
                )
                group.create_task(
                    keep_running("revocations", partial(_copy_revocations, copier, sweep_s)), name="revocations"
                )
    finally:
        await writer.close()


async def _wait_for_store(pipe: RedisPipe, keys: Keys, pause_s: float) -> Keys:
    """Check the settings of the store as soon as Redis answers. Return the keys of the store."""
    while True:
        try:
            stored = await check_store_settings(pipe, keys)
        except StoreUnavailable as fault:
            pipe.outage.report_unreachable("start", fault.__cause__ or fault)
            await asyncio.sleep(pause_s)
        else:
            pipe.outage.report_reachable("start")
            logger.info("worker started", partitions=keys.partitions)
            return stored


class _Drains:
    """Runner of drains that handles all errors: outages are reported to `StoreOutage`, other errors are logged."""

    def __init__(
        self, drain: OutboxDrain, writer: AuditDatabase, redis_outage: StoreOutage, postgres_outage: StoreOutage
    ) -> None:
        self._drain = drain
        self._writer = writer
        self._redis_outage = redis_outage
        self._postgres_outage = postgres_outage
        self._failures = LogThrottle()

    async def drain_partition(self, partition: int) -> None:
        """Drain one partition of the outbox. If the drain fails, report or log the error and return normally."""
        try:
            await self._drain.drain_partition(partition)
        except StoreUnavailable as fault:
            if fault.setting == "REDIS_URL":
                self._redis_outage.report_unreachable("drain", fault.__cause__ or fault)
            else:
                self._postgres_outage.report_unreachable("drain", fault.message)
        except Exception:
            if (more_before := self._failures.allow_next_line()) is not None:
                logger.exception("drain failed", partition=partition, more_before=more_before)
        else:
            self._redis_outage.report_reachable("drain")

    async def is_postgres_reachable(self) -> bool:
        """Return whether Postgres is reachable, and report the result to the outage log.

        Each sweep calls this one time before its drains, so that an outage does not fail the drain of each partition.
        """
        try:
            await self._writer.check_reachable()
        except StoreUnavailable as fault:
            self._postgres_outage.report_unreachable("drain", fault.message)
            return False
        self._postgres_outage.report_reachable("drain")
        return True


async def _sweep(drains: _Drains, outbox: Outbox, sweep_s: float) -> None:
    """Measure the outbox, prune its participants and start a drain of every partition. Repeat this until cancelled.

    `sweep_s` is the number of seconds between two sweeps.

    If Postgres is unreachable, the sweep starts no drain. The next sweep does not wait for the end of running drains.
    """
    backlog_log = BacklogLog()
    pruned = [""] * outbox.keys.partitions
    async with asyncio.TaskGroup() as group:
        while True:
            with suppress(StoreUnavailable):
                backlog_log.report_backlog(await outbox.measure_backlog())
                for partition, after in enumerate(pruned):
                    pruned[partition] = await outbox.prune_participants(partition, after)
            if await drains.is_postgres_reachable():
                # Do not wait for the drains. A partition that is never empty must not delay the other partitions.
                for partition in range(outbox.keys.partitions):
                    group.create_task(drains.drain_partition(partition))
            await asyncio.sleep(sweep_s)


async def _fill_charges(charge_filler: ChargeFiller, sweep_s: float) -> None:
    """Fill in missing charges until cancelled: at the start and once an hour of all sessions, else of drained sessions.

    A worker of the previous release writes versions without charges. So all sessions are searched again after a start.
    """
    next_search_s = 0.0
    while True:
        with suppress(StoreUnavailable):  # the drain logs the outage
            if (now_s := asyncio.get_running_loop().time()) >= next_search_s:
                await charge_filler.fill_all_sessions()
                next_search_s = now_s + CHARGE_SEARCH_INTERVAL_S
            await charge_filler.fill_noted_sessions()
        await asyncio.sleep(sweep_s)


async def _copy_revocations(copier: RevocationCopier, sweep_s: float) -> None:
    """Copy new revocations from Redis to Postgres every `sweep_s` seconds until cancelled."""
    while True:
        with suppress(StoreUnavailable):  # the drain logs the outage
            await copier.copy_new()
        await asyncio.sleep(sweep_s)


async def _run_jobs(
    settings: Settings,
    pipe: RedisPipe,
    outbox: Outbox,
    at_queue: StoreOutage,
    at_postgres: StoreOutage,
    sweep_s: float,
) -> None:
    """Run background jobs and enqueue scheduled jobs that have work, until cancelled."""
    pool = open_job_pool(settings.database_url, requires_roles=settings.auth == "required")
    pool.outage = at_postgres
    async with pool:
        job_table, tenant_table, tenant_data = JobTable(pool), TenantTable(pool), TenantData(pipe, outbox.keys)
        store = SessionStore(pipe, outbox.keys, settings.history_length)
        cold_storage = ColdStorage(settings.archive_url)
        deletion = TenantDeletion.on_stores(pool, pipe, outbox.keys, cold_storage)
        handlers = JobHandlers(
            pool,
            cold_storage,
            job_table,
            store,
            outbox,
            SummaryRefresh(pipe, outbox.keys),
            MemberReconciliationJob.from_settings(
                settings, pool, partial(open_member_changes, settings), tenant_table.is_deleted
            ).run,
            deletion.delete,
        )
        runner = JobRunner(job_table, handlers.run, f"{socket.gethostname()}:{os.getpid()}")
        wakeups = JobWakeups(settings.queue_redis_url, settings.key_prefix, settings.redis_timeout_s, at_queue)
        function = job_function(runner.run_job)
        queue = JobQueue(job_table, wakeups)
        nightly = NightlyMemberSchedule.from_settings(settings, job_table, queue)
        daily = [daily_function(nightly.enqueue_due, "reconcile_members", nightly.hour)] if nightly.tenants else []
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(
                    run_arq_loop(function, settings, at_queue, "job", _MAX_JOBS, _JOB_POLL_S, daily),
                    name="job wake-ups",
                )
                enqueue_due: list[Callable[[], Awaitable[None]]] = [
                    partial(queue.enqueue_periodic_jobs, settings.archive_after_s, settings.retention_s),
                    nightly.enqueue_due,
                    partial(enqueue_due_deletions, tenant_table, tenant_data, queue),
                ]
                group.create_task(_sweep_jobs(runner, wakeups, enqueue_due, sweep_s), name="job sweep")
        finally:
            await wakeups.close()


async def _sweep_jobs(
    runner: JobRunner,
    wakeups: JobWakeups,
    enqueue_due: Sequence[Callable[[], Awaitable[None]]],
    sweep_s: float,
) -> None:
    """Sweep the job table every `sweep_s` seconds until cancelled.

    A sweep queues the jobs of dead workers again, then sends wake-ups for due jobs. Every `SCHEDULE_INTERVAL_S` seconds
    it also calls each of `enqueue_due`, which enqueue the scheduled jobs that have work.
    """
    next_schedule_s = 0.0
    while True:
        with suppress(StoreUnavailable):  # the drain logs the outage
            await runner.reclaim_and_wake_due(wakeups.wake_worker)
            if (now_s := asyncio.get_running_loop().time()) >= next_schedule_s:
                for enqueue in enqueue_due:
                    await enqueue()
                next_schedule_s = now_s + SCHEDULE_INTERVAL_S
        await asyncio.sleep(sweep_s)
