"""Migrations: each file is applied once and in order by any number of processes; changed files are rejected."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from synckairos.admin.from_v2 import take_over_and_migrate
from synckairos.config import Settings
from synckairos.embedded import Postgres
from synckairos.postgres.migrate import InvalidMigrations, migrate, pending_migrations, read_migrations
from synckairos.postgres.migrations_dir import migrations_dir
from synckairos.postgres.named_sql import load_statements
from tests.integration.history.test_query_plans import scans, uuid_of
from tests.integration.postgres.generated_rows import insert_deliveries, insert_sessions

ONE = "CREATE TABLE one (id int); INSERT INTO one VALUES (1);"
TWO = "ALTER TABLE one ADD COLUMN note text DEFAULT '100 % %s';"


@pytest.fixture
def empty_database(postgres: Postgres) -> Iterator[str]:
    name = f"empty_{uuid4().hex[:8]}"
    with psycopg.connect(postgres.database_url("postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE template0".encode())
        yield postgres.database_url(name)
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "0001_one.sql").write_text(ONE)
    (tmp_path / "0002_two.sql").write_text(TWO)
    return tmp_path


async def test_the_product_s_migrations_apply_once(empty_database: str) -> None:
    names = [migration.name for migration in read_migrations(migrations_dir())]
    assert names[0] == "0001_audit.sql"
    assert await pending_migrations(empty_database) == names
    assert await migrate(empty_database) == names
    assert await migrate(empty_database) == []
    assert await pending_migrations(empty_database) == []


async def test_concurrent_migrations_apply_each_file_once(empty_database: str, files: Path) -> None:
    applied = await asyncio.gather(*(migrate(empty_database, files) for _ in range(5)))
    assert sorted(name for each in applied for name in each) == ["0001_one.sql", "0002_two.sql"]
    async with await psycopg.AsyncConnection.connect(empty_database) as connection:
        assert await (await connection.execute("SELECT * FROM one")).fetchall() == [(1, "100 % %s")]


async def test_a_failing_file_changes_nothing_and_can_be_applied_later(empty_database: str, files: Path) -> None:
    (files / "0002_two.sql").write_text("CREATE TABLE half (id int); SELECT 1/0;")
    with pytest.raises(psycopg.errors.DivisionByZero):
        await migrate(empty_database, files)
    assert await pending_migrations(empty_database, files) == ["0002_two.sql"]
    (files / "0002_two.sql").write_text(TWO)
    assert await migrate(empty_database, files) == ["0002_two.sql"]


async def test_a_changed_or_missing_applied_file_is_rejected(empty_database: str, files: Path) -> None:
    await migrate(empty_database, files)
    (files / "0001_one.sql").write_text(ONE + " ")
    with pytest.raises(InvalidMigrations, match=r"0001_one\.sql was changed"):
        await migrate(empty_database, files)
    (files / "0001_one.sql").write_text(ONE)
    (files / "0002_two.sql").unlink()
    with pytest.raises(InvalidMigrations, match=r"0002_two\.sql was applied"):
        await pending_migrations(empty_database, files)


@pytest.mark.parametrize(
    "names",
    ["0002_a.sql", "0001_a.sql 0003_b.sql", "0001_a.sql 0001_b.sql", "0001-a.sql", "1_a.sql", "0001_A.sql"],
)
def test_file_names_with_gaps_duplicates_or_a_wrong_form_are_rejected(tmp_path: Path, names: str) -> None:
    for name in names.split():
        (tmp_path / name).write_text("SELECT 1")
    with pytest.raises(InvalidMigrations):
        read_migrations(tmp_path)


async def test_a_filled_database_of_an_older_version_keeps_its_rows(
    empty_database: str, tmp_path: Path, settings: Settings
) -> None:
    """Migrate a database with rows of an older release, and check its rows, marks and query plan."""
    for migration in read_migrations(migrations_dir())[:5]:
        (tmp_path / migration.name).write_text(migration.text)
    await migrate(empty_database, tmp_path)
    await asyncio.to_thread(insert_sessions, empty_database, 20, with_charges=False)
    await asyncio.to_thread(insert_deliveries, empty_database, 200_000)
    async with await psycopg.AsyncConnection.connect(empty_database) as connection:
        # Two archived sessions. One of them has changed since.
        await connection.execute(
            "INSERT INTO sync_archives (session_id, created_at, status, epoch, version)"
            " SELECT session_id, created_at, 'ready', epoch, CASE WHEN session_id = %s THEN version ELSE 99 END"
            " FROM sync_sessions WHERE session_id = ANY(%s)",
            [uuid_of("s7"), [uuid_of("s7"), uuid_of("s8")]],
        )
    lines = await take_over_and_migrate(settings.model_copy(update={"database_url": empty_database}), watch_s=0.1)
    applied = [f"applied {migration.name}" for migration in read_migrations(migrations_dir())[5:]]
    assert lines == [*applied, "separated the tenants in the database by row-level security"]
    async with await psycopg.AsyncConnection.connect(empty_database) as connection:
        for table, count in (("sync_events", 2000), ("webhook_deliveries", 200_000)):
            assert await (await connection.execute(f"SELECT count(*) FROM {table}".encode())).fetchone() == (count,)
        archived = await connection.execute("SELECT session_id FROM sync_sessions WHERE archived")
        assert await archived.fetchall() == [(uuid_of("s7"),)]
        # Retention runs this query for each session. It must not scan all webhook deliveries.
        values = {"tenant": "default", "session_id": uuid_of("s7"), "after_s": 0}
        connection.prepare_threshold = None
        statements = load_statements("archive_and_retention.sql", "synckairos.jobs")
        sql = b"EXPLAIN (ANALYZE, FORMAT JSON) " + statements["lock_session"]
        row = await (await connection.execute(sql, values)).fetchone()
    assert row is not None
    found = {table: (kind, rows) for kind, table, rows in scans(row[0][0]["Plan"])}
    kind, rows = found["webhook_deliveries"]
    assert ("Seq" not in kind, rows <= 2) == (True, True), found
