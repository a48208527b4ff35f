"""Prometheus metrics of the processes, each defined once, and their rendering.

The packages `audit`, `jobs`, `webhooks`, `postgres` and `store` define the metrics of their own values. All units are
base units. All labels have few values; a session, participant or address is never a label. The code of an operation
counts the operation, and only `/metrics` reads the values. This module must not import any layer.
"""

import platform
from collections.abc import Iterable
from typing import Final

from prometheus_client import REGISTRY, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from synckairos import __version__
from synckairos.telemetry.metric_types import (
    BOTH_PROCESSES,
    CATALOGUE,
    FAST_BUCKETS_S,
    MetricDefiner,
    ProcessKind,
)

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_COMMANDS = 40
"""Maximum number of commands, which have their names from the code and not from requests."""

# -- process ----------------------------------------------------------------------------------------------------------

_process = MetricDefiner("Process", BOTH_PROCESSES)

BUILD_INFO = _process.gauge(
    "synckairos_build_info",
    "1 for each running process. `process` is `server` or `worker`, `version` is the release, and `python` is the "
    "version of Python",
    {"process": 1, "version": 1, "python": 1},
)

# -- REST: the first metric has v2's name and labels ------------------------------------------------------------------

_rest = MetricDefiner("REST")

HTTP_REQUESTS = _rest.counter(
    "synckairos_http_requests_total",
    "Answered HTTP requests by `method`, `route` and `status_code`. `route` is the path with `:id` in place of ids, "
    "or `unmatched`. The status code 499 is a client that disconnected before the answer",
    {"method": 10, "route": 200, "status_code": 40},
)
HTTP_DURATION = _rest.histogram(
    "synckairos_http_request_duration_seconds",
    "Seconds from the headers of an HTTP request to the end of its answer, by `method` and `route`. Answers without an "
    "end, such as live tails, are not counted",
    {"method": 10, "route": 200},
)
RATE_LIMITED = _rest.counter(
    "synckairos_rate_limited_total",
    "Requests refused with RATE_LIMIT_EXCEEDED. `door` is `http`, or `ws` for handshakes and messages of sockets",
    {"door": 2},
)

# -- tenants ----------------------------------------------------------------------------------------------------------

MAX_TENANT_LABELS = 100
"""Maximum number of tenants with a label of their own. All further tenants have the label `other`."""

_tenants = MetricDefiner("Tenants")

TENANT_REQUESTS = _tenants.counter(
    "synckairos_tenant_requests_total",
    "REST requests and socket commands by `tenant`, while authentication is on. The first 100 tenants have a label of "
    "their own, all others have `other`",
    {"tenant": MAX_TENANT_LABELS + 1},
)
TENANT_REFUSALS = _tenants.counter(
    "synckairos_tenant_refusals_total",
    "Requests and sockets refused because `tenant` has reached `limit`, one of the limits of tenants",
    {"tenant": MAX_TENANT_LABELS + 1, "limit": 6},
)
TENANT_SOCKETS = _tenants.gauge(
    "synckairos_tenant_sockets",
    "Open sockets, event streams and live tails with a credential of `tenant`",
    {"tenant": MAX_TENANT_LABELS + 1},
)

# -- authentication ---------------------------------------------------------------------------------------------------

_authentication = MetricDefiner("Authentication")

ISSUER_KEYS_FETCHED = _authentication.gauge(
    "synckairos_issuer_keys_fetched_timestamp_seconds",
    "Unix time of the last successful fetch of the keys of an issuer (JWKS), or of the start of the instance. `source` "
    "is the host of the URL. Keys older than 24 hours are not used",
    {"source": 20},
)

# -- sessions ---------------------------------------------------------------------------------------------------------

_sessions = MetricDefiner("Sessions and commands")

ACTIVE_SESSIONS = _sessions.gauge(
    "synckairos_active_sessions", "Sessions of all tenants in Redis whose status is not final", scope="store"
)
COMMANDS = _sessions.counter(
    "synckairos_commands_total",
    "Decided commands of REST, sockets and the timekeeper, by `command`, such as `switch`, `create` or `expire`. "
    "`outcome` is `applied`, `refused` (the caller's fault), `replayed` (answered from an earlier result) or `failed` "
    "(the server's or a store's fault)",
    {"command": _COMMANDS, "outcome": 4},
)
COMMAND_DURATION = _sessions.event_loop_histogram(
    "synckairos_command_duration_seconds",
    "Seconds to decide and commit a command, with its round trips to Redis, by `command`",
    {"command": _COMMANDS},
)
COMMIT_CONFLICTS = _sessions.counter(
    "synckairos_commit_conflicts_total", "Commits that met a newer version of the session, and were decided again"
)
BACKLOG_REFUSALS = _sessions.counter("synckairos_backlog_refusals_total", "Commits refused because the outbox is full")
RECOVERED_SESSIONS = _sessions.counter(
    "synckairos_recovered_sessions_total", "Sessions that were recovered from Postgres after Redis lost its data"
)
RESTORED_SESSIONS = _sessions.counter(
    "synckairos_restored_sessions_total", "Evicted sessions that were restored from Postgres because a caller used them"
)
INVALID_STORED_DATA = _sessions.counter(
    "synckairos_invalid_stored_data_total",
    "Stored data that could not be used, and was dropped or refused. `kind` is the part of the Redis key after the "
    "partition, such as `session` or `deadlines`, or the name of a channel or table",
    {"kind": 40},
)
CACHE_READS = _sessions.counter(
    "synckairos_cache_reads_total",
    "Reads of the read cache in Redis. `kind` is `lists` or `events`; `outcome` is `hit`, `miss` or `bypassed`",
    {"kind": 2, "outcome": 3},
)

