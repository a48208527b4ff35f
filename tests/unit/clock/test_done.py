"""The command `done`, and turns that end when all participants are done."""

import pytest

from synckairos.clock import engine
from synckairos.clock.commands import Done
from synckairos.clock.first_edition_compatibility import as_first_edition, check_first_edition
from synckairos.clock.model import Status
from synckairos.clock.timing import are_all_done
from synckairos.errors import ValidationFailed
from tests.unit.clock.script import T0, play, spec


@pytest.mark.parametrize(
    ("mode", "on_timeout", "script", "lines", "face"),
    [
        ("per_cycle", None, "5 done:B; 9 done:A", ["5 participant_done B", "9 participant_done A"], "running *B 60"),
        ("per_cycle", None, "5 done:B; 6 done:B", ["5 participant_done B"], "running *A 60"),
        ("per_cycle", None, "5 done:B; 9 leave:A", ["5 participant_done B", "9 participant_removed A"], None),
        ("per_participant", None, "5 done:B; 9 done:A", None, "running A 51 *B 60"),
        ("per_group", None, "5 done:B; 9 done:A", None, "running x 51 *y 60"),
        ("global", None, "5 done:B; 9 done:A", None, "running *B 51"),
        ("count_up", None, "5 done:A; 9 done:B", None, "running *B 51"),
    ],
)
def test_last_done_participant_ends_the_turn_in_a_version_of_its_own(
    mode: str, on_timeout: str | None, script: str, lines: list[str] | None, face: str | None
) -> None:
    session = play(spec(mode, "A/x B/y", on_timeout, closes_when_all_done=True), f"0 start; {script}")
    if lines is not None:
        assert [line for line in session.lines[1:] if "cycle_switched" not in line] == lines
    assert face in (None, session.face)
    if face is not None and face.startswith("running") and "*B" in face:
        done, ended = session.transitions[-2:]
        assert (done.event.type, ended.event.type) == ("participant_done", "cycle_switched")
        assert done.event.at_ms == ended.event.at_ms == T0 + 9_000
        assert (ended.state.version, ended.state.turn_number) == (done.state.version + 1, 2)


def test_done_without_the_rule_only_marks() -> None:
    session = play(spec("per_cycle", "A B"), "0 start; 5 done:A; 9 done:B; 10 switch")
    assert session.lines[1:] == ["5 participant_done A", "9 participant_done B", "10 cycle_switched A"]
    assert [p.done_turn for p in session.state.participants] == [1, 1]
    assert session.used == "A 10 B 0"


def test_mark_holds_for_one_turn() -> None:
    session = play(
        spec("per_cycle", "A B", closes_when_all_done=True), "0 start; 1 done:A; 2 switch; 3 done:B; 4 done:A"
    )
    assert session.lines[1:] == [
        "1 participant_done A",
        "2 cycle_switched A",
        "3 participant_done B",
        "4 participant_done A",
        "4 cycle_switched B",
    ]
    assert [p.done_turn for p in session.state.participants] == [2, 2]


def test_last_cycle_completes_and_a_hold_follows_other_cycles() -> None:
    creation = spec("per_cycle", "A", closes_when_all_done=True, holds_between_turns=True, max_cycles=2)
    session = play(creation, "0 start; 1 done:A; 2 resume; 3 done:A")
    assert session.lines[1:] == [
        "1 participant_done A",
        "1 cycle_switched A",
        "2 resumed A",
        "3 participant_done A",
        "3 completed A",
    ]
    assert session.transitions[2].state.status is Status.PAUSED


def test_participant_without_time_and_participant_that_left_do_not_count() -> None:
    creation = spec("per_participant", "A B C D", "advance", closes_when_all_done=True)
    session = play(creation, "0 start; 60 time; 61 leave:D; 62 done:C; 63 done:B")
    assert session.lines[-2:] == ["63 participant_done B", "63 cycle_switched B"]
    left = play(spec("per_cycle", "A B C", closes_when_all_done=True), "0 start; 1 done:A; 2 done:B; 3 leave:C")
    assert left.lines[-2:] == ["3 participant_removed C", "3 cycle_switched A"]


def test_turn_of_a_paused_session_ends_at_the_resume() -> None:
    creation = spec("per_cycle", "A B", closes_when_all_done=True)
    session = play(creation, "0 start; 1 done:A; 2 pause; 3 leave:B; 9 resume")
    assert session.lines[-2:] == ["9 resumed A", "9 cycle_switched A"]


def test_reopened_turn_has_no_done_participants() -> None:
    creation = spec("per_cycle", "A B", closes_when_all_done=True, max_cycles=1)
    session = play(creation, "0 start; 1 done:A; 2 done:B; 9 reopen; 10 resume; 11 done:A")
    assert session.lines[-3:] == ["9 reopened A", "10 resumed A", "11 participant_done A"]
    assert session.state.status is Status.RUNNING


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ("5 done:A", "INVALID_STATE_TRANSITION"),
        ("0 start; 1 pause; 5 done:A", "INVALID_STATE_TRANSITION"),
        ("0 start; 1 switch!; 5 done:A", "INVALID_STATE_TRANSITION"),
        ("0 start; 1 complete; 5 done:A", "INVALID_STATE_TRANSITION"),
        ("0 start; 5 done:Z", "PARTICIPANT_NOT_FOUND"),
    ],
)
def test_done_that_is_not_possible_is_refused(script: str, code: str) -> None:
    assert play(spec("per_cycle", "A B"), script).lines[-1] == f"5 !{code}"


def test_session_without_participants_never_counts_as_done() -> None:
    state = play(spec("global", "", closes_when_all_done=True), "0 start; 5 time").state
    assert not are_all_done(state)
    assert state.turn_number == 1


def test_first_edition_has_no_done_participants() -> None:
    old = play(spec("per_cycle", "A B", edition=1), "0 start").state
    assert isinstance(engine.apply(old, Done("A"), T0 + 1).refusal, ValidationFailed)
    with pytest.raises(ValidationFailed):
        check_first_edition(spec("per_cycle", "A B", closes_when_all_done=True))
    new = play(spec("per_cycle", "A B", closes_when_all_done=True), "0 start; 1 done:A").state
    earlier = as_first_edition(new)
    assert [p.done_turn for p in earlier.participants] == [None, None]
    assert not earlier.rules.closes_when_all_done
