"""Takeover of a database of v2: all rows are kept and listed, v2 can still write, and a second run changes nothing."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from synckairos.audit.charge_fill import ChargeFiller
from synckairos.audit.entry_rows import ParticipantRow
from synckairos.audit.v2_table_conversion import TakeoverResult
from synckairos.audit.v2_takeover import V2TakeoverRefused, convert_new_v2_rows, take_over_v2_database
from synckairos.errors import StoreUnavailable
from synckairos.postgres.access import cross_tenant_access
from synckairos.postgres.migrate import InvalidMigrations, migrate
from synckairos.postgres.pool import PostgresPool
from synckairos.wire.v2_state_parser import is_v2_epoch
from tests.fixtures.v2 import product
from tests.pgbouncer import PgBouncer
from tests.unit.docs.pages import code_blocks, read_page
from tests.waiting import eventually

T0 = 1_750_000_000_000
WAITS_LONG = """
SELECT 1 FROM pg_stat_activity
WHERE datname = current_database() AND application_name = 'synckairos takeover' AND wait_event_type = 'Lock'
    AND query_start < clock_timestamp() - interval '400 ms'
"""
"""Query that finds a takeover whose statement has waited for a lock for more than 400 ms."""


@pytest.fixture
def v2_url(bare_database_url: str) -> str:
    """Return the URL of a database that has only v2's tables."""
    with psycopg.connect(bare_database_url) as connection:
        connection.execute(product.SCHEMA)
    return bare_database_url


@contextmanager
def v2_process(url: str) -> Iterator[psycopg.Connection[Any]]:
    """Return a connection with the settings that v2 uses."""
    with psycopg.connect(url, autocommit=True, prepare_threshold=None) as connection:
        yield connection


def history(**members: Any) -> list[product.State]:
    """Return the successive states of a session of v2 from its creation to its end."""
    states = [product.create(T0, **members)]
    states.append(product.start(states[-1], T0 + 1_000))
    states.append(product.switch(states[-1], T0 + 3_500))
    states.append(product.pause(states[-1], T0 + 4_000))
    states.append(product.resume(states[-1], T0 + 9_000))
    states.append(product.complete(states[-1], T0 + 10_000))
    return states


def record(connection: psycopg.Connection[Any], states: list[product.State]) -> None:
    for state in states:
        event_type = "session_created" if state["version"] == 1 else "session_updated"
        product.record(connection, state, event_type, product.milliseconds(state["updated_at"]))


