"""Who watches what on this instance, and the fan-out: one update, offered to each watcher without waiting for any.

Knows clients only as watchers, Redis only by the feed, sessions only by how to read one.
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
from synckairos.realtime.watcher import Subscription, Watcher
from synckairos.service.requests import Answer
from synckairos.store.feed import Feed
from synckairos.telemetry import log
from synckairos.telemetry.metrics import WEBSOCKET_CONNECTIONS
from synckairos.wire.feed_message import FeedMessage
from synckairos.wire.snapshot import Snapshot

CHECK_S = 2.5
DRAIN_BATCH = 100
DRAIN_A_SECOND = 2_500
"""Clients sent away a second: they all come back somewhere else."""

logger = log.get_logger(__name__)

Read = Callable[[str], Awaitable[Answer]]


class _Channel:
    """A session watched here."""

    __slots__ = ("latest", "over", "read", "read_next", "subscriptions", "wakers")

    def __init__(self) -> None:
        self.wakers: set[asyncio.Event] = set()
        self.subscriptions: set[Subscription] = set()
        self.latest: SessionUpdate | None = None
        self.over = ""
        """An epoch that is known to be over, though its end wasn't heard yet: news to those alone who watched it."""
        self.read: asyncio.Task[SessionUpdate] | None = None
        self.read_next: asyncio.Task[SessionUpdate] | None = None


