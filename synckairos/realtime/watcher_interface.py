"""Watchers, as the hub and presence see them, and their subscriptions to sessions.

The connections of both dialects are watchers. The hub does not know the dialect nor the socket.
"""

from typing import Protocol

from synckairos.principal import Principal
from synckairos.realtime.session_update import SessionUpdate


class Subscription:
    """A watcher's subscription to a session, with the positions in the sequence of its versions."""

    __slots__ = ("backlog", "notified", "sent", "session_id", "sync_request", "unsent", "watcher")

    def __init__(self, watcher: "Watcher", session_id: str) -> None:
        self.watcher = watcher
        self.session_id = session_id
        self.notified: SessionUpdate | None = None
        """The last version given to the watcher."""
        self.sent: SessionUpdate | None = None
        """The last version written to the socket."""
        self.unsent: SessionUpdate | None = None
        """The newest version, if it is not written yet."""
        self.sync_request: object | None = None
        """The request, in the dialect's form, that the next full state answers."""
        self.backlog: list[SessionUpdate] | None = []
        """Updates that came during the first read; None after it."""


class Watcher(Protocol):
    """A connection subscribed to sessions. All methods are called synchronously and must not block."""

    principal: Principal
    subscriptions: dict[str, Subscription]
    """By session id."""

    def notify(self, subscription: Subscription, update: SessionUpdate) -> None:
        """Take a version that is newer than all before."""

    def send_if_ready(self, frame: bytes) -> bool:
        """Send a frame if the socket is ready; return whether it was sent."""

    def check_liveness(self, now_s: float) -> None:
        """Ping or close a connection whose client does not respond. `now_s` is `time.monotonic()`."""

    def announce_shutdown(self, spread_s: float) -> None:
        """Announce that this instance stops; it closes all connections within `spread_s` seconds."""

    def close_for_shutdown(self) -> None:
        """Unsubscribe from all sessions and close the connection, because this instance stops."""
