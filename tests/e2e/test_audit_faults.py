"""Faults of stores and workers under load: no change is refused, and the audit has all acknowledged versions."""

import asyncio
import os
import signal
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from urllib.parse import quote
from uuid import uuid4

import httpx
import orjson
import psycopg
import pytest

from synckairos.config import Settings
from synckairos.embedded import Postgres, Valkey
from synckairos.postgres.migrate import migrate
from synckairos.store.keys import Keys
from synckairos.store.outbox import Outbox
from synckairos.store.shared_connection import RedisPipe
from tests.conftest import copied_database
from tests.e2e.load import Load, audited_documents, has_all_acknowledged, run_load, version_counts
from tests.pgbouncer import running_pgbouncer
from tests.processes import Process
from tests.standby import Standby
from tests.waiting import eventually

pytestmark = pytest.mark.slow

StartServer = Callable[[Settings], Process]


@pytest.fixture
def own_postgres(data_dir: Path) -> Iterator[Postgres]:
    """Start a migrated Postgres that the test is allowed to stop."""
    with Postgres(data_dir / f"faults-{uuid4().hex[:8]}") as store:
        asyncio.run(migrate(store.url))
        yield store


@pytest.fixture(scope="module")
def fragile_postgres(data_dir: Path) -> Iterator[Postgres]:
    """Start a migrated Postgres that tests stop and start again."""
    with Postgres(data_dir / f"faults-{uuid4().hex[:8]}") as store:
        asyncio.run(migrate(store.url))
        yield store


@pytest.fixture
def fragile_settings(settings: Settings, fragile_postgres: Postgres) -> Iterator[Settings]:
    """Return settings with a new database of `fragile_postgres`."""
    if fragile_postgres.child.returncode is not None:  # an earlier test failed
        fragile_postgres.start()
    with copied_database(fragile_postgres, "synckairos") as url:
        yield settings.model_copy(update={"database_url": url})


@pytest.fixture
def start_worker() -> Iterator[StartServer]:
    """Return a function that starts a worker process. All started workers are stopped after the test."""
    started: list[Process] = []

    def start(settings: Settings) -> Process:
        started.append(Process("worker", env=settings.to_environment_variables()))
        return started[-1]

    yield start
    for process in started:
        process.stop()


@asynccontextmanager
async def complete_audit_of_load(settings: Settings, start_server: StartServer) -> AsyncIterator[Load]:
    """Run load on a new server. At the end, check that no change was refused and that the audit has all changes.

    Yields the load.
    """
    server = await asyncio.to_thread(start_server, settings)
    async with run_load(server.base_url) as load:
        yield load
    assert load.failures == []
    audit = await drained_audit(settings)
    assert version_counts(audit) == version_counts(load.acknowledged)
    assert has_all_acknowledged(audit, load.acknowledged)


async def drained_audit(settings: Settings) -> dict[str, dict[int, dict[str, object]]]:
    """Wait until the outbox is empty, and return the documents in Postgres."""
    async with RedisPipe(settings.redis_url, settings.redis_timeout_s) as pipe:
        outbox = Outbox(pipe, Keys(settings.key_prefix, settings.partitions))
        await eventually(lambda: outbox.is_empty(0), 60)
        backlog = await outbox.measure_backlog()
    assert (backlog.tally.isolated, backlog.tally.conflicts) == (0, 0)
    return await audited_documents(settings.database_url)


async def count_rows(database_url: str) -> int:
    async with await psycopg.AsyncConnection.connect(database_url) as database:
        row = await (await database.execute("SELECT count(*) FROM sync_events")).fetchone()
    assert row is not None
    return int(row[0])


async def wait_for_new_rows(database_url: str) -> None:
    """Wait until Postgres has more event rows than at this call."""
    before = await count_rows(database_url)

    async def has_grown() -> bool:
        return await count_rows(database_url) > before

    await eventually(has_grown, 60)


async def test_restarts_of_postgres_under_load_lose_nothing(
    fragile_postgres: Postgres, fragile_settings: Settings, start_server: StartServer, start_worker: StartServer
) -> None:
    start_worker(fragile_settings)
    async with complete_audit_of_load(fragile_settings, start_server) as load:
        for end in (fragile_postgres.stop, fragile_postgres.kill, fragile_postgres.kill):
            await wait_for_new_rows(fragile_settings.database_url)
            await asyncio.to_thread(end)
            await load.wait_for_changes(300)
            await asyncio.to_thread(fragile_postgres.start)
        await wait_for_new_rows(fragile_settings.database_url)


