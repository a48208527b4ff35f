"""Queries and transactions with a time limit, and with errors whose texts callers may read."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from psycopg import Error as PostgresError
from psycopg import OperationalError
from psycopg.errors import InsufficientPrivilege

from synckairos.errors import DatabaseNotMigrated, StoreRefused, StoreUnavailable
from synckairos.postgres.access import Access
from synckairos.postgres.pool import PostgresPool
from synckairos.postgres.transaction import Row, Statement, Transaction, Values

TRANSACTION_TIMEOUT_S = 5.0
"""Seconds after which a transaction of `TimeLimitedTransactions` fails, unless its caller sets another limit."""

T = TypeVar("T")


class TimeLimitedQueries:
    """Runs queries with a time limit, each query in a separate task.

    A cancelled query ends only when the server answers. Therefore `run` raises at the time limit, and the task of the
    query ends later.
    """

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()

    async def run(self, timeout_s: float, query: Coroutine[Any, Any, T]) -> T:
        """Run a query and return its result.

        Raises: The exceptions of the query. StoreUnavailable if the query takes more than `timeout_s` seconds. The
        query is then cancelled, and it is unknown whether its changes were committed.
        """
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
            task.exception()  # marks the exception as retrieved, so that asyncio logs no warning


class TimeLimitedTransactions:
    """Runs transactions on one pool, each in a separate task and with a time limit.

    All methods raise StoreUnavailable if Postgres is unreachable, too slow or not migrated. It is then unknown whether
    the changes were committed.
    """

    def __init__(self, pool: PostgresPool) -> None:
        self._pool = pool
        self._queries = TimeLimitedQueries()

    async def fetch(self, access: Access, statement: Statement, values: Values) -> list[Row]:
        """Run one statement in a transaction of at most `TRANSACTION_TIMEOUT_S` seconds, and return its rows.

        `access` is the role and the tenant of the transaction. Uses one round trip.
        """
        return await self._queries.run(TRANSACTION_TIMEOUT_S, self._fetch(access, statement, values))

    async def transact(
        self,
        access: Access,
        action: Callable[[Transaction], Awaitable[T]],
        timeout_s: float = TRANSACTION_TIMEOUT_S,
    ) -> T:
        """Run `action` in one transaction of at most `timeout_s` seconds, and return its result.

        `access` is the role and the tenant of the transaction. An exception of `action` rolls the transaction back.
        """
        return await self._queries.run(timeout_s, self._transact(access, action))

    async def _fetch(self, access: Access, statement: Statement, values: Values) -> list[Row]:
        with errors_without_details():
            return await self._pool.fetch(statement, values, access=access)

    async def _transact(self, access: Access, action: Callable[[Transaction], Awaitable[T]]) -> T:
        with errors_without_details():
            async with self._pool.transaction(access=access) as transaction:
                return await action(transaction)


@contextmanager
def errors_without_details() -> Iterator[None]:
    """Convert each error of psycopg in the block to StoreUnavailable, with a text that names no host and no table.

    If the role of Postgres lacks a privilege, the error is StoreRefused. Exceptions that are not from psycopg stay
    unchanged.
    """
    try:
        yield
    except InsufficientPrivilege as fault:
        raise StoreRefused("Postgres does not permit this", setting="DATABASE_URL") from fault
    except OperationalError as fault:
        raise StoreUnavailable("Postgres is not reachable; try again shortly", setting="DATABASE_URL") from fault
    except PostgresError as fault:
        if (fault.sqlstate or "").startswith("42"):
            raise DatabaseNotMigrated from fault
        raise StoreUnavailable("Postgres cannot execute this now; try again later") from fault
