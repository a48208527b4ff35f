"""Overdue transitions: each takes effect at its own instant, even if found late. Commands are decided after them."""

import pytest

from synckairos.clock import engine
from synckairos.clock.clock_systems import Fischer
from synckairos.clock.commands import Expire, Switch, VersionPrecondition
from synckairos.clock.overdue import MAX_OVERDUE
from synckairos.clock.simulation import TimedCommand, simulate
from synckairos.clock.timing import deadline_at_ms
from synckairos.clock.upcoming_event import next_upcoming_event
from synckairos.errors import InvalidTransition
from synckairos.frozen_replace import replace
from synckairos.wire.session_json import render_session
from tests.unit.clock.script import T0, command, play, spec

GROUPS = "A/x B/y C/x"


@pytest.mark.parametrize(
    ("mode", "on_timeout", "script", "lines", "face"),
    [
        ("per_participant", None, "60 time", ["60 expired A"], "expired A 0x B 60 C 60"),
        ("per_participant", None, "59.999 time", [], "running *A 60 B 60 C 60"),
        (
            "per_participant",
            None,
            "5 switch; 65 time",
            ["5 cycle_switched A", "65 expired B"],
            "expired A 55 B 0x C 60",
        ),
        ("per_participant", "advance", "60 time", ["60 participant_expired A"], "running A 0x *B 60 C 60"),
        (
            "per_participant",
            "advance",
            "500 time",
            ["60 participant_expired A", "120 participant_expired B", "180 expired C"],
            "expired A 0x B 0x C 0x",
        ),
        (
            "per_participant",
            "advance",
            "60 time; 70 switch; 80 switch",
            ["60 participant_expired A", "70 cycle_switched B", "80 cycle_switched C"],
            "running A 0x *B 50 C 50",
        ),
        ("per_participant", "pause", "90 time", ["60 paused A"], "paused *A 0x B 60 C 60"),
        ("per_participant", "overtime", "90 time", ["60 overtime_started A"], "running *A 60 B 60 C 60"),
        (
            "per_participant",
            "overtime",
            "90 switch",
            ["60 overtime_started A", "90 cycle_switched A"],
            "running A -30 *B 60 C 60",
        ),
        (
            "per_participant",
            "overtime",
            "90 switch>A; 95 switch",
            ["60 overtime_started A", "90 cycle_switched A", "95 cycle_switched A"],
            "running A -35 *B 60 C 60",
        ),
        ("per_cycle", None, "60 time", ["60 cycle_expired A"], "running *B 60"),
        ("per_cycle", None, "150 time", ["60 cycle_expired A", "120 cycle_expired B"], "running *C 60"),
        ("per_cycle", "expire", "150 time", ["60 expired A"], "expired *- 0"),
        ("per_cycle", "pause", "150 time", ["60 paused A"], "paused *A 0"),
        ("per_cycle", "pause", "150 time; 151 switch", ["60 paused A", "151 cycle_switched A"], "running *B 60"),
        ("per_cycle", "overtime", "70 switch", ["60 overtime_started A", "70 cycle_switched A"], "running *B 60"),
        ("per_group", None, "60 time", ["60 expired A"], "expired x 0x y 60"),
        ("per_group", "advance", "60 time", ["60 group_expired A"], "running x 0x *y 60"),
        (
            "per_group",
            "advance",
            "10 switch; 70 switch@B; 130 time",
            ["10 cycle_switched A", "70 group_expired B", "70 !NOT_ACTIVE_PARTICIPANT", "120 expired C"],
            "expired x 0x y 0x",
        ),
        ("per_group", "pause", "60 time; 61 switch", ["60 paused A", "61 cycle_switched A"], "running x 0x *y 60"),
        ("per_group", "overtime", "70 switch", ["60 overtime_started A", "70 cycle_switched A"], "running x -10 *y 60"),
        ("global", None, "30 switch; 60 time", ["30 cycle_switched A", "60 expired B"], "expired *- 0"),
        ("global", "advance", "60 time", ["60 expired A"], "expired *- 0"),
        ("global", "pause", "60 time; 61 switch", ["60 paused A", "61 cycle_switched A"], "paused *B 0"),
        ("global", "overtime", "70 switch", ["60 overtime_started A", "70 cycle_switched A"], "running *B -10"),
        ("count_up", None, "30 switch; 60 time", ["30 cycle_switched A", "60 expired B"], "expired *- 0"),
        ("count_up", "advance", "60 time", ["60 expired A"], "expired *- 0"),
    ],
)
def test_timeout_in_each_mode_has_the_effect_of_on_timeout(
    mode: str, on_timeout: str | None, script: str, lines: list[str], face: str
) -> None:
    session = play(spec(mode, GROUPS, on_timeout), f"0 start; {script}")
    assert session.lines[1:] == lines
    assert session.face == face


