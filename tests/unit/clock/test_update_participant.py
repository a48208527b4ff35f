"""The command `update_participant`: budgets and clock systems before the first turn is over, and display names."""

from typing import Any

import pytest

from synckairos.clock import engine
from synckairos.clock.clock_systems import Bronstein, ClockSystem, Delay, Fischer, Hourglass, PerMove
from synckairos.clock.commands import UpdateParticipant, VersionPrecondition
from synckairos.clock.first_edition_compatibility import as_first_edition
from synckairos.clock.lag_compensation import open_lag_account
from synckairos.clock.model import Participant
from synckairos.clock.overtime_period_systems import Byoyomi, Canadian
from synckairos.clock.stages import Stage, Stages
from synckairos.clock.timing import charge_session_until
from synckairos.clock.transition import EventType
from synckairos.errors import ValidationFailed
from synckairos.frozen_replace import replace
from tests.unit.clock.script import T0, Played, open_session, play, spec
from tests.unit.clock.script import command as script_command

REFUSED = "!INVALID_STATE_TRANSITION"
INVALID = "!VALIDATION_ERROR"
UPDATED = "participant_updated"


def update(name: str = "A", seconds: float | None = None, clock: ClockSystem | None = None) -> UpdateParticipant:
    return UpdateParticipant(name, None if seconds is None else round(seconds * 1000), clock)


def played(mode: str, script: str, at: float, command: UpdateParticipant, **fields: Any) -> Played:
    """Play a script, and then the command `at` seconds after the creation."""
    session = play(spec(mode, fields.pop("people", "A B"), fields.pop("on_timeout", None), **fields), script)
    session.do(T0 + round(at * 1000), command)
    return session


@pytest.mark.parametrize(
    ("script", "at", "command", "line", "face"),
    [
        ("", 1, update("A", 30), "1 participant_updated A", "pending *A 30 B 60"),
        ("0 start", 10, update("A", 30), "10 participant_updated A", "running *A 20 B 60"),
        ("0 start", 10, update("A", 90), "10 participant_updated A", "running *A 80 B 60"),
        ("0 start", 10, update("A", 10.001), "10 participant_updated A", "running *A 0.001 B 60"),
        ("0 start", 10, update("A", 10), f"10 {INVALID}", "running *A 60 B 60"),
        ("0 start", 10, update("A", 9), f"10 {INVALID}", "running *A 60 B 60"),
        ("0 start", 10, update("B", 30), "10 participant_updated B", "running *A 50 B 30"),
        ("0 start; 10 switch", 12, update("A", 30), f"12 {REFUSED}", "running A 50 *B 60"),
        ("0 start; 10 switch", 12, update("B", 30), "12 participant_updated B", "running A 50 *B 28"),
        ("0 start; 10 pause", 30, update("A", 30), "30 participant_updated A", "paused *A 20 B 60"),
        ("0 start; 10 switch!", 12, update("A", 30), f"12 {REFUSED}", "paused A 50 *B 60"),
        ("0 start; 10 switch!", 12, update("B", 30), "12 participant_updated B", "paused A 50 *B 30"),
        ("0 start; 10 switch; 11 undo", 12, update("A", 30), "12 participant_updated A", "running *A 29 B 60"),
        ("0 start; 5 adjust+20", 10, update("A", 30), "10 participant_updated A", "running *A 20 B 80"),
        ("0 start; 5 complete", 10, update("B", 30), f"10 {REFUSED}", "completed A 55 B 60"),
        ("0 start", 10, update("Z", 30), "10 !PARTICIPANT_NOT_FOUND", "running *A 60 B 60"),
        ("", 1, update("A", 0), f"1 {INVALID}", "pending *A 60 B 60"),
    ],
)
def test_budget_changes_only_before_the_first_turn_is_over(
    script: str, at: float, command: UpdateParticipant, line: str, face: str
) -> None:
    session = played("per_participant", script, at, command, active_participant_id="A")
    assert (session.lines[-1], session.face) == (line, face)


