"""Prometheus metrics of background jobs.

The numbers of jobs and attempts come from Postgres, so each instance reports the work of all workers.
"""

import asyncio

from synckairos.errors import StoreUnavailable
from synckairos.jobs.table import JobTable
from synckairos.telemetry.metric_types import ONLY_WORKERS, MetricDefiner

_TYPES = 10
"""Maximum number of types of jobs."""

_jobs = MetricDefiner("Jobs")

JOBS = _jobs.gauge(
    "synckairos_jobs",
    "Background jobs of the last 30 days by `type`, such as `archive`, and `status`: `queued`, `running`, `done` or "
    "`failed`",
    {"type": _TYPES, "status": 4},
    scope="store",
)
OLDEST_QUEUED = _jobs.gauge(
    "synckairos_jobs_oldest_queued_seconds",
    "Age of the oldest queued background job by `type`",
    {"type": _TYPES},
    scope="store",
)
ATTEMPTS = _jobs.stored_counter(
    "synckairos_job_attempts_total",
    "Attempts at background jobs by `type`. `outcome` is `done`, `failed` or `died` (the worker died)",
    {"type": _TYPES, "outcome": 3},
)
ATTEMPT_SECONDS = _jobs.stored_counter(
    "synckairos_job_seconds_total",
    "Seconds that attempts at background jobs took, by `type`. `outcome` is `done`, `failed` or `died`",
    {"type": _TYPES, "outcome": 3},
)
JOB_DURATION = _jobs.histogram(
    "synckairos_job_duration_seconds",
    "Seconds of an attempt at a background job by this worker, by `type`. `outcome` is `done`, `failed`, or "
    "`interrupted` (the worker stopped, or lost the job to another worker)",
    {"type": _TYPES, "outcome": 3},
    buckets=(0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 900, 3600),
    processes=ONLY_WORKERS,
)

_TIMEOUT_S = 0.5


class JobGauges:
    """Sets the job metrics of this process to values from the job table.

    `/metrics` calls `refresh` before each answer.
    """

    def __init__(self, job_table: JobTable) -> None:
        self._job_table = job_table

    async def refresh(self) -> None:
        """Update the metrics. If Postgres does not answer within 0.5 s, keep the old values.

        The limit is short because the same `/metrics` response has the metrics of the audit, which must not wait
        longer.
        """
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                depths, tallies = await self._job_table.queue_depths(), await self._job_table.count_attempts()
        except (StoreUnavailable, TimeoutError):
            return
        JOBS.clear()
        OLDEST_QUEUED.clear()
        for depth in depths:
            JOBS.labels(depth.type, depth.status).set(depth.count)
            if depth.status == "queued":
                OLDEST_QUEUED.labels(depth.type).set(depth.oldest_s)
        ATTEMPTS.set_values({(each.type, each.outcome): each.attempts for each in tallies})
        ATTEMPT_SECONDS.set_values({(each.type, each.outcome): each.busy_ms / 1000 for each in tallies})
