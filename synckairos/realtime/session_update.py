"""One version of a session on its way to its watchers, and every frame that was made of it, made once for all."""

from collections.abc import Callable, Hashable
from itertools import count

from synckairos.clock.model import EventType
from synckairos.store.snapshot import Stored
from synckairos.wire import document_merge_patch
from synckairos.wire.document_parts import DocumentParts
from synckairos.wire.feed_message import FeedMessage

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
    `state` is the stored document and `tag` its name, `server_time_ms` Redis time, as estimated here, at which this
    instance had it.
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
        "state",
        "tag",
        "version",
    )

    def __init__(
        self,
        session_id: str,
        epoch: str,
        version: int,
        state: bytes,
        server_time_ms: int,
        *,
        tag: str = "",
        deleted: bool = False,
        message: FeedMessage | None = None,
    ) -> None:
        self.session_id = session_id
        self.epoch = epoch
        self.version = version
        self.state = state
        self.server_time_ms = server_time_ms
        self.tag = tag
        self.deleted = deleted
        self.message = message
        self.is_event = deleted or (message is not None and message.event_type in TOLD)
        self.serial = next(_serials)
        self._frames: dict[Hashable, bytes] = {}
        self._parts: DocumentParts | None = None
        self.deltas: dict[int, bytes] = {}
        """Frames that lead here, by the serial of what was sent before."""

    @classmethod
    def of(cls, message: FeedMessage, server_time_ms: int) -> "SessionUpdate":
        return cls(
            message.session_id,
            message.epoch,
            message.version,
            message.document,
            server_time_ms,
            tag=message.tag,
            deleted=message.deleted,
            message=message,
        )

    @property
    def was_found_deleted(self) -> bool:
        """Tell whether this is a tombstone that was found, not put up: who had nothing waits for the next life."""
        return self.deleted and self.message is None

    @property
    def stored(self) -> Stored:
        """Return what Redis holds with this version, as far as it is known here."""
        return Stored(self.epoch, self.version, self.deleted, self.state, tag=self.tag)

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
        if change is not None and change.base_tag == before.tag:
            return change.patch or None
        return document_merge_patch.render_patch(before.parts(), self.parts())

    def parts(self) -> DocumentParts:
        """Return the state cut into rows, the first time it is asked for."""
        if self._parts is None:
            self._parts = DocumentParts.parse(self.state)
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
        return (self.version, self.tag) != (known.version, known.tag)
