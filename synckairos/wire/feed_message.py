"""Feed messages: one committed version, as instances send it to each other and as the history in Redis keeps it.

A feed message carries the session's document as the bytes that were stored, or the splices that make these bytes.
"""

from typing import Any

import orjson
from msgspec import Struct

from synckairos.clock.model import EventType, Transition
from synckairos.frozen_replace import replace
from synckairos.wire.document_splices import apply_body
from synckairos.wire.session_version import Snapshot


class DocumentChange(Struct, frozen=True):
    """The change from the version before, whose tag is `base_tag`, to this version.

    `splices` make this version's document of the document before (format: `document_splices.py`). `patch` is the merge
    patch for clients (`document_merge_patch.py`). It is empty if only the full state can express the change.
    """

    base_tag: str
    splices: bytes
    patch: bytes


class FeedMessage(Struct, frozen=True):
    """One version of a session with its event, as the feed sends it and the bounded history keeps it.

    `at_ms` is the instant of the event. Watchers receive nothing after a deleted snapshot. With a `change`, the change
    is sent and the document is not.
    """

    session_id: str
    snapshot: Snapshot
    event_type: EventType
    at_ms: int
    participant_id: str | None = None
    change: DocumentChange | None = None

    @classmethod
    def from_transition(
        cls, transition: Transition, document: bytes, tag: str = "", change: DocumentChange | None = None
    ) -> "FeedMessage":
        """Build the message for a transition; `document` is the rendered state after it."""
        event, after = transition.event, transition.state
        return cls(
            after.session_id,
            Snapshot(after.epoch, after.version, document, tag, after.deleted),
            event.type,
            event.at_ms,
            event.participant_id,
            change,
        )

    @property
    def body(self) -> bytes:
        """Return the bytes to send: the document, or splices that make it of the document before."""
        return self.snapshot.document if self.change is None else self.change.splices

    def render_header(self) -> bytes:
        """Render the lines before the body: a line of JSON and, if there is a change, a line with its merge patch."""
        snapshot = self.snapshot
        header: dict[str, Any] = {
            "session_id": self.session_id,
            "epoch": snapshot.epoch,
            "version": snapshot.version,
            "event_type": self.event_type,
            "at_ms": self.at_ms,
            "tag": snapshot.tag,
        }
        if self.participant_id is not None:
            header["participant_id"] = self.participant_id
        if snapshot.deleted:
            header["deleted"] = True
        if self.change is None:
            return orjson.dumps(header, option=orjson.OPT_APPEND_NEWLINE)
        header["base"] = self.change.base_tag
        return b"%b\n%b\n" % (orjson.dumps(header), self.change.patch)


class MessageWithBody(Struct, frozen=True):
    """A feed message as it is sent or kept: `message` has an empty document, and `body` leads to a document.

    In the feed, the body makes this version's document of the document before. In the history, the body leads back: it
    makes the document before of this version's document, and it is empty for the first version.
    """

    message: FeedMessage
    body: bytes

    @classmethod
    def parse(cls, packed: bytes) -> "MessageWithBody":
        """Parse the header and cut off the body without reading it."""
        line, _, body = packed.partition(b"\n")
        header = orjson.loads(line)
        change, base_tag = None, header.get("base")
        if base_tag is not None:
            patch, _, body = body.partition(b"\n")
            change = DocumentChange(base_tag, body, patch)
        message = FeedMessage(
            header["session_id"],
            Snapshot(header["epoch"], header["version"], b"", header.get("tag", ""), header.get("deleted", False)),
            EventType(header["event_type"]),
            header["at_ms"],
            header.get("participant_id"),
            change,
        )
        return cls(message, body)

    def unpack(self, document_before: bytes) -> FeedMessage:
        """Return the feed's message with its document. Raises ValueError if splices are for another document."""
        return self.with_document(apply_body(document_before, self.body))

    def with_document(self, document: bytes) -> FeedMessage:
        """Return the message with this document."""
        return replace(self.message, snapshot=replace(self.message.snapshot, document=document))
