"""The command `undo`: which turn goes on, what it restores and keeps, what it charges, and when it is refused."""

from typing import Any

import msgspec
import pytest

from synckairos.clock import engine
from synckairos.clock.clock_systems import Bronstein, ClockSystem, Delay, Fischer, Hourglass, PerMove
from synckairos.clock.commands import Switch, Undo, VersionPrecondition
from synckairos.clock.earlier_turns import RestoredTurn, UndoCharge
from synckairos.clock.first_edition_compatibility import as_first_edition
from synckairos.clock.model import ExtendBy, Extensions, Group, Participant, Session, SyncMode
from synckairos.clock.overtime_period_systems import Byoyomi, Canadian
from synckairos.clock.plan_item import ItemStatus, PlanItem
from synckairos.clock.recover_lost_session import recover_session
from synckairos.clock.simulation import TimedCommand, simulate
from synckairos.clock.stages import Stage, Stages
from synckairos.clock.transition import Charge
from synckairos.clock.undo import MAX_TURNS, TurnStack, find_restored_turn
from synckairos.errors import CannotUndo
from synckairos.frozen_replace import replace
from tests.unit.clock.script import T0, command, play, play_plan, spec


@pytest.mark.parametrize(
    ("mode", "people", "script", "face", "used"),
    [
        ("per_participant", "A B", "10 switch; 15 undo", "running *A 60 B 60", "A 0 B 0"),
        ("per_participant", "A B", "10 switch; 15 undo:mover", "running *A 50 B 60", "A 10 B 0"),
        ("per_participant", "A B", "10 switch; 15 undo:resumed", "running *A 45 B 60", "A 15 B 0"),
        ("per_participant", "A B", "10 switch; 15 switch; 18 undo", "running A 50 *B 60", "A 10 B 0"),
        ("per_participant", "A B", "10 switch; 15 switch; 18 undo:mover", "running A 50 *B 55", "A 10 B 5"),
        ("per_participant", "A B", "10 switch; 15 switch; 18 undo:resumed", "running A 50 *B 52", "A 10 B 8"),
        ("per_participant", "A B", "10 switch; 15 switch; 18 undo2:mover", "running *A 50 B 60", "A 10 B 0"),
        ("per_participant", "A B", "10 switch; 15 switch; 18 undo2:resumed", "running *A 42 B 60", "A 18 B 0"),
        ("per_participant", "A B C", "10 switch>C; 15 undo", "running *A 60 B 60 C 60", "A 0 B 0 C 0"),
        ("per_cycle", "A B", "10 switch; 15 undo:mover", "running *A 50", "A 10 B 0"),
        ("per_group", "A/x B/y C/x", "10 switch; 15 switch; 18 undo", "running x 50 *y 60", "A 10 B 0 C 0"),
        ("per_group", "A/x B/y C/x", "10 switch; 15 switch; 18 undo2:resumed", "running *x 42 y 60", "A 18 B 0 C 0"),
        ("global", "A B", "10 switch; 15 undo", "running *A 60", "A 0 B 0"),
        ("global", "A B", "10 switch; 15 undo:mover", "running *A 50", "A 10 B 0"),
        ("global", "A B", "10 switch; 15 undo:resumed", "running *A 45", "A 15 B 0"),
        ("count_up", "A B", "10 switch; 15 undo:mover", "running *A 50", "A 10 B 0"),
    ],
)
def test_clocks_after_an_undo(mode: str, people: str, script: str, face: str, used: str) -> None:
    session = play(spec(mode, people), f"0 start; {script}")
    assert (session.face, session.used) == (face, used)
    assert session.state.anchor_ms == session.state.updated_at_ms
    assert session.state.used_ms == sum(each.used_ms for each in session.state.participants)
    event = session.transitions[-1].event
    active = session.state.active_participant
    assert active is not None
    assert (event.type, event.participant_id, event.used_ms) == ("turn_undone", active.participant_id, active.used_ms)


def test_undone_turn_goes_on_and_the_turn_number_grows() -> None:
    session = play(spec("per_participant", "A B"), "0 start; 10 switch; 15 undo; 20 switch; 22 switch")
    assert session.face == "running *A 55 B 58"
    numbers = [each.state.turn_number for each in session.transitions]
    assert numbers == [1, 2, 3, 4, 5]
    assert [each.cycle_count for each in session.state.participants] == [1, 1]
    assert session.state.turn.cycles == 2
    undone = session.transitions[2].state
    assert [each.cycle_count for each in undone.participants] == [0, 0]
    assert (undone.turn.cycles, undone.turn.began_version) == (0, 2)


