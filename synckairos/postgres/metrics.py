"""Prometheus metrics of Postgres: duration of statements by name, and the connections of each pool."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final
from weakref import WeakSet

from prometheus_client import REGISTRY
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from synckairos.telemetry.metric_types import BOTH_PROCESSES, HistogramSeries, MetricDefiner

if TYPE_CHECKING:
    from synckairos.postgres.pool import PostgresPool

_POOLS = 8
"""Maximum number of names of pools."""

_postgres = MetricDefiner("Redis and Postgres", BOTH_PROCESSES)

_STATEMENT_DURATION = _postgres.event_loop_histogram(
    "synckairos_postgres_statement_duration_seconds",
    "Seconds of one SQL statement, with the round trip to Postgres, and without the wait for a connection. `operation` "
    "is the file and the name of the statement, such as `jobs.claim`, or `other`",
    {"operation": 200},
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0),
)
POOL_WAIT = _postgres.event_loop_histogram(
    "synckairos_postgres_pool_wait_seconds",
    "Seconds that a caller waited for a connection of a pool, by `pool`. Waits without success are not counted",
    {"pool": _POOLS},
    buckets=(0.001, 0.01, 0.1, 0.5, 1.0, 5.0),
)
_OTHER = _STATEMENT_DURATION.with_labels("other")

_SERIES: Final[dict[bytes, HistogramSeries]] = {}
"""Series by the text of the statement."""


def name_statements(file: str, statements: dict[str, bytes]) -> None:
    """Give the statements of an SQL file, such as `jobs.sql`, names in the metric."""
    for name, text in statements.items():
        _SERIES[text] = _STATEMENT_DURATION.with_labels(f"{file.removesuffix('.sql')}.{name}")


def find_statement_series(statement: object) -> HistogramSeries:
    """Return the series for the duration of a statement."""
    return _SERIES.get(statement, _OTHER) if isinstance(statement, bytes) else _OTHER


class _PoolCollector(Collector):
    """Collector of the connections of all open pools of this process. Pools with the same name are added up."""

    def __init__(self) -> None:
        self.pools: WeakSet[PostgresPool] = WeakSet()
        self._connections = _postgres.add_to_catalogue(
            "synckairos_postgres_pool_connections",
            "gauge",
            "Open connections of a pool to Postgres by `pool`. `state` is `used` or `idle`",
            {"pool": _POOLS, "state": 2},
        )
        self._limit = _postgres.add_to_catalogue(
            "synckairos_postgres_pool_connections_limit",
            "gauge",
            "Maximum number of connections of a pool to Postgres, by `pool`",
            {"pool": _POOLS},
        )
        self._waiting = _postgres.add_to_catalogue(
            "synckairos_postgres_pool_waiting",
            "gauge",
            "Callers that wait for a connection of a pool to Postgres, by `pool`",
            {"pool": _POOLS},
        )
        self._errors = _postgres.add_to_catalogue(
            "synckairos_postgres_pool_timeouts_total",
            "counter",
            "Callers that got no connection of a pool to Postgres in time, by `pool`",
            {"pool": _POOLS},
        )

    def collect(self) -> Iterable[Metric]:
        connections, limit, waiting = (
            GaugeMetricFamily(info.name, info.help_text, labels=tuple(info.max_label_values))
            for info in (self._connections, self._limit, self._waiting)
        )
        errors = CounterMetricFamily(
            self._errors.name.removesuffix("_total"),
            self._errors.help_text,
            labels=tuple(self._errors.max_label_values),
        )
        sums: dict[str, list[int]] = {}
        for pool in tuple(self.pools):
            if pool.closed:
                continue
            statistics = pool.get_stats()
            values = (
                pool.in_use,
                max(0, statistics.get("pool_size", 0) - pool.in_use),
                pool.max_size,
                statistics.get("requests_waiting", 0),
                pool.timeouts,
            )
            name = pool.name.removeprefix("synckairos ")
            sums[name] = [before + value for before, value in zip(sums.get(name, [0] * 5), values, strict=True)]
        for name, (used, idle, most, callers, timeouts) in sums.items():
            connections.add_metric([name, "used"], used)
            connections.add_metric([name, "idle"], idle)
            limit.add_metric([name], most)
            waiting.add_metric([name], callers)
            errors.add_metric([name], timeouts)
        yield from (connections, limit, waiting, errors)


POOLS: Final = _PoolCollector()
"""The collector, to which each pool adds itself."""

REGISTRY.register(POOLS)
