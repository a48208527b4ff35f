"""Instants at which a session starts and ends: what time does by itself, its order, and changes of the instants."""

from typing import Any

import pytest

from synckairos.clock import engine
from synckairos.clock.budget import Budget
from synckairos.clock.commands import Create, Expire, Switch
from synckairos.clock.creation import create
from synckairos.clock.first_edition_compatibility import as_first_edition, check_first_edition
from synckairos.clock.model import ExtendBy, Extensions, Status
from synckairos.clock.recover_lost_session import OutageChargePolicy, recover_session
from synckairos.clock.start_and_end import MAX_AHEAD_MS, check_start_and_end
from synckairos.clock.timing import deadline_at_ms, session_remaining_ms
from synckairos.clock.transition import EventType
from synckairos.clock.upcoming_event import next_upcoming_event
from synckairos.errors import InvalidTransition, ValidationFailed
from synckairos.wire.session_json import render_session
from synckairos.wire.session_parser import parse_session
from tests.unit.clock.script import T0, command, open_session, play, spec

MIN = 60_000


def exam(people: str = "A B", on_timeout: str | None = None, end_s: float = 60, **fields: Any) -> Create:
    """Return the creation of a session that ends `end_s` seconds after its creation."""
    creation = spec("global", people, on_timeout, total_time_ms=None, ends_at_ms=T0 + round(end_s * 1000))
    return Create(**{name: getattr(creation, name) for name in creation.__struct_fields__} | fields)


# -- start ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "lines", "face"),
    [
        ("29.999 time", [], "pending A 60 B 60"),
        ("30 time", ["30 started A"], "running *A 60 B 60"),
        ("75 time", ["30 started A"], "running *A 60 B 60"),
        ("90 time", ["30 started A", "90 expired A"], "expired A 0x B 60"),
        ("10 start; 30 time", ["10 started A"], "running *A 60 B 60"),
        ("45 switch", ["30 started A", "45 cycle_switched A"], "running A 45 *B 60"),
        ("45 start", ["30 started A", "45 !INVALID_STATE_TRANSITION"], "running *A 60 B 60"),
        ("45 cancel", ["30 started A", "45 cancelled A"], "cancelled A 45 B 60"),
        ("29 cancel; 31 time", ["29 cancelled"], "cancelled A 60 B 60"),
        ("29 pause; 31 time", ["29 !INVALID_STATE_TRANSITION", "30 started A"], "running *A 60 B 60"),
        ("10 update:start+50; 40 time; 60 time", ["10 updated", "50 started A"], "running *A 60 B 60"),
        ("10 update:start+20; 40 time", ["10 updated", "20 started A"], "running *A 60 B 60"),
        ("10 update:start-; 99 time", ["10 updated"], "pending A 60 B 60"),
        ("10 update:start-; 20 start", ["10 updated", "20 started A"], "running *A 60 B 60"),
        ("30 update:start+50", ["30 started A", "30 !INVALID_STATE_TRANSITION"], "running *A 60 B 60"),
        ("10 update:start+9", ["10 !VALIDATION_ERROR"], "pending A 60 B 60"),
        ("10 update:start+10", ["10 updated", "10 started A"], "running *A 60 B 60"),
        ("10 update:start+30", [], "pending A 60 B 60"),
        ("10 update:end+90", ["10 !VALIDATION_ERROR"], "pending A 60 B 60"),
    ],
)
def test_session_starts_at_its_instant(script: str, lines: list[str], face: str) -> None:
    session = play(spec("per_participant", "A B", starts_at_ms=T0 + 30_000), script)
    assert session.lines == lines
    assert session.face == face


def test_start_by_time_is_the_same_as_a_start_by_a_command() -> None:
    for mode in ("per_participant", "per_cycle", "per_group", "global", "count_up"):
        by_time = play(spec(mode, "A/x B/y", starts_at_ms=T0 + 5_000, warnings_ms=(90_000, 10_000)), "7 time").state
        by_command = play(spec(mode, "A/x B/y", warnings_ms=(90_000, 10_000)), "5 start").state
        assert by_time.started_at_ms == by_time.anchor_ms == T0 + 5_000
        assert by_time.turn_number == 1
        assert (by_time.turn, by_time.participants, by_time.groups) == (
            by_command.turn,
            by_command.participants,
            by_command.groups,
        )