def test_second_undo_goes_one_turn_further() -> None:
    script = "0 start; 10 switch; 15 switch; 17 switch; 20 undo; 21 undo; 24 switch; 30 undo; 31 undo"
    session = play(spec("per_participant", "A B"), script)
    assert session.lines[-5:] == [
        "20 turn_undone A",
        "21 turn_undone B",
        "24 cycle_switched B",
        "30 turn_undone B",
        "31 turn_undone A",
    ]
    assert session.face == "running *A 60 B 60"


def test_forgiven_time_stays_forgiven_and_kept_time_is_kept_again() -> None:
    forgiven = play(spec("per_participant", "A B"), "0 start; 10 switch; 15 undo; 20 switch; 26 undo:resumed")
    assert forgiven.used == "A 11 B 0"
    kept = play(spec("per_participant", "A B"), "0 start; 10 switch; 15 undo:mover; 20 switch; 26 undo:mover")
    assert kept.used == "A 15 B 0"
    dropped = play(spec("per_participant", "A B"), "0 start; 10 switch; 15 undo:mover; 20 switch; 26 undo")
    assert dropped.used == "A 0 B 0"


@pytest.mark.parametrize(
    ("clock", "charge", "left", "after"),
    [
        (Fischer(3_000), "nobody", 60, 56),
        (Fischer(3_000), "mover", 50, 46),
        (Bronstein(6_000), "mover", 50, 49),
        (Delay(6_000), "mover", 56, 49),
        (Delay(6_000), "nobody", 60, 59),
        (PerMove(30_000), "mover", 20, 30),
        (Byoyomi(2, 7_000), "mover", 50, 43),
        (Canadian(2, 20_000), "resumed", 45, 38),
        (Stages((Stage(1, 9_000), Stage())), "mover", 50, 52),
        (Hourglass(), "mover", 50, 43),
    ],
)
def test_kept_time_is_charged_by_the_clock_system(clock: ClockSystem, charge: str, left: float, after: float) -> None:
    session = play(spec("per_participant", "A B", clock=clock), f"0 start; 10 switch; 15 undo:{charge}")
    assert session.remaining("A") == left
    assert session.remaining("B") == (70 if isinstance(clock, Hourglass) else 30 if isinstance(clock, PerMove) else 60)
    session.do(T0 + 22_000, Switch())
    assert session.remaining("A") == after


def test_clock_does_not_fall_below_zero_by_kept_time() -> None:
    session = play(spec("per_participant", "A=20 B"), "0 start; 10 switch; 45 undo:resumed")
    assert session.lines[-2:] == ["45 turn_undone A", "45 expired A"]
    assert (session.face, session.used) == ("expired A 0x B 60", "A 20 B 0")
    over = play(spec("per_participant", "A=20 B", "overtime"), "0 start; 10 switch; 45 undo:resumed")
    assert (over.face, over.state.turn.is_in_overtime) == ("running *A -25 B 60", True)
    assert over.lines[-1] == "45 turn_undone A"


def test_turn_that_ran_out_gets_its_time_back() -> None:
    session = play(spec("per_participant", "A=10 B C", "advance"), "0 start; 15 undo; 18 switch")
    assert session.lines[1:3] == ["10 participant_expired A", "15 turn_undone A"]
    assert session.face == "running A 7 *B 60 C 60"
    team = play(spec("per_group", "A/x B/y", "advance"), "0 start; 65 undo; 68 switch")
    assert team.face == "running x 57 *y 60"
    again = play(spec("per_participant", "A=10 B C", "advance"), "0 start; 15 undo:mover")
    assert again.lines[1:] == ["10 participant_expired A", "15 turn_undone A", "15 participant_expired A"]


