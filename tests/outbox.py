"""Reader of the versions in the outbox, with the instant of their commit."""

from dataclasses import dataclass
from typing import Any

import orjson

from tests.integration.parts import Parts


@dataclass(frozen=True, slots=True)
class Committed:
    """One version in the outbox.

    `committed_at_ms` is the Redis time of the commit in milliseconds. `event` has the columns of the event row.
    """

    session_id: str
    version: int
    committed_at_ms: int
    event: dict[str, Any]


async def committed_events(parts: Parts) -> list[Committed]:
    """Return all versions in the outbox of the first partition, oldest first."""
    entries = await parts.pipe.call("XRANGE", parts.store.keys.outbox(0), "-", "+")
    found = []
    for entry_id, fields in entries:
        row = dict(zip(fields[::2], fields[1::2], strict=True))
        at_ms = int(entry_id.split(b"-")[0])
        found.append(Committed(row[b"session_id"].decode(), int(row[b"version"]), at_ms, orjson.loads(row[b"event"])))
    return found
