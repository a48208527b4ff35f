"""Load test of retention with live sessions: its rate, its cost, and the delay of the drain at the same time.

Postgres has many finished sessions of ten versions. A server handles switches at a constant rate. First the worker only
drains. Then it also archives, verifies and removes sessions. The figures are the delay of each version, the number of
removed sessions, the longest transaction of a job, and the growth of the worker's memory. At the end, the load test
measures how long a worker needs to find that there is nothing to archive. A worker makes this check every 30 seconds.
"""

import argparse
import asyncio
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import uvloop

from loadtests.http_client import HttpConnection
from loadtests.report import print_result
from loadtests.sessions import start_session_by_rest
from loadtests.stores import valkey_and_postgres
from synckairos.config import Settings
from synckairos.jobs.table import JobTable, open_job_pool
from tests.processes import Process, spawn_server
from tests.waiting import eventually

VERSIONS = 10
CONNECTIONS = 8
POLL_S = 0.1

FILL = """
INSERT INTO sync_sessions
SELECT md5('s' || n)::uuid, 'e', %(versions)s, 'per_participant', 'completed', at, at, at + interval '5 min',
    at + interval '5 min', NULL, '{}'
FROM generate_series(1, %(sessions)s) AS n, LATERAL (SELECT timestamptz '2026-01-01' + n * interval '1 s' AS at) AS t;

INSERT INTO sync_events (session_id, epoch, version, occurred_at, event_type, status, payload_hash, snapshot)
SELECT
    s.session_id, 'e', v, s.created_at + v * interval '30 s', 'metadata_updated', 'completed', sha256(document),
    document
FROM sync_sessions AS s
CROSS JOIN generate_series(1, %(versions)s) AS v
CROSS JOIN LATERAL (
    SELECT convert_to(
        '{"participants":[],"filler":"' || repeat(md5(s.session_id::text || v), 32) || '"}', 'UTF8'
    ) AS document
) AS made;
"""


def fill(database_url: str, sessions: int) -> None:
    """Insert `sessions` finished sessions, as the drain writes them."""
    with psycopg.ClientCursor(psycopg.connect(database_url, autocommit=True)) as cursor:
        cursor.execute(FILL, {"sessions": sessions, "versions": VERSIONS})
        cursor.execute("VACUUM ANALYZE sync_sessions, sync_events")
        cursor.connection.close()


async def switch_at_rate(base_url: str, sessions: list[str], per_s: float, until: float) -> int:
    """Switch the sessions in turn at a constant rate on one connection. Return the number of switches."""
    connection = await HttpConnection.open(base_url)
    count, next_s = 0, time.perf_counter()
    while next_s < until:
        await asyncio.sleep(max(0.0, next_s - time.perf_counter()))
        status, answer = await connection.post(f"/v1/sessions/{sessions[count % len(sessions)]}/switch")
        assert status == 200, answer
        count, next_s = count + 1, next_s + 1 / per_s
    connection.close()
    return count


class WorkerMonitor:
    """Monitor that polls the memory of a worker and the transactions of its jobs."""

    def __init__(self, database_url: str, worker: Process) -> None:
        self.longest_s = 0.0
        self.first_kb = self.largest_kb = _resident_kb(worker.pid)
        self._url, self._pid = database_url, worker.pid

    async def run(self) -> None:
        async with await psycopg.AsyncConnection.connect(self._url, autocommit=True) as connection:
            while True:
                self.largest_kb = max(self.largest_kb, _resident_kb(self._pid))
                row = await (
                    await connection.execute(
                        "SELECT coalesce(max(extract(epoch FROM clock_timestamp() - xact_start)), 0)::float8"
                        " FROM pg_stat_activity WHERE application_name = 'synckairos 2 jobs' AND xact_start IS NOT NULL"
                    )
                ).fetchone()
                self.longest_s = max(self.longest_s, row[0] if row else 0.0)
                await asyncio.sleep(POLL_S)


