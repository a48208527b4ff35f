"""Online migrations: files whose paragraphs are transactions of their own, so that no lock is held for long.

Such a file begins with the line `-- online: …`. A blank line ends a paragraph. Each paragraph can run again, because a
migration that was interrupted begins again with the first paragraph. A paragraph that creates or drops an index
concurrently runs outside of a transaction. If it fails, Postgres keeps an invalid index, which the next attempt
removes.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
from psycopg.errors import DeadlockDetected, LockNotAvailable
from psycopg.sql import SQL, Identifier

MIGRATION_LOCK_KEY = 0x53594E43
"""Key of the advisory lock that each process takes before it changes the schema. The number is arbitrary."""

LOCK_TIMEOUT_MS = 2_000
"""Milliseconds for which a paragraph waits for a table. Statements of servers and workers wait behind it."""

_ATTEMPTS = 60
_PAUSE_S = 0.5
_ONLINE = "-- online:"
_CONCURRENTLY = re.compile(
    r"^(?:CREATE (?:UNIQUE )?INDEX CONCURRENTLY IF NOT EXISTS|DROP INDEX CONCURRENTLY IF EXISTS) (\w+)", re.MULTILINE
)
_SETTINGS = f"""
SELECT
    set_config('client_min_messages', 'warning', true), set_config('timezone', 'UTC', true),
    set_config('statement_timeout', '0', true), set_config('lock_timeout', '{LOCK_TIMEOUT_MS}ms', true)
"""
_IS_INVALID = "SELECT EXISTS (SELECT FROM pg_index WHERE indexrelid = to_regclass(%s) AND NOT indisvalid)"


def is_online(text: str) -> bool:
    """Return whether a migration file with this text is an online migration."""
    return text.startswith(_ONLINE)


def without_concurrency(text: str) -> str:
    """Return a migration that creates and drops its indexes in one transaction, for a database without rows."""
    return _CONCURRENTLY.sub(lambda found: found[0].replace("CONCURRENTLY ", ""), text)


async def run_online(connection: psycopg.AsyncConnection, text: str) -> None:
    """Run the paragraphs of an online migration on a connection in autocommit mode, each as a transaction of its own.

    The caller holds the lock of `hold_migration_lock`.

    Raises: LockNotAvailable if other transactions keep a table locked in all attempts, and the other errors of psycopg.
    """
    for paragraph in re.split(r"\n\n+", text.strip()):
        await run_paragraph(connection, paragraph)


async def run_paragraph(connection: psycopg.AsyncConnection, paragraph: str) -> None:
    """Run one paragraph. Try again if another transaction has locked a table for more than `LOCK_TIMEOUT_MS`.

    Raises: The errors of `run_online`.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            await _run_once(connection, paragraph)
        except (LockNotAvailable, DeadlockDetected):
            if attempt == _ATTEMPTS:
                raise
            await asyncio.sleep(_PAUSE_S)
        else:
            return


async def _run_once(connection: psycopg.AsyncConnection, paragraph: str) -> None:
    concurrent = _CONCURRENTLY.search(paragraph)
    if concurrent is None:
        async with connection.transaction():
            await connection.execute(_SETTINGS.encode())
            await connection.execute(paragraph.encode())
        return
    name = concurrent[1]
    if await (await connection.execute(_IS_INVALID.encode(), [name])).fetchone() == (True,):
        await connection.execute(SQL("DROP INDEX CONCURRENTLY {}").format(Identifier(name)))
    await connection.execute("SET statement_timeout = 0")
    try:
        await connection.execute(paragraph.encode())
    finally:
        if not connection.closed:
            await connection.execute("RESET statement_timeout")


async def lock_migrations(connection: psycopg.AsyncConnection) -> None:
    """Wait for the lock of migrations inside a transaction of `connection`. The lock ends with the transaction.

    Short statements are repeated. One statement that waits would keep a snapshot, and the owner of the lock waits for
    all snapshots when it creates an index concurrently. A statement with parameters would keep its snapshot too, until
    the next statement.
    """
    statement = f"SELECT pg_try_advisory_xact_lock({MIGRATION_LOCK_KEY})".encode()
    while await (await connection.execute(statement)).fetchone() != (True,):  # noqa: ASYNC110 - Postgres has no event
        await asyncio.sleep(_PAUSE_S / 5)


@asynccontextmanager
async def hold_migration_lock(connection: psycopg.AsyncConnection) -> AsyncIterator[None]:
    """Hold the lock of migrations for the block, on `connection`, which must have no transaction.

    Statements of other connections can create indexes concurrently inside the block, because the transaction of
    `connection` keeps no snapshot.
    """
    async with connection.transaction():
        await connection.execute("SELECT set_config('idle_in_transaction_session_timeout', '0', true)")
        await lock_migrations(connection)
        yield
