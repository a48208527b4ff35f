"""The job_table: the table of background jobs, in Postgres. What is on it is the truth; a queue only says "now".

Knows no kind of job: params and results are JSON.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from psycopg.types.json import Jsonb

from synckairos.postgres.named_sql import load_statements
from synckairos.postgres.pool import PostgresPool, translate_postgres_errors

Row = tuple[Any, ...]

Status = Literal["queued", "running", "done", "failed"]

ATTEMPTS = 3
"""How often a job is tried, dying workers counted."""

CONNECTIONS = 12
"""Two jobs that work on four sessions each, with some to spare for the job_table itself."""

_SQL = "jobs.sql"


@dataclass(frozen=True, slots=True)
class JobClaim:
    """The right to carry a job out, for as long as its lease is renewed. `attempts` counts this one."""

    job_id: int
    type: str
    params: Mapping[str, Any]
    attempts: int
    worker: str


@dataclass(frozen=True, slots=True)
class DueJob:
    """A job that waits to be carried out, and since when."""

    job_id: int
    due_at: datetime
    overdue_s: float = 0

    @property
    def name(self) -> str:
        """Return what it is called in the queue: another name each time it comes back, and each further minute.

        A worker that is killed leaves marks there that would hide a job of the same name for a long time.
        """
        return f"{self.job_id}-{self.due_at.timestamp():.6f}-{self.overdue_s // 60:.0f}"


@dataclass(frozen=True, slots=True)
class AbandonedJob:
    """A job whose worker died: `status` is queued, or failed where that was its last attempt."""

    job_id: int
    type: str
    status: Status
    attempts: int
    error: str


@dataclass(frozen=True, slots=True)
class Job:
    """A job as the table has it. `duration_ms` is its last attempt's."""

    job_id: int
    type: str
    params: Mapping[str, Any]
    status: Status
    attempts: int
    result: Mapping[str, Any] | None
    error: str | None
    worker: str | None
    created_at: datetime
    due_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    duration_ms: int | None

    def values(self) -> dict[str, Any]:
        """Return it by the columns' names."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """How many jobs of a type have a status, and how long the oldest of those that are queued waits."""

    type: str
    status: Status
    count: int
    oldest_s: float


@dataclass(frozen=True, slots=True)
class JobTally:
    """How many attempts at a type of job ever came to an outcome, and how long they took together."""

    type: str
    outcome: Literal["done", "failed", "died"]
    attempts: int
    busy_ms: int


def open_job_pool(database_url: str) -> PostgresPool:
    """Make the connections of a process that carries jobs out; opens none until somebody enters it."""
    options = "-c lock_timeout=30s -c client_min_messages=warning"
    return PostgresPool(database_url, "jobs", max_connections=CONNECTIONS, options=options, prepare_statements=False)


class JobTable:
    """Background jobs. Raises StoreUnavailable where Postgres doesn't answer or isn't migrated."""

    def __init__(self, pool: PostgresPool) -> None:
        self._pool = pool

    async def add(self, type_: str, params: Mapping[str, Any], once: str | None = None) -> DueJob | None:
        """Put a job on the job_table; None where an open one has the same `once`."""
        rows = await self._run("add", type=type_, params=Jsonb(params), once=once)
        return DueJob(*rows[0]) if rows else None

    async def claim(self, job_id: int, worker: str, lease_s: float) -> JobClaim | None:
        """Begin a job, unless somebody else did or it isn't due."""
        rows = await self._run("claim", job_id=job_id, worker=worker, lease_s=lease_s)
        return JobClaim(*rows[0]) if rows else None

    async def renew_lease(self, claim: JobClaim, lease_s: float) -> bool:
        """Say that its worker lives; False where the job isn't its any more."""
        return bool(await self._run_for_claim("beat", claim, lease_s=lease_s))

    async def complete(self, claim: JobClaim, result: Mapping[str, Any]) -> bool:
        """Keep what came of a job; False where it isn't its worker's any more."""
        return bool(await self._run_for_claim("finish", claim, result=Jsonb(result)))

    async def fail(self, claim: JobClaim, error: str, retry_in_s: float, *, for_good: bool = False) -> Status | None:
        """Note a failed attempt and return what the job is now; None where it isn't its worker's any more."""
        tried = {"error": error, "retry_in_s": retry_in_s, "for_good": for_good, "most": ATTEMPTS}
        rows = await self._run_for_claim("fail", claim, **tried)
        status: Status | None = rows[0][0] if rows else None
        return status

    async def release(self, claim: JobClaim) -> bool:
        """Give a job back that was begun and not ended; that was no attempt."""
        return bool(await self._run_for_claim("put_back", claim))

    async def reclaim_abandoned(self) -> list[AbandonedJob]:
        """Take jobs away from workers that died, and return them."""
        return [AbandonedJob(*row) for row in await self._run("reap", most=ATTEMPTS)]

    async def due_jobs(self, limit: int) -> list[DueJob]:
        """Return jobs that could begin now, those that wait longest first."""
        return [DueJob(*row) for row in await self._run("due", limit=limit)]

    async def retry(self, job_id: int) -> DueJob | None:
        """Have a failed job tried again, with all its attempts; None where there is no failed one."""
        rows = await self._run("retry", job_id=job_id)
        return DueJob(job_id, rows[0][0]) if rows else None

    async def has_sessions_to_do(self, type_: str, after_s: float) -> bool:
        """Tell whether there are sessions that such a job would look at."""
        query = {"archive": "unarchived", "retention": "finished"}[type_]
        sql = load_statements("archives.sql", "synckairos.jobs")[query]
        place = {"ended_at": "-infinity", "session_id": UUID(int=0), "after_s": after_s, "limit": 1}
        with translate_postgres_errors():
            async with self._pool.connection() as connection:
                return await (await connection.execute(sql, place)).fetchone() is not None

    async def delete_ended(self, days: int) -> None:
        """Forget jobs that ended so many days ago."""
        await self._run("prune", days=days)

    async def get(self, job_id: int) -> Job | None:
        rows = await self._run("show", job_id=job_id)
        return Job(*rows[0]) if rows else None

    async def list_jobs(self, *, status: str | None = None, type_: str | None = None, limit: int = 50) -> list[Job]:
        """Return jobs, the newest first."""
        return [Job(*row) for row in await self._run("list", status=status, type=type_, limit=limit)]

    async def queue_depths(self) -> list[QueueDepth]:
        """Count jobs by type and status."""
        return [QueueDepth(*row) for row in await self._run("depths")]

    async def attempt_tally(self) -> list[JobTally]:
        """Return what became of attempts, ever."""
        return [JobTally(*row) for row in await self._run("tally")]

    async def _run_for_claim(self, name: str, claim: JobClaim, **values: Any) -> list[Row]:
        whose = {"job_id": claim.job_id, "worker": claim.worker, "attempts": claim.attempts}
        return await self._run(name, **whose, **values)

    async def _run(self, name: str, **values: Any) -> list[Row]:
        with translate_postgres_errors():
            async with self._pool.connection() as connection:
                cursor = await connection.execute(load_statements(_SQL, "synckairos.jobs")[name], values)
                return await cursor.fetchall() if cursor.description else []
