"""Connections and watched sessions of this instance, and the fan-out of each update to its watchers.

The fan-out never waits for a watcher. The hub knows clients only as watchers, Redis only through the feed, and sessions
only through one read function.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress

from synckairos.errors import SessionNotFound, StoreUnavailable
from synckairos.realtime.presence import PresenceTracker
from synckairos.realtime.session_update import SessionUpdate
from synckairos.realtime.shared_read import SharedRead
from synckairos.realtime.timings import DEFAULT_TIMINGS, RealtimeTimings
from synckairos.realtime.watcher_interface import Subscription, Watcher
from synckairos.service.requests import Answer
from synckairos.store.feed import Feed
from synckairos.telemetry import log
from synckairos.telemetry.metrics import WEBSOCKET_CONNECTIONS
from synckairos.wire.feed_message import FeedMessage
from synckairos.wire.session_version import Snapshot

DRAIN_BATCH = 100
"""Connections closed together while this instance drains."""

DRAIN_A_SECOND = 2_500
"""Connections closed a second while this instance drains: their clients reconnect to the other instances."""

logger = log.get_logger(__name__)

ReadSession = Callable[[str], Awaitable[Answer]]


class _WatchedSession:
    """A session with watchers or change events on this instance."""

    __slots__ = ("change_events", "ended_epoch", "latest", "shared_read", "subscriptions")

    def __init__(self) -> None:
        self.change_events: set[asyncio.Event] = set()
        self.subscriptions: set[Subscription] = set()
        self.latest: SessionUpdate | None = None
        self.ended_epoch = ""
        """An epoch known to be over before its end was received. Only watchers of that epoch still get its updates."""
        self.shared_read: SharedRead[SessionUpdate] = SharedRead()


class Hub:
    """All connections of this instance and the sessions that they watch. The hub is the feed's listener."""

    def __init__(
        self,
        feed: Feed,
        read_session: ReadSession,
        presence: PresenceTracker,
        *,
        max_connections: int,
        max_per_address: int,
        timings: RealtimeTimings = DEFAULT_TIMINGS,
    ) -> None:
        """Take the feed of versions, the function that reads a session for a new watcher, and the presence tracker.

        `max_per_address` limits the connections from one IP address.
        """
        self.server_time = feed.server_time
        self.presence = presence
        self.timings = timings
        self.connections: set[Watcher] = set()
        self.is_draining = False
        self._feed = feed
        self._read_session = read_session
        self._max_connections = max_connections
        self._max_per_address = max_per_address
        self._by_address: Counter[str] = Counter()
        self._sessions: dict[str, _WatchedSession] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def is_full(self, address: str) -> bool:
        """Return whether no further connection is allowed, in all or from this address. Unix sockets have none ("")."""
        if len(self.connections) >= self._max_connections:
            return True
        return bool(address) and self._by_address[address] >= self._max_per_address

    def now_ms(self) -> int:
        """Return Redis time, estimated from the feed's heartbeats."""
        return self.server_time.now_ms()

    # -- connections --------------------------------------------------------------------------------------------------

    def add(self, connection: Watcher) -> None:
        self.connections.add(connection)
        self._by_address[connection.principal.address] += 1
        WEBSOCKET_CONNECTIONS.set(len(self.connections))

    def remove(self, connection: Watcher) -> None:
        if connection not in self.connections:
            return
        self.connections.discard(connection)
        address = connection.principal.address
        self._by_address[address] -= 1
        if not self._by_address[address]:
            del self._by_address[address]
        WEBSOCKET_CONNECTIONS.set(len(self.connections))

    def spawn(self, request: Awaitable[None]) -> None:
        """Run a client's request as a task; the request must handle its own errors."""
        task = asyncio.ensure_future(request)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (fault := task.exception()) is not None:
            logger.error("a client's request failed", exc_info=fault)

    # -- subscriptions ------------------------------------------------------------------------------------------------

    async def subscribe(self, subscription: Subscription) -> SessionUpdate | None:
        """Add a subscription, then return the session's current version, None if there is no session.

        From this call on no version is missed: until `activate`, versions are kept in the subscription's backlog.
        Raises: StoreUnavailable. The subscription then stays, and gets the state when the store is available.
        """
        session_id = subscription.session_id
        self._watch(session_id).subscriptions.add(subscription)
        try:
            await self._feed.watch(session_id)
            current = await self.read_current(session_id)
            backlog = subscription.backlog or []
            while current is not None and any(each.epoch != current.epoch for each in backlog):
                # One of the two epochs is over. A read that begins now shows which, and includes the whole backlog.
                backlog.clear()
                current = await self.read_current(session_id)
        except Exception:
            self._feed.request_renewal(session_id)
            raise
        return current

    async def read_current(self, session_id: str) -> SessionUpdate | None:
        """Return a session's current version or a newer one, None if there is no session. Raises: StoreUnavailable.

        Concurrent callers share a read that began after each call. A version that the store lost is not returned,
        even before the watchers that got it are corrected.
        """
        session = self._sessions.get(session_id) or _WatchedSession()
        known = session.latest
        try:
            update = await self._read_shared(session_id, session)
            before = session.latest
            if before is not None and before.epoch != update.epoch:
                # One of the two epochs is over. A read that begins now shows which.
                update = await self._read_shared(session_id, session)
                if before.epoch != update.epoch:
                    session.ended_epoch = before.epoch
        except SessionNotFound:
            return None
        self._feed.seed(session_id, update.snapshot)
        latest = session.latest
        if latest is None or not update.is_covered_by(latest) or (latest is known and update.shows_loss_of(latest)):
            session.latest = update
        return session.latest

    async def _read_shared(self, session_id: str, session: _WatchedSession) -> SessionUpdate:
        async def read() -> SessionUpdate:
            answer = await self._read_session(session_id)
            return SessionUpdate(session_id, answer.snapshot, self.now_ms())

        return await session.shared_read.join(read)

    async def read_history(self, current: SessionUpdate) -> Iterator[SessionUpdate]:
        """Return the kept versions of a session, newest first, from the current one. Raises: StoreUnavailable."""
        now_ms = self.now_ms()
        return (
            SessionUpdate.from_message(message, now_ms)
            for message in await self._feed.history(current.session_id, current.snapshot)
        )

    def activate(self, subscription: Subscription, current: SessionUpdate | None) -> None:
        """Start direct notification: the watcher has `current` and gets the newer versions of its backlog."""
        backlog, subscription.backlog = subscription.backlog or [], None
        subscription.notified = current
        for update in backlog:
            is_news = subscription.notified is not None or not update.is_found_tombstone
            if is_news and not update.is_covered_by(subscription.notified):
                subscription.notified = update
                subscription.watcher.notify(subscription, update)
                if update.snapshot.deleted:
                    return  # the watcher has unsubscribed

    def unsubscribe(self, subscriptions: list[Subscription]) -> None:
        """Remove subscriptions. Stop watching sessions that have no watcher any more."""
        for subscription in subscriptions:
            self.presence.remove(subscription)
            session = self._sessions.get(subscription.session_id)
            if session is not None:
                session.subscriptions.discard(subscription)
                self._unwatch_if_unused(subscription.session_id, session)

    @asynccontextmanager
    async def change_event(self, session_id: str) -> AsyncIterator[asyncio.Event]:
        """Give an event that is set at each version of a session, and when this instance drains. For long polls."""
        event = asyncio.Event()
        session = self._watch(session_id)
        session.change_events.add(event)
        try:
            with suppress(StoreUnavailable):
                await self._feed.watch(session_id)
            yield event
        finally:
            session.change_events.discard(event)
            self._unwatch_if_unused(session_id, session)

    def _watch(self, session_id: str) -> _WatchedSession:
        session = self._sessions.get(session_id)
        if session is None:
            session = self._sessions[session_id] = _WatchedSession()
        return session

    def _unwatch_if_unused(self, session_id: str, session: _WatchedSession) -> None:
        if not session.subscriptions and not session.change_events and self._sessions.get(session_id) is session:
            del self._sessions[session_id]
            self._feed.unwatch(session_id)

    # -- the feed's listener ------------------------------------------------------------------------------------------

    def publish(self, message: FeedMessage) -> None:
        """Notify all watchers of a version."""
        self._fan_out(SessionUpdate.from_message(message, self.now_ms()))

    def renew(self, session_id: str, snapshot: Snapshot, went_back: bool) -> None:
        """Notify all watchers of a state that was read again because feed messages were lost.

        `went_back`: the store lost versions, so the state may have a lower version than before.
        """
        if (session := self._sessions.get(session_id)) is not None:
            if session.ended_epoch == snapshot.epoch:
                session.ended_epoch = ""  # a failover lost the epoch that followed it
            for subscription in session.subscriptions if went_back else ():
                subscription.notified = None
        self._fan_out(SessionUpdate(session_id, snapshot, self.now_ms()))

    def absent(self, session_id: str) -> None:
        """Read a watched session that is no longer in Redis: the read restores an evicted session."""
        self.spawn(self._restore(session_id))

    async def _restore(self, session_id: str) -> None:
        try:
            await self._read_session(session_id)
        except (SessionNotFound, StoreUnavailable) as fault:
            logger.warning("a watched session is gone", session_id=session_id, cause=fault.code)

    def _fan_out(self, update: SessionUpdate) -> None:
        session = self._sessions.get(update.session_id)
        if session is None:
            return
        epoch, version = update.epoch, update.version
        subscriptions = tuple(session.subscriptions)
        if epoch == session.ended_epoch:
            subscriptions = tuple(each for each in subscriptions if each.notified and each.notified.epoch == epoch)
        else:
            session.latest = None if update.snapshot.deleted else update
        if update.is_found_tombstone:
            subscriptions = tuple(each for each in subscriptions if each.notified or each.backlog is not None)
        for event in session.change_events:
            event.set()
        # Hot path: the cost of each watcher. Everything that can be outside of this loop is outside.
        for subscription in subscriptions:
            notified = subscription.notified
            if subscription.backlog is not None:
                subscription.backlog.append(update)
            elif notified is None or notified.version < version or notified.epoch != epoch:
                subscription.notified = update
                subscription.watcher.notify(subscription, update)

    # -- health and shutdown ------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Run the feed, presence and the connection checks until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._feed.run(self))
            group.create_task(self.presence.run())
            group.create_task(self._check_connections())

    async def _check_connections(self) -> None:
        while True:
            await asyncio.sleep(self.timings.check_s)
            now_s = time.monotonic()
            for connection in tuple(self.connections):
                connection.check_liveness(now_s)

    async def drain(self, within_s: float) -> None:
        """Close all connections in random order, spread over at most half of `within_s` seconds.

        Running requests end first. A client that does not answer the close frame is cut `ServerTimings.close_s` later.
        """
        self.is_draining = True
        for session in self._sessions.values():
            for event in session.change_events:
                event.set()
        leaving = list(self.connections)
        random.shuffle(leaving)
        spread_s = min(within_s / 2, len(leaving) / DRAIN_A_SECOND)
        for connection in leaving:
            connection.announce_shutdown(spread_s)
        if self._tasks:
            await asyncio.wait(tuple(self._tasks), timeout=within_s / 2)
        for at in range(0, len(leaving), DRAIN_BATCH):
            if at:
                await asyncio.sleep(spread_s * DRAIN_BATCH / len(leaving))
            for connection in leaving[at : at + DRAIN_BATCH]:
                connection.close_for_shutdown()
        await self.presence.flush()
