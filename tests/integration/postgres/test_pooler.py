"""PgBouncer in transaction mode: settings of a transaction never reach another one, and every part works behind it."""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from psycopg_pool import PoolTimeout

from synckairos.audit.batch_writer import AuditDatabase, BatchResult
from synckairos.audit.entry_rows import build_batch_rows, parse_entry
from synckairos.config import Settings
from synckairos.embedded import Postgres
from synckairos.errors import StoreUnavailable
from synckairos.postgres.access import cross_tenant_access
from synckairos.postgres.migrate import migrate, pending_migrations, read_migrations
from synckairos.postgres.migrations_dir import migrations_dir
from synckairos.postgres.pool import PostgresPool
from synckairos.postgres.transaction import WrongServer
from tests.certificates import create_certificates
from tests.conftest import copied_database
from tests.debian_postgres import DebianPostgres, running_debian_postgres
from tests.integration.audit_parts import AuditParts, open_audit_parts
from tests.integration.session_committer import chess
from tests.pgbouncer import PgBouncer, running_pgbouncer
from tests.processes import Process
from tests.waiting import eventually

T0 = 1_700_000_000_000


async def test_settings_of_a_transaction_do_not_reach_the_next_one(
    pgbouncer: PgBouncer, direct_database_url: str
) -> None:
    url = pgbouncer.url(direct_database_url)
    settings = {"statement_timeout": "7s", "lock_timeout": "8s"}
    query = b"SELECT pg_backend_pid(), current_setting('statement_timeout'), current_setting('lock_timeout')"
    async with (
        PostgresPool(url, "test", access=cross_tenant_access(), max_connections=1, settings=settings) as pool,
        PostgresPool(url, "other", access=cross_tenant_access(), max_connections=1) as other,
    ):

        async def share_a_server() -> bool:
            """Return whether both pools got one server in turn. The pooler can have several servers."""
            async with pool.transaction() as transaction:
                await transaction.fetch(b"SELECT")
                ((first, *values),) = await transaction.fetch(query)
            assert values == ["7s", "8s"]
            ((second, *values),) = await pool.fetch(query)
            assert values == ["7s", "8s"]
            ((third, *values),) = await other.fetch(query)
            assert values == ["0", "0"]
            return bool(first == second == third)

        await eventually(share_a_server)


async def test_each_transaction_asks_the_server_whether_it_accepts_writes(
    pgbouncer: PgBouncer, direct_database_url: str
) -> None:
    """PgBouncer sends the parameters of its first connection to each client. libpq would always refuse this server."""
    name = direct_database_url.partition("?")[0].rpartition("/")[2]
    async with (
        await psycopg.AsyncConnection.connect(direct_database_url, autocommit=True) as database,
        PostgresPool(
            pgbouncer.url(direct_database_url), "test", access=cross_tenant_access(), max_connections=1
        ) as pool,
    ):
        await database.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on".encode())
        with pytest.raises(WrongServer, match="read-only"):
            await pool.fetch(b"SELECT")
        await database.execute("SET default_transaction_read_only = off")
        await database.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only".encode())
        others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()"
        await database.execute(others, [name])
        await eventually(lambda: accepts_queries(pool))


async def test_the_lock_of_a_killed_worker_ends_with_its_connection_to_the_pooler(
    pgbouncer: PgBouncer, direct_database_url: str
) -> None:
    url = pgbouncer.url(direct_database_url)
    holding = (
        "import asyncio, sys\n"
        "from synckairos.audit.batch_writer import AuditDatabase\n"
        "async def hold():\n"
        "    writer = AuditDatabase(sys.argv[1], 'scope')\n"
        "    await writer.open()\n"
        "    async with writer.acquire_partition_writer(0) as locked:\n"
        "        print('locked' if locked else 'free', flush=True)\n"
        "        await asyncio.Event().wait()\n"
        "asyncio.run(hold())\n"
    )
    worker = Process(url, command=(sys.executable, "-c", holding))
    worker.wait_for_line(lambda line: line == "locked\n")
    writer = AuditDatabase(url, "scope")
    await writer.open()

    async def is_free() -> bool:
        async with writer.acquire_partition_writer(0) as locked:
            return locked is not None

    try:
        assert not await is_free()
        worker.kill()
        await eventually(is_free)
    finally:
        await writer.close()


