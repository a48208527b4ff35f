"""Plans: items that give each turn its own time, and the command `set_plan`."""

import random

import pytest

from synckairos.clock import creation, engine
from synckairos.clock.commands import Create, NewParticipant, SetPlan, Switch, VersionPrecondition
from synckairos.clock.expected_starts import expected_starts_ms
from synckairos.clock.first_edition_compatibility import as_first_edition, check_first_edition
from synckairos.clock.model import OnTimeout, RestRule, Status, SyncMode
from synckairos.clock.plan_item import ItemStatus, PlanItem
from synckairos.clock.plan_items import ran_out_of_time
from synckairos.clock.recover_lost_session import recover_session
from synckairos.errors import ValidationFailed
from tests.unit.clock.histories import MIDNIGHT_OFFSET
from tests.unit.clock.script import T0, Played, command, items, play, spec


def run(plan: str, script: str, on_timeout: str | None = None, people: str = "A B", **fields: object) -> Played:
    """Play a script in a session with a plan."""
    return play(spec("per_cycle", people, on_timeout, plan=items(plan), **fields), script)


# -- turns ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("plan", "script", "face", "shown"),
    [
        ("x=5 y=7", "2 time", "pending *- 5", "x 0 y 0"),
        ("x=5 y=7", "0 start; 2 time", "running *A 5", "x* 0 y 0"),
        ("x=5 y=7", "0 start; 2 switch", "running *B 7", "x+ 2 y* 0"),
        ("x=5 y=7", "0 start; 5 time", "running *B 7", "x+ 5 y* 0"),
        ("x=5 y=7", "0 start; 2 switch; 3 switch", "completed *- 6", "x+ 2 y+ 1"),
        ("x=5 y=7", "0 start; 2 switch; 9 time", "completed *- 0", "x+ 2 y+ 7"),
        ("x=5 y=7 z=9", "0 start; 2 switch#z", "running *B 9", "x+ 2 y 0 z* 0"),
        ("x=5 y=7 z=9", "0 start; 2 switch#z; 4 switch", "completed *- 7", "x+ 2 y 0 z+ 2"),
        ("x=5 y=7 z=9", "0 start; 2 switch#z; 4 switch#y; 5 switch", "running *B 9", "x+ 2 y+ 1 z* 2"),
        ("x=5 y=7", "0 start; 2 switch#x", "running *B 5", "x* 2 y 0"),
        ("x=5 y=7", "0 start; 1 switch; 2 switch#x; 5 switch", "running *B 7", "x+ 4 y* 1"),
        ("x=5", "0 start; 1 switch", "completed *- 4", "x+ 1"),
        ("x=5", "0 start; 1 complete", "completed *- 4", "x+ 1"),
        ("x=5", "0 start; 1 cancel", "cancelled *- 4", "x+ 1"),
        ("x=5 y=7", "0 start; 1 switch>A", "running *A 7", "x+ 1 y* 0"),
        ("x=5 y=7 z=9", "0 start; 1 switch>A#z", "running *A 9", "x+ 1 y 0 z* 0"),
    ],
)
def test_items_follow_in_the_order_of_the_plan(plan: str, script: str, face: str, shown: str) -> None:
    session = run(plan, script)
    assert (session.face, session.plan) == (face, shown)


@pytest.mark.parametrize(
    ("on_timeout", "face", "shown", "line"),
    [
        ("advance", "running *B 7", "x+ 5 y* 0", "5 cycle_expired A"),
        ("expire", "expired *- 0", "x+ 5 y 0", "5 expired A"),
        ("pause", "paused *A 0", "x* 5 y 0", "5 paused A"),
        ("overtime", "running *A 5", "x* 0 y 0", "5 overtime_started A"),
    ],
)
def test_timeout_of_an_item_has_the_action_of_the_session(on_timeout: str, face: str, shown: str, line: str) -> None:
    session = run("x=5 y=7", "0 start; 5 time", on_timeout)
    assert (session.face, session.plan, session.lines[-1]) == (face, shown, line)


