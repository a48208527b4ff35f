"""One version of a session for its watchers, with a cache of the frames rendered from it."""

from collections.abc import Callable, Hashable
from itertools import count

from synckairos.clock.model import EventType
from synckairos.wire import document_merge_patch
from synckairos.wire.document_split import DocumentParts
from synckairos.wire.feed_message import FeedMessage
from synckairos.wire.session_version import Snapshot

EVENTS_SENT = frozenset(
    {
        EventType.TIME_WARNING,
        EventType.PARTICIPANT_EXPIRED,
        EventType.GROUP_EXPIRED,
        EventType.CYCLE_EXPIRED,
        EventType.SESSION_EXPIRED,
        EventType.SESSION_DELETED,
    }
)
"""Event types that v3 sends as EVENT: no command caused them, and a client that gets a later state would miss them."""

_serials = count()


class SessionUpdate:
    """A version of a session.

    `message` is the feed message, None if only the state is known. `is_event`: v3 also sends an EVENT.
    `serial` is unique in this process. `epoch` and `version` are those of the snapshot: the fan-out compares them for
    each watcher. `server_time_ms` is the Redis time, as estimated here, at which this instance got the version.
    """

    __slots__ = (
        "_frames",
        "_parts",
        "deltas",
        "epoch",
        "is_event",
        "message",
        "serial",
        "server_time_ms",
        "session_id",
        "snapshot",
        "version",
    )

    def __init__(
        self, session_id: str, snapshot: Snapshot, server_time_ms: int, message: FeedMessage | None = None
    ) -> None:
        self.session_id = session_id
        self.snapshot = snapshot
        self.epoch = snapshot.epoch
        self.version = snapshot.version
        self.server_time_ms = server_time_ms
        self.message = message
        self.is_event = snapshot.deleted or (message is not None and message.event_type in EVENTS_SENT)
        self.serial = next(_serials)
        self._frames: dict[Hashable, bytes] = {}
        self._parts: DocumentParts | None = None
        self.deltas: dict[int, bytes] = {}
        """Frames that lead to this version, by the serial of the update that was sent before."""

    @classmethod
    def from_message(cls, message: FeedMessage, server_time_ms: int) -> "SessionUpdate":
        return cls(message.session_id, message.snapshot, server_time_ms, message)

    @property
    def is_found_tombstone(self) -> bool:
        """Return whether this deletion was read from the store, without its feed message.

        A watcher that never had a state ignores it and waits until the session is created again.
        """
        return self.snapshot.deleted and self.message is None

    def frame(self, kind: Hashable, render: Callable[["SessionUpdate"], bytes]) -> bytes:
        """Return the frame of one kind; `render` is called only for the first watcher."""
        frame = self._frames.get(kind)
        if frame is None:
            frame = self._frames[kind] = render(self)
        return frame

    def patch_from(self, before: "SessionUpdate") -> bytes | None:
        """Return the merge patch from another version to this one; None if only the full state can express the change.

        The patch comes from the feed message if that starts at `before`; otherwise it is built from both documents.
        """
        change = None if self.message is None else self.message.change
        if change is not None and change.base_tag == before.snapshot.tag:
            return change.patch or None
        return document_merge_patch.render_patch(before.parts(), self.parts())

    def parts(self) -> DocumentParts:
        """Return the parts of the document; it is parsed at the first call."""
        if self._parts is None:
            self._parts = DocumentParts.parse(self.snapshot.document)
        return self._parts

    def is_covered_by(self, other: "SessionUpdate | None") -> bool:
        """Return whether a watcher that has `other` needs this version no more. Compares versions of one epoch only."""
        return other is not None and other.epoch == self.epoch and other.version >= self.version

    def shows_loss_of(self, known: "SessionUpdate") -> bool:
        """Return whether this update, read after `known` was committed, shows that the store lost `known`.

        The store went back to an earlier version. It may have issued the version number again with other content.
        """
        if self.epoch != known.epoch or self.version > known.version:
            return False
        return (self.version, self.snapshot.tag) != (known.version, known.snapshot.tag)
