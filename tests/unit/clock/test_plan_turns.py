"""Turns of a session with a plan: items in order, the participants that they name, holds and warnings."""

import pytest

from synckairos.clock import engine
from synckairos.clock.commands import Switch, VersionPrecondition
from synckairos.clock.model import Status
from synckairos.clock.plan_items import ran_out_of_time
from tests.unit.clock.script import T0, command, play, play_plan, spec


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
    session = play_plan(plan, script)
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
    session = play_plan("x=5 y=7", "0 start; 5 time", on_timeout)
    assert (session.face, session.plan, session.lines[-1]) == (face, shown, line)


def test_time_saved_in_one_item_is_not_given_to_another() -> None:
    session = play_plan("x=300 y=600 z=180", "0 start; 100 switch; 100 switch#x; 400 time")
    assert session.lines[-1] == "400 cycle_expired A"
    assert session.face == "running *B 600"
    assert session.plan == "x+ 400 y* 0 z 0"


def test_overtime_of_an_item_counts_in_its_used_time() -> None:
    session = play_plan("x=5 y=7", "0 start; 8 switch", "overtime")
    assert (session.face, session.plan) == ("running *B 7", "x+ 8 y* 0")


def test_paused_time_counts_in_no_item() -> None:
    session = play_plan("x=5 y=7", "0 start; 2 pause; 60 resume; 63 time")
    assert (session.face, session.plan) == ("running *B 7", "x+ 5 y* 0")


def test_switch_during_a_pause_shows_the_next_item() -> None:
    session = play_plan("x=5 y=7", "0 start; 2 pause; 9 switch", switch_while_paused=True)
    assert (session.face, session.plan) == ("paused *B 7", "x+ 2 y* 0")


def test_switch_at_zero_begins_the_next_item() -> None:
    session = play_plan("x=5 y=7", "0 start; 5 time; 9 switch", "pause")
    assert (session.face, session.plan) == ("running *B 7", "x+ 5 y* 0")


def test_switch_to_an_unknown_item_is_refused() -> None:
    assert play_plan("x=5 y=7", "0 start; 1 switch#z").lines[-1] == "1 !PLAN_ITEM_NOT_FOUND"
    assert play(spec("per_cycle", "A B"), "0 start; 1 switch#x").lines[-1] == "1 !PLAN_ITEM_NOT_FOUND"
    assert play_plan("x=5 y=7", "0 start; 1 switch!; 2 switch#z").lines[-1] == "2 !PLAN_ITEM_NOT_FOUND"


def test_turn_number_grows_with_each_item_and_guards_a_switch() -> None:
    session = play_plan("x=5 y=7 z=9", "0 start; 1 switch")
    assert session.state.turn_number == 2
    late = session.do(T0 + 2_000, Switch(item_id="z"), VersionPrecondition(turn=1))
    assert late.refusal is not None
    assert late.refusal.code == "TURN_OVER"
    session.do(T0 + 2_000, Switch(item_id="x"), VersionPrecondition(turn=2))
    assert session.plan == "x* 1 y+ 1 z 0"


@pytest.mark.parametrize("script", ["0 start; 5 switch", "0 start; 5 time; 9 switch", "0 start; 5 time; 9 switch@A"])
def test_switch_after_the_time_of_the_last_item_is_consumed_by_its_end(script: str) -> None:
    session = play_plan("x=5", script)
    assert session.state.status is Status.COMPLETED
    assert ran_out_of_time(session.state)
    # The script gives the participant of the last turn only for an expired session, as the service does from the trail.
    late = engine.apply(session.state, Switch(), T0 + 20_000, out_of_time_id="A")
    assert (late.expired_participant_id, late.refusal, late.all_transitions) == ("A", None, ())
    other = engine.apply(session.state, Switch(current_participant_id="B"), T0 + 20_000, out_of_time_id="A")
    assert other.refusal is not None


@pytest.mark.parametrize("script", ["0 start; 1 complete", "0 start; 1 switch", "0 start; 1 done:A; 2 done:B"])
def test_switch_after_a_completed_plan_is_refused_if_time_did_not_end_it(script: str) -> None:
    session = play_plan("x=5", f"{script}; 20 switch", closes_when_all_done=True)
    assert not ran_out_of_time(session.state)
    assert session.lines[-1] == "20 !INVALID_STATE_TRANSITION"


def test_all_done_participants_end_the_item() -> None:
    session = play_plan("x=5 y=7", "0 start; 1 done:A; 2 done:B; 3 done:A; 4 done:B", closes_when_all_done=True)
    assert session.lines[-1] == "4 completed B"
    assert session.plan == "x+ 2 y+ 2"


# -- participants ------------------------------------------------------------------------------------------------------


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
    session = play_plan(plan, script)
    assert (session.face, session.used) == (face, used)
    assert session.state.used_ms == sum(item.used_ms for item in session.state.plan)


