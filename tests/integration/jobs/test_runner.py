"""Job runner: attempts and retries, permanent failures, dead workers and lost claims."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from synckairos.jobs.enqueue import JobQueue
from synckairos.jobs.runner import JobHandler, JobRunner, PermanentJobFailure
from synckairos.jobs.table import ClaimedJob, Job, JobTable


async def run_attempt(job_table: JobTable, handler: JobHandler, job_id: int | None) -> Job:
    """Run one attempt without delays, and return the job."""
    runner = JobRunner(job_table, handler, "worker-1", retry_delays_s=(0, 0))
    assert job_id is not None
    await runner.run_job(job_id)
    job = await job_table.get(job_id)
    assert job is not None
    return job


async def failing(claim: ClaimedJob) -> Mapping[str, Any]:
    raise LookupError(f"attempt {claim.attempts}")


async def succeeding(claim: ClaimedJob) -> Mapping[str, Any]:
    return {"attempt": claim.attempts}


async def failing_permanently(claim: ClaimedJob) -> Mapping[str, Any]:
    raise PermanentJobFailure("no retry helps")


@pytest.mark.pooler
async def test_a_job_fails_with_an_alert_after_three_attempts_and_can_be_retried(
    job_table: JobTable, job_queue: JobQueue, caplog: pytest.LogCaptureFixture
) -> None:
    failed = await job_queue.enqueue("archive", {"after_s": 1})
    other = await job_queue.enqueue("archive", {"after_s": 2})
    for attempt in (1, 2):
        job = await run_attempt(job_table, failing, failed)
        assert (job.status, job.attempts) == ("queued", attempt)
    job = await run_attempt(job_table, failing, failed)
    assert (job.status, job.attempts, job.error) == ("failed", 3, "LookupError: attempt 3")
    assert [record.name for record in caplog.records if "job failed" in record.getMessage()] == [
        "synckairos.telemetry.alert_sender"
    ]
    assert (await run_attempt(job_table, failing, failed)).attempts == 3
    job = await run_attempt(job_table, succeeding, other)
    assert (job.status, job.result) == ("done", {"attempt": 1})
    due = await job_queue.retry(job_id=failed or 0)
    assert due is not None
    assert await job_queue.retry(other or 0) is None
    job = await run_attempt(job_table, succeeding, failed)
    assert (job.status, job.attempts, job.error) == ("done", 1, None)


async def test_a_failed_attempt_is_retried_after_its_delay(job_table: JobTable, job_queue: JobQueue) -> None:
    job_id = await job_queue.enqueue("archive", {})
    assert job_id is not None
    runner = JobRunner(job_table, failing, "worker-1", retry_delays_s=(60, 3600))
    await runner.run_job(job_id)
    await runner.run_job(job_id)
    job = await job_table.get(job_id)
    assert job is not None
    assert (job.status, job.attempts) == ("queued", 1)
    assert 59 < (job.due_at - job.finished_at).total_seconds() < 61 if job.finished_at else False
    assert await job_table.due_jobs(10) == []


async def test_a_permanent_failure_is_not_retried(job_table: JobTable, job_queue: JobQueue) -> None:
    job = await run_attempt(job_table, failing_permanently, await job_queue.enqueue("archive", {}))
    assert (job.status, job.attempts, job.error) == ("failed", 1, "no retry helps")


async def test_a_job_fails_when_its_third_worker_dies(job_table: JobTable, job_queue: JobQueue) -> None:
    job_id = await job_queue.enqueue("archive", {})
    assert job_id is not None
    for attempt in (1, 2, 3):
        assert await job_table.claim_if_due(job_id, "worker-9", 0) is not None
        (abandoned,) = await job_table.end_abandoned_attempts()
        assert (abandoned.attempts, abandoned.status) == (attempt, "failed" if attempt == 3 else "queued")
    job = await job_table.get(job_id)
    assert job is not None
    assert job.error == "its worker, worker-9, died"


@pytest.mark.pooler
async def test_work_is_cancelled_when_its_claim_is_lost(job_table: JobTable, job_queue: JobQueue) -> None:
    job_id = await job_queue.enqueue("archive", {})
    assert job_id is not None
    started, cancelled = asyncio.Event(), asyncio.Event()

    async def endless(claim: ClaimedJob) -> Mapping[str, Any]:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        return {}

    running = asyncio.create_task(JobRunner(job_table, endless, "first", lease_s=0.03).run_job(job_id))
    await started.wait()
    # Another worker ends the attempt of the first one and claims the job.
    await job_table.save_failed_attempt(ClaimedJob(job_id, "archive", {}, 1, "first"), "taken over", 0)
    assert await job_table.claim_if_due(job_id, "second", 30) is not None
    await asyncio.wait_for(running, 10)
    assert cancelled.is_set()
    job = await job_table.get(job_id)
    assert job is not None
    assert (job.status, job.worker, job.attempts) == ("running", "second", 2)