async def test_killed_workers_under_load_lose_nothing(
    settings: Settings, start_server: StartServer, start_worker: StartServer
) -> None:
    async with complete_audit_of_load(settings, start_server) as load:
        for _ in range(3):
            worker = start_worker(settings)
            await wait_for_new_rows(settings.database_url)
            worker.kill()
            await load.wait_for_changes(100)
        start_worker(settings)


async def test_suspended_worker_that_resumes_after_another_took_over_writes_nothing_twice(
    settings: Settings, start_server: StartServer, start_worker: StartServer
) -> None:
    suspended = start_worker(settings)
    async with complete_audit_of_load(settings, start_server) as load:
        await wait_for_new_rows(settings.database_url)
        suspended.send(signal.SIGSTOP)
        async with await psycopg.AsyncConnection.connect(settings.database_url, autocommit=True) as database:
            # Simulates the timeouts of Postgres after half a minute. The lock of the worker ends with its connection.
            await database.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = 'synckairos 2 drain' AND datname = current_database()"
            )
        other = start_worker(settings)
        await wait_for_new_rows(settings.database_url)
        suspended.send(signal.SIGCONT)
        await load.wait_for_changes(300)
        other.kill()
        await wait_for_new_rows(settings.database_url)


async def test_read_only_postgres_under_load_loses_nothing(
    fragile_settings: Settings, start_server: StartServer, start_worker: StartServer
) -> None:
    worker = start_worker(fragile_settings)
    async with complete_audit_of_load(fragile_settings, start_server) as load:
        await wait_for_new_rows(fragile_settings.database_url)
        async with await psycopg.AsyncConnection.connect(
            fragile_settings.database_url, autocommit=True, options="-c default_transaction_read_only=off"
        ) as database:
            await database.execute("ALTER SYSTEM SET default_transaction_read_only = on")
            await database.execute("SELECT pg_reload_conf()")
            await asyncio.to_thread(worker.wait_for_line, lambda line: "store is unavailable" in line)
            await load.wait_for_changes(300)
            await database.execute("ALTER SYSTEM RESET default_transaction_read_only")
            await database.execute("SELECT pg_reload_conf()")
        await wait_for_new_rows(fragile_settings.database_url)


async def test_worker_stops_in_time_while_postgres_is_suspended(
    fragile_postgres: Postgres, fragile_settings: Settings, start_server: StartServer, start_worker: StartServer
) -> None:
    worker = start_worker(fragile_settings)
    async with complete_audit_of_load(fragile_settings, start_server) as load:
        await wait_for_new_rows(fragile_settings.database_url)
        with suspended_postgres(fragile_postgres):
            await load.wait_for_changes(300)
            worker.send(signal.SIGTERM)
            assert await asyncio.to_thread(worker.wait_end, 10) == 0
        start_worker(fragile_settings)


@contextmanager
def suspended_postgres(store: Postgres) -> Iterator[None]:
    """Suspend Postgres and all its processes until the block ends."""
    with psycopg.connect(store.url) as database:
        children = database.execute("SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()").fetchall()
    pids = [store.child.pid, *(pid for (pid,) in children)]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


async def test_failover_to_a_synchronous_standby_loses_nothing(
    own_postgres: Postgres, settings: Settings, start_server: StartServer, start_worker: StartServer, data_dir: Path
) -> None:
    with Standby(data_dir / f"standby-{uuid4().hex[:8]}", own_postgres) as standby:
        await standby.follow_synchronously()
        hosts = ",".join(quote(str(each.data_dir / "run"), safe="") for each in (own_postgres, standby))
        both = settings.model_copy(
            update={"database_url": f"postgresql://postgres@/synckairos?host={hosts}&port=5432,5432"}
        )
        start_worker(both)
        async with complete_audit_of_load(both, start_server) as load:
            await wait_for_new_rows(own_postgres.url)
            own_postgres.kill()
            await load.wait_for_changes(300)
            await standby.promote()
            await wait_for_new_rows(standby.url)


@pytest.fixture
def small_disk(data_dir: Path) -> Iterator[Path]:
    """Mount a file system of 256 MiB in memory."""
    disk = data_dir / f"disk-{uuid4().hex[:8]}"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256m,mode=0711", "tmpfs", disk], check=True)
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a file system")
async def test_full_disk_of_postgres_that_gets_free_space_again_loses_nothing(
    settings: Settings, start_server: StartServer, start_worker: StartServer, small_disk: Path
) -> None:
    with Postgres(small_disk / "postgres") as store:
        await migrate(store.url)
        own = settings.model_copy(update={"database_url": store.url})
        worker = start_worker(own)
        async with complete_audit_of_load(own, start_server) as load:
            await wait_for_new_rows(store.url)
            fill_disk(small_disk / "filler")
            await asyncio.to_thread(worker.wait_for_line, lambda line: "store is unavailable" in line, 60)
            await load.wait_for_changes(300)
            (small_disk / "filler").unlink()

            async def is_writable_again() -> bool:
                if store.child.returncode is not None:
                    # Postgres ends if there is no space for its write-ahead log. The operator starts it again.
                    await asyncio.to_thread(store.start)
                with suppress(psycopg.OperationalError):
                    return await count_rows(store.url) > 0
                return False

            await eventually(is_writable_again, 60)
            await wait_for_new_rows(store.url)


