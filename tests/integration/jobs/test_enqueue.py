"""Queue of jobs: a scheduled job is enqueued once, and invalid parameters are refused."""

import asyncio

import pytest

from synckairos.admin.jobs import enqueue_job
from synckairos.errors import TenantDeleted, ValidationFailed
from synckairos.jobs.enqueue import JobQueue
from synckairos.jobs.runner import JobRunner
from synckairos.jobs.table import JobTable
from tests.integration.audit_parts import AuditParts
from tests.integration.jobs.job_components import JobComponents, finish_and_drain, move_to_tenant


async def test_a_scheduled_job_is_enqueued_once_and_only_if_it_has_work(
    audit: AuditParts, job_table: JobTable, job_queue: JobQueue
) -> None:
    await job_queue.enqueue_periodic_jobs(1, 1)
    assert await job_table.list_jobs() == []
    await finish_and_drain(audit)
    await asyncio.gather(*(job_queue.enqueue_periodic_jobs(1, 0) for _ in range(5)))
    (job,) = await job_table.list_jobs()
    assert (job.type, job.params) == ("archive", {"after_s": 1})


async def test_scheduled_jobs_are_jobs_of_one_tenant(
    audit: AuditParts, jobs: JobComponents, job_queue: JobQueue
) -> None:
    lives = {tenant: await finish_and_drain(audit) for tenant in ("default", "acme", "gone", "north")}
    for tenant, life in lives.items():
        await move_to_tenant(audit, life.session_id, tenant)
    await audit.database.execute(
        "INSERT INTO sync_tenants (name, status, created_at, created_by, updated_at)"
        " VALUES ('gone', 'deleting', now(), 'test', now())"
    )
    assert await jobs.job_table.find_tenants_with_work("archive", 1) == ["acme", "default", "gone", "north"]
    for _ in range(2):
        await job_queue.enqueue_periodic_jobs(1, 0)
    queued = await jobs.job_table.list_jobs()
    assert sorted(job.tenant for job in queued) == ["acme", "default", "north"]
    runner = JobRunner(jobs.job_table, jobs.handlers.run, "worker")
    (acme,) = (job.job_id for job in queued if job.tenant == "acme")
    await runner.run_job(acme)
    job = await jobs.job_table.get(acme)
    assert job is not None
    assert job.result == {"done": 1, "left": 0, "failed": 0}
    assert await audit.rows("SELECT tenant, starts_with(path, 'tenants/acme/sessions/') FROM sync_archives") == [
        ("acme", True)
    ]
    assert await jobs.job_table.find_tenants_with_work("archive", 1) == ["default", "gone", "north"]


async def test_a_tenant_whose_deletion_was_requested_gets_no_job(audit: AuditParts, job_queue: JobQueue) -> None:
    await audit.database.execute(
        "INSERT INTO sync_tenants (name, status, created_at, created_by, updated_at)"
        " VALUES ('gone', 'deleted', now(), 'test', now())"
    )
    assert await job_queue.enqueue("archive", {}, tenant="gone") is None
    with pytest.raises(TenantDeleted):
        await enqueue_job(audit.settings, "archive", {}, tenant="gone")


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
