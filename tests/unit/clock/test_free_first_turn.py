"""Free first turns: they are charged to no budget and bring nothing, and their limit cancels the session."""

import pytest

from synckairos.clock.clock_systems import Bronstein, ClockSystem, Fischer, PerMove
from synckairos.clock.commands import Undo
from synckairos.clock.earlier_turns import UndoCharge
from synckairos.clock.model import Session
from synckairos.clock.overtime_period_systems import Canadian
from synckairos.clock.timing import deadline_at_ms
from synckairos.clock.transition import Charge
from synckairos.clock.undo import undo_past_free_limit
from synckairos.frozen_replace import replace
from synckairos.wire.session_json import session_json
from tests.unit.clock.script import T0, play, spec

LIMIT_MS = 30_000


@pytest.mark.parametrize(
    ("clock", "left"),
    [
        (None, (60, 60)),
        (Fischer(3_000), (60, 60)),
        (Bronstein(3_000), (60, 60)),
        (PerMove(10_000), (10, 10)),
        (Canadian(2, 20_000), (60, 60)),
    ],
)
def test_first_turn_of_each_participant_takes_and_brings_nothing(
    clock: ClockSystem | None, left: tuple[float, float]
) -> None:
    session = play(
        spec("per_participant", "A B", clock=clock, free_first_turn_ms=LIMIT_MS), "0 start; 20 switch; 45 switch"
    )
    assert (session.remaining("A"), session.remaining("B")) == left
    assert session.used == "A 20 B 25"
    assert session.state.used_ms == 45_000
    assert [each.reading for each in session.state.participants] == [
        each.reading for each in play(spec("per_participant", "A B", clock=clock), "").state.participants
    ]
    assert [each.cycle_count for each in session.state.participants] == [1, 1]


def test_second_turn_is_charged() -> None:
    creation = spec("per_participant", "A B", clock=Fischer(3_000), free_first_turn_ms=LIMIT_MS)
    session = play(creation, "0 start; 20 switch; 45 switch; 50 switch; 52 switch")
    assert (session.remaining("A"), session.remaining("B")) == (58, 61)


@pytest.mark.parametrize("on_timeout", ["expire", "advance", "pause", "overtime"])
@pytest.mark.parametrize(("script", "at"), [("0 start; 99 time", 30), ("0 start; 20 switch; 99 time", 50)])
def test_limit_cancels_the_session(on_timeout: str, script: str, at: int) -> None:
    session = play(spec("per_participant", "A=9 B=9", on_timeout, free_first_turn_ms=LIMIT_MS), script)
    assert session.lines[-1].split()[:2] == [f"{at}", "cancelled"]
    assert session.state.completed_at_ms == T0 + at * 1_000
    assert [each.has_expired for each in session.state.participants] == [False, False]
    assert session.transitions[-1].event.participant_id == ("A" if at == 30 else "B")
    assert session.transitions[-1].event.charges is not None
    assert len(session.transitions[-1].event.charges) == 1


def test_press_at_the_limit_comes_too_late() -> None:
    creation = spec("per_participant", "A B", free_first_turn_ms=LIMIT_MS, lag_compensation=True)
    assert play(creation, "0 start; 30 switch").lines[1:] == ["30 cancelled A", "30 !INVALID_STATE_TRANSITION"]
    assert play(creation, "0 start; 29.999 switch").lines[1:] == ["29.999 cycle_switched A"]


def test_pause_stops_the_limit() -> None:
    creation = spec("per_participant", "A B", free_first_turn_ms=LIMIT_MS)
    session = play(creation, "0 start; 10 pause; 100 resume; 119 pause; 200 resume; 202 time")
    assert session.lines[-1] == "201 cancelled A"
    assert session.used == "A 30 B 0"


def test_free_turn_has_no_warnings() -> None:
    creation = spec("per_participant", "A=40 B=40", warnings_ms=(39_000, 25_000, 5_000), free_first_turn_ms=LIMIT_MS)
    session = play(creation, "0 start; 29 switch; 58 switch; 62 time")
    assert session.lines[3:] == ["59 time_warning A"]
    assert [each.state.turn.warned_ms for each in session.transitions] == [(), (), (), (39_000,)]


def test_joined_participant_has_a_free_first_turn_too() -> None:
    creation = spec("per_participant", "A B", free_first_turn_ms=LIMIT_MS)
    session = play(creation, "0 start; 5 switch; 7 switch; 8 join:D; 9 switch>D; 20 switch")
    assert session.remaining("D") == 60
    assert session.remaining("A") == 58


