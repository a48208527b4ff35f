"""Builder of archive objects from the rows of ended sessions."""

import asyncio
from collections.abc import AsyncIterator, Container, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from psycopg.rows import dict_row

from synckairos.audit.row_documents import RowDocuments
from synckairos.history.cold.archive_format import Archive, ArchiveWriter, render_archive_line
from synckairos.jobs.archive_and_retention_sql import load_statement
from synckairos.jobs.ended_session_row import EndedSession, SessionRecreated, load_ended_session, session_parameters
from synckairos.postgres.pool import PostgresPool
from synckairos.postgres.transaction import Transaction

_FIRST_ROWS = 20
"""Number of rows in the first batch. Their size decides how many rows are fetched for the next batch."""
_MAX_ROWS = 500
"""Maximum number of rows in a batch."""
_MAX_BYTES = 4 << 20
"""Approximate bytes of the documents in a batch. Documents can be large."""


@dataclass(frozen=True, slots=True)
class BuiltArchive:
    """Content of the archive of one session, as of one instant.

    `events` is the number of versions. `first_at` and `last_at` are the instants of the first and the last version.
    """

    ended: EndedSession
    content: bytes
    events: int
    first_at: datetime | None
    last_at: datetime | None


class SessionArchiveBuilder:
    """Reads and compresses the rows of sessions. `build_archive` raises the errors of psycopg."""

    def __init__(self, pool: PostgresPool) -> None:
        self._pool = pool

    async def build_archive(self, expected: EndedSession, earlier: Archive | None) -> BuiltArchive:
        """Read a session's rows from Postgres as of one instant, and compress them to an archive.

        `expected` is the row on which the caller decided to archive. `earlier` is an earlier archive of the session,
        whose lines come before the new rows; None if there is none.

        Raises: SessionRecreated if the session was created again after `expected` was read, or is not an ended session
            any more.
        """
        async with self._pool.transaction(isolation="REPEATABLE READ") as transaction:
            ended = await load_ended_session(transaction, expected.name)
            if ended is None or ended.created_at != expected.created_at:
                # If the new session has also ended, the next archive job archives it.
                raise SessionRecreated(f"Session {expected.session_id} was created again, or does not exist")
            return await self._build_from_rows(transaction, ended, earlier)

    async def _build_from_rows(
        self, transaction: Transaction, ended: EndedSession, earlier: Archive | None
    ) -> BuiltArchive:
        events, first_at, last_at = await load_event_count_and_span(transaction, ended.name)
        conflicts = await _load_conflicts(transaction, ended.name)
        new_rows: list[dict[str, Any]] = []
        if earlier is not None:
            # Only few rows are added to an earlier archive. Read them before the head is written, because the head has
            # their number.
            known = {line.version for line in earlier.events}
            async for batch, documents in _batches(transaction, ended.name):
                new_rows += await asyncio.to_thread(_unknown_rows, batch, documents, known)
            known_conflicts = {(*line.version, line.stored_payload_hash) for line in earlier.conflicts}
            conflicts = [row for row in conflicts if (*_version(row), row["payload_hash"]) not in known_conflicts]
            events = len(known) + len(new_rows)
            first_at = datetime.fromisoformat(earlier.events[0].row["occurred_at"])
        conflict_count = len(conflicts) + (0 if earlier is None else len(earlier.conflicts))
        writer = ArchiveWriter(
            {
                "session_id": ended.session_id,
                "sync_mode": ended.sync_mode,
                "status": ended.status,
                "epoch": ended.epoch,
                "version": ended.version,
                "created_at": _render_instant(ended.created_at),
                "finished_at": _render_instant(ended.finished_at),
                "deleted": ended.deleted,
                "events": events,
                "conflicts": conflict_count,
            }
        )
        if earlier is not None:
            await asyncio.to_thread(writer.add, (line.raw for line in earlier.read_events()))
            await asyncio.to_thread(_add_rows, writer, "event", new_rows)
            await asyncio.to_thread(
                writer.add, (line.raw for line in earlier.read_lines() if line.row["kind"] == "conflict")
            )
        else:
            async for batch, documents in _batches(transaction, ended.name):
                await asyncio.to_thread(_add_rows, writer, "event", _with_documents(batch, documents))
        await asyncio.to_thread(_add_rows, writer, "conflict", conflicts)
        content = await asyncio.to_thread(writer.finish_to_bytes)
        return BuiltArchive(ended, content, events, first_at, last_at)


async def load_event_count_and_span(
    transaction: Transaction, name: str
) -> tuple[int, datetime | None, datetime | None]:
    """Return the number of event rows of the session `name`, and the instants of the earliest and the latest row.

    The instants are None if there are no rows.
    """
    (row,) = await transaction.fetch(load_statement("event_extent"), session_parameters(name))
    count, first_at, last_at = row
    return count, first_at, last_at


async def _load_conflicts(transaction: Transaction, name: str) -> list[dict[str, Any]]:
    cursor = await transaction.execute(
        load_statement("conflict_rows"), session_parameters(name), binary=True, row_factory=dict_row
    )
    return await cursor.fetchall()


def _version(row: dict[str, Any]) -> tuple[str, int]:
    return row["epoch"], row["version"]


async def _batches(transaction: Transaction, name: str) -> AsyncIterator[tuple[list[dict[str, Any]], RowDocuments]]:
    """Yield a session's event rows in batches of about 4 MiB, each with the builder of its documents."""
    documents = RowDocuments()
    statement, values = load_statement("event_rows"), session_parameters(name)
    async with transaction.stream("events", statement, values, binary=True, row_factory=dict_row) as cursor:
        count = _FIRST_ROWS
        while batch := await cursor.fetchmany(count):
            size = sum(len(row["snapshot"]) + sum(map(len, row["bodies"] or ())) for row in batch)
            count = min(_MAX_ROWS, max(1, _MAX_BYTES * len(batch) // max(size, 1)))
            yield batch, documents


def _with_documents(rows: Iterable[dict[str, Any]], documents: RowDocuments) -> Iterator[dict[str, Any]]:
    """Yield the rows with their documents. Only the documents of two rows are in memory at a time."""
    for row in rows:
        row["snapshot"] = documents.build_document(row["snapshot"], row.pop("whole_version"), row.pop("bodies"))
        yield row


def _unknown_rows(
    rows: Iterable[dict[str, Any]], documents: RowDocuments, known: Container[tuple[str, int]]
) -> list[dict[str, Any]]:
    """Return the rows whose versions are not in `known`, with their documents."""
    return [row for row in _with_documents(rows, documents) if _version(row) not in known]


def _add_rows(writer: ArchiveWriter, kind: str, rows: Iterable[dict[str, Any]]) -> None:
    writer.add(render_archive_line(kind, row, row.pop("snapshot")) for row in rows)


def _render_instant(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
