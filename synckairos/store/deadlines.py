"""Deadlines in Redis: sorted sets of the sessions that have transitions due by time, claimed with leases."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import NamedTuple

from msgspec import Struct
from redis.asyncio import Redis

from synckairos.errors import InvalidStoredData
from synckairos.store.keys import Keys
from synckairos.store.lua_scripts import LuaScript
from synckairos.store.pubsub_connection import PubSubConnection
from synckairos.store.redis_errors import reraise_swallowed_cancellation, translated_errors
from synckairos.store.shared_connection import RedisPipe, raise_if_invalid_data
from synckairos.store.stored_session import SESSION_FIELDS, SessionLoadResult, parse_session_name, parse_stored_session
from synckairos.telemetry.invalid_data import (
    PARSE_ERRORS,
    report_dropped_keys,
    report_invalid_data,
    reporting_invalid_data,
)

LISTEN_TIMEOUT_S = 30.0
"""Seconds: maximum duration of one wait for a message on the wake-up channel."""


_MAX_SCORE = 2.0**53


class ClaimedSession(NamedTuple):
    """A session that this instance has claimed, with its session data from Redis.

    `due_ms` is the instant at which the session fell due, in ms since the Unix epoch. If an earlier claim expired,
    `due_ms` is the end of the lease of the earlier claim.
    """

    session_name: str
    due_ms: int
    loaded: SessionLoadResult


class DueClaims(Struct, frozen=True):
    """The result of a claim: the claimed sessions, and the earliest deadline that is in the sorted set after the claim.

    `due` has the claimed sessions that could be parsed. `invalid` has the names of claimed sessions with invalid data.
    `next_due_ms` is in ms since the Unix epoch and can be the end of a lease. It is None if the sorted set is empty.
    `sent_at_s` and `received_at_s` are readings of this process' monotonic clock in seconds. The time of Redis was
    `now_ms` at an instant between these readings.
    """

    sent_at_s: float
    received_at_s: float
    now_ms: int
    next_due_ms: int | None
    due: tuple[ClaimedSession, ...]
    invalid: tuple[str, ...] = ()


class Deadlines:
    """The sorted sets of deadlines, one for each partition.

    All methods raise StoreUnavailable if Redis does not answer.
    """

    def __init__(self, pipe: RedisPipe, redis: Redis, keys: Keys, subscriber: PubSubConnection | None = None) -> None:
        """Create the deadlines of the store of `pipe`. `redis` is a client for pub/sub.

        In a Redis Cluster, `subscriber` receives the new deadlines, because the channels are on several nodes.
        """
        self._pipe = pipe
        self._redis = redis
        self._keys = keys
        self._subscriber = subscriber
        self._wake_ups: asyncio.Queue[int] = asyncio.Queue()
        self._claim_script = LuaScript("deadlines_claim", allow_oom=True)
        self._realign_script = LuaScript("deadline_set_from_session", allow_oom=True)
        self._postpone_script = LuaScript("deadline_postpone", allow_oom=True)

    async def claim_due(self, partition: int, count: int, lease_ms: int) -> DueClaims:
        """Claim at most `count` due sessions of a partition, and load the sessions. Atomic, one round trip.

        The lease on each claimed session ends `lease_ms` milliseconds after the claim. Then any instance can claim the
        session again, unless the deadline was written in the meantime.
        """
        sent_at_s = time.monotonic()
        with translated_errors():
            now, head, dropped_key, *due = await self._claim_script(
                self._pipe,
                [self._keys.deadlines(partition)],
                [count, lease_ms, self._keys.session_prefix(partition), *SESSION_FIELDS],
            )
        received_at_s, now_ms = time.monotonic(), int(now)
        if dropped_key:
            report_dropped_keys([dropped_key])
        claimed, invalid, damaged = [], [], []
        for member, score, fields in zip(due[::3], due[1::3], due[2::3], strict=True):
            try:
                session_name = parse_session_name(member)
            except ValueError as error:
                report_invalid_data(self._keys.deadlines(partition), error)
                damaged.append(member)
                continue
            try:
                with reporting_invalid_data(self._keys.session(session_name)):
                    loaded = SessionLoadResult(now_ms, parse_stored_session(raise_if_invalid_data(fields)))
                    claimed.append(ClaimedSession(session_name, _parse_score(score), loaded))
            except InvalidStoredData:
                invalid.append(session_name)
        if damaged:
            with translated_errors():
                await self._pipe.call("ZREM", self._keys.deadlines(partition), *damaged)
        next_due_ms = _parse_score(head) if head else None
        return DueClaims(sent_at_s, received_at_s, now_ms, next_due_ms, tuple(claimed), tuple(invalid))

    async def extend_lease(self, session_name: str, lease_until_ms: int, until_ms: int) -> None:
        """Extend the lease on a claimed session to `until_ms`. Call this if the session cannot be expired now.

        `lease_until_ms` must be the end of the current lease. Both instants are in ms since the Unix epoch. If a commit
        has written the deadline of the session after the claim, nothing changes.
        """
        name = self._keys.deadlines(self._keys.partition_of(session_name))
        with translated_errors():
            await self._postpone_script(self._pipe, [name], [session_name, lease_until_ms, until_ms])

    async def update_from_state(self, session_name: str) -> None:
        """Set the deadline of a session in the sorted set to the deadline in the session's hash.

        Atomic, one round trip.

        If the hash has no deadline, the session is removed from the sorted set. A lease on the session ends.
        """
        names = [self._keys.deadlines(self._keys.partition_of(session_name)), self._keys.session(session_name)]
        with translated_errors():
            await self._realign_script(self._pipe, names, [session_name])

    async def listen_for_earlier_deadlines(self) -> AsyncIterator[int]:
        """Yield each new deadline that is earlier than all other deadlines of its partition.

        The deadlines are in ms since the Unix epoch. Messages can be lost, so the caller must also read the deadlines
        regularly.

        Raises: StoreUnavailable when the connection fails. The iteration then ends.
        """
        if self._subscriber is not None and self._pipe.is_cluster:
            for partition in range(self._keys.partitions):
                channel = self._keys.wake_up_channel_of(partition, is_cluster=True)
                self._subscriber.subscribe(channel, lambda _, payload: self._wake_ups.put_nowait(int(payload)))
            while True:
                yield await self._wake_ups.get()
        with translated_errors():
            async with self._redis.pubsub(ignore_subscribe_messages=True) as pubsub:
                await pubsub.subscribe(self._keys.wake_up_channel)
                while True:
                    message = await pubsub.get_message(timeout=LISTEN_TIMEOUT_S)
                    reraise_swallowed_cancellation()
                    if message is not None:
                        try:
                            due_ms = int(message["data"])
                        except PARSE_ERRORS as error:
                            report_invalid_data(self._keys.wake_up_channel, error)
                            continue
                        yield due_ms


def _parse_score(score: bytes) -> int:
    """Return the score of a sorted set as whole ms.

    No release writes an infinite score. An infinite or very large score becomes the limit `_MAX_SCORE` or
    `-_MAX_SCORE`.
    """
    return int(max(-_MAX_SCORE, min(_MAX_SCORE, float(score))))
