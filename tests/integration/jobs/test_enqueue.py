"""Queue of jobs: a scheduled job is enqueued once, and invalid parameters are refused."""

import asyncio

import pytest

from synckairos.errors import ValidationFailed
from synckairos.jobs.enqueue import JobQueue
from synckairos.jobs.table import JobTable
from tests.integration.audit_parts import AuditParts
from tests.integration.jobs.job_components import finish_and_drain


async def test_a_scheduled_job_is_enqueued_once_and_only_if_it_has_work(
    audit: AuditParts, job_table: JobTable, job_queue: JobQueue
) -> None:
    await job_queue.enqueue_periodic_jobs(1, 1)
    assert await job_table.list_jobs() == []
    await finish_and_drain(audit)
    await asyncio.gather(*(job_queue.enqueue_periodic_jobs(1, 0) for _ in range(5)))
    (job,) = await job_table.list_jobs()
    assert (job.type, job.params) == ("archive", {"after_s": 1})


async def test_a_job_with_invalid_parameters_is_not_enqueued(job_table: JobTable, job_queue: JobQueue) -> None:
    for type_, params in (
        ("nothing", {}),
        ("archive", {"session_id": "x"}),
        ("export", {"from": "2026-01-01T00:00:00Z"}),
        ("export", {"from": "2026-01-01T00:00:00", "to": "2026-01-02T00:00:00Z"}),
    ):
        with pytest.raises(ValidationFailed):
            await job_queue.enqueue(type_, params)
    assert await job_table.list_jobs() == []
