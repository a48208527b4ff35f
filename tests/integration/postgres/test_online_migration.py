"""The migration to tenants of a database in use: old writers, invalid indexes, and instances of the release before."""

import asyncio
from pathlib import Path
from typing import Any

import psycopg
import pytest

from synckairos.admin.from_v2 import take_over_and_migrate
from synckairos.config import Settings
from synckairos.postgres.migrate import migrate, read_migrations
from synckairos.postgres.migrations_dir import migrations_dir
from synckairos.store.keys import Keys
from synckairos.store.presence import make_instance_name, reads_tenants
from synckairos.store.shared_connection import RedisPipe, parse_time_ms
from tests.integration.postgres.generated_rows import insert_sessions
from tests.waiting import eventually

LAST_BEFORE = 19
"""Number of the last migration before rows got a tenant."""

FENCED = "separated the tenants in the database by row-level security"
OLD_UPSERT = """
INSERT INTO sync_sessions AS s (
    session_id, epoch, version, sync_mode, status, created_at, updated_at, metadata, labels
)
VALUES (gen_random_uuid(), 'e', 1, 'per_participant', 'running', now(), now(), '{}', '{"round": "7"}')
ON CONFLICT (session_id) DO UPDATE SET version = excluded.version
RETURNING session_id
"""
"""Statement with which the release before writes a session."""


@pytest.fixture
async def old_database_url(bare_database_url: str, tmp_path: Path) -> str:
    """Migrate a database as the release before does, and insert sessions."""
    for migration in read_migrations(migrations_dir())[:LAST_BEFORE]:
        (tmp_path / migration.name).write_text(migration.text)
    await migrate(bare_database_url, tmp_path)
    await asyncio.to_thread(insert_sessions, bare_database_url, 20)
    return bare_database_url


def fetch(url: str, statement: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute(statement.encode()).fetchall()


async def test_release_before_writes_during_and_after_the_first_phase(old_database_url: str) -> None:
    async with await psycopg.AsyncConnection.connect(old_database_url) as old:
        await old.execute(OLD_UPSERT)
        migrating = asyncio.create_task(migrate(old_database_url))

        async def waits_for_the_writer() -> bool:
            return fetch(
                old_database_url,
                "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'synckairos migrate'"
                " AND datname = current_database() AND wait_event_type = 'Lock'",
            ) == [(1,)]

        await eventually(waits_for_the_writer)
        await old.commit()
        assert (await migrating)[0] == read_migrations(migrations_dir())[LAST_BEFORE].name
        await old.execute(OLD_UPSERT)
        await old.commit()
    assert fetch(old_database_url, "SELECT tenant, count(*) FROM sync_sessions GROUP BY 1") == [("default", 22)]
    assert fetch(old_database_url, "SELECT tenant, name, value FROM sync_labels") == [("default", "round", "7")] * 2
    assert fetch(old_database_url, "SELECT bool_or(relrowsecurity) FROM pg_class") == [(False,)]


async def test_index_that_an_interrupted_migration_left_invalid_is_created_again(old_database_url: str) -> None:
    invalid = "CREATE UNIQUE INDEX CONCURRENTLY sync_events_of_tenant ON sync_events (epoch)"
    with pytest.raises(psycopg.errors.UniqueViolation):
        fetch(old_database_url, invalid)
    await migrate(old_database_url)
    statement = """
        SELECT indisvalid, pg_get_indexdef(indexrelid) FROM pg_index
        WHERE indexrelid = 'sync_events_of_tenant'::regclass
    """
    ((is_valid, definition),) = fetch(old_database_url, statement)
    assert is_valid
    assert definition.endswith("(tenant, session_id, epoch, version)")


async def test_fence_waits_until_no_older_instance_is_heard(old_database_url: str, settings: Settings) -> None:
    settings = settings.model_copy(update={"database_url": old_database_url})
    keys = Keys(settings.key_prefix, settings.partitions)
    async with RedisPipe(settings.redis_url, settings.redis_timeout_s) as pipe:
        stopped, now_ms = "fedcba9876543210", parse_time_ms(await pipe.call("TIME"))
        await pipe.call("ZADD", keys.instance_heartbeats, 1, stopped, now_ms + 60_000, "0123456789abcdef")
        lines = await take_over_and_migrate(settings, watch_s=0.1)
        assert "older releases run: the server 0123456789abcdef." in lines[-1]
        await pipe.call("ZREM", keys.instance_heartbeats, "0123456789abcdef")
        async with await psycopg.AsyncConnection.connect(old_database_url, application_name="synckairos drain"):
            (line,) = await take_over_and_migrate(settings, watch_s=0.1)
            assert "older releases run: a process with the connection 'synckairos drain'." in line
        await pipe.call("ZADD", keys.instance_heartbeats, now_ms + 60_000, new_instance_name())
        assert await take_over_and_migrate(settings, watch_s=0.1) == [FENCED]
    assert await take_over_and_migrate(settings, watch_s=0.1) == []
    key = "SELECT pg_get_indexdef('sync_sessions_pkey'::regclass)"
    assert fetch(old_database_url, key)[0][0].endswith("(tenant, session_id)")


def new_instance_name() -> str:
    name = make_instance_name()
    assert reads_tenants(name)
    return name
