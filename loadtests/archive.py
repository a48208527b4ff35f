"""Load test of cold storage: rate of archiving, duration of reads of archives, and cost of an export.

Prints three lines. `archive` writes finished sessions to a local folder. It is compared with a bare loop that selects
the same documents, compresses them and writes one file for each session. `read` reads archives from a server, compared
with plain reads of the same sessions. `export` exports a large time range. It measures the memory, and the longest time
for which the export blocks the event loop.
"""

import argparse
import asyncio
import random
import resource
import shutil
import time
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psycopg

from loadtests.http_client import HttpConnection
from loadtests.report import percentile, run_measurements
from loadtests.stores import valkey_and_postgres
from synckairos.admin.members import open_member_changes
from synckairos.audit.batch_writer import AuditDatabase
from synckairos.audit.drain import OutboxDrain
from synckairos.config import Settings
from synckairos.embedded import create_temporary_dir
from synckairos.history.cold.object_store import ColdStorage
from synckairos.history.participant_sessions.update_after_drain import SummaryRefresh
from synckairos.jobs.handlers import JobHandlers
from synckairos.jobs.table import ClaimedJob, JobTable, open_job_pool
from synckairos.members.reconciliation_job import MemberReconciliationJob
from synckairos.store.failed_entries import FailedEntries
from synckairos.store.keys import Keys
from synckairos.store.outbox import Outbox
from synckairos.store.sessions import SessionStore
from synckairos.store.shared_connection import RedisPipe
from synckairos.tenants.deletion import TenantDeletion
from synckairos.tenants.table import TenantTable
from tests.integration.jobs.job_components import finish_session
from tests.integration.postgres.generated_rows import insert_sessions
from tests.integration.session_committer import SessionCommitter
from tests.processes import spawn_server

VERSIONS = 100
INTERVAL_S = 0.001


@asynccontextmanager
async def open_cold_storage() -> AsyncIterator[tuple[Settings, JobHandlers, SessionStore, OutboxDrain]]:
    """Start stores and create a folder for archives. Yield the settings and the components that jobs need."""
    folder = create_temporary_dir()
    try:
        async with valkey_and_postgres() as (found, _):
            settings = found.model_copy(update={"archive_url": str(folder)})
            keys = Keys(settings.key_prefix, settings.partitions)
            audit_writer = AuditDatabase(settings.database_url, settings.key_prefix)
            await audit_writer.open()
            async with (
                RedisPipe(settings.redis_url, settings.redis_timeout_s) as pipe,
                open_job_pool(settings.database_url) as pool,
            ):
                outbox, store = Outbox(pipe, keys), SessionStore(pipe, keys, settings.history_length)
                drain = OutboxDrain(
                    outbox, FailedEntries(pipe, keys), audit_writer, session_ttl_s=settings.session_ttl_s
                )
                cold_storage, summary_refresh = ColdStorage(settings.archive_url), SummaryRefresh(pipe, keys)
                deletion = TenantDeletion.on_stores(pool, pipe, keys, cold_storage)
                handlers = JobHandlers(
                    pool,
                    cold_storage,
                    JobTable(pool),
                    store,
                    outbox,
                    summary_refresh,
                    MemberReconciliationJob.from_settings(
                        settings, pool, partial(open_member_changes, settings), TenantTable(pool).is_deleted
                    ).run,
                    deletion.delete,
                )
                yield settings, handlers, store, drain
            await audit_writer.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def play(store: SessionStore, drain: OutboxDrain, sessions: int) -> list[str]:
    """Store finished sessions with a hundred versions that ended an hour ago, and drain them. Return their ids."""
    committer, at_ms = SessionCommitter(store), await store.now_ms() - 3_600_000
    lives = await asyncio.gather(*(finish_session(committer, VERSIONS - 3, at_ms) for _ in range(sessions)))
    assert await drain.drain_partition(0) == sessions * VERSIONS
    return [life.session_id for life in lives]


