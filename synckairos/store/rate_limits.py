"""Rate limits: requests per fixed time window, counted in Redis so that all instances share the counters."""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct
from redis.exceptions import ResponseError

from synckairos.errors import RateLimitExceeded
from synckairos.store.keys import Keys
from synckairos.store.lua_scripts import LuaScript, is_missing_script
from synckairos.store.redis_errors import translated_errors
from synckairos.store.shared_connection import RedisCommand, RedisPipe

COUNT_SCRIPT = LuaScript("rate_limit_count")


class Quota(Struct, frozen=True):
    """At most `limit` requests in each window of `window_ms`, for all requests with the same `scope`."""

    scope: str
    limit: int
    window_ms: int


def general_quota(address: str, limit: int) -> Quota:
    """Return the quota for all requests from one address: `limit` per minute."""
    return Quota(f"general:{address}", limit, 60_000)


def switch_quota(session_id: str, limit: int) -> Quota:
    """Return the additional quota for the switches of one session: `limit` per second."""
    return Quota(f"switch:{session_id}", limit, 1_000)


class RateLimitStatus(Struct, frozen=True):
    """The status of a quota after a request: `remaining` requests, and `reset_s` whole seconds to the window's end."""

    limit: int
    remaining: int
    reset_s: int
    exceeded: bool = False


class RateMeter:
    """Counts one request against its quotas and keeps their status for the answer.

    The store writes `statuses` when it counts the request. They are empty before that and for a replay, which is free.
    `is_due` is true while the request must still be counted.
    """

    __slots__ = ("is_due", "quotas", "statuses")

    def __init__(self, *quotas: Quota) -> None:
        """Take the quotas; a request without quotas is not limited."""
        self.quotas = quotas
        self.statuses: tuple[RateLimitStatus, ...] = ()
        self.is_due = bool(quotas)

    def add(self, quota: Quota) -> None:
        """Count the request against one more quota."""
        self.quotas += (quota,)
        self.is_due = True

    def count_commands(self, keys: Keys) -> list[RedisCommand]:
        """Return the Redis commands that count the request: one reply for each quota, for `record`."""
        self.is_due = False
        return [
            ("EVALSHA", COUNT_SCRIPT.sha, 1, keys.rate_limit(quota.scope), quota.window_ms) for quota in self.quotas
        ]

    def record(self, replies: Sequence[Sequence[int]]) -> None:
        """Store the status that the replies to `count_commands` report."""
        self.statuses = tuple(
            RateLimitStatus(
                limit=quota.limit,
                remaining=max(0, quota.limit - count),
                reset_s=max(0, -(-left_ms // 1000)),
                exceeded=count > quota.limit,
            )
            for quota, (count, left_ms) in zip(self.quotas, replies, strict=True)
        )

    def waive(self) -> None:
        """Mark the request as free, for example because it is a replay."""
        self.statuses = ()
        self.is_due = False

    def reset(self) -> None:
        """Mark the request as not counted yet."""
        self.statuses = ()
        self.is_due = bool(self.quotas)

    def raise_if_exceeded(self) -> None:
        """Raise RateLimitExceeded if a quota is used up."""
        for status in self.statuses:
            if status.exceeded:
                raise RateLimitExceeded(status.limit, status.reset_s)


class RateLimits:
    """Counts requests that do not load a session. A load counts its request in its own round trip."""

    def __init__(self, pipe: RedisPipe, keys: Keys) -> None:
        self._pipe = pipe
        self._keys = keys

    async def count(self, meter: RateMeter) -> None:
        """Count a request against all its quotas, in one round trip.

        Raises:
            RateLimitExceeded: a quota is used up.
            StoreUnavailable: Redis does not answer.
        """
        if not meter.quotas:
            return
        with translated_errors():
            meter.record(await call_with_scripts(self._pipe, meter.count_commands(self._keys)))
        meter.raise_if_exceeded()

    async def refund(self, meter: RateMeter) -> None:
        """Undo the count of a request that turned out to be free, in one round trip. Raises StoreUnavailable."""
        await refund(self._pipe, self._keys, meter)


async def refund(pipe: RedisPipe, keys: Keys, meter: RateMeter) -> None:
    """Undo the count of a request that turned out to be free, in one round trip. Raises StoreUnavailable."""
    if meter.quotas:
        with translated_errors():
            await pipe.call_many([("DECR", keys.rate_limit(quota.scope)) for quota in meter.quotas])
    meter.waive()


async def call_with_scripts(pipe: RedisPipe, commands: list[RedisCommand], *scripts: LuaScript) -> list[Any]:
    """Send commands that call the counting script, or other `scripts`, in one round trip.

    If the server lost a script, all scripts are loaded and all commands are sent again. So the commands must be safe to
    repeat.
    """
    try:
        return await pipe.call_many(commands)
    except ResponseError as error:
        if not is_missing_script(error):
            raise
    scripts = (COUNT_SCRIPT, *scripts)
    replies = await pipe.call_many([*(("SCRIPT", "LOAD", script.text) for script in scripts), *commands])
    return replies[len(scripts) :]
