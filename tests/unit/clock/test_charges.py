"""Charges of versions: whose used time a version adds to, and the charges that follow from two versions."""

import pytest

from synckairos.clock.charges import charges_between
from synckairos.clock.transition import Charge
from synckairos.frozen_replace import replace
from tests.unit.clock.script import T0, Played, play, spec


def spans(charges: tuple[Charge, ...] | None) -> list[str]:
    """Return charges as text, such as `A 0-10`, in seconds after the creation."""
    seconds = [((each.began_at_ms - T0) / 1_000, (each.ended_at_ms - T0) / 1_000) for each in charges or ()]
    return [f"{each.participant_id} {a:g}-{b:g}" for each, (a, b) in zip(charges or (), seconds, strict=True)]


def charges_by_event(session: Played) -> list[str]:
    """Return the charges of all versions that charge time."""
    events = [each.event for each in session.transitions if each.event.charges]
    return [f"{_kind(event.type)}: {', '.join(spans(event.charges))}" for event in events]


def _kind(event_type: str) -> str:
    return event_type.removeprefix("participant_").removeprefix("session_")


@pytest.mark.parametrize(
    ("script", "charges"),
    [
        ("0 start; 10 pause [A,B]; 12 resume [A]; 15 leave:A", ["paused: A 0-10, B 0-10", "removed: A 12-15"]),
        ("0 start; 5 join:C; 10 finish [A]; 60 time", ["finished: A 0-10", "expired: B 0-60"]),
        ("0 start [A]; 0.001 pause", ["paused: A 0-0.001"]),
        ("0 start; 5 pause [A]; 6 leave:A; 7 complete", ["paused: A 0-5", "completed: B 0-7"]),
        ("0 start; 5 adjust+1; 9 finish", ["time_adjusted: A 0-5, B 0-5", "completed: A 5-9, B 5-9"]),
        ("5 leave:A; 6 join:C; 7 start; 8 cancel", ["cancelled: B 7-8, C 7-8"]),
    ],
)
def test_individual_clocks_charge_their_own_times(script: str, charges: list[str]) -> None:
    session = play(spec("individual", "A B"), script)
    assert charges_by_event(session) == charges


@pytest.mark.parametrize(
    ("mode", "script", "last"),
    [
        ("per_participant", "0 start; 10 switch; 15 switch", ["B 10-15"]),
        ("per_participant", "0 start; 10 pause", ["A 0-10"]),
        ("per_participant", "0 start; 10 pause; 15 resume; 15.001 pause", ["A 15-15.001"]),
        ("per_participant", "0 start; 10 pause; 15 resume", []),
        ("per_participant", "0 start; 5 switch; 8 leave:B", ["B 5-8"]),
        ("per_participant", "0 start; 5 switch; 8 leave:A", []),
        ("global", "0 start; 10 adjust+5", ["A 0-10"]),
        ("individual", "0 start; 10 pause", ["A 0-10", "B 0-10"]),
        ("individual", "0 start [B]; 10 pause", ["B 0-10"]),
        ("individual", "0 start; 10 pause [A]; 12 resume; 15 leave:A", ["A 12-15"]),
    ],
)
def test_charges_that_follow_from_two_versions_are_those_of_the_engine(mode: str, script: str, last: list[str]) -> None:
    before, ended = play(spec(mode, "A B"), script).transitions[-2:]
    assert spans(ended.event.charges) == last
    assert charges_between(before.state, replace(ended.event, charges=None), ended.state) == (ended.event.charges or ())


@pytest.mark.parametrize("mode", ["per_participant", "individual"])
def test_charges_from_unknown_versions_end_at_the_event(mode: str) -> None:
    session = play(spec(mode, "A"), "0 start; 10 pause; 15 resume; 20 pause; 30 resume; 31 pause")
    states, event = [each.state for each in session.transitions], session.transitions[-1].event
    assert spans(charges_between(None, event, states[-1])) == ["A 15-31"]
    assert spans(charges_between(states[1], event, states[-1])) == ["A 25-31"]  # its clock did not run
    assert spans(charges_between(states[2], event, states[-1])) == ["A 15-21"]  # its clock ran
