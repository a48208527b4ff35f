"""The feed: receives the committed versions of watched sessions from all instances, and delivers them in order.

Pub/sub can lose messages, so the feed compares version numbers to find missing versions. After a gap or an interrupted
subscription, the feed reads the session again. Every two seconds the feed compares the versions of watched sessions
with the stored versions. This comparison detects the loss of the newest message. So the feed recovers from any loss
within five seconds if Redis answers. The feed does not use sockets.
"""

import asyncio
import time
from collections.abc import Iterator
from itertools import islice
from typing import Protocol

from redis.asyncio import Redis
from redis.exceptions import RedisError

from synckairos.backoff import Backoff
from synckairos.clock.transition import EventType
from synckairos.errors import InvalidStoredData, StoreUnavailable
from synckairos.frozen_replace import replace
from synckairos.session_names import bare_id
from synckairos.store.cluster_pubsub import make_subscriber
from synckairos.store.keys import Keys
from synckairos.store.known_versions import KnownVersions
from synckairos.store.redis_time_estimate import ServerTime
from synckairos.store.shared_connection import RedisPipe
from synckairos.store.watched_session_reads import WatchedSessionReads
from synckairos.telemetry import log
from synckairos.telemetry.guarded_loop import keep_running
from synckairos.telemetry.invalid_data import PARSE_ERRORS, report_invalid_data
from synckairos.telemetry.metrics import FEED_GAPS, FEED_LAG, FEED_MESSAGES
from synckairos.wire.feed_message import FeedMessage, PackedFeedMessage
from synckairos.wire.snapshot import SessionSnapshot, check_stored_document

COMPARE_S = 2.0
"""Seconds between two comparisons of the versions of watched sessions with the stored versions."""

REREAD_RETRY_S = (0.05, 0.5)
"""Seconds before sessions are read again after Redis did not answer: maximum of the first delay, and of all delays."""

SUBSCRIBE_TIMEOUT_S = 2.0
"""Seconds: maximum duration for which `watch` waits until Redis confirms the subscription."""

TTL_REFRESH_S = 60.0
"""Seconds between two extensions of the TTLs of watched sessions."""

BATCH_SIZE = 250
"""Number of sessions in one pipeline."""

BATCH_SIZE_WITH_HISTORY = 16
"""Number of sessions in one pipeline that also reads version histories."""

MAX_BACKLOG = 256
"""Maximum number of a session's messages that are kept during a reread. Further messages cause another reread."""

logger = log.get_logger(__name__)

_ERRORS = (RedisError, OSError, StoreUnavailable)


class FeedListener(Protocol):
    """The receiver of versions from the feed. The feed calls the methods synchronously, in its own task.

    The calls for one session are in the order of its versions. The methods must not raise. `session_name` is the name
    of the session in its tenant. A feed message has only the id.
    """

    def on_feed_message(self, session_name: str, message: FeedMessage) -> None:
        """Called with the version that follows the version of the previous call for the same session."""

    def on_feed_resync(self, session_name: str, snapshot: SessionSnapshot, went_back: bool) -> None:
        """Called with the stored version of a session, if the feed cannot deliver the versions before it.

        `snapshot` replaces the state that watchers have. `went_back` is True if the store has lost versions that
        watchers received. The store can then use a version number again. So watchers can already have another state
        with the version number of `snapshot`.
        """

    def on_session_missing(self, session_name: str) -> None:
        """Called when the feed finds that Redis no longer has a watched session, because it was evicted or lost.

        The session stays watched. As long as Redis does not have the session, each comparison can repeat the call.
        """


