"""How a benchmark tells what it measured: a line of JSON for each measurement, and the words for its figures."""

import json
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any

import uvloop


def tell(benchmark: str, figures: Mapping[str, Any]) -> None:
    """Print a measurement's line."""
    print(json.dumps({"benchmark": benchmark, **figures}), flush=True)


def tell_each(
    benchmark: str, only: str | None, measurements: Mapping[str, Callable[[], Coroutine[Any, Any, Mapping[str, Any]]]]
) -> None:
    """Measure, each in a loop of its own, and tell: all of it, or `only` the one named."""
    for name, measure in measurements.items():
        if only in (None, name):
            tell(f"{benchmark} {name}", uvloop.run(measure()))


def percentile(values: Iterable[float], percent: float) -> float:
    """Return the value that so many percent of them lie below."""
    ordered = sorted(values)
    return ordered[int(len(ordered) * percent / 100)]