def test_undone_first_turn_is_free_again() -> None:
    creation = spec("per_participant", "A B", free_first_turn_ms=LIMIT_MS)
    session = play(creation, "0 start; 20 switch; 25 undo:mover; 34 switch")
    assert session.face == "running A 60 *B 60"
    assert session.used == "A 29 B 0"
    assert play(creation, "0 start; 20 switch; 25 undo:mover; 36 time").lines[-1] == "35 cancelled A"


@pytest.mark.parametrize(
    ("script", "used_s", "at_s"),
    [("20 switch; 45 undo:resumed", 30, 45), ("20 switch; 30 undo:resumed", 30, 30), ("20 switch; 49 time", 20, None)],
    ids=["past the limit", "at the limit", "without an undo"],
)
@pytest.mark.parametrize("on_timeout", ["expire", "overtime"])
def test_undo_charges_a_free_turn_up_to_its_limit(on_timeout: str, script: str, used_s: int, at_s: int | None) -> None:
    session = play(spec("per_participant", "A B", on_timeout, free_first_turn_ms=LIMIT_MS), f"0 start; {script}")
    first = session.state.participants[0]
    assert (first.used_ms, first.remaining_ms) == (used_s * 1_000, 60_000)
    if at_s is not None:
        assert session.lines[-2:] == [f"{at_s} turn_undone A", f"{at_s} cancelled A"]
        undone = session.transitions[-2]
        assert deadline_at_ms(undone.state) == T0 + at_s * 1_000
        assert not undone.state.turn.is_in_overtime
        assert undone.event.charges == (Charge("A", T0, T0 + used_s * 1_000),)


def undo_of_a_free_turn(on_timeout: str, charge: UndoCharge) -> tuple[Session, Undo]:
    """Return a session whose free turn of 20 s has ended, and the undo of this turn."""
    session = play(spec("per_participant", "A B", on_timeout, free_first_turn_ms=LIMIT_MS), "0 start; 20 switch")
    undo = Undo(1, charge)
    return session.state, replace(undo, restored=session.turns.find_restored_turn(session.state, undo))


def test_earlier_releases_charged_a_free_turn_past_its_limit_in_overtime() -> None:
    state, undo = undo_of_a_free_turn("overtime", UndoCharge.RESUMED)
    for at_s in (30, 45):
        earlier = undo_past_free_limit(state, undo, T0 + at_s * 1_000)
        assert earlier is not None
        assert earlier.state.participants[0].used_ms == at_s * 1_000
        assert earlier.state.turn.is_in_overtime
        assert deadline_at_ms(earlier.state) is None
        assert earlier.event.charges == (Charge("A", T0, T0 + at_s * 1_000),)
    assert undo_past_free_limit(state, undo, T0 + 29_999) is None


def test_earlier_releases_made_other_undos_as_now() -> None:
    state, undo = undo_of_a_free_turn("overtime", UndoCharge.RESUMED)
    assert undo_past_free_limit(state, replace(undo, charge=UndoCharge.MOVER), T0 + 45_000) is None
    assert undo_past_free_limit(state, replace(undo, restored=None), T0 + 45_000) is None
    assert undo_past_free_limit(*undo_of_a_free_turn("expire", UndoCharge.RESUMED), T0 + 45_000) is None
    plain = play(spec("per_participant", "A B", "overtime"), "0 start; 20 switch")
    restored = plain.turns.find_restored_turn(plain.state, undo)
    assert undo_past_free_limit(plain.state, replace(undo, restored=restored), T0 + 45_000) is None
    second = play(
        spec("per_participant", "A B", "overtime", free_first_turn_ms=LIMIT_MS), "0 start; 1 switch; 2 switch; 3 switch"
    )
    restored = second.turns.find_restored_turn(second.state, undo)
    assert undo_past_free_limit(second.state, replace(undo, restored=restored), T0 + 50_000) is None


def test_document_shows_the_limit_as_the_end_of_the_free_time() -> None:
    creation = spec("per_participant", "A B", free_first_turn_ms=LIMIT_MS)
    state = play(creation, "0 start; 10 pause; 40 resume").state
    document = session_json(state)
    assert document["free_first_turn"] == {"limit_ms": LIMIT_MS}
    first, second = document["participants"]
    assert first["reading"] == {"free_until_at": document["deadline_at"]}
    assert "reading" not in second
    assert deadline_at_ms(state) == T0 + 60_000
    paused = session_json(play(creation, "0 start; 10 pause").state)
    assert paused["participants"][0]["reading"] == {"free_until_at": None}
    later = session_json(play(creation, "0 start; 10 switch; 11 switch").state)
    assert "reading" not in later["participants"][0]


def test_other_sessions_have_no_free_turn() -> None:
    session = play(spec("per_participant", "A B"), "0 start; 20 switch")
    assert session.face == "running A 40 *B 60"
    assert "free_first_turn" not in session_json(session.state)
