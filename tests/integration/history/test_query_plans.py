"""Plans of all history queries in a large database, as the role of servers: each query finds its rows with an index."""

import hashlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from synckairos.embedded import Postgres
from synckairos.history.queries import load_query
from synckairos.postgres.named_sql import load_statements
from tests.integration.postgres.generated_rows import INSERT_CHARGES, INSERT_SESSIONS, insert_sessions


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
NO_LABELS = {"labels": None, "label_name": None, "label_value": None}
LABEL = {"labels": '{"round": "1"}', "label_name": "round", "label_value": "1"}
CASES: dict[str, dict[str, Any]] = {
    "latest_version": {"session_id": SESSION},
    "archive_records": {"session_id": SESSION, "removed_only": True},
    "version_document": {"session_id": SESSION, "epoch": "e", "version": 7},
    "version_at": {"session_id": SESSION, "at": NOON},
    "sessions": {
        **ALL, **NO_LABELS, "status": None, "sync_mode": None, "only_unfinished": False, "max_bytes": 4 << 20,
        "known_ids": [],
    },
    "labelled_sessions": {
        **ALL, **LABEL, "status": None, "sync_mode": None, "only_unfinished": False, "max_bytes": 4 << 20,
        "known_ids": [],
    },
    "reached_sessions": {
        **ALL, **NO_LABELS, "status": None, "sync_mode": None, "only_unfinished": False, "max_bytes": 4 << 20,
        "known_ids": [], "reached_ids": [SESSION], "reached_keys": ["class", "cup"], "reached_values": ["7b", "none"],
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
        "participants": [PARTICIPANT], **NO_LABELS, "until": NOON + timedelta(days=30), "in_outbox": [SESSION],
    },
    "used_time_slices": {
        **REPORT, "participants": [PARTICIPANT], **NO_LABELS, "metadata_key": "project", "label_keys": [],
        "after_number": None,
    },
    "session_charges": {"session_id": SESSION, "before_version": 101, "limit": 10_001},
    "first_session_created": {"participants": [PARTICIPANT], **NO_LABELS, "until": NOON + timedelta(days=30)},
}  # fmt: skip


def scans(plan: dict[str, Any]) -> Iterator[tuple[str, str, float]]:
    """Yield each table scan of a plan: its kind, its table, and the number of rows that it read."""
    if "Relation Name" in plan:
        looked_at = plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)
        yield plan["Node Type"], plan["Relation Name"], looked_at * plan["Actual Loops"]
    for child in plan.get("Plans", ()):
        yield from scans(child)


@asynccontextmanager
async def connect_as_server(database_url: str) -> AsyncIterator[psycopg.AsyncConnection]:
    """Connect with the role of servers, for the default tenant. Row-level security applies."""
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        connection.prepare_threshold = None
        await connection.execute(
            "SELECT set_config('role', 'synckairos_server', true), set_config('synckairos.tenant', 'default', true)"
        )
        yield connection


async def explain(
    connection: psycopg.AsyncConnection, name: str, values: dict[str, Any]
) -> list[tuple[str, str, float]]:
    """Run a query of history with EXPLAIN, and return its table scans."""
    sql = b"EXPLAIN (ANALYZE, FORMAT JSON) " + load_query(name)
    row = await (await connection.execute(sql, {**values, "tenant": "default"})).fetchone()
    assert row is not None
    return list(scans(row[0][0]["Plan"]))


@pytest.mark.parametrize("name", CASES)
async def test_a_query_reads_at_most_a_thousand_rows_by_an_index(large_database: str, name: str) -> None:
    async with connect_as_server(large_database) as connection:
        found = await explain(connection, name, CASES[name])
    assert found
    for kind, table, rows in found:
        assert "Seq" not in kind, (kind, table)
        assert rows <= 1000, (kind, table, rows)


