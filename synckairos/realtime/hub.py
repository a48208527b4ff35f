"""Hub: the connections and watched sessions of this instance, and the fan-out of updates to watchers.

The fan-out never waits for a watcher. The hub depends on three interfaces: `Watcher` for clients, `Feed` for Redis, and
one read function for sessions.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

from synckairos.errors import SessionNotFound, StoreUnavailable, TooManyConnections
from synckairos.limits.client_work_budgets import ClientWorkLimits
from synckairos.principal import Principal, Role
from synckairos.realtime.connection_counts import ConnectionCounts
from synckairos.realtime.presence import PresenceTracker
from synckairos.realtime.rights_after_update import RightsAfterUpdate
from synckairos.realtime.session_update import SessionUpdate
from synckairos.realtime.shutdown import close_in_batches
from synckairos.realtime.timings import DEFAULT_TIMINGS, RealtimeTimeLimits
from synckairos.realtime.watched_session import WatchedSession
from synckairos.realtime.watcher_interface import Subscription, Watcher
from synckairos.revocations.credential_ends import CredentialEnds
from synckairos.service.requests import SessionResult
from synckairos.session_names import bare_id
from synckairos.store.feed import Feed
from synckairos.telemetry import log, tracing
from synckairos.telemetry.guarded_loop import keep_running
from synckairos.telemetry.metrics import WATCHED_SESSIONS, WEBSOCKET_CONNECTIONS, WEBSOCKET_CONNECTIONS_LIMIT
from synckairos.wire.feed_message import FeedMessage
from synckairos.wire.snapshot import SessionSnapshot

logger = log.get_logger(__name__)

FindRole = Callable[[Principal, str], Awaitable[Role]]
"""Function that returns the role of a client on a session. See `Sessions.find_role`."""

ReadSession = Callable[[str], Awaitable[SessionResult]]
"""Function that reads a session by its name in its tenant, and returns the answer with its current version.

