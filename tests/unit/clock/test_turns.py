"""Turns: start, switch and the rotation, in every mode."""

import pytest

from synckairos.clock.commands import Start, Switch
from synckairos.errors import NotActiveParticipant
from synckairos.frozen_replace import replace
from tests.unit.clock.script import T0, open_session, play, spec

GROUPS = "A/x B/y C/x"


@pytest.mark.parametrize(
    ("mode", "script", "face", "used"),
    [
        ("per_participant", "0 start", "running *A 60 B 60 C 60", "A 0 B 0 C 0"),
        ("per_participant", "0 start; 10 switch", "running A 50 *B 60 C 60", "A 10 B 0 C 0"),
        ("per_participant", "0 start; 10 switch; 30 switch; 31 switch", "running *A 50 B 40 C 59", "A 10 B 20 C 1"),
        ("per_participant", "0 start; 10 switch>C", "running A 50 B 60 *C 60", "A 10 B 0 C 0"),
        ("per_participant", "0 start; 10 switch>A; 15 switch", "running A 45 *B 60 C 60", "A 15 B 0 C 0"),
        ("per_participant", "0 start; 10 switch@A", "running A 50 *B 60 C 60", "A 10 B 0 C 0"),
        ("per_participant", "0 start; 10 complete", "completed A 50 B 60 C 60", "A 10 B 0 C 0"),
        ("per_participant", "0 start; 10 cancel", "cancelled A 50 B 60 C 60", "A 10 B 0 C 0"),
        ("per_cycle", "0 start; 10 switch", "running *B 60", "A 10 B 0 C 0"),
        ("per_cycle", "0 start; 10 switch; 15 switch", "running *C 60", "A 10 B 5 C 0"),
        ("per_cycle", "0 start; 10 complete", "completed *- 50", "A 10 B 0 C 0"),
        ("per_group", "0 start; 10 switch", "running x 50 *y 60", "A 10 B 0 C 0"),
        ("per_group", "0 start; 10 switch; 15 switch; 35 switch", "running *x 30 y 55", "A 10 B 5 C 20"),
        ("per_group", "0 start; 10 switch>C; 12 switch", "running *x 48 y 60", "A 10 B 0 C 2"),
        ("global", "0 start; 10 switch", "running *B 50", "A 10 B 0 C 0"),
        ("global", "0 start; 10 switch; 15 switch", "running *C 45", "A 10 B 5 C 0"),
        ("count_up", "0 start; 10 switch", "running *B 50", "A 10 B 0 C 0"),
        ("count_up", "0 start; 10 switch; 15 switch; 16 complete", "completed *- 44", "A 10 B 5 C 1"),
    ],
)
def test_switch_in_each_mode_charges_the_turn_and_begins_the_next_turn(
    mode: str, script: str, face: str, used: str
) -> None:
    session = play(spec(mode, GROUPS), script)
    assert session.face == face
    assert session.used == used
    assert session.state.used_ms == sum(p.used_ms for p in session.state.participants)


@pytest.mark.parametrize(
    ("mode", "script", "lines"),
    [
        ("per_participant", "0 start; 1 switch; 2 switch", ["0 started A", "1 cycle_switched A", "2 cycle_switched B"]),
        ("per_participant", "0 start; 1 switch>Z", ["0 started A", "1 !PARTICIPANT_NOT_FOUND"]),
        ("per_participant", "0 start; 1 switch@B", ["0 started A", "1 !NOT_ACTIVE_PARTICIPANT"]),
        ("per_participant", "0 start; 1 switch@Z", ["0 started A", "1 !NOT_ACTIVE_PARTICIPANT"]),
        ("per_participant", "0 start; 1 switch@B>Z", ["0 started A", "1 !NOT_ACTIVE_PARTICIPANT"]),
        (
            "per_participant",
            "0 start; 1 switch@A; 1 switch@A",
            ["0 started A", "1 cycle_switched A", "1 !NOT_ACTIVE_PARTICIPANT"],
        ),
        ("per_participant", "0 start; 1 pause; 2 switch", ["0 started A", "1 paused A", "2 !INVALID_STATE_TRANSITION"]),
    ],
)
def test_switch_gives_the_expected_event_or_refusal(mode: str, script: str, lines: list[str]) -> None:
    assert play(spec(mode, GROUPS), script).lines == lines