async def test_a_lock_is_held_from_batch_to_batch(audit: AuditParts) -> None:
    """COMMIT releases a lock of a transaction. The same round trip takes it again."""
    async with audit.writer.acquire_partition_writer(0) as writer:
        assert writer is not None
        for _ in range(3):
            life = await audit.committer.create(chess(), T0)
            parsed = [parse_entry(delivery.parse()) for delivery in await audit.outbox.read(0, 10, 1 << 20)]
            rows = build_batch_rows([entry for entry in parsed if entry.session_name == life.session_id])
            assert await writer.write(rows) == BatchResult(1, 0)
            async with audit.writer.acquire_partition_writer(0) as other:
                assert other is None


async def test_a_pool_behind_a_suspended_pooler_raises_in_time(pgbouncer: PgBouncer, direct_database_url: str) -> None:
    """The pooler accepts connections and answers nothing, so the connections of the pool stay open."""
    async with PostgresPool(
        pgbouncer.url(direct_database_url), "test", access=cross_tenant_access(), max_connections=1, timeout_s=0.3
    ) as pool:
        assert await pool.fetch(b"SELECT 1") == [(1,)]
        with pgbouncer.suspended():
            async with asyncio.timeout(20):
                with pytest.raises(PoolTimeout):
                    await pool.fetch(b"SELECT 1")
        await eventually(lambda: accepts_queries(pool))


async def test_the_check_of_a_drain_behind_a_suspended_pooler_ends_in_time(
    pgbouncer: PgBouncer, direct_database_url: str
) -> None:
    writer = AuditDatabase(pgbouncer.url(direct_database_url), "scope", timeout_s=0.3)
    await writer.open()
    try:
        await writer.check_reachable()
        with pgbouncer.suspended():
            async with asyncio.timeout(20):
                with pytest.raises(StoreUnavailable):
                    await writer.check_reachable()
        await eventually(lambda: accepts_queries(writer.pool))
    finally:
        await writer.close()


async def accepts_queries(pool: PostgresPool) -> bool:
    with suppress(psycopg.OperationalError):
        return await pool.fetch(b"SELECT 1") == [(1,)]
    return False


async def test_migrations_apply_once_through_the_pooler(pgbouncer: PgBouncer, postgres: Postgres) -> None:
    names = [migration.name for migration in read_migrations(migrations_dir())]
    with copied_database(postgres, "template1") as direct_url:
        url = pgbouncer.url(direct_url)
        assert await pending_migrations(url) == names
        applied = await asyncio.gather(*(migrate(url) for _ in range(3)))
        assert sorted(name for each in applied for name in each) == names
        assert await pending_migrations(url) == []


async def test_certificates_are_verified_on_the_way_to_the_pooler(
    data_dir: Path, tmp_path: Path, postgres: Postgres, direct_database_url: str
) -> None:
    files = create_certificates(tmp_path)
    with running_pgbouncer(data_dir / "tls-pgbouncer", postgres, files) as pooler:
        url = pooler.url(direct_database_url)
        async with PostgresPool(url, "test", access=cross_tenant_access(), max_connections=1) as pool:
            assert await pool.fetch(b"SELECT count(*) FROM sync_events") == [(0,)]
        (tmp_path / "other").mkdir()
        foreign = create_certificates(tmp_path / "other").authority
        with pytest.raises(StoreUnavailable, match="SSL error"):
            await PostgresPool(
                url.replace(quote(str(files.authority), safe=""), quote(str(foreign), safe="")),
                "test",
                max_connections=1,
            ).check_reachable()


@pytest.fixture
def tls_postgres(data_dir: Path, tmp_path: Path) -> Iterator[DebianPostgres]:
    with running_debian_postgres(data_dir / "tls-postgres", create_certificates(tmp_path)) as server:
        yield server


async def test_certificates_are_verified_on_the_way_to_postgres(
    tls_postgres: DebianPostgres, settings: Settings, tmp_path: Path
) -> None:
    """The audit works on Debian's Postgres, with `sslmode=verify-full` and an own authority."""
    url = tls_postgres.url()
    assert await migrate(url) == [migration.name for migration in read_migrations(migrations_dir())]
    async with open_audit_parts(settings.model_copy(update={"database_url": url})) as audit:
        life = await audit.committer.create(chess(), T0)
        assert await audit.drain() == 1
        async with audit.writer.pool.transaction() as transaction:
            await transaction.leave_role()  # only the login sees its connections
            statement = b"SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
            assert await transaction.fetch(statement) == [(True,)]
        assert (await audit.history.read_events_page(life.session_id)).items[0].version == 1
    (tmp_path / "other").mkdir()
    foreign = create_certificates(tmp_path / "other").authority
    with pytest.raises(StoreUnavailable, match="SSL error"):
        await PostgresPool(
            tls_postgres.url(authority=foreign), "test", access=cross_tenant_access(), max_connections=1
        ).check_reachable()