@pytest.mark.parametrize(
    ("name", "most"), [("sessions_to_remove", 200), ("sessions_to_archive", 1), ("tenants_with_ended_sessions", 2)]
)
async def test_a_query_for_ended_sessions_reads_only_the_rows_of_its_answer(
    large_database: str, name: str, most: int
) -> None:
    """All sessions have ended, and all but one are archived. `most` is the number of rows that the query may read.

    Postgres would sort this number of sessions, but not that of a large database.
    """
    async with await psycopg.AsyncConnection.connect(large_database) as connection:
        connection.prepare_threshold = None
        await connection.execute(
            "UPDATE sync_sessions SET archived = session_id <> %s, completed_at = coalesce(completed_at, updated_at)",
            [SESSION],
        )
        await connection.execute("ANALYZE sync_sessions")
        await connection.execute("SET LOCAL enable_sort = off")
        sql = b"EXPLAIN (ANALYZE, FORMAT JSON) " + load_statements("archive_and_retention.sql", "synckairos.jobs")[name]
        page = {"tenant": "default", "after_s": 0, "ended_at": "-infinity", "session_id": UUID(int=0), "limit": 200}
        row = await (await connection.execute(sql, page)).fetchone()
        await connection.rollback()
    assert row is not None
    found = [(kind, rows) for kind, table, rows in scans(row[0][0]["Plan"]) if table == "sync_sessions"]
    assert found
    assert all("Index" in kind for kind, _ in found), found
    assert 1 <= sum(rows for _, rows in found) <= most, found


async def test_given_sessions_of_a_participant_are_found_without_reading_all(large_database: str) -> None:
    async with await psycopg.AsyncConnection.connect(large_database) as owner:
        everywhere = (
            b"INSERT INTO sync_participants SELECT session_id, %s, 2, NULL, created_at, NULL, 1, 1 FROM sync_sessions"
        )
        await owner.execute(everywhere, [uuid_of("everywhere")])
        await owner.execute("ANALYZE sync_participants")
        await owner.execute(
            "SELECT set_config('role', 'synckairos_server', true), set_config('synckairos.tenant', 'default', true)"
        )
        named = {"participant_id": uuid_of("everywhere"), "session_ids": [SESSION, uuid_of("s701")]}
        found = await explain(owner, "participant_sessions", {**ALL, **named, "since": "-infinity", "limit": None})
        await owner.rollback()
    assert {(table, rows) for _, table, rows in found if table != "sync_events"} == {
        ("sync_participants", 2),
        ("sync_sessions", 2),
    }


@pytest.mark.parametrize(
    ("name", "filtered"), [("sessions", {**NO_LABELS, "status": "running"}), ("labelled_sessions", LABEL)]
)
async def test_a_filter_reads_no_session_without_its_value(
    large_database: str, name: str, filtered: dict[str, str | None]
) -> None:
    values: dict[str, Any] = {"status": None, "sync_mode": None, "only_unfinished": False, "max_bytes": 4 << 20}
    async with connect_as_server(large_database) as connection:
        found = await explain(connection, name, {**ALL, **values, **filtered, "known_ids": []})
    assert sum(rows for _, _, rows in found) == 0


@pytest.mark.parametrize(
    ("name", "values"),
    [
        (
            "events",
            {
                "after_at": "-infinity", "after_version": 0, "after_epoch": "", "snapshots": False, "limit": 101,
                "max_bytes": 4 << 20,
            },
        ),
        ("session_charges", {"before_version": 101, "limit": 10_001}),
    ],
    ids=["events", "session_charges"],
)  # fmt: skip
async def test_only_charges_of_the_session_are_read_before_postgres_knows_the_sizes_of_the_tables(
    direct_database_url: str, name: str, values: dict[str, Any]
) -> None:
    """Postgres then expects that a tenant has one charge, and one index for this charge seems as good as the other."""
    async with await psycopg.AsyncConnection.connect(direct_database_url) as owner:
        for statement in (INSERT_SESSIONS, INSERT_CHARGES):
            await psycopg.AsyncClientCursor(owner).execute(statement, {"sessions": 5, "size": 1})
        await owner.execute(
            "SELECT set_config('role', 'synckairos_server', true), set_config('synckairos.tenant', 'default', true)"
        )
        found = await explain(owner, name, {"session_id": uuid_of("s1"), **values})
        await owner.rollback()
    charges = sum(rows for _, table, rows in found if table == "sync_charges")
    assert 0 < charges <= 100, found