def test_undo_ends_a_pause_at_zero_if_the_clock_has_time() -> None:
    session = play(spec("per_participant", "A B=5", "pause"), "0 start; 10 switch; 15 time; 30 undo")
    assert (session.face, session.state.pauses) == ("running *A 60 B 5", ())
    at_zero = play(spec("per_participant", "A=10 B", "pause"), "0 start; 10 time; 12 switch; 20 undo:mover")
    assert (at_zero.face, at_zero.state.pauses[0].reason) == ("paused *A 0x B 60", "timeout")
    beside = play(spec("per_participant", "A B=5", "pause"), "0 start; 10 switch; 15 time; 16 pause:tea; 30 undo")
    assert (beside.face, [each.reason for each in beside.state.pauses]) == ("paused *A 60 B 5", ["tea"])


def test_pauses_metadata_and_done_marks_stay() -> None:
    creation = spec("per_participant", "A B", pause_budget=3, metadata={"a": 1})
    session = play(
        creation, '0 start; 10 switch; 12 done:A; 12 pause:tea; 13 merge:{"a":2}; 15 undo; 40 resume; 45 switch'
    )
    undone = session.transitions[-3].state
    assert (undone.status, undone.anchor_ms) == ("paused", None)
    assert [each.reason for each in undone.pauses] == ["tea"]
    assert (undone.metadata, undone.pauses_taken) == ({"a": 2}, {"anonymous": 1})
    assert undone.participants[0].done_turn == 2
    assert session.face == "running A 55 *B 60"


@pytest.mark.parametrize(("turns", "face"), [(1, "running A 60 *B 60"), (2, "running *A 60 B 60")])
def test_undo_in_a_hold_ends_it_and_takes_back_the_ended_turn(turns: int, face: str) -> None:
    creation = spec("per_participant", "A B", holds_between_turns=True)
    session = play(creation, f"0 start; 10 switch; 11 resume; 15 switch; 18 undo{turns}")
    assert session.state.pauses == ()
    assert session.face == face.replace("A 60 *B", "A 50 *B")
    after = play(creation, "0 start; 10 switch; 11 resume; 15 undo")
    assert after.face == "running *A 60 B 60"
    beside = play(creation, "0 start; 10 switch; 12 pause:tea; 15 undo")
    assert [each.reason for each in beside.state.pauses] == ["tea"]


def test_hold_changes_nothing_about_the_mover_and_the_first_turn() -> None:
    creation = spec("per_participant", "A B", holds_between_turns=True)
    assert play(creation, "0 start; 10 switch; 40 undo:mover").used == "A 10 B 0"
    assert play(creation, "0 start; 10 switch; 40 undo:resumed").used == "A 10 B 0"
    assert play(creation, "0 start; 10 switch; 40 undo2").lines[-1] == "40 !CANNOT_UNDO"


def test_warnings_below_the_restored_reading_are_armed_again() -> None:
    creation = spec("per_participant", "A=20 B=20", warnings_ms=(10_000, 5_000))
    session = play(creation, "0 start; 12 switch; 24 undo:mover; 40 time")
    assert session.lines[1:] == [
        "10 time_warning A",
        "12 cycle_switched A",
        "22 time_warning B",
        "24 turn_undone A",
        "27 time_warning A",
        "32 expired A",
    ]
    again = play(creation, "0 start; 12 switch; 24 undo; 40 time")
    assert again.lines[-2:] == ["34 time_warning A", "39 time_warning A"]


def test_lag_accounts_and_the_receipt_are_restored() -> None:
    creation = spec("per_participant", "A B", lag_compensation=True)
    session = play(creation, "0 start")
    for at_s in (10, 20, 30):
        session.do(T0 + at_s * 1_000, Switch(lag_ms=500, measured_lag_ms=500))
    begun = session.transitions[1].state
    session.do(T0 + 40_000, command("undo2:mover"))
    assert [each.lag for each in session.state.participants] == [each.lag for each in begun.participants]
    assert session.state.lag_receipt == begun.lag_receipt
    assert session.state.participants[1].used_ms == 9_500


def test_extensions_are_taken_back_but_not_those_of_an_end() -> None:
    extends: dict[str, Any] = {"extend_on_switch_ms": 20_000, "extend_by": ExtendBy.ADD}
    session = play(spec("global", "A B", **extends), "0 start; 50 switch; 55 undo")
    assert (session.state.remaining_ms, session.state.extensions) == (60_000, Extensions())
    creation = spec("global", "A B", total_time_ms=None, ends_at_ms=T0 + 60_000, **extends)
    ended = play(creation, "0 start; 50 switch; 55 undo:mover")
    assert (ended.state.ends_at_ms, ended.state.extensions) == (T0 + 80_000, Extensions(1, 20_000))
    assert ended.used == "A 50 B 0"