class Hub:
    """All connections of this instance and the sessions they watch; it is the feed's listener."""

    def __init__(
        self, feed: Feed, read: Read, presence: PresenceTracker, *, max_connections: int, max_per_address: int
    ) -> None:
        """Take the feed to watch by, the read that a joining client's first state comes from, and who counts them.

        `max_per_address` is how many of the connections may come from one IP address.
        """
        self.server_time = feed.server_time
        self.presence = presence
        self.connections: set[Watcher] = set()
        self.is_draining = False
        self._feed = feed
        self._read = read
        self._max_connections = max_connections
        self._max_per_address = max_per_address
        self._by_address: Counter[str] = Counter()
        self._channels: dict[str, _Channel] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def is_full(self, address: str) -> bool:
        """Tell whether there is no room for one more, or no more of this address; a local socket has none."""
        if len(self.connections) >= self._max_connections:
            return True
        return bool(address) and self._by_address[address] >= self._max_per_address

    @property
    def watched_sessions(self) -> int:
        return len(self._channels)

    def now_ms(self) -> int:
        """Return Redis time, as the feed's heartbeats estimate it."""
        return self.server_time.now_ms()

    # -- connections --------------------------------------------------------------------------------------------------

    def add(self, connection: Watcher) -> None:
        self.connections.add(connection)
        self._by_address[connection.principal.address] += 1
        WEBSOCKET_CONNECTIONS.set(len(self.connections))

    def forget(self, connection: Watcher) -> None:
        if connection not in self.connections:
            return
        self.connections.discard(connection)
        address = connection.principal.address
        self._by_address[address] -= 1
        if not self._by_address[address]:
            del self._by_address[address]
        WEBSOCKET_CONNECTIONS.set(len(self.connections))

    def spawn(self, work: Awaitable[None]) -> None:
        """Run a client's request beside its socket; it must handle its own errors."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (fault := task.exception()) is not None:
            logger.error("a client's request failed", exc_info=fault)

    # -- joining and leaving ------------------------------------------------------------------------------------------

    async def join(self, subscription: Subscription) -> SessionUpdate | None:
        """Subscribe, then read: return the session as it is now, None where there is none.

        From the call on nothing is missed: what comes before `settle` waits in the subscription's backlog.
        Raises StoreUnavailable; the subscription stands, and is caught up when the store is back.
        """
        session_id = subscription.session_id
        self._open(session_id).subscriptions.add(subscription)
        try:
            await self._feed.watch(session_id)
            found = await self.read(session_id)
            backlog = subscription.backlog or []
            while found is not None and any(each.epoch != found.epoch for each in backlog):
                # One of the two epochs is over. A read that begins now knows which, and has all that came before.
                backlog.clear()
                found = await self.read(session_id)
        except Exception:
            self._feed.doubt(session_id)
            raise
        return found

    async def read(self, session_id: str) -> SessionUpdate | None:
        """Return a watched session as it is now or newer, None where there is none. Raises StoreUnavailable.

        Callers at the same time share a read that began after each of them asked. What the store has lost since it was
        told here is not what is returned, though those who were told may still be to be put right.
        """
        channel = self._channels.get(session_id) or _Channel()
        known = channel.latest
        try:
            update = await self._read_shared(session_id, channel)
            before = channel.latest
            if before is not None and before.epoch != update.epoch:
                # One of the two epochs is over. A read that begins now knows which.
                update = await self._read_shared(session_id, channel)
                if before.epoch != update.epoch:
                    channel.over = before.epoch
        except SessionNotFound:
            return None
        self._feed.seed(session_id, update.snapshot)
        latest = channel.latest
        if latest is None or not update.is_covered_by(latest) or (latest is known and update.shows_loss_of(latest)):
            channel.latest = update
        return channel.latest

    async def history(self, found: SessionUpdate) -> Iterator[SessionUpdate]:
        """Return the versions to resume from that are kept, from the one found back. Raises StoreUnavailable."""
        now_ms = self.now_ms()
        return (
            SessionUpdate.of(message, now_ms) for message in await self._feed.history(found.session_id, found.snapshot)
        )

    async def _read_shared(self, session_id: str, channel: _Channel) -> SessionUpdate:
        if channel.read is None:
            channel.read = asyncio.create_task(self._read_once(session_id, channel))
            task = channel.read
        else:
            # The one under way may have begun before what the caller must see.
            if channel.read_next is None:
                channel.read_next = asyncio.create_task(self._read_after(channel.read, session_id, channel))
            task = channel.read_next
        return await asyncio.shield(task)

    async def _read_once(self, session_id: str, channel: _Channel) -> SessionUpdate:
        try:
            answer = await self._read(session_id)
            return SessionUpdate(session_id, answer.snapshot, self.now_ms())
        finally:
            channel.read, channel.read_next = channel.read_next, None

    async def _read_after(
        self, first: asyncio.Task[SessionUpdate], session_id: str, channel: _Channel
    ) -> SessionUpdate:
        await asyncio.wait((first,))
        return await self._read_once(session_id, channel)

    def settle(self, subscription: Subscription, had: SessionUpdate | None) -> None:
        """End a subscription's joining: it has `had`, and takes what came meanwhile and isn't in it."""
        backlog, subscription.backlog = subscription.backlog or [], None
        subscription.heard = had
        for update in backlog:
            is_news = subscription.heard is not None or not update.was_found_deleted
            if is_news and not update.is_covered_by(subscription.heard):
                subscription.heard = update
                subscription.connection.take(subscription, update)
                if update.snapshot.deleted:
                    return  # it has left with that

    def leave(self, subscriptions: list[Subscription]) -> None:
        """Take subscriptions out; a session that nobody watches any more is unsubscribed."""
        for subscription in subscriptions:
            self.presence.leave(subscription)
            channel = self._channels.get(subscription.session_id)
            if channel is not None:
                channel.subscriptions.discard(subscription)
                self._close_unwatched(subscription.session_id, channel)

    @asynccontextmanager
    async def waking(self, session_id: str) -> AsyncIterator[asyncio.Event]:
        """Give an event that is set at each version of a session, and when we drain: for who reads elsewhere."""
        waker = asyncio.Event()
        channel = self._open(session_id)
        channel.wakers.add(waker)
        try:
            with suppress(StoreUnavailable):
                await self._feed.watch(session_id)
            yield waker
        finally:
            channel.wakers.discard(waker)
            self._close_unwatched(session_id, channel)

    def _open(self, session_id: str) -> _Channel:
        channel = self._channels.get(session_id)
        if channel is None:
            channel = self._channels[session_id] = _Channel()
        return channel

    def _close_unwatched(self, session_id: str, channel: _Channel) -> None:
        if not channel.subscriptions and not channel.wakers and self._channels.get(session_id) is channel:
            del self._channels[session_id]
            self._feed.unwatch(session_id)

    # -- the feed's listener ------------------------------------------------------------------------------------------

    def publish(self, message: FeedMessage) -> None:
        """Offer a version to all who watch its session."""
        self._fan_out(SessionUpdate.of(message, self.now_ms()))

    def renew(self, session_id: str, snapshot: Snapshot, went_back: bool) -> None:
        """Offer a state that was read because messages were lost."""
        if (channel := self._channels.get(session_id)) is not None:
            if channel.over == snapshot.epoch:
                channel.over = ""  # a failover lost what came after it
            for subscription in channel.subscriptions if went_back else ():
                subscription.heard = None
        self._fan_out(SessionUpdate(session_id, snapshot, self.now_ms()))

    def absent(self, session_id: str) -> None:
        """Ask for a session that Redis let go: whoever reads it brings it back."""
        self.spawn(self._bring_back(session_id))

    async def _bring_back(self, session_id: str) -> None:
        try:
            await self._read(session_id)
        except (SessionNotFound, StoreUnavailable) as trouble:
            logger.warning("a watched session is gone", session_id=session_id, cause=trouble.code)

    def _fan_out(self, update: SessionUpdate) -> None:
        channel = self._channels.get(update.session_id)
        if channel is None:
            return
        epoch, version = update.epoch, update.version
        subscriptions = tuple(channel.subscriptions)
        if epoch == channel.over:
            subscriptions = tuple(each for each in subscriptions if each.heard and each.heard.epoch == epoch)
        else:
            channel.latest = None if update.snapshot.deleted else update
        if update.was_found_deleted:
            subscriptions = tuple(each for each in subscriptions if each.heard or each.backlog is not None)
        for waker in channel.wakers:
            waker.set()
        # This loop is what a watcher costs: nothing in it that could stand outside.
        for subscription in subscriptions:
            heard = subscription.heard
            if subscription.backlog is not None:
                subscription.backlog.append(update)
            elif heard is None or heard.version < version or heard.epoch != epoch:
                subscription.heard = update
                subscription.connection.take(subscription, update)

    # -- health and the end -------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Listen to the feed and look after the connections, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._feed.run(self))
            group.create_task(self.presence.run())
            group.create_task(self._check())

    async def _check(self) -> None:
        while True:
            await asyncio.sleep(CHECK_S)
            now = time.monotonic()
            for connection in tuple(self.connections):
                connection.check(now)

    async def drain(self, within_s: float) -> None:
        """Send everybody away in random order, spread over at most half of `within_s`; requests under way finish first.

        Their sockets go by themselves, at the latest `protocol.GOODBYE_S` after this returns.
        """
        self.is_draining = True
        for channel in self._channels.values():
            for waker in channel.wakers:
                waker.set()
        leaving = list(self.connections)
        random.shuffle(leaving)
        spread_s = min(within_s / 2, len(leaving) / DRAIN_A_SECOND)
        for connection in leaving:
            connection.going_away(spread_s)
        if self._tasks:
            await asyncio.wait(tuple(self._tasks), timeout=within_s / 2)
        for at in range(0, len(leaving), DRAIN_BATCH):
            if at:
                await asyncio.sleep(spread_s * DRAIN_BATCH / len(leaving))
            for connection in leaving[at : at + DRAIN_BATCH]:
                connection.send_away()
        await self.presence.farewell()