@pytest.mark.parametrize("mode", ["per_participant", "per_cycle", "per_group", "global", "count_up"])
@pytest.mark.parametrize("on_timeout", ["expire", "advance"])
def test_expired_session_ends_at_its_deadline(mode: str, on_timeout: str) -> None:
    session = play(spec(mode, GROUPS, on_timeout, max_cycles=3), "0 start; 3 switch; 9999 time")
    state, before = session.state, session.transitions[-2].state
    assert state.status == "expired"
    assert state.completed_at_ms == state.updated_at_ms == deadline_at_ms(state) == deadline_at_ms(before)
    assert session.transitions[-1].event.at_ms == state.completed_at_ms


LATE = "per_cycle", "per_participant", "per_group"


@pytest.mark.parametrize("mode", LATE)
def test_overdue_transitions_are_the_same_however_late_they_are_found(mode: str) -> None:
    people = " ".join(f"{name}/{name}" for name in "ABCDEFGHIJ")
    creation = spec(mode, people, "advance", max_cycles=10, warnings_ms=(10_000, 5_000))
    late = play(creation, "0 start; 99999 time")
    on_time = play(creation, "; ".join(["0 start", *(f"{at} time" for at in range(1, 700))]))
    to_the_point = play(creation, "0 start")
    while (due := next_upcoming_event(to_the_point.state)) is not None:
        to_the_point.do(due.at_ms, Expire())
    documents = [render_session(t.state) for t in late.transitions]
    assert len(documents) == 1 + 3 * 10
    assert documents == [render_session(t.state) for t in on_time.transitions]
    assert documents == [render_session(t.state) for t in to_the_point.transitions]


def test_overdue_transitions_beyond_the_limit_need_another_decision() -> None:
    running = play(spec("per_cycle", "A"), "0 start").state
    decision = engine.apply(running, command("switch"), T0 + 60_000 * 100)
    assert len(decision.overdue) == MAX_OVERDUE
    assert decision.has_more_overdue
    assert decision.own == ()
    assert decision.refusal is None
    exactly = engine.apply(running, command("switch"), T0 + 60_000 * MAX_OVERDUE)
    assert len(exactly.overdue) == MAX_OVERDUE
    assert not exactly.has_more_overdue
    assert exactly.expired_participant_id == "A"


def test_switch_after_several_decisions_of_overdue_transitions_is_consumed() -> None:
    for cycles in (MAX_OVERDUE, MAX_OVERDUE + 1, 2 * MAX_OVERDUE, 2 * MAX_OVERDUE + 1):
        session = play(spec("per_cycle", "A B", warnings_ms=(9_000,)), f"0 start; {60 * cycles + 1} switch")
        assert session.lines[-1].startswith(f"{60 * cycles + 1} consumed by")
        assert not [line for line in session.lines if "cycle_switched" in line]


