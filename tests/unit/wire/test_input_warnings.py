"""Warnings of accepted input without effect: the members that have a warning in each mode, and the paths."""

from typing import Any
from uuid import uuid4

import orjson
import pytest

from synckairos.clock import creation
from synckairos.wire.body_parser import parse_body
from synckairos.wire.command_bodies.shared_members import V2CommandBody
from synckairos.wire.command_bodies.table import COMMAND_BODIES
from synckairos.wire.creation_body import V2_UNREAD_MEMBERS, CreateSession, TimeoutAction
from synckairos.wire.input_warnings import MAX_WARNINGS, request_warnings
from synckairos.wire.session_json import session_json
from synckairos.wire.simulation_body import SimulationBody
from tests.unit.wire.creations import MIN, G, P, chess, make_participants


def warned(body: dict[str, Any]) -> dict[str, str]:
    """Return the warnings of a valid creation: messages by paths."""
    found = request_warnings(parse_body(CreateSession, body), body)
    assert all(set(each) == {"path", "message"} for each in found)
    paths = {each["path"]: each["message"] for each in found}
    assert len(paths) == len(found)
    return paths


BARE = [{"participant_id": each} for each in P[:2]]
PER_MOVE = {"per_move": {"move_ms": 30_000}}
CYCLE = {"sync_mode": "per_cycle", "time_per_cycle_ms": MIN, "participants": BARE}
GROUPS: dict[str, Any] = {
    "sync_mode": "per_group",
    "groups": [{"group_id": G[0], "total_time_ms": MIN}, {"group_id": G[1]}],
    "participants": [
        {"participant_id": P[0], "group_id": G[0]},
        {"participant_id": P[1], "group_id": G[1], "total_time_ms": MIN},
    ],
}
GLOBAL = {"sync_mode": "global", "total_time_ms": MIN, "participants": BARE}
COUNT_UP = {"sync_mode": "count_up", "max_time_ms": MIN, "participants": BARE}
BOTH = {"participants.0.total_time_ms", "participants.1.total_time_ms"}


@pytest.mark.parametrize(
    "body",
    [
        chess(),
        chess(total_time_ms=20 * MIN, increment_ms=2_000, on_timeout="advance", warnings_ms=[10_000]),
        chess(participants=BARE, total_time_ms=5 * MIN),
        chess(participants=[*make_participants(1), BARE[1]], total_time_ms=MIN),
        chess(clock={"fischer": {"increment_ms": 2_000}}, increment_ms=2_000),
        chess(clock=PER_MOVE, participants=BARE),
        chess(active_participant_id=P[1], pause_budget=1, lag_compensation=True, metadata={"auto_advance": None}),
        CYCLE,
        CYCLE | {"total_time_ms": MIN, "max_cycles": 3, "participants": make_participants(total_time_ms=0)},
        CYCLE | {"participants": make_participants(total_time_ms=MIN), "increment_ms": 0},
        {"sync_mode": "per_cycle", "total_time_ms": MIN, "participants": make_participants(total_time_ms=MIN)},
        GROUPS,
        GROUPS | {"increment_ms": 1_000, "total_time_ms": 2 * MIN, "on_timeout": "advance"},
        GLOBAL,
        GLOBAL | {"time_per_cycle_ms": MIN, "extend_on_switch_ms": 1_000, "on_timeout": "overtime"},
        {"sync_mode": "global", "time_per_cycle_ms": MIN},
        COUNT_UP | {"total_time_ms": MIN, "on_timeout": "pause", "warnings_ms": [1_000]},
        {"sync_mode": "count_up", "participants": BARE, "on_timeout": "expire"},
        chess(action_on_timeout={"type": "skip_cycle"}),
        GLOBAL | {"action_on_timeout": {"type": "end_session"}},
    ],
)
def test_input_with_an_effect_has_no_warning(body: dict[str, Any]) -> None:
    assert warned(body) == {}


