"""Interface between the hub and the connections: `Watcher`, and `Subscription` to one session.

The connections of both dialects (v2 and v3) implement `Watcher`. The hub is independent of dialects and sockets.
"""

from typing import Protocol

from synckairos.principal import Principal
from synckairos.realtime.session_update import SessionUpdate
from synckairos.revocations.credential_ends import EndReason
from synckairos.service.visible_rows import find_row_limit
from synckairos.session_names import session_name


class Subscription:
    """A watcher's subscription to one session, with the latest versions that the watcher got and sent."""

    __slots__ = (
        *("backlog", "notified", "only", "requested_row", "sent", "session_id", "session_name", "sync_request"),
        *("unsent", "watcher"),
    )

    def __init__(self, watcher: "Watcher", session_id: str) -> None:
        self.watcher = watcher
        self.session_id = session_id
        self.session_name = session_name(watcher.principal.tenant, session_id)
        """The name of the session in the tenant of the client. The tenant of a connection never changes."""
        self.notified: SessionUpdate | None = None
        """The latest version that the hub passed to the watcher. None before the first version."""
        self.sent: SessionUpdate | None = None
        """The latest version that the watcher wrote to its socket. None before the first version."""
        self.unsent: SessionUpdate | None = None
        """The newest version, which waits until the socket is ready. None if no version waits."""
        self.sync_request: object | None = None
        """The client's request that the next full state must answer, as the dialect's class. None without a request."""
        self.requested_row: str | None = None
        """The participant whose row the client requested alone. None if it requested all rows."""
        self.only: str | None = None
        """The participant whose row the client gets alone, `NO_PARTICIPANT` for no row. None if it gets all rows."""
        self.backlog: list[SessionUpdate] | None = []
        """Updates that arrived before `Hub.activate_subscription` was called; None after this call."""

    def limit_rows(self, update: SessionUpdate) -> None:
        """Set `only` to the rows of `update` that the client can get. If it changes, the full state is sent next.

        Call this after the rights of the client can have changed, and before an update is sent.
        """
        limit = find_row_limit(self.watcher.principal, self.session_id, update.snapshot.document)
        only = self.requested_row if limit is None else limit
        if only != self.only:
            self.only = only
            self.sent = None


class Watcher(Protocol):
    """A connection that can subscribe to sessions. The methods are synchronous and must not block."""

    principal: Principal
    subscriptions: dict[str, Subscription]
    """Subscriptions of this connection, by session id."""

    def notify_of_update(self, subscription: Subscription, update: SessionUpdate) -> None:
        """Send an update to the client, or keep the update for later.

        Without data loss, the version is newer than all versions of this epoch that the hub passed before. After data
        loss the version can be lower.
        """

    def end_without_right(self, subscription: Subscription) -> None:
        """Unsubscribe from a session that the client is not allowed to watch any more, and tell the client."""

    def end_undecided(self, subscription: Subscription) -> None:
        """Unsubscribe from a session whose rights no store can decide now, and tell the client to try again."""

    def try_send_frame(self, frame: bytes) -> bool:
        """Send a frame if the socket is ready. Return whether the frame was sent."""

    def check_liveness(self, now_s: float) -> None:
        """Ping a client that sent no data for some time, and close the connection of a client that does not respond.

        `now_s` is the present instant in seconds, by `time.monotonic()`.
        """

    def warn_of_end(self, within_ms: int) -> None:
        """Notify the client that its credential ends within `within_ms` milliseconds, if the dialect has a message."""

    def end_with_credential(self, reason: EndReason) -> None:
        """Unsubscribe from all sessions and begin to close the connection, because its credential has ended."""

    def apply_rights(self) -> None:
        """Check all subscriptions again, after the credential or the member rows of the client have changed."""

    def announce_shutdown(self, spread_s: float) -> None:
        """Send the client an announcement of the shutdown, if the dialect has one.

        `spread_s` is the number of seconds over which the instance closes its connections.
        """

    def close_for_shutdown(self) -> None:
        """Unsubscribe from all sessions and begin to close the connection, at shutdown of the instance."""
