"""The command `adjust`: time added to budgets or subtracted from them, in each mode."""

from typing import Any

import pytest

from synckairos.clock.budget import ClockReadingDetails
from synckairos.clock.clock_systems import ClockSystem, Delay, SuddenDeath
from synckairos.clock.commands import Adjust, NewParticipant
from synckairos.clock.overtime_period_systems import Byoyomi, Canadian
from synckairos.frozen_replace import replace
from tests.unit.clock.script import T0, play, spec

GROUPS = "A/x B/y C/x"


@pytest.mark.parametrize(
    ("mode", "script", "lines", "face"),
    [
        ("per_participant", "10 adjust+5", ["10 time_adjusted"], "running *A 55 B 65 C 65"),
        ("per_participant", "10 adjust+5:A", ["10 time_adjusted A"], "running *A 55 B 60 C 60"),
        ("per_participant", "10 adjust-5:B,C", ["10 time_adjusted"], "running *A 50 B 55 C 55"),
        ("per_participant", "10 adjust+5:/x", ["10 time_adjusted /x"], "running *A 55 B 60 C 65"),
        ("per_participant", "10 adjust+5:B,Z", ["10 !PARTICIPANT_NOT_FOUND"], "running *A 60 B 60 C 60"),
        ("per_participant", "10 adjust+5:/q", ["10 !VALIDATION_ERROR"], "running *A 60 B 60 C 60"),
        ("per_participant", "10 adjust-50:A", ["10 time_adjusted A", "10 expired A"], "expired A 0x B 60 C 60"),
        ("per_participant", "10 adjust-99:B", ["10 time_adjusted B"], "running *A 50 B 0 C 60"),
        ("per_participant", "10 adjust-49:A", ["10 time_adjusted A"], "running *A 1 B 60 C 60"),
        ("per_participant", "10 pause; 20 adjust+5:A", ["10 paused A", "20 time_adjusted A"], "paused *A 55 B 60 C 60"),
        ("per_cycle", "10 adjust+5", ["10 time_adjusted"], "running *A 55"),
        ("per_cycle", "10 adjust+5; 11 switch", ["10 time_adjusted", "11 cycle_switched A"], "running *B 60"),
        ("per_cycle", "10 adjust-99", ["10 time_adjusted", "10 cycle_expired A"], "running *B 60"),
        ("per_cycle", "10 adjust+5:A", ["10 !VALIDATION_ERROR"], "running *A 60"),
        ("per_group", "10 adjust+5", ["10 time_adjusted"], "running *x 55 y 65"),
        ("per_group", "10 adjust+5:/y", ["10 time_adjusted /y"], "running *x 50 y 65"),
        ("per_group", "10 adjust-50:/x", ["10 time_adjusted /x", "10 expired A"], "expired x 0x y 60"),
        ("per_group", "10 adjust+5:A", ["10 !VALIDATION_ERROR"], "running *x 60 y 60"),
        ("per_group", "10 adjust+5:/q", ["10 !VALIDATION_ERROR"], "running *x 60 y 60"),
        ("global", "10 adjust+5", ["10 time_adjusted"], "running *A 55"),
        ("global", "10 adjust-50", ["10 time_adjusted", "10 expired A"], "expired *- 0"),
        ("global", "10 adjust+5:/x", ["10 !VALIDATION_ERROR"], "running *A 60"),
        ("count_up", "10 adjust+5", ["10 time_adjusted"], "running *A 55"),
        ("count_up", "10 adjust+5:A", ["10 !VALIDATION_ERROR"], "running *A 60"),
    ],
)
def test_adjust_in_each_mode_changes_the_named_budgets(mode: str, script: str, lines: list[str], face: str) -> None:
    session = play(spec(mode, GROUPS), f"0 start; {script}")
    assert session.lines[1:] == lines
    assert session.face == face


def test_adjust_of_all_budgets_makes_one_version() -> None:
    people = tuple(NewParticipant(f"{n}", total_time_ms=60_000) for n in range(1_000))
    creation = spec("per_participant", "A")
    session = play(replace(creation, participants=people), "0 start; 1 adjust+300")
    assert session.state.version == 3
    assert {p.remaining_ms for p in session.state.participants} == {360_000, 359_000}


