"""Reconciliations of members on demand: enqueues their jobs, and reads the jobs of one tenant."""

from typing import Any

from synckairos.errors import NotFound, ReconciliationRunning
from synckairos.history.page_cursor import parse_cursor, render_cursor
from synckairos.history.records import Page
from synckairos.jobs.enqueue import JobQueue
from synckairos.jobs.kinds import RECONCILE_MEMBERS
from synckairos.jobs.public_errors import error_without_details, errors_without_details
from synckairos.jobs.table import BEFORE_FIRST_ID, Job, JobTable
from synckairos.postgres.time_limits import TRANSACTION_TIMEOUT_S, TimeLimitedQueries
from synckairos.wire.instants import datetime_to_ms, render_instant


class RequestedReconciliations:
    """The jobs `reconcile-members` of tenants, for administrators of these tenants.

    All methods raise StoreUnavailable if Postgres is unreachable or too slow. The text of the error names no host.
    """

    def __init__(self, job_table: JobTable, queue: JobQueue) -> None:
        self._job_table = job_table
        self._queue = queue
        self._queries = TimeLimitedQueries()

    async def request(self, tenant: str, max_removed_percent: int | None) -> Job:
        """Enqueue a reconciliation of the members of a tenant, and return the job.

        `max_removed_percent` is the maximum share of the members that may be removed, in percent; None means the
        setting of the worker.

        Raises: ReconciliationRunning if a reconciliation of this tenant is queued or running.
        """
        params: dict[str, Any] = {}
        if max_removed_percent is not None:
            params["max_removed_percent"] = max_removed_percent
        with errors_without_details():
            enqueuing = self._queue.enqueue(RECONCILE_MEMBERS, params, once=RECONCILE_MEMBERS, tenant=tenant)
            job_id = await self._queries.run(TRANSACTION_TIMEOUT_S, enqueuing)
        if job_id is None:
            raise ReconciliationRunning
        return await self.read(tenant, job_id)

    async def read(self, tenant: str, job_id: int) -> Job:
        """Return a reconciliation of a tenant. Raises: NotFound."""
        found = await self._read(tenant, job_id + 1, 1)
        if not found or found[0].job_id != job_id:
            raise NotFound(f"There is no reconciliation {job_id}")
        return found[0]

    async def read_page(self, tenant: str, *, cursor: str | None, limit: int) -> Page[Job]:
        """Return a page of at most `limit` reconciliations of a tenant, newest first.

        `cursor` is the `next_cursor` of the previous page; None for the first page.

        Raises: ValidationFailed if the cursor is invalid.
        """
        before_id = BEFORE_FIRST_ID if cursor is None else parse_cursor(cursor, int)[0]
        found = await self._read(tenant, before_id, limit + 1)
        page = tuple(found[:limit])
        return Page(page, render_cursor(page[-1].job_id) if len(found) > limit else None)

    async def _read(self, tenant: str, before_id: int, limit: int) -> list[Job]:
        reading = self._job_table.list_jobs_of_tenant(tenant, RECONCILE_MEMBERS, before_id=before_id, limit=limit)
        with errors_without_details():
            return await self._queries.run(TRANSACTION_TIMEOUT_S, reading)


def reconciliation_json(job: Job) -> dict[str, Any]:
    """Return the JSON object of a reconciliation, as the REST API shows it."""
    values = {
        "job_id": job.job_id,
        "status": job.status,
        "attempts": job.attempts,
        "max_removed_percent": job.params.get("max_removed_percent"),
        "scheduled_for": job.params.get("scheduled_for"),
        "created_at": render_instant(datetime_to_ms(job.created_at)),
        "finished_at": None if job.finished_at is None else render_instant(datetime_to_ms(job.finished_at)),
        "report": job.result,
        "error": None if job.error is None else error_without_details(job.error),
    }
    return {name: value for name, value in values.items() if value is not None}
