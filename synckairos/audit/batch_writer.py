"""Writer of batches to Postgres: one transaction per batch, each version once, projections only to newer versions.

Works with rows and does not know the outbox. The drain removes the entries from the stream after `write` returned.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import AsyncCursor
from psycopg.sql import SQL

from synckairos.audit.entry_rows import EntryRows, EventRow, ParticipantRow, SessionRow
from synckairos.errors import StoreUnavailable, SyncKairosError
from synckairos.postgres.named_sql import load_statements
from synckairos.postgres.pool import PostgresPool
from synckairos.postgres.transaction import Transaction

STATEMENT_TIMEOUT_S = 60.0
"""Seconds after which Postgres cancels a statement of the drain."""

_SETTINGS: dict[str, str | SQL] = {
    "lock_timeout": "30s",
    "idle_in_transaction_session_timeout": "30s",
    "client_min_messages": "warning",
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    # The drain removes entries from the stream after COMMIT. By then the rows must be on disk, whatever the default of
    # the database is. A stricter setting, such as remote_apply, stays.
    "synchronous_commit": SQL("replace(current_setting('synchronous_commit'), 'off', 'on')"),
}
_DATA_ERROR_CLASSES = ("22", "23", "54")  # bad data, broken constraint, limit exceeded: a retry would fail too
_EVENT_TYPES = (
    "uuid text int8 timestamptz text text uuid uuid text int8 int8 text text text text text text bool bytea bytea"
)


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
            settings={"statement_timeout": f"{round(statement_timeout_s * 1000)}ms", **_SETTINGS},
        )

    async def open(self) -> None:
        """Open the pool without waiting for Postgres."""
        await self.pool.open()

    async def close(self) -> None:
        """Close all connections."""
        await self.pool.close()

    async def check_reachable(self) -> None:
        """Raise StoreUnavailable if Postgres is not reachable."""
        async with _time_limit(self._batch_timeout_s):
            await self.pool.fetch(b"SELECT")

    @asynccontextmanager
    async def lock_partition(self, partition: int) -> AsyncIterator["BatchWriter | None"]:
        """Lock a partition and yield its writer; yield None if another drain holds the lock.

        The lock ends with its transaction, and so with the connection. A holder whose transaction takes longer than the
        limit of a batch is disconnected, so the next attempt gets the lock.
        """
        lock = {"scope": self._scope, "partition": partition, "stuck_s": self._batch_timeout_s}
        with _translate_errors():
            async with self.pool.transaction() as transaction:
                transaction.is_rolled_back = True  # what `write` wrote is committed
                async with _time_limit(self._batch_timeout_s):
                    is_locked = await transaction.fetch(_statement("try_lock"), lock) == [(True,)]
                    if not is_locked:
                        await transaction.fetch(_statement("disconnect_stuck"), lock)
                try:
                    yield BatchWriter(transaction, lock, self._batch_timeout_s) if is_locked else None
                except StoreUnavailable:
                    # After a failover this connection may lead to a replica. The next drain opens a new one.
                    await transaction.disconnect()
                    raise


class BatchWriter:
    """Writes one partition while `AuditWriter.lock_partition` lasts. `transaction` holds the lock.

    A lock of a transaction ends at COMMIT. So COMMIT and the BEGIN and lock of the next transaction are one round trip.
    No other drain finds the partition free between two batches.
    """

    def __init__(self, transaction: Transaction, lock: Mapping[str, Any], batch_timeout_s: float) -> None:
        self.transaction = transaction
        self._lock = lock
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
        self, rows: EntryRows, write_events: Callable[[Transaction, EntryRows], Awaitable[BatchResult]]
    ) -> BatchResult:
        # The current transaction is empty or failed. The new one begins now, because its begin becomes `recorded_at`.
        await self._begin_next(b"ROLLBACK")
        result = await write_events(self.transaction, rows)
        values = _arrays(SessionRow._fields, rows.sessions)
        values |= _arrays(ParticipantRow._fields, rows.participants, prefix="participant.")
        await _execute(self.transaction, "update_projections", values)
        await _queue_webhooks(self.transaction, rows)
        await self._begin_next(b"COMMIT")
        return result

    async def _begin_next(self, end: bytes) -> None:
        """End the transaction by `end`, and begin the next one with the same lock."""
        if await self.transaction.begin_next(end, _statement("try_lock"), self._lock) != [(True,)]:
            raise StoreUnavailable("Another drain took the partition over")


async def _copy_events(transaction: Transaction, rows: EntryRows) -> BatchResult:
    """Copy the versions directly into their table, at two thirds of the cost: nearly always all are new."""
    statement = f"COPY sync_events ({', '.join(EventRow._fields[:-1])}) FROM STDIN (FORMAT BINARY)"
    async with transaction.copy(statement.encode()) as copy:
        copy.set_types(_EVENT_TYPES.split())
        with _rejecting_values():
            for row in rows.events:
                await copy.write_row(row[:-1])
    return BatchResult(len(rows.events), 0)


async def _merge_events(transaction: Transaction, rows: EntryRows) -> BatchResult:
    """Insert the versions that Postgres lacks: the batch was written before, or a version was issued twice."""
    values = _arrays(EventRow._fields, rows.events)
    new = (await _execute(transaction, "insert_events", values)).rowcount
    found = await (await _execute(transaction, "insert_conflicts", values)).fetchall()
    await _execute(transaction, "flush_after_known", {})
    conflicts = tuple((session_id, epoch, version) for session_id, epoch, version, is_new in found if is_new)
    disputed = tuple((session_id, epoch, version) for session_id, epoch, version, _ in found)
    return BatchResult(new, len(rows.events) - new - len(conflicts), conflicts, disputed)


async def _queue_webhooks(transaction: Transaction, rows: EntryRows) -> None:
    """Queue the webhook deliveries of a batch, each at most once. Without endpoints this is a single query.

    `synckairos.webhooks` sends them, so the drain never waits for a receiver.
    """
    if await transaction.fetch(_statement("has_webhook_endpoints")) != [(True,)]:
        return
    values = {
        "session_ids": [each.session_id for each in rows.events],
        "epochs": [each.epoch for each in rows.events],
        "versions": [each.version for each in rows.events],
        "event_types": [each.event_type for each in rows.events],
        "changed_ids": [each.session_id for each in rows.sessions],
        "metadata": [each.metadata for each in rows.sessions],
    }
    await _execute(transaction, "queue_webhooks", values)


def _statement(name: str) -> bytes:
    return load_statements("batch_writer.sql", "synckairos.audit")[name]


async def _execute(transaction: Transaction, name: str, values: Mapping[str, Any]) -> AsyncCursor[Any]:
    with _rejecting_values():
        return await transaction.execute(_statement(name), values)


def _arrays(names: Sequence[str], rows: Sequence[tuple[Any, ...]], *, prefix: str = "") -> dict[str, list[Any]]:
    """Return the columns of rows by name, each as a list."""
    columns = zip(*rows, strict=True) if rows else ((),) * len(names)
    return {f"{prefix}{name}": list(column) for name, column in zip(names, columns, strict=True)}


@contextmanager
def _rejecting_values() -> Iterator[None]:
    """Raise RowsRejected for values that psycopg cannot send."""
    try:
        yield
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