def test_pending_session_is_due_at_its_start() -> None:
    due = next_upcoming_event(open_session(spec("global", starts_at_ms=T0 + 1)))
    assert due is not None
    assert (due.at_ms, due.kind) == (T0 + 1, "start")
    assert next_upcoming_event(open_session(spec("global"))) is None


# -- end --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("on_timeout", "script", "lines", "face"),
    [
        (None, "10 start; 59.999 time", ["10 started A"], "running *A 50"),
        (None, "10 start; 99 time", ["10 started A", "60 expired A"], "expired *- 0"),
        (None, "10 start; 20 pause; 59 time", ["10 started A", "20 paused A"], "paused *A 40"),
        (None, "10 start; 20 pause; 99 time", ["10 started A", "20 paused A", "60 expired A"], "expired *- 0"),
        (None, "10 start; 20 pause; 50 resume", ["10 started A", "20 paused A", "50 resumed A"], "running *A 10"),
        (None, "10 start; 20 switch!; 70 time", ["10 started A", "20 cycle_switched A", "60 expired B"], None),
        (None, "10 start; 20 switch; 30 complete", ["10 started A", "20 cycle_switched A", "30 completed B"], None),
        ("advance", "10 start; 60 time", ["10 started A", "60 expired A"], "expired *- 0"),
        ("overtime", "10 start; 75 pause", ["10 started A", "60 overtime_started A", "75 paused A"], "paused *A -15"),
        (
            "overtime",
            "10 start; 20 pause; 75 resume",
            ["10 started A", "20 paused A", "60 overtime_started A", "75 resumed A"],
            "running *A -15",
        ),
        (None, "60 start", ["60 !INVALID_STATE_TRANSITION"], "pending"),
        (None, "70 start", ["70 !INVALID_STATE_TRANSITION"], "pending"),
        (None, "59.999 start; 60 time", ["59.999 started A", "60 expired A"], "expired *- 0"),
        (None, "70 update:end+90; 80 start; 95 time", ["70 updated", "80 started A", "90 expired A"], "expired *- 0"),
        (None, "10 start; 20 update:end+30; 40 time", ["10 started A", "20 updated", "30 expired A"], "expired *- 0"),
        (None, "10 start; 20 update:end+20", ["10 started A", "20 !VALIDATION_ERROR"], "running *A 50"),
        (None, "10 start; 20 pause; 30 update:end+90", ["10 started A", "20 paused A", "30 updated"], "paused *A 60"),
        (None, "10 start; 20 update:end+60", ["10 started A"], "running *A 50"),
        (None, "10 complete; 30 update:end+60", ["10 completed", "30 !INVALID_STATE_TRANSITION"], None),
        (None, "10 start; 20 adjust+5; 99 time", ["10 started A", "20 time_adjusted", "65 expired A"], "expired *- 0"),
        (None, "10 start; 20 pause; 30 adjust-10", ["10 started A", "20 paused A", "30 time_adjusted"], "paused *A 20"),
        (None, "10 start; 20 adjust-99", ["10 started A", "20 time_adjusted", "20 expired A"], "expired *- 0"),
        ("overtime", "10 start; 20 adjust-50", ["10 started A", "20 time_adjusted", "20 overtime_started A"], None),
        (None, "10 adjust+5; 11 start", ["10 time_adjusted", "11 started A"], "running *A 54"),
        (None, "10 adjust-50", ["10 !VALIDATION_ERROR"], "pending"),
    ],
)  # fmt: skip
def test_session_ends_at_its_instant(on_timeout: str | None, script: str, lines: list[str], face: str | None) -> None:
    session = play(exam(on_timeout=on_timeout), script)
    assert session.lines == lines
    assert face in (None, session.face)


def test_pause_takes_no_time_from_the_participants_but_the_end_stays() -> None:
    session = play(exam(), "10 start; 20 pause; 50 resume; 99 time")
    assert session.used == "A 20 B 0"
    assert session.state.used_ms == 20_000
    assert session.state.completed_at_ms == T0 + MIN


