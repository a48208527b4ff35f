"""Warnings: one for each threshold and turn. After time is added, a warning can be sent again."""

import pytest

from synckairos.clock.clock_systems import ClockSystem, Delay, PerMove
from synckairos.clock.commands import Expire
from synckairos.clock.overdue import make_warning_without_free_time
from synckairos.clock.overtime_period_systems import Byoyomi
from synckairos.clock.stages import Stage, Stages
from synckairos.clock.timing import deadline_at_ms
from tests.unit.clock.script import T0, play, spec


@pytest.mark.parametrize(
    ("script", "lines"),
    [
        ("29.999 time", []),
        ("30 time", ["30 time_warning A"]),
        ("31 time; 32 time", ["30 time_warning A"]),
        ("55 time", ["30 time_warning A", "50 time_warning A"]),
        ("99 time", ["30 time_warning A", "50 time_warning A", "60 expired A"]),
        # Each turn has its own warnings.
        (
            "40 switch; 80 switch; 95 time",
            [
                "30 time_warning A",
                "40 cycle_switched A",
                "70 time_warning B",
                "80 cycle_switched B",
                "90 time_warning A",
            ],
        ),
        # A turn that begins below a threshold does not cross that threshold.
        (
            "55 switch; 56 switch; 58 switch>A; 59 time",
            [
                "30 time_warning A",
                "50 time_warning A",
                "55 cycle_switched A",
                "56 cycle_switched B",
                "58 cycle_switched A",
            ],
        ),
        # A pause does not begin a new turn.
        ("31 pause; 40 resume; 45 time", ["30 time_warning A", "31 paused A", "40 resumed A"]),
        ("29 pause; 40 resume; 45 time", ["29 paused A", "40 resumed A", "41 time_warning A"]),
        # After time is added, only warnings whose thresholds are below the time to zero are sent again.
        ("31 adjust+10:A; 45 time", ["30 time_warning A", "31 time_adjusted A", "40 time_warning A"]),
        ("31 adjust+0.5:A; 49 time", ["30 time_warning A", "31 time_adjusted A"]),
        (
            "51 adjust+5:A; 59 time",
            ["30 time_warning A", "50 time_warning A", "51 time_adjusted A", "55 time_warning A"],
        ),
        ("31 adjust+1:A; 32 time", ["30 time_warning A", "31 time_adjusted A"]),
        ("31 adjust+10:B; 45 time", ["30 time_warning A", "31 time_adjusted B"]),
        # A subtraction can jump over thresholds. Their warnings are sent at once, the greatest first, unless no time is
        # left.
        ("10 adjust-45:A", ["10 time_adjusted A", "10 time_warning A", "10 time_warning A"]),
        ("10 adjust-25:A", ["10 time_adjusted A", "10 time_warning A"]),
        ("10 adjust-50:A", ["10 time_adjusted A", "10 expired A"]),
        (
            "10 pause; 20 adjust-45:A; 30 resume",
            ["10 paused A", "20 time_adjusted A", "30 resumed A", "30 time_warning A", "30 time_warning A"],
        ),
    ],
)
def test_warning_is_sent_once_for_each_threshold_and_turn(script: str, lines: list[str]) -> None:
    session = play(spec("per_participant", "A B", warnings_ms=(10_000, 30_000, 10_000)), f"0 start; {script}")
    assert session.lines[1:] == lines


def test_warning_has_the_threshold_and_does_not_change_the_clock() -> None:
    session = play(spec("per_participant", "A B", warnings_ms=(10_000,)), "0 start; 50 time")
    event, state = session.transitions[-1].event, session.state
    assert (event.participant_id, event.used_ms, event.remaining_ms) == ("A", 50_000, 10_000)
    assert state.anchor_ms == T0
    assert state.updated_at_ms == T0 + 50_000
    assert session.face == "running *A 60 B 60"
    assert state.used_ms == 0


@pytest.mark.parametrize(
    ("mode", "fields", "script", "lines"),
    [
        ("per_cycle", {}, "65 time; 115 time", ["50 time_warning A", "60 cycle_expired A", "110 time_warning B"]),
        ("per_group", {}, "50 time", ["50 time_warning A"]),
        (
            "global",
            {},
            "40 switch; 55 switch; 56 time",
            ["40 cycle_switched A", "50 time_warning B", "55 cycle_switched B"],
        ),
        ("global", {"on_timeout": "overtime"}, "99 time", ["50 time_warning A", "60 overtime_started A"]),
        ("global", {"on_timeout": "overtime", "edition": 1}, "99 time", ["50 time_warning A"]),
        ("count_up", {}, "50 time", ["50 time_warning A"]),
        ("count_up", {"max_time_ms": None}, "999 time", []),
        # A threshold is compared with the time to zero, not with the remaining time that the clock shows.
        ("per_participant", {"clock": Delay(5_000)}, "56 time", ["55 time_warning A"]),
        ("per_participant", {"clock": Byoyomi(3, 20_000)}, "111 time", ["110 time_warning A"]),
        (
            "per_participant",
            {"clock": PerMove(20_000)},
            "11 switch; 22 time",
            ["10 time_warning A", "11 cycle_switched A", "21 time_warning B"],
        ),
    ],
)
def test_warning_in_each_mode_refers_to_the_running_clock(
    mode: str, fields: dict[str, object], script: str, lines: list[str]
) -> None:
    session = play(spec(mode, "A/x B/y", warnings_ms=(10_000,), **fields), f"0 start; {script}")  # type: ignore[arg-type]
    assert session.lines[1:] == lines


