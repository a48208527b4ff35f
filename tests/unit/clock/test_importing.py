"""Import of a session from another product."""

import pytest

from synckairos.clock.importing import import_session
from tests.unit.clock.script import T0, play, spec


@pytest.mark.parametrize(("not_before_s", "at_s"), [(5, 20), (20, 20), (20.001, 20.001), (90, 90)])
def test_import_continues_the_session_at_the_later_instant_with_the_same_clock(
    not_before_s: float, at_s: float
) -> None:
    before = play(spec("per_participant", "A B"), "0 start; 20 switch").state
    imported = import_session(before, "next", 9, T0 + round(not_before_s * 1_000))
    event, state = imported.event, imported.state
    at_ms = T0 + round(at_s * 1_000)
    assert (state.epoch, state.version, state.updated_at_ms) == ("next", 9, at_ms)
    assert (state.participants, state.turn, state.anchor_ms) == (before.participants, before.turn, T0 + 20_000)
    assert (event.type, event.at_ms) == ("session_imported", at_ms)
    assert event.charges is None
