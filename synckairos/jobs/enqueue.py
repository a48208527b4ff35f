"""The job_queue: puts jobs on the job_table and returns. It carries nothing out.

Beside what operators ask for it queues, on a schedule, what the settings want done by itself: any number of workers may
run it, the job_table takes each of these once.
"""

from collections.abc import Mapping
from typing import Any

from synckairos.jobs.kinds import parse_params
from synckairos.jobs.table import DueJob, JobTable
from synckairos.jobs.wakeups import JobWakeups

KEPT_DAYS = 30
"""Days that jobs which ended stay on the job_table."""


class JobQueue:
    """Queues jobs. Raises StoreUnavailable where Postgres doesn't answer; without Redis a job waits for a sweep."""

    def __init__(self, job_table: JobTable, wakeups: JobWakeups) -> None:
        self._board = job_table
        self._wakeups = wakeups

    async def enqueue(self, type_: str, params: Mapping[str, Any], once: str | None = None) -> int | None:
        """Queue a job and return its id; None where an open one has the same `once`. Two round trips or three.

        Raises: ValidationFailed, for params that the type doesn't take.
        """
        parse_params(type_, params)
        due = await self._board.add(type_, params, once)
        if due is None:
            return None
        await self._wakeups.wake_up(due)
        return due.job_id

    async def retry(self, job_id: int) -> DueJob | None:
        """Have a failed job tried again; None where there is no failed one."""
        due = await self._board.retry(job_id)
        if due is not None:
            await self._wakeups.wake_up(due)
        return due

    async def enqueue_scheduled(self, archive_after_s: int, retention_s: int) -> None:
        """Queue what is to be done by itself, where there is anything to do, and forget what ended long ago."""
        await self._board.delete_ended(KEPT_DAYS)
        for type_, after_s in (("archive", archive_after_s), ("retention", retention_s)):
            if after_s and await self._board.has_sessions_to_do(type_, after_s):
                await self.enqueue(type_, {"after_s": after_s}, once=f"{type_} by itself")
