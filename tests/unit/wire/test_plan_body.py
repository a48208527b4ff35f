"""Plans in requests: defaults, the faults of a creation with a plan, and input without effect."""

from typing import Any

import pytest

from synckairos.clock.plan_item import PlanItem
from synckairos.errors import ValidationFailed
from synckairos.wire.body_parser import parse_body, parse_command
from synckairos.wire.creation_body import CreateSession
from synckairos.wire.input_warnings import request_warnings

ADA, BEN = "0198c0de-0000-7000-8000-00000000000a", "0198c0de-0000-7000-8000-00000000000b"
BODY: dict[str, Any] = {"sync_mode": "per_cycle", "participants": [{"participant_id": ADA}]}
ITEM: dict[str, Any] = {"time_ms": 60_000}


def fault_paths(**fields: Any) -> list[str]:
    """Return the paths of the faults of a creation."""
    body = {name: value for name, value in (BODY | fields).items() if value is not None}
    try:
        parse_body(CreateSession, body)
    except ValidationFailed as refusal:
        return [each["path"] for each in refusal.details]
    return []


def test_item_without_an_id_has_its_number() -> None:
    plan = [ITEM, {"item_id": "x", "title": "X", **ITEM}, {**ITEM, "warnings_ms": [1, 30_000]}]
    spec = parse_body(CreateSession, BODY | {"plan": plan}).to_create()
    assert spec.plan == (
        PlanItem("1", 60_000),
        PlanItem("x", 60_000, "X"),
        PlanItem("3", 60_000, warnings_ms=(30_000, 1)),
    )
    assert (spec.time_per_cycle_ms, spec.max_cycles) == (None, None)


@pytest.mark.parametrize(
    ("fields", "paths"),
    [
        ({"plan": []}, ["plan"]),
        ({"plan": [ITEM] * 1_001}, ["plan"]),
        ({"plan": [{}]}, ["plan.0.time_ms"]),
        ({"plan": [{"time_ms": 999}]}, ["plan.0.time_ms"]),
        ({"plan": [{"time_ms": 0}]}, ["plan.0.time_ms"]),
        ({"plan": [{"time_ms": 0}], "on_timeout": "overtime"}, []),
        ({"plan": [{"time_ms": 34_560_000_001}]}, ["plan.0.time_ms"]),
        ({"plan": [ITEM | {"item_id": "x" * 65}]}, ["plan.0.item_id"]),
        ({"plan": [ITEM | {"item_id": ""}]}, ["plan.0.item_id"]),
        ({"plan": [ITEM | {"item_id": "a\n"}]}, ["plan.0.item_id"]),
        ({"plan": [ITEM | {"item_id": "x"}] * 2}, ["plan.1.item_id"]),
        ({"plan": [ITEM | {"item_id": "2"}, ITEM]}, ["plan.1.item_id"]),
        ({"plan": [ITEM | {"title": "x" * 201}]}, ["plan.0.title"]),
        ({"plan": [ITEM | {"participant_id": BEN}]}, ["plan.0.participant_id"]),
        ({"plan": [ITEM | {"participant_id": ADA.upper()}]}, []),
        ({"plan": [ITEM | {"warnings_ms": [5, 5]}]}, ["plan.0.warnings_ms.1"]),
        ({"plan": [ITEM | {"warnings_ms": [0]}]}, ["plan.0.warnings_ms.0"]),
        ({"plan": [ITEM | {"warnings_ms": [0]}], "on_timeout": "overtime"}, []),
        ({"plan": [ITEM | {"status": "done"}]}, ["plan.0.status"]),
        ({"plan": [ITEM], "max_cycles": 3}, ["max_cycles"]),
        ({"plan": [ITEM], "time_per_cycle_ms": 60_000}, ["time_per_cycle_ms"]),
        ({"plan": [ITEM], "sync_mode": "global", "total_time_ms": 60_000}, ["plan"]),
        ({"plan": [ITEM], "sync_mode": "count_up"}, ["plan"]),
        ({"plan": [ITEM], "active_participant_id": ADA}, []),
        ({"plan": [ITEM | {"participant_id": ADA}], "active_participant_id": ADA}, ["active_participant_id"]),
        ({"plan": None}, ["time_per_cycle_ms"]),
    ],
)
def test_faults_of_a_plan_name_their_paths(fields: dict[str, Any], paths: list[str]) -> None:
    assert fault_paths(**fields) == paths


@pytest.mark.parametrize(
    ("fields", "paths"),
    [
        ({"total_time_ms": 60_000}, ["total_time_ms"]),
        ({"total_time_ms": 120_000}, []),
        ({"participants": [{"participant_id": ADA, "total_time_ms": 60_000}]}, ["participants.0.total_time_ms"]),
    ],
)
def test_budgets_beside_a_plan_have_no_effect(fields: dict[str, Any], paths: list[str]) -> None:
    value = BODY | {"plan": [ITEM, ITEM]} | fields
    body = parse_body(CreateSession, value)
    assert [each["path"] for each in request_warnings(body, value)] == paths
    assert body.to_create().time_per_cycle_ms is None


def test_faults_of_a_changed_plan_name_their_paths() -> None:
    with pytest.raises(ValidationFailed) as refused:
        parse_command("set_plan", {"plan": [ITEM | {"item_id": "x"}, ITEM | {"item_id": "x", "warnings_ms": [1, 1]}]})
    assert [each["path"] for each in refused.value.details] == ["plan.1.item_id", "plan.1.warnings_ms.1"]