def test_late_switch_is_refused_with_the_active_participant() -> None:
    refusal = play(spec("per_participant"), "0 start; 1 switch; 1 switch@A").decision.refusal
    assert isinstance(refusal, NotActiveParticipant)
    assert refusal.details == {"active_participant_id": "B"}


@pytest.mark.parametrize("mode", ["per_participant", "per_cycle", "per_group", "global", "count_up"])
def test_start_begins_with_the_designated_participant(mode: str) -> None:
    session = play(spec(mode, GROUPS, active_participant_id="B"), "0 start; 5 switch")
    assert session.used == "A 0 B 5 C 0"
    assert session.lines == ["0 started B", "5 cycle_switched B"]


def test_rotation_follows_the_index() -> None:
    creation = spec("per_participant")
    a, b, c = creation.participants
    shuffled = replace(creation, participants=(replace(a, index=7), replace(b, index=3), replace(c, index=5)))
    session = play(shuffled, "0 start; 1 switch; 3 switch; 6 switch")
    assert [t.event.participant_id for t in session.transitions] == ["B", "B", "C", "A"]
    assert [p.index for p in session.state.participants] == [3, 5, 7]


def test_switch_charges_to_the_millisecond() -> None:
    session = play(spec("per_participant"), "0 start; 0.001 switch; 59.999 switch")
    assert session.face == "running A 59.999 B 0.002 *C 60"


def test_turn_without_elapsed_time_counts_as_a_turn() -> None:
    session = play(spec("per_participant", "A B"), "0 start; 0 switch; 0 switch")
    assert [p.cycle_count for p in session.state.participants] == [1, 1]
    assert session.face == "running *A 60 B 60"


def test_start_sets_the_anchor() -> None:
    state = open_session(spec("per_participant"))
    assert state.anchor_ms is None
    assert state.started_at_ms is None
    session = play(spec("per_participant"), "7 start")
    assert session.state.anchor_ms == session.state.started_at_ms == T0 + 7_000
    assert session.state.used_ms == 0


@pytest.mark.parametrize(
    ("on_timeout", "script", "lines", "face"),
    [
        (
            None,
            "0 start; 1 switch; 2 switch; 3 switch",
            ["0 started A", "1 cycle_switched A", "2 completed B", "3 !INVALID_STATE_TRANSITION"],
            "completed *- 59",
        ),
        (None, "0 start; 1 switch; 61 time", ["0 started A", "1 cycle_switched A", "61 expired B"], "expired *- 0"),
        (None, "0 start; 121 time", ["0 started A", "60 cycle_expired A", "120 expired B"], "expired *- 0"),
        (
            None,
            "0 start; 60 time; 61 switch",
            ["0 started A", "60 cycle_expired A", "61 completed B"],
            "completed *- 59",
        ),
        ("expire", "0 start; 60 time", ["0 started A", "60 expired A"], "expired *- 0"),
    ],
)
def test_session_ends_after_max_cycles(on_timeout: str | None, script: str, lines: list[str], face: str) -> None:
    session = play(spec("per_cycle", on_timeout=on_timeout, max_cycles=2), script)
    assert session.lines == lines
    assert session.face == face


def test_per_cycle_without_max_cycles_ends_after_1000_cycles() -> None:
    session = play(spec("per_cycle", "A"), "0 start; 70000 time")
    assert session.state.status == "expired"
    assert session.state.participants[0].cycle_count == 1_000
    assert session.state.completed_at_ms == T0 + 60_000_000


