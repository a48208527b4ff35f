"""Participants that join or leave: the rotation, the budgets and the turn afterwards."""

import pytest

from synckairos.clock.budget import ClockReadingDetails
from synckairos.clock.clock_systems import ClockSystem, Hourglass, PerMove
from synckairos.clock.commands import AddParticipant, Create, NewParticipant
from synckairos.clock.overtime_period_systems import Byoyomi
from synckairos.frozen_replace import replace
from tests.unit.clock.script import T0, play, spec

GROUPS = "A/x B/y C/x"


@pytest.mark.parametrize(
    ("mode", "script", "lines", "face"),
    [
        ("per_participant", "10 join:D", ["10 participant_added D"], "running *A 60 B 60 C 60 D 60"),
        ("per_participant", "10 join:A", ["10 !PARTICIPANT_EXISTS"], "running *A 60 B 60 C 60"),
        ("per_participant", "10 join:D#1", ["10 !VALIDATION_ERROR"], "running *A 60 B 60 C 60"),
        ("per_participant", "10 leave:Z", ["10 !PARTICIPANT_NOT_FOUND"], "running *A 60 B 60 C 60"),
        ("per_participant", "10 leave:A", ["10 participant_removed A"], "running *B 60 C 60"),
        ("per_participant", "10 leave:B", ["10 participant_removed B"], "running *A 60 C 60"),
        (
            "per_participant",
            "10 switch; 15 leave:A; 20 switch",
            ["10 cycle_switched A", "15 participant_removed A", "20 cycle_switched B"],
            "running B 50 *C 60",
        ),
        (
            "per_participant",
            "10 switch; 11 switch; 15 leave:C",
            ["10 cycle_switched A", "11 cycle_switched B", "15 participant_removed C"],
            "running *A 50 B 59",
        ),
        (
            "per_participant",
            "10 pause; 20 leave:A; 30 resume; 31 switch",
            ["10 paused A", "20 participant_removed A", "30 resumed B", "31 cycle_switched B"],
            "running B 59 *C 60",
        ),
        ("per_cycle", "10 leave:A", ["10 participant_removed A"], "running *B 60"),
        ("per_cycle", "10 leave:B", ["10 participant_removed B"], "running *A 60"),
        ("per_group", "10 leave:A", ["10 participant_removed A"], "running x 50 *y 60"),
        ("per_group", "10 join:D/x", ["10 participant_added D"], "running *x 60 y 60"),
        ("per_group", "10 join:D/z", ["10 participant_added D"], "running *x 60 y 60 z 60"),
        ("per_group", "10 join:D", ["10 !VALIDATION_ERROR"], "running *x 60 y 60"),
        ("global", "10 leave:A", ["10 participant_removed A"], "running *B 50"),
        ("global", "10 leave:B", ["10 participant_removed B"], "running *A 60"),
        ("count_up", "10 leave:A", ["10 participant_removed A"], "running *B 50"),
    ],
)
def test_join_and_leave_in_each_mode_keep_the_rotation(mode: str, script: str, lines: list[str], face: str) -> None:
    session = play(spec(mode, GROUPS if mode == "per_group" else "A B C"), f"0 start; {script}")
    assert session.lines[1:] == lines
    assert session.face == face


@pytest.mark.parametrize(("active", "after"), [("A", "ABDC"), ("B", "BDCA"), ("C", "CABD")])
def test_rotation_after_a_join_follows_the_index_order(active: str, after: str) -> None:
    creation = spec("per_participant", active_participant_id=active)
    spread = tuple(replace(p, index=10 * at) for at, p in enumerate(creation.participants))
    session = play(
        replace(creation, participants=spread), "0 start; 1 join:D#15; 2 switch; 3 switch; 4 switch; 5 switch"
    )
    ended = [t.event.participant_id for t in session.transitions if t.event.type == "cycle_switched"]
    assert "".join(map(str, ended)) == after
    assert [p.index for p in session.state.participants] == [0, 10, 15, 20]


def test_participant_that_joins_without_an_index_gets_the_index_after_the_last() -> None:
    places = [p.index for p in play(spec("global"), "0 join:D#9; 1 join:E").state.participants]
    assert places == [0, 1, 2, 9, 10]
    assert [p.index for p in play(spec("global", ""), "0 join:D; 1 join:E").state.participants] == [0, 1]


@pytest.mark.parametrize(
    ("creation", "seconds"),
    [
        (spec("global"), 40),
        (spec("global", on_timeout="overtime", total_time_ms=15_000), 0),
        (spec("count_up"), 40),
        (spec("count_up", max_time_ms=None), 0),
        (spec("per_cycle"), 0),
    ],
)
def test_participant_that_joins_without_a_budget_gets_the_remaining_shared_budget(
    creation: Create, seconds: int
) -> None:
    session = play(creation, "0 start; 20 switch")
    session.do(T0 + 25_000, AddParticipant(NewParticipant("D")))
    assert session.remaining("D") == seconds


def test_participant_that_joins_without_a_budget_begins_in_overtime_of_its_clock() -> None:
    session = play(spec("per_participant", clock=Byoyomi(2, 10_000)), "0 start")
    session.do(T0, AddParticipant(NewParticipant("D")))
    joined = session.state.participants[3]
    assert (joined.remaining_ms, joined.reading) == (10_000, ClockReadingDetails(phase="overtime", periods_left=2))
    members = play(spec("per_group", GROUPS), "0 start")
    members.do(T0, AddParticipant(NewParticipant("D", group_id="x")))
    assert (members.remaining("D"), members.remaining("/x")) == (0, 60)


