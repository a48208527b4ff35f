"""One committed fact on its way out: the feed message that watchers get, and the outbox entry that becomes audit.

Both carry the session's document as the very bytes that were stored.
"""

from dataclasses import dataclass
from typing import Any

import orjson

from synckairos.clock.model import EventType, Transition
from synckairos.fast_dataclass import fast_dataclass, replace
from synckairos.wire.document_slices import apply_splices


@fast_dataclass
@dataclass(frozen=True, slots=True)
class DocumentChange:
    """What leads to a version from the one before, whose tag is `base`.

    `splices` make its document of that one's (see `rows.py`), `patch` is for clients that have that one (see
    `delta.py`), empty where only the full state can say it.
    """

    base: str
    splices: bytes
    patch: bytes


@fast_dataclass
@dataclass(frozen=True, slots=True)
class FeedMessage:
    """What instances tell each other about one version; also what the bounded history keeps.

    `state` is the document's bytes, `tag` a random name for these very bytes: after a failover a version number may be
    issued again with other content. `deleted` marks a tombstone: watchers hear of it, then nothing more. With a
    `change` that travels instead of the state.
    """

    session_id: str
    epoch: str
    version: int
    event_type: EventType
    at_ms: int
    state: bytes
    participant_id: str | None = None
    deleted: bool = False
    tag: str = ""
    change: DocumentChange | None = None

    @classmethod
    def of(
        cls, transition: Transition, state: bytes, tag: str = "", change: DocumentChange | None = None
    ) -> "FeedMessage":
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
            tag=tag,
            change=change,
        )

    @property
    def body(self) -> bytes:
        """Return what travels: the document, or the splices that make it of the one before."""
        return self.state if self.change is None else self.change.splices

    def header(self) -> bytes:
        """Render what stands before the body: a line of JSON, and where there is a change a line with its patch."""
        header: dict[str, Any] = {
            "session_id": self.session_id,
            "epoch": self.epoch,
            "version": self.version,
            "event_type": self.event_type,
            "at_ms": self.at_ms,
            "tag": self.tag,
        }
        if self.participant_id is not None:
            header["participant_id"] = self.participant_id
        if self.deleted:
            header["deleted"] = True
        if self.change is None:
            return orjson.dumps(header, option=orjson.OPT_APPEND_NEWLINE)
        header["base"] = self.change.base
        return b"%b\n%b\n" % (orjson.dumps(header), self.change.patch)


@fast_dataclass
@dataclass(frozen=True, slots=True)
class PackedMessage:
    """A feed message on its way, or as the history keeps it: all of it but the state, which its `body` leads to.

    On its way that is the document, or splices on the one before. The history's leads back: it is the document before,
    or splices that make it of this version's; empty where there was none.
    """

    message: FeedMessage
    body: bytes

    @classmethod
    def parse(cls, parcel: bytes) -> "PackedMessage":
        """Parse a header, and cut off the body, which isn't looked at."""
        header, _, body = parcel.partition(b"\n")
        fields = orjson.loads(header)
        fields["event_type"] = EventType(fields["event_type"])
        base = fields.pop("base", None)
        if base is None:
            return cls(FeedMessage(state=b"", **fields), body)
        patch, _, body = body.partition(b"\n")
        return cls(FeedMessage(state=b"", change=DocumentChange(base, body, patch), **fields), body)

    def on(self, before: bytes) -> FeedMessage:
        """Return the message, whose state follows from the document before where the body isn't a document itself."""
        return self.beside(apply_splices(before, self.body))

    def beside(self, state: bytes) -> FeedMessage:
        """Return the message with its state."""
        return replace(self.message, state=state)


@fast_dataclass
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


@fast_dataclass
@dataclass(frozen=True, slots=True)
class OutboxEntry:
    """One audit row to be. `event` is the row's columns as JSON (see `render_event`), `state` the document's bytes."""

    session_id: str
    epoch: str
    version: int
    event: bytes
    state: bytes

    def message(self) -> FeedMessage:
        """Return what the feed said of this version, without its tag and its change."""
        fields = orjson.loads(self.event)
        return FeedMessage(
            session_id=self.session_id,
            epoch=self.epoch,
            version=self.version,
            event_type=EventType(fields["event_type"]),
            at_ms=fields["occurred_at_ms"],
            state=self.state,
            participant_id=fields.get("participant_id"),
            deleted=fields.get("deleted", False),
        )


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
