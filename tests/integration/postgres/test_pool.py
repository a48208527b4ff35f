"""Connection pools for Postgres: the selected host, and the time until a cancelled query ends."""

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote
from uuid import uuid4

import psycopg
import pytest

from synckairos.audit.batch_writer import AuditDatabase
from synckairos.config import Settings
from synckairos.embedded import Postgres
from synckairos.history import reader
from synckairos.jobs import table
from synckairos.postgres.access import cross_tenant_access
from synckairos.postgres.pool import PostgresPool
from synckairos.postgres.transaction import WrongServer
from synckairos.webhooks.delivery_queue import open_delivery_queue
from tests.standby import Standby
from tests.waiting import eventually


async def test_a_connection_works_after_a_cancelled_query(database_url: str) -> None:
    async with PostgresPool(database_url, "test", access=cross_tenant_access(), max_connections=1) as pool:
        pid = await backend_pid(pool)
        for run in (pool.fetch, in_two_statements(pool)):
            query = asyncio.ensure_future(run(b"SELECT pg_sleep(60)"))
            await until_active(database_url, pid)
            query.cancel()
            async with asyncio.timeout(20):
                await asyncio.wait([query])
            assert query.cancelled()
            assert await backend_pid(pool) == pid


async def test_a_cancelled_query_of_a_frozen_postgres_ends_in_time_and_closes_the_connection(database_url: str) -> None:
    async with PostgresPool(database_url, "test", access=cross_tenant_access(), max_connections=1) as pool:
        pid = await backend_pid(pool)
        query = asyncio.ensure_future(pool.fetch(b"SELECT pg_sleep(60)"))
        await until_active(database_url, pid)
        os.kill(pid, signal.SIGSTOP)
        try:
            query.cancel()
            async with asyncio.timeout(4):  # psycopg alone takes five seconds and more
                await asyncio.wait([query])
            assert query.cancelled()
            assert await backend_pid(pool) != pid
        finally:
            os.kill(pid, signal.SIGCONT)


async def backend_pid(pool: PostgresPool) -> int:
    ((pid,),) = await pool.fetch(b"SELECT pg_backend_pid()")
    return int(pid)


def in_two_statements(pool: PostgresPool) -> Callable[[bytes], Coroutine[Any, Any, object]]:
    """Return a function that runs a statement as the second statement of a transaction."""

    async def run(statement: bytes) -> object:
        async with pool.transaction() as transaction:
            await transaction.execute(b"SELECT")
            return await transaction.execute(statement)

    return run


async def test_a_cancellation_that_arrives_with_the_connection_is_not_lost(database_url: str) -> None:
    async with PostgresPool(database_url, "test", access=cross_tenant_access(), max_connections=1) as pool:

        async def is_queued() -> bool:
            return bool(pool.get_stats().get("requests_waiting"))

        for steps in range(12):
            held = await pool.getconn()
            waiting = asyncio.create_task(pool.getconn())
            await eventually(is_queued)
            await pool.putconn(held)
            for _ in range(steps):
                await asyncio.sleep(0)
            was_cancelled = waiting.cancel()
            await asyncio.wait([waiting])
            assert waiting.cancelled() == was_cancelled, f"after {steps} steps"
            if not was_cancelled:
                await pool.putconn(waiting.result())


async def until_active(database_url: str, pid: int) -> None:
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as other:
        statement, active = "SELECT state FROM pg_stat_activity WHERE pid = %s", ("active",)
        async with asyncio.timeout(20):
            while await (await other.execute(statement, [pid])).fetchone() != active:
                pass


async def test_every_pool_connects_to_the_primary_if_the_url_lists_a_standby_first(data_dir: Path) -> None:
    with (
        Postgres(data_dir / f"primary-{uuid4().hex[:8]}") as primary,
        Standby(data_dir / f"standby-{uuid4().hex[:8]}", primary) as standby,
    ):
        hosts = ",".join(quote(str(each.data_dir / "run"), safe="") for each in (standby, primary))
        url = f"postgresql://postgres@/synckairos?host={hosts}&port=5432,5432"
        async with open_delivery_queue(url) as delivery_queue:
            pools = [
                reader.open_history_pool(Settings(database_url=url)),
                table.open_job_pool(url),
                AuditDatabase(url, "t").pool,
            ]
            for pool in pools:
                await pool.open()
            for pool in [*pools, delivery_queue.pool]:
                found = await pool.fetch(
                    b"SELECT pg_is_in_recovery(), current_setting('TimeZone')", access=cross_tenant_access()
                )
                assert found == [(False, "UTC")]
            for pool in pools:
                await pool.close()


async def test_a_read_only_transaction_runs_on_a_server_that_accepts_writes(database_url: str) -> None:
    async with (
        PostgresPool(database_url, "test", access=cross_tenant_access(), max_connections=1) as pool,
        pool.transaction(read_only=True) as transaction,
    ):
        assert await transaction.fetch(b"SHOW transaction_read_only") == [("on",)]


@pytest.mark.parametrize(("host", "works"), [("primary", True), ("read-write", False)])
async def test_a_pool_for_reading_uses_a_read_only_primary_and_one_for_writing_does_not(
    database_url: str, host: Literal["primary", "read-write"], works: bool
) -> None:
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as database:
        name = database.info.dbname
        await database.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on".encode())
    pool = PostgresPool(database_url, "test", access=cross_tenant_access(), max_connections=1, host=host)
    async with pool:
        if works:
            assert await pool.fetch(b"SELECT 1") == [(1,)]
        else:
            with pytest.raises(WrongServer, match="read-only"):
                await pool.fetch(b"SELECT 1")