WITHOUT_EFFECT: list[tuple[dict[str, Any], set[str]]] = [
    # budgets of participants
    (GLOBAL | {"participants": make_participants()}, BOTH),
    (GLOBAL | {"participants": make_participants(total_time_ms=MIN)}, BOTH),
    (COUNT_UP | {"participants": make_participants()}, BOTH),
    (CYCLE | {"participants": make_participants()}, BOTH),
    (CYCLE | {"participants": [*make_participants(1, total_time_ms=MIN), *make_participants()[1:]]}, {
        "participants.1.total_time_ms"
    }),
    (GROUPS | {"groups": GROUPS["groups"][:1], "participants": make_participants(group_id=G[0])}, BOTH),
    (chess(clock=PER_MOVE), BOTH),
    (chess(participants=make_participants(1) + make_participants(clock=PER_MOVE)[1:]), {
        "participants.1.total_time_ms"
    }),
    # budgets of groups
    (GROUPS | {"clock": PER_MOVE}, {"groups.0.total_time_ms", "participants.1.total_time_ms"}),
    (chess(groups=[{"group_id": G[0], "total_time_ms": MIN}]), {"groups.0.total_time_ms"}),
    # times of the session
    (chess(total_time_ms=MIN), {"total_time_ms"}),
    (CYCLE | {"total_time_ms": 2 * MIN}, {"total_time_ms"}),
    (GROUPS | {"total_time_ms": MIN}, {"total_time_ms"}),
    (COUNT_UP | {"total_time_ms": 2 * MIN}, {"total_time_ms"}),
    ({"sync_mode": "count_up", "participants": BARE, "total_time_ms": MIN}, {"total_time_ms"}),
    (chess(time_per_cycle_ms=MIN), {"time_per_cycle_ms"}),
    (GROUPS | {"time_per_cycle_ms": MIN}, {"time_per_cycle_ms"}),
    (COUNT_UP | {"time_per_cycle_ms": MIN}, {"time_per_cycle_ms"}),
    (GLOBAL | {"time_per_cycle_ms": 2 * MIN}, {"time_per_cycle_ms"}),
    (GLOBAL | {"increment_ms": 1}, {"increment_ms"}),
    (CYCLE | {"increment_ms": 1}, {"increment_ms"}),
    (COUNT_UP | {"increment_ms": 1}, {"increment_ms"}),
    (chess(max_time_ms=MIN), {"max_time_ms"}),
    (CYCLE | {"max_time_ms": MIN}, {"max_time_ms"}),
    (GROUPS | {"max_time_ms": MIN}, {"max_time_ms"}),
    (GLOBAL | {"max_time_ms": MIN}, {"max_time_ms"}),
    # timeouts
    (GLOBAL | {"on_timeout": "advance"}, {"on_timeout"}),
    (COUNT_UP | {"on_timeout": "advance"}, {"on_timeout"}),
    ({"sync_mode": "count_up", "participants": BARE, "on_timeout": "pause", "warnings_ms": [1]}, {
        "on_timeout", "warnings_ms"
    }),
    # names of v2
    (chess(auto_advance=True), {"auto_advance"}),
    (chess(auto_advance=False), {"auto_advance"}),
    (chess(action_on_timeout={"type": "auto_fold"}), {"action_on_timeout.type"}),
    (GLOBAL | {"action_on_timeout": {"type": "skip_cycle"}}, {"action_on_timeout.type"}),
    (chess(action_on_timeout={"type": "game_over", "winner": "opponent"}), {"action_on_timeout.winner"}),
    (chess(action_on_timeout={"type": "game_over", "winner": 1}, on_timeout="expire"), {"action_on_timeout"}),
    (chess(**dict.fromkeys(V2_UNREAD_MEMBERS)), set(V2_UNREAD_MEMBERS)),
]  # fmt: skip
"""Creations with members that have no effect, each with the paths of its warnings."""


@pytest.mark.parametrize(("body", "paths"), WITHOUT_EFFECT)
def test_input_without_an_effect_has_a_warning_with_its_path(body: dict[str, Any], paths: set[str]) -> None:
    found = warned(body)
    assert set(found) == paths
    for path, message in found.items():
        assert "effect" in message, path


@pytest.mark.parametrize("mode", [GLOBAL, COUNT_UP, CYCLE, GROUPS, chess()])
@pytest.mark.parametrize("name", ["increment_ms", "max_time_ms", "time_per_cycle_ms", "total_time_ms"])
def test_a_member_has_a_warning_exactly_if_the_clocks_are_the_same_without_it(mode: dict[str, Any], name: str) -> None:
    if name not in mode:
        body = mode | {name: 7_000}
        assert (name in warned(body)) == (_clocks(body) == _clocks(mode))


def _clocks(body: dict[str, Any]) -> Any:
    """Return all data with which the clocks of a new session start."""
    made = creation.create(parse_body(CreateSession, body).to_create(), "s", "e", 0).state
    document = session_json(made)
    names = ("time_remaining_ms", "clock", "on_timeout")
    parts = [[each["time_remaining_ms"] for each in document[name]] for name in ("participants", "groups")]
    return [document[name] for name in names], made.remaining_ms, parts, made.rules.clock


@pytest.mark.parametrize("verb", COMMAND_BODIES)
def test_each_unknown_member_of_a_command_has_a_warning(verb: str) -> None:
    model = COMMAND_BODIES[verb]
    if not issubclass(model, V2CommandBody) or verb == "delete":
        return
    args = {"expected_version": 1, "by": "board 7", "": None}
    found = request_warnings(parse_body(model, args), args)
    assert [each["path"] for each in found] == ["by", ""]
    assert request_warnings(parse_body(model, {}), {}) == []


def test_warnings_of_a_simulation_have_paths_into_its_session_and_commands() -> None:
    body: dict[str, Any] = {
        "session": GLOBAL | {"participants": make_participants(), "increment_ms": 1},
        "commands": [
            {"at_ms": 0, "command": "start"},
            {"at_ms": 1, "command": "switch", "args": {"lag_ms": 1, "x": 1}},
            {"at_ms": 2, "command": "pause", "args": {"on_behalf_of": str(uuid4())}},
            {"at_ms": 2, "command": "cancel", "args": {}},
        ],
        "until_ms": 10,
    }
    found = request_warnings(parse_body(SimulationBody, body), body)
    assert {each["path"] for each in found} == {
        "session.participants.0.total_time_ms",
        "session.participants.1.total_time_ms",
        "session.increment_ms",
        "commands.1.args.x",
        "commands.2.args.on_behalf_of",
    }


def test_an_answer_has_a_bounded_number_of_warnings() -> None:
    participants = [{"participant_id": str(uuid4()), "total_time_ms": 2 * MIN} for _ in range(1_000)]
    body = GLOBAL | {"participants": participants}
    found = request_warnings(parse_body(CreateSession, body), body)
    assert len(found) == MAX_WARNINGS + 1
    assert found[-1]["path"] == ""
    assert orjson.dumps(found) == orjson.dumps(request_warnings(parse_body(CreateSession, body), body))


def test_null_members_of_v2_are_not_in_the_stored_arguments() -> None:
    parsed = parse_body(CreateSession, chess(**dict.fromkeys(V2_UNREAD_MEMBERS)))
    assert parsed == parse_body(CreateSession, chess())
    assert parsed.model_fields_set == {"sync_mode", "participants"}
    assert TimeoutAction.model_config["extra"] == "allow"