def test_undo_of_a_switch_during_a_pause() -> None:
    creation = spec("per_participant", "A B", switch_while_paused=True)
    session = play(creation, "0 start; 10 pause; 12 switch; 20 undo:mover")
    assert session.face == "paused *A 50 B 60"
    assert play(creation, "0 start; 10 pause; 12 switch; 20 resume; 25 undo:resumed").face == "running *A 45 B 60"


@pytest.mark.parametrize(
    ("script", "charges"),
    [
        ("10 switch; 15 undo", ()),
        ("10 switch; 15 undo:mover", (Charge("A", T0, T0 + 10_000),)),
        ("10 switch; 15 undo:resumed", (Charge("A", T0, T0 + 15_000),)),
        ("10 switch; 15 switch; 18 undo:resumed", (Charge("B", T0 + 10_000, T0 + 18_000),)),
        ("10 switch; 15 switch; 20 switch; 26 undo:mover", (Charge("A", T0 + 15_000, T0 + 20_000),)),
        ("10 switch; 15 pause; 40 undo:resumed", (Charge("A", T0, T0 + 15_000),)),
    ],
)
def test_undo_charges_the_kept_time_from_the_beginning_of_the_turn(script: str, charges: tuple[Charge, ...]) -> None:
    assert play(spec("per_participant", "A B"), f"0 start; {script}").transitions[-1].event.charges == charges


@pytest.mark.parametrize(
    "script",
    [
        "1 undo",
        "0 start; 5 undo",
        "0 start; 10 switch; 15 undo2",
        "0 start; 10 switch; 15 undo; 16 undo",
        "0 start; 10 switch; 15 complete; 16 undo",
        "0 start; 10 switch; 15 cancel; 16 undo",
        "0 start; 10 switch; 70 undo",
        "0 start; 10 switch; 15 adjust+5; 16 undo",
        "0 start; 10 switch; 15 adjust+5; 16 switch; 17 undo",
        "0 start; 10 switch; 15 adjust+5; 16 switch; 17 switch; 18 undo2",
        "0 start; 10 switch; 15 join:D; 16 undo",
        "0 start; 10 switch; 15 leave:C; 16 undo",
        "0 start; 10 switch; 15 leave:B; 16 undo",
        "0 start; 10 switch; 15 leave:A; 16 join:A; 17 switch; 18 undo",
        "0 start; 10 switch!; 15 leave:B; 16 undo",
        "0 start; 10 switch; 70 time; 80 reopen+30; 90 undo",
    ],
)
def test_undo_is_refused_and_changes_nothing(script: str) -> None:
    session = play(spec("per_participant", "A B C"), script)
    refusal = session.decision.refusal
    assert refusal is not None
    assert (refusal.code, refusal.status) == ("CANNOT_UNDO", 409)
    assert session.lines[-1].endswith("!CANNOT_UNDO")
    assert not session.decision.own


@pytest.mark.parametrize(
    ("script", "face"),
    [
        ("0 start; 10 adjust+5; 15 switch; 17 switch; 20 undo", "running A 50 *B 65 C 65"),
        ("0 start; 10 switch; 15 leave:B; 17 switch; 20 undo", "running A 50 *C 60"),
        ("0 start; 10 switch; 15 adjust+5; 16 switch; 17 switch; 18 undo", "running A 55 B 59 *C 65"),
        ("0 start; 10 switch; 15 complete; 20 reopen; 25 undo", "paused *A 60 B 60 C 60"),
        ("0 start; 10 switch; 15 adjust-999:C; 16 leave:C; 17 switch; 18 switch; 19 undo", "running *A 50 B 53"),
    ],
)
def test_undo_up_to_a_change_is_possible(script: str, face: str) -> None:
    assert play(spec("per_participant", "A B C"), script).face == face


