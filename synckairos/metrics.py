"""Every metric this product exports, once. Base units, bounded labels: no session, participant or address ever is one.

Whoever does the thing counts it; reading happens in `/metrics` alone. Must not import any part of the stack.
"""

from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

REGISTRY: Final = CollectorRegistry(auto_describe=True)
for _collector in (ProcessCollector, PlatformCollector, GCCollector):
    _collector(registry=REGISTRY)

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_FAST = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
_SLOW = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

# -- REST: the first name and its labels are v2's ---------------------------------------------------------------------

HTTP_REQUESTS = Counter(
    "synckairos_http_requests_total",
    "HTTP requests answered",
    ("method", "route", "status_code"),
    registry=REGISTRY,
)
HTTP_DURATION = Histogram(
    "synckairos_http_request_duration_seconds",
    "Time from a request's head to the end of its answer",
    ("method", "route"),
    buckets=_FAST,
    registry=REGISTRY,
)
RATE_LIMITED = Counter(
    "synckairos_rate_limited_total", "Requests refused for coming too often", ("door",), registry=REGISTRY
)

# -- sessions ---------------------------------------------------------------------------------------------------------

ACTIVE_SESSIONS = Gauge(
    "synckairos_active_sessions", "Sessions in Redis that are not final, as of the last look", registry=REGISTRY
)
COMMANDS = Counter(
    "synckairos_commands_total",
    "Commands decided: `outcome` is applied, refused, replayed or failed",
    ("command", "outcome"),
    registry=REGISTRY,
)
COMMAND_DURATION = Histogram(
    "synckairos_command_duration_seconds", "Time to decide and commit a command", buckets=_FAST, registry=REGISTRY
)
COMMIT_CONFLICTS = Counter(
    "synckairos_commit_conflicts_total", "Commits that met a newer version and were decided again", registry=REGISTRY
)
RESTORED_SESSIONS = Counter(
    "synckairos_restored_sessions_total", "Sessions brought back from Postgres", registry=REGISTRY
)

# -- time -------------------------------------------------------------------------------------------------------------

TIMEKEEPER_LATENESS = Histogram(
    "synckairos_timekeeper_lateness_seconds",
    "Time from a deadline to the commit of what it brought about",
    buckets=_FAST,
    registry=REGISTRY,
)
CLOCK_STEPS = Counter(
    "synckairos_store_clock_steps_total", "Jumps of the store's clock: `direction` is back or forward", ("direction",),
    registry=REGISTRY,
)  # fmt: skip

# -- sockets ----------------------------------------------------------------------------------------------------------

WEBSOCKET_CONNECTIONS = Gauge("synckairos_websocket_connections", "Open WebSocket connections", registry=REGISTRY)
WEBSOCKET_FRAMES = Counter(
    "synckairos_websocket_frames_total", "Frames: `direction` is in or out", ("direction",), registry=REGISTRY
)
WEBSOCKET_CONFLATED = Counter(
    "synckairos_websocket_conflated_total", "States a slow reader skipped for a newer one", registry=REGISTRY
)
WEBSOCKET_CLOSED = Counter(
    "synckairos_websocket_closed_total", "Connections closed by the server, by close code", ("code",), registry=REGISTRY
)

# -- what instances tell each other -----------------------------------------------------------------------------------

FEED_MESSAGES = Counter("synckairos_feed_messages_total", "Feed messages received", registry=REGISTRY)
FEED_GAPS = Counter(
    "synckairos_feed_gaps_total", "Gaps in a session's versions that were read again", registry=REGISTRY
)
FEED_RECONNECTS = Counter("synckairos_feed_reconnects_total", "Feed connections made anew", registry=REGISTRY)
FEED_LAG = Histogram(
    "synckairos_feed_lag_seconds", "Time from a transition to its arrival here", buckets=_FAST, registry=REGISTRY
)

# -- the audit trail --------------------------------------------------------------------------------------------------

OUTBOX_ENTRIES = Gauge(
    "synckairos_outbox_entries", "Entries waiting for Postgres, as of the last look", registry=REGISTRY
)
OUTBOX_OLDEST_AGE = Gauge(
    "synckairos_outbox_oldest_age_seconds", "Age of the oldest entry waiting, as of the last look", registry=REGISTRY
)
AUDIT_ROWS = Counter("synckairos_audit_rows_total", "Rows written to Postgres", registry=REGISTRY)
AUDIT_FAILURES = Counter("synckairos_audit_failures_total", "Batches or entries that failed", registry=REGISTRY)
AUDIT_SET_ASIDE = Counter(
    "synckairos_audit_set_aside_total", "Entries set aside after their last try", registry=REGISTRY
)
AUDIT_CONFLICTS = Counter(
    "synckairos_audit_conflicts_total", "Entries whose version was in Postgres with other content", registry=REGISTRY
)
DRAIN_DURATION = Histogram(
    "synckairos_drain_duration_seconds", "Time of one drain of a partition", buckets=_SLOW, registry=REGISTRY
)


def render() -> bytes:
    """Render everything as Prometheus text."""
    return generate_latest(REGISTRY)
