"""Definition of Prometheus metrics. Each definition enters a catalogue, from which the reference page is rendered.

This module must not import any layer.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from prometheus_client import REGISTRY, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

# `_created` series would add a series to each counter and histogram, and no dashboard uses them.
disable_created_metrics()  # type: ignore[no-untyped-call]

ProcessKind = Literal["server", "worker"]
Scope = Literal["process", "store"]
Section = Literal[
    "Process",
    "REST",
    "Tenants",
    "Authentication",
    "Sessions and commands",
    "Time",
    "Sockets",
    "Feed between instances",
    "Redis and Postgres",
    "Audit",
    "Jobs",
    "Webhooks",
]

FAST_BUCKETS_S: Final = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""Upper bounds in seconds of the buckets for operations that normally take milliseconds."""

STORE_WIDE: Final = "Describes the whole store: combine processes with max, not with sum"
"""Last sentence of the help text of each metric with the scope `store`."""

BOTH_PROCESSES: Final[tuple[ProcessKind, ...]] = ("server", "worker")
ONLY_SERVERS: Final[tuple[ProcessKind, ...]] = ("server",)
ONLY_WORKERS: Final[tuple[ProcessKind, ...]] = ("worker",)


@dataclass(frozen=True, slots=True)
class MetricInfo:
    """Description of one metric.

    - `name`: the name in a scrape. The name of a counter ends with `_total`.
    - `kind`: `counter`, `gauge` or `histogram`.
    - `help_text`: the text after `# HELP` in a scrape.
    - `max_label_values`: maximum number of values of each label, by label.
    - `scope`: `process` counts the scraped process since its start. `store` describes the whole store.
    - `processes`: the kinds of processes that have the metric.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help_text: str
    max_label_values: Mapping[str, int]
    section: Section
    scope: Scope
    processes: Sequence[ProcessKind]

    @property
    def unit(self) -> str:
        """Return `seconds`, `bytes` or `ratio`, or an empty text if the metric counts things."""
        base = self.name.removesuffix("_total")
        return next((unit for unit in ("seconds", "bytes", "ratio") if base.endswith(f"_{unit}")), "")


CATALOGUE: Final[dict[str, MetricInfo]] = {}
"""All metrics of the imported modules, by name."""


class HistogramSeries:
    """Bucket counts and sum of one combination of labels.

    Only the thread of the event loop may call `observe`. So no lock is needed, and `observe` takes a fifth of the time
    of `prometheus_client`.
    """

    __slots__ = ("_bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count a value. The unit is that of the bounds."""
        self.counts[bisect_left(self._bounds, value)] += 1
        self.total += value


class EventLoopHistogram(Collector):
    """Histogram of operations that are too frequent for the locks of `prometheus_client`. See `HistogramSeries`."""

    def __init__(self, name: str, help_text: str, labels: Sequence[str], buckets: tuple[float, ...]) -> None:
        self._name = name
        self._help_text = help_text
        self._labels = tuple(labels)
        self._bounds = buckets
        self._series: dict[tuple[str, ...], HistogramSeries] = {}

    def with_labels(self, *values: str) -> HistogramSeries:
        """Return the series with these values of the labels. The same values return the same object."""
        series = self._series.get(values)
        if series is None:
            assert len(values) == len(self._labels)
            series = self._series[values] = HistogramSeries(self._bounds)
        return series

    def collect(self) -> Iterable[Metric]:
        """Yield the histogram for a scrape. The thread of the scrape may be another thread."""
        family = HistogramMetricFamily(self._name, self._help_text, labels=self._labels)
        bounds = [*map(str, self._bounds), "+Inf"]
        for values, series in tuple(self._series.items()):
            cumulated, buckets = 0, []
            for bound, count in zip(bounds, tuple(series.counts), strict=True):
                cumulated += count
                buckets.append((bound, cumulated))
            family.add_metric(values, buckets, series.total)
        yield family