# -- time -------------------------------------------------------------------------------------------------------------

_time = MetricDefiner("Time")

TIMEKEEPER_LATENESS = _time.histogram(
    "synckairos_timekeeper_lateness_seconds",
    "Seconds from the deadline of a session until the timekeeper had committed its expiry or other transition",
)
CLOCK_STEPS = _time.counter(
    "synckairos_store_clock_steps_total",
    "Jumps of the clock of Redis by more than 1 s. `direction` is `back` or `forward`",
    {"direction": 2},
)
for _direction in ("back", "forward"):
    CLOCK_STEPS.labels(_direction)  # begins at 0, or Prometheus would not see the first step
LOOP_LAG = _time.histogram(
    "synckairos_event_loop_lag_seconds",
    "Seconds by which a timer of the event loop, which runs 40 times a second, ran too late",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.5, 1, 2.5),
)

# -- sockets ----------------------------------------------------------------------------------------------------------

_sockets = MetricDefiner("Sockets")

WEBSOCKET_CONNECTIONS = _sockets.gauge(
    "synckairos_websocket_connections", "Open WebSocket connections and event streams"
)
WEBSOCKET_CONNECTIONS_LIMIT = _sockets.gauge(
    "synckairos_websocket_connections_limit",
    "Maximum number of open WebSocket connections and event streams of this instance",
)
EVENT_STREAMS = _sockets.gauge("synckairos_event_streams", "Open event streams of clients without a WebSocket")
WATCHED_SESSIONS = _sockets.gauge("synckairos_watched_sessions", "Sessions with at least one watcher on this instance")
WEBSOCKET_MESSAGES = _sockets.counter(
    "synckairos_websocket_messages_total", "Messages received from clients over WebSocket connections and event streams"
)
WEBSOCKET_CONFLATED = _sockets.counter(
    "synckairos_websocket_conflated_total", "States that slow clients skipped because a newer state was ready"
)
WEBSOCKET_CLOSED = _sockets.counter(
    "synckairos_websocket_closed_total", "Connections that the server closed, by close `code`", {"code": 40}
)
PRESENCE_FRAMES = _sockets.counter("synckairos_presence_frames_total", "PRESENCE messages sent to clients")
PRESENCE_ROUND_DURATION = _sockets.histogram(
    "synckairos_presence_round_duration_seconds",
    "Seconds of one presence round, which writes and reads changed counts of watchers and sends them to clients",
)
PRESENCE_FAILURES = _sockets.counter(
    "synckairos_presence_round_failures_total", "Presence rounds that failed because Redis did not answer"
)

# -- feed between instances -------------------------------------------------------------------------------------------

_feed = MetricDefiner("Feed between instances")

INSTANCES = _feed.gauge(
    "synckairos_instances", "Running instances that use this store, at the last presence heartbeat", scope="store"
)
FEED_MESSAGES = _feed.counter("synckairos_feed_messages_total", "Feed messages received from Redis pub/sub")
FEED_GAPS = _feed.counter(
    "synckairos_feed_gaps_total",
    "Gaps in the feed of a session, after which the instance read the missing versions from Redis",
)
FEED_RECONNECTS = _feed.counter(
    "synckairos_feed_reconnects_total", "Pub/sub connections of the feed that were lost and replaced"
)
FEED_LAG = _feed.histogram(
    "synckairos_feed_lag_seconds",
    "Seconds from the instant of a version to the arrival of its feed message at this instance",
    buckets=FAST_BUCKETS_S,
)

# -- stores -----------------------------------------------------------------------------------------------------------

_stores = MetricDefiner("Redis and Postgres", BOTH_PROCESSES)

STORE_UP = _stores.gauge(
    "synckairos_store_up",
    "1 if this process can use the store, 0 during an outage. `store` is `redis`, `postgres`, or `queue redis` for a "
    "separate Redis of the job queues",
    {"store": 3},
)


class _MetricsOfProcess(Collector):
    """The registered metrics that one kind of process has, and the general metrics of `prometheus_client`."""

    def __init__(self, process: ProcessKind) -> None:
        self._process = process

    def collect(self) -> Iterable[Metric]:
        for family in REGISTRY.collect():
            info = CATALOGUE.get(f"{family.name}_total" if family.type == "counter" else family.name)
            if info is None or self._process in info.processes:
                yield family


def set_build_info(process: ProcessKind) -> None:
    """Set `synckairos_build_info`. A process calls this once, at its start."""
    BUILD_INFO.labels(process, __version__, platform.python_version()).set(1)


def render_metrics(process: ProcessKind) -> bytes:
    """Return the metrics of a kind of process in the text format of Prometheus."""
    return generate_latest(_MetricsOfProcess(process))