def _resident_kb(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


async def measure(sessions: int, seconds: float, per_s: float) -> dict[str, Any]:
    async with valkey_and_postgres() as (found, postgres):
        settings = found.model_copy(update={"archive_url": str(Path(postgres.data_dir).parent / "archive")})
        await asyncio.to_thread(fill, postgres.url, sessions)
        worker = Process("worker", env=settings.to_environment_variables())
        server = spawn_server(settings)
        try:
            connection = await HttpConnection.open(server.base_url)
            live = [await start_session_by_rest(connection) for _ in range(CONNECTIONS * 4)]
            connection.close()
            shares = [live[at::CONNECTIONS] for at in range(CONNECTIONS)]
            figures = {}
            async with open_job_pool(settings.database_url) as pool:
                for phase in ("alone", "beside_retention"):
                    if phase != "alone":
                        await JobTable(pool).add_unless_queued("retention", {"after_s": 86_400})
                        await eventually(lambda: asyncio.to_thread(_removed_count, postgres.url), 60)
                    monitor = WorkerMonitor(postgres.url, worker)
                    monitoring = asyncio.create_task(monitor.run())
                    before, since = _removed_count(postgres.url), time.perf_counter()
                    counts = await asyncio.gather(
                        *(
                            switch_at_rate(server.base_url, share, per_s / CONNECTIONS, since + seconds)
                            for share in shares
                        )
                    )
                    took = time.perf_counter() - since
                    monitoring.cancel()
                    with suppress(asyncio.CancelledError):
                        await monitoring
                    figures[phase] = {
                        "switches_per_s": round(sum(counts) / took),
                        "delay_ms": _delays(postgres.url, took),
                        "retained_per_s": round((_removed_count(postgres.url) - before) / took, 1),
                        "longest_transaction_ms": round(monitor.longest_s * 1000),
                        "memory_grown_mb": round((monitor.largest_kb - monitor.first_kb) / 1024, 1),
                    }
        finally:
            server.stop()
            worker.stop()
        check_ms = await _measure_empty_check(settings)
    return {"sessions": sessions, "versions_each": VERSIONS, **figures, "nothing_to_archive_ms": check_ms}


def _removed_count(database_url: str) -> int:
    with psycopg.connect(database_url) as connection:
        row = connection.execute("SELECT count(*) FROM sync_archives WHERE removed_at IS NOT NULL").fetchone()
    return int(row[0]) if row else 0


def _delays(database_url: str, seconds: float) -> dict[str, int]:
    """Return the delays, in milliseconds, until the versions of the last `seconds` seconds were in Postgres."""
    with psycopg.connect(database_url) as connection:
        row = connection.execute(
            "SELECT percentile_disc(ARRAY[0.5, 0.99, 1]) WITHIN GROUP"
            " (ORDER BY (extract(epoch FROM recorded_at - occurred_at) * 1000)::int) FROM sync_events"
            " WHERE event_type = 'cycle_switched' AND recorded_at > now() - make_interval(secs => %s)",
            [seconds],
        ).fetchone()
    assert row is not None
    return dict(zip(("p50", "p99", "max"), row[0], strict=True))


async def _measure_empty_check(settings: Settings) -> float:
    """Mark all sessions as archived. Return the milliseconds of the check for unarchived sessions after this."""
    with psycopg.connect(settings.database_url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO sync_archives (session_id, created_at, status, epoch, version, path)"
            " SELECT session_id, created_at, 'ready', epoch, version, 'x' FROM sync_sessions"
            " ON CONFLICT (session_id, created_at) DO UPDATE SET"
            " epoch = excluded.epoch, version = excluded.version, error = NULL"
        )
        connection.execute("UPDATE sync_sessions SET archived = true")
        connection.execute("VACUUM ANALYZE sync_archives, sync_sessions")
    async with open_job_pool(settings.database_url) as pool:
        job_table = JobTable(pool)
        await job_table.find_tenants_with_work("retention", 0)
        began = time.perf_counter()
        assert not await job_table.find_tenants_with_work("archive", 86_400)
        return round((time.perf_counter() - began) * 1000, 1)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtests retention", description=__doc__)
    parser.add_argument("--sessions", type=int, default=100_000, help="number of finished sessions")
    parser.add_argument("--seconds", type=float, default=20, help="seconds of each of the two phases")
    parser.add_argument("--rate", type=float, default=500, help="switches per second")
    options = parser.parse_args()
    print_result("retention", uvloop.run(measure(options.sessions, options.seconds, options.rate)))