@pytest.mark.parametrize(
    ("mode", "fields"),
    [
        ("per_group", {"people": "A/x B/y"}),
        ("per_cycle", {}),
        ("global", {}),
        ("count_up", {}),
    ],
)
def test_a_mode_without_budgets_of_participants_refuses_budgets_and_changes_names(
    mode: str, fields: dict[str, Any]
) -> None:
    for command, path in ((update("A", 30), "total_time_ms"), (update("A", None, Fischer(1)), "clock")):
        session = played(mode, "0 start", 1, command, **fields)
        assert isinstance(session.decision.refusal, ValidationFailed)
        assert [each["path"] for each in session.decision.refusal.details] == [path]
    session.do(T0 + 2_000, UpdateParticipant("A", display_name="Ä"))
    assert (session.lines[-1], session.state.participants[0].display_name) == ("2 participant_updated A", "Ä")


@pytest.mark.parametrize(
    ("before", "command", "remaining_s", "reading"),
    [
        (None, update("B", 30, Fischer(3_000)), 30, None),
        (None, update("B", None, Fischer(3_000)), 60, None),
        (None, update("A", 30, Fischer(3_000)), 20, None),
        (None, update("A", 30, Bronstein(3_000)), 20, None),
        (None, update("A", 30, Delay(3_000)), 23, None),
        (None, update("A", 30, Byoyomi(2, 5_000)), 20, ("main", 2)),
        (None, update("B", 0, Byoyomi(2, 5_000)), 5, ("overtime", 2)),
        (None, update("A", 30, Canadian(2, 5_000)), 20, ("main", None)),
        (None, update("A", 30, Stages((Stage(1, 5_000), Stage()))), 20, (None, None)),
        (None, update("A", None, PerMove(15_000)), 5, None),
        (Byoyomi(2, 5_000), update("B", 30), 30, ("main", 2)),
        (PerMove(15_000), update("A", 30, Fischer(1)), 20, None),
    ],
)
def test_a_new_clock_reads_as_if_it_had_been_the_clock_at_creation(
    before: ClockSystem | None, command: UpdateParticipant, remaining_s: float, reading: tuple[object, object] | None
) -> None:
    session = played("per_participant", "0 start", 10, command, clock=before)
    assert session.decision.refusal is None
    row = next(each for each in session.state.participants if each.participant_id == command.participant_id)
    assert row.remaining_ms == remaining_s * 1000
    assert (None if row.reading is None else (row.reading.phase, row.reading.periods_left)) == reading
    assert row.clock == command.clock
    if command.total_time_ms is not None:
        same = created_with(command, before)
        assert (same.remaining_ms, same.reading, same.used_ms) == (row.remaining_ms, row.reading, row.used_ms)


def created_with(change: UpdateParticipant, before: ClockSystem | None) -> Participant:
    """Return the participant 10 s after the start of a session that was created with the changed values."""
    creation = spec("per_participant", "A B", clock=change.clock or before)
    people = tuple(replace(each, total_time_ms=change.total_time_ms) for each in creation.participants)
    state = charge_session_until(play(replace(creation, participants=people), "0 start").state, T0 + 10_000)
    return next(each for each in state.participants if each.participant_id == change.participant_id)


@pytest.mark.parametrize(
    ("before", "command", "path"),
    [
        (None, update("A", None, Fischer(3_000)), "total_time_ms"),  # the first turn has used time
        (PerMove(15_000), update("B", None, Fischer(3_000)), "total_time_ms"),  # there is no main time to keep
        (PerMove(15_000), update("B", 30), "total_time_ms"),
        (None, update("B", 30, PerMove(15_000)), "total_time_ms"),
        (None, update("A", None, PerMove(10_000)), "clock"),
        (None, update("B", 0, Fischer(3_000)), "total_time_ms"),
        (None, update("B", 30, Hourglass()), "clock"),
    ],
)
def test_a_clock_without_a_known_or_possible_main_time_is_refused(
    before: ClockSystem | None, command: UpdateParticipant, path: str
) -> None:
    session = played("per_participant", "0 start", 10, command, clock=before)
    assert isinstance(session.decision.refusal, ValidationFailed)
    assert [each["path"] for each in session.decision.refusal.details] == [path]
    assert not session.decision.own


