"""The command `reopen`: an ended session continues in the turn in which it ended."""

import pytest

from synckairos.clock import engine
from synckairos.clock.active_pause import ActivePause
from synckairos.clock.clock_systems import Delay
from synckairos.clock.commands import NewParticipant, Reopen
from synckairos.clock.earlier_turns import EndedTurn
from synckairos.clock.model import CurrentTurn, Status
from synckairos.clock.overtime_period_systems import Byoyomi
from synckairos.clock.reopen import find_ended_turn
from synckairos.clock.simulation import TimedCommand, simulate
from synckairos.errors import InvalidTransition, ValidationFailed
from synckairos.frozen_replace import replace
from tests.unit.clock.script import T0, command, play, spec


@pytest.mark.parametrize(
    ("mode", "on_timeout", "script", "face"),
    [
        ("per_participant", None, "60 time; 90 reopen+30", "paused *A 30 B 60"),
        ("per_participant", None, "60 time; 90 reopen+30:B,A", "paused *A 30 B 90"),
        ("per_participant", None, "10 switch; 70 time; 90 reopen+5", "paused A 50 *B 5"),
        ("per_participant", None, "10 complete; 90 reopen", "paused *A 50 B 60"),
        ("per_participant", None, "10 complete; 90 reopen+5", "paused *A 55 B 60"),
        ("per_participant", None, "10 complete; 90 reopen-5:B", "paused *A 50 B 55"),
        ("per_participant", None, "5 pause; 10 complete; 90 reopen", "paused *A 55 B 60"),
        ("per_participant", "advance", "60 time; 120 time; 130 reopen+5", "paused A 0x *B 5"),
        ("per_participant", "overtime", "70 complete; 90 reopen", "paused *A -10 B 60"),
        ("per_group", None, "60 time; 90 reopen+30", "paused *x 30 y 60"),
        ("per_group", None, "5 switch; 10 complete; 90 reopen+3", "paused x 55 *y 58"),
        ("per_cycle", "expire", "60 time; 90 reopen+30", "paused *A 30"),
        ("global", None, "20 switch; 60 time; 90 reopen+30", "paused *B 30"),
        ("count_up", None, "20 switch; 60 time; 90 reopen+30", "paused *B 30"),
    ],
)
def test_session_continues_paused_in_the_turn_in_which_it_ended(
    mode: str, on_timeout: str | None, script: str, face: str
) -> None:
    session = play(spec(mode, "A/x B/y", on_timeout), f"0 start; {script}")
    assert session.face == face
    last = session.state
    assert (last.status, last.completed_at_ms) == (Status.PAUSED, None)
    assert last.pauses == (ActivePause("reopened", last.updated_at_ms),)
    assert session.lines[-1].split()[1] == "reopened"
    assert last.turn_number == session.transitions[-2].state.turn_number


@pytest.mark.parametrize("end", ["30 time", "30 switch"])
def test_last_cycle_goes_on_and_its_turn_counts_again_only_at_its_end(end: str) -> None:
    creation = spec("per_cycle", "A B", "advance", time_per_cycle_ms=20_000, max_cycles=2)
    at = "40 time" if end == "30 time" else end
    session = play(creation, f"0 start; 20 time; {at}; 50 reopen+7; 60 resume; 62 switch")
    reopened = session.transitions[-3].state
    assert reopened.turn.cycles == 1
    assert [p.cycle_count for p in reopened.participants] == [1, 0]
    assert session.state.status is Status.COMPLETED
    assert [p.cycle_count for p in session.state.participants] == [1, 1]
    assert session.state.turn_number == 2


def test_gap_is_charged_to_nobody_and_the_turn_keeps_its_time() -> None:
    creation = spec("per_participant", "A B", clock=Delay(5_000))
    session = play(creation, "0 start; 65 time; 500 reopen+10; 510 resume; 513 switch")
    assert session.used == "A 68 B 0"
    # The free time of the turn is used up, so the 3 seconds after the resume are charged.
    assert session.remaining("A") == 7
    assert session.state.used_ms == 68_000


def test_reopened_turn_of_byoyomi_has_one_last_period() -> None:
    session = play(
        spec("per_participant", "A=10 B", clock=Byoyomi(1, 10_000)), "0 start; 20 time; 30 reopen+4; 31 resume"
    )
    reading = session.state.participants[0].reading
    assert reading is not None
    assert (reading.phase, reading.periods_left) == ("overtime", 1)
    assert session.do(T0 + 35_000, command("time")).overdue[0].event.at_ms == T0 + 35_000


