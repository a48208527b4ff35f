"""The metrics of a serving process, once; the audit's stand in `audit/metrics.py`, in the same registry.

Base units, bounded labels: no session, participant or address ever is one. Whoever does the thing counts it; reading
happens in `/metrics` alone. Must not import any part of the stack.
"""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram, generate_latest

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_FAST = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)

# -- REST: the first name and its labels are v2's ---------------------------------------------------------------------

HTTP_REQUESTS = Counter("synckairos_http_requests_total", "HTTP requests answered", ("method", "route", "status_code"))
HTTP_DURATION = Histogram(
    "synckairos_http_request_duration_seconds",
    "Time from a request's head to the end of its answer",
    ("method", "route"),
    buckets=_FAST,
)
RATE_LIMITED = Counter("synckairos_rate_limited_total", "Requests refused for coming too often", ("door",))

# -- sessions ---------------------------------------------------------------------------------------------------------

ACTIVE_SESSIONS = Gauge("synckairos_active_sessions", "Sessions in Redis that are not final, as of the last look")
COMMANDS = Counter(
    "synckairos_commands_total",
    "Commands decided: `outcome` is applied, refused, replayed or failed",
    ("command", "outcome"),
)
COMMAND_DURATION = Histogram(
    "synckairos_command_duration_seconds", "Time to decide and commit a command", buckets=_FAST
)
COMMIT_CONFLICTS = Counter(
    "synckairos_commit_conflicts_total", "Commits that met a newer version and were decided again"
)
BACKLOG_REFUSALS = Counter("synckairos_backlog_refusals_total", "Commits refused because too much waits in the outbox")
RECOVERED_SESSIONS = Counter("synckairos_recovered_sessions_total", "Sessions taken up again after Redis lost its data")
RESTORED_SESSIONS = Counter("synckairos_restored_sessions_total", "Sessions brought back from Postgres")

# -- time -------------------------------------------------------------------------------------------------------------

TIMEKEEPER_LATENESS = Histogram(
    "synckairos_timekeeper_lateness_seconds",
    "Time from a deadline to the commit of what it brought about",
    buckets=_FAST,
)
CLOCK_STEPS = Counter(
    "synckairos_store_clock_steps_total", "Jumps of the store's clock: `direction` is back or forward", ("direction",)
)

LOOP_LAG = Histogram(
    "synckairos_event_loop_lag_seconds",
    "How much later than due the event loop came to a timer of ours, looked at 40 times a second",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.5, 1, 2.5),
)

# -- sockets ----------------------------------------------------------------------------------------------------------

WEBSOCKET_CONNECTIONS = Gauge("synckairos_websocket_connections", "Open WebSocket connections")
WEBSOCKET_MESSAGES = Counter("synckairos_websocket_messages_total", "Messages received from clients of sockets")
WEBSOCKET_CONFLATED = Counter("synckairos_websocket_conflated_total", "States a slow reader skipped for a newer one")
WEBSOCKET_CLOSED = Counter(
    "synckairos_websocket_closed_total", "Connections closed by the server, by close code", ("code",)
)

PRESENCE_FRAMES = Counter("synckairos_presence_frames_total", "PRESENCE frames written")

# -- what instances tell each other -----------------------------------------------------------------------------------

INSTANCES = Gauge("synckairos_instances", "Serving instances on this store that lived at the last look")
FEED_MESSAGES = Counter("synckairos_feed_messages_total", "Feed messages received")
FEED_GAPS = Counter("synckairos_feed_gaps_total", "Gaps in a session's versions that were read again")
FEED_RECONNECTS = Counter("synckairos_feed_reconnects_total", "Feed connections made anew")
FEED_LAG = Histogram("synckairos_feed_lag_seconds", "Time from a transition to its arrival here", buckets=_FAST)


# -- history ----------------------------------------------------------------------------------------------------------

CACHE_READS = Counter(
    "synckairos_cache_reads_total",
    "Questions for Postgres: `kind` is lists or events, `outcome` hit, miss or bypassed",
    ("kind", "outcome"),
)


def render() -> bytes:
    """Render everything as Prometheus text."""
    return generate_latest()
