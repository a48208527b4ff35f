"""Values exactly at a limit, just beside it, and settings that a change must keep."""

import random
from functools import partial

import pytest

from synckairos.clock.charges import charges_between
from synckairos.clock.clock_systems import ClockSystem, Delay, Fischer, PerMove, SuddenDeath
from synckairos.clock.commands import (
    AddParticipant,
    Adjust,
    Create,
    Finish,
    NewParticipant,
    Pause,
    Reopen,
    Resume,
    Start,
    Switch,
    UpdateSession,
)
from synckairos.clock.first_edition_compatibility import as_first_edition, check_first_edition
from synckairos.clock.individual.all_clocks import clocks_charged_until
from synckairos.clock.individual.clock_rows import SCAN_SHARE, ClockIndex, clock_index
from synckairos.clock.individual.row_clock import individual_clock, row_deadline_at_ms
from synckairos.clock.model import ExtendBy, OnTimeout, SyncMode
from synckairos.clock.overtime_period_systems import Byoyomi
from synckairos.clock.simulation import MAX_ROWS, Simulation, TimedCommand, TimelineRow
from synckairos.clock.timing import deadline_at_ms, session_remaining_ms
from synckairos.clock.transition import Charge, EventType
from synckairos.clock.turns import comes_too_late
from synckairos.errors import ValidationFailed
from synckairos.frozen_replace import replace
from tests.unit.clock.script import MINUTE, T0, Played, command, open_session, play, spec


def refused_path(session_spec: Create, script: str) -> tuple[str, str]:
    """Play a script whose last command is refused as invalid. Return the path and the message of the refusal."""
    refusal = play(session_spec, script).decision.refusal
    assert isinstance(refusal, ValidationFailed)
    assert isinstance(refusal.details, list)
    (found,) = refusal.details
    return found["path"], found["message"]


# -- budgets ----------------------------------------------------------------------------------------------------------


def test_one_ms_brings_an_expired_participant_back() -> None:
    played = play(spec("per_participant", "A B", "advance"), "0 start; 60 time; 61 adjust0.001:A")
    assert (played.remaining("A"), played.state.participants[0].has_expired) == (0.001, False)


def test_last_period_with_one_ms_left_is_still_a_period() -> None:
    clock = Byoyomi(1, 5_000)
    played = play(spec("per_participant", "A B", "overtime", clock=clock), "0 start; 60 pause; 60 adjust-4.999:A")
    (a, _) = played.state.participants
    assert a.reading is not None
    assert (a.remaining_ms, a.reading.periods_left) == (1, 1)
    played.do(T0 + 61_000, command("adjust-0.001:A"))
    (a, _) = played.state.participants
    assert a.reading is not None
    assert (a.remaining_ms, a.reading.periods_left) == (0, 0)


@pytest.mark.parametrize("delay_ms", [0, 1])
def test_budget_of_0_joins_only_if_time_follows_it(delay_ms: int) -> None:
    own = Delay(delay_ms) if delay_ms else None
    played = play(spec("per_participant"), "0 start")
    refusal = played.do(T0, AddParticipant(NewParticipant("D", total_time_ms=0, clock=own))).refusal
    assert (refusal is None) == bool(delay_ms)


def test_only_individual_has_time_factors() -> None:
    joins = AddParticipant(NewParticipant("D", total_time_ms=1_000, time_factor=125))
    refusal = play(spec("per_participant"), "0 start").do(T0, joins).refusal
    assert isinstance(refusal, ValidationFailed)
    played = play(spec("individual"), "0 start")
    assert played.do(T0, joins).refusal is None
    assert individual_clock(played.state.participants[-1]).time_factor == 125


def test_amended_share_is_what_the_longer_time_leaves() -> None:
    played = play(spec("count_up", "A=50"), "0 start; 10 complete")
    assert played.remaining("A") == 40
    played.do(T0 + 70_000, command("amend:0-30"))
    assert (played.remaining("A"), played.used) == (20, "A 30")
    played.do(T0 + 80_000, command("amend:0-55"))
    assert (played.remaining("A"), played.state.remaining_ms) == (0, 5_000)


# -- turns and pauses -------------------------------------------------------------------------------------------------


