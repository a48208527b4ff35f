"""One version of a session on its way to its watchers, and every frame that was made of it, made once for all."""

from collections.abc import Callable, Hashable

from synckairos.wire.delta import Json, keyed
from synckairos.wire.entry import FeedMessage


class Update:
    """A version of a session. `message` is None where only its state is known, not how it came about.

    `state` is the stored document, `server_time_ms` Redis time, as estimated here, at which this instance had it.
    """

    __slots__ = (
        "_frames",
        "_keyed",
        "deleted",
        "deltas",
        "epoch",
        "message",
        "server_time_ms",
        "session_id",
        "state",
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
        deleted: bool = False,
        message: FeedMessage | None = None,
    ) -> None:
        self.session_id = session_id
        self.epoch = epoch
        self.version = version
        self.state = state
        self.server_time_ms = server_time_ms
        self.deleted = deleted
        self.message = message
        self._frames: dict[Hashable, bytes] = {}
        self._keyed: Json | None = None
        self.deltas: dict[int, bytes] = {}
        """Frames that lead here from an earlier version of this epoch, by that version."""

    @classmethod
    def of(cls, message: FeedMessage, server_time_ms: int) -> "Update":
        return cls(
            message.session_id,
            message.epoch,
            message.version,
            message.state,
            server_time_ms,
            deleted=message.deleted,
            message=message,
        )

    def frame(self, kind: Hashable, make: Callable[["Update"], bytes]) -> bytes:
        """Return the frame of one kind, made the first time it is asked for."""
        frame = self._frames.get(kind)
        if frame is None:
            frame = self._frames[kind] = make(self)
        return frame

    def keyed(self) -> Json:
        """Return the state in the form that patches are made on, parsed the first time it is asked for."""
        if self._keyed is None:
            self._keyed = keyed(self.state)
        return self._keyed

    def is_covered_by(self, other: "Update | None") -> bool:
        """Tell whether who has `other` has this one, too, as far as one epoch can tell."""
        return other is not None and other.epoch == self.epoch and other.version >= self.version
