"""Addition of the metrics of several processes to one scrape, so that a scrape of one process describes all of them.

- Counters and histograms are added. Those of ended processes stay in the sum, so that a counter never falls.
- Gauges are added. Of a Unix time, the earliest counts.
- Values that describe the whole store are those of the process that answers the scrape.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from prometheus_client import generate_latest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from synckairos.telemetry.metric_types import CATALOGUE

_EARLIEST: Final = ("_timestamp_seconds", "_start_time_seconds")
_ADDED_TYPES: Final = ("counter", "histogram")

SampleKey = tuple[str, tuple[tuple[str, str], ...]]


class _MergedFamilies(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = tuple(families)

    def collect(self) -> Iterable[Metric]:
        return self._families


def merge_metrics(own: bytes, others: Sequence[bytes], ended: Sequence[bytes]) -> bytes:
    """Return one text in the format of Prometheus for several texts in this format.

    `own` is the text of the process that answers, `others` are those of other running processes, and `ended` are the
    last known texts of processes that have ended.

    Raises: ValueError if a text is malformed.
    """
    merged: dict[str, tuple[Metric, dict[SampleKey, float]]] = {}
    for text in (own, *others, *ended):
        for family in text_string_to_metric_families(text.decode()):
            is_of_store = _is_of_store(family)
            if text is not own and is_of_store:
                continue
            if text in ended and family.type not in _ADDED_TYPES:
                continue
            _, values = merged.setdefault(family.name, (family, {}))
            combine = _combination(family.name)
            for sample in family.samples:
                key = sample.name, tuple(sample.labels.items())
                values[key] = combine(values[key], sample.value) if key in values else sample.value
    families = []
    for family, values in merged.values():
        result = Metric(family.name, family.documentation, family.type)
        result.samples = [Sample(name, dict(labels), value) for (name, labels), value in values.items()]
        families.append(result)
    return generate_latest(_MergedFamilies(families))


def _is_of_store(family: Metric) -> bool:
    info = CATALOGUE.get(f"{family.name}_total" if family.type == "counter" else family.name)
    return info is not None and info.scope == "store"


def _combination(name: str) -> Callable[[float, float], float]:
    return min if name.endswith(_EARLIEST) else _add


def _add(one: float, other: float) -> float:
    return one + other
