"""Feed messages: one committed version of a session, in the feed between instances and in the version history in Redis.

A feed message contains the session's document as the stored bytes, or the splices that result in these bytes.
"""

from typing import Any

import orjson
from msgspec import Struct
from msgspec.json import Decoder

from synckairos.clock.transition import Charge, EventType, Transition
from synckairos.frozen_replace import replace
from synckairos.wire.charges_json import ChargeRow, charge_rows, parse_charge_rows
from synckairos.wire.document_splices import apply_message_body
from synckairos.wire.snapshot import SessionSnapshot

EVENTS_SENT = frozenset(
    {
        EventType.TIME_WARNING,
        EventType.OVERTIME_STARTED,
        EventType.PARTICIPANT_EXPIRED,
        EventType.GROUP_EXPIRED,
        EventType.CYCLE_EXPIRED,
        EventType.SESSION_EXPIRED,
        EventType.SESSION_DELETED,
    }
)
"""Event types for which v3 always sends an EVENT message before the state.

In sessions of the second edition, each event that time caused also has an EVENT message. Most of these events come
without a command. Without the messages, a slow client that skips states would miss the events.
"""


class DocumentChange(Struct, frozen=True):
    """The change from the version before to this version of a session. `base_tag` is the tag of the version before.

    `splices` turn the document of the version before into this version's document (format: `document_splices.py`).
    `patch` is the merge patch for clients (`document_merge_patch.py`). `patch` is empty if clients need the full state.
    """

    base_tag: str
    splices: bytes
    patch: bytes


class FeedMessage(Struct, frozen=True):
    """One version of a session with its event, as it is in the feed and in the version history.

    `at_ms` is the instant of the event. If `snapshot.deleted` is True, this is the last message of the session. If
    `change` is set, the change is sent instead of the document. `charges` has the charges of the event if its type is
    one of `EVENTS_SENT`, or if time caused it, else it is empty. `participant_ids` is empty unless the event concerns
    several participants. `is_by_time` is True if time caused the event, and not a command. It is False in messages of
    earlier releases, which do not say the cause.
    """

    session_id: str
    snapshot: SessionSnapshot
    event_type: EventType
    at_ms: int
    participant_id: str | None = None
    change: DocumentChange | None = None
    charges: tuple[Charge, ...] = ()
    participant_ids: tuple[str, ...] = ()
    is_by_time: bool = False

    @classmethod
    def from_transition(
        cls,
        transition: Transition,
        document: bytes,
        tag: str = "",
        change: DocumentChange | None = None,
        *,
        is_by_time: bool = False,
    ) -> "FeedMessage":
        """Return the feed message of a transition. `document` must be the rendered state after the transition."""
        event, after = transition.event, transition.state
        return cls(
            after.session_id,
            SessionSnapshot(after.epoch, after.version, document, tag, after.deleted),
            event.type,
            event.at_ms,
            event.participant_id,
            change,
            (event.charges or ()) if event.type in EVENTS_SENT or is_by_time else (),
            event.participant_ids,
            is_by_time,
        )

    @property
    def document_or_splices(self) -> bytes:
        """Return the body to send: the splices if `change` is set, otherwise the document."""
        return self.snapshot.document if self.change is None else self.change.splices

    def render_header(self) -> bytes:
        """Render the lines before the body: a line of JSON and, if there is a change, a line with its merge patch.

        The result ends with a line feed. The second line is empty if clients need the full state.
        """
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
        if self.participant_ids:
            header["participant_ids"] = self.participant_ids
        if snapshot.deleted:
            header["deleted"] = True
        if self.charges:
            header["charges"] = charge_rows(self.charges)
        if self.is_by_time:
            header["by_time"] = True  # earlier releases ignore members that they do not know
        if self.change is None:
            return orjson.dumps(header, option=orjson.OPT_APPEND_NEWLINE)
        header["base"] = self.change.base_tag
        return b"%b\n%b\n" % (orjson.dumps(header), self.change.patch)


class _Header(Struct, frozen=True):
    session_id: str
    epoch: str
    version: int
    event_type: EventType
    at_ms: int
    tag: str = ""
    participant_id: str | None = None
    deleted: bool = False
    base: str | None = None
    charges: tuple[ChargeRow, ...] = ()
    participant_ids: tuple[str, ...] = ()
    by_time: bool = False


_decode_header = Decoder(_Header).decode


class PackedFeedMessage(Struct, frozen=True):
    """A feed message as it is sent or stored: `message` with an empty document, and `body`, which leads to a document.

    In the feed, the body leads from the document of the version before to this version's document. In the version
    history, the body leads from this version's document back to the document of the version before. There it is empty
    for the first version of the session.
    """

    message: FeedMessage
    body: bytes

    @classmethod
    def parse(cls, packed: bytes) -> "PackedFeedMessage":
        """Return the packed feed message that the bytes contain. The body is not parsed.

        Raises: MsgspecError if the header is malformed.
        """
        line, _, body = packed.partition(b"\n")
        header = _decode_header(line)
        change = None
        if header.base is not None:
            patch, _, body = body.partition(b"\n")
            change = DocumentChange(header.base, body, patch)
        message = FeedMessage(
            header.session_id,
            SessionSnapshot(header.epoch, header.version, b"", header.tag, header.deleted),
            header.event_type,
            header.at_ms,
            header.participant_id,
            change,
            parse_charge_rows(header.charges),
            header.participant_ids,
            header.by_time,
        )
        return cls(message, body)

    def apply_to(self, document_before: bytes) -> FeedMessage:
        """Return the feed message with its document.

        Call this only for a message from the feed, not from the version history.

        `document_before` must be the document of the version before. Only its length is checked, so the caller must
        compare its tag with `change.base_tag`.

        Raises: ValueError if the splices are for a document of another length.
        """
        return self.with_document(apply_message_body(document_before, self.body))

    def with_document(self, document: bytes) -> FeedMessage:
        """Return the feed message with `document` as its document. Used for messages from the version history."""
        return replace(self.message, snapshot=replace(self.message.snapshot, document=document))
