"""Writer of batches to Postgres: one transaction per batch, each version once, projections only to newer versions.

Works with rows and does not know the outbox. The drain removes the entries from the stream after `write` returned.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import AsyncConnection, AsyncCursor

from synckairos.audit.entry_rows import EntryRows, EventRow, ParticipantRow, SessionRow
from synckairos.errors import StoreUnavailable, SyncKairosError
from synckairos.postgres.named_sql import load_statements
from synckairos.postgres.pool import PostgresPool

STATEMENT_TIMEOUT_S = 60.0
"""Seconds after which Postgres cancels a statement of the drain."""

_OPTIONS = (
    "-c lock_timeout=30s -c idle_in_transaction_session_timeout=30s -c client_min_messages=warning "
    "-c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3"
)
_DATA_ERROR_CLASSES = ("22", "23", "54")  # bad data, broken constraint, limit exceeded: a retry would fail too
_EVENT_TYPES = (
    "uuid text int8 timestamptz text text uuid uuid text int8 int8 text text text text text text bool bytea bytea"
)
_SESSION_TYPES = "uuid text int8 text text timestamptz timestamptz timestamptz timestamptz timestamptz text"
_PARTICIPANT_TYPES = "uuid uuid int4 text timestamptz timestamptz int8 int4"


class RowsRejected(SyncKairosError):
    """Postgres rejects the content of these rows. Other rows may be accepted."""

    code = "ROWS_REFUSED"


@dataclass(frozen=True, slots=True)
class BatchResult:
    """Result of one transaction: the number of new rows, of known rows, and the versions with different content.

    A version is (session id, epoch, version). `disputed` are all versions whose content differs from the content in
    Postgres. `conflicts` are those of them whose content arrived for the first time.
    """

    new: int
    known: int
    conflicts: tuple[tuple[str, str, int], ...] = ()
    disputed: tuple[tuple[str, str, int], ...] = ()


class AuditWriter:
    """Writes to the audit's tables. Raises StoreUnavailable if Postgres is not reachable or cannot write now."""

    def __init__(
        self,
        database_url: str,
        scope: str,
        *,
        max_connections: int = 4,
        timeout_s: float = 5.0,
        statement_timeout_s: float = STATEMENT_TIMEOUT_S,
    ) -> None:
        """Set the database and the scope, which is a name that all drains of the same store share.

        The limits are in seconds: `timeout_s` for a connection, `statement_timeout_s` for a statement. A batch has
        twice the limit of a statement, with its COMMIT.
        """
        self._scope = scope
        self._batch_timeout_s = 2 * statement_timeout_s
        self.pool = PostgresPool(
            database_url,
            "drain",
            max_connections=max_connections,
            timeout_s=timeout_s,
            options=f"-c statement_timeout={round(statement_timeout_s * 1000)} {_OPTIONS}",
            configure=_prepare,
        )

    async def open(self) -> None:
        """Open the pool without waiting for Postgres."""
        await self.pool.open()

    async def close(self) -> None:
        """Close all connections."""
        await self.pool.close()

    async def check_reachable(self) -> None:
        """Raise StoreUnavailable if Postgres is not reachable."""
        async with _time_limit(self._batch_timeout_s), self.pool.connection():
            pass

    @asynccontextmanager
    async def lock_partition(self, partition: int) -> AsyncIterator["BatchWriter | None"]:
        """Lock a partition and yield its writer; yield None if another drain holds the lock.

        The lock ends with the connection. A holder whose transaction takes longer than the limit of a batch is
        disconnected, so the next attempt gets the lock.
        """
        lock = {"scope": self._scope, "partition": partition, "stuck_s": self._batch_timeout_s}
        sql = load_statements("batch_writer.sql", "synckairos.audit")
        with _translate_errors():
            async with AsyncExitStack() as stack:
                async with _time_limit(self._batch_timeout_s):
                    connection = await stack.enter_async_context(self.pool.connection())
                    row = await (await connection.execute(sql["try_lock"], lock)).fetchone()
                    is_locked = row is not None and row[0]
                    if not is_locked:
                        await connection.execute(sql["disconnect_stuck"], lock)
                if not is_locked:
                    yield None
                    return
                try:
                    yield BatchWriter(connection, self._batch_timeout_s)
                except StoreUnavailable:
                    # After a failover this connection may lead to a replica. The next drain opens a new one.
                    await connection.close()
                    raise
                finally:
                    await _unlock(connection, lock)