def test_time_saved_in_one_item_is_not_given_to_another() -> None:
    session = run("x=300 y=600 z=180", "0 start; 100 switch; 100 switch#x; 400 time")
    assert session.lines[-1] == "400 cycle_expired A"
    assert session.face == "running *B 600"
    assert session.plan == "x+ 400 y* 0 z 0"


def test_overtime_of_an_item_counts_in_its_used_time() -> None:
    session = run("x=5 y=7", "0 start; 8 switch", "overtime")
    assert (session.face, session.plan) == ("running *B 7", "x+ 8 y* 0")


def test_paused_time_counts_in_no_item() -> None:
    session = run("x=5 y=7", "0 start; 2 pause; 60 resume; 63 time")
    assert (session.face, session.plan) == ("running *B 7", "x+ 5 y* 0")


def test_switch_during_a_pause_shows_the_next_item() -> None:
    session = run("x=5 y=7", "0 start; 2 pause; 9 switch", switch_while_paused=True)
    assert (session.face, session.plan) == ("paused *B 7", "x+ 2 y* 0")


def test_switch_at_zero_begins_the_next_item() -> None:
    session = run("x=5 y=7", "0 start; 5 time; 9 switch", "pause")
    assert (session.face, session.plan) == ("running *B 7", "x+ 5 y* 0")


def test_switch_to_an_unknown_item_is_refused() -> None:
    assert run("x=5 y=7", "0 start; 1 switch#z").lines[-1] == "1 !PLAN_ITEM_NOT_FOUND"
    assert play(spec("per_cycle", "A B"), "0 start; 1 switch#x").lines[-1] == "1 !PLAN_ITEM_NOT_FOUND"
    assert run("x=5 y=7", "0 start; 1 switch!; 2 switch#z").lines[-1] == "2 !PLAN_ITEM_NOT_FOUND"


def test_turn_number_grows_with_each_item_and_guards_a_switch() -> None:
    session = run("x=5 y=7 z=9", "0 start; 1 switch")
    assert session.state.turn_number == 2
    late = session.do(T0 + 2_000, Switch(item_id="z"), VersionPrecondition(turn=1))
    assert late.refusal is not None
    assert late.refusal.code == "TURN_OVER"
    session.do(T0 + 2_000, Switch(item_id="x"), VersionPrecondition(turn=2))
    assert session.plan == "x* 1 y+ 1 z 0"


@pytest.mark.parametrize("script", ["0 start; 5 switch", "0 start; 5 time; 9 switch", "0 start; 5 time; 9 switch@A"])
def test_switch_after_the_time_of_the_last_item_is_consumed_by_its_end(script: str) -> None:
    session = run("x=5", script)
    assert session.state.status is Status.COMPLETED
    assert ran_out_of_time(session.state)
    # The script gives the participant of the last turn only for an expired session, as the service does from the trail.
    late = engine.apply(session.state, Switch(), T0 + 20_000, out_of_time_id="A")
    assert (late.expired_participant_id, late.refusal, late.all_transitions) == ("A", None, ())
    other = engine.apply(session.state, Switch(current_participant_id="B"), T0 + 20_000, out_of_time_id="A")
    assert other.refusal is not None


@pytest.mark.parametrize("script", ["0 start; 1 complete", "0 start; 1 switch", "0 start; 1 done:A; 2 done:B"])
def test_switch_after_a_completed_plan_is_refused_if_time_did_not_end_it(script: str) -> None:
    session = run("x=5", f"{script}; 20 switch", closes_when_all_done=True)
    assert not ran_out_of_time(session.state)
    assert session.lines[-1] == "20 !INVALID_STATE_TRANSITION"


def test_all_done_participants_end_the_item() -> None:
    session = run("x=5 y=7", "0 start; 1 done:A; 2 done:B; 3 done:A; 4 done:B", closes_when_all_done=True)
    assert session.lines[-1] == "4 completed B"
    assert session.plan == "x+ 2 y+ 2"


