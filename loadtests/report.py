"""Output of load tests: one line of JSON per measurement, and percentiles."""

import json
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any

import uvloop


def print_result(load_test: str, figures: Mapping[str, Any]) -> None:
    """Print the figures of one measurement as a line of JSON."""
    print(json.dumps({"benchmark": load_test, **figures}), flush=True)


def run_measurements(
    load_test: str, only: str | None, measurements: Mapping[str, Callable[[], Coroutine[Any, Any, Mapping[str, Any]]]]
) -> None:
    """Run the measurements, each in a new event loop, and print their results.

    `only` is the name of the only measurement to run. None runs all.
    """
    for name, measure in measurements.items():
        if only in (None, name):
            print_result(f"{load_test} {name}", uvloop.run(measure()))


def percentile(values: Iterable[float], percent: float) -> float:
    """Return the value below which `percent` percent of the values are."""
    ordered = sorted(values)
    return ordered[int(len(ordered) * percent / 100)]
