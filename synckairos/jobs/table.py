"""Job table: background jobs in Postgres. The table is the source of truth; a wake-up only starts a job sooner.

The module is independent of the kinds of jobs: parameters and results are JSON.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from psycopg.types.json import Jsonb

from synckairos.jobs.archive_and_retention_sql import load_statement
from synckairos.postgres.access import cross_tenant_access, tenant_access
from synckairos.postgres.named_sql import load_statements
from synckairos.postgres.pool import PostgresPool, translate_postgres_errors
from synckairos.postgres.transaction import Row
from synckairos.principal import DEFAULT_TENANT

JobStatus = Literal["queued", "running", "done", "failed"]

MAX_ATTEMPTS = 3
"""Maximum number of attempts at a job. An attempt that ended by the death of its worker also counts."""

BEFORE_FIRST_ID = 2**53 - 1
"""A number that is larger than the id of each job."""

MAX_CONNECTIONS = 12
"""Maximum number of Postgres connections of a worker for jobs.

Two jobs work on four sessions each. The other connections are for the job table.
"""


@dataclass(frozen=True, slots=True)
class ClaimedJob:
    """A claim on a job: the right to run it as long as its lease is renewed.

    `attempts` is the number of attempts, including this attempt. `worker` is the name of the claiming worker. `tenant`
    is the tenant of the sessions of the job.
    """

    job_id: int
    type: str
    params: Mapping[str, Any]
    attempts: int
    worker: str
    tenant: str = DEFAULT_TENANT


@dataclass(frozen=True, slots=True)
class DueJob:
    """A queued job.

    `due_at` is the earliest instant of its next attempt, `overdue_s` the seconds since this instant.
    """

    job_id: int
    due_at: datetime
    overdue_s: float = 0

    @property
    def arq_wakeup_id(self) -> str:
        """Return the arq message id of a wake-up for this job.

        The id changes each time the job is queued again, and each minute. A worker that is killed leaves keys in arq's
        queue, which would hide a wake-up with the same id for a long time.
        """
        return f"{self.job_id}-{self.due_at.timestamp():.6f}-{self.overdue_s // 60:.0f}"


@dataclass(frozen=True, slots=True)
class AbandonedJob:
    """A job whose worker died. `status` is `queued`, or `failed` if this was the last allowed attempt."""

    job_id: int
    type: str
    status: JobStatus
    attempts: int
    error: str


@dataclass(frozen=True, slots=True)
class Job:
    """A row of the job table. A job works on the data of its tenant. The job that deletes a tenant is of `default`.

    `duration_ms` is the duration of the newest attempt. It is None if there was no attempt, if the attempt runs, or if
    its worker died.
    """

    job_id: int
    tenant: str
    type: str
    params: Mapping[str, Any]
    status: JobStatus
    attempts: int
    result: Mapping[str, Any] | None
    error: str | None
    worker: str | None
    created_at: datetime
    due_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    duration_ms: int | None

    def to_dict(self) -> dict[str, Any]:
        """Return the column values by column name. The tenant is left out if it is the default tenant."""
        values = asdict(self)
        if self.tenant == DEFAULT_TENANT:
            del values["tenant"]
        return values


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """Number of jobs with one type and status.

    `oldest_s` is the number of seconds since the creation of the oldest job, if the status is `queued`; 0 for all other
    statuses.
    """

    type: str
    status: JobStatus
    count: int
    oldest_s: float


@dataclass(frozen=True, slots=True)
class JobAttemptTotal:
    """Number of attempts at jobs of one type with one outcome, and the total duration of these attempts."""

    type: str
    outcome: Literal["done", "failed", "died"]
    attempts: int
    busy_ms: int


def open_job_pool(database_url: str, *, requires_roles: bool = False) -> PostgresPool:
    """Return the pool for background jobs. Open the pool with `async with`.

    `requires_roles`: see `TransactionSettings`.
    """
    settings = {"lock_timeout": "30s", "client_min_messages": "warning"}
    return PostgresPool(
        database_url,
        "jobs",
        max_connections=MAX_CONNECTIONS,
        settings=settings,
        access=cross_tenant_access(),
        requires_roles=requires_roles,
    )


class JobTable:
    """Operations on the job table.

    Methods raise StoreUnavailable if Postgres is unreachable or not migrated.
    """

    def __init__(self, pool: PostgresPool) -> None:
        self._pool = pool

    async def add_unless_queued(
        self, type_: str, params: Mapping[str, Any], once: str | None = None, *, tenant: str = DEFAULT_TENANT
    ) -> DueJob | None:
        """Add a queued job of a tenant and return it. Return None if one of its open jobs has the same `once`.

        An open job is queued or running. If `once` is None, equal jobs do not matter. Also return None if the tenant is
        being deleted or was deleted.
        """
        rows = await self._run("add", tenant=tenant, type=type_, params=Jsonb(params), once=once)
        return DueJob(*rows[0]) if rows else None

    async def claim_if_due(self, job_id: int, worker: str, lease_s: float) -> ClaimedJob | None:
        """Begin an attempt at a job, with a lease of `lease_s` seconds.

        Return None if no queued and due job has this id, for example because a worker runs the job.
        """
        rows = await self._run("claim", job_id=job_id, worker=worker, lease_s=lease_s)
        return ClaimedJob(*rows[0]) if rows else None

    async def renew_lease(self, claim: ClaimedJob, lease_s: float) -> bool:
        """Renew the lease of a claim for `lease_s` seconds from now.

        Return False if the claim was lost, otherwise True.
        """
        return bool(await self._run_for_claim("renew_lease", claim, lease_s=lease_s))

    async def save_progress(self, claim: ClaimedJob, progress: Mapping[str, Any]) -> None:
        """Save what a running job has done so far as its result. Do nothing if the claim was lost."""
        await self._run_for_claim("save_progress", claim, result=Jsonb(progress))

    async def complete(self, claim: ClaimedJob, result: Mapping[str, Any]) -> bool:
        """Save the result of a job and mark the job as done. Return False if the claim was lost, otherwise True."""
        return bool(await self._run_for_claim("complete", claim, result=Jsonb(result)))

    async def save_failed_attempt(
        self,
        claim: ClaimedJob,
        error: str,
        retry_in_s: float,
        *,
        for_good: bool = False,
        result: Mapping[str, Any] | None = None,
    ) -> JobStatus | None:
        """Save a failed attempt with the text `error`. Return the job's new status; None if the claim was lost.

        The job is queued again, due after `retry_in_s` seconds. If no further attempt is allowed, or if `for_good` is
        True, the job fails instead. `result` becomes the result of the job; None keeps the present result.
        """
        values = {
            "error": error,
            "retry_in_s": retry_in_s,
            "for_good": for_good,
            "max_attempts": MAX_ATTEMPTS,
            "result": None if result is None else Jsonb(result),
        }
        rows = await self._run_for_claim("fail", claim, **values)
        status: JobStatus | None = rows[0][0] if rows else None
        return status

    async def release(self, claim: ClaimedJob) -> bool:
        """Queue a claimed job again without counting the attempt.

        Return False if the claim was lost, otherwise True.
        """
        return bool(await self._run_for_claim("release", claim))

    async def end_abandoned_attempts(self) -> list[AbandonedJob]:
        """End all attempts with an expired lease, because their workers count as dead.

        Return the jobs of these attempts.

        Each of these jobs is queued again. A job fails instead if this was its last allowed attempt.
        """
        return [AbandonedJob(*row) for row in await self._run("reclaim_abandoned", max_attempts=MAX_ATTEMPTS)]

    async def due_jobs(self, limit: int) -> list[DueJob]:
        """Return at most `limit` queued jobs that are due, the longest overdue first."""
        return [DueJob(*row) for row in await self._run("due_jobs", limit=limit)]

    async def retry(self, job_id: int) -> DueJob | None:
        """Queue a failed job again and reset its number of attempts.

        Return None if there is no failed job with this id.
        """
        rows = await self._run("retry", job_id=job_id)
        return DueJob(job_id, rows[0][0]) if rows else None

    async def find_tenants_with_work(self, type_: str, after_s: float) -> list[str]:
        """Return the tenants for which a scheduled job of type `type_` (`archive` or `retention`) has a session.

        The job works on sessions of its tenant that ended at least `after_s` seconds ago. The tenants are in
        alphabetical order.
        """
        query = load_statement({"archive": "sessions_to_archive", "retention": "sessions_to_remove"}[type_])
        tenants = load_statement("tenants_with_ended_sessions").removesuffix(b";")
        has_sessions = query.removesuffix(b";").replace(b"%(tenant)s", b"t.tenant")
        values = {"ended_at": "-infinity", "session_id": UUID(int=0), "after_s": after_s, "limit": 1}
        with translate_postgres_errors():
            rows = await self._pool.fetch(
                tenants + b" AND EXISTS (" + has_sessions + b")", values, access=cross_tenant_access()
            )
        return [tenant for (tenant,) in rows]

    async def list_jobs_of_tenant(self, tenant: str, type_: str, *, before_id: int, limit: int) -> list[Job]:
        """Return at most `limit` jobs of a tenant with the type `type_` and ids below `before_id`, newest first."""
        values = {"tenant": tenant, "type": type_, "before_id": before_id, "limit": limit}
        with translate_postgres_errors():
            statement = load_statements("jobs.sql", "synckairos.jobs")["list_jobs_of_tenant"]
            return [Job(*row) for row in await self._pool.fetch(statement, values, access=tenant_access(tenant))]

    async def find_scheduled(self, type_: str, scheduled_for: str) -> set[str]:
        """Return the tenants that have a job of type `type_` with this value of the parameter `scheduled_for`."""
        return {row[0] for row in await self._run("find_scheduled", type=type_, scheduled_for=scheduled_for)}

    async def delete_ended_jobs(self, days: int) -> None:
        """Delete the jobs that ended at least `days` days ago."""
        await self._run("delete_ended", days=days)

    async def get(self, job_id: int) -> Job | None:
        """Return a job; None if there is no job with this id."""
        rows = await self._run("get", job_id=job_id)
        return Job(*rows[0]) if rows else None

    async def list_jobs(
        self,
        *,
        status: str | None = None,
        type_: str | None = None,
        before_id: int = BEFORE_FIRST_ID,
        limit: int = 50,
    ) -> list[Job]:
        """Return at most `limit` jobs of all tenants with ids below `before_id`, last created first.

        `status` and `type_` are filters; None means no filter.
        """
        values = {"status": status, "type": type_, "before_id": before_id, "limit": limit}
        return [Job(*row) for row in await self._run("list_jobs", **values)]

    async def queue_depths(self) -> list[QueueDepth]:
        """Return the number of jobs for each type and status. Combinations without jobs are left out."""
        return [QueueDepth(*row) for row in await self._run("queue_depths")]

    async def count_attempts(self) -> list[JobAttemptTotal]:
        """Return the number and total duration of all attempts, for each job type and outcome."""
        return [JobAttemptTotal(*row) for row in await self._run("attempt_tally")]

    async def _run_for_claim(self, name: str, claim: ClaimedJob, **values: Any) -> list[Row]:
        claim_values = {"job_id": claim.job_id, "worker": claim.worker, "attempts": claim.attempts}
        return await self._run(name, **claim_values, **values)

    async def _run(self, name: str, **values: Any) -> list[Row]:
        with translate_postgres_errors():
            statement = load_statements("jobs.sql", "synckairos.jobs")[name]
            return await self._pool.fetch(statement, values, access=cross_tenant_access())
