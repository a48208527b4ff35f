"""What other instances commit, as it happens: the feed messages of the sessions watched here.

Pub/sub is a hint, versions are the truth. A gap, or a channel that was interrupted, makes it re-read, and a look at the
watched versions every two seconds finds a lost last message, so any loss heals within five. Knows no sockets.
"""

import asyncio
import time
from collections.abc import Iterator
from itertools import islice
from typing import Protocol

from redis.asyncio import Redis
from redis.exceptions import RedisError

from synckairos.backoff import Backoff
from synckairos.clock.model import EventType
from synckairos.errors import StoreUnavailable
from synckairos.store.connect import unavailable_as_named
from synckairos.store.keys import Keys
from synckairos.store.pubsub_connection import PubSubConnection
from synckairos.store.server_time import ServerTime
from synckairos.store.shared_connection import Command, RedisPipe
from synckairos.store.stored_session import FIELDS, parse_history, parse_stored_session
from synckairos.telemetry import log
from synckairos.telemetry.metrics import FEED_GAPS, FEED_LAG, FEED_MESSAGES
from synckairos.wire.feed_message import FeedMessage, PackedMessage
from synckairos.wire.snapshot import Snapshot

LOOK_S = 2.0
MEND_AGAIN_S = (0.05, 0.5)
"""Seconds before interrupted sessions are read again: limits of the first and of the longest delay."""

SUBSCRIBE_TIMEOUT_S = 2.0
TTL_REFRESH_S = 60.0
AT_ONCE = 250
"""Sessions in one pipeline."""

WITH_HISTORY_AT_ONCE = 16

BACKLOG = 256
"""Messages of one session kept while what came before them is read; more than that are read, too."""

logger = log.get_logger(__name__)

_TROUBLE = (RedisError, OSError, StoreUnavailable)


class Listener(Protocol):
    """Whom the feed tells. Called synchronously and in order of versions; must not raise."""

    def publish(self, message: FeedMessage) -> None:
        """Take the next version of a session that is watched."""

    def renew(self, session_id: str, snapshot: Snapshot, went_back: bool) -> None:
        """Take what is stored now, where the versions in between can't be had, or the store lost some (`went_back`).

        What it lost it may have issued anew, so the version may be one that was told before.
        """

    def absent(self, session_id: str) -> None:
        """Hear that a session known before isn't in Redis any more."""


class _Watched:
    """A session watched here, and the version `at` that all its watchers were offered."""

    __slots__ = ("at", "backlog", "is_owed", "mending")

    def __init__(self) -> None:
        self.at: Snapshot | None = None
        self.mending = False
        self.is_owed = False
        """Whether somebody came who couldn't be told it."""
        self.backlog: list[PackedMessage] = []

    def is_at(self, snapshot: Snapshot | None) -> bool:
        """Tell whether this is what the watchers have; a version may have come about twice, differently."""
        at = self.at
        if at is None or snapshot is None:
            return at is snapshot
        return at.position == snapshot.position and (at.tag == snapshot.tag or not at.tag or not snapshot.tag)


