"""Individual clocks in a session with an end, and clocks that end, go on or leave, at the boundaries of their rules."""

from typing import Any

import pytest

from synckairos.clock.commands import Create, NewParticipant
from synckairos.clock.individual.all_clocks import clocks_charged_until
from synckairos.clock.model import OnTimeout, SyncMode
from tests.unit.clock.script import T0, Played, play, spec

WARNINGS_MS = (30_000, 10_000, -5_000)


def play_with_end(script: str, on_timeout: str = "expire", **fields: Any) -> Played:
    """Play a script with A and B, who has a factor of 1.5, in a session that ends after 60 seconds."""
    people = (NewParticipant("A"), NewParticipant("B", time_factor=150))
    end_ms = T0 + 60_000
    creation = Create(SyncMode.INDIVIDUAL, people, on_timeout=OnTimeout(on_timeout), ends_at_ms=end_ms, **fields)
    return play(creation, script)


def refusal(played: Played) -> str | None:
    """Return the message of the first fault of the last command, or else of its refusal. None without a refusal."""
    refused = played.decision.refusal
    if refused is None:
        return None
    return refused.details[0]["message"] if refused.details else refused.message


@pytest.mark.parametrize(
    ("script", "fault", "face"),
    [
        (
            "60 start",
            "Session cannot be started: the session is pending and its ends_at has passed; change ends_at first",
            "pending, A waiting 0, B waiting 0",
        ),
        ("59.999 start", None, "running, A running 0.001, B running 0.002"),
        (
            "5 adjust-20 [A]; 40 start [A]",
            "A has no time left before its end",
            "pending, A waiting 0, B waiting 0",
        ),
        ("5 adjust-20 [A]; 39.999 start [A]", None, "running, A running 0.001, B waiting 30.002"),
    ],
)
def test_first_start_needs_time_before_the_end(script: str, fault: str | None, face: str) -> None:
    session = play_with_end(script)
    assert (refusal(session), session.face) == (fault, face)
    assert session.state.turn_number == (1 if fault is None else 0)


@pytest.mark.parametrize(
    ("script", "ends_after_s", "face"),
    [
        # Before the start. The time of B is 1.5 times the time from the start to the end, plus its own offset.
        ("5 adjust+10; 10 start", 70, "running, A running 60, B running 85"),
        ("5 adjust*10; 10 start", 70, "running, A running 60, B running 90"),
        ("5 adjust+10 [B]; 10 start", 60, "running, A running 50, B running 85"),
        ("5 adjust+10 [B]; 6 adjust+10 [B]; 7 adjust+10; 10 start", 70, "running, A running 60, B running 105"),
        ("5 adjust-54.999; 5 start", 5.001, "running, A running 0.001, B running 27.502"),
        ("10 start; 20 adjust+10; 20 pause", 70, "paused, A paused 50, B paused 75"),
        ("10 start; 20 adjust-10; 20 pause", 50, "paused, A paused 30, B paused 55"),
    ],
)
def test_adjust_moves_the_end_of_the_session_and_of_each_clock(script: str, ends_after_s: float, face: str) -> None:
    session = play_with_end(script)
    assert session.face == face
    assert session.state.ends_at_ms == T0 + round(ends_after_s * 1_000)


@pytest.mark.parametrize(
    ("on_timeout", "script", "face"),
    [
        ("overtime", "20 adjust-50; 20 pause", "paused, A paused -10, B paused 15"),
        ("overtime", "20 adjust-50 [A]; 20 pause", "paused, A paused -10, B paused 65"),
        ("expire", "20 adjust-50", "running, A expired 0, B running 15"),
        ("expire", "20 adjust-50 [A]", "running, A expired 0, B running 75"),
        ("expire", "20 update:end+20.001", "running, A running 0.001, B running 5.002"),
    ],
)
def test_clock_with_an_end_falls_below_zero_only_in_overtime(on_timeout: str, script: str, face: str) -> None:
    assert play_with_end(f"10 start; {script}", on_timeout).face == face


@pytest.mark.parametrize(
    "script", ["5 adjust-55", "5 adjust-55 [B]", "5 adjust-30 [B]; 6 adjust-24 [B]", "5 adjust*-36.667 [B]"]
)
def test_adjust_before_the_start_keeps_each_end_after_the_start(script: str) -> None:
    assert refusal(play_with_end(script)) == "the end would not be after the start"


