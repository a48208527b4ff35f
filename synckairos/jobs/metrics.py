"""Prometheus metrics of background jobs.

The values come from Postgres, so each instance reports the work of all workers.
"""

import asyncio
from collections.abc import Iterable

from prometheus_client import REGISTRY, Gauge
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from synckairos.errors import StoreUnavailable
from synckairos.jobs.table import JobAttemptTotal, JobTable

JOBS = Gauge("synckairos_jobs", "Background jobs of the last 30 days", ("type", "status"))
OLDEST_QUEUED = Gauge("synckairos_jobs_oldest_queued_seconds", "Age of the oldest queued job", ("type",))

_TIMEOUT_S = 0.5


class _TallyCollector(Collector):
    """Collector that exports the attempt counters in Postgres. A restart of a process does not reset these counters."""

    def __init__(self) -> None:
        self.tallies: list[JobAttemptTotal] = []

    def collect(self) -> Iterable[Metric]:
        labels = ["type", "outcome"]
        attempts = CounterMetricFamily("synckairos_job_attempts", "Attempts: done, failed or died", labels=labels)
        seconds = CounterMetricFamily("synckairos_job_seconds", "Duration of attempts", labels=labels)
        for each in self.tallies:
            attempts.add_metric([each.type, each.outcome], each.attempts)
            seconds.add_metric([each.type, each.outcome], each.busy_ms / 1000)
        yield from (attempts, seconds)


_TALLY_COLLECTOR = _TallyCollector()
REGISTRY.register(_TALLY_COLLECTOR)


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
        _TALLY_COLLECTOR.tallies = tallies