def test_items_without_participants_leave_the_rotation() -> None:
    session = play_plan("x=5 y=5 z=5", "0 start; 1 switch; 2 switch", people="A B C", active_participant_id="B")
    assert session.face == "running *A 5"
    assert session.used == "A 0 B 1 C 1"


def test_named_items_refuse_a_next_participant() -> None:
    session = play_plan("x/A=5 y/B=7", "0 start; 1 switch>A; 2 switch!; 3 switch>A")
    assert session.lines[1:] == ["1 !VALIDATION_ERROR", "2 cycle_switched A", "3 !VALIDATION_ERROR"]


def test_item_of_the_participant_that_leaves_begins_again_for_no_participant() -> None:
    session = play_plan("x/A=5 y/B=7", "0 start; 2 leave:A; 7 time")
    assert session.lines[1:] == ["2 participant_removed A", "7 cycle_expired"]
    assert session.face == "running *B 7"
    assert session.plan == "x+ 7 y* 0"
    assert [each.state.turn_number for each in session.transitions] == [1, 2, 3]


def test_item_goes_to_the_next_participant_of_the_rotation_if_its_participant_leaves() -> None:
    session = play_plan("x=5 y=7", "0 start; 2 leave:A; 3 time")
    assert (session.face, session.plan) == ("running *B 5", "x* 2 y 0")


def test_participant_that_left_gets_no_item() -> None:
    assert play_plan("x/A=5 y/B=7", "0 start; 2 leave:B; 3 switch").face == "running *- 7"
    assert play_plan("x/A=5 y/B=7", "0 start; 2 switch!; 3 leave:B; 4 resume").face == "running *- 7"
    assert play_plan("x/A=5 y/B=7", "0 leave:A; 1 start").face == "running *- 5"


# -- between turns -----------------------------------------------------------------------------------------------------


def test_hold_shows_the_next_item_and_the_resume_begins_it() -> None:
    session = play_plan("x=5 y=7 z=9", "0 start; 2 switch", holds_between_turns=True)
    held = session.state
    assert (session.face, session.plan) == ("paused *B 7", "x+ 2 y 0 z 0")
    assert (held.item_position, held.next_item_position, held.turn_number) == (0, 1, 1)
    session.do(T0 + 60_000, command("resume"))
    assert (session.face, session.plan) == ("running *B 7", "x+ 2 y* 0 z 0")
    assert (session.state.item_position, session.state.next_item_position, session.state.turn_number) == (1, None, 2)


def test_switch_in_a_hold_changes_what_comes_next() -> None:
    session = play_plan("x=5 y=7 z=9", "0 start; 2 switch!; 3 switch#z; 4 switch#z; 5 switch; 6 switch>A; 7 resume")
    assert session.lines[2:] == [
        "3 cycle_switched B",
        "5 !INVALID_STATE_TRANSITION",
        "6 cycle_switched A",
        "7 resumed A",
    ]
    assert (session.face, session.plan) == ("running *A 9", "x+ 2 y 0 z* 0")


def test_named_item_brings_its_participant_into_a_hold() -> None:
    session = play_plan("x/A=5 y/B=7 z=9 w/A=3", "0 start; 2 switch!")
    for item_id, face in (("z", "paused *- 9"), ("w", "paused *A 3"), ("y", "paused *B 7")):
        session.do(T0 + 3_000, Switch(item_id=item_id))
        assert session.face == face


def test_item_that_ended_can_begin_again_after_a_hold() -> None:
    session = play_plan("x=5 y=7", "0 start; 2 switch!; 3 switch#x; 9 resume; 10 time")
    assert (session.face, session.plan) == ("running *B 5", "x* 2 y 0")


def test_last_item_completes_without_a_hold() -> None:
    assert play_plan("x=5", "0 start; 5 time", holds_between_turns=True).face == "completed *- 0"
    assert play_plan("x=5", "0 start; 2 switch!").face == "completed *- 3"


def test_adjusted_budget_in_a_hold_goes_to_the_shown_item_only() -> None:
    assert play_plan("x=5 y=7 z=9", "0 start; 2 switch!; 3 adjust+4; 4 resume").face == "running *B 11"
    assert play_plan("x=5 y=7 z=9", "0 start; 2 switch!; 3 adjust+4; 4 switch#z").face == "paused *B 9"


# -- warnings ----------------------------------------------------------------------------------------------------------


def test_warnings_of_an_item_replace_those_of_the_session() -> None:
    session = play_plan("x=5 y=7!4 z=9!6!1", "0 start; 5 time; 12 time; 21 time", warnings_ms=(2_000,))
    warnings = [line.split()[0] for line in session.lines if "time_warning" in line]
    assert warnings == ["3", "8", "15", "20"]


def test_item_begins_again_with_all_warnings() -> None:
    session = play_plan("x=5!4 y=7", "0 start; 2 switch#x; 4 time")
    assert [line.split()[0] for line in session.lines if "time_warning" in line] == ["1", "3"]
