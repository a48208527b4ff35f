"""Deadlines in Redis: which sessions time itself acts upon next, claimed by a lease, and the call that wakes."""

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

from redis.asyncio import Redis

from synckairos.store.connect import Script, end_if_cancelled, unavailable_as_named
from synckairos.store.keys import Keys
from synckairos.store.shared_connection import RedisPipe
from synckairos.store.stored_session import FIELDS, LoadedSession, parse_stored_session

LISTEN_S = 30.0


@dataclass(frozen=True, slots=True)
class DueClaims:
    """Sessions claimed: id, the instant when it fell due, how it is stored. And when the next one will (None: none).

    `asked_at_s` and `answered_at_s` are this process' monotonic clock: it was `now_ms` at some instant between them.
    """

    asked_at_s: float
    answered_at_s: float
    now_ms: int
    next_due_ms: int | None
    due: tuple[tuple[str, int, LoadedSession], ...]


class Deadlines:
    """The sorted sets of deadlines. Raises StoreUnavailable where Redis doesn't answer."""

    def __init__(self, pipe: RedisPipe, redis: Redis, keys: Keys) -> None:
        self._pipe = pipe
        self._redis = redis
        self._keys = keys
        self._claim = Script("claim")
        self._realign = Script("realign")

    async def claim(self, partition: int, count: int, lease_ms: int) -> DueClaims:
        """Claim up to `count` sessions that are due, for `lease_ms`, and load them. Atomic, one round trip."""
        asked_at_s = time.monotonic()
        with unavailable_as_named():
            now, head, *due = await self._claim(
                self._pipe,
                [self._keys.deadlines(partition)],
                [count, lease_ms, self._keys.sessions(partition), *FIELDS],
            )
        now_ms = int(now)
        claimed = tuple(
            (due[at].decode(), int(float(due[at + 1])), LoadedSession(now_ms, parse_stored_session(due[at + 2])))
            for at in range(0, len(due), 3)
        )
        return DueClaims(asked_at_s, time.monotonic(), now_ms, int(float(head)) if head else None, claimed)

    async def realign(self, session_id: str) -> None:
        """Set a session's deadline to what its state says, or drop it where that says none. Atomic, one round trip."""
        names = [self._keys.deadlines(self._keys.partition_of(session_id)), self._keys.session(session_id)]
        with unavailable_as_named():
            await self._realign(self._pipe, names, [session_id])

    async def wakes(self) -> AsyncIterator[int]:
        """Yield each deadline (ms) that was written earlier than any before, until the connection fails.

        Raises StoreUnavailable when it does. A hint only: messages can be lost.
        """
        with unavailable_as_named():
            async with self._redis.pubsub(ignore_subscribe_messages=True) as pubsub:
                await pubsub.subscribe(self._keys.wake)
                while True:
                    message = await pubsub.get_message(timeout=LISTEN_S)
                    end_if_cancelled()
                    if message is not None:
                        yield int(message["data"])