class StoredCounter(Collector):
    """Counter whose values are kept in a store, so that all processes return the same values.

    A restart of a process does not reset the values. The counter has no sample before the first call of `set_values`.
    """

    def __init__(self, name: str, help_text: str, labels: Sequence[str]) -> None:
        self._name = name
        self._help_text = help_text
        self._labels = tuple(labels)
        self._values: Mapping[tuple[str, ...], float] = {}

    def set_values(self, values: Mapping[tuple[str, ...], float]) -> None:
        """Replace all values. The keys are the values of the labels, in the order of the definition."""
        self._values = dict(values)

    def collect(self) -> Iterable[Metric]:
        """Yield the counter for a scrape."""
        family = CounterMetricFamily(self._name.removesuffix("_total"), self._help_text, labels=self._labels)
        for labels, value in self._values.items():
            family.add_metric(labels, value)
        yield family


class MetricDefiner:
    """Defines the metrics of one section, registers them, and adds them to `CATALOGUE`.

    `processes` are the kinds of processes that have the metrics of the section; a definition can state others. In each
    method, `labels` has the maximum number of values of each label.
    """

    def __init__(self, section: Section, processes: Sequence[ProcessKind] = ONLY_SERVERS) -> None:
        self._section: Section = section
        self._processes = processes

    def counter(self, name: str, help_text: str, labels: Mapping[str, int] | None = None) -> Counter:
        """Define a counter of this process."""
        info = self._add(name, "counter", help_text, labels, "process", None)
        return Counter(name, info.help_text, tuple(info.max_label_values))

    def gauge(
        self,
        name: str,
        help_text: str,
        labels: Mapping[str, int] | None = None,
        *,
        scope: Scope = "process",
        processes: Sequence[ProcessKind] | None = None,
    ) -> Gauge:
        """Define a gauge."""
        info = self._add(name, "gauge", help_text, labels, scope, processes)
        return Gauge(name, info.help_text, tuple(info.max_label_values))

    def histogram(
        self,
        name: str,
        help_text: str,
        labels: Mapping[str, int] | None = None,
        *,
        buckets: Sequence[float] = FAST_BUCKETS_S,
        processes: Sequence[ProcessKind] | None = None,
    ) -> Histogram:
        """Define a histogram that all threads can use. `buckets` are the upper bounds, in the unit of the name."""
        info = self._add(name, "histogram", help_text, labels, "process", processes)
        return Histogram(name, info.help_text, tuple(info.max_label_values), buckets=buckets)

    def event_loop_histogram(
        self,
        name: str,
        help_text: str,
        labels: Mapping[str, int] | None = None,
        *,
        buckets: tuple[float, ...] = FAST_BUCKETS_S,
        processes: Sequence[ProcessKind] | None = None,
    ) -> EventLoopHistogram:
        """Define a histogram for very frequent operations in the thread of the event loop."""
        info = self._add(name, "histogram", help_text, labels, "process", processes)
        histogram = EventLoopHistogram(name, info.help_text, tuple(info.max_label_values), buckets)
        REGISTRY.register(histogram)
        return histogram

    def stored_counter(self, name: str, help_text: str, labels: Mapping[str, int] | None = None) -> StoredCounter:
        """Define a counter whose values are kept in a store."""
        info = self._add(name, "counter", help_text, labels, "store", None)
        counter = StoredCounter(name, info.help_text, tuple(info.max_label_values))
        REGISTRY.register(counter)
        return counter

    def add_to_catalogue(
        self, name: str, kind: Literal["counter", "gauge"], help_text: str, labels: Mapping[str, int]
    ) -> MetricInfo:
        """Describe a metric of this process that the caller collects with a class of its own."""
        return self._add(name, kind, help_text, labels, "process", None)

    def _add(
        self,
        name: str,
        kind: Literal["counter", "gauge", "histogram"],
        help_text: str,
        labels: Mapping[str, int] | None,
        scope: Scope,
        processes: Sequence[ProcessKind] | None,
    ) -> MetricInfo:
        if scope == "store":
            help_text = f"{help_text}. {STORE_WIDE}"
        info = MetricInfo(name, kind, help_text, labels or {}, self._section, scope, processes or self._processes)
        CATALOGUE[name] = info
        return info
