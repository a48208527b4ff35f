"""Connection pools for Postgres, and queries with a time limit. All packages open their pools with this module.

If a caller cancels a query, the call ends soon in every state of Postgres. The module is independent of all tables.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

from psycopg import AsyncConnection, OperationalError, waiting
from psycopg.abc import PQGen
from psycopg.conninfo import conninfo_to_dict
from psycopg.errors import (
    InsufficientPrivilege,
    QueryCanceled,
    ReadOnlySqlTransaction,
    UndefinedColumn,
    UndefinedTable,
)
from psycopg.pq import TransactionStatus
from psycopg.sql import SQL
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from synckairos.errors import DatabaseNotMigrated, StoreRefused, StoreUnavailable
from synckairos.postgres.access import Access, cross_tenant_access
from synckairos.postgres.metrics import POOL_WAIT, POOLS
from synckairos.postgres.transaction import (
    HostKind,
    Isolation,
    Row,
    Statement,
    Transaction,
    TransactionSettings,
    Values,
    fetch_in_own_transaction,
    run_transaction,
)
from synckairos.telemetry.outages import SilentOutage, StoreOutage

T = TypeVar("T")

CONNECT_TIMEOUT_S = 5
"""Seconds without an answer after which Postgres counts as unreachable."""

RELEASE_PREFIX = "synckairos 2 "
"""Begin of the names of the connections of this release. Releases that do not know tenants have no number there."""

_OUTAGE_CLASSES = ("", "08", "53", "57")
"""SQLSTATE classes of outages: connection lost, no resources, shutdown. The lost connection itself has no SQLSTATE."""

_WATCH_PAUSE_S = 1.0
_CANCEL_TIMEOUT_S = 0.5
"""Maximum seconds until a cancelled query ends. If the query does not end, the connection is closed."""
_CLOSE_TIMEOUT_S = 1.0
"""Maximum seconds until running queries end when a pool is closed."""
_MAX_STATEMENTS = 10_000
"""Maximum number of tenants for which a pool keeps the statement with which its transactions begin."""
_INTERVAL_S = 0.1  # seconds between two checks for an interruption, the default of psycopg
_KEEPALIVE = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 30_000}


class CancellableConnection(AsyncConnection[Any]):
    """A connection on which a cancelled query ends within half a second.

    If Postgres does not end the query in this time, the connection is closed. Without this class, psycopg would wait up
    to ten seconds for the end of a cancelled query.
    """

    async def wait(self, gen: PQGen[T], interval: float = _INTERVAL_S, timeout: float | None = None) -> T:  # noqa: ASYNC109
        """Run one exchange with Postgres until it ends or is cancelled, and return its result.

        Overrides psycopg's method.
        """
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
    """Pool of connections to Postgres, directly or through a transaction pooler.

    Other packages must run statements only with `transaction` and `fetch`, which check the kind of the server. The pool
    checks each connection before its use. Opening the pool does not wait for a connection.
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
        access: Access | None = None,
        requires_roles: bool = False,
    ) -> None:
        """Create a closed pool.

        - `name`: Postgres shows the connections under the application name `synckairos 2 <name>`.
        - `host`: the kind of server that all transactions need. See `TransactionSettings`.
        - `timeout_s`: seconds to wait for a connection until PoolTimeout is raised.
        - `settings`: settings of each transaction. See `TransactionSettings`.
        - `access`: role and tenant of the transactions that name none. None: each transaction must name its access.
        - `requires_roles`: see `TransactionSettings`.

        The pool sets nothing at the start of a connection and prepares no statements. A transaction pooler would refuse
        settings at the start, and would mix up prepared statements.
        """
        self._database_url = database_url
        self._settings = TransactionSettings(settings or {}, host, requires_roles)
        self._access = access
        self._settings_statements: OrderedDict[Access, bytes] = OrderedDict()
        self.in_use = 0
        """Number of connections that callers use now."""
        self.connected_at_s = float("-inf")
        """Instant by `time.monotonic()` at which a caller last got a working connection."""
        self.timeouts = 0
        """Number of callers that got no connection in time, since the start of the process."""
        self._wait_durations = POOL_WAIT.with_labels(name)
        self._connection_options: dict[str, Any] = {
            "autocommit": True,
            "prepare_threshold": None,
            "connect_timeout": max(2, int(timeout_s)),
            "application_name": f"{RELEASE_PREFIX}{name}",
            **_host_options(database_url, host),
            **_KEEPALIVE,
        }
        self._watch: asyncio.Task[None] | None = None
        self.outage: StoreOutage = SilentOutage()
        """Where this pool reports that Postgres cannot be used. A server or worker sets one for all its pools."""
        super().__init__(
            database_url,
            connection_class=CancellableConnection,
            min_size=min_connections,
            max_size=max_connections,
            open=False,
            name=f"synckairos {name}",
            timeout=timeout_s,
            reconnect_timeout=1.0,
            reconnect_failed=self._report_unreachable,
            check=AsyncConnectionPool.check_connection,
            kwargs=self._connection_options,
        )
        POOLS.pools.add(self)

    @asynccontextmanager
    async def transaction(
        self, *, access: Access | None = None, isolation: Isolation = "READ COMMITTED", read_only: bool = False
    ) -> AsyncIterator[Transaction]:
        """Run one transaction during the block, and yield it. It begins with its first statement.

        `access` is the role and the tenant of the transaction; None means the access of the pool.

        The transaction is committed at the end of the block. If the block raises, or has set
        `Transaction.is_rolled_back`, the transaction is rolled back instead.

        Raises: PoolTimeout, WrongServer and other errors of psycopg.
        """
        statement = self._settings_statement(access)
        with self._reporting():
            async with self.connection() as connection:
                transaction = Transaction(
                    connection, self._settings, statement, isolation=isolation, read_only=read_only
                )
                async with run_transaction(transaction, connection):
                    yield transaction

    async def fetch(
        self,
        statement: Statement,
        values: Values | None = None,
        *,
        access: Access | None = None,
        binary: bool = False,
    ) -> list[Row]:
        """Run one statement in a separate transaction and return its rows. Uses one round trip.

        `access` is the role and the tenant of the transaction; None means the access of the pool.

        Raises: PoolTimeout, WrongServer and other errors of psycopg.
        """
        settings = self._settings_statement(access)
        with self._reporting():
            async with self.connection() as connection:
                return await fetch_in_own_transaction(
                    connection, self._settings, settings, statement, values, binary=binary
                )

    def _settings_statement(self, access: Access | None) -> bytes:
        """Return the statement with which a transaction begins. Raises: ValueError if no access is named."""
        used = access or self._access
        if used is None:
            raise ValueError(f"{self.name}: a transaction of this pool must name its access")
        found = self._settings_statements.get(used)
        if found is None:
            found = self._settings_statements[used] = self._settings.to_sql(used)
            if len(self._settings_statements) > _MAX_STATEMENTS:
                self._settings_statements.popitem(last=False)
        return found

    async def check_reachable(self, access: Access | None = None) -> None:
        """Check that Postgres is reachable, through a connection that does not belong to the pool.

        The check uses `access`; None means the access of the pool, or of all tenants.

        Raises: StoreUnavailable with the reason, as soon as the connection fails, or after two times `timeout_s`. A
        method of the pool would raise only after `timeout_s`, and without the reason.
        """
        try:
            with translate_postgres_errors():
                async with (
                    # A pooler accepts connections while its Postgres is down, and lets the query wait.
                    asyncio.timeout(2 * self.timeout),
                    await CancellableConnection.connect(self._database_url, **self._connection_options) as connection,
                ):
                    await fetch_in_own_transaction(
                        connection,
                        self._settings,
                        self._settings_statement(access or self._access or cross_tenant_access()),
                        b"SELECT",
                        None,
                        binary=False,
                    )
        except TimeoutError as late:
            reason = f"Postgres did not answer within {2 * self.timeout:g} s"
            raise StoreUnavailable(reason, setting="DATABASE_URL") from late

    async def getconn(self, timeout: float | None = None) -> CancellableConnection:  # noqa: ASYNC109 - psycopg's signature
        """Return a working connection, for psycopg's own methods. Overrides psycopg's method.

        `timeout` is the maximum wait in seconds; None means the `timeout_s` of the pool.

        Raises:
            PoolTimeout: There is no working connection in time. psycopg itself has no limit for the check of a
                connection, and a suspended Postgres or pooler does not answer it.
            CancelledError: The task was cancelled during the wait. `wait_for` of Python 3.11, which psycopg uses, loses
                a cancellation that arrives together with the result (bpo-37658). Without this check a cancelled loop
                would continue.
        """
        task = asyncio.current_task()
        before = 0 if task is None else task.cancelling()
        limit_s = self.timeout if timeout is None else timeout
        began_s = time.monotonic()
        try:
            async with asyncio.timeout(limit_s):
                connection = await super().getconn(timeout)
        except PoolTimeout:
            self.timeouts += 1
            raise
        except TimeoutError as late:
            self.timeouts += 1
            raise PoolTimeout(f"no connection answered within {limit_s:g} s") from late
        if task is not None and task.cancelling() > before:
            await super().putconn(connection)
            raise asyncio.CancelledError
        self.in_use += 1
        self.connected_at_s = time.monotonic()
        self._wait_durations.observe(self.connected_at_s - began_s)
        return connection

    async def putconn(self, conn: CancellableConnection) -> None:
        """Return a connection to the pool. Overrides psycopg's method."""
        self.in_use -= 1
        await super().putconn(conn)

    def is_unreachable_since(self, began_s: float) -> bool:
        """Return whether Postgres is unreachable, after a wait for a connection has failed that began at `began_s`.

        `began_s` is an instant by `time.monotonic()`. Return False if a connection is in use now (then the pool is only
        busy), or if a caller got a connection since `began_s`. Do not call this method without such a failure, because
        it also returns True for an idle pool.
        """
        return self.in_use == 0 and self.connected_at_s < began_s

    async def close(self, timeout: float = _CLOSE_TIMEOUT_S) -> None:  # noqa: ASYNC109 - psycopg's signature
        """Close all connections. Wait at most `timeout` seconds for running queries, and then abandon them."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        await super().close(timeout=timeout)

    @contextmanager
    def _reporting(self) -> Iterator[None]:
        """Report whether Postgres could be used. An exhausted pool is no outage, so its error is not reported."""
        try:
            yield
        except PoolTimeout:
            raise
        except OperationalError as fault:
            if (fault.sqlstate or "")[:2] in _OUTAGE_CLASSES and not isinstance(fault, QueryCanceled):
                self.outage.report_unreachable(self.name, fault)
                self.watch_outage()
            raise
        self.outage.report_reachable(self.name)

    async def _report_unreachable(self, _: object) -> None:
        self.watch_outage()

    def watch_outage(self) -> None:
        """Start a background task that reports an outage of Postgres until the outage ends. Return immediately.

        If Postgres is reachable, the task reports this and ends.
        """
        if self._watch is None or self._watch.done():
            self._watch = asyncio.create_task(self._watch_outage(), name=f"{self.name} outage")

    async def _watch_outage(self) -> None:
        """Report an outage until Postgres is reachable again. The pool itself connects only if a query needs it."""
        while True:
            try:
                await self.check_reachable()
            except StoreUnavailable as fault:
                cause = fault if isinstance(fault.__cause__, TimeoutError) else fault.__cause__ or fault
                self.outage.report_unreachable(self.name, cause)
                await asyncio.sleep(_WATCH_PAUSE_S)
            else:
                self.outage.report_reachable(self.name)
                return


def _host_options(database_url: str, host: HostKind) -> dict[str, str]:
    """Return the libpq options that select a matching host, if the URL lists several hosts.

    Otherwise return no options.
    """
    hosts = conninfo_to_dict(database_url)
    several = any("," in str(hosts.get(name) or "") for name in ("host", "hostaddr"))
    return {"target_session_attrs": host} if several and host != "any" else {}


@contextmanager
def unreachable_as_store_unavailable() -> Iterator[None]:
    """Convert each OperationalError of psycopg in the block, such as a lost connection, to StoreUnavailable.

    Other exceptions stay unchanged.
    """
    try:
        yield
    except OperationalError as fault:  # includes PoolTimeout
        raise StoreUnavailable(f"Postgres is not reachable: {fault}", setting="DATABASE_URL") from fault


@contextmanager
def refusal_as_store_refused() -> Iterator[None]:
    """Convert an error in the block to StoreRefused if Postgres is read-only, or if its user lacks a privilege.

    Other exceptions stay unchanged.
    """
    try:
        yield
    except ReadOnlySqlTransaction as fault:
        raise StoreRefused(f"Postgres cannot write now: {fault}", setting="DATABASE_URL") from fault
    except InsufficientPrivilege as fault:
        raise explain_missing_privilege(fault) from fault


def explain_missing_privilege(fault: InsufficientPrivilege) -> StoreRefused:
    """Return the exception to raise for a statement that Postgres refused, because the role lacks a privilege."""
    return StoreRefused(
        f"Postgres does not permit this: {fault.diag.message_primary}. `synckairos doctor` prints the statement"
        " that grants it",
        setting="DATABASE_URL",
    )


@contextmanager
def translate_postgres_errors() -> Iterator[None]:
    """Convert an error in the block to StoreUnavailable if Postgres fails, refuses or is not migrated.

    Other exceptions stay unchanged.
    """
    try:
        with unreachable_as_store_unavailable(), refusal_as_store_refused():
            yield
    except (UndefinedTable, UndefinedColumn) as fault:
        raise DatabaseNotMigrated from fault