def fill_disk(path: Path) -> None:
    """Write a file until the disk is full."""
    with path.open("wb", buffering=0) as filler:
        for size in (1 << 20, 1 << 12):
            with suppress(OSError):
                while True:
                    filler.write(bytes(size))


async def test_killed_redis_with_appendfsync_always_loses_no_acknowledged_version(
    settings: Settings, start_server: StartServer, start_worker: StartServer, data_dir: Path
) -> None:
    with Valkey(data_dir / f"faults-{uuid4().hex[:8]}", appendfsync="always") as store:
        own = settings.model_copy(update={"redis_url": store.url, "queue_redis_url": store.url})
        start_worker(own)
        server = await asyncio.to_thread(start_server, own)
        async with run_load(server.base_url) as load:
            for _ in range(3):
                await load.wait_for_changes(200)
                await asyncio.to_thread(store.kill)
                await asyncio.to_thread(store.start)
            await load.wait_for_changes(200)
        assert has_all_acknowledged(await drained_audit(own), load.acknowledged)


@pytest.fixture(params=["direct", "pooler"])
def reached_settings(
    request: pytest.FixtureRequest, fragile_settings: Settings, fragile_postgres: Postgres, data_dir: Path
) -> Iterator[Settings]:
    """Return settings that reach `fragile_postgres` directly, or through a PgBouncer, which stays up without it."""
    if request.param == "direct":
        yield fragile_settings
        return
    with running_pgbouncer(data_dir / f"pgbouncer-{uuid4().hex[:8]}", fragile_postgres) as pooler:
        yield fragile_settings.model_copy(update={"database_url": pooler.url(fragile_settings.database_url)})


async def test_outage_of_postgres_is_logged_once_by_each_process_and_its_end_too(
    reached_settings: Settings, fragile_postgres: Postgres, start_server: StartServer, start_worker: StartServer
) -> None:
    server, worker = start_server(reached_settings), start_worker(reached_settings)
    worker.wait_for_line(lambda line: "worker started" in line)
    await asyncio.to_thread(fragile_postgres.stop)
    path = f"/v1/sessions/{uuid4()}/events"
    async with httpx.AsyncClient(base_url=server.base_url, trust_env=False) as client:
        for _ in range(3):
            assert (await client.get(path)).status_code == 503
    for process in (server, worker):
        line = orjson.loads(process.wait_for_line(lambda line: "store is unavailable" in line))
        assert (line["store"], line["setting"]) == ("postgres", "DATABASE_URL")
        assert "live sessions" in line["effect"]
        assert line["cause"]
    await asyncio.to_thread(fragile_postgres.start)
    for process in (server, worker):
        process.wait_for_line(lambda line: "store is available again" in line)
    assert warnings_of(server) == {"store is unavailable": 1, "request refused": 1}
    assert warnings_of(worker) == {"store is unavailable": 1}


async def test_worker_behind_a_suspended_pooler_logs_the_outage_and_drains_after_it(
    fragile_settings: Settings,
    fragile_postgres: Postgres,
    start_server: StartServer,
    start_worker: StartServer,
    data_dir: Path,
) -> None:
    """The pooler accepts connections and answers nothing. The worker waits ten seconds until it logs the outage."""
    with running_pgbouncer(data_dir / f"pgbouncer-{uuid4().hex[:8]}", fragile_postgres) as pooler:
        pooled = fragile_settings.model_copy(update={"database_url": pooler.url(fragile_settings.database_url)})
        worker = start_worker(pooled)
        async with complete_audit_of_load(fragile_settings, start_server) as load:
            await wait_for_new_rows(fragile_settings.database_url)
            with pooler.suspended():
                await asyncio.to_thread(worker.wait_for_line, lambda line: "store is unavailable" in line, 40)
                await load.wait_for_changes(100)
            await asyncio.to_thread(worker.wait_for_line, lambda line: "store is available again" in line, 40)
            await wait_for_new_rows(fragile_settings.database_url)
        assert warnings_of(worker) == {"store is unavailable": 1}
        worker.stop()


def warnings_of(process: Process) -> dict[str, int]:
    """Return the number of warnings by event."""
    lines = [orjson.loads(line) for line in process.output.splitlines() if '"level":"warning"' in line]
    return dict(Counter(line["event"] for line in lines))
