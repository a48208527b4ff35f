"""Stores and workers fail amid play: no change is refused for it, and in the end the audit is what was acknowledged."""

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from urllib.parse import quote
from uuid import uuid4

import psycopg
import pytest

from synckairos.config import Settings
from synckairos.embedded import Postgres, Valkey
from synckairos.postgres.migrate import migrate
from synckairos.store.keys import Keys
from synckairos.store.outbox import Outbox
from synckairos.store.shared_connection import RedisPipe
from tests.e2e.load import Load, audited, counts, holds, load
from tests.processes import Process
from tests.standby import Standby
from tests.waiting import eventually

pytestmark = pytest.mark.slow

StartServer = Callable[[Settings], Process]


@pytest.fixture
def own_postgres(data_dir: Path) -> Iterator[Postgres]:
    """Give a migrated Postgres that a test may stop."""
    with Postgres(data_dir / f"faults-{uuid4().hex[:8]}") as store:
        asyncio.run(migrate(store.url))
        yield store


@pytest.fixture
def own_settings(settings: Settings, own_postgres: Postgres) -> Settings:
    return settings.model_copy(update={"database_url": own_postgres.url})


@pytest.fixture
def start_worker() -> Iterator[StartServer]:
    """Start as many workers as a test needs; ended after the test."""
    started: list[Process] = []

    def start(settings: Settings) -> Process:
        started.append(Process("worker", env=settings.environ()))
        return started[-1]

    yield start
    for process in started:
        process.stop()


@asynccontextmanager
async def played(settings: Settings, start_server: StartServer) -> AsyncIterator[Load]:
    """Play on a server of its own; at the end no change was refused, and the audit is exactly what was acknowledged."""
    server = await asyncio.to_thread(start_server, settings)
    async with load(server.base_url) as players:
        yield players
    assert players.failures == []
    audit = await caught_up(settings)
    assert counts(audit) == counts(players.acknowledged)
    assert holds(audit, players.acknowledged)


async def caught_up(settings: Settings) -> dict[str, dict[int, dict[str, object]]]:
    """Return the audit once nothing waits any more."""
    async with RedisPipe(settings.redis_url, settings.redis_timeout_s) as pipe:
        outbox = Outbox(pipe, Keys(settings.key_prefix, settings.partitions))
        await eventually(lambda: outbox.is_empty(0), 60)
        backlog = await outbox.measure_backlog()
    assert (backlog.tally.isolated, backlog.tally.conflicts) == (0, 0)
    return await audited(settings.database_url)


async def rows(database_url: str) -> int:
    async with await psycopg.AsyncConnection.connect(database_url) as database:
        row = await (await database.execute("SELECT count(*) FROM sync_events")).fetchone()
    assert row is not None
    return int(row[0])


async def audit_grows(database_url: str) -> None:
    """Wait until Postgres has more than now."""
    before = await rows(database_url)

    async def has_grown() -> bool:
        return await rows(database_url) > before

    await eventually(has_grown, 60)


async def test_postgres_restarts_amid_play(
    own_postgres: Postgres, own_settings: Settings, start_server: StartServer, start_worker: StartServer
) -> None:
    start_worker(own_settings)
    async with played(own_settings, start_server) as players:
        for end in (own_postgres.stop, own_postgres.kill, own_postgres.kill):
            await audit_grows(own_settings.database_url)
            await asyncio.to_thread(end)
            await players.more(300)
            await asyncio.to_thread(own_postgres.start)
        await audit_grows(own_settings.database_url)


async def test_workers_are_killed_amid_play(
    settings: Settings, start_server: StartServer, start_worker: StartServer
) -> None:
    async with played(settings, start_server) as players:
        for _ in range(3):
            worker = start_worker(settings)
            await audit_grows(settings.database_url)
            worker.kill()
            await players.more(100)
        start_worker(settings)


async def test_a_frozen_worker_comes_back_after_another_did_its_work(
    settings: Settings, start_server: StartServer, start_worker: StartServer
) -> None:
    frozen = start_worker(settings)
    async with played(settings, start_server) as players:
        await audit_grows(settings.database_url)
        frozen.send(signal.SIGSTOP)
        async with await psycopg.AsyncConnection.connect(settings.database_url, autocommit=True) as database:
            # What Postgres' timeouts do to it after half a minute: its lock goes with its connection.
            await database.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = 'synckairos drain' AND datname = current_database()"
            )
        other = start_worker(settings)
        await audit_grows(settings.database_url)
        frozen.send(signal.SIGCONT)
        await players.more(300)
        other.kill()
        await audit_grows(settings.database_url)


