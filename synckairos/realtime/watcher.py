"""A client as the hub and presence see it, and its place in each session that it watches.

Connections of both dialects are such watchers: who tells needn't know how it is said, nor on what socket.
"""

from typing import Protocol

from synckairos.principal import Principal
from synckairos.realtime.session_update import SessionUpdate


class Subscription:
    """A watcher's place in a session: what it heard of last, what it was sent last, and the newest that waits."""

    __slots__ = ("asked", "backlog", "connection", "heard", "pending", "sent", "session_id")

    def __init__(self, connection: "Watcher", session_id: str) -> None:
        self.connection = connection
        self.session_id = session_id
        self.heard: SessionUpdate | None = None
        self.sent: SessionUpdate | None = None
        self.pending: SessionUpdate | None = None
        self.asked: object | None = None
        """The request, as the dialect knows it, that a full state is still to answer."""
        self.backlog: list[SessionUpdate] | None = []
        """What came while the first read was under way; None once that is done."""


class Watcher(Protocol):
    """What a client is told. Called synchronously; nothing here waits for it."""

    principal: Principal
    subscriptions: dict[str, Subscription]
    """By session id."""

    def take(self, subscription: Subscription, update: SessionUpdate) -> None:
        """Hear of a version that is newer than all before."""

    def show(self, frame: bytes) -> bool:
        """Take a frame at once, or not at all; tell which."""

    def check(self, now: float) -> None:
        """Look whether anybody is still there. `now` is `time.monotonic()`."""

    def going_away(self, spread_s: float) -> None:
        """Hear that this instance stops; all its clients are sent away within `spread_s`."""

    def send_away(self) -> None:
        """Leave all sessions and say goodbye, because this instance stops."""
