"""Clock systems as JSON: one member, the system's name, holding its settings."""

from dataclasses import fields
from typing import Any

from synckairos.clock.clock_systems import CLOCK_SYSTEMS, ClockSystem, Stage, Stages

SETTINGS = {kind: tuple(field.name for field in fields(kind)) for kind in (*CLOCK_SYSTEMS.values(), Stage)}
"""The names of each system's settings."""


def render_clock(system: ClockSystem) -> dict[str, Any]:
    """Return `{"fischer": {"increment_ms": 2000}}` and its like; settings left unset are left out."""
    if isinstance(system, Stages):
        return {"stages": [_settings(stage) for stage in system.stages]}
    return {system.name: _settings(system)}


def parse_clock(document: dict[str, Any]) -> ClockSystem:
    """Parse what `render_clock` made, or a request whose shape was checked."""
    (name, settings), *_ = document.items()
    if name == "stages":
        return Stages(tuple(Stage(**stage) for stage in settings))
    return CLOCK_SYSTEMS[name](**settings)


def _settings(system: ClockSystem | Stage) -> dict[str, Any]:
    return {name: value for name in SETTINGS[type(system)] if (value := getattr(system, name)) is not None}
