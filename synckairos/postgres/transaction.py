"""Transactions on pooled connections. All packages run their statements through this module.

A transaction pooler such as PgBouncer does not keep session state between transactions. Each transaction therefore
applies its role, its tenant and its settings, in the round trip of its first statement.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from psycopg import AsyncConnection, AsyncCopy, AsyncCursor, AsyncServerCursor, OperationalError
from psycopg import Error as PostgresError
from psycopg.errors import InFailedSqlTransaction, ReadOnlySqlTransaction
from psycopg.pq import TransactionStatus
from psycopg.rows import AsyncRowFactory, tuple_row
from psycopg.sql import SQL, Composed
from psycopg.sql import Literal as SqlLiteral

from synckairos.postgres.access import TENANT_SETTING, Access
from synckairos.postgres.metrics import find_statement_series

Row = tuple[Any, ...]
Statement = bytes | SQL | Composed
Values = Mapping[str, Any] | Sequence[Any]
Isolation = Literal["READ COMMITTED", "REPEATABLE READ"]
HostKind = Literal["read-write", "primary", "any"]

_ROLLBACK_TIMEOUT_S = 0.5
_ROLE_IF_MEMBER = "CASE WHEN pg_has_role(to_regrole('{0}'), 'MEMBER') THEN '{0}' ELSE 'none' END"


class WrongServer(OperationalError):
    """The connected server is a standby or read-only, and the transaction needs another kind of server."""


@dataclass(frozen=True, slots=True)
class TransactionSettings:
    """Settings of each transaction of a pool, and the kind of server that the transactions need.

    - `values`: Postgres settings by name. A value is a text or an SQL expression. The time zone is always UTC.
    - `host`: `read-write` is a primary that accepts writes. `primary` is a primary that can be read-only. `any` is any
      server.
    - `requires_roles`: whether the transactions fail if the login may not use the role of an access. If it is False,
      such a login runs the transactions without a role.
    """

    values: Mapping[str, str | SQL] = field(default_factory=dict)
    host: HostKind = "read-write"
    requires_roles: bool = False

    def to_sql(self, access: Access) -> bytes:
        """Return the SQL statement that applies the settings to the current transaction, and describes the server.

        The statement also sets the role and the tenant of `access`. It reads `default_transaction_read_only`, which
        describes the server. `transaction_read_only` is not used, because it is also true in a READ ONLY transaction on
        a server that accepts writes.
        """
        role = SQL("'{}'" if self.requires_roles else _ROLE_IF_MEMBER).format(SQL(access.role))
        settings: dict[str, str | SQL | Composed] = {
            "timezone": "UTC",
            **self.values,
            TENANT_SETTING: access.tenant,
            "role": role,
        }
        applied = [
            SQL("set_config({}, {}, true)").format(
                name, value if isinstance(value, SQL | Composed) else SqlLiteral(value)
            )
            for name, value in settings.items()
        ]
        server = SQL("pg_is_in_recovery(), current_setting('default_transaction_read_only')::boolean")
        return SQL("SELECT {}, {}").format(server, SQL(", ").join(applied)).as_string().encode()

    def check_server_role(self, server: Row | None) -> None:
        """Raise WrongServer if `server`, the result row of `to_sql`, describes another kind of server than `host`.

        The check is a part of each transaction, because a pooler can change the server between two transactions.
        libpq's `target_session_attrs` is not enough: it reads values that the pooler has saved from an earlier server.
        """
        is_standby, is_read_only = (True, True) if server is None else server[:2]
        if self.host != "any" and is_standby:
            raise WrongServer("the server is a standby, which may be behind")
        if self.host == "read-write" and is_read_only:
            raise WrongServer("the server is read-only")


class Transaction:
    """One transaction on a connection in autocommit mode. The transaction begins with its first statement."""

    def __init__(
        self,
        connection: AsyncConnection[Any],
        settings: TransactionSettings,
        settings_statement: bytes,
        *,
        isolation: Isolation = "READ COMMITTED",
        read_only: bool = False,
    ) -> None:
        """Create a transaction that has not begun. `settings_statement` is the result of `settings.to_sql()`.

        `is_rolled_back` is False at first. A caller sets it to True to end the transaction with a rollback.
        """
        self._connection = connection
        self._settings = settings
        self._settings_statement = settings_statement
        self._begin = f"BEGIN ISOLATION LEVEL {isolation}{' READ ONLY' if read_only else ''}".encode()
        self._is_begun = False
        self.is_rolled_back = False
        """Whether the transaction is rolled back at the end of the block. Set to True to roll back without an error."""

    @property
    def backend_pid(self) -> int:
        """Return the process id of the Postgres backend of this connection.

        Behind a pooler the number is not the id of a backend.
        """
        return self._connection.info.backend_pid

    async def execute(
        self,
        statement: Statement,
        values: Values | None = None,
        *,
        binary: bool = False,
        row_factory: AsyncRowFactory[Any] = tuple_row,
    ) -> AsyncCursor[Any]:
        """Run one statement and return its cursor.

        The first statement also begins the transaction, in the same round trip.

        If `binary` is True, results are transferred in binary form. `row_factory` builds the rows of the cursor.

        Raises: WrongServer and other errors of psycopg.
        """
        began_s = time.perf_counter()
        if self._is_begun:
            cursor = await self._execute(statement, values, binary, row_factory)
        else:
            self._is_begun = True
            async with self._connection.pipeline():
                server = await self._start()
                cursor = await self._execute(statement, values, binary, row_factory)
            await _check(server, self._settings, self._connection)
        find_statement_series(statement).observe(time.perf_counter() - began_s)
        return cursor

    async def fetch(self, statement: Statement, values: Values | None = None, *, binary: bool = False) -> list[Row]:
        """Run one statement and return its rows. Return an empty list if the statement has no result."""
        return await _rows(await self.execute(statement, values, binary=binary))

    @asynccontextmanager
    async def stream(
        self,
        name: str,
        statement: Statement,
        values: Values | None = None,
        *,
        binary: bool = False,
        row_factory: AsyncRowFactory[Any] = tuple_row,
    ) -> AsyncIterator[AsyncServerCursor[Any]]:
        """Open the server-side cursor `name` for the rows of a statement, and yield it.

        The cursor keeps only some rows in memory. It is closed at the end of the block.
        """
        await self.begin()
        async with self._connection.cursor(name=name, binary=binary, row_factory=row_factory) as cursor:
            await cursor.execute(statement, values)
            yield cursor

    @asynccontextmanager
    async def run_copy(self, statement: Statement) -> AsyncIterator[AsyncCopy]:
        """Run a COPY statement, and yield the object that sends or receives its data."""
        await self.begin()
        try:
            async with self._connection.cursor() as cursor, cursor.copy(statement) as copy:
                yield copy
        except ValueError as fault:
            # psycopg's COPY expects one error. If the server behind a pooler ends the connection, there are two.
            if self._connection.closed:
                raise OperationalError("the connection was lost during COPY") from fault
            raise

    async def begin(self) -> None:
        """Begin the transaction if it has not begun. Only needed before work that does not use `execute`."""
        if not self._is_begun:
            self._is_begun = True
            async with self._connection.pipeline():
                server = await self._start()
            await _check(server, self._settings, self._connection)

    async def leave_role(self) -> None:
        """Run the next statements of the transaction as the login, without the role of the access.

        Only for statements about connections of the same login, which a role without this login's privileges may not
        see.
        """
        await self.fetch(b"SELECT set_config('role', 'none', true)")

    async def disconnect(self) -> None:
        """Close the connection. This ends the transaction without a commit."""
        await self._connection.close()

    async def begin_next(self, end: bytes, statement: Statement, values: Values | None = None) -> list[Row]:
        """End the transaction, begin the next transaction, and run `statement` in it. Return the rows of `statement`.

        Uses one round trip. `end` is COMMIT or ROLLBACK. A lock that the statement takes again is free only for the
        short time between the two transactions.
        """
        async with self._connection.pipeline():
            await self._connection.execute(end)
            server = await self._start()
            cursor = await self._execute(statement, values, False, tuple_row)
        await _check(server, self._settings, self._connection)
        return await _rows(cursor)

    async def _start(self) -> AsyncCursor[Any]:
        await self._connection.execute(self._begin)
        return await self._connection.execute(self._settings_statement)

    async def _execute(
        self, statement: Statement, values: Values | None, binary: bool, row_factory: AsyncRowFactory[Any]
    ) -> AsyncCursor[Any]:
        cursor = self._connection.cursor(binary=binary, row_factory=row_factory)
        return await cursor.execute(statement, values)


@asynccontextmanager
async def run_transaction(transaction: Transaction, connection: AsyncConnection[Any]) -> AsyncIterator[Transaction]:
    """Yield `transaction`, and commit it at the end of the block.

    If the block raises, or if `transaction.is_rolled_back` is True, roll the transaction back instead. The exception of
    the block is raised again.

    Raises: InFailedSqlTransaction if a statement failed and the block raised no exception.
    """
    try:
        yield transaction
        status = connection.info.transaction_status
        if status == TransactionStatus.INERROR and not transaction.is_rolled_back:
            raise InFailedSqlTransaction("a statement of this transaction failed, so it cannot be committed")
        if status in (TransactionStatus.INTRANS, TransactionStatus.INERROR):
            await connection.execute(b"ROLLBACK" if transaction.is_rolled_back else b"COMMIT")
    except ReadOnlySqlTransaction:
        await connection.close()
        raise
    except BaseException:
        if connection.info.transaction_status in (TransactionStatus.INERROR, TransactionStatus.INTRANS):
            try:
                async with asyncio.timeout(_ROLLBACK_TIMEOUT_S):
                    await connection.execute(b"ROLLBACK")
            except (PostgresError, TimeoutError):
                await connection.close()
        raise


async def fetch_in_own_transaction(
    connection: AsyncConnection[Any],
    settings: TransactionSettings,
    settings_statement: bytes,
    statement: Statement,
    values: Values | None,
    *,
    binary: bool,
) -> list[Row]:
    """Run one statement in a separate transaction, in one round trip, and return its rows.

    Postgres runs all statements of a pipeline as one transaction. BEGIN and COMMIT are therefore not needed.
    """
    began_s = time.perf_counter()
    try:
        async with connection.pipeline():
            server = await connection.execute(settings_statement)
            cursor = connection.cursor(binary=binary)
            await cursor.execute(statement, values)
        await _check(server, settings, connection)
        find_statement_series(statement).observe(time.perf_counter() - began_s)
    except ReadOnlySqlTransaction:
        await connection.close()
        raise
    return await _rows(cursor)


async def _check(server: AsyncCursor[Any], settings: TransactionSettings, connection: AsyncConnection[Any]) -> None:
    """Raise WrongServer if the server is of another kind than the settings require.

    Before it raises, close the connection, because the next connection can lead to another server.
    """
    try:
        settings.check_server_role(await server.fetchone())
    except WrongServer:
        await connection.close()
        raise


async def _rows(cursor: AsyncCursor[Any]) -> list[Row]:
    return [] if cursor.description is None else await cursor.fetchall()
