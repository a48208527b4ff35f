"""Connection pools to Postgres, and queries with a time limit. All packages open their connections here.

A caller that cancels a query never waits long for Postgres, whatever state Postgres is in. Knows no table.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

from psycopg import AsyncConnection, OperationalError, waiting
from psycopg.abc import PQGen
from psycopg.conninfo import conninfo_to_dict
from psycopg.errors import (
    QueryCanceled,
    ReadOnlySqlTransaction,
    UndefinedColumn,
    UndefinedTable,
)
from psycopg.pq import TransactionStatus
from psycopg.sql import SQL
from psycopg_pool import AsyncConnectionPool

from synckairos.errors import StoreUnavailable
from synckairos.postgres.transaction import (
    HostKind,
    Isolation,
    Row,
    Statement,
    Transaction,
    TransactionSettings,
    Values,
    fetch_once,
    run_transaction,
)

T = TypeVar("T")

CONNECT_TIMEOUT_S = 5
"""Seconds until a Postgres that does not answer counts as unreachable."""

_CANCEL_TIMEOUT_S = 0.5
_CLOSE_TIMEOUT_S = 1.0
_INTERVAL_S = 0.1  # psycopg's default: seconds between two checks for an interruption
_KEEPALIVE = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 30_000}


class CancellableConnection(AsyncConnection[Any]):
    """A connection that ends a cancelled query within half a second, or is closed.

    psycopg gives Postgres ten seconds to end a cancelled query, and the caller waits meanwhile.
    """

    async def wait(self, gen: PQGen[T], interval: float = _INTERVAL_S, timeout: float | None = None) -> T:  # noqa: ASYNC109
        """Run one exchange with Postgres until it ends or is cancelled."""
        try:
            return await waiting.wait_async(gen, self.pgconn.socket, interval=interval, timeout=timeout)
        except asyncio.CancelledError:
            if self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                try:
                    async with asyncio.timeout(_CANCEL_TIMEOUT_S):
                        await self.cancel_safe(timeout=_CANCEL_TIMEOUT_S)
                        await waiting.wait_async(gen, self.pgconn.socket, interval=interval)
                except QueryCanceled:
                    pass  # the expected end of a cancelled query
                except BaseException as failure:
                    self.pgconn.finish()
                    if not isinstance(failure, Exception):
                        raise
            raise


class PostgresPool(AsyncConnectionPool[CancellableConnection]):
    """Connections to Postgres, directly or through a transaction pooler. Packages use `transaction` and `fetch` alone.

    Both check which kind of server they reached. The pool checks each connection before it gives it out. Opening the
    pool does not wait for a connection. Closing waits for a second at most.
    """

    def __init__(
        self,
        database_url: str,
        name: str,
        *,
        max_connections: int,
        min_connections: int = 0,
        host: HostKind = "read-write",
        timeout_s: float = CONNECT_TIMEOUT_S,
        settings: Mapping[str, str | SQL] | None = None,
    ) -> None:
        """Set the database and the limits. Postgres shows the connections as `synckairos <name>`.

        `timeout_s` is the maximum wait for a connection, in seconds. `settings` are settings of every transaction, see
        `TransactionSettings`. Nothing is set when a connection starts, and no statement is prepared: a transaction
        pooler would refuse the first and mix up the second.
        """
        self._database_url = database_url
        self._settings = TransactionSettings(settings or {}, host)
        self._settings_statement = self._settings.statement()
        self._connection_options: dict[str, Any] = {
            "autocommit": True,
            "prepare_threshold": None,
            "connect_timeout": max(2, int(timeout_s)),
            "application_name": f"synckairos {name}",
            **_host_options(database_url, host),
            **_KEEPALIVE,
        }
        super().__init__(
            database_url,
            connection_class=CancellableConnection,
            min_size=min_connections,
            max_size=max_connections,
            open=False,
            name=f"synckairos {name}",
            timeout=timeout_s,
            reconnect_timeout=1.0,
            check=AsyncConnectionPool.check_connection,
            kwargs=self._connection_options,
        )

    @asynccontextmanager
    async def transaction(
        self, *, isolation: Isolation = "READ COMMITTED", read_only: bool = False
    ) -> AsyncIterator[Transaction]:
        """Run one transaction. It begins with its first statement, and is committed unless the block raises.

        Raises PoolTimeout, WrongServer and the other errors of psycopg.
        """
        async with self.connection() as connection:
            transaction = Transaction(
                connection, self._settings, self._settings_statement, isolation=isolation, read_only=read_only
            )
            async with run_transaction(transaction, connection):
                yield transaction

    async def fetch(self, statement: Statement, values: Values | None = None, *, binary: bool = False) -> list[Row]:
        """Run one statement in a transaction of its own and return its rows, in one round trip.

        Raises what `transaction` raises.
        """
        async with self.connection() as connection:
            return await fetch_once(
                connection, self._settings, self._settings_statement, statement, values, binary=binary
            )

    async def check_reachable(self) -> None:
        """Use one connection that is not part of the pool.

        Raises StoreUnavailable at once, with the reason. The pool itself only says after `timeout_s` that it waited.
        """
        with translate_postgres_errors():
            async with await CancellableConnection.connect(
                self._database_url, **self._connection_options
            ) as connection:
                await fetch_once(connection, self._settings, self._settings_statement, b"SELECT", None, binary=False)

    async def getconn(self, timeout: float | None = None) -> CancellableConnection:  # noqa: ASYNC109 - psycopg's signature
        """Return a connection; raise CancelledError if the task was cancelled while it waited.

        `wait_for` of Python 3.11, which psycopg uses, loses a cancellation that arrives together with the result
        (bpo-37658). Without this check a cancelled loop would continue.
        """
        task = asyncio.current_task()
        before = 0 if task is None else task.cancelling()
        connection = await super().getconn(timeout)
        if task is not None and task.cancelling() > before:
            await self.putconn(connection)
            raise asyncio.CancelledError
        return connection

    async def close(self, timeout: float = _CLOSE_TIMEOUT_S) -> None:  # noqa: ASYNC109 - psycopg's signature
        """Close all connections. Queries that still run after `timeout` seconds are abandoned."""
        await super().close(timeout=timeout)


def _host_options(database_url: str, host: HostKind) -> dict[str, str]:
    """Let libpq look for a matching host if the URL lists several. With one host there is no choice to make."""
    hosts = conninfo_to_dict(database_url)
    several = any("," in str(hosts.get(name) or "") for name in ("host", "hostaddr"))
    return {"target_session_attrs": host} if several and host != "any" else {}


class BoundedQueries:
    """Runs queries with a time limit, each in its own task.

    A cancelled query has to wait for the server. So the caller returns at the limit, and the task ends when it can.
    """

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()

    async def run(self, timeout_s: float, query: Coroutine[Any, Any, T]) -> T:
        """Return the result of a query, or raise its error. Raises StoreUnavailable after `timeout_s` seconds."""
        task = asyncio.ensure_future(query)
        self._running.add(task)
        task.add_done_callback(self._forget)
        done, _ = await asyncio.wait([task], timeout=timeout_s)
        if not done:
            task.cancel()
            raise StoreUnavailable(f"Postgres did not answer within {timeout_s:g} s; try again shortly")
        return task.result()

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # read it, so that asyncio logs no warning if the caller is gone


@contextmanager
def translate_unreachable() -> Iterator[None]:
    """Raise StoreUnavailable if Postgres is not reachable, or fails while a connection is used. Other errors pass."""
    try:
        yield
    except OperationalError as fault:  # includes PoolTimeout
        raise StoreUnavailable(f"Postgres is not reachable: {fault}", setting="DATABASE_URL") from fault


@contextmanager
def translate_postgres_errors() -> Iterator[None]:
    """Raise StoreUnavailable if Postgres fails, is read-only or is not migrated. Other errors pass unchanged."""
    try:
        with translate_unreachable():
            yield
    except ReadOnlySqlTransaction as fault:
        raise StoreUnavailable(f"Postgres cannot write now: {fault}", setting="DATABASE_URL") from fault
    except (UndefinedTable, UndefinedColumn) as fault:
        raise StoreUnavailable("The database isn't up to date: run `synckairos migrate`") from fault
