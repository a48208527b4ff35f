"""Deadlines in Redis: sorted sets of the sessions that have transitions due by time, claimed with leases."""

import time
from collections.abc import AsyncIterator
from typing import NamedTuple

from msgspec import Struct
from redis.asyncio import Redis

from synckairos.store.keys import Keys
from synckairos.store.lua_scripts import LuaScript
from synckairos.store.redis_errors import reraise_swallowed_cancellation, translated_errors
from synckairos.store.shared_connection import RedisPipe
from synckairos.store.stored_session import SESSION_FIELDS, SessionLoadResult, parse_stored_session

LISTEN_TIMEOUT_S = 30.0
"""Seconds: maximum duration of one wait for a message on the wake-up channel."""


class ClaimedSession(NamedTuple):
    """A session that this instance has claimed, and the instant at which it fell due, in ms since the Unix epoch."""

    session_id: str
    due_ms: int
    loaded: SessionLoadResult


class DueClaims(Struct, frozen=True):
    """The result of a claim: the claimed sessions, and the next deadline in the sorted set.

    `next_due_ms` is None if the sorted set is empty. `sent_at_s` and `received_at_s` are readings of this process'
    monotonic clock in seconds. The time of Redis was `now_ms` at an instant between these readings.
    """

    sent_at_s: float
    received_at_s: float
    now_ms: int
    next_due_ms: int | None
    due: tuple[ClaimedSession, ...]


class Deadlines:
    """The sorted sets of deadlines, one for each partition.

    All methods raise StoreUnavailable if Redis does not answer.
    """

    def __init__(self, pipe: RedisPipe, redis: Redis, keys: Keys) -> None:
        self._pipe = pipe
        self._redis = redis
        self._keys = keys
        self._claim_script = LuaScript("deadlines_claim")
        self._realign_script = LuaScript("deadline_set_from_session")

    async def claim(self, partition: int, count: int, lease_ms: int) -> DueClaims:
        """Claim at most `count` due sessions for `lease_ms`, and load them. Atomic, one round trip."""
        sent_at_s = time.monotonic()
        with translated_errors():
            now, head, *due = await self._claim_script(
                self._pipe,
                [self._keys.deadlines(partition)],
                [count, lease_ms, self._keys.session_prefix(partition), *SESSION_FIELDS],
            )
        now_ms = int(now)
        claimed = tuple(
            ClaimedSession(
                due[at].decode(), int(float(due[at + 1])), SessionLoadResult(now_ms, parse_stored_session(due[at + 2]))
            )
            for at in range(0, len(due), 3)
        )
        return DueClaims(sent_at_s, time.monotonic(), now_ms, int(float(head)) if head else None, claimed)

    async def update_from_state(self, session_id: str) -> None:
        """Set the deadline of a session to the deadline in its hash, or remove it if the hash has none.

        Atomic, one round trip.
        """
        names = [self._keys.deadlines(self._keys.partition_of(session_id)), self._keys.session(session_id)]
        with translated_errors():
            await self._realign_script(self._pipe, names, [session_id])

    async def listen_for_earlier_deadlines(self) -> AsyncIterator[int]:
        """Yield each new deadline that is earlier than all other deadlines, in ms since the Unix epoch.

        Messages can be lost, so the deadlines are only hints.

        Raises: StoreUnavailable when the connection fails.
        """
        with translated_errors():
            async with self._redis.pubsub(ignore_subscribe_messages=True) as pubsub:
                await pubsub.subscribe(self._keys.wake_up_channel)
                while True:
                    message = await pubsub.get_message(timeout=LISTEN_TIMEOUT_S)
                    reraise_swallowed_cancellation()
                    if message is not None:
                        yield int(message["data"])
