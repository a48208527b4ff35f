"""Holds between two turns, switches during a pause, and limits of a soft close."""

from typing import Any

import pytest

from synckairos.clock.active_pause import ActivePause
from synckairos.clock.begin_turn import is_held
from synckairos.clock.clock_systems import Fischer
from synckairos.clock.commands import Pause, Switch, VersionPrecondition
from synckairos.clock.model import ExtendBy, Extensions
from synckairos.clock.overtime_period_systems import Byoyomi
from synckairos.errors import ValidationFailed
from tests.unit.clock.script import T0, play, spec

# -- hold -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "on_timeout", "script", "lines", "face"),
    [
        ("per_participant", None, "10 switch", ["10 cycle_switched A"], "paused A 50 *B 60 C 60"),
        ("per_participant", None, "10 switch; 99 resume; 104 time", ["10 cycle_switched A", "99 resumed B"], None),
        ("per_participant", "advance", "60 time", ["60 participant_expired A"], "paused A 0x *B 60 C 60"),
        ("per_cycle", None, "75 time", ["60 cycle_expired A"], "paused *B 60"),
        ("per_cycle", None, "75 switch", ["60 cycle_expired A", "75 consumed by A"], "paused *B 60"),
        ("per_group", None, "10 switch; 20 resume", ["10 cycle_switched A", "20 resumed B"], "running x 50 *y 60"),
        ("global", None, "10 switch; 20 resume", ["10 cycle_switched A", "20 resumed B"], "running *B 50"),
        ("per_participant", "pause", "60 time; 61 switch", ["60 paused A", "61 cycle_switched A"], None),
    ],
)
def test_turn_ends_with_a_hold(
    mode: str, on_timeout: str | None, script: str, lines: list[str], face: str | None
) -> None:
    session = play(spec(mode, "A/x B/y C/x", on_timeout, holds_between_turns=True), f"0 start; {script}")
    assert session.lines[1:] == lines
    assert face in (None, session.face)


def test_turn_number_grows_when_a_resume_ends_the_hold() -> None:
    session = play(spec("per_cycle", "A B"), "0 start; 10 switch!; 20 pause:tea; 30 resume:hold; 40 resume; 41 switch")
    assert [each.state.turn_number for each in session.transitions] == [1, 1, 1, 2, 2, 3]
    assert [is_held(each.state) for each in session.transitions] == [False, True, True, False, False, False]
    assert session.transitions[1].state.pauses == (ActivePause("hold", T0 + 10_000),)
    assert session.state.used_ms == 11_000


def test_warnings_of_the_next_turn_follow_the_budget_at_its_begin() -> None:
    creation = spec("per_participant", "A B", warnings_ms=(55_000, 30_000), holds_between_turns=True)
    session = play(creation, "0 start; 1 switch; 2 adjust-10:B; 10 resume; 31 time")
    assert session.lines[3:] == ["10 resumed B", "30 time_warning B"]


@pytest.mark.parametrize(
    ("script", "lines", "face"),
    [
        ("20 switch", ["20 !INVALID_STATE_TRANSITION"], "paused A 50 *B 60 C 60"),
        ("20 switch!", ["20 !INVALID_STATE_TRANSITION"], "paused A 50 *B 60 C 60"),
        ("20 switch>C; 30 resume", ["20 cycle_switched C", "30 resumed C"], "running A 50 B 60 *C 60"),
        ("20 switch>B", [], "paused A 50 *B 60 C 60"),
        ("20 switch>C@A", ["20 !NOT_ACTIVE_PARTICIPANT"], "paused A 50 *B 60 C 60"),
        ("20 switch>Z", ["20 !PARTICIPANT_NOT_FOUND"], "paused A 50 *B 60 C 60"),
        ("20 leave:B", ["20 participant_removed B"], "paused A 50 *C 60"),
        ("20 adjust+5:B; 21 resume", ["20 time_adjusted B", "21 resumed B"], "running A 50 *B 65 C 60"),
        ("20 complete", ["20 completed B"], "completed A 50 B 60 C 60"),
    ],
)
def test_command_in_a_hold(script: str, lines: list[str], face: str) -> None:
    session = play(spec("per_participant"), f"0 start; 10 switch!; {script}")
    assert session.lines[2:] == lines
    assert session.face == face
    assert sum(each.cycle_count for each in session.state.participants) == 1


def test_last_cycle_ends_without_a_hold() -> None:
    creation = spec("per_cycle", "A", max_cycles=1, holds_between_turns=True)
    assert play(creation, "0 start; 5 switch").lines[1:] == ["5 completed A"]
    assert play(creation, "0 start; 65 time").lines[1:] == ["60 expired A"]


