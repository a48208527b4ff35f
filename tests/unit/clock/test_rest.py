"""Rest days: the clock pauses by the calendar, and its deadline counts the rests."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synckairos.clock.active_pause import ActivePause
from synckairos.clock.clock_systems import PerMove
from synckairos.clock.model import RestRule
from synckairos.clock.rest_days import Rest, end_of_running_time_ms, next_rest
from synckairos.clock.timing import deadline_at_ms
from synckairos.wire.session_json import session_json
from tests.unit.clock.script import Played, command, open_session, play, spec

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
WEEKEND = RestRule((6, 7))


def at(text: str) -> int:
    """Return an instant of January 2026 in UTC, such as `09 12:00`. The 9th is a Friday."""
    return int(datetime.fromisoformat(f"2026-01-{text}").replace(tzinfo=UTC).timestamp() * 1_000)


def played(script: str, rest: RestRule = WEEKEND, **fields: object) -> Played:
    """Play a session that is created on Friday at noon, with a move every three days. Instants are as in `at`."""
    options: dict[str, object] = {"clock": PerMove(3 * DAY_MS), "total_time_ms": None, "rest": rest} | fields
    session = Played(open_session(spec("per_participant", "A B", **options), at("09 12:00")))  # type: ignore[arg-type]
    for line in map(str.strip, script.split(";")):
        instant, text = line[:8], line[9:]
        session.do(at(instant), command(text))
    return session


def events(session: Played) -> list[tuple[str, int]]:
    return [(each.event.type.removeprefix("session_"), each.event.at_ms) for each in session.transitions]


def test_weekend_pauses_the_clock_and_is_counted_in_the_deadline() -> None:
    session = played("09 12:00 start")
    assert deadline_at_ms(session.state) == at("14 12:00")
    session.do(at("10 00:00"), command("time"))
    assert session.state.pauses == (ActivePause("rest", at("10 00:00"), 2 * DAY_MS),)
    (pause,) = session_json(session.state)["pauses"]
    assert (pause["reason"], pause["lifts_at"]) == ("rest", "2026-01-12T00:00:00.000Z")
    assert deadline_at_ms(session.state) is None
    session.do(at("12 00:00"), command("time"))
    assert deadline_at_ms(session.state) == at("14 12:00")
    assert session.remaining("A") == 2.5 * DAY_MS / 1_000
    session.do(at("20 00:00"), command("time"))
    assert events(session) == [
        ("started", at("09 12:00")),
        ("paused", at("10 00:00")),
        ("resumed", at("12 00:00")),
        ("expired", at("14 12:00")),
    ]
    assert session.used == f"A {3 * DAY_MS // 1_000} B 0"


def test_time_per_move_is_not_refilled_by_a_rest() -> None:
    session = played("09 12:00 start; 12 06:00 switch; 12 08:00 switch")
    assert session.used == f"A {18 * 3600} B {2 * 3600}"
    assert session.remaining("A") == 3 * DAY_MS / 1_000


def test_start_and_resume_in_a_rest_pause_at_once() -> None:
    session = played("10 09:00 start")
    assert events(session)[-2:] == [("started", at("10 09:00")), ("paused", at("10 09:00"))]
    assert session.state.pauses == (ActivePause("rest", at("10 09:00"), 39 * HOUR_MS),)
    resumed = played("09 12:00 start; 09 18:00 pause; 11 10:00 resume; 13 00:00 time")
    assert events(resumed)[-3:] == [
        ("resumed", at("11 10:00")),
        ("paused", at("11 10:00")),
        ("resumed", at("12 00:00")),
    ]
    assert resumed.state.participants[0].used_ms == 6 * HOUR_MS


def test_pause_over_a_rest_has_no_rest() -> None:
    session = played("09 12:00 start; 09 18:00 pause; 12 10:00 resume")
    assert [kind for kind, _ in events(session)] == ["started", "paused", "resumed"]
    assert deadline_at_ms(session.state) == at("15 04:00")


def test_pause_within_a_rest_stays_after_it() -> None:
    session = played("09 12:00 start; 10 12:00 pause:tea; 12 09:00 time")
    assert [each.reason for each in session.state.pauses] == ["tea"]
    assert session.state.status == "paused"


@pytest.mark.parametrize("text", ["resume", "resume:rest"])
def test_only_time_ends_a_rest(text: str) -> None:
    session = played(f"09 12:00 start; 10 12:00 {text}")
    assert session.decision.refusal is not None
    assert session.decision.refusal.code == "INVALID_STATE_TRANSITION"
    both = played("09 12:00 start; 10 12:00 pause:tea; 10 13:00 resume")
    assert [each.reason for each in both.state.pauses] == ["rest"]


def test_switch_in_a_rest_needs_its_rule() -> None:
    refused = played("09 12:00 start; 10 12:00 switch")
    assert refused.lines[-1].endswith("!INVALID_STATE_TRANSITION")
    allowed = played("09 12:00 start; 10 12:00 switch; 12 12:00 switch", switch_while_paused=True)
    assert allowed.used == f"A {12 * 3600} B {12 * 3600}"


def test_zero_at_the_begin_of_a_rest_comes_first() -> None:
    session = played("09 12:00 start; 10 00:00 time", clock=PerMove(12 * HOUR_MS), warnings_ms=(1_000, 12 * HOUR_MS))
    assert [kind for kind, _ in events(session)] == ["started", "time_warning", "expired"]
    assert events(session)[-1][1] == at("10 00:00")


def test_zero_after_many_rests() -> None:
    session = played("09 12:00 start", clock=PerMove(100 * DAY_MS))
    deadline_ms = deadline_at_ms(session.state)
    session.do(at("31 00:00") + 400 * DAY_MS, command("time"))
    assert events(session)[-1] == ("expired", deadline_ms)
    assert session.state.participants[0].used_ms == 100 * DAY_MS


def test_offset_moves_the_days() -> None:
    session = played("09 12:00 start; 11 23:59 time", RestRule((6, 7), 60))
    assert events(session)[1:] == [("paused", at("09 23:00")), ("resumed", at("11 23:00"))]
    west = played("09 12:00 start; 10 09:00 time; 10 10:00 time", RestRule((6,), -600))
    assert west.state.pauses == (ActivePause("rest", at("10 10:00"), DAY_MS),)


def test_undo_and_reopen_leave_the_rest() -> None:
    session = played("09 12:00 start; 09 14:00 switch; 10 12:00 undo")
    assert (session.state.status, [each.reason for each in session.state.pauses]) == ("paused", ["rest"])
    reopened = played("09 12:00 start; 10 10:00 complete; 10 11:00 reopen; 10 12:00 resume")
    assert [each.reason for each in reopened.state.pauses] == ["rest"]


@pytest.mark.parametrize(
    ("rule", "instant", "rest"),
    [
        (WEEKEND, "09 12:00", ("10 00:00", "12 00:00")),
        (WEEKEND, "10 00:00", ("10 00:00", "12 00:00")),
        (WEEKEND, "11 23:59", ("10 00:00", "12 00:00")),
        (WEEKEND, "12 00:00", ("17 00:00", "19 00:00")),
        (RestRule((1, 7)), "08 00:00", ("11 00:00", "13 00:00")),
        (RestRule((2, 4)), "13 12:00", ("13 00:00", "14 00:00")),
        (RestRule((1, 2, 3, 4, 6, 7)), "09 12:00", ("10 00:00", "16 00:00")),
    ],
)
def test_next_rest(rule: RestRule, instant: str, rest: tuple[str, str]) -> None:
    assert next_rest(rule, at(instant)) == Rest(at(rest[0]), at(rest[1]))


@given(
    st.sets(st.integers(1, 7), min_size=1, max_size=6),
    st.integers(-720, 840),
    st.integers(0, 14 * 24),
    st.integers(0, 15 * 24),
)
@settings(max_examples=100, derandomize=True, database=None, deadline=None)
def test_end_of_running_time_equals_a_count_of_hours(
    weekdays: set[int], offset_minutes: int, begin_hours: int, running_hours: int
) -> None:
    rule = RestRule(tuple(sorted(weekdays)), offset_minutes - offset_minutes % 60)
    from_ms = now_ms = at("01 00:00") + begin_hours * HOUR_MS
    left = running_hours
    while left:
        rest = next_rest(rule, now_ms)
        left -= not rest.begins_at_ms <= now_ms < rest.ends_at_ms
        now_ms += HOUR_MS
    assert end_of_running_time_ms(rule, from_ms, running_hours * HOUR_MS) == now_ms


@pytest.mark.parametrize(("running_ms", "after_ms"), [(-5, -5), (0, 0), (1, DAY_MS + 1), (2, DAY_MS + 2)])
def test_end_of_running_time_from_within_a_rest(running_ms: int, after_ms: int) -> None:
    from_ms = at("11 00:00")
    assert end_of_running_time_ms(WEEKEND, from_ms, running_ms) == from_ms + after_ms


def test_session_without_rest_days_has_none() -> None:
    session = play(spec("per_participant", "A B"), "0 start; 20 switch")
    assert "rest" not in session_json(session.state)
