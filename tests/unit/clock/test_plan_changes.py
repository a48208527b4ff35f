"""Changes of a plan by `set_plan`, and plans of reopened and recovered sessions and of the first edition."""

import pytest

from synckairos.clock import creation, engine
from synckairos.clock.commands import Create, NewParticipant, SetPlan, Switch
from synckairos.clock.first_edition_compatibility import as_first_edition, check_first_edition
from synckairos.clock.model import OnTimeout, Status, SyncMode
from synckairos.clock.plan_item import PlanItem
from synckairos.clock.recover_lost_session import recover_session
from synckairos.errors import ValidationFailed
from tests.unit.clock.script import T0, command, items, play, play_plan, spec


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
    before = play_plan("x=5 y=7 z=9", script)
    session = play_plan("x=5 y=7 z=9", f"{script}; 4 plan:{change}")
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
    session = play_plan("x=5 y=7 z=9", script)
    before = session.state
    refusal = session.do(T0 + 4_000, SetPlan(items(change))).refusal
    assert isinstance(refusal, ValidationFailed)
    assert refusal.details[0]["path"] == path
    assert session.state is before


def test_change_that_changes_nothing_makes_no_version() -> None:
    session = play_plan("x=5 y=7", "0 start; 1 plan:x=5 y=7")
    assert session.lines == ["0 started A"]


def test_new_item_names_only_a_participant_of_the_session() -> None:
    assert play_plan("x=5 y=7", "0 start; 1 plan:x=5 y/Z=7").lines[-1] == "1 !PARTICIPANT_NOT_FOUND"
    # An item that is not changed keeps the participant that has left.
    session = play_plan("x/A=5 y/B=7", "0 start; 1 leave:B; 2 plan:x/A=5 y/B=7 z/A=3")
    assert session.lines[-1] == "2 plan_updated"


def test_overtime_allows_items_without_time_and_warnings_after_zero() -> None:
    assert play_plan("x=5", "0 plan:x=0!0", "overtime").face == "pending *- 0"


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
    assert play_plan("x=5 y=7 z=9", script).face == face


@pytest.mark.parametrize(
    ("creation", "script", "code"),
    [
        (spec("per_cycle"), "0 plan:x=5", "VALIDATION_ERROR"),
        (spec("global"), "0 plan:x=5", "VALIDATION_ERROR"),
        (spec("per_cycle", plan=items("x=5")), "0 start; 0 complete; 0 plan:x=6", "INVALID_STATE_TRANSITION"),
        (spec("per_cycle", plan=items("x=5")), "0 delete; 0 plan:x=6", "SESSION_NOT_FOUND"),
    ],
)
def test_plan_of_a_session_without_a_plan_or_that_ended_is_refused(creation: Create, script: str, code: str) -> None:
    assert play(creation, script).lines[-1] == f"0 !{code}"


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


# -- reopen, recovery, editions ----------------------------------------------------------------------------------------


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
    session = play_plan("x=5 y=7", script)
    assert (session.face, session.plan) == (face, shown)


@pytest.mark.parametrize("command_text", ["reopen", "reopen-1"])
def test_plan_that_ended_by_time_needs_time_to_be_reopened(command_text: str) -> None:
    assert play_plan("x=5", f"0 start; 5 time; 9 {command_text}").lines[-1] == "9 !VALIDATION_ERROR"


def test_recovered_session_keeps_its_plan() -> None:
    state = play_plan("x=5 y=7", "0 start; 2 switch").state
    recovered = recover_session(state, "other", T0 + 60_000).state
    assert (recovered.plan, recovered.item_position) == (state.plan, 1)
    assert engine.apply(recovered, command("time"), T0 + 60_000).overdue[-1].state.status is Status.COMPLETED


def test_first_edition_has_no_plan() -> None:
    with pytest.raises(ValidationFailed):
        check_first_edition(spec("per_cycle", plan=items("x=5")))
    old = as_first_edition(play_plan("x=5 y=7", "0 start; 1 switch").state)
    assert (old.plan, old.item_position, old.schedule_offset_ms) == ((), None, None)
    assert not engine.apply(old, Switch(), T0 + 2_000).refusal
    held = play_plan("x=5 y=7", "0 start; 1 switch!").state
    assert (held.next_item_position, as_first_edition(held).next_item_position) == (1, None)
