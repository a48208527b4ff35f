"""Load test of the audit: rate of one worker's drain, delay of the audit under load, and duration of Postgres reads.

Postgres is durable (fsync is on): an entry leaves the outbox after its COMMIT is on disk. The load test prints three
lines. `drain` drains a full outbox of real entries. It is compared with a bare loop that uses COPY to write the same
rows, in the same batches, to a table with the same indexes. `lag` measures the delay of the audit under the maximum
load of one server. `reads` measures reads from a large history.

With `--pooler` it prints one other line: the rates of a direct drain and of one through PgBouncer in transaction mode.
"""

import argparse
import asyncio
import random
import statistics
import time
from collections.abc import Awaitable, Callable
from hashlib import md5
from typing import Any, Self
from uuid import UUID, uuid4

import psycopg

from loadtests.http_client import HttpConnection
from loadtests.report import percentile, run_measurements
from loadtests.sessions import DAY_MS, start_session_by_rest
from loadtests.stores import server_and_worker, valkey_and_postgres
from synckairos.audit.batch_writer import AuditDatabase
from synckairos.audit.drain import BATCH_ENTRIES, OutboxDrain
from synckairos.audit.entry_rows import EventRow, parse_entry
from synckairos.audit.event_copy import COPY_EVENTS, write_event_rows
from synckairos.clock import creation, engine
from synckairos.clock.commands import Command, Create, NewParticipant, Start, Switch
from synckairos.clock.model import SyncMode
from synckairos.clock.transition import Transition
from synckairos.config import Settings
from synckairos.embedded import Postgres
from synckairos.history.cold.object_store import ColdStorage
from synckairos.history.participant_sessions.update_after_drain import SummaryRefresh
from synckairos.history.reader import HistoryReader, open_history_pool
from synckairos.history.records import TimeReportSpec
from synckairos.service.prepare_commit import build_version, created_at_if_live_ms, next_transition_at_ms
from synckairos.store.commit_script import Commit, Committed
from synckairos.store.failed_entries import FailedEntries
from synckairos.store.keys import Keys
from synckairos.store.outbox import Outbox
from synckairos.store.sessions import SessionStore
from synckairos.store.shared_connection import RedisPipe
from synckairos.wire.outbox_entry import CommitCause
from synckairos.wire.snapshot import SessionSnapshot
from tests.integration.postgres.generated_rows import insert_sessions
from tests.pgbouncer import running_pgbouncer
from tests.waiting import eventually

VERSIONS = 100
"""Number of versions of each session in the outbox. The first three create, start and switch the session."""

POLL_S = 0.02
ROUNDS = 3
READS = 300


# -- the drain --------------------------------------------------------------------------------------------------------


async def play(store: SessionStore, versions: int, now_ms: int) -> None:
    """Commit the versions of one session to the store, one second apart, as the service does."""
    participants = tuple(NewParticipant(str(uuid4()), total_time_ms=DAY_MS, display_name="player") for _ in range(2))
    spec = Create(SyncMode.PER_PARTICIPANT, participants, metadata={"project": "load test"})
    base: SessionSnapshot | None = None
    transition: Transition = creation.create(spec, str(uuid4()), uuid4().hex[:16], now_ms)
    for version in range(1, versions + 1):
        if version > 1:
            command: Command = Start() if version == 2 else Switch()
            transition = engine.apply(transition.state, command, now_ms + version * 1000).own[0]
        after, verb = transition.state, ("create", "start")[version - 1] if version < 3 else "switch"
        new_version = build_version(transition, CommitCause("anonymous", verb))
        due_ms = next_transition_at_ms(after)
        commit = Commit(after.session_id, base, [new_version], after.status, due_ms, created_at_if_live_ms(after))
        assert isinstance(await store.commit(commit), Committed)
        base = SessionSnapshot(after.epoch, after.version, new_version.message.snapshot.document)


async def bare_copy(postgres: Postgres, rows: list[EventRow]) -> float:
    """Write rows with COPY to a table like `sync_events`, in one transaction for each batch. Return the rows per s."""
    statement = COPY_EVENTS.replace(b"sync_events", b"bare")
    batches = [rows[first : first + BATCH_ENTRIES] for first in range(0, len(rows), BATCH_ENTRIES)]
    connection = await psycopg.AsyncConnection.connect(postgres.url, autocommit=True)
    async with connection, connection.cursor() as cursor:
        await cursor.execute("DROP TABLE IF EXISTS bare")
        await cursor.execute("CREATE TABLE bare (LIKE sync_events INCLUDING ALL)")
        began = time.perf_counter()
        for batch in batches:
            async with connection.transaction(), cursor.copy(statement) as copy:
                await write_event_rows(copy, batch)
        return len(rows) / (time.perf_counter() - began)


