"""Simulations: commands and deadlines in one timeline, each with the instant at which it takes effect."""

from typing import Any
from uuid import UUID

import pytest

from synckairos.errors import ValidationFailed
from synckairos.wire.body_parser import parse_body
from synckairos.wire.simulation_body import SimulationBody
from synckairos.wire.simulation_run import NIL_SESSION_ID, estimate_cost_in_steps, run_simulation

A, B = (str(UUID(int=at)) for at in (10, 11))


def body(**fields: Any) -> dict[str, Any]:
    return {
        "session": {
            "sync_mode": "per_participant",
            "total_time_ms": 10_000,
            "participants": [{"participant_id": A}, {"participant_id": B}],
        },
        "commands": [],
        "until_ms": 60_000,
    } | fields


def event(at_ms: int, event_type: str, version: int, participant_id: str, charged: tuple[int, int]) -> dict[str, Any]:
    """Return the row of an event that charges the time `charged` to its participant, in ms since the creation."""
    charges = [{"participant_id": participant_id, "from_ms": charged[0], "to_ms": charged[1]}]
    row = {"at_ms": at_ms, "event_type": event_type, "version": version, "participant_id": participant_id}
    return row | {"charges": charges}


def test_a_timeline_has_commands_refusals_and_deadlines_in_order() -> None:
    commands = [
        {"at_ms": 4_000, "command": "switch"},
        {"at_ms": 0, "command": "start"},
        {"at_ms": 5_000, "command": "resume"},
        {"at_ms": 6_000, "command": "pause", "args": {"max_ms": 1_000}},
        {"at_ms": 6_500, "command": "switch", "args": {"expected_version": 1}},
    ]
    found = run_simulation(body(commands=commands))
    reasons = [row.pop("message") for row in found["timeline"] if "refused" in row]
    assert reasons == [
        "Session cannot be resumed: the session is running",
        "The session is at version 4, not 1; read its state and decide again",
    ]
    assert found["timeline"] == [
        {"at_ms": 0, "event_type": "session_created", "version": 1},
        {"at_ms": 0, "event_type": "session_started", "version": 2, "participant_id": A},
        event(4_000, "cycle_switched", 3, A, charged=(0, 4_000)),
        {"at_ms": 5_000, "refused": "INVALID_STATE_TRANSITION"},
        event(6_000, "session_paused", 4, B, charged=(4_000, 6_000)),
        {"at_ms": 6_500, "refused": "CONFLICT"},
        {"at_ms": 7_000, "event_type": "session_resumed", "version": 5, "participant_id": B},
        event(15_000, "session_expired", 6, B, charged=(7_000, 15_000)),
    ]
    final = found["final"]
    assert (final["session_id"], final["status"], final["version"]) == (NIL_SESSION_ID, "expired", 6)
    assert final["session_completed_at"] == "1970-01-01T00:00:15.000Z"
    assert final["created_at"] == "1970-01-01T00:00:00.000Z"


def test_a_switch_exactly_at_the_deadline_is_consumed_by_the_expiry() -> None:
    session = body()["session"] | {"on_timeout": "advance"}
    commands = [{"at_ms": 0, "command": "start"}, {"at_ms": 10_000, "command": "switch"}]
    found = run_simulation(body(session=session, commands=commands, until_ms=10_000))
    assert found["timeline"][2:] == [
        event(10_000, "participant_expired", 3, A, charged=(0, 10_000)),
    ]
    assert found["final"]["active_participant_id"] == B
    late = run_simulation(
        body(session=session, commands=[commands[0], commands[1] | {"at_ms": 10_001}], until_ms=10_001)
    )
    assert [row["event_type"] for row in late["timeline"][2:]] == ["participant_expired", "cycle_switched"]


def test_a_simulation_includes_a_deadline_at_until_ms_but_not_a_later_deadline() -> None:
    found = run_simulation(body(commands=[{"at_ms": 0, "command": "start"}], until_ms=9_999))
    assert found["final"]["status"] == "running"
    assert (
        run_simulation(body(commands=[{"at_ms": 0, "command": "start"}], until_ms=10_000))["final"]["status"]
        == "expired"
    )


def test_a_command_to_a_deleted_session_is_refused_as_not_found() -> None:
    commands = [{"at_ms": 1, "command": "delete"}, {"at_ms": 2, "command": "start"}]
    assert [row.get("refused") for row in run_simulation(body(commands=commands))["timeline"]] == [
        None, None, "SESSION_NOT_FOUND",
    ]  # fmt: skip


