"""What background jobs tell Prometheus: all of them, as Postgres has them, from any server."""

import asyncio
from collections.abc import Iterable

from prometheus_client import REGISTRY, Gauge
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from synckairos.errors import StoreUnavailable
from synckairos.jobs.table import JobTable, JobTally

JOBS = Gauge("synckairos_jobs", "Background jobs of the last 30 days", ("type", "status"))
OLDEST_QUEUED = Gauge("synckairos_jobs_oldest_queued_seconds", "How long the oldest queued job waits", ("type",))

_PATIENCE_S = 0.5


class _Tallies(Collector):
    """Shows the counters of Postgres; they only grow, over every restart."""

    def __init__(self) -> None:
        self.tallies: list[JobTally] = []

    def collect(self) -> Iterable[Metric]:
        labels = ["type", "outcome"]
        attempts = CounterMetricFamily("synckairos_job_attempts", "Attempts: done, failed or died", labels=labels)
        seconds = CounterMetricFamily("synckairos_job_seconds", "Time that attempts took", labels=labels)
        for each in self.tallies:
            attempts.add_metric([each.type, each.outcome], each.attempts)
            seconds.add_metric([each.type, each.outcome], each.busy_ms / 1000)
        yield from (attempts, seconds)


_TALLIES = _Tallies()
REGISTRY.register(_TALLIES)


class JobGauges:
    """Keeps the numbers as they are on the job_table."""

    def __init__(self, job_table: JobTable) -> None:
        self._board = job_table

    async def refresh(self) -> None:
        """Measure, for the next scrape. While Postgres is away the numbers stay: the audit's own must not wait."""
        try:
            async with asyncio.timeout(_PATIENCE_S):
                depths, tallies = await self._board.queue_depths(), await self._board.attempt_tally()
        except (StoreUnavailable, TimeoutError):
            return
        JOBS.clear()
        OLDEST_QUEUED.clear()
        for depth in depths:
            JOBS.labels(depth.type, depth.status).set(depth.count)
            if depth.status == "queued":
                OLDEST_QUEUED.labels(depth.type).set(depth.oldest_s)
        _TALLIES.tallies = tallies
