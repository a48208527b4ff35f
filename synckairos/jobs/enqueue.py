"""Queue of background jobs: adds jobs to the job table and wakes a worker. Runs no job.

Operators enqueue jobs, and workers enqueue jobs on a schedule that the settings define. Any number of workers can run
the schedule. The job table refuses a scheduled job if the same job is queued or running.
"""

from collections.abc import Mapping
from typing import Any

from synckairos.jobs.kinds import parse_job_params
from synckairos.jobs.table import DueJob, JobTable
from synckairos.jobs.wakeups import JobWakeups
from synckairos.principal import DEFAULT_TENANT

KEPT_DAYS = 30
"""Days for which a job stays in the job table after the job's end."""


class JobQueue:
    """Adds background jobs to the job table and wakes workers.

    All methods raise StoreUnavailable if Postgres is unreachable. If Redis is unreachable, a job is still enqueued, and
    the next sweep of a worker starts the job.
    """

    def __init__(self, job_table: JobTable, wakeups: JobWakeups) -> None:
        self._job_table = job_table
        self._wakeups = wakeups

    async def enqueue(
        self, type_: str, params: Mapping[str, Any], once: str | None = None, *, tenant: str = DEFAULT_TENANT
    ) -> int | None:
        """Enqueue a job of a tenant and return its id.

        Return None if an open job of the tenant has the same `once`, or if the tenant is being deleted or was deleted.

        `type_` and `params` are the type and the parameters of the job. `once` is a text that identifies equal jobs;
        None allows any number of equal jobs. An open job is queued or running. Uses two or three round trips.

        Raises: ValidationFailed if the type is unknown or does not accept `params`.
        """
        parse_job_params(type_, params)
        due = await self._job_table.add_unless_queued(type_, params, once, tenant=tenant)
        if due is None:
            return None
        await self._wakeups.wake_worker(due)
        return due.job_id

    async def retry(self, job_id: int) -> DueJob | None:
        """Enqueue a failed job again, reset its number of attempts, and return the job.

        Return None if there is no failed job with this id.
        """
        due = await self._job_table.retry(job_id)
        if due is not None:
            await self._wakeups.wake_worker(due)
        return due

    async def enqueue_periodic_jobs(self, archive_after_s: int, retention_s: int) -> None:
        """Delete jobs that ended more than `KEPT_DAYS` days ago, and enqueue each tenant's scheduled jobs with work.

        `archive_after_s` is the number of seconds from the end of a session to its archive, and `retention_s` the
        number of seconds from its end to its removal from Postgres. 0 means that no job of this kind is enqueued. A
        worker calls this method regularly.
        """
        await self._job_table.delete_ended_jobs(KEPT_DAYS)
        for type_, after_s in (("archive", archive_after_s), ("retention", retention_s)):
            for tenant in await self._job_table.find_tenants_with_work(type_, after_s) if after_s else ():
                # The text is stored and compared with jobs that other releases enqueue, so it must not change.
                await self.enqueue(type_, {"after_s": after_s}, once=f"{type_} by itself", tenant=tenant)