def test_warnings_below_the_new_time_are_armed_again() -> None:
    creation = spec("per_participant", "A B", warnings_ms=(50_000, 30_000, 10_000))
    session = play(creation, "0 start; 60 time; 90 reopen+30; 100 resume; 130 time")
    assert session.transitions[-4].state.turn == CurrentTurn(60_000, 0, (50_000, 30_000))
    assert session.lines[-3:] == ["100 resumed A", "120 time_warning A", "130 expired A"]


def test_overtime_goes_on_without_a_second_event() -> None:
    creation = spec("global", "A", "overtime", warnings_ms=(0, -20_000))
    session = play(creation, "0 start; 70 complete; 90 reopen; 100 resume; 120 time")
    assert session.state.turn.is_in_overtime
    assert session.lines[1:3] == ["60 time_warning A", "60 overtime_started A"]
    assert session.lines[-2:] == ["100 resumed A", "110 time_warning A"]
    back = play(creation, "0 start; 70 complete; 90 reopen+30; 100 resume; 121 time")
    assert back.lines[-2:] == ["120 time_warning A", "120 overtime_started A"]


def test_hold_in_which_the_session_ended_goes_on() -> None:
    creation = spec("per_cycle", "A B C", holds_between_turns=True)
    session = play(creation, "0 start; 10 switch; 15 complete; 30 reopen; 40 switch>C; 50 resume")
    assert [each.reason for each in session.transitions[-3].state.pauses] == ["hold", "reopened"]
    assert session.lines[-3:] == ["30 reopened B", "40 cycle_switched C", "50 resumed C"]
    assert session.state.turn_number == 2
    assert session.face == "running *C 60"


def test_resume_and_switch_treat_the_pause_like_another_pause() -> None:
    session = play(spec("global", "A B"), "0 start; 10 complete; 20 reopen; 30 switch; 40 resume:reopened; 50 switch")
    assert session.lines[2:] == ["20 reopened A", "30 !INVALID_STATE_TRANSITION", "40 resumed A", "50 cycle_switched A"]
    assert session.used == "A 20 B 0"


@pytest.mark.parametrize("end", ["60 time", "30 complete"])
def test_new_end_is_the_given_time_from_now(end: str) -> None:
    creation = replace(spec("global", "A"), total_time_ms=None, ends_at_ms=T0 + 60_000, warnings_ms=(10_000,))
    session = play(creation, f"0 start; {end}; 90 reopen+30; 95 resume; 999 time")
    reopened = session.transitions[-4].state
    assert (reopened.ends_at_ms, reopened.turn.warned_ms) == (T0 + 120_000, ())
    assert session.lines[-4:] == ["90 reopened A", "95 resumed A", "110 time_warning A", "120 expired A"]


@pytest.mark.parametrize(
    ("mode", "script", "refused"),
    [
        ("per_participant", "0 start; 10 reopen", "INVALID_STATE_TRANSITION"),
        ("per_participant", "0 start; 10 pause; 10 reopen", "INVALID_STATE_TRANSITION"),
        ("per_participant", "10 reopen", "INVALID_STATE_TRANSITION"),
        ("per_participant", "0 start; 5 cancel; 10 reopen", "INVALID_STATE_TRANSITION"),
        ("per_participant", "5 complete; 10 reopen", "INVALID_STATE_TRANSITION"),
        ("per_participant", "0 start; 60 time; 70 reopen", "VALIDATION_ERROR"),
        ("per_participant", "0 start; 60 time; 70 reopen-1", "VALIDATION_ERROR"),
        ("per_participant", "0 start; 60 time; 70 reopen+1:B", "VALIDATION_ERROR"),
        ("per_participant", "0 start; 60 time; 70 reopen+1:Z", "PARTICIPANT_NOT_FOUND"),
        ("per_group", "0 start; 60 time; 70 reopen+1:A", "VALIDATION_ERROR"),
        ("global", "0 start; 60 time; 70 reopen+1:A", "VALIDATION_ERROR"),
        ("count_up", "0 start; 10 complete; 70 reopen+1:A", "VALIDATION_ERROR"),
        ("global", "0 start; 60 delete; 70 reopen+1", "SESSION_NOT_FOUND"),
    ],
)
def test_reopening_that_is_not_possible_is_refused_and_changes_nothing(mode: str, script: str, refused: str) -> None:
    session = play(spec(mode, "A/x B/y"), script)
    before = len(session.transitions)
    assert session.lines[-1].split()[1] == f"!{refused}"
    assert len(session.lines) == before + 1


