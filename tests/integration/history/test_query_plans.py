"""Plans of all history queries in a large database: each query finds its rows with an index."""

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from synckairos.embedded import Postgres
from synckairos.postgres.named_sql import load_statements
from tests.integration.postgres.generated_rows import insert_sessions


@pytest.fixture(scope="module")
def large_database(postgres: Postgres, template_database: str) -> Iterator[str]:
    name = f"large_{uuid4().hex[:8]}"
    with psycopg.connect(postgres.database_url("postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template_database}".encode())
        insert_sessions(postgres.database_url(name), 1500)
        yield postgres.database_url(name)
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def uuid_of(text: str) -> UUID:
    return UUID(hashlib.md5(text.encode(), usedforsecurity=False).hexdigest())


SESSION, PARTICIPANT = uuid_of("s700"), uuid_of("p700")
NOON = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
ALL = {"before_at": "infinity", "before_id": "f" * 32, "limit": 51}
REPORT: dict[str, Any] = {
    "since": NOON - timedelta(days=1), "until": NOON + timedelta(days=30),
    "in_outbox": [SESSION], "cut_at": [NOON], "cut_version": [7], "metadata": ["{}"], "outbox_labels": ["{}"],
    "is_replaced": [False], "void_after": [None],
    "open": [uuid_of("s701")], "open_participant": [PARTICIPANT], "open_began_at": [NOON],
    "open_ended_at": [NOON + timedelta(hours=1)],
    "running": [SESSION], "participant": [PARTICIPANT], "began_at": [NOON], "ended_at": [NOON + timedelta(hours=1)],
    "bounds": [NOON + timedelta(days=at) for at in range(-1, 31)], "by_session": False, "by_participant": True,
    "round_ms": 60_000, "rounds_up": True, "after_session": "", "after_participant": "", "after_keys": [""],
    "limit": 1000,
}  # fmt: skip
CASES: dict[str, dict[str, Any]] = {
    "latest_version": {"session_id": SESSION},
    "archive_records": {"session_id": SESSION, "removed_only": True},
    "version_document": {"session_id": SESSION, "epoch": "e", "version": 7},
    "version_at": {"session_id": SESSION, "at": NOON},
    "sessions": {
        **ALL, "status": None, "sync_mode": None, "labels": None, "only_unfinished": False, "max_bytes": 4 << 20,
        "known_ids": [],
    },
    "events": {
        "session_id": SESSION, "after_at": NOON, "after_version": 7, "after_epoch": "e", "snapshots": True, "limit": 51,
        "max_bytes": 4 << 20,
    },
    "participant_sessions": {
        **ALL, "participant_id": PARTICIPANT, "session_ids": None, "since": NOON - timedelta(days=1),
    },
    "participant_session_starts": {"participant_id": PARTICIPANT, "since": NOON - timedelta(days=1), "limit": 1001},
    "paused_time": {"session_id": SESSION, "since": NOON - timedelta(days=1), "until": NOON + timedelta(days=1)},
    "known_session_starts": {"participant_id": PARTICIPANT, "session_ids": [SESSION, uuid_of("s701")]},
    "running_turns": {
        "participants": [PARTICIPANT], "labels": None, "until": NOON + timedelta(days=30), "in_outbox": [SESSION],
    },
    "used_time_slices": {
        **REPORT, "participants": [PARTICIPANT], "labels": None, "metadata_key": "project", "label_keys": [],
        "after_number": None,
    },
    "session_charges": {"session_id": SESSION, "before_version": 101, "limit": 10_001},
    "first_session_created": {"participants": [PARTICIPANT], "labels": None, "until": NOON + timedelta(days=30)},
}  # fmt: skip


def scans(plan: dict[str, Any]) -> Iterator[tuple[str, str, float]]:
    """Yield each table scan of a plan: its kind, its table, and the number of rows that it read."""
    if "Relation Name" in plan:
        looked_at = plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)
        yield plan["Node Type"], plan["Relation Name"], looked_at * plan["Actual Loops"]
    for child in plan.get("Plans", ()):
        yield from scans(child)


@pytest.mark.parametrize("name", CASES)
async def test_a_query_reads_at_most_a_thousand_rows_by_an_index(large_database: str, name: str) -> None:
    async with await psycopg.AsyncConnection.connect(large_database) as connection:
        connection.prepare_threshold = None
        sql = b"EXPLAIN (ANALYZE, FORMAT JSON) " + load_statements("queries.sql", "synckairos.history")[name]
        row = await (await connection.execute(sql, CASES[name])).fetchone()
    assert row is not None
    found = list(scans(row[0][0]["Plan"]))
    assert found
    for kind, table, rows in found:
        assert "Seq" not in kind, (kind, table)
        assert rows <= 1000, (kind, table, rows)


async def test_the_query_for_sessions_to_archive_reads_no_archived_session(large_database: str) -> None:
    async with await psycopg.AsyncConnection.connect(large_database) as connection:
        connection.prepare_threshold = None
        await connection.execute("UPDATE sync_sessions SET archived = session_id <> %s", [SESSION])
        await connection.execute("ANALYZE sync_sessions")
        sql = (
            b"EXPLAIN (ANALYZE, FORMAT JSON) "
            + load_statements("archive_and_retention.sql", "synckairos.jobs")["sessions_to_archive"]
        )
        page = {"after_s": 0, "ended_at": "-infinity", "session_id": UUID(int=0), "limit": 200}
        row = await (await connection.execute(sql, page)).fetchone()
        await connection.rollback()
    assert row is not None
    assert {table: rows for _, table, rows in scans(row[0][0]["Plan"])}["sync_sessions"] == 1


async def test_given_sessions_of_a_participant_are_found_without_reading_all(large_database: str) -> None:
    async with await psycopg.AsyncConnection.connect(large_database) as connection:
        connection.prepare_threshold = None
        everywhere = (
            b"INSERT INTO sync_participants SELECT session_id, %s, 2, NULL, created_at, NULL, 1, 1 FROM sync_sessions"
        )
        await connection.execute(everywhere, [uuid_of("everywhere")])
        await connection.execute("ANALYZE sync_participants")
        sql = (
            b"EXPLAIN (ANALYZE, FORMAT JSON) "
            + load_statements("queries.sql", "synckairos.history")["participant_sessions"]
        )
        named = {"participant_id": uuid_of("everywhere"), "session_ids": [SESSION, uuid_of("s701")]}
        row = await (await connection.execute(sql, {**ALL, **named, "since": "-infinity", "limit": None})).fetchone()
        await connection.rollback()
    assert row is not None
    found = list(scans(row[0][0]["Plan"]))
    assert {(table, rows) for _, table, rows in found if table != "sync_events"} == {
        ("sync_participants", 2),
        ("sync_sessions", 2),
    }


@pytest.mark.parametrize("filtered", [{"status": "running"}, {"labels": '{"round": "1"}'}])
async def test_a_filter_reads_no_session_without_its_value(large_database: str, filtered: dict[str, str]) -> None:
    async with await psycopg.AsyncConnection.connect(large_database) as connection:
        sql = b"EXPLAIN (ANALYZE, FORMAT JSON) " + load_statements("queries.sql", "synckairos.history")["sessions"]
        values = {
            **ALL,
            "status": None,
            "sync_mode": None,
            "labels": None,
            "only_unfinished": False,
            "max_bytes": 4 << 20,
            "known_ids": [],
            **filtered,
        }
        row = await (await connection.execute(sql, values)).fetchone()
    assert row is not None
    assert sum(rows for _, _, rows in scans(row[0][0]["Plan"])) == 0