def test_deadline_of_a_session_with_an_end_stays_during_a_pause() -> None:
    running = play(exam(on_timeout="overtime"), "10 start").state
    assert deadline_at_ms(running) == T0 + MIN
    paused = play(exam(on_timeout="overtime"), "10 start; 20 pause; 30 pause:tea").state
    assert deadline_at_ms(paused) == T0 + MIN
    assert deadline_at_ms(play(exam(on_timeout="overtime"), "10 start; 20 pause; 61 time").state) is None
    assert deadline_at_ms(play(exam(), "10 start; 99 time").state) == T0 + MIN
    assert deadline_at_ms(open_session(exam())) is None


@pytest.mark.parametrize(
    ("starts_at_ms", "script", "remaining_ms"),
    [
        (None, "", None),
        (T0 + 20_000, "", 40_000),
        (T0 + 20_000, "5 cancel", 40_000),
        (None, "5 cancel", None),
        (None, "5 start", 55_000),
        (None, "5 start; 9 merge:{}; 9 merge:{\"a\":1}", 55_000),
        (None, "5 start; 15 pause; 25 merge:{\"a\":1}", 35_000),
        (None, "5 start; 15 complete; 25 merge:{\"a\":1}", 45_000),
    ],
)  # fmt: skip
def test_remaining_time_of_a_session_with_an_end(
    starts_at_ms: int | None, script: str, remaining_ms: int | None
) -> None:
    state = play(exam(starts_at_ms=starts_at_ms), script).state
    assert session_remaining_ms(state) == remaining_ms
    assert parse_session(render_session(state)) == state


def test_warnings_come_during_a_pause_and_again_after_a_later_end() -> None:
    creation = exam(warnings_ms=(30_000, 10_000))
    session = play(creation, "10 start; 20 pause; 35 update:end+100; 95 time; 100 time")
    assert session.lines[2:] == [
        "30 time_warning A",
        "35 updated",
        "70 time_warning A",
        "90 time_warning A",
        "100 expired A",
    ]


def test_order_at_one_instant_is_start_then_pause_end_then_warnings_then_zero() -> None:
    creation = exam(end_s=60, starts_at_ms=T0 + 40_000, warnings_ms=(20_000, 10_000, 5_000))
    # The turn begins at the threshold of 20 s, so it doesn't pass this threshold.
    session = play(creation, "45 pause:tea+5; 46 pause:rest; 60 time")
    assert session.lines[:3] == ["40 started A", "45 paused A", "46 paused A"]
    assert session.lines[3:] == ["50 resumed A", "50 time_warning A", "55 time_warning A", "60 expired A"]
    session = play(exam(), "10 start; 20 pause:tea+40; 60 time")
    assert session.lines[2:] == ["60 resumed A", "60 expired A"]


def test_soft_close_moves_the_end() -> None:
    creation = exam(extend_on_switch_ms=20_000, max_extension_ms=25_000, extend_by=ExtendBy.ADD)
    session = play(creation, "0 start; 30 switch; 50 switch; 70 switch; 80 switch; 99 time")
    assert [each.state.ends_at_ms for each in session.transitions] == [
        T0 + at for at in (60_000, 60_000, 80_000, 85_000, 85_000, 85_000)
    ]
    assert session.state.extensions == Extensions(2, 25_000)
    assert session.lines[-1] == "85 expired A"


def test_late_switch_on_a_paused_session_is_consumed_by_the_end() -> None:
    paused = play(exam(), "0 start; 10 pause").state
    decision = engine.apply(paused, Switch(), T0 + MIN)
    assert decision.expired_participant_id == "A"
    assert [each.event.type for each in decision.overdue] == [EventType.SESSION_EXPIRED]


# -- checks of instants -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("starts_at_ms", "ends_at_ms", "path"),
    [
        (None, None, None),
        (0, None, None),
        (-1, None, "starts_at"),
        (MAX_AHEAD_MS, None, None),
        (MAX_AHEAD_MS + 1, None, "starts_at"),
        (None, 0, "ends_at"),
        (None, 1, None),
        (None, MAX_AHEAD_MS, None),
        (None, MAX_AHEAD_MS + 1, "ends_at"),
        (5, 5, "ends_at"),
        (5, 6, None),
        (5, 5 + MAX_AHEAD_MS, None),
        (5, 6 + MAX_AHEAD_MS, "ends_at"),
    ],
)
def test_instants_are_checked_against_the_present(
    starts_at_ms: int | None, ends_at_ms: int | None, path: str | None
) -> None:
    now_ms = T0
    start = None if starts_at_ms is None else now_ms + starts_at_ms
    end = None if ends_at_ms is None else now_ms + ends_at_ms
    if path is None:
        check_start_and_end(start, end, now_ms)
        return
    with pytest.raises(ValidationFailed) as refused:
        check_start_and_end(start, end, now_ms)
    assert [each["path"] for each in refused.value.details] == [path]


