"""Rendering and parsing of clock systems as JSON."""

from typing import Any

import pytest

from synckairos.clock.clock_systems import Bronstein, ClockSystem, Delay, Fischer, Hourglass, PerMove, SuddenDeath
from synckairos.clock.overtime_period_systems import Byoyomi, Canadian
from synckairos.clock.stages import Stage, Stages
from synckairos.wire.clock_system_json import parse_clock_system, render_clock_system


@pytest.mark.parametrize(
    ("clock", "shown"),
    [
        (SuddenDeath(), {"sudden_death": {}}),
        (Fischer(2_000), {"fischer": {"increment_ms": 2_000}}),
        (Fischer(2_000, 9_000), {"fischer": {"increment_ms": 2_000, "cap_ms": 9_000}}),
        (Bronstein(5), {"bronstein": {"delay_ms": 5}}),
        (Delay(5), {"delay": {"delay_ms": 5}}),
        (Byoyomi(3, 9), {"byoyomi": {"periods": 3, "period_ms": 9}}),
        (Canadian(3, 9), {"canadian": {"moves": 3, "period_ms": 9}}),
        (PerMove(9), {"per_move": {"move_ms": 9}}),
        (Hourglass(), {"hourglass": {}}),
        (
            Stages((Stage(40, 9, 1), Stage())),
            {"stages": [{"moves": 40, "add_ms": 9, "increment_ms": 1}, {"add_ms": 0, "increment_ms": 0}]},
        ),
    ],
)
def test_a_clock_system_renders_to_json_and_back(clock: ClockSystem, shown: dict[str, Any]) -> None:
    assert render_clock_system(clock) == shown
    assert parse_clock_system(shown) == clock