async def test_postgres_becomes_read_only_amid_play(
    own_postgres: Postgres, own_settings: Settings, start_server: StartServer, start_worker: StartServer
) -> None:
    worker = start_worker(own_settings)
    async with played(own_settings, start_server) as players:
        await audit_grows(own_settings.database_url)
        async with await psycopg.AsyncConnection.connect(
            own_postgres.url, autocommit=True, options="-c default_transaction_read_only=off"
        ) as database:
            await database.execute("ALTER SYSTEM SET default_transaction_read_only = on")
            await database.execute("SELECT pg_reload_conf()")
            await asyncio.to_thread(worker.wait_for_line, lambda line: "drain interrupted" in line)
            await players.more(300)
            await database.execute("ALTER SYSTEM RESET default_transaction_read_only")
            await database.execute("SELECT pg_reload_conf()")
        await audit_grows(own_settings.database_url)


async def test_a_worker_ends_soon_although_postgres_is_frozen(
    own_postgres: Postgres, own_settings: Settings, start_server: StartServer, start_worker: StartServer
) -> None:
    worker = start_worker(own_settings)
    async with played(own_settings, start_server) as players:
        await audit_grows(own_settings.database_url)
        with frozen(own_postgres):
            await players.more(300)
            worker.send(signal.SIGTERM)
            assert await asyncio.to_thread(worker.wait_end, 10) == 0
        start_worker(own_settings)


@contextmanager
def frozen(store: Postgres) -> Iterator[None]:
    """Have Postgres and all its children stand still."""
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


async def test_a_synchronous_standby_takes_over(
    own_postgres: Postgres, settings: Settings, start_server: StartServer, start_worker: StartServer, data_dir: Path
) -> None:
    with Standby(data_dir / f"standby-{uuid4().hex[:8]}", own_postgres) as standby:
        await standby.follow_synchronously()
        hosts = ",".join(quote(str(each.data_dir / "run"), safe="") for each in (own_postgres, standby))
        both = settings.model_copy(
            update={"database_url": f"postgresql://postgres@/synckairos?host={hosts}&port=5432,5432"}
        )
        start_worker(both)
        async with played(both, start_server) as players:
            await audit_grows(own_postgres.url)
            own_postgres.kill()
            await players.more(300)
            await standby.promote()
            await audit_grows(standby.url)


@pytest.fixture
def small_disk(data_dir: Path) -> Iterator[Path]:
    """Mount a disk of 256 MiB in memory."""
    disk = data_dir / f"disk-{uuid4().hex[:8]}"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256m,mode=0711", "tmpfs", disk], check=True)
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk to fill up")
async def test_the_disk_fills_up_and_gets_room_again(
    settings: Settings, start_server: StartServer, start_worker: StartServer, small_disk: Path
) -> None:
    with Postgres(small_disk / "postgres") as store:
        await migrate(store.url)
        own = settings.model_copy(update={"database_url": store.url})
        worker = start_worker(own)
        async with played(own, start_server) as players:
            await audit_grows(store.url)
            fill(small_disk / "filler")
            await asyncio.to_thread(worker.wait_for_line, lambda line: "drain interrupted" in line, 60)
            await players.more(300)
            (small_disk / "filler").unlink()

            async def is_back() -> bool:
                if store.child.returncode is not None:
                    # Without room for its log it ends itself; whoever made room starts it again.
                    await asyncio.to_thread(store.start)
                with suppress(psycopg.OperationalError):
                    return await rows(store.url) > 0
                return False

            await eventually(is_back, 60)
            await audit_grows(store.url)


def fill(path: Path) -> None:
    """Write until the disk has no room left."""
    with path.open("wb", buffering=0) as filler:
        for size in (1 << 20, 1 << 12):
            with suppress(OSError):
                while True:
                    filler.write(bytes(size))


async def test_redis_is_killed_and_loses_nothing_it_had_acknowledged(
    settings: Settings, start_server: StartServer, start_worker: StartServer, data_dir: Path
) -> None:
    with Valkey(data_dir / f"faults-{uuid4().hex[:8]}", appendfsync="always") as store:
        own = settings.model_copy(update={"redis_url": store.url, "queue_redis_url": store.url})
        start_worker(own)
        server = await asyncio.to_thread(start_server, own)
        async with load(server.base_url) as players:
            for _ in range(3):
                await players.more(200)
                await asyncio.to_thread(store.kill)
                await asyncio.to_thread(store.start)
            await players.more(200)
        assert holds(await caught_up(own), players.acknowledged)
