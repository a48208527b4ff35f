"""One committed fact on its way out: the feed message that watchers get, and the outbox entry that becomes audit.

Both carry the session's document as the very bytes that were stored.
"""

from dataclasses import dataclass
from typing import Any

import orjson

from synckairos.clock.model import EventType, Transition
from synckairos.quick import quick


@quick
@dataclass(frozen=True, slots=True)
class FeedMessage:
    """What instances tell each other about one version; also what the bounded history keeps.

    `state` is the document's bytes. `deleted` marks a tombstone: watchers hear of it, then nothing more.
    """

    session_id: str
    epoch: str
    version: int
    event_type: EventType
    at_ms: int
    state: bytes
    participant_id: str | None = None
    deleted: bool = False

    @classmethod
    def of(cls, transition: Transition, state: bytes) -> "FeedMessage":
        """Make the message for a transition whose state was rendered to `state`."""
        event, after = transition.event, transition.state
        return cls(
            session_id=after.session_id,
            epoch=after.epoch,
            version=after.version,
            event_type=event.type,
            at_ms=event.at_ms,
            state=state,
            participant_id=event.participant_id,
            deleted=after.deleted,
        )

    def header(self) -> bytes:
        """Render what makes a message of the state's bytes when put before them: a line of JSON and its line feed."""
        header: dict[str, Any] = {
            "session_id": self.session_id,
            "epoch": self.epoch,
            "version": self.version,
            "event_type": self.event_type,
            "at_ms": self.at_ms,
        }
        if self.participant_id is not None:
            header["participant_id"] = self.participant_id
        if self.deleted:
            header["deleted"] = True
        return orjson.dumps(header, option=orjson.OPT_APPEND_NEWLINE)

    @classmethod
    def parse(cls, message: bytes) -> "FeedMessage":
        """Parse a header and the state after it, whose JSON isn't looked at."""
        header, _, state = message.partition(b"\n")
        fields = orjson.loads(header)
        fields["event_type"] = EventType(fields["event_type"])
        return cls(state=state, **fields)


@quick
@dataclass(frozen=True, slots=True)
class Cause:
    """What brought a commit about: who, by which command (its REST verb) and arguments, under which command id.

    `fingerprint` is the request's digest: it tells a repeated command from another one under the same id. With
    `expired_participant_id` they are what it takes to give the command's answer again.
    """

    actor: str
    command: str
    args: dict[str, Any] | None = None
    command_id: str | None = None
    fingerprint: str | None = None
    expired_participant_id: str | None = None


@quick
@dataclass(frozen=True, slots=True)
class OutboxEntry:
    """One audit row to be. `event` is the row's columns as JSON (see `render_event`), `state` the document's bytes."""

    session_id: str
    epoch: str
    version: int
    event: bytes
    state: bytes


def render_event(transition: Transition, cause: Cause) -> bytes:
    """Render an outbox entry's `event`.

    Members: event_type, occurred_at_ms, participant_id, group_id, time_used_ms, time_remaining_ms, deleted, actor,
    command, args, command_id, fingerprint,
    expired_participant_id; those unset are left out.
    """
    event = transition.event
    fields: dict[str, Any] = {
        "event_type": event.type,
        "occurred_at_ms": event.at_ms,
        "participant_id": event.participant_id,
        "group_id": event.group_id,
        "time_used_ms": event.used_ms,
        "time_remaining_ms": event.remaining_ms,
        "deleted": transition.state.deleted or None,
        "actor": cause.actor,
        "command": cause.command,
        "args": cause.args,
        "command_id": cause.command_id,
        "fingerprint": cause.fingerprint,
        "expired_participant_id": cause.expired_participant_id,
    }
    return orjson.dumps({name: value for name, value in fields.items() if value is not None})