def test_warning_is_sent_again_after_a_soft_close_extends_the_budget() -> None:
    creation = spec("global", "A B", warnings_ms=(5_000,), extend_on_switch_ms=10_000)
    session = play(creation, "0 start; 57 switch; 99 time")
    assert session.lines[1:] == ["55 time_warning A", "57 cycle_switched A", "62 time_warning B", "67 expired B"]


@pytest.mark.parametrize("mode", ["per_participant", "per_cycle", "per_group", "global", "count_up"])
def test_overtime_begins_at_zero_between_the_warnings_above_and_below_it(mode: str) -> None:
    creation = spec(mode, "A/x B/y", "overtime", warnings_ms=(-120_000, 0, 10_000))
    session = play(creation, "0 start; 61 pause; 161 resume; 500 time")
    assert session.lines[1:] == [
        *("50 time_warning A", "60 time_warning A", "60 overtime_started A"),
        *("61 paused A", "161 resumed A", "280 time_warning A"),
    ]
    assert session.transitions[-1].event.remaining_ms == -120_000
    assert deadline_at_ms(session.state) is None


def test_a_running_clock_in_overtime_has_no_deadline_from_zero_on() -> None:
    before = play(spec("global", "A", "overtime"), "0 start; 59 time")
    assert deadline_at_ms(before.state) == T0 + 60_000
    after = play(spec("global", "A", "overtime"), "0 start; 60 time")
    assert (after.lines[-1], after.state.anchor_ms) == ("60 overtime_started A", T0)
    assert deadline_at_ms(after.state) is None
    assert after.transitions[-1].event.remaining_ms == 0


def test_a_turn_that_begins_in_debt_passes_only_thresholds_below_it() -> None:
    creation = spec("per_participant", "A B", "overtime", warnings_ms=(0, -15_000, -20_000))
    session = play(creation, "0 start; 75 switch; 80 switch; 99 time")
    assert session.lines[1:] == [
        *("60 time_warning A", "60 overtime_started A", "75 time_warning A", "75 cycle_switched A"),
        *("80 cycle_switched B", "85 time_warning A"),
    ]


@pytest.mark.parametrize("mode", ["per_participant", "per_group"])
@pytest.mark.parametrize("system", [Delay(10_000), Stages((Stage(delay_ms=10_000),))], ids=["delay", "stages"])
def test_free_time_delays_warnings_of_a_turn_that_begins_in_debt(mode: str, system: ClockSystem) -> None:
    creation = spec(mode, "A/x B/y", "overtime", clock=system, warnings_ms=(-5_000, -20_000))
    # A uses 75 s of its 70 s. In its next turn the reading is -5 s until 10 s of free time have passed.
    session = play(creation, "0 start; 75 switch; 80 switch; 104.9 time")
    assert session.lines[1:] == [
        "70 overtime_started A",
        "75 time_warning A",
        "75 cycle_switched A",
        "80 cycle_switched B",
    ]
    session.do(T0 + 105_000, Expire())
    assert session.lines[-1] == "105 time_warning A"
    session = play(creation, "0 start; 75 switch; 80 switch; 84 pause; 90 resume; 110.9 time; 111 time")
    assert session.lines[-1] == "111 time_warning A"


def test_a_subtraction_below_a_threshold_warns_at_once_despite_free_time() -> None:
    creation = spec("per_participant", "A B", "overtime", clock=Delay(10_000), warnings_ms=(-5_000, -20_000))
    for seconds in (30, 19):  # beyond the threshold, and exactly to it
        session = play(creation, f"0 start; 71 switch; 80 switch; 81 adjust-{seconds}:A; 81.5 time")
        assert session.lines[-1] == "81 time_warning A"
        assert session.remaining("A") == -1 - seconds


def test_a_replayed_warning_of_an_earlier_release_came_as_if_there_was_no_free_time() -> None:
    creation = spec("per_participant", "A B", "overtime", clock=Delay(10_000), warnings_ms=(-20_000,))
    state = play(creation, "0 start; 75 switch; 80 switch").state
    early = make_warning_without_free_time(state, T0 + 95_000)
    assert early is not None
    assert (early.event.type, early.event.remaining_ms, early.state.turn.warned_ms) == (
        "time_warning",
        -20_000,
        (-20_000,),
    )
    assert make_warning_without_free_time(state, T0 + 95_001) is None


def test_earlier_releases_warned_early_only_in_the_overtime_of_a_running_turn() -> None:
    creation = spec("per_participant", "A B", "overtime", warnings_ms=(20_000, -20_000))
    for script in ("0 start", "0 start; 61 pause"):
        state = play(creation, script).state
        assert [make_warning_without_free_time(state, T0 + 1_000 * each) for each in (40, 61, 80)] == [None] * 3