class BatchWriter:
    """Writes one partition while `AuditWriter.lock_partition` lasts. `connection` holds the lock."""

    def __init__(self, connection: AsyncConnection, batch_timeout_s: float) -> None:
        self.connection = connection
        self._batch_timeout_s = batch_timeout_s

    async def write(self, rows: EntryRows) -> BatchResult:
        """Write a batch in one transaction, completely or not at all. Rows that exist are not changed.

        Raises:
            RowsRejected: Postgres rejects the content of the rows.
            StoreUnavailable: The outcome is unknown. Writing the same rows again is safe.
        """
        async with _time_limit(self._batch_timeout_s):
            try:
                return await self._write(rows, _copy_events)
            except psycopg.errors.UniqueViolation:
                return await self.merge(rows)

    async def merge(self, rows: EntryRows) -> BatchResult:
        """Write a batch of which Postgres has some versions. `write` does this itself if it has to."""
        return await self._write(rows, _merge_events)

    async def _write(
        self, rows: EntryRows, write_events: Callable[[AsyncCursor[Any], EntryRows], Awaitable[BatchResult]]
    ) -> BatchResult:
        async with self.connection.transaction(), self.connection.cursor() as cursor:
            result = await write_events(cursor, rows)
            await _copy(cursor, "incoming_sessions", SessionRow._fields, _SESSION_TYPES, rows.sessions)
            await _copy(cursor, "incoming_participants", ParticipantRow._fields, _PARTICIPANT_TYPES, rows.participants)
            await cursor.execute(load_statements("batch_writer.sql", "synckairos.audit")["update_projections"])
            await _queue_webhooks(cursor, rows.events)
        return result


async def _copy_events(cursor: AsyncCursor[Any], rows: EntryRows) -> BatchResult:
    """Copy the versions directly into their table, at half the cost: nearly always Postgres has none of them."""
    await _copy(cursor, "sync_events", EventRow._fields[:-1], _EVENT_TYPES, (row[:-1] for row in rows.events))
    return BatchResult(len(rows.events), 0)


async def _merge_events(cursor: AsyncCursor[Any], rows: EntryRows) -> BatchResult:
    """Insert the versions that Postgres lacks: the batch was written before, or a version was issued twice."""
    sql = load_statements("batch_writer.sql", "synckairos.audit")
    await _copy(cursor, "incoming_events", EventRow._fields, f"{_EVENT_TYPES} bytea", rows.events)
    await cursor.execute(sql["insert_events"])
    new = cursor.rowcount
    await cursor.execute(sql["insert_conflicts"])
    found = await cursor.fetchall()
    await cursor.execute(sql["flush_after_known"])
    conflicts = tuple((session_id, epoch, version) for session_id, epoch, version, is_new in found if is_new)
    disputed = tuple((session_id, epoch, version) for session_id, epoch, version, _ in found)
    return BatchResult(new, len(rows.events) - new - len(conflicts), conflicts, disputed)


async def _queue_webhooks(cursor: AsyncCursor[Any], events: Sequence[EventRow]) -> None:
    """Queue the webhook deliveries of a batch, each at most once. Without endpoints this is a single query.

    `synckairos.webhooks` sends them, so the drain never waits for a receiver.
    """
    sql = load_statements("batch_writer.sql", "synckairos.audit")
    await cursor.execute(sql["has_webhook_endpoints"])
    if await cursor.fetchone() != (True,):
        return
    await cursor.execute(
        sql["queue_webhooks"],
        {
            "session_ids": [each.session_id for each in events],
            "epochs": [each.epoch for each in events],
            "versions": [each.version for each in events],
            "event_types": [each.event_type for each in events],
        },
    )


async def _prepare(connection: AsyncConnection) -> None:
    await connection.execute(load_statements("batch_writer.sql", "synckairos.audit")["prepare"])


async def _unlock(connection: AsyncConnection, lock: dict[str, Any]) -> None:
    if connection.closed:
        return
    try:
        await connection.execute(load_statements("batch_writer.sql", "synckairos.audit")["unlock"], lock)
    except psycopg.Error:
        # The pool must not give out a connection that still holds the lock.
        await connection.close()


async def _copy(
    cursor: AsyncCursor[Any], table: str, columns: Sequence[str], types: str, rows: Iterable[tuple[Any, ...]]
) -> None:
    statement = f"COPY {table} ({', '.join(columns)}) FROM STDIN (FORMAT BINARY)"
    async with cursor.copy(statement.encode()) as copy:
        copy.set_types(types.split())
        for row in rows:
            try:
                await copy.write_row(row)
            except (OverflowError, TypeError, ValueError, AttributeError) as fault:
                raise RowsRejected(f"{type(fault).__name__}: {fault}") from fault


@asynccontextmanager
async def _time_limit(timeout_s: float) -> AsyncIterator[None]:
    """Translate errors, and cancel the current statement after `timeout_s` seconds."""
    with _translate_errors():
        try:
            async with asyncio.timeout(timeout_s):
                yield
        except TimeoutError as late:
            raise StoreUnavailable(f"Postgres did not answer within {timeout_s:.0f} s") from late


@contextmanager
def _translate_errors() -> Iterator[None]:
    """Raise RowsRejected for rows that Postgres rejects, and StoreUnavailable for every other error of Postgres."""
    try:
        yield
    except psycopg.Error as fault:
        state = fault.sqlstate or ""
        if state[:2] in _DATA_ERROR_CLASSES or (not state and isinstance(fault, psycopg.DataError)):
            raise RowsRejected(f"{state} {fault}".strip()) from fault
        if state.startswith("42"):
            raise StoreUnavailable(f"The database isn't up to date: run `synckairos migrate` ({fault})") from fault
        raise StoreUnavailable(f"Postgres cannot write now: {fault}") from fault