# -- participants -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("plan", "script", "face", "used"),
    [
        ("x/B=5 y/A=7", "0 start", "running *B 5", "A 0 B 0"),
        ("x/B=5 y=7 z/A=9", "0 start; 2 switch", "running *- 7", "A 0 B 2"),
        ("x/B=5 y=7 z/A=9", "0 start; 2 switch; 3 switch", "running *A 9", "A 0 B 2"),
        ("x/B=5 y=7 z/A=9", "0 start; 5 time; 12 time", "running *A 9", "A 0 B 5"),
        ("x=5 y/A=7", "0 start; 4 switch", "running *A 7", "A 0 B 0"),
        ("x/A=5 y/A=7", "0 start; 4 switch; 5 switch#x", "running *A 5", "A 5 B 0"),
    ],
)
def test_items_that_name_participants_decide_who_has_the_turn(plan: str, script: str, face: str, used: str) -> None:
    session = run(plan, script)
    assert (session.face, session.used) == (face, used)
    assert session.state.used_ms == sum(item.used_ms for item in session.state.plan)


def test_items_without_participants_leave_the_rotation() -> None:
    session = run("x=5 y=5 z=5", "0 start; 1 switch; 2 switch", people="A B C", active_participant_id="B")
    assert session.face == "running *A 5"
    assert session.used == "A 0 B 1 C 1"


def test_named_items_refuse_a_next_participant() -> None:
    session = run("x/A=5 y/B=7", "0 start; 1 switch>A; 2 switch!; 3 switch>A")
    assert session.lines[1:] == ["1 !VALIDATION_ERROR", "2 cycle_switched A", "3 !VALIDATION_ERROR"]


def test_item_of_the_participant_that_leaves_begins_again_for_nobody() -> None:
    session = run("x/A=5 y/B=7", "0 start; 2 leave:A; 7 time")
    assert session.lines[1:] == ["2 participant_removed A", "7 cycle_expired"]
    assert session.face == "running *B 7"
    assert session.plan == "x+ 7 y* 0"
    assert [each.state.turn_number for each in session.transitions] == [1, 2, 3]


def test_item_goes_to_the_next_participant_of_the_rotation_if_its_participant_leaves() -> None:
    session = run("x=5 y=7", "0 start; 2 leave:A; 3 time")
    assert (session.face, session.plan) == ("running *B 5", "x* 2 y 0")


def test_participant_that_left_gets_no_item() -> None:
    assert run("x/A=5 y/B=7", "0 start; 2 leave:B; 3 switch").face == "running *- 7"
    assert run("x/A=5 y/B=7", "0 start; 2 switch!; 3 leave:B; 4 resume").face == "running *- 7"
    assert run("x/A=5 y/B=7", "0 leave:A; 1 start").face == "running *- 5"


# -- between turns ----------------------------------------------------------------------------------------------------


def test_hold_shows_the_next_item_and_the_resume_begins_it() -> None:
    session = run("x=5 y=7 z=9", "0 start; 2 switch", holds_between_turns=True)
    held = session.state
    assert (session.face, session.plan) == ("paused *B 7", "x+ 2 y 0 z 0")
    assert (held.item_position, held.next_item_position, held.turn_number) == (0, 1, 1)
    session.do(T0 + 60_000, command("resume"))
    assert (session.face, session.plan) == ("running *B 7", "x+ 2 y* 0 z 0")
    assert (session.state.item_position, session.state.next_item_position, session.state.turn_number) == (1, None, 2)


def test_switch_in_a_hold_changes_what_comes_next() -> None:
    session = run("x=5 y=7 z=9", "0 start; 2 switch!; 3 switch#z; 4 switch#z; 5 switch; 6 switch>A; 7 resume")
    assert session.lines[2:] == [
        "3 cycle_switched B",
        "5 !INVALID_STATE_TRANSITION",
        "6 cycle_switched A",
        "7 resumed A",
    ]
    assert (session.face, session.plan) == ("running *A 9", "x+ 2 y 0 z* 0")


def test_named_item_brings_its_participant_into_a_hold() -> None:
    session = run("x/A=5 y/B=7 z=9 w/A=3", "0 start; 2 switch!")
    for item_id, face in (("z", "paused *- 9"), ("w", "paused *A 3"), ("y", "paused *B 7")):
        session.do(T0 + 3_000, Switch(item_id=item_id))
        assert session.face == face


