"""Archive jobs: write the rows of an ended session to one object in cold storage, and save an archive record.

The rows stay in Postgres.
"""

from contextlib import suppress
from datetime import datetime
from typing import Any

import psycopg

from synckairos.history.cold.object_store import ColdStorage
from synckairos.history.cold.reader import ColdReader
from synckairos.history.records import ArchiveRecord
from synckairos.history.row_values import parse_archive_record
from synckairos.jobs.archive_and_retention_sql import load_statement
from synckairos.jobs.archive_space import ArchiveSpace
from synckairos.jobs.ended_session_row import (
    EndedSession,
    SessionNotFinished,
    SessionRecreated,
    load_ended_session,
    session_parameters,
)
from synckairos.jobs.session_archive_builder import SessionArchiveBuilder, load_event_count_and_span
from synckairos.postgres.named_sql import load_statements
from synckairos.postgres.pool import PostgresPool
from synckairos.postgres.transaction import Row, Transaction


class Archiver:
    """Writes archives of ended sessions to cold storage.

    Sessions are given by their names in their tenants. All methods raise StoreUnavailable if cold storage is
    unreachable, and the errors of psycopg.
    """

    def __init__(
        self,
        pool: PostgresPool,
        cold_storage: ColdStorage,
        builder: SessionArchiveBuilder | None = None,
        space: ArchiveSpace | None = None,
    ) -> None:
        self._pool = pool
        self._space = space or ArchiveSpace(pool)
        self._cold_storage = cold_storage
        self._cold_reader = ColdReader(cold_storage)
        self._builder = builder or SessionArchiveBuilder(pool)

    async def archive(self, session_id: str, *, force: bool = False) -> ArchiveRecord:
        """Archive the session with the name `session_id`, and return the archive record.

        If an archive with all rows exists, the method writes nothing and returns its record. If `force` is True, it
        writes a new archive in this case too. If retention removed the rows, it returns the record of the archive that
        has them.

        Raises: The exceptions below, or an error of the write.
            SessionNotFinished: The session has not ended, or Postgres has no row of it.
            SessionRecreated: The session ended and was created again.
            ArchiveSpaceFull: The tenant has reached its limit of bytes in archives.
        """
        record, ended, count = await self._load(session_id)
        if ended is None:
            if record is not None and record.removed:
                return record
            if record is not None:
                raise SessionRecreated(f"Session {session_id} has not ended: it was created again")
            raise SessionNotFinished(f"Session {session_id} has not ended, or Postgres has no row of the session yet")
        same_life = record if record is not None and record.created_at_ms == _ms(ended.created_at) else None
        removed = same_life if same_life is not None and same_life.removed else None
        if same_life is not None and removed is None and same_life.path is not None:
            is_current = (same_life.epoch, same_life.version, same_life.events) == (ended.epoch, ended.version, count)
            if is_current and not force:
                await self._run("mark_archived", session_id, epoch=same_life.epoch, version=same_life.version)
                return same_life
        try:
            return await self._write(ended, removed, same_life)
        except Exception as fault:
            await self.save_failure_reason(session_id, fault)
            raise

    async def save_failure_reason(self, session_id: str, fault: Exception) -> None:
        """Save the reason of a failure in the archive record. Scheduled jobs then skip the session for an hour.

        Errors of psycopg are ignored; the reason is then not saved.

        The saved text begins with the attribute `stored_as` of `fault`, or with its class name. Statements in
        `archive_and_retention.sql` compare the begin of the text.
        """
        name = getattr(fault, "stored_as", type(fault).__name__)
        with suppress(psycopg.Error):
            await self._run("record_failure", session_id, error=f"{name}: {fault}")

    async def load_archive_record(self, session_id: str) -> ArchiveRecord | None:
        """Return the newest archive record of a session; None if the session has no archive record."""
        async with self._pool.transaction() as transaction:
            return await _load_record(transaction, session_id)

    async def load_earlier_removed_records(self, record: ArchiveRecord) -> list[ArchiveRecord]:
        """Return the archive records of earlier creations of a session whose rows retention removed, newest first."""
        async with self._pool.transaction() as transaction:
            removed = await _load_records(transaction, record.name, removed_only=True)
        return [each for each in removed if each.created_at_ms < record.created_at_ms]

    async def _write(
        self, ended: EndedSession, removed: ArchiveRecord | None, replaced: ArchiveRecord | None
    ) -> ArchiveRecord:
        """Write the archive object and save its record.

        `removed` is the record of an archive whose rows retention removed; the new rows are then added to its lines.
        `replaced` is the record whose object the new object replaces, None if there is no record.
        """
        old_path, old_bytes = (None, 0) if replaced is None else (replaced.path, replaced.size_bytes or 0)
        await self._run("begin_archive", ended.name, created_at=ended.created_at)
        await self._space.require(ended.tenant, 1 - old_bytes)  # before the rows are read
        earlier = None if removed is None else await self._cold_reader.read_archive(removed)
        built = await self._builder.build_archive(ended, earlier)
        ended, path = built.ended, built.ended.object_path(built.content)
        await self._space.require(ended.tenant, len(built.content) - old_bytes)
        written = await self._cold_storage.write_bytes(path, built.content)
        self._space.add(ended.tenant, written.size_bytes - old_bytes)
        is_saved = await self._run(
            "save_archive",
            ended.name,
            created_at=ended.created_at,
            epoch=ended.epoch,
            version=ended.version,
            session_status=ended.status,
            deleted=ended.deleted,
            finished_at=ended.finished_at,
            path=path,
            size_bytes=written.size_bytes,
            checksum=written.checksum,
            events=built.events,
            first_at=built.first_at,
            last_at=built.last_at,
            old_path=old_path,
            is_removed=removed is not None,
        )
        if is_saved and old_path is not None and old_path != path:
            await self._cold_storage.delete(old_path)
        newest = await self.load_archive_record(ended.name)
        assert newest is not None
        return newest

    async def _load(self, session_id: str) -> tuple[ArchiveRecord | None, EndedSession | None, int]:
        """Return a session's newest archive record, the session if it ended, and the number of its event rows."""
        async with self._pool.transaction() as transaction:
            count, _, _ = await load_event_count_and_span(transaction, session_id)
            record = await _load_record(transaction, session_id)
            return record, await load_ended_session(transaction, session_id), count

    async def _run(self, statement: str, name: str, **values: Any) -> list[Row]:
        """Run a statement for the session `name`."""
        return await self._pool.fetch(load_statement(statement), {**session_parameters(name), **values})


async def _load_record(transaction: Transaction, session_id: str) -> ArchiveRecord | None:
    return next(iter(await _load_records(transaction, session_id, removed_only=False)), None)


async def _load_records(transaction: Transaction, session_id: str, *, removed_only: bool) -> list[ArchiveRecord]:
    sql = load_statements("queries.sql", "synckairos.history")["archive_records"]
    rows = await transaction.fetch(sql, {**session_parameters(session_id), "removed_only": removed_only})
    return [parse_archive_record(row) for row in rows]


def _ms(at: datetime) -> int:
    return round(at.timestamp() * 1000)
