"""Writer of batches to Postgres: one transaction for each batch, each version once, projections only to newer versions.

The writer works with rows and is independent of the outbox. The drain removes the entries from the stream after `write`
has returned.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.sql import SQL

from synckairos.audit.batch_statements import RowsRejected, arrays, execute, rejecting_values, statement
from synckairos.audit.charge_writer import write_charges
from synckairos.audit.entry_rows import BatchRows, EventRow, ParticipantRow, SessionRow
from synckairos.audit.event_insert import build_insert
from synckairos.audit.stored_snapshots import StoredSnapshot, choose_snapshots
from synckairos.errors import DatabaseNotMigrated, StoreUnavailable, SyncKairosError
from synckairos.postgres.access import cross_tenant_access
from synckairos.postgres.pool import PostgresPool, explain_missing_privilege
from synckairos.postgres.transaction import Transaction
from synckairos.session_names import session_name

STATEMENT_TIMEOUT_S = 60.0
"""Seconds after which Postgres cancels a statement of the drain."""

_SETTINGS: dict[str, str | SQL] = {
    "lock_timeout": "30s",
    "idle_in_transaction_session_timeout": "30s",
    "client_min_messages": "warning",
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    # The drain removes entries from the stream after COMMIT. The rows must then be on disk, also if the database has
    # another default. A stricter setting of the database, such as remote_apply, is kept.
    "synchronous_commit": SQL("replace(current_setting('synchronous_commit'), 'off', 'on')"),
}
_DATA_ERROR_CLASSES = ("22", "23", "54")  # bad data, broken constraint, limit exceeded: a retry would fail too


class PartitionTaken(SyncKairosError):
    """Another drain locked the partition between two transactions of a writer. This is no fault of Postgres."""

    code = "PARTITION_TAKEN"


@dataclass(frozen=True, slots=True)
class BatchResult:
    """Result of one transaction. The numbers and tuples count only the versions of its batch.

    A version is a tuple of session name, epoch and version number.

    - `new`: number of versions that Postgres did not have.
    - `known`: number of versions that Postgres had with the same content, or with disputed content that had arrived
      before.
    - `disputed`: versions whose content differs from the content in Postgres.
    - `conflicts`: the disputed versions whose different content arrived for the first time.
    """

    new: int
    known: int
    conflicts: tuple[tuple[str, str, int], ...] = ()
    disputed: tuple[tuple[str, str, int], ...] = ()


class AuditDatabase:
    """Writer to the audit tables. All methods raise StoreUnavailable if Postgres is unreachable or cannot write now."""

    def __init__(
        self,
        database_url: str,
        scope: str,
        *,
        max_connections: int = 4,
        timeout_s: float = 5.0,
        statement_timeout_s: float = STATEMENT_TIMEOUT_S,
        stores_changes: bool = True,
        has_sparse_snapshots: bool = False,
        requires_roles: bool = False,
    ) -> None:
        """Create a writer. The pool must be opened with `open`.

        - `scope`: a name that all drains of the same Redis store share, for the locks.
        - `timeout_s`: maximum seconds to get a connection.
        - `statement_timeout_s`: maximum seconds of a statement. A batch with its COMMIT has twice this limit.
        - `stores_changes`: whether rows of large sessions can have changes instead of documents. The previous release
          cannot read such rows.
        - `has_sparse_snapshots`: whether rows of small sessions also have changes, if `stores_changes` is True.
        - `requires_roles`: see `TransactionSettings`.
        """
        self._scope = scope
        self._stores_changes = stores_changes
        self.has_sparse_snapshots = stores_changes and has_sparse_snapshots
        self._batch_timeout_s = 2 * statement_timeout_s
        self.pool = PostgresPool(
            database_url,
            "drain",
            max_connections=max_connections,
            timeout_s=timeout_s,
            settings={"statement_timeout": f"{round(statement_timeout_s * 1000)}ms", **_SETTINGS},
            access=cross_tenant_access(),
            requires_roles=requires_roles,
        )

    async def open(self) -> None:
        """Open the pool. Do not wait until Postgres is reachable."""
        await self.pool.open()

    async def close(self) -> None:
        """Close all connections."""
        await self.pool.close()

    async def check_reachable(self) -> None:
        """Raise StoreUnavailable if Postgres is unreachable, or does not answer within two times `timeout_s`.

        The limit is shorter than the limit of a statement, because each sweep waits for this check.
        """
        async with _time_limit(2 * self.pool.timeout):
            await self.pool.fetch(b"SELECT")

    @asynccontextmanager
    async def acquire_partition_writer(self, partition: int) -> AsyncIterator["BatchWriter | None"]:
        """Lock a partition during the block, and yield its writer. Yield None if another drain has the lock.

        The lock ends with its transaction, and therefore with its connection. If the transaction of the other drain has
        lasted longer than the time limit of a batch, this call closes the connection of that drain, so that a later
        attempt gets the lock.
        """
        lock = {"scope": self._scope, "partition": partition, "stuck_s": self._batch_timeout_s}
        with _translate_errors():
            async with self.pool.transaction() as transaction:
                transaction.is_rolled_back = True  # rows of `write` are committed; only the empty transaction remains
                async with _time_limit(self._batch_timeout_s):
                    is_locked = await transaction.fetch(statement("try_lock"), lock) == [(True,)]
                    if not is_locked:
                        await transaction.leave_role()  # only the login may see and end its own connections
                        await transaction.fetch(statement("disconnect_stuck"), lock)
                try:
                    writer = BatchWriter(transaction, lock, self._batch_timeout_s, stores_changes=self._stores_changes)
                    yield writer if is_locked else None
                except StoreUnavailable:
                    # After a failover this connection can lead to a replica. The next drain opens a new connection.
                    await transaction.disconnect()
                    raise


class BatchWriter:
    """Writer of the batches of one locked partition, inside `AuditDatabase.acquire_partition_writer`.

    `transaction` holds the lock. COMMIT and ROLLBACK release the lock, and the same round trip takes the lock again. If
    another drain takes the lock in between, the next write tries once more to take the lock, and raises PartitionTaken
    if this fails. Meanwhile both drains can have read the same entries. Postgres ignores the rows that it already has,
    so no row is written twice.
    """

    def __init__(
        self,
        transaction: Transaction,
        lock: Mapping[str, Any],
        batch_timeout_s: float,
        *,
        stores_changes: bool = True,
    ) -> None:
        self.transaction = transaction
        self._write_new_events = _insert_events if stores_changes else _insert_whole_events
        self._lock = lock
        self._batch_timeout_s = batch_timeout_s

    async def write(self, rows: BatchRows) -> BatchResult:
        """Write a batch in one transaction, completely or not at all.

        Rows of versions that Postgres has are not changed.

        Raises:
            PartitionTaken: Another drain has the lock. No row of the batch was written.
            RowsRejected: Postgres rejects the content of a row. No row of the batch was written.
            StoreUnavailable: It is unknown whether the batch was written. The same rows can be written again.
        """
        async with _time_limit(self._batch_timeout_s):
            try:
                return await self._write(rows, self._write_new_events)
            except psycopg.errors.UniqueViolation:
                return await self.write_missing_versions(rows)

    async def write_missing_versions(self, rows: BatchRows) -> BatchResult:
        """Write those versions of a batch that Postgres does not have.

        `write` calls this method if Postgres has some of them.

        Raises: the errors of `write`.
        """
        return await self._write(rows, _merge_events)

    async def _write(
        self, rows: BatchRows, write_events: Callable[[Transaction, BatchRows], Awaitable[BatchResult]]
    ) -> BatchResult:
        # The current transaction is empty or failed. Begin a new transaction now, because its begin becomes
        # `recorded_at`.
        if not await self._begin_next(b"ROLLBACK"):
            raise PartitionTaken("Another drain has locked the partition")
        result = await write_events(self.transaction, rows)
        values = arrays(SessionRow._fields, rows.sessions)
        values |= arrays(ParticipantRow._fields, rows.participants, prefix="participant.")
        await execute(self.transaction, "update_projections", values)
        await write_charges(self.transaction, rows, result.disputed)
        await _queue_webhooks(self.transaction, rows)
        # The batch is committed, even if the lock is lost. Its result is needed for the conflicts that it reports.
        await self._begin_next(b"COMMIT")
        return result

    async def _begin_next(self, end: bytes) -> bool:
        """End the transaction with the statement `end`, and begin the next transaction with the same lock.

        Return False if another drain took the lock in between.
        """
        return await self.transaction.begin_next(end, statement("try_lock"), self._lock) == [(True,)]


async def _insert_events(transaction: Transaction, rows: BatchRows) -> BatchResult:
    """Insert the event rows. Rows can have changes instead of documents.

    Raises: UniqueViolation if Postgres has one of the versions.
    """
    snapshots = await choose_snapshots(transaction, rows.events)
    return await _insert(transaction, rows.events, snapshots)


async def _insert_whole_events(transaction: Transaction, rows: BatchRows) -> BatchResult:
    """Insert the event rows as `_insert_events`, but all rows have their documents."""
    return await _insert(transaction, rows.events, None)


async def _insert(
    transaction: Transaction, rows: Sequence[EventRow], snapshots: Sequence[StoredSnapshot] | None
) -> BatchResult:
    if rows:
        insert, values = build_insert(rows, snapshots)
        with rejecting_values():
            await transaction.execute(insert, values)
    return BatchResult(len(rows), 0)


async def _merge_events(transaction: Transaction, rows: BatchRows) -> BatchResult:
    """Insert the event rows that Postgres does not have.

    Postgres has some of the versions if the batch was written before, or if Redis issued a version number twice. In the
    second case the rows before can have other content than in Redis, so that all rows have their documents.
    """
    values = arrays(EventRow._fields, rows.events)
    new = (await execute(transaction, "insert_missing_events", values)).rowcount
    found = await (await execute(transaction, "insert_conflicts", values)).fetchall()
    await execute(transaction, "flush_after_known", {})
    conflicts = tuple((session_name(*row[:2]), row[2], row[3]) for row in found if row[4])
    disputed = tuple((session_name(*row[:2]), row[2], row[3]) for row in found)
    return BatchResult(new, len(rows.events) - new - len(conflicts), conflicts, disputed)


async def _queue_webhooks(transaction: Transaction, rows: BatchRows) -> None:
    """Queue the webhook deliveries of a batch, each at most once. Uses only one query if there are no endpoints.

    The dispatcher in `synckairos.webhooks` sends the deliveries, so the drain never waits for a receiver.
    """
    if await transaction.fetch(statement("has_webhook_endpoints")) != [(True,)]:
        return
    values = {
        "tenants": [each.tenant for each in rows.events],
        "session_ids": [each.session_id for each in rows.events],
        "epochs": [each.epoch for each in rows.events],
        "versions": [each.version for each in rows.events],
        "event_types": [each.event_type for each in rows.events],
        "changed_tenants": [each.tenant for each in rows.sessions],
        "changed_ids": [each.session_id for each in rows.sessions],
        "metadata": [each.metadata for each in rows.sessions],
    }
    await execute(transaction, "queue_webhooks", values)


@asynccontextmanager
async def _time_limit(timeout_s: float) -> AsyncIterator[None]:
    """Cancel the statement in the block after `timeout_s` seconds, and translate errors as `_translate_errors` does."""
    with _translate_errors():
        try:
            async with asyncio.timeout(timeout_s):
                yield
        except TimeoutError as late:
            raise StoreUnavailable(f"Postgres did not answer within {timeout_s:.0f} s") from late


@contextmanager
def _translate_errors() -> Iterator[None]:
    """Translate errors of Postgres in the block.

    Raises:
        RowsRejected: Postgres rejects the content of rows.
        StoreUnavailable: All other errors of Postgres.
    """
    try:
        yield
    except psycopg.Error as fault:
        state = fault.sqlstate or ""
        if state[:2] in _DATA_ERROR_CLASSES or (not state and isinstance(fault, psycopg.DataError)):
            raise RowsRejected(f"{state} {fault}".strip()) from fault
        if isinstance(fault, psycopg.errors.InsufficientPrivilege):
            raise explain_missing_privilege(fault) from fault
        if state.startswith("42"):
            raise DatabaseNotMigrated(str(fault)) from fault
        raise StoreUnavailable(f"Postgres cannot write now: {fault}") from fault
