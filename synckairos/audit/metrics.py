"""Prometheus metrics of the audit: the latest measured size of the outbox, the counters of all drains, and durations.

Redis has the size and the counters, so each process reports the work of all workers.
"""

from synckairos.store.outbox import OutboxBacklog
from synckairos.telemetry.metric_types import BOTH_PROCESSES, ONLY_WORKERS, MetricDefiner

_audit = MetricDefiner("Audit", BOTH_PROCESSES)

OUTBOX_ENTRIES = _audit.gauge(
    "synckairos_audit_outbox_entries", "Versions in the outbox, which are not in Postgres yet", scope="store"
)
OUTBOX_AGE_SECONDS = _audit.gauge(
    "synckairos_audit_outbox_age_seconds", "Age of the oldest version in the outbox; 0 if it is empty", scope="store"
)
OUTBOX_BYTES = _audit.gauge("synckairos_audit_outbox_bytes", "Bytes of the versions in the outbox", scope="store")
OUTBOX_FULLNESS = _audit.gauge(
    "synckairos_audit_outbox_fullness_ratio",
    "Size of the outbox divided by its limit. At 1, commands are refused with a 503",
    scope="store",
)
RETRYING = _audit.gauge(
    "synckairos_audit_retrying_entries",
    "Outbox entries that Postgres rejected and that will be tried again",
    scope="store",
)
SET_ASIDE = _audit.gauge(
    "synckairos_audit_failed_entries",
    "Outbox entries that Postgres rejected, set aside for the operator. `synckairos audit failed` lists them",
    scope="store",
)
DRAINED = _audit.stored_counter("synckairos_audit_drained_total", "Versions moved from the outbox to Postgres")
CONFLICTS = _audit.stored_counter(
    "synckairos_audit_conflicts_total", "Versions that arrived a second time with different content"
)
ISOLATED = _audit.stored_counter("synckairos_audit_isolated_total", "Outbox entries that Postgres rejected")
BATCHES = _audit.stored_counter("synckairos_audit_batches_total", "Batches moved from the outbox to Postgres")
DRAIN_SECONDS = _audit.stored_counter(
    "synckairos_audit_drain_seconds_total", "Seconds that workers spent on writing batches to Postgres"
)
BATCH_DURATION = _audit.histogram(
    "synckairos_audit_batch_duration_seconds",
    "Seconds to write one batch of the outbox to Postgres, including the commit",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
    processes=ONLY_WORKERS,
)


def set_backlog_gauges(backlog: OutboxBacklog) -> None:
    """Set the audit metrics to the values of a measured backlog."""
    OUTBOX_ENTRIES.set(backlog.entries)
    OUTBOX_AGE_SECONDS.set(backlog.oldest_age_ms / 1000)
    OUTBOX_BYTES.set(backlog.bytes)
    OUTBOX_FULLNESS.set(backlog.fullness)
    RETRYING.set(backlog.retrying)
    SET_ASIDE.set(backlog.set_aside)
    tally = backlog.tally
    DRAINED.set_values({(): tally.drained})
    CONFLICTS.set_values({(): tally.conflicts})
    ISOLATED.set_values({(): tally.isolated})
    BATCHES.set_values({(): tally.batches})
    DRAIN_SECONDS.set_values({(): tally.busy_us / 1e6})
