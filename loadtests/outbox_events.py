"""Events of the outbox with the instants of their commits, for load tests without a worker."""

from typing import Any, NamedTuple

import orjson

from tests.integration.parts import Parts


class CommittedEvent(NamedTuple):
    """An event in the outbox. `fields` has the JSON members that `render_event` documents.

    `committed_at_ms` is the Redis time of the commit in ms since the Unix epoch.
    """

    session_id: str
    committed_at_ms: int
    fields: dict[str, Any]

    @property
    def lateness_ms(self) -> int:
        """Return the time in ms from the instant at which the event took effect to its commit."""
        occurred_at_ms: int = self.fields["occurred_at_ms"]
        return self.committed_at_ms - occurred_at_ms


async def read_outbox_events(parts: Parts, partition: int = 0) -> list[CommittedEvent]:
    """Return all events in one partition of the outbox, the oldest first."""
    entries: list[Any] = await parts.pipe.call("XRANGE", parts.store.keys.outbox(partition), "-", "+")
    events = []
    for entry_id, fields in entries:
        entry = dict(zip(fields[::2], fields[1::2], strict=True))
        committed_at_ms = int(entry_id.split(b"-")[0])
        events.append(CommittedEvent(entry[b"session_id"].decode(), committed_at_ms, orjson.loads(entry[b"event"])))
    return events
