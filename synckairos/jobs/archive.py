"""Archiving: a finished session's rows → one object, and what was filed about it. Leaves the rows where they are."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import psycopg
from psycopg import AsyncConnection, IsolationLevel
from psycopg.rows import dict_row

from synckairos.errors import SyncKairosError
from synckairos.history.cold.bundle import Bundle, BundleWriter, render_bundle_line
from synckairos.history.cold.object_store import ColdStorage
from synckairos.history.cold.reader import ColdReader
from synckairos.history.reader import parse_archive_record
from synckairos.history.records import ArchiveRecord
from synckairos.postgres.named_sql import load_statements
from synckairos.postgres.pool import PostgresPool

SQL = "archives.sql"

_FIRST_ROWS = 20  # documents may be large: the first few tell how many to fetch at a time
_ROWS = 500
_BYTES = 4 << 20


class SessionNotFinished(SyncKairosError):
    """The session isn't over, as far as Postgres knows, or there is nothing of it there."""

    code = "NOT_FINISHED"


class SessionRecreated(SessionNotFinished):
    """The session was over, and somebody made it again: there is nothing to do, nor to mend."""


@dataclass(frozen=True, slots=True)
class EndedSession:
    """A session that is over, as `sync_sessions` has it."""

    session_id: str
    epoch: str
    version: int
    sync_mode: str
    status: str
    created_at: datetime
    finished_at: datetime
    deleted: bool

    def path(self, content: bytes) -> str:
        """Return where its object goes: by the day it ended, elsewhere for every other content."""
        name = f"{self.version}-{self.epoch}-{sha256(content).hexdigest()[:12]}"
        return f"sessions/{self.finished_at:%Y/%m/%d}/{self.session_id}/{name}.ndjson.gz"


@dataclass(frozen=True, slots=True)
class _Packed:
    """A session's object, as of one instant."""

    ended: EndedSession
    content: bytes
    events: int
    first_at: datetime | None
    last_at: datetime | None


class Archiver:
    """Makes archives. Raises StoreUnavailable where the object store doesn't answer, psycopg's errors for Postgres."""

    def __init__(self, pool: PostgresPool, objects: ColdStorage) -> None:
        self._pool = pool
        self._objects = objects
        self._cold = ColdReader(objects)

    async def archive(self, session_id: str, *, anew: bool = False) -> ArchiveRecord:
        """Archive a session as it is now, unless that is done (and not wanted `anew`), and return what was filed.

        Raises: SessionNotFinished.
        """
        filed, ended, count = await self._look(session_id)
        if ended is None:
            if filed is not None and filed.removed:
                return filed
            if filed is not None:
                raise SessionRecreated(f"Session {session_id} isn't over any more: it was made again")
            raise SessionNotFinished(f"Session {session_id} isn't over, or Postgres has nothing of it (yet)")
        is_same_life = filed is not None and filed.created_at_ms == _ms(ended.created_at)
        base = filed if is_same_life and filed is not None and filed.removed else None
        if filed is not None and is_same_life and base is None and filed.path is not None:
            is_current = (filed.epoch, filed.version, filed.events) == (ended.epoch, ended.version, count)
            if is_current and not anew:
                await self._run("mark", session_id=session_id, epoch=filed.epoch, version=filed.version)
                return filed
        try:
            return await self._make(ended, base, filed.path if is_same_life and filed is not None else None)
        except Exception as fault:
            await self.failed(session_id, fault)
            raise

    async def failed(self, session_id: str, fault: Exception) -> None:
        """File what was in the way: jobs that look for sessions by themselves leave it alone for an hour.

        The text begins with the fault's `stored_as`, else with its class: `archives.sql` compares that beginning.
        """
        name = getattr(fault, "stored_as", type(fault).__name__)
        with suppress(psycopg.Error):
            await self._run("fail", session_id=session_id, error=f"{name}: {fault}")

    async def _make(self, ended: EndedSession, base: ArchiveRecord | None, old_path: str | None) -> ArchiveRecord:
        await self._run("process", session_id=ended.session_id, created_at=ended.created_at)
        earlier = None if base is None else await self._cold.read_bundle(base)
        packed = await self._pack(ended, earlier)
        ended, path = packed.ended, packed.ended.path(packed.content)
        written = await self._objects.put(path, packed.content)
        is_filed = await self._run(
            "file",
            session_id=ended.session_id,
            created_at=ended.created_at,
            epoch=ended.epoch,
            version=ended.version,
            session_status=ended.status,
            deleted=ended.deleted,
            finished_at=ended.finished_at,
            path=path,
            size_bytes=written.size_bytes,
            checksum=written.checksum,
            events=packed.events,
            first_at=packed.first_at,
            last_at=packed.last_at,
            old_path=old_path,
            is_removed=base is not None,
        )
        if is_filed and old_path is not None and old_path != path:
            await self._objects.delete(old_path)
        newest = await self.filed(ended.session_id)
        assert newest is not None
        return newest

    async def _pack(self, looked_at: EndedSession, earlier: Bundle | None) -> _Packed:
        """Read a session's rows, all as of one instant, and compress them; `earlier` lines come before what is new."""
        async with self._pool.connection() as connection:
            await connection.set_autocommit(False)
            await connection.set_isolation_level(IsolationLevel.REPEATABLE_READ)
            try:
                async with connection.transaction():
                    ended = await _ended(connection, looked_at.session_id)
                    if ended is None or ended.created_at != looked_at.created_at:
                        # Where the next life is over, too, the next look at it finds that out.
                        raise SessionRecreated(
                            f"Session {looked_at.session_id} was made again, or isn't there any more"
                        )
                    return await self._pack_rows(connection, ended, earlier)
            finally:
                await connection.set_isolation_level(None)
                await connection.set_autocommit(True)

    async def _pack_rows(self, connection: AsyncConnection, ended: EndedSession, earlier: Bundle | None) -> _Packed:
        events, first_at, last_at = await _extent(connection, ended.session_id)
        disputed = await _conflicts(connection, ended.session_id)
        more: list[dict[str, Any]] = []
        if earlier is not None:
            # What is added to an earlier object is little: it is looked through before the head says how much it is.
            known = {line.version for line in earlier.events}
            more = [row async for row in _rows(connection, ended.session_id) if _version(row) not in known]
            known_disputes = {(*line.version, line.payload_hash) for line in earlier.conflicts}
            disputed = [row for row in disputed if (*_version(row), row["payload_hash"]) not in known_disputes]
            events = len(known) + len(more)
            first_at = datetime.fromisoformat(earlier.events[0].row["occurred_at"])
        conflicts = len(disputed) + (0 if earlier is None else len(earlier.conflicts))
        packer = BundleWriter(
            {
                "session_id": ended.session_id,
                "sync_mode": ended.sync_mode,
                "status": ended.status,
                "epoch": ended.epoch,
                "version": ended.version,
                "created_at": _instant(ended.created_at),
                "finished_at": _instant(ended.finished_at),
                "deleted": ended.deleted,
                "events": events,
                "conflicts": conflicts,
            }
        )
        if earlier is not None:
            await asyncio.to_thread(packer.add, [line.raw for line in earlier.events])
            await asyncio.to_thread(_add, packer, "event", more)
            await asyncio.to_thread(packer.add, [line.raw for line in earlier.conflicts])
        else:
            async for batch in _batches(connection, ended.session_id):
                await asyncio.to_thread(_add, packer, "event", batch)
        await asyncio.to_thread(_add, packer, "conflict", disputed)
        content = await asyncio.to_thread(packer.finish)
        return _Packed(ended, content, events, first_at, last_at)

    async def filed(self, session_id: str) -> ArchiveRecord | None:
        """Return what is filed about the newest life of a session, None where nothing is."""
        async with self._pool.connection() as connection:
            return await _filed(connection, session_id)

    async def removed_before(self, filed: ArchiveRecord) -> list[ArchiveRecord]:
        """Return what is filed about a session's earlier lives that retention took out of Postgres, newest first."""
        async with self._pool.connection() as connection:
            removed = await _all_filed(connection, filed.session_id, removed_only=True)
        return [each for each in removed if each.created_at_ms < filed.created_at_ms]

    async def _look(self, session_id: str) -> tuple[ArchiveRecord | None, EndedSession | None, int]:
        async with self._pool.connection() as connection:
            count, _, _ = await _extent(connection, session_id)
            return await _filed(connection, session_id), await _ended(connection, session_id), count

    async def _run(self, name: str, **values: Any) -> list[tuple[Any, ...]]:
        async with self._pool.connection() as connection:
            cursor = await connection.execute(load_statements(SQL, "synckairos.jobs")[name], values)
            return await cursor.fetchall() if cursor.description else []