def test_max_cycles_has_no_effect_in_other_modes() -> None:
    session = play(spec("global", max_cycles=1), "0 start; 1 switch; 2 switch")
    assert session.state.status == "running"


def test_global_session_without_participants_runs() -> None:
    session = play(spec("global", ""), "0 start; 10 switch; 60 time")
    assert session.lines == ["0 started", "10 cycle_switched", "60 expired"]
    assert session.state.used_ms == 60_000


def test_participant_that_joins_an_empty_session_gets_the_turn_at_the_next_switch() -> None:
    session = play(spec("global", ""), "0 start; 5 join:D; 10 switch; 15 switch")
    assert session.used == "D 5"


def test_count_up_without_a_cap_never_expires() -> None:
    session = play(spec("count_up", max_time_ms=None), "0 start; 100000 switch; 100001 time")
    assert session.used == "A 100000 B 0 C 0"
    assert session.state.remaining_ms is None


@pytest.mark.parametrize("mode", ["per_participant", "per_group"])
@pytest.mark.parametrize("guard", [None, "A"])
def test_switch_to_an_expired_participant_is_refused(mode: str, guard: str | None) -> None:
    session = play(spec(mode, GROUPS.replace("C/x", "C/z"), "advance"), "0 start; 60 time; 61 switch")
    session.do(T0 + 62_000, Switch("A", None if guard is None else "C"))
    assert session.lines[-1] == "62 !PARTICIPANT_EXPIRED"


def test_second_start_changes_nothing() -> None:
    session = play(spec("per_participant"), "0 start")
    before = session.state
    session.do(T0 + 1, Start())
    assert session.state is before


# -- soft close -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "script", "face"),
    [
        ("global", "0 start; 40 switch", "running *B 20"),
        ("global", "0 start; 49.999 switch", "running *B 10.001"),
        ("global", "0 start; 50 switch", "running *B 10"),
        ("global", "0 start; 55 switch", "running *B 10"),
        ("global", "0 start; 59.999 switch", "running *B 10"),
        ("global", "0 start; 59 switch; 68 switch; 77 switch", "running *A 10"),
        ("global", "0 start; 55 switch@B", "running *A 60"),
        ("global", "0 start; 55 switch>Z", "running *A 60"),
        ("global", "0 start; 55 pause; 56 resume", "running *A 5"),
        ("global", "0 start; 60 switch", "expired *- 0"),
        ("count_up", "0 start; 55 switch", "running *B 10"),
        # In `per_cycle` each cycle has a new budget, and the other modes have no budget that participants share.
        ("per_cycle", "0 start; 10 switch", "running *B 60"),
        ("per_participant", "0 start; 55 switch", "running A 5 *B 60 C 60"),
    ],
)
def test_accepted_switch_in_a_soft_close_extends_the_budget(mode: str, script: str, face: str) -> None:
    assert play(spec(mode, extend_on_switch_ms=10_000), script).face == face


def test_switch_at_zero_is_too_late_for_a_soft_close() -> None:
    creation = spec("global", on_timeout="pause", extend_on_switch_ms=10_000)
    assert play(creation, "0 start; 60 time; 61 switch").face == "paused *B 0"
    late = spec("global", on_timeout="overtime", extend_on_switch_ms=10_000)
    assert play(late, "0 start; 65 switch").face == "running *B -5"


@pytest.mark.parametrize(
    ("mode", "left_ms"),
    [("per_participant", 30_000), ("per_group", 30_000), ("per_cycle", 60_000), ("global", 50_000)],
)
def test_switch_event_has_the_times_of_the_participant_whose_turn_ended(mode: str, left_ms: int) -> None:
    people = "A/x=40 B/y=45" if mode in ("per_participant", "per_group") else "A B"
    session = play(spec(mode, people), "0 start; 10 switch")
    event = session.transitions[-1].event
    assert (event.participant_id, event.used_ms, event.remaining_ms) == ("A", 10_000, left_ms)
