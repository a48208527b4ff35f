"""Times that a caller states: recorded sessions and the command `amend`."""

from typing import Any

import pytest

from synckairos.clock import engine
from synckairos.clock.charges import charges_between, charges_in_effect
from synckairos.clock.commands import Amend, Create, RecordedTimes, VersionPrecondition
from synckairos.clock.creation import create
from synckairos.clock.model import Break, Session, Status
from synckairos.clock.recorded_times import MAX_BREAKS, find_breaks, recorded_charges
from synckairos.clock.simulation import TimedCommand, simulate
from synckairos.clock.transition import Charge, EventType
from synckairos.errors import InvalidTransition, ParticipantNotFound, SyncKairosError, TurnOver, ValidationFailed
from synckairos.frozen_replace import replace
from synckairos.wire.session_json import render_session
from synckairos.wire.session_parser import parse_session
from tests.unit.clock.script import T0, Played, command, play, spec

HOUR = 3_600_000
NOW = T0 + 100 * HOUR


def entry(*hours: float, breaks: tuple[tuple[float, float], ...] = (), **fields: Any) -> Create:
    """Return a creation with recorded times: the hours of start and end after T0, and the hours of each break."""
    start, end = (round(T0 + each * HOUR) for each in hours)
    pauses = tuple(Break(round(T0 + begin * HOUR), round(T0 + until * HOUR)) for begin, until in breaks)
    return spec("count_up", "A", recorded=RecordedTimes(start, end, pauses), max_time_ms=None, **fields)


def record(*hours: float, breaks: tuple[tuple[float, float], ...] = (), **fields: Any) -> Played:
    transition = create(entry(*hours, breaks=breaks, **fields), "s", "e", NOW)
    return Played(transition.state, transitions=[transition])


def spans(charges: tuple[Charge, ...] | None) -> list[tuple[float, float]]:
    """Return charges in hours after T0."""
    return [((each.began_at_ms - T0) / HOUR, (each.ended_at_ms - T0) / HOUR) for each in charges or ()]


def faults(refusal: SyncKairosError | None) -> list[str]:
    assert isinstance(refusal, ValidationFailed)
    return [each["path"] for each in refusal.details]


def test_recorded_session_is_completed_and_charges_its_times_without_breaks() -> None:
    session = record(0, 8, breaks=((3, 4), (4, 4.5), (6, 7)), metadata={"project": "x"}, initial_ms=HOUR)
    state, event = session.state, session.transitions[0].event
    assert (state.version, state.status, state.turn_number) == (1, Status.COMPLETED, 1)
    assert (state.started_at_ms, state.completed_at_ms) == (T0, T0 + 8 * HOUR)
    assert (state.updated_at_ms, state.rules.created_at_ms, event.at_ms) == (NOW, NOW, NOW)
    assert (state.participants[0].used_ms, state.used_ms) == (round(5.5 * HOUR), round(6.5 * HOUR))
    assert (event.type, event.participant_id, event.used_ms) == (EventType.SESSION_RECORDED, "A", round(5.5 * HOUR))
    assert spans(event.charges) == [(0, 3), (4.5, 6), (7, 8)]
    assert charges_between(None, replace(event, charges=None), state) == event.charges
    assert (state.active_position, state.anchor_ms, state.metadata) == (None, None, {"project": "x"})
    assert parse_session(render_session(state)) == state


def test_breaks_can_touch_the_start_the_end_and_each_other() -> None:
    assert spans(record(0, 4, breaks=((0, 1), (1, 2), (3, 4))).transitions[0].event.charges) == [(2, 3)]
    whole = record(0, 1, breaks=((0, 1),))
    assert (whole.transitions[0].event.charges, whole.state.used_ms) == ((), 0)


@pytest.mark.parametrize(
    ("hours", "breaks", "paths"),
    [
        ((1, 1), (), ["completed_at"]),
        ((2, 1), (), ["completed_at"]),
        ((99, 101), (), ["completed_at"]),
        ((100 - 401 * 24, 100), (), ["completed_at"]),
        ((0, 8), ((2, 2),), ["breaks.0.to"]),
        ((0, 8), ((3, 2),), ["breaks.0.to"]),
        ((1, 8), ((0, 2),), ["breaks.0.from"]),
        ((0, 8), ((7, 9),), ["breaks.0.to"]),
        ((0, 8), ((1, 3), (2, 4)), ["breaks.1.from"]),
        ((0, 8), ((4, 5), (1, 2)), ["breaks.1.from"]),
        ((0, 8), ((4, 5), (6, 9), (3, 1)), ["breaks.1.to", "breaks.2.to"]),
        ((0, 101), ((4, 5), (6, 102)), ["completed_at", "breaks.1.to"]),
        ((0, 8), ((1, 2),) * (MAX_BREAKS + 1), ["breaks"]),
    ],
)
def test_impossible_times_are_refused_with_all_their_faults(
    hours: tuple[float, float], breaks: tuple[tuple[float, float], ...], paths: list[str]
) -> None:
    with pytest.raises(ValidationFailed) as refusal:
        record(*hours, breaks=breaks)
    assert faults(refusal.value) == [f"recorded.{each}" for each in paths]
    stated = entry(*hours, breaks=breaks).recorded
    assert stated is not None
    session = record(0, 1)
    decision = session.do(NOW, Amend(None, stated.started_at_ms, stated.completed_at_ms, stated.breaks))
    assert faults(decision.refusal) == paths
    assert session.state.version == 1