@pytest.mark.parametrize(
    ("mode", "on_timeout", "script", "lines"),
    [
        # A switch without `current_participant_id` was meant for the turn that ran out.
        ("per_participant", "advance", "60 switch", ["60 participant_expired A", "60 consumed by A"]),
        ("per_participant", "advance", "60 switch>C", ["60 participant_expired A", "60 consumed by A"]),
        (
            "per_participant",
            "advance",
            "130 switch",
            ["60 participant_expired A", "120 participant_expired B", "130 consumed by A"],
        ),
        ("per_cycle", None, "61 switch", ["60 cycle_expired A", "61 consumed by A"]),
        ("per_group", "advance", "61 switch", ["60 group_expired A", "61 consumed by A"]),
        ("per_participant", "pause", "61 switch", ["60 paused A", "61 consumed by A"]),
        ("global", "pause", "61 switch", ["60 paused A", "61 consumed by A"]),
        # A switch with `current_participant_id` is decided after the overdue transitions.
        ("per_participant", "advance", "60 switch@A", ["60 participant_expired A", "60 !NOT_ACTIVE_PARTICIPANT"]),
        ("per_participant", "advance", "60 switch@B", ["60 participant_expired A", "60 cycle_switched B"]),
        ("per_participant", "pause", "61 switch@A", ["60 paused A", "61 cycle_switched A"]),
        # The session ended. A switch for its last turn is consumed, with or without `current_participant_id`.
        ("per_participant", None, "60 switch", ["60 expired A", "60 consumed by A"]),
        ("per_participant", None, "60 switch>C", ["60 expired A", "60 consumed by A"]),
        ("per_participant", None, "60 switch@A", ["60 expired A", "60 consumed by A"]),
        ("per_participant", None, "60 switch@B", ["60 expired A", "60 !INVALID_STATE_TRANSITION"]),
        (
            "per_participant",
            "advance",
            "999 switch",
            ["60 participant_expired A", "120 participant_expired B", "180 expired C", "999 consumed by C"],
        ),
        # Before the deadline, and after the expiry is committed, a switch is applied.
        ("per_participant", "advance", "59.999 switch", ["59.999 cycle_switched A"]),
        ("per_participant", "advance", "60 time; 60 switch", ["60 participant_expired A", "60 cycle_switched B"]),
        # Other commands are not consumed. A refused command still commits the overdue transitions.
        ("per_participant", "advance", "61 pause", ["60 participant_expired A", "61 paused B"]),
        ("per_participant", "advance", "61 resume", ["60 participant_expired A", "61 !INVALID_STATE_TRANSITION"]),
        ("per_participant", None, "61 complete", ["60 expired A", "61 !INVALID_STATE_TRANSITION"]),
        ("per_participant", None, '61 merge:{"a":1}', ["60 expired A", "61 metadata_updated"]),
        ("per_participant", "advance", "61 leave:Z", ["60 participant_expired A", "61 !PARTICIPANT_NOT_FOUND"]),
    ],
)
def test_command_after_a_deadline_is_decided_after_the_expiry(
    mode: str, on_timeout: str | None, script: str, lines: list[str]
) -> None:
    session = play(spec(mode, GROUPS, on_timeout), f"0 start; {script}")
    assert session.lines[1 : 1 + len(lines)] == lines


@pytest.mark.parametrize(
    ("mode", "on_timeout", "end", "last"),
    [
        ("per_participant", "expire", "60 expired A", "A"),
        ("per_participant", "advance", "180 expired C", "C"),
        ("per_group", "expire", "60 expired A", "A"),
        ("per_group", "advance", "120 expired C", "C"),
        ("per_cycle", "expire", "60 expired A", "A"),
        ("per_cycle", "advance", "180 expired C", "C"),
        ("global", "expire", "60 expired A", "A"),
        ("count_up", "expire", "60 expired A", "A"),
    ],
)
def test_switch_long_after_the_end_by_time_is_consumed(mode: str, on_timeout: str, end: str, last: str) -> None:
    fields = {"max_cycles": 3} if mode == "per_cycle" else {}
    creation = spec(mode, "A/x B/x C/y", on_timeout, **fields)
    late = play(creation, "0 start; 500 time; 900 switch")
    assert late.lines[-2:] == [end, f"900 consumed by {last}"]
    assert (late.decision.all_transitions, late.decision.refusal) == ((), None)
    assert play(creation, f"0 start; 900 switch@{last}").lines[-1] == f"900 consumed by {last}"
    for name in {*"ABC"} - {last}:
        assert play(creation, f"0 start; 500 time; 900 switch@{name}").lines[-1] == "900 !INVALID_STATE_TRANSITION"


def test_switch_after_the_end_of_a_session_without_participants_is_consumed() -> None:
    late = play(spec("global", ""), "0 start; 500 time; 900 switch")
    assert late.lines == ["0 started", "60 expired"]
    assert (late.decision.all_transitions, late.decision.refusal, late.decision.expired_participant_id) == (
        (),
        None,
        None,
    )


@pytest.mark.parametrize(
    ("script", "refusal"),
    [
        ("0 start; 5 complete; 6 switch", "INVALID_STATE_TRANSITION"),
        ("0 start; 5 cancel; 6 switch", "INVALID_STATE_TRANSITION"),
        ("0 start; 61 complete", "INVALID_STATE_TRANSITION"),
        ("0 start; 61 time; 62 pause", "INVALID_STATE_TRANSITION"),
        ("0 start; 61 delete; 62 switch", "SESSION_NOT_FOUND"),
    ],
)
def test_command_other_than_switch_after_the_end_is_refused(script: str, refusal: str) -> None:
    session = play(spec("per_participant"), script)
    assert session.lines[-1].endswith(f"!{refusal}")
    assert session.decision.expired_participant_id is None


