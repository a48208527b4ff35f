"""One version of a session on its way to its watchers, and every frame that was made of it, made once for all."""

from collections.abc import Callable, Hashable
from itertools import count

from synckairos.clock.model import EventType
from synckairos.wire import document_merge_patch
from synckairos.wire.document_parts import DocumentParts
from synckairos.wire.feed_message import FeedMessage
from synckairos.wire.snapshot import Snapshot

TOLD = frozenset(
    {
        EventType.TIME_WARNING,
        EventType.PARTICIPANT_EXPIRED,
        EventType.GROUP_EXPIRED,
        EventType.CYCLE_EXPIRED,
        EventType.SESSION_EXPIRED,
        EventType.SESSION_DELETED,
    }
)
"""What is an event of its own: it happened by itself, and a state that skips it wouldn't tell."""

_serials = count()


class SessionUpdate:
    """A version of a session. `message` is None where only its state is known, not how it came about.

    `is_event` says that it is to be told as an event, too. No two updates of a process have the same `serial`.
    `epoch` and `version` are those of the snapshot: the fan-out compares them for each watcher. `server_time_ms` is
    Redis time, as estimated here, at which this instance had it.
    """

    __slots__ = (
        "_frames",
        "_parts",
        "deleted",
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
        self.is_event = snapshot.deleted or (message is not None and message.event_type in TOLD)
        self.serial = next(_serials)
        self._frames: dict[Hashable, bytes] = {}
        self._parts: DocumentParts | None = None
        self.deltas: dict[int, bytes] = {}
        """Frames that lead here, by the serial of what was sent before."""

    @classmethod
    def of(cls, message: FeedMessage, server_time_ms: int) -> "SessionUpdate":
        return cls(message.session_id, message.snapshot, server_time_ms, message)

    @property
    def was_found_deleted(self) -> bool:
        """Tell whether this is a tombstone that was found, not put up: who had nothing waits for the next life."""
        return self.snapshot.deleted and self.message is None

    def frame(self, kind: Hashable, make: Callable[["SessionUpdate"], bytes]) -> bytes:
        """Return the frame of one kind, made the first time it is asked for."""
        frame = self._frames.get(kind)
        if frame is None:
            frame = self._frames[kind] = make(self)
        return frame

    def patch_from(self, before: "SessionUpdate") -> bytes | None:
        """Return the merge patch that leads here from another version, None where only the full state can say it.

        Ready where it came with the message; else made of the two states.
        """
        change = None if self.message is None else self.message.change
        if change is not None and change.base_tag == before.snapshot.tag:
            return change.patch or None
        return document_merge_patch.render_patch(before.parts(), self.parts())

    def parts(self) -> DocumentParts:
        """Return the state cut into rows, the first time it is asked for."""
        if self._parts is None:
            self._parts = DocumentParts.parse(self.snapshot.document)
        return self._parts

    def is_covered_by(self, other: "SessionUpdate | None") -> bool:
        """Tell whether who has `other` has this one, too, as far as one epoch can tell."""
        return other is not None and other.epoch == self.epoch and other.version >= self.version

    def shows_loss_of(self, known: "SessionUpdate") -> bool:
        """Tell whether a store where this was read after `known` had been there has lost that one.

        It went back then, and may have issued the version anew with other content.
        """
        if self.epoch != known.epoch or self.version > known.version:
            return False
        return (self.version, self.snapshot.tag) != (known.version, known.snapshot.tag)