def rows(url: str, sql: str, *values: Any) -> list[tuple[Any, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(sql.encode(), values).fetchall()


async def later_rows(url: str, *, last: bool = False) -> TakeoverResult | None:
    """Convert later rows of v2 without a refresh of caches."""

    async def refresh(participants: Sequence[ParticipantRow]) -> None:
        pass

    return await convert_new_v2_rows(url, refresh, last=last)


async def test_sessions_and_events_become_rows(v2_url: str) -> None:
    states = history()
    with v2_process(v2_url) as v2:
        record(v2, states)
    assert await take_over_v2_database(v2_url) == TakeoverResult(sessions=1, events=6)
    a, b = (UUID(each["participant_id"]) for each in states[0]["participants"])
    found = rows(
        v2_url,
        "SELECT version, event_type, status::text, running_participant_id, participant_id, time_used_ms, command,"
        " actor, (extract(epoch FROM occurred_at) * 1000)::bigint FROM sync_events ORDER BY version",
    )
    assert found == [
        (1, "session_created", "pending", None, None, 0, "import-v2", "v2", T0),
        (2, "session_started", "running", a, a, 0, "import-v2", "v2", T0 + 1_000),
        (3, "cycle_switched", "running", b, a, 2_500, "import-v2", "v2", T0 + 3_500),
        (4, "session_paused", "paused", None, b, 500, "import-v2", "v2", T0 + 4_001),
        (5, "session_resumed", "running", b, b, 500, "import-v2", "v2", T0 + 9_000),
        (6, "session_completed", "completed", None, b, 500, "import-v2", "v2", T0 + 10_000),
    ]
    ((epoch, version, status, completed),) = rows(
        v2_url, "SELECT epoch, version, status::text, completed_at IS NOT NULL FROM sync_sessions"
    )
    assert (is_v2_epoch(epoch), version, status, completed) == (True, 6, "completed", True)
    assert rows(v2_url, "SELECT participant_id, time_used_ms, cycle_count FROM sync_participants ORDER BY 2 DESC") == [
        (a, 2_500, 1),
        (b, 500, 0),
    ]


async def test_charges_of_rows_of_v2_are_filled_in_and_follow_later_rows(v2_url: str) -> None:
    states = history()
    used = "SELECT participant_id, time_used_ms FROM sync_participants WHERE time_used_ms > 0 ORDER BY 1"
    charged = """
        SELECT participant_id, sum(1000 * extract(epoch FROM ended_at - began_at))::bigint FROM sync_charges
        WHERE NOT is_void GROUP BY 1 ORDER BY 1
    """
    async with PostgresPool(v2_url, "fill", access=cross_tenant_access(), max_connections=1) as pool:
        filler = ChargeFiller(pool)
        with v2_process(v2_url) as v2:
            record(v2, states[:3])
            await take_over_v2_database(v2_url)
            await migrate(v2_url)  # grants the tables to the roles
            assert await filler.fill_all_sessions() == 1
            assert len(rows(v2_url, used)) == 1
            assert rows(v2_url, charged) == rows(v2_url, used)
            record(v2, states[3:])
        await later_rows(v2_url)
        assert await filler.fill_all_sessions() == 1
        assert len(rows(v2_url, used)) == 2
        assert rows(v2_url, charged) == rows(v2_url, used)
        assert await filler.fill_all_sessions() == 0


async def test_takeover_works_through_a_transaction_pooler(v2_url: str, pgbouncer: PgBouncer) -> None:
    states = history()
    with v2_process(v2_url) as v2:
        record(v2, states[:4])
        taken = await take_over_v2_database(pgbouncer.url(v2_url))
        assert taken is not None
        assert (taken.sessions, taken.events) == (1, 4)
        record(v2, states[4:])
    later = await later_rows(pgbouncer.url(v2_url), last=True)
    assert later is not None
    assert (later.sessions, later.events) == (1, 2)
    assert len(rows(v2_url, "SELECT 1 FROM sync_events")) == 6


async def test_takeover_ignores_the_statement_timeout_of_the_database(v2_url: str) -> None:
    with v2_process(v2_url) as v2, psycopg.connect(v2_url) as other:
        record(v2, history())
        v2.execute(f"ALTER DATABASE {v2.info.dbname} SET statement_timeout = '300ms'".encode())
        other.execute("LOCK TABLE sync_events")
        taking_over = asyncio.create_task(take_over_v2_database(v2_url))

        async def is_beyond_the_timeout() -> bool:
            return taking_over.done() or bool(rows(v2_url, WAITS_LONG))

        await eventually(is_beyond_the_timeout)
        other.rollback()
        assert await taking_over == TakeoverResult(sessions=1, events=6)


async def test_second_run_does_nothing(v2_url: str) -> None:
    with v2_process(v2_url) as v2:
        record(v2, history())
    await take_over_v2_database(v2_url)
    before = rows(v2_url, "SELECT *, xmin::text FROM sync_events ORDER BY version")
    assert await take_over_v2_database(v2_url) is None
    assert await migrate(v2_url) == []
    assert await later_rows(v2_url) == TakeoverResult(0, 0)
    assert rows(v2_url, "SELECT *, xmin::text FROM sync_events ORDER BY version") == before


async def test_every_row_of_v2_stays(v2_url: str) -> None:
    tables = ("sync_sessions", "sync_events", "sync_participants")
    with v2_process(v2_url) as v2:
        record(v2, history())
        v2.execute(
            "INSERT INTO sync_participants (session_id, participant_id, total_time_ms) VALUES (%s, %s, 1)",
            [uuid4(), uuid4()],
        )
        before = {name: v2.execute(f"SELECT * FROM {name}".encode()).fetchall() for name in tables}
    await take_over_v2_database(v2_url)
    for name in tables:
        after = rows(v2_url, f"SELECT * FROM synckairos_v2.{name}")
        assert [row[: len(before[name][0])] for row in after] == before[name]
    schemas = rows(v2_url, "SELECT nspname FROM pg_namespace WHERE starts_with(nspname, 'synckairos')")
    assert schemas == [("synckairos_v2",)]


async def test_other_databases_are_left_alone(bare_database_url: str, database_url: str) -> None:
    for url in (bare_database_url, database_url):
        assert await take_over_v2_database(url) is None
        assert await later_rows(url) is None
    assert rows(bare_database_url, "SELECT count(*) FROM pg_class WHERE relname = 'sync_sessions'") == [(0,)]


async def test_two_processes_take_over_once(v2_url: str) -> None:
    with v2_process(v2_url) as v2:
        record(v2, history())
    results = await asyncio.gather(take_over_v2_database(v2_url), take_over_v2_database(v2_url))
    assert sorted(each is None for each in results) == [False, True]


async def test_migrations_alone_refuse_a_database_of_v2(v2_url: str) -> None:
    with pytest.raises(InvalidMigrations, match="takes over a database of SyncKairos v2"):
        await migrate(v2_url)


# -- v2 goes on writing -----------------------------------------------------------------------------------------------


async def test_v2_writes_on_and_its_rows_are_taken_later(v2_url: str) -> None:
    states = history()
    with v2_process(v2_url) as v2:
        record(v2, states[:3])
        await take_over_v2_database(v2_url)
        record(v2, states[3:])  # v2's own statements, on the connection that v2 had before
        new = history()
        record(v2, new)
    assert rows(v2_url, "SELECT count(*) FROM sync_events") == [(3,)]
    assert rows(v2_url, "SELECT count(*) FROM synckairos_v2.sync_events") == [(12,)]
    ended = "SELECT final_status::text, completed_at IS NOT NULL FROM synckairos_v2.sync_sessions"
    assert rows(v2_url, ended) == [("completed", True)] * 2
    assert await later_rows(v2_url) == TakeoverResult(sessions=2, events=9)
    assert await later_rows(v2_url) == TakeoverResult(0, 0)
    for session in (states[0], new[0]):
        found = rows(
            v2_url, "SELECT version FROM sync_events WHERE session_id = %s ORDER BY occurred_at", session["session_id"]
        )
        assert found == [(version,) for version in range(1, 7)]
    assert rows(v2_url, "SELECT version, status::text FROM sync_sessions") == [(6, "completed")] * 2


async def test_rows_whose_caches_could_not_be_refreshed_are_converted_again(v2_url: str) -> None:
    async def refuse(participants: Sequence[ParticipantRow]) -> None:
        raise StoreUnavailable(f"{len(participants)} participants")

    await take_over_v2_database(v2_url)
    with v2_process(v2_url) as v2:
        record(v2, history())
    with pytest.raises(StoreUnavailable, match="2 participants"):
        await convert_new_v2_rows(v2_url, refuse)
    assert rows(v2_url, "SELECT count(*) FROM sync_events") == [(6,)]
    assert await later_rows(v2_url) == TakeoverResult(sessions=1, events=6)
    assert rows(v2_url, "SELECT count(*) FROM sync_events") == [(6,)]


async def test_defaults_of_v2_hold_for_columns_that_it_does_not_name(v2_url: str) -> None:
    await take_over_v2_database(v2_url)
    session_id = uuid4()
    with v2_process(v2_url) as v2:
        v2.execute("INSERT INTO sync_events (session_id, event_type) VALUES (%s, 'session_updated')", [session_id])
        v2.execute(
            "INSERT INTO sync_sessions (session_id, sync_mode, final_status) VALUES (%s, 'global', 'running')",
            [session_id],
        )
    ((event_id, at, metadata),) = rows(v2_url, 'SELECT id, "timestamp", metadata FROM synckairos_v2.sync_events')
    assert (event_id is not None, at is not None, metadata) == (True, True, {})
    found = rows(v2_url, "SELECT increment_ms, total_cycles, created_at IS NOT NULL FROM synckairos_v2.sync_sessions")
    assert found == [(0, 0, True)]


async def test_a_role_of_v2_that_owns_nothing_writes_on(v2_url: str) -> None:
    role = f"v2_{uuid4().hex[:8]}"
    states = history()
    with psycopg.connect(v2_url, autocommit=True) as owner:
        owner.execute(f"CREATE ROLE {role}".encode())
        owner.execute(f"GRANT SELECT, INSERT, UPDATE ON sync_sessions, sync_events TO {role}".encode())
        try:
            await take_over_v2_database(v2_url)
            with v2_process(v2_url) as v2:
                v2.execute(f"SET ROLE {role}".encode())
                record(v2, states)
        finally:
            owner.execute(f"DROP OWNED BY {role}".encode())
            owner.execute(f"DROP ROLE {role}".encode())
    assert await later_rows(v2_url) == TakeoverResult(sessions=1, events=6)


async def test_rows_written_during_the_takeover_are_not_lost(v2_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with v2_process(v2_url) as v2:
        for _ in range(300):
            record(v2, history())
        is_over = asyncio.Event()
        written = [await asyncio.to_thread(_write, v2)]

        async def write_on() -> None:
            while not is_over.is_set():
                written.append(await asyncio.to_thread(_write, v2))

        writer = asyncio.create_task(write_on())
        monkeypatch.setattr("synckairos.audit.v2_table_conversion.PROGRESS_SESSIONS", 100)
        reported: list[int] = []
        taken = await take_over_v2_database(v2_url, reported.append)
        assert reported[:3] == [100, 200, 300]
        is_over.set()
        await writer
    assert taken is not None
    later = await later_rows(v2_url)
    assert later is not None
    assert taken.events + later.events == 6 * (300 + len(written))
    assert rows(v2_url, "SELECT count(*), count(DISTINCT session_id) FROM sync_events") == [
        (6 * (300 + len(written)), 300 + len(written))
    ]


def _write(v2: psycopg.Connection[Any]) -> str:
    states = history()
    record(v2, states)
    return str(states[0]["session_id"])


async def find_none() -> list[str]:
    """Return no instance of an older release."""
    return []


async def test_the_last_run_removes_the_bridge(v2_url: str, database_url: str) -> None:
    await take_over_v2_database(v2_url)
    with v2_process(v2_url) as v2:
        record(v2, history())
    assert await later_rows(v2_url, last=True) == TakeoverResult(sessions=1, events=6)
    assert await later_rows(v2_url, last=True) == TakeoverResult(0, 0)
    await migrate(v2_url, find_older_instances=find_none)
    schema = (
        "SELECT table_name, column_name, data_type, is_nullable FROM information_schema.columns"
        " WHERE table_schema = 'public' ORDER BY 1, 2"
    )
    assert rows(v2_url, schema) == rows(database_url, schema)
    objects = (
        "SELECT relname, relkind FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        " UNION ALL SELECT typname, typtype FROM pg_type WHERE typnamespace = 'public'::regnamespace"
        " UNION ALL SELECT tgname, 't' FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1, 2"
    )
    assert rows(v2_url, objects) == rows(database_url, objects)


# -- what cannot be taken over ----------------------------------------------------------------------------------------


async def test_failure_leaves_the_database_of_v2_as_it_was(v2_url: str) -> None:
    with v2_process(v2_url) as v2:
        record(v2, history())
        v2.execute("CREATE SCHEMA synckairos_new")  # something that the takeover does not expect
        with pytest.raises(psycopg.errors.DuplicateSchema):
            await take_over_v2_database(v2_url)
        assert v2.execute("SELECT count(*) FROM sync_events WHERE state_snapshot IS NOT NULL").fetchone() == (6,)
        v2.execute("DROP SCHEMA synckairos_new")
    assert await take_over_v2_database(v2_url) == TakeoverResult(sessions=1, events=6)


async def test_a_role_without_privileges_is_told_what_to_grant(v2_url: str) -> None:
    role = f"poor_{uuid4().hex[:8]}"
    with psycopg.connect(v2_url, autocommit=True) as owner:
        owner.execute(f"CREATE ROLE {role} LOGIN".encode())
        try:
            with pytest.raises(V2TakeoverRefused, match="GRANT CREATE ON DATABASE"):
                await take_over_v2_database(v2_url.replace("postgres@", f"{role}@"))
        finally:
            owner.execute(f"DROP ROLE {role}".encode())


async def test_a_long_transaction_on_the_tables_of_v2_refuses(v2_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("synckairos.audit.v2_takeover._LOCK_ATTEMPTS", 2)
    monkeypatch.setattr("synckairos.audit.v2_takeover._LOCK_TIMEOUT_MS", 50)
    with psycopg.connect(v2_url) as report:
        report.execute("SELECT count(*) FROM sync_events")
        with pytest.raises(V2TakeoverRefused, match="long transaction"):
            await take_over_v2_database(v2_url)
    assert await take_over_v2_database(v2_url) == TakeoverResult(0, 0)


async def test_rows_that_cannot_be_read_are_named(v2_url: str) -> None:
    orphan = str(uuid4())
    states = history()
    with v2_process(v2_url) as v2:
        v2.execute("INSERT INTO sync_events (session_id, event_type) VALUES (%s, 'session_updated')", [orphan])
        record(v2, states)
    assert await take_over_v2_database(v2_url) == TakeoverResult(sessions=1, events=6, unreadable=(orphan,))


async def test_sessions_that_were_changed_here_keep_their_rows(v2_url: str) -> None:
    states = history()
    with v2_process(v2_url) as v2:
        record(v2, states)
        await take_over_v2_database(v2_url)
        with psycopg.connect(v2_url) as ours:
            ours.execute(
                "INSERT INTO sync_events (session_id, epoch, version, occurred_at, event_type, status, command,"
                " payload_hash, snapshot) SELECT session_id, epoch, 7, now(), 'metadata_updated', status,"
                " 'update_metadata', payload_hash, snapshot FROM sync_events WHERE version = 6"
            )
        record(v2, [product.complete(states[-1], T0 + 20_000)])
    left_out = TakeoverResult(0, 0, left_out=(states[0]["session_id"],))
    assert await later_rows(v2_url) == left_out
    assert rows(v2_url, "SELECT count(*) FROM sync_events") == [(7,)]
    assert rows(v2_url, "SELECT count(*) FROM synckairos_v2.sync_events") == [(7,)]


# -- the page ---------------------------------------------------------------------------------------------------------

STRUCTURE = (
    "SELECT table_name, column_name, udt_schema, udt_name, column_default, is_nullable FROM information_schema.columns"
    " WHERE table_schema = 'public' UNION ALL SELECT tablename, indexname, indexdef, '', '', '' FROM pg_indexes"
    " WHERE schemaname = 'public' UNION ALL SELECT nspname, '', '', '', '', '' FROM pg_namespace"
    " WHERE starts_with(nspname, 'synckairos') ORDER BY 1, 2"
)


async def test_rollback_of_the_page_gives_v2_its_tables_back(v2_url: str) -> None:
    (statements,) = code_blocks(read_page("../guides/from-v2.md"), "sql")
    states = history()
    with v2_process(v2_url) as v2:
        before = rows(v2_url, STRUCTURE)
        record(v2, states[:3])
        await take_over_v2_database(v2_url)
        record(v2, states[3:])
        v2.execute(statements.encode())
        assert rows(v2_url, STRUCTURE) == before
        record(v2, history())
    assert rows(v2_url, "SELECT count(*) FROM sync_events") == [(12,)]
    assert await take_over_v2_database(v2_url) == TakeoverResult(sessions=2, events=12)


async def test_views_of_the_operator_go_on_reading_the_rows_of_v2(v2_url: str) -> None:
    with v2_process(v2_url) as v2:
        v2.execute("CREATE VIEW report AS SELECT final_status, count(*) FROM sync_sessions GROUP BY 1")
        record(v2, history())
        await take_over_v2_database(v2_url)
        record(v2, history())
        assert v2.execute("SELECT * FROM report").fetchall() == [("completed", 2)]