def test_creation_in_the_past_is_refused() -> None:
    with pytest.raises(ValidationFailed):
        create(exam(end_s=0), "s", "e", T0)
    with pytest.raises(ValidationFailed):
        create(spec("global", starts_at_ms=T0 - 1), "s", "e", T0)


def test_end_moves_at_most_400_days_ahead() -> None:
    session = play(exam(), "0 start")
    far = session.do(T0, command(f"adjust+{MAX_AHEAD_MS / 1000 - 60}"))
    assert far.refusal is None
    assert session.do(T0, command("adjust+1")).refusal is not None
    assert session.state.ends_at_ms == T0 + MAX_AHEAD_MS


def test_update_of_a_session_of_the_first_edition_is_refused() -> None:
    state = open_session(spec("global", edition=1))
    refusal = engine.apply(state, command("update:start+30"), T0).refusal
    assert isinstance(refusal, ValidationFailed)
    for creation in (spec("global", starts_at_ms=T0), exam()):
        with pytest.raises(ValidationFailed, match="validation"):
            check_first_edition(creation)


def test_update_names_the_status_that_forbids_it() -> None:
    state = play(spec("global"), "0 start").state
    refusal = engine.apply(state, command("update:start+30"), T0 + 1).refusal
    assert isinstance(refusal, InvalidTransition)
    assert "running" in refusal.message


# -- other releases and data loss -------------------------------------------------------------------------------------


@pytest.mark.parametrize("script", ["10 start", "10 start; 20 pause", ""])
def test_earlier_release_reads_an_end_as_a_budget(script: str) -> None:
    state = play(exam(starts_at_ms=T0 + 10_000), script).state
    earlier = as_first_edition(state)
    assert earlier.remaining_ms == session_remaining_ms(state)
    assert (earlier.starts_at_ms, earlier.ends_at_ms) == (None, None)
    assert earlier.status is not Status.RUNNING or deadline_at_ms(earlier) == T0 + MIN


@pytest.mark.parametrize("kind", ["charge", "freeze", "credit"])
def test_recovered_session_keeps_its_instants(kind: Any) -> None:
    policy = OutageChargePolicy(kind, 5_000 if kind == "credit" else 0)
    pending = recover_session(open_session(exam(starts_at_ms=T0 + 10_000)), "e2", T0 + 30_000, policy).state
    overdue = engine.apply(pending, Expire(), T0 + 90_000).overdue
    assert [(each.event.type, each.event.at_ms) for each in overdue] == [
        ("session_started", T0 + 10_000),
        ("session_expired", T0 + MIN),
    ]
    running = recover_session(play(exam(), "10 start").state, "e2", T0 + 30_000, policy).state
    (expired,) = engine.apply(running, Expire(), T0 + 90_000).overdue
    assert expired.event.at_ms == T0 + MIN
    assert expired.state.used_ms == (30_000 if kind == "freeze" else 50_000)


def test_budget_of_a_session_with_an_end_is_none() -> None:
    assert open_session(exam()).remaining_ms is None
    assert open_session(exam()).participants[0].remaining_ms == Budget(0).remaining_ms


@pytest.mark.parametrize(
    ("starts_at_ms", "taken_s", "is_accepted"),
    [(T0 + 30_000, 30, False), (T0 + 30_000, 29.999, True), (None, 55, False), (None, 54.999, True)],
    ids=["at the start", "after the start", "at the present", "after the present"],
)
def test_adjust_before_the_start_keeps_the_end_after_the_start(
    starts_at_ms: int | None, taken_s: float, is_accepted: bool
) -> None:
    creation = spec("global", "A B", total_time_ms=None, starts_at_ms=starts_at_ms, ends_at_ms=T0 + 60_000)
    session = play(creation, f"5 adjust-{taken_s}")
    assert (session.decision.refusal is None) == is_accepted