def test_hold_in_a_session_of_the_first_edition_is_refused() -> None:
    refusal = play(spec("global", "A", edition=1), "0 start; 5 switch!").decision.refusal
    assert isinstance(refusal, ValidationFailed)
    assert refusal.details[0]["path"] == "hold"


def test_pause_of_a_caller_for_the_reason_hold_in_an_early_session_is_an_ordinary_pause() -> None:
    session = play(spec("per_participant", edition=1), "0 start")
    session.do(T0 + 1_000, Pause("hold", actor="anonymous"))
    session.do(T0 + 2_000, Switch())
    assert session.lines[2:] == ["2 !INVALID_STATE_TRANSITION"]


# -- a switch during a pause ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "script", "face"),
    [
        ({}, "10 pause; 40 switch", "paused A 50 *B 60"),
        ({}, "10 pause; 40 switch; 50 resume; 55 pause", "paused A 50 *B 55"),
        ({"clock": Fischer(3_000)}, "10 pause; 40 switch", "paused A 53 *B 60"),
        ({"clock": Byoyomi(2, 9_000)}, "62 pause; 70 switch", "paused A 9 *B 60"),
        ({"holds_between_turns": True}, "10 pause; 40 switch; 50 resume:manual", "paused A 50 *B 60"),
    ],
)
def test_switch_during_a_pause_counts_the_turn_and_charges_nothing(
    fields: dict[str, Any], script: str, face: str
) -> None:
    session = play(spec("per_participant", "A B", switch_while_paused=True, **fields), f"0 start; {script}")
    assert session.face == face
    assert session.state.participants[0].cycle_count == 1


def test_switch_during_a_pause_is_refused_without_the_setting_and_in_a_hold() -> None:
    assert play(spec("per_participant"), "0 start; 1 pause; 2 switch").lines[-1] == "2 !INVALID_STATE_TRANSITION"
    allowed = spec("per_participant", switch_while_paused=True, holds_between_turns=True)
    assert play(allowed, "0 start; 1 switch; 2 switch").lines[-1] == "2 !INVALID_STATE_TRANSITION"


def test_turn_guard_of_a_switch_during_a_pause_refuses_its_repetition() -> None:
    session = play(spec("per_participant", switch_while_paused=True), "0 start; 1 pause")
    assert session.do(T0 + 2_000, Switch(), VersionPrecondition(turn=1)).refusal is None
    assert session.do(T0 + 2_000, Switch(), VersionPrecondition(turn=1)).refusal is not None


# -- soft close -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "script", "left", "extensions"),
    [
        ({}, "40 switch; 55 switch", 10, Extensions(1, 5_000)),
        ({"extend_window_ms": 3_000}, "55 switch", 5, Extensions()),
        ({"extend_window_ms": 3_000}, "57 switch", 10, Extensions(1, 7_000)),
        ({"extend_window_ms": 30_000}, "35 switch", 25, Extensions()),
        ({"extend_by": ExtendBy.ADD}, "50 switch", 20, Extensions(1, 10_000)),
        ({"extend_by": ExtendBy.ADD}, "49 switch", 11, Extensions()),
        ({"extend_by": ExtendBy.ADD, "extend_window_ms": 30_000}, "30 switch; 31 switch", 39, Extensions(1, 10_000)),
        ({"max_extension_ms": 12_000}, "55 switch; 60 switch; 64 switch", 8, Extensions(3, 12_000)),
        ({"max_extension_ms": 12_000}, "55 switch; 60 switch; 64 switch; 70 switch", 2, Extensions(3, 12_000)),
        ({"max_extensions": 1}, "55 switch; 60 switch", 5, Extensions(1, 5_000)),
        ({"extend_by": ExtendBy.RESET, "edition": 1}, "55 switch", 10, None),
    ],
)
@pytest.mark.parametrize("mode", ["global", "count_up"])
def test_switch_extends_the_time_within_its_limits(
    mode: str, fields: dict[str, Any], script: str, left: float, extensions: Extensions | None
) -> None:
    session = play(spec(mode, "A B", extend_on_switch_ms=10_000, **fields), f"0 start; {script}")
    assert session.state.remaining_ms == left * 1000
    assert session.state.extensions == extensions


def test_switch_at_zero_extends_nothing() -> None:
    session = play(spec("global", "A B", "overtime", extend_on_switch_ms=10_000), "0 start; 60 switch; 61 switch")
    assert (session.state.remaining_ms, session.state.extensions) == (-1_000, Extensions())
