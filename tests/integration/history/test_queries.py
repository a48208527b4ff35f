"""Queries of an unreachable or silent Postgres: they fail in time, and succeed when Postgres is reachable again."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

import psycopg
import pytest

from synckairos.config import Settings
from synckairos.embedded import Postgres
from synckairos.errors import StoreUnavailable
from synckairos.history.cold.object_store import ColdStorage
from synckairos.history.queries import HistoryQueries, RunQuery
from synckairos.history.reader import HistoryReader, open_history_pool
from synckairos.limits.processor_time_account import ProcessorTimeAccount
from synckairos.limits.running_request import MAX_REPORT_S, current_account
from synckairos.limits.step_meter import StepMeter
from synckairos.limits.work_limits import PROCESSOR_MS
from synckairos.postgres.migrate import migrate
from synckairos.postgres.transaction import Row
from synckairos.principal import DEFAULT_TENANT
from tests.waiting import eventually

SESSION = "01890000-0000-7000-8000-000000000000"

CALLS: list[Callable[[HistoryReader], Awaitable[object]]] = [
    lambda history: history.read_latest_version(SESSION),
    lambda history: history.read_version_at_instant(SESSION, 0),
    lambda history: history.read_events_page(SESSION),
    lambda history: history.read_sessions_page(),
    lambda history: history.participant_sessions.read_page(SESSION, since_ms=0),
]


DOCUMENT = {"session_id": UUID(SESSION), "epoch": "e", "version": 1}


@asynccontextmanager
async def locked_audit(database_url: str) -> AsyncIterator[None]:
    """Lock the table of versions, so that queries of it wait."""
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        await connection.execute("LOCK TABLE sync_events IN ACCESS EXCLUSIVE MODE")
        yield


@pytest.fixture
def silent_url() -> Iterator[str]:
    """Yield the URL of a port that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listener:
        yield f"postgresql://user@127.0.0.1:{listener.getsockname()[1]}/none"


@pytest.mark.parametrize("url", ["postgresql://user@127.0.0.1:1/none", None])
async def test_reads_fail_within_two_seconds_and_then_at_once(silent_url: str, url: str | None) -> None:
    settings = Settings(database_url=url or silent_url)
    async with open_history_pool(settings) as pool:
        history = HistoryReader(pool, ColdStorage("nowhere"))
        # The time limit is two seconds. The additional time is for a busy machine.
        async with asyncio.timeout(4):
            with pytest.raises(StoreUnavailable) as first:
                await history.read_latest_version(SESSION)
        # After a failure, the next reads fail without a wait.
        async with asyncio.timeout(2):
            for call in CALLS:
                with pytest.raises(StoreUnavailable) as later:
                    await call(history)
                # All errors of an outage name the store, because the log has one line for each store.
                assert first.value.setting == later.value.setting == "DATABASE_URL"
            assert await history.find_schema_state() == "unreachable"


async def test_slow_query_fails_alone_and_other_queries_are_answered(database_url: str) -> None:
    async with open_history_pool(Settings(database_url=database_url)) as pool, locked_audit(database_url):
        queries = HistoryQueries(pool)
        with pytest.raises(StoreUnavailable) as slow:
            await queries.run(DEFAULT_TENANT, "version_document", DOCUMENT, 0.2)
        assert slow.value.setting is None
        assert await queries.run(None, "newest_migration", {})


async def test_slow_reports_leave_connections_to_other_queries(database_url: str) -> None:
    settings = Settings(database_url=database_url, database_pool_min=1, database_pool_max=3)
    async with open_history_pool(settings) as pool, locked_audit(database_url):
        queries = HistoryQueries(pool)

        async def read_document(run_query: RunQuery) -> list[Row]:
            return await run_query("version_document", DOCUMENT)

        reports = [asyncio.create_task(queries.run_report(DEFAULT_TENANT, read_document)) for _ in range(5)]

        async def is_running() -> bool:
            return pool.in_use == 1

        await eventually(is_running)
        assert await queries.run(None, "newest_migration", {})
        for report in reports:
            report.cancel()
        results = await asyncio.gather(*reports, return_exceptions=True)
        assert all(isinstance(each, asyncio.CancelledError | StoreUnavailable) for each in results)


async def test_time_of_a_query_with_snapshots_is_charged_to_the_client(database_url: str) -> None:
    account = ProcessorTimeAccount(PROCESSOR_MS, lambda: 0.0, StepMeter())
    account.charge(PROCESSOR_MS.burst / 1000)
    token = current_account.set(account)
    try:
        async with open_history_pool(Settings(database_url=database_url)) as pool, locked_audit(database_url):
            history = HistoryReader(pool, ColdStorage("nowhere"))
            began_s = time.monotonic()
            reading = asyncio.create_task(history.read_events_page(SESSION, snapshots=True))

            async def waits_long() -> bool:
                return pool.in_use == 1 and time.monotonic() - began_s > MAX_REPORT_S

            await eventually(waits_long)
            reading.cancel()
            await asyncio.wait([reading])
    finally:
        current_account.reset(token)
    assert account.seconds_to_wait() * PROCESSOR_MS.per_s / 1000 >= MAX_REPORT_S


async def test_a_database_that_is_not_migrated_is_named(postgres: Postgres) -> None:
    async with open_history_pool(Settings(database_url=postgres.database_url("template1"))) as pool:
        with pytest.raises(StoreUnavailable, match="migrate"):
            await HistoryReader(pool, ColdStorage("nowhere")).read_latest_version(SESSION)


@pytest.mark.slow
async def test_reads_work_again_after_postgres_restarted(data_dir: Path) -> None:
    with Postgres(data_dir / "archive-postgres") as own:
        await migrate(own.url)
        async with open_history_pool(Settings(database_url=own.url)) as pool:
            history = HistoryReader(pool, ColdStorage("nowhere"))
            assert await history.read_latest_version(SESSION) is None
            own.kill()

            async def is_unreachable() -> bool:
                return await history.find_schema_state() == "unreachable"

            async def is_current() -> bool:
                return await history.find_schema_state() == "current"

            await eventually(is_unreachable)  # its child processes end a little later
            own.start()
            await eventually(is_current)
            assert await history.read_latest_version(SESSION) is None
