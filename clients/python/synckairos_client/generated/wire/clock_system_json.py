# Generated from synckairos.wire.clock_system_json by `make python-client`. Do not edit.
"""Clock systems as JSON objects, and the names of the facts of a reading.

Each object of a clock system has exactly one member. The name of the member is the name of the clock system, and its
value is the settings of the clock system.
"""

from dataclasses import fields
from typing import Any

from synckairos_client.generated.clock.clock_systems import CLOCK_SYSTEMS, ClockSystem
from synckairos_client.generated.clock.stages import Stage, Stages

SETTINGS = {kind: tuple(field.name for field in fields(kind)) for kind in (*CLOCK_SYSTEMS.values(), Stage)}
"""Names of the settings of each clock system, and of a stage."""

READING_FACTS = ("phase", "periods_left", "moves_left", "stage", "period_moves")
"""Names of the JSON members of a `reading` that are facts. The other members only help clients."""


def render_clock_system(system: ClockSystem) -> dict[str, Any]:
    """Return a clock system as JSON values, such as `{"fischer": {"increment_ms": 2000}}`.

    Unset settings are absent.
    """
    if isinstance(system, Stages):
        return {"stages": [_settings(stage) for stage in system.stages]}
    return {system.name: _settings(system)}


def parse_clock_system(document: dict[str, Any]) -> ClockSystem:
    """Return the clock system that a JSON object describes.

    `document` must come from `render_clock_system` or from a validated request. The function does not validate it.
    """
    (name, settings), *_ = document.items()
    if name == "stages":
        return Stages(tuple(Stage(**stage) for stage in settings))
    return CLOCK_SYSTEMS[name](**settings)


def _settings(system: ClockSystem | Stage) -> dict[str, Any]:
    return {name: value for name in SETTINGS[type(system)] if (value := getattr(system, name)) is not None}