@pytest.mark.parametrize("delta", ["", "-5"])
def test_session_with_an_end_needs_a_positive_time(delta: str) -> None:
    creation = replace(spec("global", "A"), total_time_ms=None, ends_at_ms=T0 + 60_000)
    for script in (f"0 start; 5 complete; 9 reopen{delta}", f"0 start; 60 time; 70 reopen{delta}"):
        assert play(creation, script).lines[-1].endswith("!VALIDATION_ERROR")
    assert play(creation, "0 start; 5 complete; 9 reopen+5:A").lines[-1].endswith("!VALIDATION_ERROR")
    assert play(creation, "0 start; 5 complete; 9 reopen+34560001").lines[-1].endswith("!VALIDATION_ERROR")


def test_count_up_without_a_maximum_continues_without_added_time() -> None:
    creation = replace(spec("count_up", "A B"), max_time_ms=None)
    session = play(creation, "0 start; 10 switch; 20 complete; 90 reopen; 100 resume; 130 complete")
    assert session.used == "A 10 B 40"
    assert play(creation, "0 start; 20 complete; 90 reopen+5").lines[-1].endswith("!VALIDATION_ERROR")


def test_session_of_the_first_edition_is_not_reopened() -> None:
    ended = play(spec("global", "A", edition=1), "0 start; 60 time").state
    refusal = engine.apply(ended, Reopen(5_000, turn=EndedTurn("A", 60_000, 0)), T0 + 70_000).refusal
    assert isinstance(refusal, ValidationFailed)


def test_unknown_turn_is_refused() -> None:
    ended = play(spec("global", "A"), "0 start; 60 time").state
    assert isinstance(engine.apply(ended, Reopen(5_000), T0 + 70_000).refusal, InvalidTransition)


def test_overdue_end_is_committed_before_the_reopening() -> None:
    running = play(spec("global", "A B"), "0 start").state
    decision = engine.apply(running, Reopen(5_000), T0 + 70_000)
    assert decision.has_more_overdue
    assert [each.event.type for each in decision.all_transitions] == ["session_expired"]
    ended = decision.overdue[-1].state
    turn = find_ended_turn(running, ended)
    assert turn == EndedTurn("A", 60_000, 0, began_version=2)
    again = engine.apply(ended, Reopen(5_000, turn=turn), T0 + 70_000)
    assert [each.event.type for each in again.own] == ["session_reopened"]


def test_reopened_session_can_end_and_be_reopened_again() -> None:
    session = play(
        spec("global", "A"), "0 start; 60 time; 70 reopen+10; 80 resume; 95 reopen+5; 100 resume; 101 complete"
    )
    assert [line.split()[1] for line in session.lines] == [
        *("started", "expired", "reopened", "resumed", "expired", "reopened", "resumed", "completed")
    ]
    assert session.state.used_ms == 71_000


def test_simulation_finds_the_turn_itself() -> None:
    creation = replace(spec("global", ""), participants=(NewParticipant("A"),))
    timed = [TimedCommand(at, command(text)) for at, text in ((0, "start"), (60_000, "reopen+5"), (61_000, "resume"))]
    rows = simulate(creation, timed, 99_000, "s").rows
    assert [(row.at_ms, row.event_type or row.refusal_code) for row in rows[1:]] == [
        (0, "session_started"),
        (60_000, "session_expired"),
        (60_000, "session_reopened"),
        (61_000, "session_resumed"),
        (66_000, "session_expired"),
    ]


def test_clock_of_the_turn_that_still_has_no_time_is_named() -> None:
    session = play(spec("per_participant", "A B"), "0 start; 60 time; 70 reopen+5:B")
    refusal = session.decision.refusal
    assert refusal is not None
    assert [each["path"] for each in refusal.details or ()] == ["participant_ids"]
    assert play(spec("per_participant", "A B"), "0 start; 60 time; 70 reopen+5:A,B").lines[-1] == "70 reopened A"