def test_item_that_ended_can_begin_again_after_a_hold() -> None:
    session = run("x=5 y=7", "0 start; 2 switch!; 3 switch#x; 9 resume; 10 time")
    assert (session.face, session.plan) == ("running *B 5", "x* 2 y 0")


def test_last_item_completes_without_a_hold() -> None:
    assert run("x=5", "0 start; 5 time", holds_between_turns=True).face == "completed *- 0"
    assert run("x=5", "0 start; 2 switch!").face == "completed *- 3"


def test_adjusted_budget_in_a_hold_goes_to_the_shown_item_only() -> None:
    assert run("x=5 y=7 z=9", "0 start; 2 switch!; 3 adjust+4; 4 resume").face == "running *B 11"
    assert run("x=5 y=7 z=9", "0 start; 2 switch!; 3 adjust+4; 4 switch#z").face == "paused *B 9"


# -- warnings ---------------------------------------------------------------------------------------------------------


def test_warnings_of_an_item_replace_those_of_the_session() -> None:
    session = run("x=5 y=7!4 z=9!6!1", "0 start; 5 time; 12 time; 21 time", warnings_ms=(2_000,))
    warnings = [line.split()[0] for line in session.lines if "time_warning" in line]
    assert warnings == ["3", "8", "15", "20"]


def test_item_begins_again_with_all_warnings() -> None:
    session = run("x=5!4 y=7", "0 start; 2 switch#x; 4 time")
    assert [line.split()[0] for line in session.lines if "time_warning" in line] == ["1", "3"]


# -- schedule ---------------------------------------------------------------------------------------------------------


def test_planned_starts_are_fixed_at_the_start() -> None:
    session = run("x=5 y=7 z=9", "3 start; 4 switch; 10 plan:x=5 y=7 w=2 z=20")
    starts = [item.planned_start_at_ms for item in session.state.plan]
    assert starts == [T0 + 3_000, T0 + 8_000, None, T0 + 15_000]
    assert [item.planned_start_at_ms for item in run("x=5 y=7", "").state.plan] == [None, None]


@pytest.mark.parametrize(
    ("script", "offset"),
    [
        ("", None),
        ("0 start", 0),
        ("0 start; 2 switch", -3),
        ("0 start; 2 pause; 62 resume; 65 time", 60),
        ("0 start; 2 switch; 4 switch", -8),
        ("0 start; 2 switch#z", -10),
        ("0 start; 2 switch#z; 5 switch#x", 5),
        ("0 start; 2 switch!; 30 time", 0),
        ("0 start; 2 switch!; 30 resume", 25),
        ("0 start; 1 plan:x=5 w=9 y=7 z=9; 2 switch", 0),
        ("0 start; 1 plan:x=5 w=9 y=7 z=9; 2 switch; 11 time", 6),
    ],
)
def test_schedule_offset_is_that_of_the_current_item(script: str, offset: int | None) -> None:
    state = run("x=5 y=7 z=9", script).state
    assert state.schedule_offset_ms == (None if offset is None else offset * 1000)


@pytest.mark.parametrize(
    ("script", "at", "expected"),
    [
        ("", 3, {"x": 3, "y": 8, "z": 15}),
        ("0 update:start+60", 3, {"x": 60, "y": 65, "z": 72}),
        ("0 adjust+2", 3, {"x": 3, "y": 10, "z": 17}),
        ("0 start", 3, {"y": 5, "z": 12}),
        ("0 start; 1 pause", 30, {"y": 34, "z": 41}),
        ("0 start; 1 switch!; 2 adjust+3", 30, {"y": 30, "z": 40}),
        ("0 start; 1 switch#z", 3, {}),
        ("0 start; 1 switch#z; 2 switch#x", 3, {"y": 7, "z": 14}),
        ("0 start; 1 complete", 3, {}),
    ],
)
def test_expected_starts_follow_from_the_facts(script: str, at: int, expected: dict[str, int]) -> None:
    state = run("x=5 y=7 z=9", script).state
    starts = {
        item_id: (at_ms - T0) / 1000 for item_id, at_ms in expected_starts_ms(state, T0 + at * 1000 + 0.7).items()
    }
    assert starts == expected