def test_times_until_now_and_of_400_days_are_accepted() -> None:
    assert record(100 - 400 * 24, 100).state.used_ms == 400 * 24 * HOUR
    assert record(99, 100).state.used_ms == HOUR


def amended(session: Played, **hours: Any) -> Session:
    """Amend a session and return its state. `started`, `completed` and `breaks` are in hours after T0."""

    def instant(name: str) -> int | None:
        return round(T0 + hours[name] * HOUR) if name in hours else None

    given = None
    if "breaks" in hours:
        given = tuple(Break(round(T0 + begin * HOUR), round(T0 + end * HOUR)) for begin, end in hours["breaks"])
    decision = session.do(NOW, Amend(None, instant("started"), instant("completed"), given))
    assert decision.refusal is None
    return session.state


def test_amendment_replaces_the_times_and_keeps_those_that_it_leaves_out() -> None:
    session = record(0, 8, breaks=((3, 4),))
    state = amended(session, completed=9)
    assert (state.version, state.status, state.used_ms) == (2, Status.COMPLETED, 8 * HOUR)
    assert (state.started_at_ms, state.completed_at_ms) == (T0, T0 + 9 * HOUR)
    assert (state.updated_at_ms, state.turn_number) == (NOW, 1)
    assert amended(session, started=2).used_ms == 6 * HOUR
    state = amended(session, breaks=((5, 6), (7, 7.5)))
    assert (state.used_ms, state.participants[0].used_ms) == (round(5.5 * HOUR),) * 2
    assert amended(session, breaks=()).breaks == ()
    events = [each.event for each in session.transitions]
    assert [each.type for each in events[1:]] == [EventType.SESSION_AMENDED] * 4
    assert [spans(each.charges) for each in events[1:4]] == [
        [(0, 3), (4, 9)],
        [(2, 3), (4, 9)],
        [(2, 5), (6, 7), (7.5, 9)],
    ]
    assert spans(tuple(charges_in_effect(events))) == [(2, 9)]
    assert parse_session(render_session(session.state)) == session.state


def test_amendment_without_a_change_makes_no_version() -> None:
    session = record(0, 8, breaks=((3, 4),))
    assert amended(session, started=0, completed=8, breaks=((3, 4),)).version == 1
    assert amended(session, breaks=((4, 5),)).version == 2, "the sum is the same, but the times are not"
    measured = play(spec("count_up", "A"), "0 start; 10 pause; 20 resume; 30 complete; 40 amend:0-30")
    assert measured.state.version == 5
    assert measured.lines[-1] == "30 completed A"


@pytest.mark.parametrize("end", ["30 complete", "30 cancel", "40 time"])
def test_measured_session_keeps_its_pauses_as_breaks(end: str) -> None:
    session = play(spec("count_up", "A", max_time_ms=30_000), f"0 start; 10 pause; 20 resume; {end}; 50 amend:5-")
    state, status = session.state, session.transitions[-2].state.status
    assert state.breaks == (Break(T0 + 10_000, T0 + 20_000),)
    assert state.status is status
    assert state.used_ms == session.transitions[-2].state.used_ms - 5_000
    assert session.lines[-1] == "50 amended A"


def test_amendment_can_be_longer_than_the_maximum_of_the_clock() -> None:
    session = play(spec("count_up", "A", max_time_ms=30_000), "0 start; 30 time; 50 amend:-45")
    assert (session.state.used_ms, session.state.remaining_ms) == (45_000, 0)
    assert session.state.status is Status.EXPIRED
    shorter = play(spec("count_up", "A", max_time_ms=30_000), "0 start; 30 time; 50 amend:-20")
    assert (shorter.state.used_ms, shorter.state.remaining_ms) == (20_000, 10_000)


def test_breaks_of_the_session_outside_of_its_new_times_are_one_fault() -> None:
    session = play(spec("count_up", "A"), "0 start; 10 pause; 20 resume; 25 pause; 28 resume; 30 complete")
    for text in ("amend:15-", "amend:-15", "amend:22-24"):
        assert faults(session.do(T0 + 50_000, command(text)).refusal) == ["breaks"]
    assert session.do(T0 + 50_000, command("amend:15-/16-17")).refusal is None
    assert session.state.used_ms == 14_000