def test_a_timeline_with_too_many_rows_is_refused() -> None:
    cycles = {
        "sync_mode": "per_cycle",
        "time_per_cycle_ms": 1_000,
        "max_cycles": 100_000,
        "participants": [{"participant_id": A}],
    }
    simulation = body(session=cycles, commands=[{"at_ms": 0, "command": "start"}], until_ms=9_998 * 1_000)
    assert len(run_simulation(simulation)["timeline"]) == 10_000
    with pytest.raises(ValidationFailed, match="failed") as refused:
        run_simulation(simulation | {"until_ms": 9_999 * 1_000})
    assert refused.value.details[0]["path"] == "until_ms"


def test_times_count_from_the_creation_at_a_given_instant() -> None:
    commands = [{"at_ms": 0, "command": "start"}, {"at_ms": 4_000, "command": "switch"}]
    plain = run_simulation(body(commands=commands))
    found = run_simulation(body(commands=commands, created_at="2026-03-29T01:59:58.000+01:00"))
    assert found["timeline"] == plain["timeline"]
    assert found["final"]["created_at"] == "2026-03-29T00:59:58.000Z"
    assert found["final"]["session_completed_at"] == "2026-03-29T01:00:12.000Z"


@pytest.mark.parametrize(
    "created_at",
    ["", "soon", "2026-03-29", "2026-03-29T01:59:58", "1969-12-31T23:59:59Z", "9000-01-01T00:00:00Z", 0, None],
)
def test_instant_of_creation_that_is_malformed_or_far_away_is_refused(created_at: Any) -> None:
    with pytest.raises(ValidationFailed) as refused:
        run_simulation(body(created_at=created_at))
    assert [each["path"] for each in refused.value.details] == ["created_at"]


def test_simulation_lasts_up_to_800_days() -> None:
    days = 86_400_000
    session = body()["session"] | {"total_time_ms": 400 * days, "clock": {"per_move": {"move_ms": 400 * days}}}
    commands = [{"at_ms": 0, "command": "start"}, {"at_ms": 399 * days, "command": "switch"}]
    found = run_simulation(body(session=session, commands=commands, until_ms=800 * days))
    assert [row["at_ms"] // days for row in found["timeline"]] == [0, 0, 399, 799]


def test_cost_depends_on_the_order_in_time_and_not_on_the_order_in_the_request() -> None:
    plan = [{"time_ms": 1_000} for _ in range(1_000)]
    session = {"sync_mode": "per_cycle", "participants": [{"participant_id": A}], "plan": plan[:1]}
    commands = [
        {"at_ms": 0, "command": "set_plan", "args": {"plan": plan, "expected_version": 1}},
        {"at_ms": 1, "command": "start"},
        *({"at_ms": 2, "command": "switch"} for _ in range(100)),
        {"at_ms": 3, "command": "set_plan", "args": {"plan": plan[:1], "expected_version": 1}},
    ]
    costs = [
        estimate_cost_in_steps(parse_body(SimulationBody, body(session=session, commands=each)))
        for each in (commands, commands[::-1])
    ]
    assert costs == [103 + 101 * 25] * 2


def test_amendment_costs_more_after_many_commands() -> None:
    session = {"sync_mode": "count_up", "participants": [{"participant_id": A}]}
    amend = {"at_ms": 5, "command": "amend", "args": {"started_at": "1970-01-01T00:00:00Z"}}
    commands = [{"at_ms": 1, "command": "pause"} for _ in range(600)]
    cost = estimate_cost_in_steps(parse_body(SimulationBody, body(session=session, commands=[*commands, amend])))
    assert cost == 601 + 10


def test_adjustment_of_all_clocks_costs_more_than_that_of_one_clock() -> None:
    ids = [str(UUID(int=at)) for at in range(60)]
    participants = [{"participant_id": each} for each in ids]
    session = {"sync_mode": "individual", "participants": participants, "total_time_ms": 10_000}
    costs = [
        estimate_cost_in_steps(
            parse_body(
                SimulationBody,
                body(session=session, commands=[{"at_ms": 0, "command": "adjust", "args": {"delta_ms": 1, **args}}]),
            )
        )
        for args in ({}, {"participant_ids": ids[:1]})
    ]
    assert costs == [31, 5]