async def measure_archive(sessions: int) -> dict[str, Any]:
    async with open_cold_storage() as (settings, handlers, store, drain):
        ids = await play(store, drain, sessions)
        async with await psycopg.AsyncConnection.connect(settings.database_url, autocommit=True) as connection:
            began = time.perf_counter()
            for session_id in ids:
                await bare_archive(connection, Path(settings.archive_url, f"{session_id}.bare"), session_id)
            bare = sessions / (time.perf_counter() - began)
        began = time.perf_counter()
        result = await handlers.run(ClaimedJob(1, "archive", {"after_s": 0}, 1, "load test"))
        rate = sessions / (time.perf_counter() - began)
        assert result == {"done": sessions, "left": 0, "failed": 0}
        began = time.perf_counter()
        result = await handlers.run(ClaimedJob(2, "retention", {"after_s": 0}, 1, "load test"))
        retained = sessions / (time.perf_counter() - began)
        assert result == {"done": sessions, "left": 0, "failed": 0}
        with psycopg.connect(settings.database_url) as database:
            found = database.execute("SELECT avg(size_bytes)::int FROM sync_archives").fetchone()
            left = database.execute("SELECT count(*) FROM sync_events").fetchone()
        assert left == (0,)
    return {
        "sessions": sessions,
        "versions_each": VERSIONS,
        "bytes_each": found and found[0],
        "archived_per_s": round(rate),
        "bare_per_s": round(bare),
        "rate_to_bare": round(rate / bare, 2),
        "verified_and_removed_per_s": round(retained),
    }


async def bare_archive(connection: psycopg.AsyncConnection, place: Path, session_id: str) -> None:
    """Select the documents of a session, compress them, and write one file."""
    cursor = await connection.execute(
        "SELECT snapshot FROM sync_events WHERE session_id = %s ORDER BY version", [session_id], binary=True
    )
    content = zlib.compress(b"\n".join([row[0] for row in await cursor.fetchall()]), 6)
    await asyncio.to_thread(place.write_bytes, content)


async def measure_read(sessions: int, reads: int) -> dict[str, Any]:
    async with open_cold_storage() as (settings, handlers, store, drain):
        ids = await play(store, drain, sessions)
        await handlers.run(ClaimedJob(1, "archive", {"after_s": 0}, 1, "load test"))
        server = spawn_server(settings)
        try:
            connection = await HttpConnection.open(server.base_url)
            figures = {}
            for name, path in (
                ("session", ""),
                ("archive", "/archive"),
                ("archive_with_states", "/archive?snapshots=1"),
            ):
                taken: list[float] = []
                for _ in range(reads):
                    began = time.perf_counter()
                    status, _answer = await connection.get(f"/v1/sessions/{random.choice(ids)}{path}")
                    taken.append((time.perf_counter() - began) * 1000)
                    assert status == 200
                figures[name] = {f"p{each}": round(percentile(taken, each), 2) for each in (50, 99)}
            connection.close()
        finally:
            server.stop()
    return {"sessions": sessions, "versions_each": VERSIONS, "ms": figures}


async def measure_export(sessions: int) -> dict[str, Any]:
    async with open_cold_storage() as (settings, handlers, _, _):
        await asyncio.to_thread(insert_sessions, settings.database_url, sessions)
        delays: list[float] = []
        monitoring = asyncio.create_task(measure_loop_delays(delays))
        before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        figures = {}
        for format_ in ("ndjson", "csv"):
            began = time.perf_counter()
            params = {"from": "2026-01-01T00:00:00Z", "to": "2027-01-01T00:00:00Z", "format": format_}
            result = await handlers.run(ClaimedJob(1, "export", params, 1, "load test"))
            assert result["events"] == sessions * 100
            figures[f"{format_}_per_s"] = round(sessions * 100 / (time.perf_counter() - began))
        monitoring.cancel()
        grown_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb
    return {
        "events": sessions * 100,
        **figures,
        "memory_grown_mb": round(grown_kb / 1024, 1),
        "loop_delay_ms": {"p99": percentile(delays, 99), "max": max(delays)},
    }


async def measure_loop_delays(delays: list[float]) -> None:
    """Append the delay of the event loop in milliseconds to `delays`, repeatedly until cancelled."""
    while True:
        began = time.perf_counter()
        await asyncio.sleep(INTERVAL_S)
        delays.append(round((time.perf_counter() - began - INTERVAL_S) * 1000, 1))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtests archive", description=__doc__)
    parser.add_argument("--only", choices=("archive", "read", "export"))
    parser.add_argument("--sessions", type=int, default=300, help="sessions to archive and to read")
    parser.add_argument("--reads", type=int, default=500, help="reads of each kind")
    parser.add_argument("--exported", type=int, default=10_000, help="sessions to export")
    options = parser.parse_args()
    run_measurements(
        "archive",
        options.only,
        {
            "archive": lambda: measure_archive(options.sessions),
            "read": lambda: measure_read(options.sessions, options.reads),
            "export": lambda: measure_export(options.exported),
        },
    )
