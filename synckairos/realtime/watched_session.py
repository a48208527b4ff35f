"""The state of one session that is watched on this instance."""

import asyncio

from synckairos.limits.shared_read import SharedRead
from synckairos.realtime.session_update import SessionUpdate
from synckairos.realtime.watcher_interface import Subscription


class WatchedSession:
    """A session that has watchers or change events on this instance."""

    __slots__ = ("change_events", "ended_epoch", "latest", "shared_read", "subscriptions")

    def __init__(self) -> None:
        self.change_events: set[asyncio.Event] = set()
        self.subscriptions: set[Subscription] = set()
        self.latest: SessionUpdate | None = None
        self.ended_epoch = ""
        """Epoch that a read of the store proved to be ended, although its end did not arrive through the feed yet.

        Only watchers that have a state of this epoch still get updates of this epoch. Empty if there is no such epoch.
        """
        self.shared_read: SharedRead[SessionUpdate] = SharedRead()