async def _extent(connection: AsyncConnection, session_id: str) -> tuple[int, datetime | None, datetime | None]:
    """Count a session's rows and return the instants of the first and the last."""
    row = await (
        await connection.execute(load_statements(SQL, "synckairos.jobs")["extent"], {"session_id": session_id})
    ).fetchone()
    return (0, None, None) if row is None else row


async def _conflicts(connection: AsyncConnection, session_id: str) -> list[dict[str, Any]]:
    async with connection.cursor(row_factory=dict_row, binary=True) as cursor:
        await cursor.execute(load_statements(SQL, "synckairos.jobs")["conflicts"], {"session_id": session_id})
        return await cursor.fetchall()


def _version(row: dict[str, Any]) -> tuple[str, int]:
    return row["epoch"], row["version"]


async def _rows(connection: AsyncConnection, session_id: str) -> AsyncIterator[dict[str, Any]]:
    async for batch in _batches(connection, session_id):
        for row in batch:
            yield row


async def _batches(connection: AsyncConnection, session_id: str) -> AsyncIterator[list[dict[str, Any]]]:
    async with connection.cursor(name="events", row_factory=dict_row, binary=True) as cursor:
        await cursor.execute(load_statements(SQL, "synckairos.jobs")["events"], {"session_id": session_id})
        count = _FIRST_ROWS
        while batch := await cursor.fetchmany(count):
            size = sum(len(row["snapshot"]) for row in batch)
            count = min(_ROWS, max(1, _BYTES * len(batch) // max(size, 1)))
            yield batch


def _add(packer: BundleWriter, kind: str, rows: list[dict[str, Any]]) -> None:
    packer.add(render_bundle_line(kind, row, row.pop("snapshot")) for row in rows)


async def _ended(connection: AsyncConnection, session_id: str) -> EndedSession | None:
    cursor = await connection.execute(load_statements(SQL, "synckairos.jobs")["session"], {"session_id": session_id})
    row = await cursor.fetchone()
    return None if row is None or row[6] is None else EndedSession(*row)


async def _filed(connection: AsyncConnection, session_id: str) -> ArchiveRecord | None:
    return next(iter(await _all_filed(connection, session_id, removed_only=False)), None)


async def _all_filed(connection: AsyncConnection, session_id: str, *, removed_only: bool) -> list[ArchiveRecord]:
    sql = load_statements("queries.sql", "synckairos.history")["filed"]
    cursor = await connection.execute(sql, {"session_id": session_id, "removed_only": removed_only})
    return [parse_archive_record(row) for row in await cursor.fetchall()]


def _instant(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _ms(at: datetime) -> int:
    return round(at.timestamp() * 1000)
