"""Deadlines in Redis: which sessions time itself acts upon next, claimed by a lease, and the call that wakes."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from redis.asyncio import Redis
from redis.asyncio.client import PubSub

from synckairos.store.keys import Keys
from synckairos.store.redis import Script, unavailable_as_named


@dataclass(frozen=True, slots=True)
class Claim:
    """Sessions claimed, each with the instant at which it fell due, and when the next one will (None: none).

    `asked_at_s` is this process' monotonic clock when it asked: how long ago `now_ms` was, at most.
    """

    asked_at_s: float
    now_ms: int
    next_due_ms: int | None
    due: tuple[tuple[str, int], ...]


class Deadlines:
    """The sorted sets of deadlines. Raises StoreUnavailable where Redis doesn't answer."""

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self._redis = redis
        self._keys = keys
        self._claim = Script("claim")
        self._realign = Script("realign")

    async def claim(self, partition: int, count: int, lease_ms: int) -> Claim:
        """Claim up to `count` sessions that are due, for `lease_ms`. Atomic, one round trip."""
        asked_at_s = time.monotonic()
        with unavailable_as_named():
            now, head, *due = await self._claim(self._redis, [self._keys.deadlines(partition)], [count, lease_ms])
        pairs = tuple((due[at].decode(), int(float(due[at + 1]))) for at in range(0, len(due), 2))
        return Claim(asked_at_s, int(now), int(float(head)) if head else None, pairs)

    async def realign(self, session_id: str) -> None:
        """Set a session's deadline to what its state says, or drop it where that says none. Atomic, one round trip."""
        names = [self._keys.deadlines(self._keys.partition_of(session_id)), self._keys.session(session_id)]
        with unavailable_as_named():
            await self._realign(self._redis, names, [session_id])

    @asynccontextmanager
    async def wakes(self) -> AsyncIterator[PubSub]:
        """Listen for deadlines earlier than any before: a message a time, its data the instant in ms."""
        pubsub = self._redis.pubsub(ignore_subscribe_messages=True)
        try:
            with unavailable_as_named():
                await pubsub.subscribe(self._keys.wake)
            yield pubsub
        finally:
            await pubsub.aclose()
