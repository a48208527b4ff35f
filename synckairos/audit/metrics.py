"""What the audit tells Prometheus: the backlog and what was ever done, of the whole store, as measured last.

Both live in Redis, so that any server's `/metrics` shows them, whichever worker did the work.
"""

from collections.abc import Iterable

from prometheus_client import REGISTRY, Gauge
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from synckairos.store.outbox import Backlog, Tally

OUTBOX_ENTRIES = Gauge("synckairos_audit_outbox_entries", "Versions on their way to Postgres")
OUTBOX_AGE_SECONDS = Gauge("synckairos_audit_outbox_age_seconds", "Age of the oldest of them; 0 without any")
OUTBOX_BYTES = Gauge("synckairos_audit_outbox_bytes", "Bytes that versions on their way to Postgres hold")
OUTBOX_FULLNESS = Gauge(
    "synckairos_audit_outbox_fullness_ratio", "How near the outbox is to its bounds; at 1 changes are refused"
)
RETRYING = Gauge("synckairos_audit_retrying_entries", "Refused entries that will be tried again by themselves")
SET_ASIDE = Gauge("synckairos_audit_failed_entries", "Refused entries set aside: `synckairos audit failed` lists them")


class _Tallied(Collector):
    """Shows the store's own counters; they only grow, over every restart."""

    def __init__(self) -> None:
        self.tally = Tally()

    def collect(self) -> Iterable[Metric]:
        for name, meaning, value in (
            ("drained", "Versions moved to Postgres", self.tally.drained),
            ("conflicts", "Versions that came a second time with other content", self.tally.conflicts),
            ("isolated", "Entries that Postgres refused", self.tally.isolated),
            ("batches", "Batches moved to Postgres", self.tally.batches),
            ("drain_seconds", "Time spent on moving them", self.tally.busy_us / 1e6),
        ):
            yield CounterMetricFamily(f"synckairos_audit_{name}", meaning, value=value)


_TALLIED = _Tallied()
REGISTRY.register(_TALLIED)


def publish_backlog(backlog: Backlog) -> None:
    """Make a measured backlog what the next scrape sees."""
    OUTBOX_ENTRIES.set(backlog.entries)
    OUTBOX_AGE_SECONDS.set(backlog.oldest_age_ms / 1000)
    OUTBOX_BYTES.set(backlog.bytes)
    OUTBOX_FULLNESS.set(backlog.fullness)
    RETRYING.set(backlog.retrying)
    SET_ASIDE.set(backlog.set_aside)
    _TALLIED.tally = backlog.tally