@pytest.mark.parametrize("leaver", ["A", "B", "C", "D"])
@pytest.mark.parametrize("active", ["A", "B", "C", "D"])
def test_leave_passes_the_turn_only_if_the_leaver_is_active(active: str, leaver: str) -> None:
    session = play(spec("per_participant", "A B C D", active_participant_id=active), f"0 start; 1 leave:{leaver}")
    now = session.state.active_participant
    following = {"A": "B", "B": "C", "C": "D", "D": "A"}
    assert now is not None
    assert now.participant_id == (following[active] if leaver == active else active)
    assert session.state.anchor_ms == T0 + (1_000 if leaver == active else 0)


def test_leave_of_the_active_participant_skips_an_expired_participant() -> None:
    session = play(spec("per_participant", "A B C", "advance"), "0 start; 10 switch; 70 time; 75 leave:C")
    assert session.face == "running *A 50 B 0x"


@pytest.mark.parametrize("mode", ["per_participant", "per_cycle", "per_group", "count_up"])
def test_leave_of_the_last_participant_is_refused(mode: str) -> None:
    session = play(spec(mode, "A/x"), "0 start; 1 leave:A")
    assert session.lines[-1] == "1 !INVALID_STATE_TRANSITION"


def test_leave_of_the_last_participant_of_a_global_session_is_accepted() -> None:
    session = play(spec("global", "A"), "0 start; 1 leave:A; 60 time")
    assert session.lines == ["0 started A", "1 participant_removed A", "60 expired"]


def test_leave_of_the_active_participant_expires_a_session_without_time() -> None:
    session = play(spec("per_participant", "A B", "advance"), "0 start; 60 time; 70 leave:B")
    assert session.lines[1:] == ["60 participant_expired A", "70 participant_removed B", "70 expired A"]
    paused = play(spec("per_participant", "A B", "advance"), "0 start; 60 time; 65 pause; 70 leave:B; 80 resume")
    assert paused.lines[3:] == ["70 participant_removed B", "80 resumed A", "80 expired A"]


def test_leave_in_the_pause_at_zero_passes_the_turn() -> None:
    session = play(spec("per_participant", "A B", "pause"), "0 start; 61 time; 65 leave:A; 70 resume; 75 switch")
    assert session.face == "running *B 55"


def test_join_and_leave_before_the_start_keep_the_designated_participant() -> None:
    assert play(spec("per_participant", active_participant_id="B"), "0 leave:B; 1 start").lines[-1] == "1 started A"
    assert play(spec("per_participant", active_participant_id="B"), "0 leave:A; 1 start").lines[-1] == "1 started B"
    assert play(spec("per_participant", active_participant_id="B"), "0 join:D; 1 start").lines[-1] == "1 started B"


def test_budget_of_a_group_remains_after_its_participants_leave() -> None:
    session = play(spec("per_group", "A/x=10 B/y=20 C/x=30", groups=()), "0 start; 5 leave:C; 6 leave:A")
    assert session.face == "running x 34 *y 20"


def test_leave_of_the_active_participant_finishes_the_turn_of_its_group() -> None:
    creation = spec("per_group", "A/x B/y C/x", clock=PerMove(20_000))
    session = play(creation, "0 start; 15 leave:A")
    assert session.face == "running x 20 *y 20"


@pytest.mark.parametrize("text", ["join:D", "leave:A"])
def test_join_and_leave_of_an_hourglass_are_refused(text: str) -> None:
    session = play(spec("per_participant", "A B", clock=Hourglass()), f"0 start; 1 {text}")
    assert session.lines[-1] in ("1 !VALIDATION_ERROR", "1 !INVALID_STATE_TRANSITION")
    assert session.state.version == 2


@pytest.mark.parametrize(("clock", "own"), [(Hourglass(), PerMove(5_000)), (PerMove(5_000), Hourglass())])
def test_join_with_another_clock_in_an_hourglass_session_is_refused(clock: ClockSystem, own: ClockSystem) -> None:
    session = play(spec("per_participant", "A B", clock=clock), "0 start")
    refusal = session.do(T0 + 1_000, AddParticipant(NewParticipant("D", total_time_ms=5_000, clock=own))).refusal
    assert refusal is not None
    assert refusal.code == "VALIDATION_ERROR"


def test_join_of_a_full_session_is_refused() -> None:
    creation = spec("global", "")
    people = tuple(NewParticipant(f"{n}") for n in range(999))
    session = play(replace(creation, participants=people), "0 start; 1 join:Y; 2 join:Z")
    assert session.lines[1:] == ["1 participant_added Y", "2 !VALIDATION_ERROR"]


def test_join_without_a_budget_is_refused_if_the_clock_gives_none() -> None:
    bare = AddParticipant(NewParticipant("D"))
    for creation, is_fine in (
        (spec("per_participant"), False),
        (spec("per_participant", clock=PerMove(5_000)), True),
        (spec("per_participant", clock=Byoyomi(3, 5_000)), True),
        (spec("per_group", GROUPS), False),
        (spec("global"), True),
        (spec("count_up"), True),
        (spec("per_cycle"), True),
    ):
        session = play(creation, "0 start; 3 pause")
        assert (session.do(T0 + 11_000, bare).refusal is None) == is_fine
    assert (
        play(spec("global"), "0 start; 10 pause").do(T0 + 11_000, bare).own[0].state.participants[3].remaining_ms
        == 50_000
    )


def test_join_with_an_own_clock_is_accepted_only_in_per_participant() -> None:
    own = AddParticipant(NewParticipant("D", clock=PerMove(5_000)))
    session = play(spec("per_participant"), "0 start; 10 pause")
    session.do(T0 + 11_000, own)
    assert session.remaining("D") == 5
    elsewhere = play(spec("per_cycle"), "0 start")
    refusal = elsewhere.do(T0 + 1_000, own).refusal
    assert refusal is not None
    assert refusal.code == "VALIDATION_ERROR"