def test_switch_for_another_version_after_the_end_is_refused_with_the_status() -> None:
    expired = play(spec("per_participant"), "0 start; 61 time")
    at_ms = T0 + 70_000
    assert expired.do(at_ms, Switch(), VersionPrecondition(expired.state.version)).expired_participant_id == "A"
    for stale in (VersionPrecondition(2), VersionPrecondition(etags=((2, "e"),))):
        refusal = expired.do(at_ms, Switch(), stale).refusal
        assert isinstance(refusal, InvalidTransition)
        assert "expired" in refusal.message


def test_switch_after_a_warning_or_a_pause_end_is_not_consumed() -> None:
    warned = play(spec("per_participant", warnings_ms=(10_000,)), "0 start; 51 switch")
    assert warned.lines == ["0 started A", "50 time_warning A", "51 cycle_switched A"]
    lifted = play(spec("per_participant"), "0 start; 1 pause:tea+5; 10 switch")
    assert lifted.lines == ["0 started A", "1 paused A", "6 resumed A", "10 cycle_switched A"]
    assert lifted.face == "running A 55 *B 60 C 60"


def test_turn_that_begins_at_zero_times_out_at_once() -> None:
    session = play(spec("per_participant", on_timeout="advance"), "0 adjust-60:B; 0 start; 10 switch")
    assert session.lines[2:] == ["10 cycle_switched A", "10 participant_expired B"]
    assert session.decision.expired_participant_id is None
    assert [t.event.type for t in session.decision.follow_up] == ["participant_expired"]


def test_consumed_switch_makes_no_own_transition() -> None:
    decision = play(spec("per_participant", on_timeout="advance"), "0 start; 61 switch").decision
    assert (len(decision.overdue), decision.own, decision.follow_up, decision.refusal) == (1, (), (), None)


def test_next_due_event_is_none_if_no_clock_runs_to_a_limit() -> None:
    for script in ("", "0 start; 1 pause", "0 start; 1 complete", "0 start; 1 delete"):
        assert next_upcoming_event(play(spec("per_participant"), script).state) is None
    assert next_upcoming_event(play(spec("count_up", max_time_ms=None), "0 start").state) is None
    assert next_upcoming_event(play(spec("per_participant", on_timeout="overtime"), "0 start; 70 time").state) is None
    first_edition = spec("per_participant", on_timeout="overtime", edition=1)
    assert next_upcoming_event(play(first_edition, "0 start").state) is None


def test_expire_before_the_deadline_changes_nothing() -> None:
    running = play(spec("per_participant"), "0 start").state
    assert engine.apply(running, Expire(), T0 + 59_999) == engine.CommandDecision()


def test_session_recovered_after_its_deadline_ends_at_the_recovery() -> None:
    running = play(spec("per_participant"), "0 start").state
    recovered = replace(running, version=9, updated_at_ms=T0 + 100_000)
    decision = engine.apply(recovered, Switch(), T0 + 100_000)
    ended = decision.overdue[0].state
    assert (ended.updated_at_ms, ended.used_ms) == (T0 + 100_000, 60_000)
    assert ended.participants[0].remaining_ms == 0


def test_turn_that_advances_at_zero_gains_no_increment() -> None:
    creation = spec("per_participant", "A B", "advance", clock=Fischer(5_000))
    assert play(creation, "0 start; 60 time").face == "running A 0x *B 60"


def test_simulation_refuses_only_switches_that_were_not_meant_for_the_turn_that_expired() -> None:
    texts = ((0, "start"), (70_000, "switch@A"), (71_000, "switch@B"), (72_000, "switch"))
    timed = [TimedCommand(at_ms, command(text)) for at_ms, text in texts]
    rows = simulate(spec("per_participant", "A B"), timed, 80_000, "s").rows
    assert [(row.at_ms, row.event_type or row.refusal_code) for row in rows[2:]] == [
        (60_000, "session_expired"),
        (71_000, "INVALID_STATE_TRANSITION"),
    ]