def test_expected_starts_leave_out_the_rests_to_come() -> None:
    day_s = 86_400
    # A Monday begins 20 s after T0, and is a day of rest.
    monday = RestRule((1,), MIDNIGHT_OFFSET)
    state = run("x=5 y=12 z=9 w=100", "0 start", rest=monday).state
    starts = {item_id: (at_ms - T0) // 1000 for item_id, at_ms in expected_starts_ms(state, T0).items()}
    assert starts == {"y": 5, "z": 17, "w": day_s + 26}
    # The time of an item that ends when the rest begins is over then, and the next item begins before the rest.
    starts_ms = expected_starts_ms(run("x=20 y=12 z=9", "0 start", rest=monday).state, T0)
    assert [(at_ms - T0) // 1000 for at_ms in starts_ms.values()] == [20, day_s + 32]


def test_item_that_runs_over_delays_the_others() -> None:
    state = run("x=5 y=7 z=9", "0 start", "overtime").state
    assert list(expected_starts_ms(state, T0 + 9_000).values()) == [T0 + 9_000, T0 + 16_000]
    paused = run("x=5 y=7 z=9", "0 start; 8 pause", "overtime").state
    assert list(expected_starts_ms(paused, T0 + 9_000).values()) == [T0 + 9_000, T0 + 16_000]
    assert expected_starts_ms(play(spec("per_cycle"), "0 start").state, T0) == {}


# -- changes of the plan ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "change", "shown"),
    [
        ("", "y=7 x=5 z=9", "y 0 x 0 z 0"),
        ("", "w=1", "w 0"),
        ("0 start; 1 switch", "x=5 y=7 w=3", "x+ 1 y* 0 w 0"),
        ("0 start; 1 switch", "w=3 x=5 y=7 z=9", "w 0 x+ 1 y* 0 z 0"),
        ("0 start; 1 switch", "x=5 y=7", "x+ 1 y* 0"),
        ("0 start; 1 switch#z", "x=5 z=9", "x+ 1 z* 0"),
        ("0 start; 1 switch#z", "x=5 z=9 y=30", "x+ 1 z* 0 y 0"),
        ("0 start; 1 pause", "x=5 z/A=20", "x* 1 z 0"),
    ],
)
def test_items_that_have_not_begun_can_change(script: str, change: str, shown: str) -> None:
    before = run("x=5 y=7 z=9", script)
    session = run("x=5 y=7 z=9", f"{script}; 4 plan:{change}")
    assert session.lines[-1] == "4 plan_updated"
    assert session.plan == shown
    after, was = session.state, before.state
    assert (after.anchor_ms, after.used_ms, after.turn_number) == (was.anchor_ms, was.used_ms, was.turn_number)
    assert after.version == was.version + 1


@pytest.mark.parametrize(
    ("script", "change", "path"),
    [
        ("0 start", "x=6 y=7 z=9", "plan.0"),
        ("0 start", "x/A=5 y=7 z=9", "plan.0"),
        ("0 start", "x=5!1 y=7 z=9", "plan.0"),
        ("0 start", "y=7 z=9", "plan"),
        ("0 start; 1 switch", "y=7 x=5 z=9", "plan"),
        ("0 start; 1 switch", "x=5 z=9", "plan"),
        ("0 start; 1 switch", "w=5 y=7 z=9", "plan"),
        ("0 start; 1 switch!", "x=5", "plan"),
        ("0 start", "x=5 y=0.5", "plan.1.time_ms"),
        ("0 start", "x=5 y=0", "plan.1.time_ms"),
        ("0 start", "x=5 y=9!0", "plan.1.warnings_ms"),
    ],
)
def test_change_of_a_begun_or_impossible_item_is_refused(script: str, change: str, path: str) -> None:
    session = run("x=5 y=7 z=9", script)
    before = session.state
    refusal = session.do(T0 + 4_000, SetPlan(items(change))).refusal
    assert isinstance(refusal, ValidationFailed)
    assert refusal.details[0]["path"] == path
    assert session.state is before


def test_change_that_changes_nothing_makes_no_version() -> None:
    session = run("x=5 y=7", "0 start; 1 plan:x=5 y=7")
    assert session.lines == ["0 started A"]


def test_new_item_names_only_a_participant_of_the_session() -> None:
    assert run("x=5 y=7", "0 start; 1 plan:x=5 y/Z=7").lines[-1] == "1 !PARTICIPANT_NOT_FOUND"
    # An item that is not changed keeps the participant that has left.
    session = run("x/A=5 y/B=7", "0 start; 1 leave:B; 2 plan:x/A=5 y/B=7 z/A=3")
    assert session.lines[-1] == "2 plan_updated"


def test_overtime_allows_items_without_time_and_warnings_after_zero() -> None:
    assert run("x=5", "0 plan:x=0!0", "overtime").face == "pending *- 0"


@pytest.mark.parametrize(
    ("script", "face"),
    [
        ("0 plan:y=7 x=5; 1 time", "pending *- 7"),
        ("0 adjust+3; 1 plan:x=5 w=1", "pending *- 8"),
        ("0 adjust+3; 1 plan:x=6 w=1", "pending *- 6"),
        ("0 plan:w/B=3; 1 start", "running *B 3"),
        ("0 start; 1 switch!; 2 plan:x=5 w=3 y=7 z=9", "paused *B 3"),
        ("0 start; 1 switch!; 2 switch#z; 3 plan:x=5 w=3 y=7 z=9", "paused *B 9"),
        ("0 start; 1 switch!; 2 switch#z; 3 plan:x=5 w=3 y=7", "paused *B 3"),
        ("0 start; 1 switch!; 2 adjust+4; 3 plan:x=5 y=7", "paused *B 11"),
        ("0 start; 1 switch!; 2 plan:x=5 y=8 z=9", "paused *B 8"),
        ("0 start; 1 switch!; 2 plan:x=5 y/A=7", "paused *A 7"),
        ("0 start; 1 switch!; 2 plan:x=5 y=7 z/A=9", "paused *- 7"),
        ("0 start; 1 switch!; 2 plan:x=5 y=7 z/A=9; 3 plan:x=5 y=7", "paused *A 7"),
        ("0 start; 1 switch; 2 plan:x=5 y=7 w=3; 3 switch", "running *A 3"),
    ],
)
def test_change_reaches_the_item_that_comes_next(script: str, face: str) -> None:
    assert run("x=5 y=7 z=9", script).face == face


@pytest.mark.parametrize(
    ("creation", "script", "code"),
    [
        (spec("per_cycle"), "0 plan:x=5", "VALIDATION_ERROR"),
        (spec("global"), "0 plan:x=5", "VALIDATION_ERROR"),
        (spec("per_cycle", plan=items("x=5")), "0 start; 0 complete; 0 plan:x=6", "INVALID_STATE_TRANSITION"),
        (spec("per_cycle", plan=items("x=5")), "0 delete; 0 plan:x=6", "SESSION_NOT_FOUND"),
    ],
)
def test_plan_of_a_session_without_a_plan_or_that_ended_is_refused(creation: object, script: str, code: str) -> None:
    assert play(creation, script).lines[-1] == f"0 !{code}"  # type: ignore[arg-type]


# -- reopen, recovery, editions ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "face", "shown"),
    [
        ("0 start; 1 complete; 9 reopen; 10 resume", "running *A 4", "x* 1 y 0"),
        ("0 start; 1 switch; 3 switch; 9 reopen; 10 resume", "running *B 5", "x+ 1 y* 2"),
        ("0 start; 5 time; 12 time; 20 reopen+3; 21 resume", "running *B 3", "x+ 5 y* 7"),
        ("0 start; 1 switch!; 2 complete; 9 reopen", "paused *B 7", "x+ 1 y 0"),
        ("0 start; 1 switch!; 2 complete; 9 reopen; 10 resume", "running *B 7", "x+ 1 y* 0"),
    ],
)
def test_reopened_session_continues_its_item(script: str, face: str, shown: str) -> None:
    session = run("x=5 y=7", script)
    assert (session.face, session.plan) == (face, shown)


