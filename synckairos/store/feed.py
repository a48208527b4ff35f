"""What other instances commit, as it happens: the feed messages of the sessions watched here.

Pub/sub is a hint, versions are the truth. A gap, or a channel that was interrupted, makes it re-read, and a look at the
watched versions every two seconds finds a lost last message, so any loss heals within five. Knows no sockets.
"""

import asyncio
import time
from collections.abc import Iterator
from itertools import islice
from typing import Any, Protocol

from redis.asyncio import Redis
from redis.exceptions import RedisError

from synckairos import log
from synckairos.clock.model import EventType
from synckairos.errors import StoreUnavailable
from synckairos.metrics import FEED_GAPS, FEED_LAG, FEED_MESSAGES
from synckairos.store.keys import Keys
from synckairos.store.pipe import Command, RedisPipe
from synckairos.store.redis import unavailable_as_named
from synckairos.store.servertime import ServerTime
from synckairos.store.sessions import Stored
from synckairos.store.subscriber import Subscriber
from synckairos.wire.entry import FeedMessage

LOOK_S = 2.0
MEND_AGAIN_S = 0.5
SUBSCRIBE_TIMEOUT_S = 2.0
TTL_REFRESH_S = 60.0
AT_ONCE = 250
"""Sessions in one pipeline."""

WITH_HISTORY_AT_ONCE = 16

BACKLOG = 256
"""Messages of one session kept while what came before them is read; more than that are read, too."""

logger = log.get(__name__)

_FIELDS = ("epoch", "version", "deleted", "state")
_TROUBLE = (RedisError, OSError, StoreUnavailable)


class Listener(Protocol):
    """Whom the feed tells. Called synchronously and in order of versions; must not raise."""

    def publish(self, message: FeedMessage) -> None:
        """Take the next version of a session that is watched."""

    def renew(self, session_id: str, stored: Stored, went_back: bool) -> None:
        """Take what is stored now, where the versions in between can't be had, or the store lost some (`went_back`).

        What it lost it may have issued anew, so the version may be one that was told before.
        """

    def absent(self, session_id: str) -> None:
        """Hear that a session known before isn't in Redis any more."""


