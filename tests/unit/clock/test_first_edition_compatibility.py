"""Settings that only the second edition has, and overtime of a turn that begins with or without time."""

import pytest

from synckairos.clock.clock_systems import ClockSystem, Fischer
from synckairos.clock.first_edition_compatibility import check_first_edition, needs_second_edition
from synckairos.clock.overtime_period_systems import Byoyomi, Canadian
from synckairos.clock.stages import Stage, Stages
from synckairos.errors import ValidationFailed
from tests.unit.clock.script import play, spec


@pytest.mark.parametrize(
    ("system", "needs"),
    [
        (Fischer(1_000), False),
        (Byoyomi(2, 1_000), False),
        (Byoyomi(2, 1_000, increment_ms=0), True),
        (Canadian(2, 1_000), False),
        (Canadian(2, 1_000, moves_step=1), True),
        (Stages((Stage(2), Stage())), False),
        (Stages((Stage(2), Stage(delay_ms=5))), True),
        (Stages((Stage(at_zero=True), Stage())), True),
    ],
)
def test_clock_with_settings_of_the_second_edition_is_refused_in_the_first(system: ClockSystem, needs: bool) -> None:
    assert needs_second_edition(system) is needs
    creation = spec("per_participant", clock=system)
    if not needs:
        check_first_edition(creation)
        return
    with pytest.raises(ValidationFailed) as refused:
        check_first_edition(creation)
    assert refused.value.details[0]["path"] == "clock"


@pytest.mark.parametrize(
    ("on_timeout", "edition", "script", "is_in_overtime"),
    [
        (None, 2, "0 start", False),
        ("overtime", 2, "0 start", False),
        ("overtime", 2, "0 start; 60 time", True),
        ("overtime", 2, "0 start; 70 switch; 71 switch", True),
        ("overtime", 1, "0 start; 70 switch; 71 switch", False),
    ],
)
def test_turn_is_in_overtime_from_zero_on(
    on_timeout: str | None, edition: int, script: str, is_in_overtime: bool
) -> None:
    session = play(spec("per_participant", "A B", on_timeout, edition=edition), script)
    assert session.state.turn.is_in_overtime is is_in_overtime


def test_adjust_in_overtime_takes_only_the_last_stage_below_zero() -> None:
    stages = Stages((Stage(add_ms=20_000, at_zero=True), Stage()))
    creation = spec("per_participant", "A B", "overtime", clock=stages)
    assert play(creation, "0 start; 50 adjust-15:A").remaining("A") == 0
    assert play(creation, "0 start; 70 adjust-15:A").remaining("A") == -5
