"""Prometheus metrics of the audit: the latest measured size of the outbox, and the counters of all drains.

Redis has the size and the counters, so each instance reports the work of all workers.
"""

from collections.abc import Iterable

from prometheus_client import REGISTRY, Gauge
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from synckairos.store.outbox import DrainTally, OutboxBacklog

OUTBOX_ENTRIES = Gauge("synckairos_audit_outbox_entries", "Versions in the outbox")
OUTBOX_AGE_SECONDS = Gauge("synckairos_audit_outbox_age_seconds", "Age of the oldest version in the outbox; 0 if empty")
OUTBOX_BYTES = Gauge("synckairos_audit_outbox_bytes", "Bytes of the versions in the outbox")
OUTBOX_FULLNESS = Gauge(
    "synckairos_audit_outbox_fullness_ratio", "Size of the outbox divided by its limit; at 1 commands are refused"
)
RETRYING = Gauge("synckairos_audit_retrying_entries", "Failed entries that will be retried automatically")
SET_ASIDE = Gauge("synckairos_audit_failed_entries", "Failed entries set aside: `synckairos audit failed` lists them")


class _TallyCollector(Collector):
    """Collector that exports the counters in Redis. A restart of a process does not reset these counters."""

    def __init__(self) -> None:
        self.tally = DrainTally()

    def collect(self) -> Iterable[Metric]:
        for name, description, value in (
            ("drained", "Versions moved to Postgres", self.tally.drained),
            ("conflicts", "Versions that arrived a second time with different content", self.tally.conflicts),
            ("isolated", "Entries that Postgres rejected", self.tally.isolated),
            ("batches", "Batches moved to Postgres", self.tally.batches),
            ("drain_seconds", "Time spent on moving batches to Postgres", self.tally.busy_us / 1e6),
        ):
            yield CounterMetricFamily(f"synckairos_audit_{name}", description, value=value)


_TALLY_COLLECTOR = _TallyCollector()
REGISTRY.register(_TALLY_COLLECTOR)


def set_backlog_gauges(backlog: OutboxBacklog) -> None:
    """Set the audit metrics to the values of a measured backlog."""
    OUTBOX_ENTRIES.set(backlog.entries)
    OUTBOX_AGE_SECONDS.set(backlog.oldest_age_ms / 1000)
    OUTBOX_BYTES.set(backlog.bytes)
    OUTBOX_FULLNESS.set(backlog.fullness)
    RETRYING.set(backlog.retrying)
    SET_ASIDE.set(backlog.set_aside)
    _TALLY_COLLECTOR.tally = backlog.tally
