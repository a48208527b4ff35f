"""Simulation of a preset, with short names for its participants and with times in seconds."""

from dataclasses import dataclass
from typing import Any

from synckairos.presets.catalogue import load_presets
from synckairos.presets.expand import expand_preset
from synckairos.wire.simulation_run import run_simulation

Move = tuple[float, str] | tuple[float, str, dict[str, Any]]
"""Seconds after the creation, the command, and its arguments."""


@dataclass(frozen=True)
class Played:
    """The result of a simulation. Roles are the names of participants in the data file of the preset."""

    final: dict[str, Any]
    timeline: list[dict[str, Any]]
    ids: dict[str, str]

    @property
    def status(self) -> str:
        status: str = self.final["status"]
        return status

    def seconds(self, role: str) -> float:
        """Return the remaining seconds of a participant, as of the last transition."""
        return float(self._row(role)["time_remaining_ms"]) / 1000

    def used(self, role: str) -> float:
        """Return the used seconds of a participant."""
        return float(self._row(role)["time_used_ms"]) / 1000

    def reading(self, role: str) -> dict[str, Any]:
        found: dict[str, Any] = self._row(role)["reading"]
        return found

    def at(self, event_type: str) -> list[float]:
        """Return the seconds after the creation of all events of a type."""
        return [row["at_ms"] / 1000 for row in self.timeline if row.get("event_type") == event_type]

    def refusals(self) -> list[str]:
        return [row["refused"] for row in self.timeline if "refused" in row]

    @property
    def active(self) -> str | None:
        """Return the role of the active participant."""
        roles = {value: role for role, value in self.ids.items()}
        return roles.get(self.final["active_participant_id"])

    def _row(self, role: str) -> dict[str, Any]:
        (row,) = [each for each in self.final["participants"] if each["participant_id"] == self.ids[role]]
        found: dict[str, Any] = row
        return found


def play(name: str, moves: list[Move], until_s: float, **changes: Any) -> Played:
    """Create a session from a preset, with `changes` as the other members of the request, and execute commands."""
    session = expand_preset({"preset": name, **changes})
    roles = [each["participant_id"] for each in load_presets()[name].session.get("participants", [])]
    ids = dict(zip(roles, (each["participant_id"] for each in session.get("participants", [])), strict=True))

    def named(value: Any) -> Any:
        if isinstance(value, list):
            return [named(each) for each in value]
        return ids.get(value, value) if isinstance(value, str) else value

    commands = [
        {"at_ms": round(move[0] * 1000), "command": move[1]}
        | ({"args": {key: named(value) for key, value in move[2].items()}} if len(move) > 2 else {})
        for move in moves
    ]
    run = run_simulation({"session": session, "commands": commands, "until_ms": round(until_s * 1000)})
    return Played(run["final"], run["timeline"], ids)


def presses(*instants_s: float) -> list[Move]:
    """Return the start at 0 s, and a switch at each of the other instants."""
    return [(0, "start"), *((at, "switch") for at in instants_s)]