@pytest.mark.parametrize(
    ("mode", "script"),
    [
        ("per_participant", "10 adjust-99:B; 11 adjust-1:B"),
        ("per_group", "10 adjust-99:/y; 11 adjust-1:/y"),
    ],
)
def test_adjust_that_changes_no_budget_makes_no_version(mode: str, script: str) -> None:
    session = play(spec(mode, GROUPS), f"0 start; {script}")
    assert session.state.version == 2 + script.count(";")
    assert not any("!" in line for line in session.lines)
    state = session.state
    decision = session.do(T0 + 12_000, Adjust(5_000, ("B",) if mode == "per_participant" else None, "x"))
    assert decision.refusal is None
    assert (session.state is state) == (mode == "per_participant"), "B is not in x"


def test_adjust_of_a_session_without_a_limit_is_refused() -> None:
    session = play(spec("count_up", max_time_ms=None), "0 start; 1 adjust+5")
    assert session.lines[-1] == "1 !VALIDATION_ERROR"


def test_adjust_charges_the_elapsed_time_and_moves_the_anchor() -> None:
    state = play(spec("per_participant"), "0 start; 10 adjust+5:B").state
    assert state.anchor_ms == T0 + 10_000
    assert state.participants[0].used_ms == state.turn.used_ms == state.used_ms == 10_000


def test_adjust_of_the_first_edition_in_overtime_changes_the_debt_by_added_time_only() -> None:
    creation = spec("per_participant", "A B", "overtime", edition=1)
    assert play(creation, "0 start; 70 adjust+4:A").face == "running *A -6 B 60"
    assert play(creation, "0 start; 70 adjust-4:A; 70 pause").face == "paused *A -10 B 60"
    assert play(creation, "0 start; 70 adjust+15:A").face == "running *A 5 B 60"
    assert play(spec("global", "A", "overtime", edition=1), "0 start; 70 adjust+4").face == "running *A -6"


@pytest.mark.parametrize(
    ("mode", "people", "fields", "face"),
    [
        ("per_participant", "A B", {}, "running *A -14 B 60"),
        ("per_group", "A/x B/y", {}, "running *x -14 y 60"),
        ("global", "A", {}, "running *A -14"),
        ("per_participant", "A B=0", {"clock": Byoyomi(1, 5_000)}, "running *A -9 B 5"),
        ("per_participant", "A B=0", {"clock": Canadian(2, 5_000)}, "running *A -9 B 5"),
    ],
)
def test_adjust_in_overtime_takes_a_reading_below_zero_and_gives_it_back(
    mode: str, people: str, fields: dict[str, Any], face: str
) -> None:
    target = {"per_participant": ":A", "per_group": ":/x", "global": ""}[mode]
    taken = play(spec(mode, people, "overtime", **fields), f"0 start; 70 adjust-4{target}; 70 pause; 70 resume")
    assert taken.face == face
    back = play(spec(mode, people, "overtime", **fields), f"0 start; 70 adjust-4{target}; 70 adjust+4{target}")
    untouched = play(spec(mode, people, "overtime", **fields), "0 start; 70 pause; 70 resume")
    assert back.face == untouched.face


def test_adjust_from_above_zero_to_below_zero_begins_overtime_at_once() -> None:
    creation = spec("per_participant", "A B", "overtime", warnings_ms=(9_000, 0, -2_000, -8_000))
    session = play(creation, "0 start; 50 adjust-15:A; 52 time; 60 adjust+20:A; 99 time")
    assert session.lines == [
        *("0 started A", "50 time_adjusted A", "50 time_warning A", "50 time_warning A", "50 overtime_started A"),
        *("50 time_warning A", "53 time_warning A", "60 time_adjusted A", "65 time_warning A", "65 overtime_started A"),
        *("67 time_warning A", "73 time_warning A"),
    ]


