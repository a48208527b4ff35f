"""The page of metrics lists what a scrape has: every name, with its type, its labels and its unit."""

import importlib
import pkgutil
import re
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client import REGISTRY
from prometheus_client.registry import Collector

import synckairos
from tests.unit.docs.pages import Row, code_words, read_page, tables

ROWS: dict[str, Row] = {code_words(row["metric"])[0]: row for table in tables(read_page("metrics.md")) for row in table}


def collectors() -> Iterator[Collector]:
    """Yield every metric and collector of the package."""
    seen: set[int] = set()
    for module in pkgutil.walk_packages(synckairos.__path__, "synckairos."):
        if module.name.endswith("__main__"):
            continue
        for value in vars(importlib.import_module(module.name)).values():
            if Collector in type(value).__mro__ and value is not REGISTRY and id(value) not in seen:
                seen.add(id(value))
                yield value


def labels_of(owner: Any) -> tuple[str, ...]:
    # prometheus_client shows label names only with samples, which a metric that never happened doesn't have.
    return tuple(owner._labelnames)


def scraped() -> dict[str, tuple[str, tuple[str, ...]]]:
    """Return the type and the labels of each metric by the name that a scrape shows."""
    found: dict[str, tuple[str, tuple[str, ...]]] = {}
    for collector in collectors():
        for family in collector.collect():
            name = f"{family.name}_total" if family.type == "counter" else family.name
            found[name] = family.type, labels_of(collector if hasattr(collector, "_labelnames") else family)
    return found


def unit_in(name: str) -> str:
    """Return the unit that a name ends with, empty if it counts things."""
    match = re.search(r"_(seconds|bytes|ratio)(?:_total)?$", name)
    return match[1] if match else ""


def test_page_lists_exactly_the_metrics_of_the_package() -> None:
    listed = [code_words(row["metric"])[0] for table in tables(read_page("metrics.md")) for row in table]
    assert sorted(listed) == sorted(scraped())


def test_the_registry_has_no_other_metrics_of_this_product() -> None:
    names = {f"{each.name}_total" if each.type == "counter" else each.name for each in REGISTRY.collect()}
    assert {name for name in names if name.startswith("synckairos_")} == set(scraped())


@pytest.mark.parametrize("name", ROWS)
def test_page_gives_each_metric_its_type_labels_and_unit(name: str) -> None:
    row = ROWS[name]
    kind, labels = scraped()[name]
    assert (row["type"], tuple(code_words(row["labels"])), row["unit"]) == (kind, labels, unit_in(name))
    assert row["scope"] in ("instance", "store")
    assert row["meaning"]
