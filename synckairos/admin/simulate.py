"""`synckairos simulate`: a timeline in the terminal. The engine does the work, `wire` the reading; this only shows."""

from collections.abc import Iterator
from typing import Any

import orjson

from synckairos.errors import SyncKairosError, ValidationFailed
from synckairos.wire.json_decode import decode_json
from synckairos.wire.simulation_timeline import run_simulation


class InvalidSimulation(SyncKairosError):
    """The file can't be simulated; the message has one line a fault."""

    code = ValidationFailed.code


def timeline_lines(text: bytes, *, as_json: bool = False) -> Iterator[str]:
    """Yield a simulation's timeline, a line a row: the instant, what happened, the version, to whom; last, its end.

    Raises: BadSimulation.
    """
    try:
        asked = decode_json(text)
        result = run_simulation(asked)
    except ValidationFailed as faulty:
        raise InvalidSimulation(
            "\n".join(f"{each['path'] or 'file'}: {each['message']}" for each in faulty.details)
        ) from None
    if as_json:
        yield orjson.dumps(result, option=orjson.OPT_INDENT_2).decode()
        return
    names = _names(asked)
    for row in result["timeline"]:
        yield _line(row, names)
    final = result["final"]
    yield f"{final['status']}, {final['time_used_ms'] / 1000:.3f} s used"


def _names(asked: Any) -> dict[str, str]:
    """Return what participants of a valid simulation are called, by id: those who leave, and those who join, too."""
    people = [*asked["session"].get("participants", ()), *(each.get("args", {}) for each in asked.get("commands", ()))]
    return {each["participant_id"].lower(): each["display_name"] for each in people if each.get("display_name")}


def _line(row: dict[str, Any], names: dict[str, str]) -> str:
    at = f"{row['at_ms'] / 1000:>12.3f}"
    if "refused" in row:
        return f"{at}    -  refused: {row['refused']}"
    who = row.get("participant_id", "")
    return f"{at} {row['version']:>4}  {row['event_type']:<20} {names.get(who, who)}".rstrip()