class Feed:
    """Feed messages of the watched sessions, each version once and in order."""

    def __init__(self, redis: Redis, pipe: RedisPipe, keys: Keys, *, session_ttl_s: int) -> None:
        """Take a client to listen by, the pipe to read by, and the TTL that watched sessions are kept at."""
        self._pipe = pipe
        self._keys = keys
        self._ttl_s = session_ttl_s
        self._watched: dict[str, _Watched] = {}
        self._dirty: dict[str, None] = {}
        self._dirtied = asyncio.Event()
        self._listener: Listener | None = None
        self.subscriber = PubSubConnection(redis, pipe, keys.prefix, self._receive, self._resumed)

    @property
    def server_time(self) -> ServerTime:
        """Return Redis time as the heartbeats estimate it."""
        return self.subscriber.server_time

    @property
    def is_connected(self) -> bool:
        return self.subscriber.is_connected

    # -- who is watched -----------------------------------------------------------------------------------------------

    async def watch(self, session_id: str) -> None:
        """Begin to listen to a session; returns when Redis has confirmed it, so a read from here on misses nothing.

        Returns too where it was unwatched meanwhile: then nobody is there to miss anything.

        Raises StoreUnavailable where that takes longer than two seconds; the wish stands, and is caught up later.
        """
        if session_id not in self._watched:
            self._watched[session_id] = _Watched()
        confirmed = self.subscriber.want(self._keys.feed(session_id))
        if confirmed.is_set():
            return
        try:
            async with asyncio.timeout(SUBSCRIBE_TIMEOUT_S):
                await confirmed.wait()
        except TimeoutError:
            raise StoreUnavailable from None

    def unwatch(self, session_id: str) -> None:
        """Stop listening to a session."""
        if self._watched.pop(session_id, None) is not None:
            self.subscriber.unwant(self._keys.feed(session_id))

    def seed(self, session_id: str, snapshot: Snapshot) -> None:
        """Say from which version on messages are expected, where nothing was heard yet."""
        watched = self._watched.get(session_id)
        if watched is not None and watched.at is None:
            watched.at = snapshot

    def doubt(self, session_id: str) -> None:
        """Say that a watcher couldn't be told what there is: the next look that succeeds tells it."""
        watched = self._watched.get(session_id)
        if watched is not None:
            watched.is_owed = True

    async def history(self, session_id: str, snapshot: Snapshot) -> Iterator[FeedMessage]:
        """Return the versions of a session that are kept, from one known back. One round trip.

        Raises StoreUnavailable.
        """
        with unavailable_as_named():
            kept = await self._pipe.call("LRANGE", self._keys.history(session_id), 0, -1)
        return parse_history(snapshot, kept)

    async def run(self, listener: Listener) -> None:
        """Listen until cancelled, through any trouble with Redis."""
        self._listener = listener
        async with asyncio.TaskGroup() as group:
            group.create_task(self.subscriber.run())
            group.create_task(self._look())
            group.create_task(self._mend())

    # -- versions -----------------------------------------------------------------------------------------------------

    def _receive(self, channel: str, payload: bytes) -> None:
        parcel = PackedMessage.parse(payload)
        FEED_MESSAGES.inc()
        FEED_LAG.observe(max(0.0, (self.server_time.now_ms() - parcel.message.at_ms) / 1000))
        self._take(parcel)

    def _resumed(self, channel: str) -> None:
        session_id = channel.rpartition(":")[2]
        if watched := self._watched.get(session_id):
            self._soil(session_id, watched)

    def _take(self, parcel: PackedMessage) -> None:
        message = parcel.message
        watched = self._watched.get(message.session_id)
        if watched is None:
            return
        at = watched.at
        if watched.mending:
            if len(watched.backlog) < BACKLOG:
                watched.backlog.append(parcel)
        elif _follows(at, message):
            self._deliver(watched, parcel.unpack(at.document if at else b""))
        elif at is None or message.snapshot.epoch != at.epoch or message.snapshot.version > at.version:
            FEED_GAPS.inc()
            # What we re-read is at least as new as this message, so it needn't be kept.
            self._soil(message.session_id, watched)

    def _deliver(self, watched: _Watched, message: FeedMessage) -> None:
        watched.at = message.snapshot
        self._told.publish(message)

    @property
    def _told(self) -> Listener:
        assert self._listener is not None, "run() gives the listener"
        return self._listener

    def _soil(self, session_id: str, watched: _Watched) -> None:
        """Mark a session as one to re-read; messages wait in its backlog until that is done."""
        watched.mending = True
        self._dirty[session_id] = None
        self._dirtied.set()

    async def _mend(self) -> None:
        backoff = Backoff(*MEND_AGAIN_S)
        while True:
            await self._dirtied.wait()
            self._dirtied.clear()
            while ids := list(islice(self._dirty, AT_ONCE)):
                for session_id in ids:
                    del self._dirty[session_id]
                try:
                    await self._catch_up(ids)
                except _TROUBLE as trouble:
                    logger.warning("feed can't re-read yet", cause=repr(trouble))
                    self._dirty.update((each, None) for each in ids if self._is_mending(each))
                    await asyncio.sleep(backoff.next_s())
                else:
                    backoff.reset()

    def _is_mending(self, session_id: str) -> bool:
        watched = self._watched.get(session_id)
        return watched is not None and watched.mending

    async def _catch_up(self, ids: list[str]) -> None:
        """Give the watchers of these sessions what they missed: compare positions, then read those that differ."""
        changed = []
        for session_id, stored in zip(ids, await self._positions(ids), strict=True):
            watched = self._watched.get(session_id)
            if watched is not None and watched.mending:
                if watched.is_at(stored):
                    self._mended(watched)
                else:
                    changed.append(session_id)
        for few in _chunks(changed, WITH_HISTORY_AT_ONCE):
            for session_id, (found, history) in zip(few, await self._states(few), strict=True):
                watched = self._watched.get(session_id)
                if watched is not None and watched.mending:
                    self._replay(session_id, watched, found, history)
                    self._mended(watched)

    def _replay(
        self, session_id: str, watched: _Watched, newest: Snapshot | None, history: Iterator[FeedMessage]
    ) -> None:
        """Deliver what the history has after the watchers' version; where it doesn't reach back, the state alone."""
        at = watched.at
        if newest is None:
            if at is not None:
                self._told.absent(session_id)
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
            self._told.renew(session_id, newest, went_back)

    def _mended(self, watched: _Watched) -> None:
        watched.mending = False
        backlog, watched.backlog = watched.backlog, []
        for parcel in backlog:
            self._take(parcel)

    async def _positions(self, ids: list[str], refresh: bool = False) -> list[Snapshot | None]:
        """Return the stored snapshots of sessions without their documents, None where there is none; one round trip."""
        keys = self._keys
        commands: list[Command] = [("HMGET", keys.session(each), "epoch", "version", "tag") for each in ids]
        if refresh:
            kept = (key(session_id) for session_id in ids for key in (keys.session, keys.history, keys.commands))
            commands += [("EXPIRE", key, self._ttl_s, "GT") for key in kept]
        with unavailable_as_named():
            replies = await self._pipe.call_many(commands)
        found = replies[: len(ids)]
        return [
            None if epoch is None else Snapshot(epoch.decode(), int(version), b"", (tag or b"").decode())
            for epoch, version, tag in found
        ]

    async def _states(self, ids: list[str]) -> list[tuple[Snapshot | None, Iterator[FeedMessage]]]:
        """Return what is stored of sessions, and the versions that are kept, newest first; one round trip."""
        commands: list[Command] = []
        for session_id in ids:
            commands.append(("HMGET", self._keys.session(session_id), *FIELDS))
            commands.append(("LRANGE", self._keys.history(session_id), 0, -1))
        with unavailable_as_named():
            replies = await self._pipe.call_many(commands)
        found = []
        for fields, kept in zip(replies[::2], replies[1::2], strict=True):
            stored = parse_stored_session(fields)
            newest = None if stored is None else stored.snapshot
            found.append((newest, parse_history(newest, kept)))
        return found

    # -- the look at what should be there -----------------------------------------------------------------------------

    async def _look(self) -> None:
        """Compare what the watchers have with what is stored, and keep what is watched from expiring."""
        refreshed_at = 0.0
        while True:
            await asyncio.sleep(LOOK_S)
            refresh = time.monotonic() - refreshed_at >= min(self._ttl_s / 4, TTL_REFRESH_S)
            try:
                for ids in _chunks(list(self._watched)):
                    await self._look_at([each for each in ids if each in self._watched], refresh)
            except _TROUBLE as trouble:
                logger.debug("no look at the watched sessions", cause=repr(trouble))
            else:
                refreshed_at = time.monotonic() if refresh else refreshed_at

    async def _look_at(self, ids: list[str], refresh: bool) -> None:
        before = [self._watched[session_id].at for session_id in ids]
        for session_id, was, stored in zip(ids, before, await self._positions(ids, refresh), strict=True):
            watched = self._watched.get(session_id)
            # What moved on by itself since we asked is well.
            if watched is None or watched.mending or watched.at is not was:
                continue
            if not watched.is_at(stored):
                self._soil(session_id, watched)
            elif watched.is_owed:
                watched.is_owed = False
                if watched.at is not None:
                    self._told.renew(session_id, watched.at, False)


def _follows(at: Snapshot | None, message: FeedMessage) -> bool:
    """Tell whether a message comes next after the version known, and can be read on it."""
    snapshot = message.snapshot
    if at is None:
        return message.change is None
    if snapshot.epoch == at.epoch:
        return snapshot.version == at.version + 1 and (message.change is None or message.change.base_tag == at.tag)
    return message.event_type in (EventType.SESSION_CREATED, EventType.SESSION_RECOVERED, EventType.SESSION_IMPORTED)


def _chunks(items: list[str], size: int = AT_ONCE) -> Iterator[list[str]]:
    return (items[at : at + size] for at in range(0, len(items), size))