@pytest.mark.parametrize("command_text", ["reopen", "reopen-1"])
def test_plan_that_ended_by_time_needs_time_to_be_reopened(command_text: str) -> None:
    assert run("x=5", f"0 start; 5 time; 9 {command_text}").lines[-1] == "9 !VALIDATION_ERROR"


def test_recovered_session_keeps_its_plan() -> None:
    state = run("x=5 y=7", "0 start; 2 switch").state
    recovered = recover_session(state, "other", T0 + 60_000).state
    assert (recovered.plan, recovered.item_position) == (state.plan, 1)
    assert engine.apply(recovered, command("time"), T0 + 60_000).overdue[-1].state.status is Status.COMPLETED


def test_first_edition_has_no_plan() -> None:
    with pytest.raises(ValidationFailed):
        check_first_edition(spec("per_cycle", plan=items("x=5")))
    old = as_first_edition(run("x=5 y=7", "0 start; 1 switch").state)
    assert (old.plan, old.item_position, old.schedule_offset_ms) == ((), None, None)
    assert not engine.apply(old, Switch(), T0 + 2_000).refusal


# -- the ticking clock ------------------------------------------------------------------------------------------------


def test_items_of_the_engine_equal_those_of_a_ticking_clock() -> None:
    """Compare the engine with a clock that advances by 0.1 s and has no deadlines."""
    for seed in range(150):
        pick = random.Random(seed)
        times = [pick.randint(10, 30) for _ in range(pick.randint(1, 5))]
        session = run(" ".join(f"i{at}={time / 10}" for at, time in enumerate(times)), "0 start")
        used, done, at, left, is_over, ticks = [0] * len(times), set[int](), 0, times[0], False, 0
        starts = [(0, 0)]

        def go(
            to: int | None, now: int, times: list[int] = times, starts: list[tuple[int, int]] = starts
        ) -> int | None:
            if to is None or to >= len(times):
                return None
            starts.append((to, now))
            return to

        for _ in range(20):
            timed_out = False
            for _ in range(pick.choice((0, 1, 4, 9, 17))):
                ticks += 1
                if is_over:
                    continue
                used[at] += 1
                left -= 1
                if left == 0:
                    timed_out = True
                    done.add(at)
                    following = go(at + 1, ticks)
                    is_over = following is None
                    at = at if following is None else following
                    left = 0 if is_over else times[at]
            chosen = pick.choice((None, None, pick.randrange(len(times))))
            if not is_over and not timed_out:
                done.add(at)
                following = go(at + 1 if chosen is None else chosen, ticks)
                is_over = following is None
                at = at if following is None else following
                left = left if is_over else times[at]
            if not timed_out:
                session.do(T0 + ticks * 100, Switch(item_id=None if chosen is None else f"i{chosen}"))
            else:
                session.do(T0 + ticks * 100, command("time"))
            now = session.state
            shown = [item.used_ms // 100 for item in now.plan]
            if now.anchor_ms is not None:
                shown[at] += (T0 + ticks * 100 - now.anchor_ms) // 100
            assert shown == used, session.lines
            assert (now.status is Status.COMPLETED) == is_over
            assert {place for place, item in enumerate(now.plan) if item.status is not ItemStatus.PENDING} == (
                done if is_over else done | {at}
            )
        begun = [
            (each.state.item_position, (each.event.at_ms - T0) // 100)
            for each in session.transitions
            if each.state.status is Status.RUNNING
        ]
        assert begun == starts


class CountedId(str):
    """An id that counts its comparisons with other ids."""

    __slots__ = ()
    comparisons = 0
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        CountedId.comparisons += 1
        return str.__eq__(self, other)


def test_work_of_a_new_plan_does_not_multiply_items_and_participants() -> None:
    ids = [CountedId(f"{number:036}") for number in range(100)]
    created = Create(
        SyncMode.PER_CYCLE,
        tuple(NewParticipant(each) for each in ids),
        on_timeout=OnTimeout.ADVANCE,
        plan=(PlanItem("first", 5_000),),
    )
    state = creation.create(created, "s", "e", T0).state
    plan = tuple(PlanItem(str(at), 5_000, None, CountedId(ids[-1])) for at in range(100))
    CountedId.comparisons = 0
    decision = engine.apply(state, SetPlan(plan), T0)
    assert decision.refusal is None
    assert CountedId.comparisons < 1_000