def test_an_hourglass_takes_new_budgets_only_before_the_start() -> None:
    session = played("per_participant", "", 1, update("A", 30), clock=Hourglass())
    assert session.face == "pending A 30 B 60"
    session.do(T0 + 1_000, update("A", None, Fischer(1)))
    assert session.lines[-1] == f"1 {INVALID}"
    session = played("per_participant", "0 start", 1, update("B", 30), clock=Hourglass())
    assert session.lines[-1] == f"1 {REFUSED}"


def test_a_budget_of_zero_is_possible_in_overtime_before_the_turn() -> None:
    session = played("per_participant", "0 start", 10, update("B", 0), on_timeout="overtime")
    assert session.face == "running *A 50 B 0"
    assert played("per_participant", "0 start", 70, update("A", 70), on_timeout="overtime").lines[-1] == f"70 {INVALID}"
    session = played("per_participant", "0 start", 70, update("A", 100), on_timeout="overtime")
    assert session.face == "running *A 30 B 60"
    session.do(T0 + 100_000, UpdateParticipant("B", display_name="b"))
    assert session.lines[-2:] == ["100 overtime_started A", "100 participant_updated B"]


def test_a_free_first_turn_uses_nothing_of_the_new_budget() -> None:
    session = played("per_participant", "0 start", 10, update("A", 5), free_first_turn_ms=20_000)
    assert session.face == "running *A 5 B 60"
    session.do(T0 + 11_000, update("B", 7))
    assert session.face == "running *A 5 B 7"


def test_warnings_below_a_lowered_budget_come_and_those_below_a_raised_budget_come_again() -> None:
    session = played("per_participant", "0 start", 10, update("A", 20), warnings_ms=(15_000, 5_000))
    assert session.lines[1:] == ["10 participant_updated A", "10 time_warning A"]
    session.do(T0 + 12_000, update("A", 40))
    session.do(T0 + 26_000, UpdateParticipant("B", display_name="b"))
    assert session.lines[3:] == ["12 participant_updated A", "25 time_warning A", "26 participant_updated B"]


def test_the_new_deadline_counts_and_the_event_has_the_charge() -> None:
    session = played("per_participant", "0 start", 10, update("A", 30))
    event = session.transitions[-1].event
    assert (event.type, event.used_ms, event.remaining_ms) == (EventType.PARTICIPANT_UPDATED, 10_000, 20_000)
    assert [(each.participant_id, each.ended_at_ms - each.began_at_ms) for each in event.charges or ()] == [
        ("A", 10_000)
    ]
    session.do(T0 + 30_000, update("B", 5))
    assert session.lines[-2:] == ["30 expired A", f"30 {REFUSED}"]


def test_lag_account_is_that_of_a_creation_with_the_new_budget() -> None:
    session = played("per_participant", "0 start", 10, update("B", 200, Fischer(2_000)), lag_compensation=True)
    assert session.state.participants[1].lag == open_lag_account(Fischer(2_000), 200_000)
    assert session.state.participants[0].lag == open_lag_account(session.state.rules.clock, 60_000)


def test_no_undo_crosses_a_change_of_a_budget_but_one_crosses_a_change_of_a_name() -> None:
    blocked = played("per_participant", "0 start; 10 switch", 12, update("B", 30))
    blocked.do(T0 + 13_000, script_command("undo"))
    assert blocked.lines[-1] == "13 !CANNOT_UNDO"
    named = played("per_participant", "0 start; 10 switch", 12, UpdateParticipant("A", display_name="Ä"))
    named.do(T0 + 13_000, script_command("undo"))
    assert (named.lines[-1], named.state.participants[0].display_name) == ("13 turn_undone A", "Ä")


def test_a_name_changes_in_any_status_and_charges_nothing() -> None:
    for script in ("", "0 start", "0 start; 1 pause", "0 start; 1 complete", "0 cancel"):
        session = played("per_participant", script, 10, UpdateParticipant("A", display_name="Ä"))
        assert session.lines[-1] == "10 participant_updated A"
        assert session.decision.own[0].event.charges == ()
        assert session.decision.own[0].state.participants[0].display_name == "Ä"
        session.do(T0 + 11_000, UpdateParticipant("A", display_name="Ä"))
        assert session.decision.all_transitions == ()
        session.do(T0 + 12_000, UpdateParticipant("A", removes_display_name=True))
        assert session.state.participants[0].display_name is None