@pytest.mark.parametrize(
    ("creation", "script", "error"),
    [
        (spec("global", "A"), "0 start; 9 complete", ValidationFailed),
        (spec("count_up", "A B"), "0 start; 9 complete", ValidationFailed),
        (spec("count_up", "A", edition=1), "0 start; 9 complete", ValidationFailed),
        (spec("count_up", "A B"), "0 start; 5 switch; 7 leave:A; 9 complete", ValidationFailed),
        (spec("count_up", "A"), "0 start; 5 join:B; 7 leave:A; 9 complete", ValidationFailed),
        (spec("count_up", "A"), "0 cancel", InvalidTransition),
        (spec("count_up", "A"), "0 start", InvalidTransition),
        (spec("count_up", "A"), "0 start; 5 pause", InvalidTransition),
        (spec("count_up", "A"), "", InvalidTransition),
    ],
)
def test_other_sessions_cannot_be_amended(creation: Create, script: str, error: type[SyncKairosError]) -> None:
    session = play(creation, script)
    before = session.state
    assert isinstance(session.do(T0 + 30_000, command("amend:0-5")).refusal, error)
    assert session.state is before


def test_participant_who_joined_and_left_without_a_turn_does_not_prevent_an_amendment() -> None:
    session = play(spec("count_up", "A", initial_ms=2_000), "0 start; 5 join:B; 7 leave:B; 9 complete; 20 amend:0-8")
    assert (session.state.used_ms, session.state.participants[0].used_ms) == (10_000, 8_000)


def test_participant_version_and_turn_are_checked() -> None:
    session = record(0, 8)
    times = Amend("B", completed_at_ms=T0 + HOUR)
    assert isinstance(session.do(NOW, times).refusal, ParticipantNotFound)
    late = session.do(NOW, replace(times, participant_id="A"), VersionPrecondition(turn=2))
    assert isinstance(late.refusal, TurnOver)
    assert session.do(NOW, replace(times, participant_id="A"), VersionPrecondition(version=1, turn=1)).own


def test_breaks_that_no_store_has_must_be_given() -> None:
    ended = play(spec("count_up", "A"), "0 start; 9 complete").state
    assert isinstance(engine.apply(ended, command("amend:1-"), T0 + 20_000).refusal, InvalidTransition)
    assert engine.apply(ended, command("amend:1-/"), T0 + 20_000).own


def test_recorded_session_cannot_be_reopened_and_an_amended_one_goes_on_with_its_new_times() -> None:
    assert isinstance(record(0, 8).do(NOW, command("reopen")).refusal, InvalidTransition)
    script = "0 start; 10 pause; 20 resume; 30 complete; 40 amend:5-; 50 reopen; 60 resume; 70 complete; 80 amend:6-"
    session = play(spec("count_up", "A"), script)
    assert session.state.breaks == (Break(T0 + 10_000, T0 + 20_000), Break(T0 + 30_000, T0 + 60_000))
    assert session.state.used_ms == 4_000 + 10_000 + 10_000


def test_simulation_amends_with_the_breaks_of_its_own_session() -> None:
    commands = [(0, "start"), (10, "pause"), (20, "resume"), (30, "complete"), (40, "amend:-35"), (41, "amend:5-")]
    timed = [TimedCommand(at * 1_000, command(text)) for at, text in commands]
    simulation = simulate(spec("count_up", "A"), timed, 50_000, "s", T0)
    assert simulation.state is not None
    assert simulation.state.breaks == (Break(T0 + 10_000, T0 + 20_000),)
    last = simulation.rows[-1]
    assert [(each.began_at_ms, each.ended_at_ms) for each in last.charges] == [(5_000, 10_000), (20_000, 35_000)]


def test_breaks_are_the_times_without_charges() -> None:
    charges = [Charge("A", 30, 50), Charge("A", 10, 20), Charge("A", 50, 60), Charge("A", 55, 58)]
    assert find_breaks(5, 70, charges) == (Break(5, 10), Break(20, 30), Break(60, 70))
    assert find_breaks(10, 60, charges[:3]) == (Break(20, 30),)
    assert find_breaks(5, 5, []) == ()


def test_only_stated_times_are_recorded_charges() -> None:
    measured = play(spec("count_up", "A", max_time_ms=None), "0 start; 10 complete")
    for state in [each.state for each in measured.transitions]:
        assert recorded_charges(state) == ()
    recorded = record(0, 1, active_participant_id="A").state
    assert recorded.active_position is None
    assert len(recorded_charges(recorded)) == 1
    assert recorded_charges(replace(recorded, completed_at_ms=None)) == ()