async def measure_drain(entries: int) -> dict[str, Any]:
    async with valkey_and_postgres() as (settings, postgres), Drains(settings) as drains:
        rates: list[float] = []
        bare_rates: list[float] = []
        for _ in range(ROUNDS):
            await drains.fill(entries)
            deliveries = await drains.outbox.read(0, entries, 1 << 40)
            rows = [parse_entry(delivery.parse()).event for delivery in deliveries]
            size = sum(delivery.size_bytes for delivery in deliveries)
            del deliveries
            bare_rates.append(await bare_copy(postgres, rows))
            count = len(rows)
            del rows  # the garbage collector must not have more objects than in a worker
            rates.append(await drains.measure(settings.database_url, count))
            assert count == entries // VERSIONS * VERSIONS
    ratios = [rate / bare for rate, bare in zip(rates, bare_rates, strict=True)]
    return {
        "entries": count,
        "bytes_an_entry": size // count,
        "drained_per_s": round(statistics.median(rates)),
        "bare_copy_per_s": round(statistics.median(bare_rates)),
        "rate_to_bare_copy": round(statistics.median(ratios), 3),
        "rounds": [round(rate) for rate in rates],
    }


async def measure_pooler(entries: int) -> dict[str, Any]:
    """Drain directly and through PgBouncer in turn, so that other load of the machine affects both."""
    async with valkey_and_postgres() as (settings, postgres), Drains(settings) as drains:
        with running_pgbouncer(postgres.data_dir.parent / "pgbouncer", postgres) as pooler:
            urls = {"direct": settings.database_url, "pooler": pooler.url(settings.database_url)}
            rates: dict[str, list[float]] = {route: [] for route in urls}
            for round_ in range(2 * ROUNDS):
                for route in sorted(urls, reverse=bool(round_ % 2)):
                    await drains.fill(entries)
                    rates[route].append(await drains.measure(urls[route], entries // VERSIONS * VERSIONS))
    direct, pooled = (statistics.median(rates[route]) for route in ("direct", "pooler"))
    return {
        "entries": entries // VERSIONS * VERSIONS,
        "direct_per_s": round(direct),
        "pooler_per_s": round(pooled),
        "pooler_to_direct": round(pooled / direct, 3),
        "rounds": {route: [round(rate) for rate in found] for route, found in rates.items()},
    }


class Drains:
    """A full outbox, and its drain by the way of a database URL. An async context manager."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._keys = Keys(settings.key_prefix, settings.partitions)
        self._pipe = RedisPipe(settings.redis_url, settings.redis_timeout_s)
        self._store = SessionStore(self._pipe, self._keys, settings.history_length)
        self.outbox = Outbox(self._pipe, self._keys)

    async def __aenter__(self) -> Self:
        await self._pipe.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._pipe.__aexit__(None, None, None)

    async def fill(self, entries: int) -> None:
        """Play sessions until the outbox has this many entries."""
        now_ms = await self._store.now_ms()
        await asyncio.gather(*(play(self._store, VERSIONS, now_ms) for _ in range(entries // VERSIONS)))

    async def measure(self, database_url: str, count: int) -> float:
        """Drain the outbox; return the versions per second."""
        writer = AuditDatabase(database_url, self._settings.key_prefix)
        await writer.open()
        await writer.check_reachable()  # the connection is not a part of the rate
        drain = OutboxDrain(
            self.outbox,
            FailedEntries(self._pipe, self._keys),
            writer,
            session_ttl_s=self._settings.session_ttl_s,
            after_commit=SummaryRefresh(self._pipe, self._keys).apply_audited_rows,
        )
        began = time.perf_counter()
        moved = await drain.drain_partition(0)
        rate = moved / (time.perf_counter() - began)
        assert moved == count
        assert await self.outbox.is_empty(0)
        await writer.close()
        return rate


# -- the delay --------------------------------------------------------------------------------------------------------


async def switch_until(base_url: str, sessions: list[str], until_s: float) -> int:
    """Switch the sessions in turn on one connection until the instant `until_s`. Return the number of switches."""
    connection = await HttpConnection.open(base_url)
    count = 0
    while time.perf_counter() < until_s:
        status, answer = await connection.post(f"/v1/sessions/{sessions[count % len(sessions)]}/switch")
        assert status == 200, answer
        count += 1
    connection.close()
    return count


async def measure_lag(seconds: float, concurrency: int) -> dict[str, Any]:
    async with valkey_and_postgres() as (settings, postgres):
        with server_and_worker(settings) as server:
            connection = await HttpConnection.open(server.base_url)
            sessions = [await start_session_by_rest(connection) for _ in range(concurrency * 8)]
            connection.close()
            async with RedisPipe(settings.redis_url, settings.redis_timeout_s) as pipe:
                outbox = Outbox(pipe, Keys(settings.key_prefix, settings.partitions))
                ages: list[int] = []
                monitoring = asyncio.create_task(_poll_age(outbox, ages))
                until_s = time.perf_counter() + seconds
                shares = (sessions[first::concurrency] for first in range(concurrency))
                counts = await asyncio.gather(*(switch_until(server.base_url, share, until_s) for share in shares))
                monitoring.cancel()
                await eventually(lambda: outbox.is_empty(0))
            with psycopg.connect(postgres.url) as database:
                row = database.execute(
                    "SELECT count(*), percentile_disc(ARRAY[0.5, 0.99, 1]) WITHIN GROUP (ORDER BY lag) FROM ("
                    " SELECT (extract(epoch FROM recorded_at - occurred_at) * 1000)::int AS lag FROM sync_events"
                    " WHERE event_type = 'cycle_switched') AS lags"
                ).fetchone()
    assert row is not None
    assert row[0] == sum(counts), (row, sum(counts))
    return {
        "switches_per_s": round(sum(counts) / seconds),
        "delay_of_a_version_ms": dict(zip(("p50", "p99", "max"), row[1], strict=True)),
        "oldest_age_ms": {"p50": percentile(ages, 50), "p99": percentile(ages, 99), "max": max(ages)},
    }


async def _poll_age(outbox: Outbox, ages: list[int]) -> None:
    while True:
        ages.append((await outbox.measure_backlog()).oldest_age_ms)
        await asyncio.sleep(POLL_S)


# -- reading ----------------------------------------------------------------------------------------------------------


async def measure_reads(sessions: int) -> dict[str, Any]:
    async with valkey_and_postgres() as (settings, postgres):
        insert_sessions(postgres.url, sessions, size=32)
        async with open_history_pool(settings) as pool:
            history = HistoryReader(pool, ColdStorage(settings.archive_url))
            figures = {name: await measure_read(read) for name, read in reads(history, sessions).items()}
    return {"events": sessions * 100, "p50_ms": figures}


def reads(history: HistoryReader, sessions: int) -> dict[str, Callable[[], Awaitable[object]]]:
    """Return the measured reads by name. Each call of a read uses a random session or participant."""
    first_ms = 1_767_225_600_000  # the first instant of the rows that `fill` writes

    def session_id() -> str:
        return _uuid_from(f"s{random.randint(1, sessions)}")

    def participant_id() -> str:
        return _uuid_from(f"p{random.randrange(1000)}")

    def instant() -> int:
        return first_ms + random.randrange(sessions * 60_000)

    month_ms = 30 * 86_400_000
    return {
        "latest": lambda: history.read_latest_version(session_id()),
        "state_at": lambda: history.read_version_at_instant(session_id(), instant()),
        "events": lambda: history.read_events_page(session_id()),
        "sessions": lambda: history.read_sessions_page(),
        "participant_sessions": lambda: history.participant_sessions.read_page(participant_id(), since_ms=first_ms),
        "participant_time": lambda: history.used_time.sum_by_bucket(
            TimeReportSpec(first_ms, first_ms + month_ms, first_ms + month_ms, participant_ids=(participant_id(),))
        ),
    }


async def measure_read(read: Callable[[], Awaitable[object]]) -> float:
    durations_s: list[float] = []
    for _ in range(READS):
        began = time.perf_counter()
        await read()
        durations_s.append(time.perf_counter() - began)
    return round(statistics.median(durations_s) * 1000, 2)


def _uuid_from(text: str) -> str:
    return str(UUID(md5(text.encode(), usedforsecurity=False).hexdigest()))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtests audit", description=__doc__)
    parser.add_argument("--only", choices=("drain", "lag", "reads"))
    parser.add_argument("--pooler", action="store_true", help="compare the drain through PgBouncer with a direct one")
    parser.add_argument("--entries", type=int, default=60_000, help="entries of the full outbox")
    parser.add_argument("--seconds", type=float, default=10, help="seconds of switches")
    parser.add_argument("--concurrency", type=int, default=32, help="connections that switch")
    parser.add_argument("--sessions", type=int, default=10_000, help="sessions in Postgres, with a hundred events each")
    options = parser.parse_args()
    if options.pooler:
        run_measurements("audit", None, {"pooler": lambda: measure_pooler(options.entries)})
        return
    run_measurements(
        "audit",
        options.only,
        {
            "drain": lambda: measure_drain(options.entries),
            "lag": lambda: measure_lag(options.seconds, options.concurrency),
            "reads": lambda: measure_reads(options.sessions),
        },
    )