@pytest.mark.parametrize(
    "script",
    ["5 adjust-54.999 [B]", "5 adjust-30 [B]; 6 adjust-23.999 [B]", "5 adjust*-36.666 [B]", "5 adjust+999 [B]"],
)
def test_adjust_before_the_start_accepts_each_end_after_the_start(script: str) -> None:
    assert refusal(play_with_end(script)) is None


def test_adjust_that_moves_no_clock_makes_no_version() -> None:
    assert play_with_end("10 start [A]; 20 adjust+0").lines == ["10 started A"]
    session = play(spec("individual", "A B"), "0 start [A]; 5 adjust-60 [B]; 6 adjust-1 [B]")
    assert (session.lines, session.decision.refusal) == (["0 started A", "5 time_adjusted B"], None)


@pytest.mark.parametrize(
    ("has_end", "script", "fault"),
    [
        (False, "0 start; 60 time; 70 reopen:A", "required, because time ran out"),
        (
            False,
            "0 start; 60 time; 70 reopen+0:A",
            "should be positive, because time ran out or the session has an end",
        ),
        (False, "0 start; 60 time; 70 reopen+0.001:A", None),
        (False, "0 start; 10 finish [A]; 20 reopen-50:A", "participant A would still have no time"),
        (False, "0 start; 10 finish [A]; 20 reopen-49.999:A", None),
        (False, "0 start; 10 finish [A]; 20 reopen:A", None),
        (True, "10 start; 20 finish; 30 reopen", "required, because the new end is delta_ms from now"),
        (
            True,
            "10 start; 20 finish; 30 reopen+0",
            "should be positive, because time ran out or the session has an end",
        ),
        (True, "10 start; 20 finish; 30 reopen+0.001", None),
        (True, "10 start [A]; 60 time; 70 reopen:A", "required, because time ran out"),
        (True, "10 start [A]; 60 time; 70 reopen+0.001:A", None),
    ],
)
def test_reopened_clock_needs_time(has_end: bool, script: str, fault: str | None) -> None:
    session = play_with_end(script) if has_end else play(spec("individual", "A B"), script)
    assert refusal(session) == fault
    reopened = session.state.participants[0]
    if fault is None:
        assert (reopened.has_expired, reopened.remaining_ms > 0) == (False, True)


@pytest.mark.parametrize(
    ("has_end", "script", "face", "used_ms"),
    [
        (False, "0 start; 5 pause [A]; 6 resume [A]; 10 leave:A", "running, B running 60", 9_000),
        (False, "0 start; 5 pause; 10 leave:A", "paused, B paused 55", 10_000),
        (False, "5 leave:A", "pending, B waiting 60", 0),
        (False, "0 start [A]; 5 leave:A", "paused, B waiting 60", 5_000),
        (True, "10 start [A]; 20 leave:A", "paused, B waiting 75", 10_000),
        (True, "10 start; 20 join:C-", "running, A running 50, B running 75, C waiting 40", 0),
        (True, "5 join:C-; 10 start", "running, A running 50, B running 75, C running 50", 0),
    ],
)
def test_clocks_and_used_time_after_a_participant_left_or_joined(
    has_end: bool, script: str, face: str, used_ms: int
) -> None:
    session = play_with_end(script) if has_end else play(spec("individual", "A B"), script)
    assert (session.face, session.state.used_ms) == (face, used_ms)


def test_participant_that_joins_a_session_with_an_end_has_no_own_budget() -> None:
    assert refusal(play_with_end("10 start; 20 join:C")) == "contradicts ends_at of the session; omit it"
    without_end = play(spec("individual", "A B"), "0 start; 20 join:C-")
    assert refusal(without_end) == "a participant needs its own budget in individual"