def test_reopening_keeps_the_counts_of_a_turn_that_time_ended() -> None:
    played = play(spec("per_participant", "A B"), "0 start; 5 switch; 10 switch; 80 time; 90 reopen5")
    assert [each.cycle_count for each in played.state.participants] == [1, 1]
    assert (played.state.status, played.state.turn.cycles) == ("paused", 2)


def test_hold_after_a_zero_keeps_other_pauses_and_ends_the_pause_at_zero() -> None:
    creation_ = spec("per_participant", "A B", "pause", switch_while_paused=True)
    played = play(creation_, "0 start; 60 time; 61 pause:tea")
    assert [each.reason for each in played.state.pauses] == ["timeout", "tea"]
    played = play(creation_, "0 start; 5 pause:tea; 6 switch!")
    assert [each.reason for each in played.state.pauses] == ["tea", "hold"]


@pytest.mark.parametrize("mode", ["per_participant", "individual"])
def test_warning_at_zero_comes_before_overtime(mode: str) -> None:
    played = play(spec(mode, "A", "overtime", warnings_ms=(0,)), "0 start; 60 time")
    assert [line.split()[1] for line in played.lines[-2:]] == ["time_warning", "overtime_started"]


# -- the end of individual clocks -------------------------------------------------------------------------------------


def exam(starts_at_ms: int | None = None) -> Create:
    return spec("individual", "A B", ends_at_ms=T0 + MINUTE, starts_at_ms=starts_at_ms)


def test_end_before_the_start_moves_both_ways_but_not_to_the_start() -> None:
    late = exam(starts_at_ms=T0 + 30_000)
    assert play(late, "1 adjust-20").state.ends_at_ms == T0 + 40_000
    assert play(late, "1 adjust40").state.ends_at_ms == T0 + 100_000
    assert refused_path(late, "1 adjust-30") == ("delta_ms", "the end would not be after the start")
    assert refused_path(exam(), "1 adjust-59") == ("delta_ms", "the end would not be after the start")
    assert play(exam(), "1 adjust-58.999").state.ends_at_ms == T0 + 1_001


def test_end_after_the_start_moves_at_most_to_the_present() -> None:
    played = play(exam(), "0 start; 10 adjust-70")
    assert played.lines[-1] == "10 expired A,B"
    assert played.state.ends_at_ms == T0 + 10_000


def test_moved_end_leaves_a_clock_with_an_earlier_end_at_the_present() -> None:
    played = play(exam(), "0 start; 10 adjust-40 [A]")
    played.do(T0 + 15_000, UpdateSession(ends_at_ms=T0 + 45_000))
    a, b = played.state.participants
    assert (a.remaining_ms, row_deadline_at_ms(played.state, a)) == (0, T0 + 15_000)
    assert (b.remaining_ms, row_deadline_at_ms(played.state, b)) == (30_000, T0 + 45_000)


@pytest.mark.parametrize("delta", ["0", "-1"])
def test_time_to_reopen_a_clock_is_positive(delta: str) -> None:
    path, message = refused_path(exam(), f"0 start; 10 finish [A]; 20 reopen{delta}:A")
    assert path == "delta_ms"
    assert message.startswith("should be positive")


@pytest.mark.parametrize(("on_timeout", "left"), [("expire", 0), ("overtime", -10)])
def test_readings_of_individual_clocks_stop_at_zero_without_overtime(on_timeout: str, left: int) -> None:
    played = play(spec("individual", "A B=90", on_timeout), "0 start")
    shown = clocks_charged_until(played.state, T0 + 70_000).participants
    assert [each.remaining_ms / 1_000 for each in shown] == [left, 20]
    shown = clocks_charged_until(played.state, T0 - 5_000).participants
    assert [each.remaining_ms / 1_000 for each in shown] == [60, 90]