def test_plan_items_and_their_times_are_restored() -> None:
    creation = spec("per_cycle", "A B", plan=(PlanItem("x", 20_000), PlanItem("y", 30_000), PlanItem("z", 9_000)))
    session = play(creation, "0 start; 12 switch; 17 undo; 19 switch#z; 22 undo:mover")
    first = session.transitions[2].state
    assert [(each.status, each.used_ms) for each in first.plan] == [("running", 0), ("pending", 0), ("pending", 0)]
    assert (first.item_position, first.remaining_ms, first.schedule_offset_ms) == (0, 20_000, 17_000)
    state = session.state
    assert [(each.status, each.used_ms) for each in state.plan] == [("running", 2_000), ("pending", 0), ("pending", 0)]
    assert (state.item_position, state.remaining_ms, state.turn_number) == (0, 18_000, 5)
    held = play(replace(creation, holds_between_turns=True), "0 start; 12 switch; 17 undo")
    assert (held.state.item_position, held.state.next_item_position, held.state.status) == (0, None, "running")


def test_offset_of_the_schedule_is_restored_for_an_item_without_a_planned_start() -> None:
    creation = spec("per_cycle", "A B", plan=(PlanItem("x", 20_000), PlanItem("y", 30_000)))
    session = play(creation, "0 start; 2 plan:x=20 n=9 y=30; 12 switch; 17 switch; 18 undo")
    offsets = [each.state.schedule_offset_ms for each in session.transitions]
    assert offsets == [0, 0, 0, -3_000, 0]
    assert session.state.plan[1].status == "running"


def test_change_of_the_plan_blocks_an_undo() -> None:
    creation = spec("per_cycle", "A B", plan=(PlanItem("x", 20_000), PlanItem("y", 30_000)))
    assert play(creation, "0 start; 12 switch; 15 plan:x=20 y=30 z=9; 17 undo").lines[-1] == "17 !CANNOT_UNDO"
    assert play(creation, "0 start; 2 plan:x=20 y=30; 12 switch; 17 undo").lines[-1] == "17 turn_undone A"


def test_change_of_nothing_does_not_block_an_undo() -> None:
    session = play(
        spec("per_participant", "A B=0", "overtime"), '0 start; 1 merge:{"a":1}; 5 switch; 6 pause; 7 resume; 8 undo'
    )
    assert session.lines[-1] == "8 turn_undone A"


def test_recovery_blocks_an_undo() -> None:
    state = play(spec("per_participant", "A B"), "0 start; 10 switch").state
    assert state.turn.began_version == 3
    assert recover_session(state, "f", T0 + 20_000).state.turn.began_version is None


def test_session_of_the_first_edition_has_no_undo() -> None:
    session = play(spec("per_participant", "A B", edition=1), "0 start; 10 switch; 15 undo")
    assert session.lines[-1] == "15 !CANNOT_UNDO"
    assert session.state.turn.began_version is None
    later = play(spec("per_participant", "A B"), "0 start; 10 switch").state
    first = as_first_edition(later)
    assert first.turn.began_version is None
    restored = RestoredTurn(2, T0, "A")
    assert isinstance(engine.apply(first, Undo(restored=restored), T0 + 20_000).refusal, CannotUndo)


def test_undo_without_the_earlier_turn_is_refused() -> None:
    state = play(spec("per_participant", "A B"), "0 start; 10 switch").state
    assert isinstance(engine.apply(state, Undo(), T0 + 20_000).refusal, CannotUndo)


def test_version_and_turn_are_checked_before_the_undo() -> None:
    state = play(spec("per_participant", "A B"), "0 start; 10 switch").state
    for precondition, code in (
        (VersionPrecondition(version=2), "CONFLICT"),
        (VersionPrecondition(turn=1), "TURN_OVER"),
        (VersionPrecondition(turn=2), "CANNOT_UNDO"),
    ):
        refusal = engine.apply(state, Undo(), T0 + 20_000, precondition).refusal
        assert refusal is not None
        assert refusal.code == code


def test_overdue_transitions_are_committed_before_the_undo() -> None:
    state = play(spec("per_participant", "A=10 B", "advance"), "0 start").state
    decision = engine.apply(state, Undo(), T0 + 15_000)
    assert decision.has_more_overdue
    assert [each.event.type for each in decision.all_transitions] == ["participant_expired"]


