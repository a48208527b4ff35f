"""Background jobs: each once, each on its own, and none forgotten, whoever dies over it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from synckairos.clock.commands import UpdateMetadata
from synckairos.config import LONGEST_S
from synckairos.errors import StoreUnavailable, ValidationFailed
from synckairos.jobs.enqueue import JobQueue
from synckairos.jobs.retention import ArchiveIncomplete
from synckairos.jobs.runner import JobRunner, PermanentJobFailure
from synckairos.jobs.table import Job, JobClaim, JobTable, open_job_pool
from synckairos.jobs.wakeups import JobWakeups
from tests.integration.audit_parts import AuditParts
from tests.integration.jobs.job_components import T0, JobComponents, finished, open_job_components
from tests.integration.session_committer import SessionLife
from tests.processes import Process
from tests.waiting import eventually


@pytest.fixture
async def cold(audit: AuditParts) -> AsyncIterator[JobComponents]:
    async with open_job_components(audit) as opened:
        yield opened


@pytest.fixture
def job_table(cold: JobComponents) -> JobTable:
    return cold.job_table


@pytest.fixture
async def job_queue(audit: AuditParts, job_table: JobTable) -> AsyncIterator[JobQueue]:
    wakeups = JobWakeups(audit.settings.queue_redis_url, audit.settings.key_prefix)
    yield JobQueue(job_table, wakeups)
    await wakeups.close()


@pytest.fixture
def start_worker(audit: AuditParts) -> Iterator[Callable[[], Process]]:
    started: list[Process] = []

    def start() -> Process:
        started.append(Process("worker", env=audit.settings.environ()))
        return started[-1]

    yield start
    for process in started:
        process.stop()


async def drained(audit: AuditParts) -> SessionLife:
    life = await finished(audit.committer)
    await audit.drain()
    return life


async def ended(job_table: JobTable, job_id: int | None) -> Job:
    assert job_id is not None

    async def look() -> Job | None:
        job = await job_table.get(job_id)
        return job if job is not None and job.status in ("done", "failed") else None

    job = await eventually(look)
    assert job is not None
    return job


async def began(job_table: JobTable, job_id: int | None) -> None:
    async def look() -> bool:
        job = await job_table.get(job_id or 0)
        return job is not None and job.status == "running"

    await eventually(look)


@asynccontextmanager
async def archiving_held_up(audit: AuditParts) -> AsyncIterator[None]:
    """Have every archive job wait in the midst of its work."""
    async with await psycopg.AsyncConnection.connect(audit.settings.database_url) as connection:
        await connection.execute("LOCK TABLE sync_archives IN EXCLUSIVE MODE")
        yield


# -- by workers -------------------------------------------------------------------------------------------------------


async def test_a_worker_carries_out_what_was_queued(
    audit: AuditParts, job_table: JobTable, job_queue: JobQueue, start_worker: Callable[[], Process]
) -> None:
    life = await drained(audit)
    unknown = str(uuid4())
    refused = await job_queue.enqueue("archive", {"session_id": unknown})
    archive = await job_queue.enqueue("archive", {"session_id": life.session_id})
    span = {"from": "2023-11-14T00:00:00Z", "to": "2023-11-16T00:00:00Z"}
    export = await job_queue.enqueue("export", span)
    start_worker()
    job = await ended(job_table, archive)
    assert (job.status, job.attempts, job.error) == ("done", 1, None)
    assert job.result is not None
    assert job.result["events"] == 6
    assert (Path(audit.settings.archive_url) / job.result["path"]).is_file()
    assert job.duration_ms is not None
    job = await ended(job_table, export)
    assert job.result is not None
    assert (job.status, job.result["events"]) == ("done", 6)
    job = await ended(job_table, refused)
    assert (job.status, job.attempts) == ("failed", 1)
    assert unknown in (job.error or "")


async def test_another_worker_does_what_a_killed_one_left(
    audit: AuditParts, job_table: JobTable, job_queue: JobQueue, start_worker: Callable[[], Process]
) -> None:
    life = await drained(audit)
    job_id = await job_queue.enqueue("archive", {"session_id": life.session_id})
    async with archiving_held_up(audit):
        first = start_worker()
        await began(job_table, job_id)
        first.kill()
    start_worker().wait_for_line(lambda line: "worker started" in line)
    assert (await audit.rows("SELECT status::text, attempts FROM background_jobs")) == [("running", 1)]
    await audit.database.execute("UPDATE background_jobs SET lease_until = now()")
    job = await ended(job_table, job_id)
    assert (job.status, job.attempts) == ("done", 2)
    assert job.worker is not None
    assert not job.worker.endswith(f":{first.pid}")
    (filed,) = await audit.history.archive_records(life.session_id)
    assert (await audit.history.cold_reader.latest_version([filed])).snapshot.document == life.documents[
        life.state.version
    ]


async def test_one_that_stops_gives_back_what_it_began(
    audit: AuditParts, job_table: JobTable, job_queue: JobQueue, start_worker: Callable[[], Process]
) -> None:
    life = await drained(audit)
    job_id = await job_queue.enqueue("archive", {"session_id": life.session_id})
    async with archiving_held_up(audit):
        process = start_worker()
        await began(job_table, job_id)
        assert process.stop() == 0
        assert (await audit.rows("SELECT status::text, attempts FROM background_jobs")) == [("queued", 0)]
    start_worker()
    job = await ended(job_table, job_id)
    assert (job.status, job.attempts) == ("done", 1)


async def test_drains_do_not_wait_behind_jobs(
    audit: AuditParts, job_table: JobTable, job_queue: JobQueue, start_worker: Callable[[], Process]
) -> None:
    life = await drained(audit)
    job_ids = [await job_queue.enqueue("archive", {"session_id": life.session_id}) for _ in range(5)]
    async with archiving_held_up(audit):
        start_worker()
        await began(job_table, job_ids[0])
        await finished(audit.committer)
        await eventually(lambda: audit.outbox.is_empty(0))
        assert await audit.rows("SELECT DISTINCT status::text FROM background_jobs ORDER BY 1") == [
            ("queued",),
            ("running",),
        ]


async def test_sessions_are_archived_and_leave_by_themselves(audit: AuditParts, job_table: JobTable) -> None:
    lives = [await drained(audit) for _ in range(3)]
    settings = audit.settings.model_copy(update={"archive_after_s": 1, "retention_s": 1})
    process = Process("worker", env=settings.environ())
    try:

        async def gone() -> bool:
            return not await audit.rows("SELECT 1 FROM sync_sessions")

        async def at_rest() -> bool:
            return {job.status for job in await job_table.list_jobs()} == {"done"}

        await eventually(gone)
        await eventually(at_rest)
    finally:
        process.stop()
    for life in lives:
        (filed,) = await audit.history.archive_records(life.session_id)
        assert filed.removed
    assert {job.type for job in await job_table.list_jobs()} == {"archive", "retention"}


# -- the job table and the runner -------------------------------------------------------------------------------------


async def run(job_table: JobTable, carry_out: Callable[[JobClaim], Any], job_id: int | None, times: int = 1) -> Job:
    runner = JobRunner(job_table, carry_out, "somebody", retry_s=(0, 0))
    assert job_id is not None
    for _ in range(times):
        await runner.run_job(job_id)
    job = await job_table.get(job_id)
    assert job is not None
    return job


async def failing(claim: JobClaim) -> Mapping[str, Any]:
    raise LookupError(f"attempt {claim.attempts}")


async def working(claim: JobClaim) -> Mapping[str, Any]:
    return {"attempt": claim.attempts}


async def refusing(claim: JobClaim) -> Mapping[str, Any]:
    raise PermanentJobFailure("no use")


async def test_a_job_is_tried_three_times_and_then_raises_an_alarm(
    job_table: JobTable, job_queue: JobQueue, caplog: pytest.LogCaptureFixture
) -> None:
    failed = await job_queue.enqueue("archive", {"after_s": 1})
    other = await job_queue.enqueue("archive", {"after_s": 2})
    for attempt in (1, 2):
        job = await run(job_table, failing, failed)
        assert (job.status, job.attempts) == ("queued", attempt)
    job = await run(job_table, failing, failed)
    assert (job.status, job.attempts, job.error) == ("failed", 3, "LookupError: attempt 3")
    assert [record.name for record in caplog.records if "job failed" in record.getMessage()] == [
        "synckairos.telemetry.alerts"
    ]
    assert (await run(job_table, failing, failed)).attempts == 3
    job = await run(job_table, working, other)
    assert (job.status, job.result) == ("done", {"attempt": 1})
    due = await job_queue.retry(job_id=failed or 0)
    assert due is not None
    assert await job_queue.retry(other or 0) is None
    job = await run(job_table, working, failed)
    assert (job.status, job.attempts, job.error) == ("done", 1, None)


async def test_it_waits_longer_before_each_attempt(job_table: JobTable, job_queue: JobQueue) -> None:
    job_id = await job_queue.enqueue("archive", {})
    assert job_id is not None
    runner = JobRunner(job_table, failing, "somebody", retry_s=(60, 3600))
    await runner.run_job(job_id)
    await runner.run_job(job_id)
    job = await job_table.get(job_id)
    assert job is not None
    assert (job.status, job.attempts) == ("queued", 1)
    assert 59 < (job.due_at - job.finished_at).total_seconds() < 61 if job.finished_at else False
    assert await job_table.due_jobs(10) == []


async def test_what_no_further_try_would_mend_fails_at_once(job_table: JobTable, job_queue: JobQueue) -> None:
    job = await run(job_table, refusing, await job_queue.enqueue("archive", {}))
    assert (job.status, job.attempts, job.error) == ("failed", 1, "no use")


async def test_the_third_worker_to_die_over_a_job_is_the_last(job_table: JobTable, job_queue: JobQueue) -> None:
    job_id = await job_queue.enqueue("archive", {})
    assert job_id is not None
    for attempt in (1, 2, 3):
        assert await job_table.claim(job_id, "mortal", 0) is not None
        (reaped,) = await job_table.reclaim_abandoned()
        assert (reaped.attempts, reaped.status) == (attempt, "failed" if attempt == 3 else "queued")
    job = await job_table.get(job_id)
    assert job is not None
    assert job.error == "its worker, mortal, died"


async def test_a_lost_job_is_given_up(job_table: JobTable, job_queue: JobQueue) -> None:
    job_id = await job_queue.enqueue("archive", {})
    assert job_id is not None
    at_work, given_up = asyncio.Event(), asyncio.Event()

    async def endless(claim: JobClaim) -> Mapping[str, Any]:
        at_work.set()
        try:
            await asyncio.Event().wait()
        finally:
            given_up.set()
        return {}

    running = asyncio.create_task(JobRunner(job_table, endless, "first", lease_s=0.03).run_job(job_id))
    await at_work.wait()
    # Somebody took it for dead and did it.
    await job_table.fail(JobClaim(job_id, "archive", {}, 1, "first"), "taken away", 0)
    assert await job_table.claim(job_id, "second", 30) is not None
    await asyncio.wait_for(running, 10)
    assert given_up.is_set()
    job = await job_table.get(job_id)
    assert job is not None
    assert (job.status, job.worker, job.attempts) == ("running", "second", 2)


async def test_many_coordinators_queue_what_is_due_once(
    audit: AuditParts, job_table: JobTable, job_queue: JobQueue
) -> None:
    await job_queue.enqueue_scheduled(1, 1)
    assert await job_table.list_jobs() == []
    await drained(audit)
    await asyncio.gather(*(job_queue.enqueue_scheduled(1, 0) for _ in range(5)))
    (job,) = await job_table.list_jobs()
    assert (job.type, job.params) == ("archive", {"after_s": 1})


async def test_what_a_job_does_not_take_is_refused_before_it_is_queued(
    job_table: JobTable, job_queue: JobQueue
) -> None:
    for type_, params in (
        ("nothing", {}),
        ("archive", {"session_id": "x"}),
        ("export", {"from": "2026-01-01T00:00:00Z"}),
        ("export", {"from": "2026-01-01T00:00:00", "to": "2026-01-02T00:00:00Z"}),
    ):
        with pytest.raises(ValidationFailed):
            await job_queue.enqueue(type_, params)
    assert await job_table.list_jobs() == []


async def test_the_longest_times_are_within_what_postgres_counts(audit: AuditParts, cold: JobComponents) -> None:
    await drained(audit)
    for type_ in ("archive", "retention"):
        assert not await cold.job_table.has_sessions_to_do(type_, LONGEST_S)
        result = await cold.handlers.run(JobClaim(1, type_, {"after_s": LONGEST_S}, 1, "somebody"))
        assert result == {"done": 0, "left": 0, "failed": 0}


async def test_one_session_that_fails_holds_up_no_other(audit: AuditParts, cold: JobComponents) -> None:
    lives = [await drained(audit) for _ in range(4)]
    bad = lives[1].session_id
    await audit.database.execute("UPDATE sync_events SET snapshot = '{}' WHERE session_id = %s", [bad])
    result = await cold.handlers.run(JobClaim(1, "archive", {"after_s": 0}, 1, "somebody"))
    assert result == {"done": 3, "left": 0, "failed": 1}
    (job,) = await cold.job_table.list_jobs()
    assert (job.type, job.params["session_id"]) == ("archive", bad)
    for life in lives:
        (filed,) = await audit.history.archive_records(life.session_id)
        assert filed.status == ("failed" if life.session_id == bad else "ready")
    # It is left alone for a while, and the others are done.
    assert await cold.handlers.run(JobClaim(1, "archive", {"after_s": 0}, 1, "x")) == {
        "done": 0,
        "left": 0,
        "failed": 0,
    }


async def test_a_session_that_can_not_leave_is_not_tried_all_the_time(audit: AuditParts, cold: JobComponents) -> None:
    bad, good = await drained(audit), await drained(audit)
    await audit.database.execute("DELETE FROM sync_events WHERE session_id = %s AND version = 2", [bad.session_id])
    everything = JobClaim(1, "retention", {"after_s": 0}, 1, "somebody")
    assert await cold.job_table.has_sessions_to_do("retention", 0)
    assert await cold.handlers.run(everything) == {"done": 1, "left": 0, "failed": 1}
    (job,) = await cold.job_table.list_jobs()
    assert (job.type, job.params["session_id"]) == ("retention", bad.session_id)
    # By itself nothing looks at it again for an hour; whoever asks for it by name is told why.
    assert not await cold.job_table.has_sessions_to_do("retention", 0)
    assert await cold.handlers.run(everything) == {"done": 0, "left": 0, "failed": 0}
    with pytest.raises(ArchiveIncomplete, match="version 2"):
        await cold.retention.remove(bad.session_id, 0)
    (filed,) = await audit.history.archive_records(bad.session_id)
    assert (filed.status, "version 2" in (filed.error or "")) == ("ready", True)
    (filed,) = await audit.history.archive_records(good.session_id)
    assert (filed.removed, filed.error) == (True, None)


async def test_one_that_has_to_stay_is_not_looked_at_all_the_time(audit: AuditParts, cold: JobComponents) -> None:
    life = await drained(audit)
    await audit.committer.apply(life, UpdateMetadata({"note": "on its way"}), T0 + 90_000)
    everything = JobClaim(1, "retention", {"after_s": 0}, 1, "somebody")
    assert await cold.handlers.run(everything) == {"done": 0, "left": 1, "failed": 0}
    assert not await cold.job_table.has_sessions_to_do("retention", 0)
    # What came meanwhile is archived without waiting for that.
    await audit.drain()
    assert await cold.job_table.has_sessions_to_do("archive", 0)
    assert await cold.retention.remove(life.session_id, 0)
    # Nor is one of which only what came late is in Postgres, and whose archive can't be read.
    await audit.committer.apply(life, UpdateMetadata({"note": "late"}), T0 + 91_000)
    await audit.drain()
    (filed,) = await audit.history.archive_records(life.session_id)
    assert filed.path is not None
    await cold.objects.delete(filed.path)
    assert await cold.handlers.run(everything) == {"done": 0, "left": 0, "failed": 1}
    assert not await cold.job_table.has_sessions_to_do("retention", 0)
    assert not await cold.job_table.has_sessions_to_do("archive", 0)


async def test_without_its_object_store_a_job_touches_nothing(audit: AuditParts, tmp_path: Path) -> None:
    await drained(audit)
    (tmp_path / "broken").write_text("no folder")
    async with open_job_components(audit, str(tmp_path / "broken")) as cold:
        for type_ in ("archive", "retention"):
            with pytest.raises(StoreUnavailable):
                await cold.handlers.run(JobClaim(1, type_, {"after_s": 0}, 1, "somebody"))
        assert await cold.job_table.list_jobs() == []
    assert await audit.rows("SELECT count(*) FROM sync_events") == [(6,)]


async def test_without_postgres_the_board_says_so() -> None:
    async with open_job_pool("postgresql://nobody@127.0.0.1:1/none") as pool:
        pool.timeout = 0.2
        with pytest.raises(StoreUnavailable):
            await JobTable(pool).list_jobs()
