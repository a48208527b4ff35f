"""Writes batches to Postgres: one transaction each, every version once, projections forward only.

Knows rows, not the outbox: taking entries out of the stream is the drain's business, after `record` has returned.
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

_OPTIONS = (
    "-c lock_timeout=30s -c idle_in_transaction_session_timeout=30s -c client_min_messages=warning "
    "-c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3"
)
_DATA_CLASSES = ("22", "23", "54")  # bad data, broken constraint, beyond a limit: the next try would fail as well
_EVENT = "uuid text int8 timestamptz text text uuid uuid text int8 int8 text text text text text text bool bytea bytea"
_SESSION = "uuid text int8 text text timestamptz timestamptz timestamptz timestamptz timestamptz text"
_PARTICIPANT = "uuid uuid int4 text timestamptz timestamptz int8 int4"


class RowsRejected(SyncKairosError):
    """Postgres refuses these rows for what they hold; others may pass."""

    code = "ROWS_REFUSED"


@dataclass(frozen=True, slots=True)
class BatchResult:
    """What a transaction did: rows new to Postgres, rows it had already, and versions that came with other content.

    A version is (session id, epoch, version). `disputed` are all whose content is another than Postgres has,
    `conflicts` those of them whose content is seen for the first time.
    """

    new: int
    known: int
    conflicts: tuple[tuple[str, str, int], ...] = ()
    disputed: tuple[tuple[str, str, int], ...] = ()


class AuditWriter:
    """The audit's tables, for writing. Raises StoreUnavailable where Postgres doesn't answer or can't write now."""

    def __init__(
        self,
        database_url: str,
        scope: str,
        *,
        connections: int = 4,
        timeout_s: float = 5.0,
        statement_s: float = STATEMENT_TIMEOUT_S,
    ) -> None:
        """Take the database, and a name that all drains of the same store share.

        A connection may take `timeout_s`, a statement `statement_s`, and a batch twice as long, its COMMIT included.
        """
        self._scope = scope
        self._batch_s = 2 * statement_s
        self._pool = PostgresPool(
            database_url,
            "drain",
            max_connections=connections,
            timeout_s=timeout_s,
            options=f"-c statement_timeout={round(statement_s * 1000)} {_OPTIONS}",
            configure=_prepare,
        )

    async def open(self) -> None:
        """Begin to connect; doesn't wait for Postgres."""
        await self._pool.open()

    async def close(self) -> None:
        await self._pool.close()

    async def check_reachable(self) -> None:
        """Raise StoreUnavailable unless Postgres answers."""
        async with _answering(self._batch_s), self._pool.connection():
            pass

    @asynccontextmanager
    async def lock_partition(self, partition: int) -> AsyncIterator["BatchWriter | None"]:
        """Be the only one who writes a partition; None where somebody else is. The lock ends with the connection.

        Whoever holds it and hangs in a transaction for longer than a batch may take is disconnected: next time it is
        free.
        """
        place = {"scope": self._scope, "partition": partition, "stuck_s": self._batch_s}
        sql = load_statements("batch_writer.sql", "synckairos.audit")
        with _named_faults():
            async with AsyncExitStack() as stack:
                async with _answering(self._batch_s):
                    connection = await stack.enter_async_context(self._pool.connection())
                    row = await (await connection.execute(sql["try_hold"], place)).fetchone()
                    is_held = row is not None and row[0]
                    if not is_held:
                        await connection.execute(sql["end_stuck"], place)
                if not is_held:
                    yield None
                    return
                try:
                    yield BatchWriter(connection, self._batch_s)
                except StoreUnavailable:
                    # After a failover it may lead to a replica: the next one begins anew.
                    await connection.close()
                    raise
                finally:
                    await _let_go(connection, place)


