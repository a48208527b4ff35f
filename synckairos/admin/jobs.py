"""Implementation of the commands `synckairos jobs …`. Results are lines of text.

The module enqueues jobs; workers run them.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import orjson

from synckairos.admin.progress import NO_PROGRESS, Progress
from synckairos.config import Settings
from synckairos.errors import JobNotFailed, SyncKairosError, TenantDeleted, ValidationFailed
from synckairos.jobs.enqueue import JobQueue
from synckairos.jobs.table import Job, JobTable, open_job_pool
from synckairos.jobs.wakeups import JobWakeups
from synckairos.principal import DEFAULT_TENANT

COLUMNS = ("ID", "TYPE", "STATUS", "ATTEMPTS", "CREATED", "TOOK", "RESULT")

_POLL_S = 0.2

_NOT_IN_TABLE = {"checksum", "session_id", "version"}
"""Members of job results that the output of `jobs list` omits to save space. The path contains the id and version."""


class NoSuchJob(SyncKairosError):
    """The job table has no job with this id."""

    code = "NO_SUCH_JOB"


async def list_jobs(
    settings: Settings, *, status: str | None, type_: str | None, limit: int, as_json: bool
) -> AsyncIterator[str]:
    """Yield a table of at most `limit` jobs line by line, newest job first.

    If `as_json` is True, yield one line of JSON for each job instead. `status` and `type_` are filters; None means no
    filter.

    Raises: StoreUnavailable.
    """
    async with _open_jobs(settings) as (job_table, _):
        found = await job_table.list_jobs(status=status, type_=type_, limit=limit)
    if as_json:
        for job in found:
            yield render_job_json(job)
        return
    if not found:
        return
    rows = [COLUMNS, *(_row(job) for job in found)]
    widths = [max(len(row[at]) for row in rows) for at in range(len(COLUMNS) - 1)]
    for row in rows:
        yield "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]])


async def show_job(settings: Settings, job_id: int, *, as_json: bool) -> list[str]:
    """Return one line for each value of a job that is not null, with its name.

    If `as_json` is True, return one line of JSON instead.

    Raises: NoSuchJob, StoreUnavailable.
    """
    async with _open_jobs(settings) as (job_table, _):
        job = await _job(job_table, job_id)
    if as_json:
        return [render_job_json(job)]
    values = {name: value for name, value in _flatten(job.to_dict()) if value is not None}
    width = max(len(name) for name in values)
    return [f"{name.ljust(width)}  {_text(value)}" for name, value in values.items()]


async def enqueue_job(
    settings: Settings, type_: str, params: Mapping[str, Any], *, tenant: str = DEFAULT_TENANT
) -> int:
    """Enqueue a job of type `type_` and return its id. The function does not wait for the job.

    `tenant` is the tenant of the data on which the job works.

    Raises: ValidationFailed if the job type does not accept `params`. TenantDeleted if the deletion of the tenant was
        requested. StoreUnavailable.
    """
    async with _open_jobs(settings) as (_, job_queue):
        job_id = await job_queue.enqueue(type_, params, tenant=tenant)
    if job_id is None:
        raise TenantDeleted(tenant)
    return job_id


async def retry_job(settings: Settings, job_id: int) -> None:
    """Queue a failed job again and reset its number of attempts. Raises: NoSuchJob, JobNotFailed."""
    async with _open_jobs(settings) as (job_table, job_queue):
        if await job_queue.retry(job_id) is None:
            job = await _job(job_table, job_id)
            raise JobNotFailed(job_id, job.status)


async def wait_for_job_end(settings: Settings, job_id: int, progress: Progress = NO_PROGRESS) -> Job:
    """Wait until a job is done or has failed, and return the job. `progress` gets the status while the function waits.

    Raises: NoSuchJob, StoreUnavailable.
    """
    async with _open_jobs(settings) as (job_table, _):
        while True:
            job = await _job(job_table, job_id)
            if job.status in ("done", "failed"):
                return job
            progress.report(f"job {job_id} is {job.status}")
            await asyncio.sleep(_POLL_S)


def parse_day_or_instant(text: str, name: str, *, end: bool = False) -> str:
    """Parse an instant with a time zone, or a UTC day such as `2026-01-31`, and return an instant as text.

    An instant is returned unchanged. For a day the result is the begin of the day, or the begin of the next day if
    `end` is True. `name` is the name of the option in the error.

    Raises: ValidationFailed if `text` is neither an instant nor a day.
    """
    try:
        if len(text) == len("2026-01-31"):
            day = date.fromisoformat(text) + timedelta(days=end)
            return datetime.combine(day, time(), UTC).isoformat()
        if datetime.fromisoformat(text).tzinfo is not None:
            return text
    except (ValueError, OverflowError):
        pass
    raise ValidationFailed.at_path(name, "should be an instant with a time zone, or a day such as 2026-01-31")


def render_job_json(job: Job) -> str:
    """Return a job as one line of JSON."""
    return orjson.dumps(job.to_dict()).decode()


def summarize_job_result(job: Job) -> str:
    """Return a short text with the result or the error of a job, for the table of jobs.

    It is empty without a result.
    """
    if job.error is not None:
        return " ".join(job.error.split())
    return _text({name: value for name, value in (job.result or {}).items() if name not in _NOT_IN_TABLE})


async def _job(job_table: JobTable, job_id: int) -> Job:
    job = await job_table.get(job_id)
    if job is None:
        raise NoSuchJob(f"There is no job {job_id}: `synckairos jobs list` lists the jobs")
    return job


@asynccontextmanager
async def _open_jobs(settings: Settings) -> AsyncIterator[tuple[JobTable, JobQueue]]:
    wakeups = JobWakeups(settings.queue_redis_url, settings.key_prefix, settings.redis_timeout_s)
    try:
        pool = open_job_pool(settings.database_url, requires_roles=settings.auth == "required")
        await pool.check_reachable()
        async with pool:
            job_table = JobTable(pool)
            yield job_table, JobQueue(job_table, wakeups)
    finally:
        await wakeups.close()


def _row(job: Job) -> Sequence[str]:
    duration = "" if job.duration_ms is None else f"{job.duration_ms / 1000:.1f} s"
    result = summarize_job_result(job) or _text(job.params)
    return (
        str(job.job_id),
        job.type,
        job.status,
        str(job.attempts),
        f"{job.created_at:%Y-%m-%d %H:%M:%S}",
        duration,
        result,
    )


def _flatten(values: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    """Yield the members of an object. The name of a member of an inner object is `outer.inner`."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from ((f"{name}.{inner}", value[inner]) for inner in value)
        else:
            yield name, value


def _text(value: object) -> str:
    match value:
        case datetime():
            return value.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        case dict():
            return ", ".join(f"{name}: {item}" for name, item in value.items())
        case _:
            return str(value)
