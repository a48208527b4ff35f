"""Feed messages: one committed version, as instances send it to each other and as the history in Redis keeps it.

A feed message carries the session's document as the bytes that were stored, or the splices that make these bytes.
"""

from dataclasses import dataclass
from typing import Any

import orjson

from synckairos.clock.model import EventType, Transition
from synckairos.fast_dataclass import fast_dataclass, replace
from synckairos.wire.document_splices import apply_body


@fast_dataclass
@dataclass(frozen=True, slots=True)
class DocumentChange:
    """The change from the version before, whose tag is `base_tag`, to this version.

    `splices` make this version's document of the document before (format: `document_splices.py`). `patch` is the merge
    patch for clients (`document_merge_patch.py`). It is empty if only the full state can express the change.
    """

    base_tag: str
    splices: bytes
    patch: bytes


@fast_dataclass
@dataclass(frozen=True, slots=True)
class FeedMessage:
    """One version of a session, as the feed sends it and the bounded history keeps it.

    `document` is the session's JSON. `tag` is a random name for exactly these bytes: after a failover, a version number
    can be issued again with other content. `deleted` marks the last version of a deleted session: watchers receive it
    and nothing after it. With a `change`, the change is sent and the document is not.
    """

    session_id: str
    epoch: str
    version: int
    event_type: EventType
    at_ms: int
    document: bytes
    participant_id: str | None = None
    deleted: bool = False
    tag: str = ""
    change: DocumentChange | None = None

    @classmethod
    def from_transition(
        cls, transition: Transition, document: bytes, tag: str = "", change: DocumentChange | None = None
    ) -> "FeedMessage":
        """Build the message for a transition; `document` is the rendered state after it."""
        event, after = transition.event, transition.state
        return cls(
            session_id=after.session_id,
            epoch=after.epoch,
            version=after.version,
            event_type=event.type,
            at_ms=event.at_ms,
            document=document,
            participant_id=event.participant_id,
            deleted=after.deleted,
            tag=tag,
            change=change,
        )

    @property
    def body(self) -> bytes:
        """Return the bytes to send: the document, or splices that make it of the document before."""
        return self.document if self.change is None else self.change.splices

    def render_header(self) -> bytes:
        """Render the lines before the body: a line of JSON and, if there is a change, a line with its merge patch."""
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
        header["base"] = self.change.base_tag
        return b"%b\n%b\n" % (orjson.dumps(header), self.change.patch)


@fast_dataclass
@dataclass(frozen=True, slots=True)
class PackedMessage:
    """A feed message as it is sent or kept: `message` has an empty document, and `body` leads to a document.

    In the feed, the body makes this version's document of the document before. In the history, the body leads back: it
    makes the document before of this version's document, and it is empty for the first version.
    """

    message: FeedMessage
    body: bytes

    @classmethod
    def parse(cls, packed: bytes) -> "PackedMessage":
        """Parse the header and cut off the body without reading it."""
        header, _, body = packed.partition(b"\n")
        fields = orjson.loads(header)
        fields["event_type"] = EventType(fields["event_type"])
        base_tag = fields.pop("base", None)
        if base_tag is None:
            return cls(FeedMessage(document=b"", **fields), body)
        patch, _, body = body.partition(b"\n")
        return cls(FeedMessage(document=b"", change=DocumentChange(base_tag, body, patch), **fields), body)

    def unpack(self, document_before: bytes) -> FeedMessage:
        """Return the feed's message with its document. Raises ValueError if splices are for another document."""
        return self.with_document(apply_body(document_before, self.body))

    def with_document(self, document: bytes) -> FeedMessage:
        """Return the message with this document."""
        return replace(self.message, document=document)
