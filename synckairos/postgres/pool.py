"""Pools of connections to Postgres, and questions to it: the one way all parts open theirs, and wait. Knows no table.

Whatever happens to Postgres, nobody who gives a question up waits long for that.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Literal, TypeVar

from psycopg import AsyncConnection, OperationalError, waiting
from psycopg.abc import PQGen
from psycopg.errors import (
    QueryCanceled,
    ReadOnlySqlTransaction,
    UndefinedColumn,
    UndefinedTable,
)
from psycopg.pq import TransactionStatus
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from synckairos.errors import StoreUnavailable

T = TypeVar("T")

CONNECT_TIMEOUT_S = 5
"""Seconds until a Postgres that says nothing counts as away."""

_LET_GO_S = 0.5
_CLOSE_S = 1.0
_INTERVAL_S = 0.1  # psycopg's own between two looks for an interruption
_KEEPALIVE = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 30_000}


class Connection(AsyncConnection[Any]):
    """A connection that doesn't outlast its question: a Postgres that is asked to give one up has half a second.

    psycopg gives it ten, in which whoever cancelled waits. Beyond ours the connection is closed.
    """

    async def wait(self, gen: PQGen[T], interval: float = _INTERVAL_S, timeout: float | None = None) -> T:  # noqa: ASYNC109
        """Carry a conversation with the server on to its end, or to a cancellation."""
        try:
            return await waiting.wait_async(gen, self.pgconn.socket, interval=interval, timeout=timeout)
        except asyncio.CancelledError:
            if self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                try:
                    async with asyncio.timeout(_LET_GO_S):
                        await self.cancel_safe(timeout=_LET_GO_S)
                        await waiting.wait_async(gen, self.pgconn.socket, interval=interval)
                except QueryCanceled:
                    pass  # as asked for
                except BaseException as failure:
                    self.pgconn.finish()
                    if not isinstance(failure, Exception):
                        raise
            raise


class PostgresPool(AsyncConnectionPool[Connection]):
    """Connections to whichever host of the URL is fit: `read-write` takes changes, `primary` may refuse them.

    A standby is neither: it may be behind. Connections are looked at before somebody gets one. Opening waits for
    nobody, closing for a second.
    """

    def __init__(
        self,
        database_url: str,
        name: str,
        *,
        connections: int,
        at_least: int = 0,
        host: Literal["read-write", "primary"] = "read-write",
        timeout_s: float = CONNECT_TIMEOUT_S,
        options: str = "",
        prepares: bool = True,
        configure: Callable[[Connection], Awaitable[None]] | None = None,
    ) -> None:
        """Take the database, what Postgres shows as `synckairos <name>`, and how long getting a connection may take."""
        self._database_url = database_url
        self._connecting: dict[str, Any] = {
            "autocommit": True,
            "prepare_threshold": 5 if prepares else None,
            "connect_timeout": max(2, int(timeout_s)),
            "target_session_attrs": host,
            "application_name": f"synckairos {name}",
            "options": f"-c timezone=UTC {options}".rstrip(),
            **_KEEPALIVE,
        }
        super().__init__(
            database_url,
            connection_class=Connection,
            min_size=at_least,
            max_size=connections,
            open=False,
            name=f"synckairos {name}",
            timeout=timeout_s,
            reconnect_timeout=1.0,
            check=AsyncConnectionPool.check_connection,
            configure=configure,
            kwargs=self._connecting,
        )

    async def check_reachable(self) -> None:
        """Connect once, beside the pool, and let go.

        Raises StoreUnavailable that says at once what is in the way; the pool says at last that it waited.
        """
        with translate_postgres_errors():
            async with await Connection.connect(self._database_url, **self._connecting):
                pass

    async def getconn(self, timeout: float | None = None) -> Connection:  # noqa: ASYNC109 - psycopg's signature
        """Get a connection; whoever is cancelled meanwhile gets none.

        Python 3.11's `wait_for`, beneath, forgets a cancellation that comes with what is waited for (bpo-37658): a loop
        that was told to end would go on.
        """
        task = asyncio.current_task()
        before = 0 if task is None else task.cancelling()
        connection = await super().getconn(timeout)
        if task is not None and task.cancelling() > before:
            await self.putconn(connection)
            raise asyncio.CancelledError
        return connection

    async def close(self, timeout: float = _CLOSE_S) -> None:  # noqa: ASYNC109 - psycopg's signature
        """Close all connections; what is under way then is given up."""
        await super().close(timeout=timeout)


class BoundedQueries:
    """What is being asked of Postgres, each in a task of its own.

    Cancelling a question waits for the server: so whoever asks goes in time, and the task ends when it can.
    """

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()

    async def run(self, timeout_s: float, query: Coroutine[Any, Any, T]) -> T:
        """Return what a question gives. Raises what it raises; StoreUnavailable where that takes longer."""
        task = asyncio.ensure_future(query)
        self._running.add(task)
        task.add_done_callback(self._done)
        done, _ = await asyncio.wait([task], timeout=timeout_s)
        if not done:
            task.cancel()
            raise StoreUnavailable(f"Postgres didn't answer within {timeout_s:g} s; try again shortly")
        return task.result()

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # whoever asked may be gone; then nobody is to be warned about it


@contextmanager
def translate_postgres_errors() -> Iterator[None]:
    """Tell a Postgres that doesn't work, takes no writes or isn't ours yet from everything else."""
    try:
        yield
    except (OperationalError, PoolTimeout) as fault:
        raise StoreUnavailable(f"Postgres doesn't answer: {fault}", setting="DATABASE_URL") from fault
    except ReadOnlySqlTransaction as fault:
        raise StoreUnavailable(f"Postgres can't write now: {fault}", setting="DATABASE_URL") from fault
    except (UndefinedTable, UndefinedColumn) as fault:
        raise StoreUnavailable("The database isn't up to date: run `synckairos migrate`") from fault