def test_restored_facts_are_those_of_changed_participants_only() -> None:
    session = play(spec("per_participant", "A B C D"), "0 start; 10 switch; 15 switch; 18 undo")
    begun, next_begun = session.transitions[1].state, session.transitions[2].state
    restored = find_restored_turn(next_begun, begun, next_begun)
    assert restored is not None
    assert [each.participant_id for each in restored.participants] == ["B"]
    assert (restored.version, restored.at_ms, restored.used_in_turn_ms, restored.cycles) == (3, T0 + 10_000, 5_000, 1)
    fewer = play(spec("per_participant", "A B C"), "0 start").state
    assert find_restored_turn(fewer, begun, next_begun) is None


def test_undo_goes_back_at_most_a_hundred_turns() -> None:
    session = play(spec("per_participant", "A B", clock=PerMove(10_000)), "0 start")
    for at in range(1, 130):
        session.do(T0 + at * 1_000, Switch())
    assert MAX_TURNS == 100
    oldest = session.turns.find_restored_turn(session.state, Undo(100))
    assert oldest is not None
    assert oldest.cycles == 29
    assert session.turns.find_restored_turn(session.state, Undo(101)) is None


def test_turn_stack_without_turns_finds_none() -> None:
    assert TurnStack().find_restored_turn(play(spec("global", "A"), "").state, Undo()) is None


def test_charge_of_nobody_is_the_default() -> None:
    assert (Undo().turns, Undo().charge) == (1, UndoCharge.NO_PARTICIPANT)


@pytest.mark.parametrize(
    ("charge", "plan", "used_s"),
    [("", "x+ 2 y* 0 z 0", 2), (":mover", "x+ 2 y* 0 z 0", 2), (":resumed", "x+ 2 y* 3 z 0", 5)],
)
def test_turn_of_no_participant_is_restored_by_its_item(charge: str, plan: str, used_s: int) -> None:
    session = play_plan("x/A=50 y=50 z/B=50", f"0 start; 2 switch; 4 switch; 5 undo{charge}")
    assert (session.plan, session.used, session.state.used_ms) == (plan, "A 2 B 0", used_s * 1_000)


@pytest.mark.parametrize("mode", ["per_participant", "per_group"])
def test_undo_restores_expiry_and_reading_of_the_budget(mode: str) -> None:
    expired = play(spec(mode, "A/x B/y", "advance"), "0 start; 60 time")
    assert [each.has_expired for each in _owners(expired.state)] == [True, False]
    expired.do(T0 + 65_000, command("undo"))
    expired.do(T0 + 70_000, command("undo"))
    assert [each.has_expired for each in _owners(expired.state)] == [False, False]
    in_period = play(spec(mode, "A/x B/y", clock=Byoyomi(2, 10_000)), "0 start; 65 switch")
    assert [_phase(each) for each in _owners(in_period.state)] == ["overtime", "main"]
    in_period.do(T0 + 70_000, command("undo"))
    assert [_phase(each) for each in _owners(in_period.state)] == ["main", "main"]


def _owners(state: Session) -> tuple[Participant, ...] | tuple[Group, ...]:
    return state.groups if state.rules.sync_mode is SyncMode.PER_GROUP else state.participants


def _phase(owner: Participant | Group) -> str | None:
    return None if owner.reading is None else owner.reading.phase


def test_simulation_finds_the_turn_that_an_undo_restores() -> None:
    timed = [TimedCommand(at, command(text)) for at, text in ((0, "start"), (10_000, "switch"), (15_000, "undo"))]
    rows = simulate(spec("per_participant", "A B"), timed, 20_000, "s").rows
    assert [(row.at_ms, row.event_type or row.refusal_code) for row in rows[-2:]] == [
        (10_000, "cycle_switched"),
        (15_000, "turn_undone"),
    ]


def test_stored_facts_without_a_member_have_its_value_of_a_new_session() -> None:
    stored = b"""{"version":2,"at_ms":7,"participants":[{"participant_id":"A","remaining_ms":5}],
        "groups":[{"group_id":"x","remaining_ms":6}],"items":[{"item_id":"y"}]}"""
    turn = msgspec.json.decode(stored, type=RestoredTurn)
    assert (turn.used_in_turn_ms, turn.used_ms, turn.cycles) == (0, 0, 0)
    (person,), (group,), (item,) = turn.participants, turn.groups, turn.items
    assert (person.used_ms, person.cycle_count, person.has_expired) == (0, 0, False)
    assert (group.used_ms, group.has_expired) == (0, False)
    assert (item.used_ms, item.status) == (0, ItemStatus.PENDING)
