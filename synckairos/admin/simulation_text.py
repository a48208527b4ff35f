"""Text output of `synckairos simulate`. `wire/simulation_run.py` runs the simulation."""

from collections.abc import Callable, Iterator
from typing import Any

import orjson

from synckairos.errors import SyncKairosError, ValidationFailed
from synckairos.wire.json_decode import decode_json
from synckairos.wire.simulation_run import run_simulation, simulation_warnings

REFUSED = "refused"
"""The word that marks the line of a refused command."""


class InvalidSimulation(SyncKairosError):
    """The file does not contain a valid simulation. The message has one line for each fault."""

    code = ValidationFailed.code


def simulate_to_lines(text: bytes, warn: Callable[[str], None], *, as_json: bool = False) -> Iterator[str]:
    """Run a simulation, and yield its timeline as lines of text, then the final status and the used time.

    `text` is the content of the simulation file, JSON in UTF-8. Each line has the instant in seconds after the
    creation, the version, the event type and the participant, or the refusal with its reason. If `as_json` is True,
    yield one JSON text instead. `warn` is called with a line for each member of the file that has no effect.

    Raises: InvalidSimulation.
    """
    try:
        simulation = decode_json(text)
        result = run_simulation(simulation)
        warnings = simulation_warnings(simulation)
    except ValidationFailed as error:
        raise InvalidSimulation(
            "\n".join(f"{fault['path'] or 'file'}: {fault['message']}" for fault in error.details)
        ) from None
    for each in warnings:
        warn(f"warning: {each['path']}: {each['message']}")
    if as_json:
        yield orjson.dumps(result, option=orjson.OPT_INDENT_2).decode()
        return
    names = _display_names(simulation)
    for row in result["timeline"]:
        yield _render_row(row, names)
    final = result["final"]
    yield f"{final['status']}, {final['time_used_ms'] / 1000:.3f} s used"


def _display_names(simulation: Any) -> dict[str, str]:
    """Return the display names of all participants by id, including those that join or leave by a command."""
    participants = [
        *simulation["session"].get("participants", ()),
        *(command.get("args", {}) for command in simulation.get("commands", ())),
    ]
    return {each["participant_id"].lower(): each["display_name"] for each in participants if each.get("display_name")}


def _render_row(row: dict[str, Any], names: dict[str, str]) -> str:
    seconds = f"{row['at_ms'] / 1000:>12.3f}"
    if "refused" in row:
        return f"{seconds}    -  {REFUSED}: {row['refused']}: {row['message']}"
    participant_id = row.get("participant_id", "")
    name = names.get(participant_id, participant_id)
    return f"{seconds} {row['version']:>4}  {row['event_type']:<20} {name}".rstrip()