@pytest.mark.parametrize("on_timeout", ["expire", "overtime"])
def test_index_of_many_clocks_follows_changes_of_few(on_timeout: str) -> None:
    pick = random.Random(f"index {on_timeout}")
    names = [f"{at:02}" for at in range(2 * SCAN_SHARE)]
    people = tuple(NewParticipant(name, total_time_ms=pick.randrange(5_000, 60_000)) for name in names)
    asked = Create(SyncMode.INDIVIDUAL, people, on_timeout=OnTimeout(on_timeout), warnings_ms=(8_000, 3_000))
    played, now_ms = Played(open_session(asked)), T0
    verbs = (Start, Start, Pause, Resume, Finish, partial(Adjust, 2_000), partial(Adjust, -2_000), partial(Reopen, 900))
    seen = set()
    for _ in range(600):
        clock_index(played.state)  # builds the index, which the change then carries on
        decision = played.do(now_ms, pick.choice(verbs)(participant_ids=(pick.choice(names),)))
        now_ms += pick.choice((0, 1, 50, 400))
        seen |= {transition.event.type for transition in decision.all_transitions}
        carried, scanned = clock_index(played.state), ClockIndex(played.state)
        for name in ("due", "deadlines", "counts", "remaining_ms"):
            assert getattr(carried, name) == getattr(scanned, name), name
        if played.state.status.is_final:
            break
    assert {EventType.PARTICIPANT_FINISHED, EventType.PARTICIPANT_RESUMED, EventType.TIME_ADJUSTED} <= seen


@pytest.mark.parametrize(
    ("starts_at_ms", "script", "left_ms"),
    [(None, "", None), (T0 + 10_000, "", 100_000), (None, "10 start", 100_000), (T0 + 10_000, "10 time", 100_000)],
    ids=["pending", "pending with a start", "started", "started by time"],
)
def test_remaining_time_of_individual_clocks_with_an_end_is_unknown_only_before_a_known_start(
    starts_at_ms: int | None, script: str, left_ms: int | None
) -> None:
    played = play(spec("individual", "A B", starts_at_ms=starts_at_ms, ends_at_ms=T0 + 60_000), script)
    assert session_remaining_ms(played.state) == left_ms


def test_a_charge_of_a_clock_that_stood_still_before_unknown_versions_ends_at_the_event() -> None:
    before = play(spec("individual", "A B"), "0 start; 5 pause [A]").state
    played = play(spec("individual", "A B"), "0 start; 5 pause [A]; 10 resume [A]; 15 pause [A]")
    last = played.transitions[-1]
    assert charges_between(before, last.event, last.state) == (Charge("A", T0 + 10_000, T0 + 15_000),)


# -- one millisecond --------------------------------------------------------------------------------------------------


def test_a_clock_that_was_finished_with_one_millisecond_left_is_reopened_without_more_time() -> None:
    played = play(spec("individual", "A B=90"), "0 start; 59.999 finish [A]; 61 reopen:A")
    assert played.face == "running, A paused 0.001, B running 90"


def test_a_pause_at_zero_ends_if_one_millisecond_was_added() -> None:
    played = play(spec("per_participant", "A B", "pause"), "0 start; 61 adjust+0.001:A; 62 resume")
    assert played.face == "running *A 0.001 B 60"


def test_a_first_edition_clock_at_exactly_zero_has_no_deadline_in_overtime() -> None:
    played = play(spec("per_participant", "A B", "overtime", edition=1), "0 start; 9 adjust-51:A")
    assert (played.face, deadline_at_ms(played.state)) == ("running *A 0 B 60", None)


def test_a_press_of_a_participant_without_a_lag_account_comes_too_late_despite_an_earlier_receipt() -> None:
    creation = spec("per_participant", "A B", lag_compensation=True)
    played = play(creation, "0 start")
    played.do(T0 + 5_000, Switch(lag_ms=100, measured_lag_ms=100))
    played.do(T0 + 9_000, Switch())
    assert played.state.lag_receipt is not None
    first, second = played.state.participants
    without = replace(played.state, participants=(replace(first, lag=None), second))
    assert comes_too_late(without, Switch(), T0 + 9_000 + first.remaining_ms)
    assert not comes_too_late(without, Switch(), T0 + 8_999 + first.remaining_ms)


# -- editions and simulations -----------------------------------------------------------------------------------------


def test_first_edition_has_no_settings_of_the_second() -> None:
    auction = spec("global", "A", extend_by=ExtendBy.ADD, extend_on_switch_ms=1_000, extend_window_ms=2_000)
    rules = as_first_edition(open_session(auction)).rules
    assert (rules.extend_by, rules.extend_window_ms, rules.extend_on_switch_ms) == (None, None, 1_000)


