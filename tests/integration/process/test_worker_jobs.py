"""Background jobs in worker processes: each job runs once, parallel to drains, and survives a worker's death."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from synckairos.config import Settings
from synckairos.jobs.enqueue import JobQueue
from synckairos.jobs.table import Job, JobTable
from tests.integration.audit_parts import AuditParts
from tests.integration.callers import NamedCallers, as_caller
from tests.integration.jobs.job_components import finish_and_drain, finish_session
from tests.integration.rest_server import chess_body, open_rest_server
from tests.integration.tenants.stored_data import read_stored_data
from tests.integration.tenants.tenant_nodes import open_tenant_node
from tests.processes import Process
from tests.waiting import eventually


@pytest.fixture
def start_worker(audit: AuditParts) -> Iterator[Callable[[], Process]]:
    started: list[Process] = []

    def start() -> Process:
        started.append(Process("worker", env=audit.settings.to_environment_variables()))
        return started[-1]

    yield start
    for process in started:
        process.stop()


async def wait_until_ended(job_table: JobTable, job_id: int | None) -> Job:
    assert job_id is not None

    async def find_ended() -> Job | None:
        job = await job_table.get(job_id)
        return job if job is not None and job.status in ("done", "failed") else None

    job = await eventually(find_ended)
    assert job is not None
    return job


async def wait_until_running(job_table: JobTable, job_id: int | None) -> None:
    async def is_running() -> bool:
        job = await job_table.get(job_id or 0)
        return job is not None and job.status == "running"

    await eventually(is_running)


@asynccontextmanager
async def archive_jobs_blocked(audit: AuditParts) -> AsyncIterator[None]:
    """Block all archive jobs in the middle of their work, inside the block."""
    async with await psycopg.AsyncConnection.connect(audit.settings.database_url) as connection:
        await connection.execute("LOCK TABLE sync_archives IN EXCLUSIVE MODE")
        yield


async def test_a_worker_runs_the_queued_jobs(
    audit: AuditParts, job_table: JobTable, job_queue: JobQueue, start_worker: Callable[[], Process]
) -> None:
    life = await finish_and_drain(audit)
    unknown = str(uuid4())
    refused = await job_queue.enqueue("archive", {"session_id": unknown})
    archive = await job_queue.enqueue("archive", {"session_id": life.session_id})
    span = {"from": "2023-11-14T00:00:00Z", "to": "2023-11-16T00:00:00Z"}
    export = await job_queue.enqueue("export", span)
    start_worker()
    job = await wait_until_ended(job_table, archive)
    assert (job.status, job.attempts, job.error) == ("done", 1, None)
    assert job.result is not None
    assert job.result["events"] == 6
    assert (Path(audit.settings.archive_url) / job.result["path"]).is_file()
    assert job.duration_ms is not None
    job = await wait_until_ended(job_table, export)
    assert job.result is not None
    assert (job.status, job.result["events"]) == ("done", 6)
    job = await wait_until_ended(job_table, refused)
    assert (job.status, job.attempts) == ("failed", 1)
    assert unknown in (job.error or "")


async def test_another_worker_runs_the_job_of_a_killed_one(
    audit: AuditParts, job_table: JobTable, job_queue: JobQueue, start_worker: Callable[[], Process]
) -> None:
    life = await finish_and_drain(audit)
    job_id = await job_queue.enqueue("archive", {"session_id": life.session_id})
    async with archive_jobs_blocked(audit):
        first = start_worker()
        await wait_until_running(job_table, job_id)
        first.kill()
    start_worker().wait_for_line(lambda line: "worker started" in line)
    assert (await audit.rows("SELECT status::text, attempts FROM background_jobs")) == [("running", 1)]
    await audit.database.execute("UPDATE background_jobs SET lease_until = now()")
    job = await wait_until_ended(job_table, job_id)
    assert (job.status, job.attempts) == ("done", 2)
    assert job.worker is not None
    assert not job.worker.endswith(f":{first.pid}")
    (record,) = await audit.history.read_archive_records(life.session_id)
    latest = await audit.history.cold_reader.read_latest_version([record])
    assert latest.snapshot.document == life.documents[life.state.version]


async def test_a_worker_that_stops_releases_its_job(
    audit: AuditParts, job_table: JobTable, job_queue: JobQueue, start_worker: Callable[[], Process]
) -> None:
    life = await finish_and_drain(audit)
    job_id = await job_queue.enqueue("archive", {"session_id": life.session_id})
    async with archive_jobs_blocked(audit):
        process = start_worker()
        await wait_until_running(job_table, job_id)
        assert process.stop() == 0
        assert (await audit.rows("SELECT status::text, attempts FROM background_jobs")) == [("queued", 0)]
    start_worker()
    job = await wait_until_ended(job_table, job_id)
    assert (job.status, job.attempts) == ("done", 1)


async def test_drains_run_while_all_jobs_are_blocked(
    audit: AuditParts, job_table: JobTable, job_queue: JobQueue, start_worker: Callable[[], Process]
) -> None:
    life = await finish_and_drain(audit)
    job_ids = [await job_queue.enqueue("archive", {"session_id": life.session_id}) for _ in range(5)]
    async with archive_jobs_blocked(audit):
        start_worker()
        await wait_until_running(job_table, job_ids[0])
        await finish_session(audit.committer)
        await eventually(lambda: audit.outbox.is_empty(0))
        assert await audit.rows("SELECT DISTINCT status::text FROM background_jobs ORDER BY 1") == [
            ("queued",),
            ("running",),
        ]


async def test_a_worker_archives_and_removes_ended_sessions_on_schedule(audit: AuditParts, job_table: JobTable) -> None:
    lives = [await finish_and_drain(audit) for _ in range(3)]
    settings = audit.settings.model_copy(update={"archive_after_s": 1, "retention_s": 1})
    process = Process("worker", env=settings.to_environment_variables())
    try:

        async def are_sessions_removed() -> bool:
            return not await audit.rows("SELECT 1 FROM sync_sessions")

        async def are_jobs_done() -> bool:
            return {job.status for job in await job_table.list_jobs()} == {"done"}

        await eventually(are_sessions_removed)
        await eventually(are_jobs_done)
    finally:
        process.stop()
    for life in lives:
        (record,) = await audit.history.read_archive_records(life.session_id)
        assert record.removed
    assert {job.type for job in await job_table.list_jobs()} == {"archive", "retention"}


async def test_another_worker_continues_the_deletion_of_a_tenant(
    settings: Settings, audit: AuditParts, job_table: JobTable, start_worker: Callable[[], Process]
) -> None:
    async with open_rest_server(settings, caller_identity=NamedCallers()) as server:
        body = chess_body()
        for tenant in ("acme", "other"):
            answer = await server.client.post("/v1/sessions", json=body, headers=as_caller("admin", tenant=tenant))
            assert answer.status_code == 201, answer.text
    await audit.drain()
    before = await read_stored_data(settings, audit.pipe, "other")
    async with open_tenant_node(settings) as node:
        await node.add("acme")
        await node.tenants.delete("acme")
    # As if the tenant was closed a minute ago, so that the worker does not wait until all instances know of it.
    await audit.database.execute("UPDATE sync_tenants SET updated_at = updated_at - interval '1 minute'")

    async def is_blocked_in_the_middle() -> bool:
        return await audit.rows(
            "SELECT (SELECT count(*) FROM sync_events WHERE tenant = 'acme'),"
            " count(*) FROM pg_locks WHERE relation = 'sync_participants'::regclass AND NOT granted"
        ) == [(0, 1)]

    async with await psycopg.AsyncConnection.connect(settings.database_url) as connection:
        await connection.execute("LOCK TABLE sync_participants IN SHARE MODE")
        first = start_worker()
        await eventually(is_blocked_in_the_middle)
        first.kill()
    (job,) = await job_table.list_jobs()
    assert (job.status, job.attempts, job.result) == ("running", 1, {"keys": 3, "sync_events": 1, "sync_sessions": 1})
    await audit.database.execute("UPDATE background_jobs SET lease_until = now()")
    start_worker()
    job = await wait_until_ended(job_table, job.job_id)
    assert (job.status, job.attempts, job.error) == ("done", 2, None)
    assert await audit.rows("SELECT status FROM sync_tenants") == [("deleted",)]
    assert (await read_stored_data(settings, audit.pipe, "acme")).is_empty
    assert await read_stored_data(settings, audit.pipe, "other") == before
