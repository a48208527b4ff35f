"""What the audit tells Prometheus. Counters of the drain are its process' own; the backlog is the whole store's."""

from prometheus_client import Counter, Gauge, Histogram

from synckairos.store.outbox import Backlog

DRAINED = Counter("synckairos_audit_drained", "Versions this process has moved to Postgres.")
DRAIN_SECONDS = Histogram(
    "synckairos_audit_batch_seconds",
    "Seconds from reading a batch to its entries having left the outbox.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
CONFLICTS = Counter("synckairos_audit_conflicts", "Versions that came a second time with other content.")
FAILURES = Counter("synckairos_audit_failures", "Tries of entries that Postgres refused.")
INTERRUPTIONS = Counter("synckairos_audit_interruptions", "Drains that ended because a store didn't answer.")

OUTBOX_ENTRIES = Gauge("synckairos_audit_outbox_entries", "Versions on their way to Postgres, in the whole store.")
OUTBOX_AGE_SECONDS = Gauge("synckairos_audit_outbox_age_seconds", "Age of the oldest of them; 0 without any.")
RETRYING = Gauge("synckairos_audit_retrying_entries", "Refused entries that will be tried again by themselves.")
SET_ASIDE = Gauge("synckairos_audit_failed_entries", "Refused entries set aside: `synckairos audit failed` lists them.")


def show(backlog: Backlog) -> None:
    """Make a measured backlog what the next scrape sees."""
    OUTBOX_ENTRIES.set(backlog.entries)
    OUTBOX_AGE_SECONDS.set(backlog.oldest_age_ms / 1000)
    RETRYING.set(backlog.retrying)
    SET_ASIDE.set(backlog.set_aside)