class _Watched:
    """A session watched here, and the version that all its watchers were offered."""

    __slots__ = ("backlog", "document", "epoch", "is_doubted", "mending", "version")

    def __init__(self) -> None:
        self.epoch: str | None = None
        self.version = 0
        self.document: bytes | None = None
        self.mending = False
        self.is_doubted = False
        """Whether it may be another store that we listen to now: one that lost versions and gave them anew."""
        self.backlog: list[FeedMessage] = []

    @property
    def position(self) -> tuple[str | None, int]:
        return self.epoch, self.version

    def is_at(self, epoch: str, version: int, document: bytes) -> bool:
        """Tell whether this is what the watchers have; the same version may have come about twice, differently."""
        return self.position == (epoch, version) and self.document == document


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
        self.subscriber = Subscriber(redis, pipe, keys.prefix, self._receive, self._resumed)

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

    def seed(self, session_id: str, epoch: str, version: int, document: bytes) -> None:
        """Say after which version messages are expected, where nothing was heard yet."""
        watched = self._watched.get(session_id)
        if watched is not None and watched.epoch is None:
            watched.epoch, watched.version, watched.document = epoch, version, document

    async def history(self, session_id: str) -> list[FeedMessage]:
        """Return the versions of a session that are kept, oldest first. One round trip. Raises StoreUnavailable."""
        ((_, history),) = await self._states([session_id])
        return history

    async def run(self, listener: Listener) -> None:
        """Listen until cancelled, through any trouble with Redis."""
        self._listener = listener
        async with asyncio.TaskGroup() as group:
            group.create_task(self.subscriber.run())
            group.create_task(self._look())
            group.create_task(self._mend())

    # -- versions -----------------------------------------------------------------------------------------------------

    def _receive(self, channel: str, payload: bytes) -> None:
        message = FeedMessage.parse(payload)
        FEED_MESSAGES.inc()
        FEED_LAG.observe(max(0.0, (self.server_time.now_ms() - message.at_ms) / 1000))
        self._take(message)

    def _resumed(self, channel: str) -> None:
        session_id = channel.rpartition(":")[2]
        if watched := self._watched.get(session_id):
            watched.is_doubted = True
            self._soil(session_id, watched)

    def _take(self, message: FeedMessage) -> None:
        watched = self._watched.get(message.session_id)
        if watched is None:
            return
        if watched.mending:
            if len(watched.backlog) < BACKLOG:
                watched.backlog.append(message)
        elif _follows(watched, message):
            self._deliver(watched, message)
        elif message.epoch != watched.epoch or message.version > watched.version:
            FEED_GAPS.inc()
            # What we re-read is at least as new as this message, so it needn't be kept.
            self._soil(message.session_id, watched)

    def _deliver(self, watched: _Watched, message: FeedMessage) -> None:
        watched.epoch, watched.version, watched.document = message.epoch, message.version, message.state
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
                    await asyncio.sleep(MEND_AGAIN_S)

    def _is_mending(self, session_id: str) -> bool:
        watched = self._watched.get(session_id)
        return watched is not None and watched.mending

    async def _catch_up(self, ids: list[str]) -> None:
        """Give the watchers of these sessions what they missed: compare positions, then read those that differ."""
        changed, doubted = [], []
        for session_id, stored in zip(ids, await self._positions(ids), strict=True):
            watched = self._watched.get(session_id)
            if watched is not None and watched.mending:
                if stored != watched.position:
                    changed.append(session_id)
                elif watched.is_doubted:
                    doubted.append(session_id)
                else:
                    self._mended(watched)
        if doubted:
            changed += await self._issued_anew(doubted)
        for few in _chunks(changed, WITH_HISTORY_AT_ONCE):
            for session_id, (found, history) in zip(few, await self._states(few), strict=True):
                watched = self._watched.get(session_id)
                if watched is not None and watched.mending:
                    self._replay(session_id, watched, found, history)
                    self._mended(watched)

    async def _issued_anew(self, ids: list[str]) -> list[str]:
        """Return the sessions whose version stands for another document than the watchers have; the others are well."""
        with unavailable_as_named():
            documents = await self._pipe.call_many([("HGET", self._keys.session(each), "state") for each in ids])
        found = []
        for session_id, document in zip(ids, documents, strict=True):
            watched = self._watched.get(session_id)
            if watched is not None and watched.mending:
                if document == watched.document:
                    self._mended(watched)
                else:
                    found.append(session_id)
        return found

    def _replay(self, session_id: str, watched: _Watched, stored: Stored | None, history: list[FeedMessage]) -> None:
        """Deliver what the history has after the watchers' version; where it doesn't reach back, the state alone."""
        if stored is None:
            if watched.epoch is not None:
                self._told.absent(session_id)
            return
        was = (watched.is_at(each.epoch, each.version, each.state) for each in history)
        place = next((at for at, is_here in enumerate(was) if is_here), None)
        missed = [] if place is None else history[place + 1 :]
        if missed and missed[-1].epoch == stored.epoch and missed[-1].version >= stored.version:
            for message in missed:
                self._deliver(watched, message)
        elif not watched.is_at(stored.epoch, stored.version, stored.document):
            went_back = watched.epoch == stored.epoch and stored.version <= watched.version
            watched.epoch, watched.version, watched.document = stored.epoch, stored.version, stored.document
            self._told.renew(session_id, stored, went_back)

    def _mended(self, watched: _Watched) -> None:
        watched.mending = watched.is_doubted = False
        backlog, watched.backlog = watched.backlog, []
        for message in backlog:
            self._take(message)

    async def _positions(self, ids: list[str], refresh: bool = False) -> list[tuple[str | None, int]]:
        """Return the stored epoch and version of sessions, (None, 0) where there is none; one round trip."""
        keys = self._keys
        commands: list[Command] = [("HMGET", keys.session(each), "epoch", "version") for each in ids]
        if refresh:
            kept = (key(session_id) for session_id in ids for key in (keys.session, keys.history, keys.commands))
            commands += [("EXPIRE", key, self._ttl_s, "GT") for key in kept]
        with unavailable_as_named():
            replies = await self._pipe.call_many(commands)
        found = replies[: len(ids)]
        return [(None, 0) if epoch is None else (epoch.decode(), int(version)) for epoch, version in found]

    async def _states(self, ids: list[str]) -> list[tuple[Stored | None, list[FeedMessage]]]:
        """Return what is stored of sessions, and the versions before it that are kept, oldest first; one round trip."""
        commands: list[Command] = []
        for session_id in ids:
            commands.append(("HMGET", self._keys.session(session_id), *_FIELDS))
            commands.append(("LRANGE", self._keys.history(session_id), 0, -1))
        with unavailable_as_named():
            replies = await self._pipe.call_many(commands)
        return [
            (_stored(fields), [FeedMessage.parse(message) for message in history])
            for fields, history in zip(replies[::2], replies[1::2], strict=True)
        ]

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
        before = [self._watched[session_id].position for session_id in ids]
        for session_id, was, stored in zip(ids, before, await self._positions(ids, refresh), strict=True):
            watched = self._watched.get(session_id)
            # What moved on by itself since we asked is well.
            if watched is not None and not watched.mending and watched.position == was != stored:
                self._soil(session_id, watched)


def _follows(watched: _Watched, message: FeedMessage) -> bool:
    if watched.epoch is None:
        return True
    if message.epoch == watched.epoch:
        return message.version == watched.version + 1
    return message.event_type in (EventType.SESSION_CREATED, EventType.SESSION_RECOVERED)


def _stored(fields: list[Any]) -> Stored | None:
    epoch, version, deleted, document = fields
    if epoch is None:
        return None
    return Stored(epoch=epoch.decode(), version=int(version), deleted=deleted == b"1", document=document)


def _chunks(items: list[str], size: int = AT_ONCE) -> Iterator[list[str]]:
    return (items[at : at + size] for at in range(0, len(items), size))