class BatchWriter:
    """The right to write one partition, for as long as `AuditWriter.hold` lasts."""

    def __init__(self, connection: AsyncConnection, batch_s: float) -> None:
        self._connection = connection
        self._batch_s = batch_s

    async def write(self, rows: EntryRows) -> BatchResult:
        """Write a batch: all of it or nothing, in one transaction. Rows that are there already are left alone.

        Raises:
            Refused: Postgres refuses the data.
            StoreUnavailable: whether it was written isn't known; doing it again is safe.
        """
        async with _answering(self._batch_s):
            try:
                return await self._write(rows, _copy_events)
            except psycopg.errors.UniqueViolation:
                return await self._write(rows, _merge_events)

    async def _write(
        self, rows: EntryRows, keep_events: Callable[[AsyncCursor[Any], EntryRows], Awaitable[BatchResult]]
    ) -> BatchResult:
        async with self._connection.transaction(), self._connection.cursor() as cursor:
            recorded = await keep_events(cursor, rows)
            await _copy(cursor, "incoming_sessions", SessionRow._fields, _SESSION, rows.sessions)
            await _copy(cursor, "incoming_participants", ParticipantRow._fields, _PARTICIPANT, rows.participants)
            await cursor.execute(load_statements("batch_writer.sql", "synckairos.audit")["move_projections"])
            await _queue_webhooks(cursor, rows.events)
        return recorded


async def _copy_events(cursor: AsyncCursor[Any], rows: EntryRows) -> BatchResult:
    """Write versions that Postgres has none of, as nearly always: straight into their table, at half the price."""
    await _copy(cursor, "sync_events", EventRow._fields[:-1], _EVENT, (row[:-1] for row in rows.events))
    return BatchResult(len(rows.events), 0)


async def _merge_events(cursor: AsyncCursor[Any], rows: EntryRows) -> BatchResult:
    """Write versions of which Postgres has some: work done again, or a version that was issued twice."""
    sql = load_statements("batch_writer.sql", "synckairos.audit")
    await _copy(cursor, "incoming_events", EventRow._fields, f"{_EVENT} bytea", rows.events)
    await cursor.execute(sql["keep_events"])
    new = cursor.rowcount
    await cursor.execute(sql["keep_conflicts"])
    found = await cursor.fetchall()
    await cursor.execute(sql["write_behind"])
    conflicts = tuple((session_id, epoch, version) for session_id, epoch, version, is_new in found if is_new)
    disputed = tuple((session_id, epoch, version) for session_id, epoch, version, _ in found)
    return BatchResult(new, len(rows.events) - new - len(conflicts), conflicts, disputed)


async def _queue_webhooks(cursor: AsyncCursor[Any], events: Sequence[EventRow]) -> None:
    """Queue what endpoints are to be told of a batch, each at most once; where nobody wants to be, that is one look.

    Sending is somebody else's business, `synckairos.webhooks`: nothing here ever waits for a receiver.
    """
    sql = load_statements("batch_writer.sql", "synckairos.audit")
    await cursor.execute(sql["anybody_to_tell"])
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


async def _let_go(connection: AsyncConnection, place: dict[str, Any]) -> None:
    if connection.closed:
        return
    try:
        await connection.execute(load_statements("batch_writer.sql", "synckairos.audit")["let_go"], place)
    except psycopg.Error:
        # The lock must not stay with a connection that the pool may hand out again.
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
async def _answering(deadline_s: float) -> AsyncIterator[None]:
    """Name faults, a Postgres that hangs among them: the statement under way is given up."""
    with _named_faults():
        try:
            async with asyncio.timeout(deadline_s):
                yield
        except TimeoutError as late:
            raise StoreUnavailable(f"Postgres didn't answer within {deadline_s:.0f} s") from late


@contextmanager
def _named_faults() -> Iterator[None]:
    """Tell rows that Postgres refuses from a Postgres that doesn't work."""
    try:
        yield
    except psycopg.Error as fault:
        state = fault.sqlstate or ""
        if state[:2] in _DATA_CLASSES or (not state and isinstance(fault, psycopg.DataError)):
            raise RowsRejected(f"{state} {fault}".strip()) from fault
        if state.startswith("42"):
            raise StoreUnavailable(f"The database isn't up to date: run `synckairos migrate` ({fault})") from fault
        raise StoreUnavailable(f"Postgres can't write now: {fault}") from fault
