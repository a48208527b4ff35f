"""The turn number, and commands that name the turn they are meant for."""

import pytest

from synckairos.clock.commands import Command, Complete, Pause, Start, Switch, UpdateMetadata, VersionPrecondition
from synckairos.clock.engine import CommandDecision
from synckairos.clock.timing import number_of_turn
from tests.unit.clock.script import T0, Played, play, spec


def press(session: Played, at_s: float, turn: int, command: Command | None = None) -> CommandDecision:
    return session.do(T0 + round(at_s * 1000), command or Switch(), VersionPrecondition(turn=turn))


@pytest.mark.parametrize(
    ("mode", "on_timeout", "script", "numbers"),
    [
        ("per_participant", None, "0 start; 1 switch; 2 pause; 3 resume; 4 switch; 5 adjust+5", [0, 1, 2, 2, 2, 3, 3]),
        ("per_participant", "advance", "0 start; 60 time; 61 leave:B; 62 complete", [0, 1, 2, 3, 3]),
        ("per_cycle", None, '0 start; 125 time; 126 merge:{"a":1}', [0, 1, 2, 3, 3]),
        ("global", None, "0 join:D; 0 start; 10 switch; 20 leave:A; 60 time", [0, 0, 1, 2, 2, 2]),
    ],
)
def test_turn_number_grows_by_one_with_each_turn(
    mode: str, on_timeout: str | None, script: str, numbers: list[int]
) -> None:
    session = play(spec(mode, on_timeout=on_timeout), script)
    assert [0, *(each.state.turn_number for each in session.transitions)] == numbers


def test_switch_for_a_turn_that_ended_by_time_is_refused_and_ends_no_other_turn() -> None:
    session = play(spec("per_cycle", "A"), "0 start")
    refusal = press(session, 60.005, turn=1).refusal
    assert refusal is not None
    assert (refusal.code, refusal.details) == ("TURN_OVER", {"expected_turn": 1, "turn_number": 2})
    assert session.lines == ["0 started A", "60 cycle_expired A", "60.005 !TURN_OVER"]
    assert press(session, 60.006, turn=2).refusal is None
    assert session.state.turn_number == 3


def test_switch_for_the_turn_that_just_began_is_not_consumed_by_the_expiry_before_it() -> None:
    session = play(spec("per_cycle", "A B"), "0 start")
    decision = press(session, 61, turn=2)
    assert decision.expired_participant_id is None
    assert session.lines[1:] == ["60 cycle_expired A", "61 cycle_switched B"]


def test_switch_for_the_turn_in_which_the_session_ended_is_consumed() -> None:
    session = play(spec("per_participant", "A B"), "0 start")
    assert press(session, 61, turn=1).expired_participant_id == "A"
    assert press(session, 99, turn=1).expired_participant_id == "A"
    refusal = press(session, 99, turn=2).refusal
    assert refusal is not None
    assert refusal.code == "INVALID_STATE_TRANSITION"


@pytest.mark.parametrize("command", [Pause(), Complete(), UpdateMetadata({"a": 1}), Switch(current_participant_id="Z")])
def test_each_command_can_name_its_turn(command: Command) -> None:
    session = play(spec("per_participant"), "0 start; 1 switch")
    refusal = press(session, 2, turn=1, command=command).refusal
    assert refusal is not None
    assert refusal.code == "TURN_OVER"
    version = session.state.version
    assert press(session, 2, turn=2, command=command).refusal is None or isinstance(command, Switch)
    assert session.state.version == version + (not isinstance(command, Switch))


def test_start_expects_turn_zero_and_the_version_is_checked_first() -> None:
    session = play(spec("per_participant"), "")
    assert session.do(T0, Start(), VersionPrecondition(version=9, turn=9)).refusal is not None
    assert session.lines[-1] == "0 !CONFLICT"
    assert press(session, 0, turn=1, command=Start()).refusal is not None
    assert press(session, 0, turn=0, command=Start()).refusal is None


def test_session_of_the_first_edition_counts_ended_turns() -> None:
    session = play(spec("per_cycle", "A", edition=1), "0 start; 61 time")
    assert session.state.turn_number is None
    assert number_of_turn(session.state) == 2
    assert press(session, 62, turn=1).refusal is not None
    assert press(session, 62, turn=2).refusal is None
