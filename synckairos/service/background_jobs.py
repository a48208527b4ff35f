"""Background jobs of all tenants, for operators: the list with its progress, and retries of failed jobs."""

from collections.abc import Coroutine
from typing import Any, TypeVar

from synckairos.errors import JobNotFailed, NotFound
from synckairos.history.page_cursor import parse_cursor, render_cursor
from synckairos.history.records import Page
from synckairos.jobs.enqueue import JobQueue
from synckairos.jobs.public_errors import error_without_details, errors_without_details
from synckairos.jobs.table import BEFORE_FIRST_ID, Job, JobTable
from synckairos.postgres.time_limits import TRANSACTION_TIMEOUT_S, TimeLimitedQueries
from synckairos.wire.instants import datetime_to_ms, render_instant

T = TypeVar("T")


class BackgroundJobs:
    """Reads the job table, and queues failed jobs again.

    All methods raise StoreUnavailable if Postgres is unreachable or too slow. The text of the error names no host.
    """

    def __init__(self, job_table: JobTable, queue: JobQueue) -> None:
        self._job_table = job_table
        self._queue = queue
        self._queries = TimeLimitedQueries()

    async def read_page(self, *, status: str | None, type_: str | None, cursor: str | None, limit: int) -> Page[Job]:
        """Return a page of at most `limit` jobs, newest first. `status` and `type_` are filters; None means no filter.

        `cursor` is the `next_cursor` of the previous page; None for the first page.

        Raises: ValidationFailed if the cursor is invalid.
        """
        before_id = BEFORE_FIRST_ID if cursor is None else parse_cursor(cursor, int)[0]
        found = await self._run(
            self._job_table.list_jobs(status=status, type_=type_, before_id=before_id, limit=limit + 1)
        )
        page = tuple(found[:limit])
        return Page(page, render_cursor(page[-1].job_id) if len(found) > limit else None)

    async def read(self, job_id: int) -> Job:
        """Return a job. Raises: NotFound."""
        job = await self._run(self._job_table.get(job_id))
        if job is None:
            raise NotFound(f"There is no job {job_id}")
        return job

    async def retry(self, job_id: int) -> Job:
        """Queue a failed job again, reset its number of attempts, and return the job.

        Raises: NotFound. JobNotFailed if the job has another status.
        """
        is_queued = await self._run(self._queue.retry(job_id)) is not None
        job = await self.read(job_id)
        if not is_queued:
            raise JobNotFailed(job_id, job.status)
        return job

    async def _run(self, query: Coroutine[Any, Any, T]) -> T:
        with errors_without_details():
            return await self._queries.run(TRANSACTION_TIMEOUT_S, query)


def job_json(job: Job) -> dict[str, Any]:
    """Return the JSON object of a job, as the REST API shows it. Members without a value are left out."""
    values = {
        "job_id": job.job_id,
        "tenant": job.tenant,
        "type": job.type,
        "status": job.status,
        "attempts": job.attempts,
        "params": job.params,
        "result": job.result,
        "error": None if job.error is None else error_without_details(job.error),
        "created_at": render_instant(datetime_to_ms(job.created_at)),
        "due_at": render_instant(datetime_to_ms(job.due_at)),
        "started_at": None if job.started_at is None else render_instant(datetime_to_ms(job.started_at)),
        "finished_at": None if job.finished_at is None else render_instant(datetime_to_ms(job.finished_at)),
        "duration_ms": job.duration_ms,
    }
    return {name: value for name, value in values.items() if value is not None}
