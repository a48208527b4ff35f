"""Prometheus metrics of an instance, each defined once. `audit/metrics.py` adds the metrics of the audit.

All units are base units. All labels have few values; a session, participant or address is never a label. The code of an
operation counts the operation, and only `/metrics` reads the values. This module must not import any layer.
"""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram, generate_latest

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_FAST = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)

# -- REST: the first metric has v2's name and labels ------------------------------------------------------------------

HTTP_REQUESTS = Counter(
    "synckairos_http_requests_total", "HTTP requests with a response", ("method", "route", "status_code")
)
HTTP_DURATION = Histogram(
    "synckairos_http_request_duration_seconds",
    "Time from the head of an HTTP request to the end of its response",
    ("method", "route"),
    buckets=_FAST,
)
RATE_LIMITED = Counter("synckairos_rate_limited_total", "Requests refused by a rate limit", ("door",))

# -- sessions ---------------------------------------------------------------------------------------------------------

ACTIVE_SESSIONS = Gauge("synckairos_active_sessions", "Sessions in Redis whose status is not final, at this scrape")
COMMANDS = Counter(
    "synckairos_commands_total",
    "Commands executed: `outcome` is applied, refused, replayed or failed",
    ("command", "outcome"),
)
COMMAND_DURATION = Histogram(
    "synckairos_command_duration_seconds", "Time to decide and commit a command", buckets=_FAST
)
COMMIT_CONFLICTS = Counter(
    "synckairos_commit_conflicts_total", "Commits that lost a race against a newer version and were retried"
)
BACKLOG_REFUSALS = Counter("synckairos_backlog_refusals_total", "Commits refused because the outbox was full")
RECOVERED_SESSIONS = Counter("synckairos_recovered_sessions_total", "Sessions recovered after Redis lost its data")
RESTORED_SESSIONS = Counter("synckairos_restored_sessions_total", "Evicted sessions restored from Postgres")

# -- time -------------------------------------------------------------------------------------------------------------

TIMEKEEPER_LATENESS = Histogram(
    "synckairos_timekeeper_lateness_seconds",
    "Time from a deadline to the commit of its transition",
    buckets=_FAST,
)
CLOCK_STEPS = Counter(
    "synckairos_store_clock_steps_total", "Steps of the Redis clock: `direction` is back or forward", ("direction",)
)

LOOP_LAG = Histogram(
    "synckairos_event_loop_lag_seconds",
    "Delay of the event loop, measured by a timer 40 times a second",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.5, 1, 2.5),
)

# -- sockets ----------------------------------------------------------------------------------------------------------

WEBSOCKET_CONNECTIONS = Gauge("synckairos_websocket_connections", "Open WebSocket connections and event streams")
EVENT_STREAMS = Gauge("synckairos_event_streams", "Open event streams of v3 clients")
WEBSOCKET_MESSAGES = Counter("synckairos_websocket_messages_total", "Messages received from WebSocket clients")
WEBSOCKET_CONFLATED = Counter(
    "synckairos_websocket_conflated_total", "States that slow clients skipped because a newer one was ready"
)
WEBSOCKET_CLOSED = Counter(
    "synckairos_websocket_closed_total", "Connections closed by the server, by close code", ("code",)
)

PRESENCE_FRAMES = Counter("synckairos_presence_frames_total", "PRESENCE frames sent")

# -- feed between instances -------------------------------------------------------------------------------------------

INSTANCES = Gauge("synckairos_instances", "Instances with this store that are alive, at the last presence heartbeat")
FEED_MESSAGES = Counter("synckairos_feed_messages_total", "Feed messages received")
FEED_GAPS = Counter(
    "synckairos_feed_gaps_total", "Gaps in the feed of a session that were closed by reading the session again"
)
FEED_RECONNECTS = Counter("synckairos_feed_reconnects_total", "Reconnections of the feed's pub/sub connection")
FEED_LAG = Histogram(
    "synckairos_feed_lag_seconds",
    "Time from a transition to the arrival of its feed message at this instance",
    buckets=_FAST,
)


INVALID_STORED_DATA = Counter(
    "synckairos_invalid_stored_data_total",
    "Data of a key, a channel or a row that could not be used and was dropped or refused, by kind of key",
    ("kind",),
)

# -- history ----------------------------------------------------------------------------------------------------------

CACHE_READS = Counter(
    "synckairos_cache_reads_total",
    "Reads through the read cache: `kind` is lists or events; `outcome` is hit, miss or bypassed",
    ("kind", "outcome"),
)


def render_metrics() -> bytes:
    """Return all metrics in the text format of Prometheus."""
    return generate_latest()
