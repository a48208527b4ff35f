"""Rules of a creation between members: contradictions are refused with their paths, valid bodies create a session."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from pydantic import TypeAdapter

from synckairos.clock import creation
from synckairos.wire.session_json import render_session
from synckairos.wire.session_view import SessionView
from tests.unit.wire.creations import MIN, G, P, chess, faults, make_participants, spec


def contradictions() -> Iterator[Any]:
    def case(name: str, body: dict[str, Any], *paths: str) -> Any:
        return pytest.param(body, set(paths), id=name)

    no_participants: list[dict[str, Any]] = []
    bare = [{"participant_id": each} for each in P[:2]]
    for mode in ("per_participant", "per_cycle", "per_group", "count_up"):
        yield case(
            f"no participants in {mode}",
            {"sync_mode": mode, "participants": no_participants, "time_per_cycle_ms": MIN},
            "participants",
        )
    yield case(
        "too many participants",
        {
            "sync_mode": "global",
            "total_time_ms": MIN,
            "participants": [{"participant_id": str(uuid4())} for _ in range(1_001)],
        },
        "participants",
    )
    yield case("no budget", chess(participants=bare), "participants.0.total_time_ms", "participants.1.total_time_ms")
    yield case(
        "a budget for one participant only",
        chess(participants=[make_participants(1)[0], bare[1]]),
        "participants.1.total_time_ms",
    )
    yield case(
        "budget of 0 ms",
        chess(participants=make_participants(total_time_ms=0)),
        "participants.0.total_time_ms",
        "participants.1.total_time_ms",
    )
    yield case("per_cycle without time", {"sync_mode": "per_cycle", "participants": bare}, "time_per_cycle_ms")
    yield case("global without time", {"sync_mode": "global"}, "total_time_ms")
    yield case(
        "no groups",
        {"sync_mode": "per_group", "participants": make_participants()},
        "participants.0.group_id",
        "participants.1.group_id",
    )
    yield case(
        "group without time",
        {
            "sync_mode": "per_group",
            "participants": [p | {"group_id": G[0]} for p in bare],
            "groups": [{"group_id": G[0]}],
        },
        "groups.0.total_time_ms",
    )
    yield case(
        "group of members without time",
        {"sync_mode": "per_group", "participants": [p | {"group_id": G[0]} for p in bare]},
        "participants.0.total_time_ms",
        "participants.1.total_time_ms",
    )
    yield case(
        "group twice",
        {
            "sync_mode": "per_group",
            "participants": make_participants(group_id=G[0]),
            "groups": [{"group_id": G[0]}, {"group_id": G[0].upper()}],
        },
        "groups.1.group_id",
    )
    yield case(
        "member of two groups",
        {
            "sync_mode": "per_group",
            "groups": [{"group_id": each, "total_time_ms": MIN, "members": [P[0]]} for each in G[:2]],
        },
        "groups.1.members.0",
    )
    yield case(
        "unknown member",
        {
            "sync_mode": "per_group",
            "participants": make_participants(group_id=G[0]),
            "groups": [{"group_id": G[0], "members": [P[3]]}],
        },
        "groups.0.members.0",
    )
    yield case(
        "participant of another group than its list",
        {
            "sync_mode": "per_group",
            "participants": make_participants(group_id=G[1]),
            "groups": [{"group_id": G[0], "total_time_ms": MIN, "members": [P[0]]}],
        },
        "participants.0.group_id",
    )
    yield case("unknown active participant", chess(active_participant_id=P[3]), "active_participant_id")
    yield case("unknown active group", chess(active_group_id=G[0]), "active_group_id")
    yield case(
        "active participant in another group",
        {
            "sync_mode": "per_group",
            "participants": [
                make_participants(1)[0] | {"group_id": G[0]},
                make_participants(2)[1] | {"group_id": G[1]},
            ],
            "active_group_id": G[1],
            "active_participant_id": P[0],
        },
        "active_group_id",
    )
    yield case(
        "index twice",
        chess(participants=[make_participants(2)[0] | {"participant_index": 1}, make_participants(2)[1]]),
        "participants.1.participant_index",
    )
    yield case("max_cycles outside per_cycle", chess(max_cycles=3), "max_cycles")
    yield case("soft close in per_participant", chess(extend_on_switch_ms=5_000), "extend_on_switch_ms")
    uncapped = {"sync_mode": "count_up", "participants": bare, "extend_on_switch_ms": 5_000}
    yield case("soft close without a cap", uncapped, "extend_on_switch_ms")
    no_main_time = make_participants(total_time_ms=0)
    both = {f"participants.{at}.total_time_ms" for at in range(len(no_main_time))}
    yield case("budget of 0 that no time follows", chess(participants=no_main_time), *both)
    yield case(
        "budget of 0 with a delay of 0", chess(participants=no_main_time, clock={"delay": {"delay_ms": 0}}), *both
    )
    yield case("session budget of 0", {"sync_mode": "global", "total_time_ms": 0}, "total_time_ms")
    yield case(
        "cycle of 0", {"sync_mode": "per_cycle", "participants": bare, "time_per_cycle_ms": 0}, "time_per_cycle_ms"
    )
    yield case(
        "short budgets in overtime",
        chess(participants=make_participants(total_time_ms=999), on_timeout="overtime", total_time_ms=1),
        *both,
        "total_time_ms",
    )
    yield case("warnings below zero without overtime", chess(warnings_ms=[5, 0, -5]), "warnings_ms.1", "warnings_ms.2")
    stages = [{"moves": 2, "at_zero": True}, {"add_ms": 5}, {"delay_ms": 1, "increment_ms": 1, "at_zero": True}]
    path = "clock.stages."
    yield case(
        "stages that contradict themselves",
        chess(clock={"stages": stages}),
        *(f"{path}{each}" for each in ("0.at_zero", "1.moves", "2.delay_ms", "2.at_zero")),
    )
    canadian = {"moves": 5, "period_ms": 1_000}
    yield case(
        "maximum without a step", chess(clock={"canadian": canadian | {"moves_max": 9}}), "clock.canadian.moves_max"
    )
    yield case(
        "maximum below the first period",
        chess(clock={"canadian": canadian | {"moves_step": 1, "moves_max": 4}}),
        "clock.canadian.moves_max",
    )
    count_up = {"sync_mode": "count_up", "participants": bare}
    yield case("initial time at the maximum", count_up | {"max_time_ms": MIN, "initial_ms": MIN}, "initial_ms")
    yield case("initial time of a countdown", chess(initial_ms=5), "initial_ms")
    end = {"sync_mode": "global", "ends_at": "2026-01-31T12:00:00Z"}
    yield case("end of a chess game", chess(ends_at="2026-01-31T12:00:00Z"), "ends_at")
    yield case("end and a budget", end | {"total_time_ms": MIN}, "total_time_ms")
    yield case("end and the budget of a cycle", end | {"time_per_cycle_ms": MIN}, "time_per_cycle_ms")
    yield case("pause at the end", end | {"on_timeout": "pause"}, "on_timeout")
    yield case("end without an offset", end | {"ends_at": "2026-03-29T02:30:00"}, "ends_at")
    yield case(
        "window without an extension",
        {"sync_mode": "global", "total_time_ms": MIN, "extend_window_ms": 5},
        "extend_window_ms",
    )
    yield case("two clocks", chess(clock={"sudden_death": {}, "fischer": {"increment_ms": 1}}), "clock")
    yield case("clock without a system", chess(clock={}), "clock")
    yield case("unknown clock", chess(clock={"sundial": {}}), "clock.sundial")
    yield case(
        "clock with another increment", chess(clock={"fischer": {"increment_ms": 1}}, increment_ms=2), "increment_ms"
    )
    yield case("increment without fischer", chess(clock={"sudden_death": {}}, increment_ms=2), "increment_ms")
    yield case(
        "bronstein in global",
        {"sync_mode": "global", "total_time_ms": MIN, "clock": {"bronstein": {"delay_ms": 1}}},
        "clock",
    )
    yield case(
        "hourglass with three participants",
        chess(participants=make_participants(3), clock={"hourglass": {}}),
        "participants",
    )
    yield case(
        "hourglass in per_group",
        {"sync_mode": "per_group", "participants": make_participants(group_id=G[0]), "clock": {"hourglass": {}}},
        "clock",
    )
    yield case(
        "hourglass for one participant only",
        chess(participants=[make_participants()[0] | {"clock": {"hourglass": {}}}, make_participants()[1]]),
        "participants.0.clock",
    )
    yield case(
        "participant clock in per_group",
        {"sync_mode": "per_group", "participants": make_participants(group_id=G[0], clock={"sudden_death": {}})},
        "participants.0.clock",
        "participants.1.clock",
    )
    yield case(
        "first stage without moves", chess(clock={"stages": [{"add_ms": 1}, {"moves": 1}]}), "clock.stages.0.moves"
    )


@pytest.mark.parametrize(("body", "paths"), list(contradictions()))
def test_members_that_do_not_fit_together_are_refused(body: dict[str, Any], paths: set[str]) -> None:
    assert set(faults(body)) == paths


def valid_bodies() -> Iterator[Any]:
    bare = [{"participant_id": each} for each in P[:2]]
    yield pytest.param(chess(total_time_ms=MIN, participants=bare), id="one total for all participants")
    yield pytest.param(chess(total_time_ms=20 * MIN), id="total of the session and of participants, as in v2")
    yield pytest.param({"sync_mode": "global", "total_time_ms": MIN}, id="global without participants")
    yield pytest.param({"sync_mode": "global", "time_per_cycle_ms": MIN, "participants": []}, id="v2's exam")
    yield pytest.param({"sync_mode": "count_up", "participants": bare}, id="stopwatch")
    shared = {"participants": bare, "on_timeout": "advance"}
    yield pytest.param(shared | {"sync_mode": "global", "total_time_ms": MIN}, id="advance in global")
    yield pytest.param(shared | {"sync_mode": "count_up", "max_time_ms": MIN}, id="advance in count_up")
    yield pytest.param(
        {"sync_mode": "per_cycle", "time_per_cycle_ms": MIN, "participants": [p | {"total_time_ms": 0} for p in bare]},
        id="v2's poker",
    )
    yield pytest.param({"sync_mode": "per_cycle", "total_time_ms": MIN, "participants": bare}, id="v2's cycle")
    yield pytest.param(
        chess(clock={"fischer": {"increment_ms": 2}}, increment_ms=2), id="equal increment in both members"
    )
    yield pytest.param(chess(participants=bare, clock={"per_move": {"move_ms": 5_000}}), id="per_move without budgets")
    yield pytest.param(
        chess(participants=make_participants(total_time_ms=0), clock={"byoyomi": {"periods": 5, "period_ms": 30_000}}),
        id="no main time",
    )
    delay = {"delay": {"delay_ms": 10_000}}
    yield pytest.param(chess(participants=make_participants(total_time_ms=0), clock=delay), id="delay alone")
    yield pytest.param(chess(participants=bare, total_time_ms=0, clock=delay), id="delay alone for all participants")
    overtime = {"on_timeout": "overtime", "warnings_ms": [0, -120_000]}
    yield pytest.param({"sync_mode": "global", "total_time_ms": 0, **overtime}, id="overtime from the start")
    yield pytest.param(
        {"sync_mode": "per_cycle", "participants": bare, "time_per_cycle_ms": 0, **overtime}, id="cycles in overtime"
    )
    days = 400 * 86_400_000
    yield pytest.param(
        chess(
            participants=make_participants(total_time_ms=days),
            clock={"fischer": {"increment_ms": days, "cap_ms": days}},
            warnings_ms=[days],
        ),
        id="400 days",
    )
    stages = [
        {"moves": 40, "add_ms": 3_600_000, "delay_ms": 5_000},
        {"at_zero": True, "add_ms": MIN},
        {"delay_ms": 5_000},
    ]
    yield pytest.param(chess(clock={"stages": stages}), id="stages with delays and a stage that ends at zero")
    canadian = {"moves": 5, "period_ms": 60_000, "moves_step": 5, "moves_max": 20}
    yield pytest.param(chess(clock={"canadian": canadian}), id="canadian with a step")
    yield pytest.param(
        chess(clock={"byoyomi": {"periods": 5, "period_ms": 30_000, "increment_ms": 3_000}}), id="byo-yomi, increment"
    )
    yield pytest.param(
        {"sync_mode": "count_up", "participants": bare, "max_time_ms": MIN, "initial_ms": 5_000}, id="initial time"
    )
    end = {"sync_mode": "global", "ends_at": "2026-01-31T12:00:00Z"}
    yield pytest.param(end | {"on_timeout": "overtime", "extend_on_switch_ms": 5_000}, id="end")
    yield pytest.param(chess(starts_at="2026-01-31T13:00:00+01:00"), id="start")
    yield pytest.param(chess(clock={"hourglass": {}}), id="hourglass")
    yield pytest.param(
        {"sync_mode": "per_group", "participants": make_participants(group_id=G[0])},
        id="group budget as the sum of its members",
    )
    yield pytest.param(
        {
            "sync_mode": "per_group",
            "groups": [{"group_id": G[0], "total_time_ms": MIN}],
            "participants": [p | {"group_id": G[0]} for p in bare],
        },
        id="groups",
    )
    yield pytest.param(chess(participants=make_participants(display_name="x" * 200)), id="long names")


@pytest.mark.parametrize("body", list(valid_bodies()))
def test_members_that_fit_together_create_a_session(body: dict[str, Any]) -> None:
    state = creation.create(spec(body), str(uuid4()), "e", 1_769_000_000_000).state
    assert TypeAdapter(SessionView).validate_json(render_session(state)).status == "pending"