@pytest.mark.parametrize(
    ("mode", "target"), [("per_participant", ":A"), ("per_group", ":/x"), ("global", ""), ("per_cycle", "")]
)
def test_adjust_ends_overtime_only_above_zero(mode: str, target: str) -> None:
    for added_s, more in ((10, []), (10.001, ["70.001 overtime_started A"])):
        session = play(spec(mode, GROUPS, "overtime"), f"0 start; 70 adjust+{added_s}{target}; 80 time")
        assert session.lines[1] == "60 overtime_started A"
        assert session.lines[3:] == more


def test_warning_at_the_reading_after_an_adjust_does_not_wait_for_free_time() -> None:
    creation = spec("per_participant", "A B", "overtime", clock=Delay(10_000), warnings_ms=(-5_000,))
    for taken_s, warned_s in ((2, 75), (1.999, 84.001)):
        session = play(creation, f"0 start; 73 switch; 74 switch; 75 adjust-{taken_s}:A; 90 time")
        assert session.lines[-2:] == ["75 time_adjusted A", f"{warned_s} time_warning A"]


def test_adjust_keeps_main_time_and_a_period_that_another_period_follows_at_zero() -> None:
    creation = spec("per_participant", "A", "overtime", clock=Byoyomi(3, 5_000))
    assert play(creation, "0 start; 50 adjust-15:A").face == "running *A 0"
    assert play(creation, "0 start; 62 adjust-15:A").face == "running *A 0"
    assert play(creation, "0 start; 67 adjust-15:A").face == "running *A 0"
    assert play(creation, "0 start; 72 adjust-15:A").face == "running *A -12"
    at_zero = play(creation, "0 start; 50 adjust-15:A; 50 pause").state.participants[0]
    assert (at_zero.remaining_ms, at_zero.reading) == (0, ClockReadingDetails(phase="main", periods_left=3))


def test_added_time_returns_an_expired_owner_to_the_rotation() -> None:
    session = play(
        spec("per_participant", on_timeout="advance"), "0 start; 60 time; 61 adjust+9:A; 62 switch; 63 switch"
    )
    assert session.face == "running *A 9 B 58 C 59"
    groups = play(spec("per_group", GROUPS, "advance"), "0 start; 60 time; 61 adjust+9:/x; 62 switch")
    assert groups.face == "running *x 9 y 58"


def test_subtracted_time_returns_no_owner_to_the_rotation() -> None:
    session = play(
        spec("per_participant", on_timeout="advance"), "0 start; 60 time; 61 adjust-9:A; 62 switch; 63 switch"
    )
    assert session.face == "running A 0x *B 58 C 59"
    groups = play(spec("per_group", "A/x B/y", "pause"), "0 start; 60 time; 61 adjust-9:/x; 62 switch; 63 switch>A")
    assert groups.lines[-1] == "63 !PARTICIPANT_EXPIRED"


def test_adjust_of_a_pending_session_changes_its_first_turn() -> None:
    session = play(spec("per_cycle"), "0 adjust+5; 1 start; 66 time")
    assert session.lines == ["0 time_adjusted", "1 started A", "66 cycle_expired A"]
    at_zero = play(spec("per_participant"), "0 adjust-60; 1 start")
    assert at_zero.lines == ["0 time_adjusted", "1 started A", "1 expired A"]


def test_added_time_after_the_last_period_makes_one_more_period() -> None:
    session = play(spec("per_participant", "A B", "pause", clock=Byoyomi(2, 10_000)), "0 start; 81 time; 82 adjust+5:A")
    assert session.state.participants[0].reading == ClockReadingDetails(phase="overtime", periods_left=1)
    assert session.remaining("A") == 5


@pytest.mark.parametrize(
    ("system", "budget_ms"),
    [(SuddenDeath(), 5_000), (Byoyomi(1, 5_000), 0), (Canadian(1, 5_000), 0)],
    ids=["sudden death", "byo-yomi", "canadian"],
)
def test_taken_time_stops_at_zero_by_default(system: ClockSystem, budget_ms: int) -> None:
    assert system.add_time(system.make_initial_budget(budget_ms), -20_000).remaining_ms == 0
