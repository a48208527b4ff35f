"""Rate limits, counted in Redis so that all instances share them: so many requests in a fixed window."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from redis.exceptions import ResponseError

from synckairos.errors import RateLimitExceeded
from synckairos.fast_dataclass import fast_dataclass
from synckairos.store.connect import Script, is_missing_script, unavailable_as_named
from synckairos.store.keys import Keys
from synckairos.store.shared_connection import Command, RedisPipe

LIMIT = Script("limit")


@fast_dataclass
@dataclass(frozen=True, slots=True)
class Quota:
    """`limit` requests in each window of `window_ms`, for all requests of one scope, such as `general:<address>`."""

    scope: str
    limit: int
    window_ms: int


def general_quota(address: str, limit: int) -> Quota:
    """Return what everything counts against that one address asks: `limit` a minute."""
    return Quota(f"general:{address}", limit, 60_000)


def switch_quota(session_id: str, limit: int) -> Quota:
    """Return what the switches of one session count against besides: `limit` a second."""
    return Quota(f"switch:{session_id}", limit, 1_000)


@fast_dataclass
@dataclass(frozen=True, slots=True)
class RateLimitStatus:
    """A quota after a request: `remaining` ≥ 0 requests, `reset_s` whole seconds until the window ends."""

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

    def count_commands(self, keys: Keys) -> list[Command]:
        """Return the Redis commands that count the request: one reply for each quota, for `record`."""
        self.is_due = False
        return [("EVALSHA", LIMIT.sha, 1, keys.limit(quota.scope), quota.window_ms) for quota in self.quotas]

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
    """Counts requests that don't load a session; those that do count within the load's own trip."""

    def __init__(self, pipe: RedisPipe, keys: Keys) -> None:
        self._pipe = pipe
        self._keys = keys

    async def take(self, meter: RateMeter) -> None:
        """Count a request against all its quotas, in one round trip.

        Raises:
            RateLimitExceeded: a quota is used up.
            StoreUnavailable: Redis does not answer.
        """
        if not meter.quotas:
            return
        with unavailable_as_named():
            meter.record(await call_with_limits(self._pipe, meter.count_commands(self._keys)))
        meter.raise_if_exceeded()

    async def give_back(self, meter: RateMeter) -> None:
        """Undo the count of a request that turned out to be free, in one round trip. Raises StoreUnavailable."""
        await refund(self._pipe, self._keys, meter)


async def refund(pipe: RedisPipe, keys: Keys, meter: RateMeter) -> None:
    """Undo the count of a request that turned out to be free, in one round trip. Raises StoreUnavailable."""
    if meter.quotas:
        with unavailable_as_named():
            await pipe.call_many([("DECR", keys.limit(quota.scope)) for quota in meter.quotas])
    meter.waive()


async def call_with_limits(pipe: RedisPipe, commands: list[Command], *scripts: Script) -> list[Any]:
    """Call commands with counting, or other `scripts`, among them, in one round trip.

    Where the server lost a script, all are sent first. Only for commands that may be repeated.
    """
    try:
        return await pipe.call_many(commands)
    except ResponseError as refusal:
        if not is_missing_script(refusal):
            raise
    scripts = (LIMIT, *scripts)
    replies = await pipe.call_many([*(("SCRIPT", "LOAD", script.text) for script in scripts), *commands])
    return replies[len(scripts) :]