@pytest.mark.parametrize(
    ("script", "lines"),
    [
        # Time added up to zero or less keeps the clock in overtime, and sends no warning again above the reading.
        ("70 adjust+10 [A]; 80 time", ["70 time_adjusted A", "75 time_warning A"]),
        ("70 adjust+5 [A]; 80 time", ["70 time_adjusted A"]),
        ("70 adjust+10.001 [A]; 80 time", ["70 time_adjusted A", "70.001 overtime_started A", "75.001 time_warning A"]),
        ("70 adjust+20 [A]; 80 time", ["70 time_adjusted A", "80 overtime_started A"]),
        ("70 adjust+20.001 [A]; 70.001 time", ["70 time_adjusted A", "70.001 time_warning A"]),
        # A clock that goes on has reached exactly the warnings at or above its budget.
        (
            "60 finish [A]; 70 reopen:A; 80 resume; 90 time",
            ["60 finished A", "70 reopened A", "80 resumed A", "85 time_warning A"],
        ),
        (
            "60 finish [A]; 70 reopen+0.001:A; 80 resume; 80.001 time",
            ["60 finished A", "70 reopened A", "80 resumed A", "80.001 overtime_started A"],
        ),
        (
            "50 finish [A]; 55 reopen+5:A; 60 resume; 70 time",
            ["50 finished A", "55 reopened A", "60 resumed A", "65 time_warning A"],
        ),
        ("50 finish [A]; 55 reopen:A; 60 resume; 69 time", ["50 finished A", "55 reopened A", "60 resumed A"]),
    ],
)
def test_warnings_and_overtime_of_a_clock_with_changed_time(script: str, lines: list[str]) -> None:
    session = play(spec("individual", "A B", "overtime", warnings_ms=WARNINGS_MS), f"0 start; {script}")
    first_s = float(lines[0].split()[0])
    of_a = [line.replace("participant_", "") for line in session.lines if line.endswith(" A")]
    assert [line for line in of_a if float(line.split()[0]) >= first_s] == lines


@pytest.mark.parametrize(
    ("on_timeout", "lines"),
    [
        ("expire", ["30 time_warning A", "50 time_warning A", "60 participant_expired A", "85 expired B"]),
        ("overtime", ["30 time_warning A", "50 time_warning A", "60 overtime_started A", "65 time_warning A"]),
    ],
)
def test_waiting_clock_has_no_warnings(on_timeout: str, lines: list[str]) -> None:
    warnings_ms = WARNINGS_MS if on_timeout == "overtime" else WARNINGS_MS[:2]
    session = play_with_end("10 start [A]; 99 time", on_timeout, warnings_ms=warnings_ms)
    assert session.lines == ["10 started A", *lines]
    alone = play(spec("individual", "A B", on_timeout, warnings_ms=warnings_ms), "0 start [A]; 99 time")
    assert alone.lines == ["0 started A", *(line for line in lines if line.endswith("A"))]


@pytest.mark.parametrize(
    ("taken_s", "lines"),
    [
        (49.999, ["10 time_adjusted A", "10 time_warning A", "10 time_warning A"]),
        (50, ["10 time_adjusted A", "10 participant_expired A"]),
    ],
)
def test_clock_without_overtime_has_no_warnings_at_zero(taken_s: float, lines: list[str]) -> None:
    creation = spec("individual", "A B", warnings_ms=WARNINGS_MS[:2])
    assert play(creation, f"0 start; 10 adjust-{taken_s} [A]; 10 time").lines[1:] == lines


def test_time_added_without_overtime_sends_a_warning_again() -> None:
    session = play(spec("individual", "A B", warnings_ms=(30_000,)), "0 start; 35 adjust+20 [A]; 59 time")
    assert session.lines[-2:] == ["35 time_adjusted A", "50 time_warning A"]


def test_adjust_charges_one_millisecond() -> None:
    session = play(spec("individual", "A B"), "0 start; 0.001 adjust+5 [A]; 0.001 pause")
    assert (session.face, session.used) == ("paused, A paused 64.999, B paused 59.999", "A 0.001 B 0.001")


@pytest.mark.parametrize(
    ("has_end", "script", "left_s"),
    [
        (False, "0 start [A]; 1 merge:{}", [30, 60]),
        (False, "0 start [A]; 5 pause", [55, 60]),
        (True, "10 start [A]; 20 finish [A]", [40, 55]),
        (True, "", [0, 0]),
    ],
)
def test_shown_clocks_run_until_the_present(has_end: bool, script: str, left_s: list[int]) -> None:
    session = play_with_end(script) if has_end else play(spec("individual", "A B"), script)
    shown = clocks_charged_until(session.state, T0 + 30_000)
    assert [row.remaining_ms for row in shown.participants] == [1_000 * each for each in left_s]


def test_shown_clock_stops_at_its_zero_without_overtime() -> None:
    for on_timeout, left_ms in (("expire", 0), ("overtime", -10_000)):
        state = play(spec("individual", "A=20 B", on_timeout), "0 start [A]").state
        assert clocks_charged_until(state, T0 + 30_000).participants[0].remaining_ms == left_ms
