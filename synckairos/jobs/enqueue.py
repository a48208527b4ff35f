"""Enqueues background jobs: adds them to the job table and wakes a worker. Runs no job itself.

Jobs come from operators, and from a schedule that the settings define. Any number of workers may run the schedule: the
job table accepts each scheduled job once.
"""

from collections.abc import Mapping
from typing import Any

from synckairos.jobs.kinds import parse_job_params
from synckairos.jobs.table import DueJob, JobTable
from synckairos.jobs.wakeups import JobWakeups

KEPT_DAYS = 30
"""Days for which ended jobs stay in the job table."""


class JobQueue:
    """Enqueues jobs. Raises StoreUnavailable if Postgres is not reachable. Without Redis, jobs wait for a sweep."""

    def __init__(self, job_table: JobTable, wakeups: JobWakeups) -> None:
        self._job_table = job_table
        self._wakeups = wakeups

    async def enqueue(self, type_: str, params: Mapping[str, Any], once: str | None = None) -> int | None:
        """Enqueue a job and return its id; return None if a queued or running job has the same `once`.

        Two round trips or three. Raises ValidationFailed if the type does not accept these parameters.
        """
        parse_job_params(type_, params)
        due = await self._job_table.add(type_, params, once)
        if due is None:
            return None
        await self._wakeups.wake_up(due)
        return due.job_id

    async def retry(self, job_id: int) -> DueJob | None:
        """Queue a failed job again; return None if there is no failed job of this id."""
        due = await self._job_table.retry(job_id)
        if due is not None:
            await self._wakeups.wake_up(due)
        return due

    async def enqueue_scheduled(self, archive_after_s: int, retention_s: int) -> None:
        """Enqueue the scheduled jobs that have sessions to work on, and delete jobs that ended long ago.

        The arguments are seconds after a session's end. 0 switches that kind of job off.
        """
        await self._job_table.delete_ended(KEPT_DAYS)
        for type_, after_s in (("archive", archive_after_s), ("retention", retention_s)):
            if after_s and await self._job_table.has_sessions_to_do(type_, after_s):
                # The text is stored and compared with the jobs of other versions of this product.
                await self.enqueue(type_, {"after_s": after_s}, once=f"{type_} by itself")