Raises: SessionNotFound, StoreUnavailable.
"""


class Hub:
    """The connections of this instance and the sessions that they watch. Implements the feed's listener interface.

    Sessions are watched under their names in their tenants. Clients and updates have the ids.
    """

    def __init__(
        self,
        feed: Feed,
        read_session: ReadSession,
        find_role: FindRole,
        presence: PresenceTracker,
        work: ClientWorkLimits,
        *,
        max_connections: int,
        max_per_address: int,
        credential_ends: CredentialEnds | None = None,
        timings: RealtimeTimeLimits = DEFAULT_TIMINGS,
    ) -> None:
        """Create a hub without connections.

        - `feed`: the source of updates.
        - `read_session`: reads a session for a new watcher.
        - `find_role`: finds the role of a client on a session.
        - `presence`: counts the watchers.
        - `work`: the budgets of the clients.
        - `max_connections`: maximum number of connections of this instance.
        - `max_per_address`: maximum number of connections from one IP address.
        - `credential_ends`: ends connections together with their credentials. None while authentication is off.
        """
        self.server_time = feed.server_time
        self.credential_ends = credential_ends or CredentialEnds(feed.server_time.now_ms, None)
        self.presence = presence
        self.work = work
        self.timings = timings
        self.connections: set[Watcher] = set()
        self.is_draining = False
        self._feed = feed
        self._read_session = read_session
        self.find_role = find_role
        self._counts = ConnectionCounts(max_connections, max_per_address)
        WEBSOCKET_CONNECTIONS_LIMIT.set(max_connections)
        self._sessions: dict[str, WatchedSession] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._rights = RightsAfterUpdate(self.spawn_request_task, self.activate_subscription)

    def would_exceed_limit(self, address: str) -> bool:
        """Return whether a further connection from this IP address would exceed a connection limit."""
        return self._counts.would_exceed_limit(address)

    def require_place(self, principal: Principal) -> None:
        """Check that a further connection of a principal is within the limits of its address and of its tenant.

        Raises: TooManyConnections.
        """
        if self.would_exceed_limit(principal.address):
            raise TooManyConnections("Too many connections; try again")
        self.work.tenants.require_socket(principal)

    @contextmanager
    def count_live_tail(self, principal: Principal) -> Iterator[None]:
        """Count a live tail of a principal as a connection during the block.

        The limits are not checked here; see `require_place`.
        """
        self._counts.add(principal.address)
        self.work.tenants.add_socket(principal)
        try:
            yield
        finally:
            self._counts.remove(principal.address)
            self.work.tenants.remove_socket(principal)

    def now_ms(self) -> int:
        """Return the present time of Redis in ms since the Unix epoch, estimated from the feed's heartbeats."""
        return self.server_time.now_ms()

    # -- connections --------------------------------------------------------------------------------------------------

    def add_connection(self, connection: Watcher) -> None:
        """Add an open connection, count it for the limits, and watch its credential.

        The limits are not checked here.
        """
        self.connections.add(connection)
        self._counts.add(connection.principal.address)
        self.work.tenants.add_socket(connection.principal)
        self.credential_ends.add(connection, has_max_age=True)
        WEBSOCKET_CONNECTIONS.set(len(self.connections))

    def authenticate_connection(self, connection: Watcher, principal: Principal) -> None:
        """Set the principal of a connection that had no credential before. The address must stay the same.

        Raises: TooManyConnections if a limit of the tenant is reached. The connection then stays without a credential.
        """
        self.work.tenants.require_socket(principal)
        connection.principal = principal
        self.work.tenants.add_socket(principal)
        self.credential_ends.add(connection, has_max_age=True)

    def remove_connection(self, connection: Watcher) -> None:
        """Remove a connection after its end. If the hub does not have the connection, nothing happens."""
        if connection not in self.connections:
            return
        self.connections.discard(connection)
        self.credential_ends.remove(connection)
        self._counts.remove(connection.principal.address)
        self.work.tenants.remove_socket(connection.principal)
        WEBSOCKET_CONNECTIONS.set(len(self.connections))

    def spawn_request_task(self, request: Awaitable[None]) -> None:
        """Run a client's request as a task, and return immediately.

        The request must handle its errors itself. An exception of the task is only logged.
        """
        task = asyncio.ensure_future(request)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (fault := task.exception()) is not None:
            logger.error("a client's request failed", exc_info=fault)

    # -- subscriptions ------------------------------------------------------------------------------------------------

    async def subscribe(self, subscription: Subscription) -> SessionUpdate | None:
        """Add a subscription. Return the current version of its session; None if the session does not exist.

        The subscription stays added in all cases, until `unsubscribe`. Updates that arrive between this call and
        `activate_subscription` are collected in the subscription's backlog.

        Raises: StoreUnavailable. The watcher then gets the state when the store is available again.
        """
        session_name = subscription.session_name
        self._watch(session_name).subscriptions.add(subscription)
        try:
            await self._feed.watch(session_name)
            current = await self.read_current(session_name)
            backlog = subscription.backlog or []
            while current is not None and any(each.epoch != current.epoch for each in backlog):
                # One of the two epochs has ended. A read that begins now returns the other epoch, and a version that
                # is at least as new as the whole backlog.
                backlog.clear()
                current = await self.read_current(session_name)
        except Exception:
            self._feed.request_resync(session_name)
            raise
        return current

    async def read_current(self, session_name: str) -> SessionUpdate | None:
        """Return a version of a session that is at least as new as the stored version at the time of this call.

        Return None if the session does not exist. Concurrent calls share one read, which begins after all of these
        calls. Versions that the store lost are never returned, even if watchers got such a version.

        Raises: StoreUnavailable.
        """
        session = self._sessions.get(session_name) or WatchedSession()
        known = session.latest
        try:
            update = await self._read_shared(session_name, session)
            before = session.latest
            if before is not None and before.epoch != update.epoch:
                # One of the two epochs has ended. A read that begins now returns the other epoch.
                update = await self._read_shared(session_name, session)
                if before.epoch != update.epoch:
                    session.ended_epoch = before.epoch
        except SessionNotFound:
            return None
        self._feed.set_initial_snapshot(session_name, update.snapshot)
        latest = session.latest
        if (
            latest is None
            or not update.is_covered_by(latest)
            or (latest is known and update.proves_loss_of_version(latest))
        ):
            session.latest = update
        return session.latest

    async def _read_shared(self, session_name: str, session: WatchedSession) -> SessionUpdate:
        async def read() -> SessionUpdate:
            answer = await self._read_session(session_name)
            return SessionUpdate(bare_id(session_name), answer.snapshot, self.now_ms())

        return await session.shared_read.join_next_read(read)

    async def read_stored_history(self, session_name: str, current: SessionUpdate) -> Iterator[SessionUpdate]:
        """Return `current` and the versions before it in the version history of Redis, newest version first.

        Raises: StoreUnavailable.
        """
        now_ms = self.now_ms()
        return (
            SessionUpdate.from_message(message, now_ms)
            for message in await self._feed.read_history(session_name, current.snapshot)
        )

    def activate_subscription(self, subscription: Subscription, current: SessionUpdate | None) -> None:
        """End the backlog of a subscription, and pass its versions that are newer than `current` to the watcher.

        Call this one time after `subscribe`. `current` is the version that the watcher has got; None if it has got
        none. The hub passes all later updates to the watcher directly.
        """
        backlog, subscription.backlog = subscription.backlog or [], None
        subscription.notified = current
        for update in backlog:
            is_news = subscription.notified is not None or not update.is_deletion_from_store
            if is_news and not update.is_covered_by(subscription.notified):
                subscription.notified = update
                subscription.watcher.notify_of_update(subscription, update)
                if update.snapshot.deleted:
                    return  # the watcher has unsubscribed

    def unsubscribe(self, subscriptions: list[Subscription]) -> None:
        """Remove subscriptions. A session without subscriptions and change events is not watched any more."""
        for subscription in subscriptions:
            self.presence.remove(subscription)
            session = self._sessions.get(subscription.session_name)
            if session is not None:
                session.subscriptions.discard(subscription)
                self._unwatch_if_unused(subscription.session_name, session)

    @asynccontextmanager
    async def subscribe_change_event(self, session_name: str) -> AsyncIterator[asyncio.Event]:
        """Yield an event for a long poll of a session. The hub does not use the event after the block.

        The hub sets the event at each new version of the session, and when this instance begins to drain. The caller
        clears the event.
        """
        event = asyncio.Event()
        session = self._watch(session_name)
        session.change_events.add(event)
        try:
            with suppress(StoreUnavailable):
                await self._feed.watch(session_name)
            yield event
        finally:
            session.change_events.discard(event)
            self._unwatch_if_unused(session_name, session)

    def _watch(self, session_name: str) -> WatchedSession:
        session = self._sessions.get(session_name)
        if session is None:
            session = self._sessions[session_name] = WatchedSession()
            WATCHED_SESSIONS.set(len(self._sessions))
        return session

    def _unwatch_if_unused(self, session_name: str, session: WatchedSession) -> None:
        if not session.subscriptions and not session.change_events and self._sessions.get(session_name) is session:
            del self._sessions[session_name]
            WATCHED_SESSIONS.set(len(self._sessions))
            self._feed.unwatch(session_name)

    # -- the feed's listener ------------------------------------------------------------------------------------------

    def on_feed_message(self, session_name: str, message: FeedMessage) -> None:
        """Pass the version in a feed message to the watchers of the session that have only older versions."""
        self._fan_out(session_name, SessionUpdate.from_message(message, self.now_ms()))

    def on_feed_resync(self, session_name: str, snapshot: SessionSnapshot, went_back: bool) -> None:
        """Pass a state that the feed read from the store to the watchers of the session that have only older versions.

        The feed reads the store when feed messages were lost. `went_back`: whether the store lost versions. If so, all
        watchers get the state, even if its version is lower than the versions that the watchers have. A task then
        reads the session. The read continues the session under a new epoch, whose first version all watchers get.
        """
        if (session := self._sessions.get(session_name)) is not None:
            if session.ended_epoch == snapshot.epoch:
                session.ended_epoch = ""  # a failover lost the later epoch, so this epoch continues
            for subscription in session.subscriptions if went_back else ():
                subscription.notified = None
            if went_back:
                self.spawn_request_task(self._restore(session_name))
        self._fan_out(session_name, SessionUpdate(bare_id(session_name), snapshot, self.now_ms()))

    def on_session_missing(self, session_name: str) -> None:
        """Start a task that reads a watched session which Redis does not hold any more. Return immediately.

        The read restores an evicted session. If the session cannot be read, the task logs a warning.
        """
        self.spawn_request_task(self._restore(session_name))

    async def _restore(self, session_name: str) -> None:
        try:
            await self._read_session(session_name)
        except (SessionNotFound, StoreUnavailable) as fault:
            logger.warning("watched session cannot be read", session_id=session_name, cause=fault.code)

    def _fan_out(self, session_name: str, update: SessionUpdate) -> None:
        session = self._sessions.get(session_name)
        if session is None:
            return
        epoch, version = update.epoch, update.version
        subscriptions = tuple(session.subscriptions)
        recorder, began_ns = tracing.active, 0
        if recorder is not None:
            began_ns = time.time_ns()
        if epoch == session.ended_epoch:
            subscriptions = tuple(each for each in subscriptions if each.notified and each.notified.epoch == epoch)
        else:
            session.latest = None if update.snapshot.deleted else update
        if update.is_deletion_from_store:
            subscriptions = tuple(each for each in subscriptions if each.notified or each.backlog is not None)
        for event in session.change_events:
            event.set()
        if update.may_change_labels:
            subscriptions = self._rights.end_without_right(subscriptions, update)
        # Hot path: the loop runs for each watcher. All work that is the same for all watchers is outside of the loop.
        for subscription in subscriptions:
            notified = subscription.notified
            if subscription.backlog is not None:
                subscription.backlog.append(update)
            elif notified is None or notified.version < version or notified.epoch != epoch:
                subscription.notified = update
                subscription.watcher.notify_of_update(subscription, update)
        if recorder is not None and subscriptions:
            versions = (tracing.VersionId(bare_id(session_name), epoch, version),)
            recorder.record_stages("fan_out", versions, began_ns, **{"synckairos.watchers": len(subscriptions)})

    # -- health and shutdown ------------------------------------------------------------------------------------------

    async def run_background_loops(self) -> None:
        """Run the feed, presence and the connection checks until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(keep_running("feed", lambda: self._feed.run(self)))
            group.create_task(keep_running("presence", self.presence.run))
            group.create_task(keep_running("connection checks", self._check_connections))

    async def _check_connections(self) -> None:
        while True:
            await asyncio.sleep(self.timings.check_s)
            now_s = time.monotonic()
            for connection in tuple(self.connections):
                connection.check_liveness(now_s)
                del connection  # the pause keeps no ended connection in memory

    async def close_all_connections(self, within_s: float) -> None:
        """Drain: announce the shutdown to all connections, close all connections, and withdraw the presence counts.

        Before the first close, wait until all running requests of clients end, for at most half of `within_s` seconds.
        Then close the connections in random order, spread over at most half of `within_s` seconds. Return without
        waiting for the answers to the close frames. A client that does not answer is disconnected after
        `ServerTimeLimits.close_s` seconds.
        """
        self.is_draining = True
        for session in self._sessions.values():
            for event in session.change_events:
                event.set()
        await close_in_batches(self.connections, self._tasks, within_s)
        await self.presence.withdraw_counts()

    def close_connections_at_once(self) -> None:
        """Begin to close all open connections, without a wait for running requests and between two closes."""
        self.is_draining = True
        for connection in list(self.connections):
            connection.close_for_shutdown()
