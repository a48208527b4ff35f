"""The handlers: what each kind of job does. Every piece of it may be done again from the start."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import psycopg

from synckairos.errors import StoreUnavailable, ValidationFailed
from synckairos.history.cold.object_store import ColdStorage
from synckairos.history.participant_sessions.refresh import SummaryRefresh
from synckairos.jobs.archive import SQL, Archiver, SessionNotFinished, SessionRecreated
from synckairos.jobs.export import Exporter
from synckairos.jobs.kinds import ExportParams, SessionsParams, parse_params
from synckairos.jobs.retention import Retention
from synckairos.jobs.runner import PermanentJobFailure
from synckairos.jobs.table import JobClaim, JobTable
from synckairos.postgres.named_sql import load_statements
from synckairos.postgres.pool import PostgresPool, translate_postgres_errors
from synckairos.store.outbox import Outbox
from synckairos.store.sessions import SessionStore
from synckairos.telemetry import log

_PAGE = 200
_AT_ONCE = 4
_NIL = "00000000-0000-0000-0000-000000000000"

logger = log.get_logger(__name__)

Result = Mapping[str, Any]


class JobHandlers:
    """Carries jobs out. Raises whatever goes wrong: that is the attempt's failure."""

    def __init__(
        self,
        pool: PostgresPool,
        objects: ColdStorage,
        job_table: JobTable,
        store: SessionStore,
        outbox: Outbox,
        upkeep: SummaryRefresh,
    ) -> None:
        self._pool = pool
        self._board = job_table
        self._archiver = Archiver(pool, objects)
        self._exporter = Exporter(pool, objects)
        self._retention = Retention(pool, objects, self._archiver, store, outbox, upkeep)

    async def run(self, claim: JobClaim) -> Result:
        """Do what a job asks for and return its result. Raises PermanentJobFailure where no further try would do."""
        try:
            params = parse_params(claim.type, claim.params)
        except ValidationFailed as fault:
            raise PermanentJobFailure(f"{fault.message}: {fault.details}") from fault
        with translate_postgres_errors():
            match claim.type, params:
                case "archive", SessionsParams():
                    return await self._archive(params)
                case "retention", SessionsParams():
                    return await self._retain(params)
                case "export", ExportParams():
                    return await self._export(claim.job_id, params)
        raise PermanentJobFailure(f"Nobody knows how to do a job of type {claim.type!r}")

    async def _archive(self, params: SessionsParams) -> Result:
        if params.session_id is None:
            return await self._each("archive", "unarchived", params.after_s, self._archiver.archive)
        try:
            filed = await self._archiver.archive(params.session_id)
        except SessionRecreated as fault:
            return {"session_id": params.session_id, "archived": False, "left": fault.message}
        except SessionNotFinished as fault:
            raise PermanentJobFailure(fault.message) from fault
        return {
            "session_id": filed.session_id,
            "version": filed.version,
            "events": filed.events,
            "path": filed.path,
            "size_bytes": filed.size_bytes,
            "checksum": filed.checksum.hex(),
        }

    async def _retain(self, params: SessionsParams) -> Result:
        after_s = params.after_s
        if params.session_id is None:
            return await self._each(
                "retention", "finished", after_s, lambda session_id: self._retention.remove(session_id, after_s)
            )
        try:
            removed = await self._retention.remove(params.session_id, after_s)
        except SessionNotFinished as fault:
            # Somebody may have made it again since the job was queued: there is nothing to take away, nor to mend.
            return {"session_id": params.session_id, "removed": False, "left": fault.message}
        return {"session_id": params.session_id, "removed": removed}

    async def _export(self, job_id: int, params: ExportParams) -> Result:
        exported = await self._exporter.export(str(job_id), *params.span, params.format, snapshots=params.snapshots)
        return {
            "path": exported.path,
            "events": exported.events,
            "size_bytes": exported.written.size_bytes,
            "checksum": exported.written.checksum.hex(),
        }

    async def _each(self, type_: str, query: str, after_s: int, work: Callable[[str], Awaitable[object]]) -> Result:
        """Do `work` for each session the query finds, a few at a time.

        One that fails gets a job of its own, with attempts of its own, and doesn't hold up the others; where a store
        doesn't answer, all of them wait.
        """
        counts = {"done": 0, "left": 0, "failed": 0}
        slots = asyncio.Semaphore(_AT_ONCE)

        async def one(session_id: str) -> None:
            async with slots:
                try:
                    outcome = "left" if await work(session_id) is False else "done"
                except SessionNotFinished:
                    outcome = "left"
                except (StoreUnavailable, psycopg.OperationalError):
                    raise
                except Exception as fault:  # noqa: BLE001 - it is told where it is tried again
                    logger.warning("session gets a job of its own", type=type_, session_id=session_id, error=str(fault))
                    params = {"session_id": session_id, "after_s": after_s}
                    await self._board.add(type_, params, once=f"{type_} {session_id}")
                    outcome = "failed"
                counts[outcome] += 1

        async for page in self._pages(query, after_s):
            tasks = [asyncio.ensure_future(one(session_id)) for session_id in page]
            try:
                await asyncio.gather(*tasks)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        return counts

    async def _pages(self, query: str, after_s: int) -> AsyncIterator[list[str]]:
        place: dict[str, Any] = {"ended_at": "-infinity", "session_id": _NIL}
        while True:
            async with self._pool.connection() as connection:
                cursor = await connection.execute(
                    load_statements(SQL, "synckairos.jobs")[query], {**place, "after_s": after_s, "limit": _PAGE}
                )
                rows = await cursor.fetchall()
            if not rows:
                return
            place = {"session_id": rows[-1][0], "ended_at": rows[-1][1]}
            yield [row[0] for row in rows]