class _WatchedSession:
    """The feed's data about a watched session.

    `name` is the name of the session in its tenant. `at` is the snapshot that all watchers of the session have
    received, None before the first snapshot. `backlog` has the messages that arrived during a reread.
    """

    __slots__ = ("at", "backlog", "is_rereading", "name", "needs_resync")

    def __init__(self, name: str) -> None:
        self.name = name
        self.at: SessionSnapshot | None = None
        self.is_rereading = False
        self.needs_resync = False
        """Whether a watcher has joined that did not receive `at`."""
        self.backlog: list[PackedFeedMessage] = []

    def is_at(self, snapshot: SessionSnapshot | None) -> bool:
        """Return whether `at` is this snapshot. The tag distinguishes a version number that was issued again."""
        at = self.at
        if at is None or snapshot is None:
            return at is snapshot
        return at.epoch_and_version == snapshot.epoch_and_version and (
            at.tag == snapshot.tag or not at.tag or not snapshot.tag
        )


class Feed:
    """The feed of watched sessions. Versions are delivered to the listener in order and without repetition.

    If versions are missing in the version history, the listener receives one `on_feed_resync` instead of these
    versions.
    """

    def __init__(
        self,
        redis: Redis,
        pipe: RedisPipe,
        keys: Keys,
        *,
        session_ttl_s: int,
        compare_s: float = COMPARE_S,
        known: KnownVersions | None = None,
    ) -> None:
        """Create a feed. `redis` is a client for pub/sub, and `pipe` the connection for reads.

        A Redis Cluster needs several connections for pub/sub, so `redis` is not used there.

        `session_ttl_s` is the TTL in seconds that watched sessions get in Redis. `compare_s` is the number of seconds
        between two comparisons with the stored versions. `known` gets the delivered versions; None for none.
        """
        self._known = known
        self._pipe = pipe
        self._keys = keys
        self._ttl_s = session_ttl_s
        self._reads = WatchedSessionReads(pipe, keys, session_ttl_s)
        self._compare_s = compare_s
        self._watched: dict[str, _WatchedSession] = {}
        self._to_reread: dict[str, None] = {}
        self._has_to_reread = asyncio.Event()
        self._listener: FeedListener | None = None
        self.subscriber = make_subscriber(redis, pipe, keys.prefix, self._receive, self._resumed)

    @property
    def server_time(self) -> ServerTime:
        """Return the estimate of Redis TIME, which the heartbeats measure."""
        return self.subscriber.server_time

    @property
    def is_connected(self) -> bool:
        """Return whether the pub/sub connection is open."""
        return self.subscriber.is_connected

    # -- watching -----------------------------------------------------------------------------------------------------

    async def watch(self, session_name: str) -> None:
        """Subscribe to a session, and wait until Redis confirms the subscription.

        The feed delivers each version that is committed after this call. So a caller that reads the session after this
        call misses no version. The call also returns if the session is unwatched during the call.

        Raises: StoreUnavailable if Redis does not confirm within two seconds. The session then stays watched, and the
        feed subscribes when Redis answers again.
        """
        if session_name not in self._watched:
            self._watched[session_name] = _WatchedSession(session_name)
        confirmed = self.subscriber.subscribe(self._keys.feed_channel(session_name))
        if confirmed.is_set():
            return
        try:
            async with asyncio.timeout(SUBSCRIBE_TIMEOUT_S):
                await confirmed.wait()
        except TimeoutError:
            raise StoreUnavailable from None

    def unwatch(self, session_name: str) -> None:
        """Stop watching a session. Return immediately. If the session is not watched, nothing changes."""
        if self._watched.pop(session_name, None) is not None:
            self.subscriber.unsubscribe(self._keys.feed_channel(session_name))

    def set_initial_snapshot(self, session_name: str, snapshot: SessionSnapshot) -> None:
        """Set the snapshot that the watchers of a session have, if the feed knows no snapshot of the session yet.

        The feed compares the next feed message with this snapshot to detect a gap.
        """
        watched = self._watched.get(session_name)
        if watched is not None and watched.at is None:
            watched.at = snapshot

    def request_resync(self, session_name: str) -> None:
        """Request one call of `on_feed_resync` with the stored version of the session, because a new watcher needs it.

        The call follows at the next comparison with the stored versions, within about two seconds if Redis answers. If
        the session is not watched, nothing happens.
        """
        watched = self._watched.get(session_name)
        if watched is not None:
            watched.needs_resync = True

    async def read_history(self, session_name: str, snapshot: SessionSnapshot) -> Iterator[FeedMessage]:
        """Return the feed messages of `snapshot` and of the versions before it in Redis, newest first. One round trip.

        The iterator ends at the oldest version of the version history.

        Raises: StoreUnavailable if Redis does not answer.
        """
        return await self._reads.load_history(session_name, snapshot)

    async def run(self, listener: FeedListener) -> None:
        """Receive feed messages and call `listener` until the task is cancelled.

        After each failure of Redis, the feed reconnects.
        """
        self._listener = listener
        async with asyncio.TaskGroup() as group:
            group.create_task(self.subscriber.run())
            group.create_task(keep_running("feed comparison", self._compare_regularly))
            group.create_task(keep_running("feed reads", self._reread_when_needed))

    # -- versions -----------------------------------------------------------------------------------------------------

    def _receive(self, channel: str, payload: bytes) -> None:
        packed = PackedFeedMessage.parse(payload)
        message = packed.message
        session_name = channel.rpartition(":")[2]
        if bare_id(session_name) != message.session_id:
            raise ValueError("the message is of another session")
        if packed.body.startswith(b"{"):
            check_stored_document(message.session_id, replace(message.snapshot, document=packed.body))
        FEED_MESSAGES.inc()
        FEED_LAG.observe(max(0.0, (self.server_time.now_ms() - packed.message.at_ms) / 1000))
        if (watched := self._watched.get(session_name)) is not None:
            self._take(watched, packed)

    def _resumed(self, channel: str) -> None:
        if watched := self._watched.get(channel.rpartition(":")[2]):
            self._request_reread(watched)

    def _take(self, watched: _WatchedSession, packed: PackedFeedMessage) -> None:
        message, at = packed.message, watched.at
        if watched.is_rereading:
            if len(watched.backlog) < MAX_BACKLOG:
                watched.backlog.append(packed)
        elif _follows(at, message):
            try:
                unpacked = packed.apply_to(at.document if at else b"")
            except PARSE_ERRORS as error:
                report_invalid_data(self._keys.feed_channel(watched.name), error)
                self._request_reread(watched)
            else:
                self._deliver(watched, unpacked)
        elif at is None or message.snapshot.epoch != at.epoch or message.snapshot.version > at.version:
            FEED_GAPS.inc()
            # The reread returns a version that is not older than this message, so the message is not kept.
            self._request_reread(watched)

    def _deliver(self, watched: _WatchedSession, message: FeedMessage) -> None:
        watched.at = message.snapshot
        if self._known is not None:
            self._known.note(watched.name, message.snapshot, message.at_ms)
        self._running_listener.on_feed_message(watched.name, message)

    @property
    def _running_listener(self) -> FeedListener:
        assert self._listener is not None, "run() sets the listener"
        return self._listener

    def _request_reread(self, watched: _WatchedSession) -> None:
        """Request that a session is read again.

        Until the reread ends, messages of the session are kept in the backlog.
        """
        watched.is_rereading = True
        self._to_reread[watched.name] = None
        self._has_to_reread.set()

    async def _reread_when_needed(self) -> None:
        backoff = Backoff(*REREAD_RETRY_S)
        while True:
            await self._has_to_reread.wait()
            self._has_to_reread.clear()
            while names := list(islice(self._to_reread, BATCH_SIZE)):
                for session_name in names:
                    del self._to_reread[session_name]
                try:
                    await self._reread(names)
                except _ERRORS as error:
                    self._pipe.outage.report_unreachable("reads of watched sessions", error)
                    self._to_reread.update((each, None) for each in names if self._is_rereading(each))
                    await asyncio.sleep(backoff.next_s())
                else:
                    self._pipe.outage.report_reachable("reads of watched sessions")
                    backoff.reset()

    def _is_rereading(self, session_name: str) -> bool:
        watched = self._watched.get(session_name)
        return watched is not None and watched.is_rereading

    async def _reread(self, names: list[str]) -> None:
        """Deliver the versions that watchers have missed.

        First compare the versions of all `names`. Then read only the sessions whose versions differ.
        """
        changed = []
        for session_name, stored in zip(names, await self._reads.load_positions(names), strict=True):
            watched = self._watched.get(session_name)
            if watched is not None and watched.is_rereading:
                if isinstance(stored, InvalidStoredData) or watched.is_at(stored):
                    self._finish_reread(watched)
                else:
                    changed.append(session_name)
        for few in _batches(changed, BATCH_SIZE_WITH_HISTORY):
            for session_name, (newest, history) in zip(few, await self._reads.load_with_history(few), strict=True):
                watched = self._watched.get(session_name)
                if watched is not None and watched.is_rereading:
                    if not isinstance(newest, InvalidStoredData):
                        self._catch_up(watched, newest, history)
                    self._finish_reread(watched)

    def _catch_up(
        self, watched: _WatchedSession, newest: SessionSnapshot | None, history: Iterator[FeedMessage]
    ) -> None:
        """Deliver the versions in the history that follow the watchers' version.

        If the history does not reach back to that version, call `on_feed_resync` of the listener.
        """
        at = watched.at
        if newest is None:
            if at is not None:
                self._running_listener.on_session_missing(watched.name)
            return
        missed: list[FeedMessage] = []
        for message in history:
            if watched.is_at(message.snapshot):
                for each in reversed(missed):
                    self._deliver(watched, each)
                return
            missed.append(message)
        if not watched.is_at(newest):
            went_back = at is not None and at.epoch == newest.epoch and newest.version <= at.version
            watched.at = newest
            self._running_listener.on_feed_resync(watched.name, newest, went_back)

    def _finish_reread(self, watched: _WatchedSession) -> None:
        watched.is_rereading = False
        backlog, watched.backlog = watched.backlog, []
        for packed in backlog:
            self._take(watched, packed)

    # -- comparison with the store ------------------------------------------------------------------------------------

    async def _compare_regularly(self) -> None:
        """Compare the watchers' versions with the stored versions regularly.

        Also extend the TTLs of watched sessions.
        """
        extended_at = 0.0
        while True:
            await asyncio.sleep(self._compare_s)
            extend_ttl = time.monotonic() - extended_at >= min(self._ttl_s / 4, TTL_REFRESH_S)
            try:
                for names in _batches(list(self._watched)):
                    await self._compare([each for each in names if each in self._watched], extend_ttl)
            except _ERRORS as error:
                logger.debug("watched sessions not compared", cause=repr(error))
            else:
                extended_at = time.monotonic() if extend_ttl else extended_at

    async def _compare(self, names: list[str], extend_ttl: bool) -> None:
        before = [self._watched[each].at for each in names]
        found = await self._reads.load_positions(names, extend_ttl)
        for session_name, was, stored in zip(names, before, found, strict=True):
            watched = self._watched.get(session_name)
            # A session that received a version during the read is newer than the read, so it needs no comparison.
            if watched is None or watched.is_rereading or watched.at is not was:
                continue
            if isinstance(stored, InvalidStoredData):
                continue
            if not watched.is_at(stored):
                self._request_reread(watched)
            elif watched.needs_resync:
                watched.needs_resync = False
                if watched.at is not None:
                    self._running_listener.on_feed_resync(session_name, watched.at, False)


def _follows(at: SessionSnapshot | None, message: FeedMessage) -> bool:
    """Return whether a message is the next version after `at` and its document can be unpacked."""
    snapshot = message.snapshot
    if at is None:
        return message.change is None
    if snapshot.epoch == at.epoch:
        return snapshot.version == at.version + 1 and (message.change is None or message.change.base_tag == at.tag)
    return message.event_type in (EventType.SESSION_CREATED, EventType.SESSION_RECOVERED, EventType.SESSION_IMPORTED)


def _batches(items: list[str], size: int = BATCH_SIZE) -> Iterator[list[str]]:
    return (items[at : at + size] for at in range(0, len(items), size))