def test_a_change_to_the_same_values_is_no_version() -> None:
    session = played("per_participant", "0 start", 10, update("A", 60))
    assert (session.decision.refusal, session.decision.all_transitions) == (None, ())
    session.do(T0 + 10_000, update("B", 60))
    assert session.decision.all_transitions == ()


def test_conditions_are_checked_first_and_the_first_edition_has_no_such_command() -> None:
    session = play(spec("per_participant", "A B"), "0 start")
    for precondition in (VersionPrecondition(version=1), VersionPrecondition(turn=2)):
        assert not session.do(T0 + 1_000, update("A", 30), precondition).own
    assert session.lines[1:] == ["1 !CONFLICT", "1 !TURN_OVER"]
    first = as_first_edition(open_session(spec("per_participant", "A B")))
    assert isinstance(engine.apply(first, update("A", 30), T0).refusal, ValidationFailed)


@pytest.mark.parametrize(
    ("script", "command", "line", "face"),
    [
        ("", update("A", 30), UPDATED, "pending, A waiting 45, B waiting 60"),
        ("0 start [B]", update("A", 30), UPDATED, "running, A waiting 45, B running 60"),
        ("0 start [B]", update("B", 30), REFUSED, None),
        ("0 start; 1 pause [A]", update("A", 30), REFUSED, None),
        ("0 start; 1 finish [A]", update("A", 30), REFUSED, None),
        ("0 cancel", update("A", 30), REFUSED, None),
        ("0 start [B]", update("A", 0), INVALID, None),
        ("0 start [B]", update("A", 30, Fischer(1)), INVALID, None),
    ],
)
def test_budget_of_an_individual_clock_changes_while_it_waits_and_is_scaled(
    script: str, command: UpdateParticipant, line: str, face: str | None
) -> None:
    session = played("individual", script, 5, command, people="A*1.5 B")
    name = f" {command.participant_id}" if line == UPDATED else ""
    assert session.lines[-1] == f"5 {line}{name}"
    assert face in (None, session.face)


def test_names_of_individual_sessions_change_after_the_end_and_leave_the_status() -> None:
    for script, status in (("0 cancel", "cancelled"), ("0 start; 1 complete", "completed"), ("0 start", "running")):
        session = played("individual", script, 5, UpdateParticipant("A", display_name="Ä"))
        assert (session.state.status, session.state.participants[0].display_name) == (status, "Ä")


def test_an_individual_session_with_an_end_has_no_budgets_to_change() -> None:
    session = played("individual", "", 1, update("A", 30), ends_at_ms=T0 + 60_000)
    assert session.lines[-1] == f"1 {INVALID}"


def test_new_clock_of_a_participant_without_main_time_begins_with_its_first_period() -> None:
    session = played(
        "per_participant", "0 start", 1, update("B", clock=Byoyomi(2, 5_000)), people="A B=0", clock=Byoyomi(3, 10_000)
    )
    assert session.face == "running *A 59 B 5"
    reading = session.state.participants[1].reading
    assert reading is not None
    assert (reading.phase, reading.periods_left) == ("overtime", 2)


def test_new_time_ends_the_expiry_of_a_participant_that_is_paused_at_zero() -> None:
    session = played("per_participant", "0 start; 60 time", 61, update("A", 90), on_timeout="pause")
    assert (session.lines[-1], session.face) == ("61 participant_updated A", "paused *A 30 B 60")


def test_warnings_in_overtime_count_the_free_time_of_the_participants_own_clock() -> None:
    session = played(
        "per_participant", "", 0, update("B", clock=Delay(10_000)), on_timeout="overtime", warnings_ms=(-5_000,)
    )
    for line in ("0 start", "0 switch", "73 switch", "74 switch", "99 time"):
        at, _, text = line.partition(" ")
        session.do(T0 + int(at) * 1_000, script_command(text))
    assert session.lines[-2:] == ["74 cycle_switched A", "86 time_warning B"]