@pytest.mark.parametrize(("warning_ms", "is_allowed"), [(1, True), (0, False), (-1, False)])
def test_first_edition_has_only_warnings_before_zero(warning_ms: int, is_allowed: bool) -> None:
    asked = spec("global", "A", "overtime", warnings_ms=(warning_ms,))
    if is_allowed:
        check_first_edition(asked)
        return
    with pytest.raises(ValidationFailed):
        check_first_edition(asked)


def test_timeline_of_a_simulation_has_at_most_the_maximum_of_rows() -> None:
    simulation = Simulation()
    simulation.rows.extend(TimelineRow(0) for _ in range(MAX_ROWS - 3))
    session_spec = Create(SyncMode.GLOBAL, (NewParticipant("A"),), total_time_ms=MINUTE)
    for _ in simulation.run_stepwise(session_spec, [], 0, "s"):
        pass
    assert len(simulation.rows) == MAX_ROWS - 2
    with pytest.raises(ValidationFailed):
        for _ in simulation.run_stepwise(session_spec, [TimedCommand(0, Start()), TimedCommand(1, Adjust(1))], 1, "s"):
            pass
    assert len(simulation.rows) == MAX_ROWS


def test_turn_that_begins_a_millisecond_before_zero_is_not_in_overtime_yet() -> None:
    creation, script = spec("per_participant", "A B=1", "overtime"), "0 start; 10 switch; 10.999 switch; 12 switch"
    assert not play(creation, script).state.turn.is_in_overtime
    assert play(creation, f"{script}; 12.001 time").lines[-1] == "12.001 overtime_started B"


@pytest.mark.parametrize(("paused_s", "deadline_s"), [(59.999, 70.001), (60, None)])
def test_turn_in_overtime_has_no_deadline(paused_s: float, deadline_s: float | None) -> None:
    session = play(spec("per_participant", "A B", "overtime"), f"0 start; {paused_s} pause; 70 resume")
    deadline_ms = deadline_at_ms(session.state)
    assert deadline_ms == (None if deadline_s is None else T0 + round(deadline_s * 1_000))


@pytest.mark.parametrize(
    ("system", "is_accepted"),
    [(None, True), (PerMove(1), True), (Byoyomi(1, 1), True), (SuddenDeath(), False), (Fischer(5), False)],
    ids=["of the session", "per move", "byo-yomi", "sudden death", "fischer"],
)
def test_participant_joins_without_a_budget_if_its_clock_has_time(
    system: ClockSystem | None, is_accepted: bool
) -> None:
    session = play(spec("per_participant", "A B", clock=PerMove(1), total_time_ms=None), "")
    decision = session.do(T0, AddParticipant(NewParticipant("C", clock=system)))
    assert (decision.refusal is None) == is_accepted


def test_joining_clock_with_settings_of_the_second_edition_is_refused_in_the_first() -> None:
    for edition in (1, 2):
        session = play(spec("per_participant", "A B", edition=edition), "0 start")
        for system in (Byoyomi(2, 1_000, increment_ms=5), Byoyomi(2, 1_000), None):
            new = NewParticipant(f"p{system}", None, 60_000, clock=system)
            refusal = session.do(T0, AddParticipant(new)).refusal
            assert (refusal is not None) == (edition == 1 and system is not None and system.increment_ms is not None)


def test_share_of_a_group_stops_at_zero() -> None:
    groups = play(spec("global", "A/x=20 B/y"), "0 start; 20 pause; 30 resume; 40 pause").state.groups
    assert [(each.remaining_ms, each.used_ms) for each in groups] == [(0, 30_000), (60_000, 0)]


def test_index_of_clocks_is_built_again_after_a_change_of_an_instant() -> None:
    state = play(spec("individual", "A B", starts_at_ms=T0 + 10_000, ends_at_ms=T0 + 60_000), "").state
    index = ClockIndex(state)
    assert index.is_of(state)
    assert not index.is_of(replace(state, starts_at_ms=T0))
    assert not index.is_of(replace(state, started_at_ms=T0))
    assert not index.is_of(replace(state, ends_at_ms=T0 + 70_000))
