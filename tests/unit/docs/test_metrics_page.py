"""The page of metrics is rendered from the catalogue, and the catalogue describes what a scrape has."""

import re
from importlib import resources
from pathlib import Path
from typing import get_args

import pytest
from prometheus_client import REGISTRY

from synckairos.jobs.kinds import JOB_KINDS
from synckairos.telemetry.metric_types import CATALOGUE, STORE_WIDE, ProcessKind
from synckairos.telemetry.metrics import render_metrics
from synckairos.wire.close_code_docs import V2_CLOSE_CODES, V3_CLOSE_CODES
from synckairos.wire.command_bodies.table import COMMAND_BODIES
from tests.unit.docs.metrics_page import PAGE, load_catalogue, render

NAMES = sorted(load_catalogue())


def scraped_kinds(process: ProcessKind) -> dict[str, str]:
    """Return the type of each metric of this product in a scrape, by name."""
    text = render_metrics(process).decode()
    return dict(re.findall(r"^# TYPE (synckairos_\S+) (\S+)$", text, re.MULTILINE))


def test_page_is_rendered_from_the_catalogue() -> None:
    assert PAGE.read_text() == render(), "stale: make metrics-page"


@pytest.mark.parametrize("process", get_args(ProcessKind))
def test_scrape_of_a_process_has_exactly_its_metrics_of_the_catalogue(process: ProcessKind) -> None:
    expected = {info.name: info.kind for info in CATALOGUE.values() if process in info.processes}
    assert scraped_kinds(process) == expected


def test_registry_has_no_metrics_of_this_product_outside_the_catalogue() -> None:
    names = {f"{each.name}_total" if each.type == "counter" else each.name for each in REGISTRY.collect()}
    assert {name for name in names if name.startswith("synckairos_")} == set(CATALOGUE)


def test_scrape_has_no_created_series() -> None:
    lines = render_metrics("server").decode().splitlines()
    assert [line for line in lines if line.partition("{")[0].partition(" ")[0].endswith("_created")] == []


@pytest.mark.parametrize("name", NAMES)
def test_name_and_help_text_of_a_metric_follow_the_rules(name: str) -> None:
    info = CATALOGUE[name]
    assert re.fullmatch(r"synckairos_[a-z]+(_[a-z]+)*", name)
    assert (info.kind == "counter") == name.endswith("_total")
    assert info.kind != "histogram" or info.unit, "a histogram has a unit"
    text = info.help_text
    assert len(text.split()) >= 4
    assert text[0].isupper() or text[0].isdigit()
    assert not text.endswith(".")
    assert ("\n" in text, "](" in text) == (False, False), "no line break and no link in a help text"
    assert (info.scope == "store") == text.endswith(STORE_WIDE)
    for label, most in info.max_label_values.items():
        assert f"`{label}`" in text, f"the help text must explain the label {label}"
        assert most >= 1


def test_no_label_names_something_without_a_bound() -> None:
    labels = {label for info in CATALOGUE.values() for label in info.max_label_values}
    assert labels == {
        *(
            "code",
            "command",
            "direction",
            "door",
            "kind",
            "method",
            "operation",
            "outcome",
            "limit",
            "pool",
            "process",
            "python",
        ),
        *("route", "source", "state", "status", "status_code", "store", "tenant", "type", "version"),
    }


def test_bounds_of_labels_are_not_below_the_numbers_of_values_in_the_code() -> None:
    package = resources.files("synckairos")
    statements = sum(
        len(re.findall(r"^-- name: ", file.read_text(), re.MULTILINE)) for file in Path(str(package)).rglob("*.sql")
    )
    scripts = len(list(Path(str(package), "store", "lua").glob("*.lua")))
    most = {name: dict(info.max_label_values) for name, info in CATALOGUE.items()}
    assert most["synckairos_jobs"]["type"] >= len(JOB_KINDS)
    assert most["synckairos_websocket_closed_total"]["code"] >= len({*V2_CLOSE_CODES, *V3_CLOSE_CODES})
    assert most["synckairos_postgres_statement_duration_seconds"]["operation"] > statements
    assert most["synckairos_redis_call_duration_seconds"]["operation"] > scripts
    assert most["synckairos_commands_total"]["command"] >= len(COMMAND_BODIES)
