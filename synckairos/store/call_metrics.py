"""Duration of calls to Redis by operation: the name of a Lua script, or the name of the first command of a call."""

from typing import Any, Final

from synckairos.telemetry.metric_types import BOTH_PROCESSES, HistogramSeries, MetricDefiner

_redis = MetricDefiner("Redis and Postgres", BOTH_PROCESSES)

_CALL_DURATION = _redis.event_loop_histogram(
    "synckairos_redis_call_duration_seconds",
    "Seconds from the queueing of a call to Redis to its last reply, for calls over the shared connection. `operation` "
    "is the name of a Lua script, such as `commit`, or the first command of the call, such as `hmget`",
    {"operation": 80},
)
FAILED_CALLS = _redis.counter(
    "synckairos_redis_failed_calls_total", "Calls to Redis without a reply, because the connection was lost or too slow"
)

_SERIES: Final[dict[Any, HistogramSeries]] = {}
"""Series by the hash of a script, or by the name of a command."""


def name_script(sha: str, name: str) -> None:
    """Give the calls of the Lua script with this hash a name in the metric."""
    _SERIES[sha] = _CALL_DURATION.with_labels(name)


def find_call_series(command: tuple[Any, ...]) -> HistogramSeries:
    """Return the series for a call whose first command is `command`."""
    name = command[1] if command[0] == "EVALSHA" else command[0]
    series = _SERIES.get(name)
    if series is None:
        # A script without a name has no own series, because its hash says nothing to an operator.
        operation = "script" if command[0] == "EVALSHA" else str(name).lower()
        series = _SERIES[name] = _CALL_DURATION.with_labels(operation)
    return series
