"""Job handlers: the code that runs each kind of background job. Each job can be run again from its begin."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import partial
from typing import Any

import psycopg

from synckairos.errors import StoreUnavailable, ValidationFailed
from synckairos.history.cold.object_store import ColdStorage
from synckairos.history.participant_sessions.update_after_drain import SummaryRefresh
from synckairos.jobs.archive_and_retention_sql import load_statement
from synckairos.jobs.archive_space import ArchiveSpaceFull
from synckairos.jobs.ended_session_row import SessionNotFinished, SessionRecreated
from synckairos.jobs.export import Exporter
from synckairos.jobs.kinds import (
    DeleteTenantParams,
    ExportParams,
    ReconcileMembersParams,
    SessionSelectionParams,
    parse_job_params,
)
from synckairos.jobs.retention import Retention, SessionRowDeleter
from synckairos.jobs.runner import PermanentJobFailure
from synckairos.jobs.table import ClaimedJob, JobTable
from synckairos.jobs.write_archive import Archiver
from synckairos.postgres.pool import PostgresPool, translate_postgres_errors
from synckairos.session_names import session_name
from synckairos.store.outbox import Outbox
from synckairos.store.sessions import SessionStore
from synckairos.telemetry import log

_SESSIONS_PER_PAGE = 200
_MAX_CONCURRENT = 4
_NIL = "00000000-0000-0000-0000-000000000000"

logger = log.get_logger(__name__)

JobResult = Mapping[str, Any]

ReconcileMembers = Callable[[str, ReconcileMembersParams], Awaitable[JobResult]]
"""Function that reconciles the members of a tenant with their source."""

DeleteTenant = Callable[[str, Callable[[JobResult], Awaitable[None]]], Awaitable[JobResult]]
"""Function that deletes all data of a tenant. It calls its second argument with the numbers of deleted data so far."""


class JobHandlers:
    """Handlers of all kinds of jobs.

    `JobRunner` calls `run` for each attempt. An exception means that the attempt failed.
    """

    def __init__(
        self,
        pool: PostgresPool,
        cold_storage: ColdStorage,
        job_table: JobTable,
        store: SessionStore,
        outbox: Outbox,
        summary_refresh: SummaryRefresh,
        reconcile_members: ReconcileMembers,
        delete_tenant: DeleteTenant,
    ) -> None:
        self._pool = pool
        self._reconcile_members = reconcile_members
        self._delete_tenant = delete_tenant
        self._job_table = job_table
        self._archiver = Archiver(pool, cold_storage)
        self._exporter = Exporter(pool, cold_storage)
        self._retention = Retention(
            cold_storage, self._archiver, SessionRowDeleter(pool), store, outbox, summary_refresh
        )

    async def run(self, claim: ClaimedJob) -> JobResult:
        """Run one attempt at a job, and return the job's result as JSON values.

        Raises: PermanentJobFailure if a retry cannot complete the job. After other exceptions a retry can complete it.
        """
        try:
            params = parse_job_params(claim.type, claim.params)
        except ValidationFailed as fault:
            raise PermanentJobFailure(f"{fault.message}: {fault.details}") from fault
        with translate_postgres_errors():
            match claim.type, params:
                case "archive", SessionSelectionParams():
                    return await self._archive(claim.tenant, params)
                case "retention", SessionSelectionParams():
                    return await self._retain(claim.tenant, params)
                case "export", ExportParams():
                    return await self._export(claim, params)
                case "reconcile-members", ReconcileMembersParams():
                    return await self._reconcile_members(claim.tenant, params)
                case "delete-tenant", DeleteTenantParams():
                    return await self._delete_tenant(params.tenant, partial(self._job_table.save_progress, claim))
        raise PermanentJobFailure(f"There is no handler for jobs of type {claim.type!r}")

    async def _archive(self, tenant: str, params: SessionSelectionParams) -> JobResult:
        if params.session_id is None:
            return await self._run_for_each(
                "archive", "sessions_to_archive", tenant, params.after_s, self._archiver.archive
            )
        try:
            record = await self._archiver.archive(session_name(tenant, params.session_id))
        except SessionRecreated as fault:
            return {"session_id": params.session_id, "archived": False, "left": fault.message}
        except (SessionNotFinished, ArchiveSpaceFull) as fault:
            raise PermanentJobFailure(fault.message) from fault
        return {
            "session_id": record.session_id,
            "version": record.version,
            "events": record.events,
            "path": record.path,
            "size_bytes": record.size_bytes,
            "checksum": record.checksum.hex(),
        }

    async def _retain(self, tenant: str, params: SessionSelectionParams) -> JobResult:
        after_s = params.after_s
        if params.session_id is None:
            return await self._run_for_each(
                "retention",
                "sessions_to_remove",
                tenant,
                after_s,
                lambda each: self._retention.archive_and_delete(each, after_s),
            )
        try:
            removed = await self._retention.archive_and_delete(session_name(tenant, params.session_id), after_s)
        except SessionNotFinished as fault:
            # The session may have been created again after the job was queued. Then the job has no work to do.
            return {"session_id": params.session_id, "removed": False, "left": fault.message}
        except ArchiveSpaceFull as fault:
            raise PermanentJobFailure(fault.message) from fault
        return {"session_id": params.session_id, "removed": removed}

    async def _export(self, claim: ClaimedJob, params: ExportParams) -> JobResult:
        exported = await self._exporter.export(
            str(claim.job_id), *params.time_range, params.format, snapshots=params.snapshots, tenant=claim.tenant
        )
        return {
            "path": exported.path,
            "events": exported.events,
            "size_bytes": exported.written.size_bytes,
            "checksum": exported.written.checksum.hex(),
        }

    async def _run_for_each(
        self, type_: str, query: str, tenant: str, after_s: int, work: Callable[[str], Awaitable[object]]
    ) -> JobResult:
        """Run `work` for each session of a tenant that the query returns. Return the numbers of sessions by outcome.

        At most `_MAX_CONCURRENT` sessions are in work at the same time. A session whose work fails gets a separate job
        with separate attempts, and does not delay other sessions.

        Raises: StoreUnavailable or OperationalError if a store is unreachable, so that the job is retried. The sessions
            that are done stay done.
        """
        counts = {"done": 0, "left": 0, "failed": 0}
        slots = asyncio.Semaphore(_MAX_CONCURRENT)

        async def run_for(session_id: str) -> None:
            name = session_name(tenant, session_id)
            async with slots:
                try:
                    outcome = "left" if await work(name) is False else "done"
                except SessionNotFinished:
                    outcome = "left"
                except ArchiveSpaceFull as fault:
                    if not counts["left"]:
                        logger.warning("sessions not archived", type=type_, tenant=tenant, error=fault.message)
                    outcome = "left"
                except (StoreUnavailable, psycopg.OperationalError):
                    raise
                except Exception as fault:  # noqa: BLE001 - the session's own job reports it
                    logger.warning("session gets its own job", type=type_, session_id=name, error=str(fault))
                    params = {"session_id": session_id, "after_s": after_s}
                    once = f"{type_} {session_id}"
                    await self._job_table.add_unless_queued(type_, params, once, tenant=tenant)
                    outcome = "failed"
                counts[outcome] += 1

        async for page in self._pages(query, tenant, after_s):
            tasks = [asyncio.ensure_future(run_for(session_id)) for session_id in page]
            try:
                await asyncio.gather(*tasks)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        return counts

    async def _pages(self, query: str, tenant: str, after_s: int) -> AsyncIterator[list[str]]:
        """Yield pages of ids of a tenant's sessions that ended at least `after_s` seconds ago, earliest end first."""
        position: dict[str, Any] = {"ended_at": "-infinity", "session_id": _NIL}
        while True:
            values = {**position, "tenant": tenant, "after_s": after_s, "limit": _SESSIONS_PER_PAGE}
            rows = await self._pool.fetch(load_statement(query), values)
            if not rows:
                return
            position = {"session_id": rows[-1][0], "ended_at": rows[-1][1]}
            yield [session_id for session_id, _ in rows]
