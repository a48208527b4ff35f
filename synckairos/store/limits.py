"""Rate limits, counted in Redis so that all instances share them: so many requests in a fixed window."""

from collections.abc import Sequence
from dataclasses import dataclass

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.exceptions import NoScriptError

from synckairos.errors import RateLimitExceeded
from synckairos.store.keys import Keys
from synckairos.store.redis import Script, unavailable_as_named

LIMIT = Script("limit")


@dataclass(frozen=True, slots=True)
class Quota:
    """`limit` requests in each window of `window_ms`, for all requests of one scope, such as `general:<address>`."""

    scope: str
    limit: int
    window_ms: int


@dataclass(frozen=True, slots=True)
class Standing:
    """A quota after a request: `remaining` ≥ 0 requests, `reset_s` whole seconds until the window ends."""

    limit: int
    remaining: int
    reset_s: int
    exceeded: bool = False


class Limits:
    """Counts requests that don't load a session; those that do count within the load's own trip."""

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self._redis = redis
        self._keys = keys

    async def take(self, quotas: Sequence[Quota]) -> tuple[Standing, ...]:
        """Count a request against all its quotas, in one round trip.

        Raises:
            RateLimitExceeded: one of them is used up; carries `standings`.
            StoreUnavailable: Redis doesn't answer.
        """
        if not quotas:
            return ()
        with unavailable_as_named():
            replies = await self._count(quotas)
        standings = standings_of(quotas, replies)
        check(standings)
        return standings

    async def _count(self, quotas: Sequence[Quota]) -> list[list[int]]:
        for attempt in range(2):
            async with self._redis.pipeline(transaction=False) as pipe:
                queue(pipe, self._keys, quotas)
                try:
                    replies: list[list[int]] = await pipe.execute()
                    return replies
                except NoScriptError:
                    if attempt:
                        raise
                    await self._redis.script_load(LIMIT.text)
        raise AssertionError("unreachable")


def queue(pipe: Pipeline, keys: Keys, quotas: Sequence[Quota]) -> None:
    """Put the counting of these quotas into a pipeline: one reply each."""
    for quota in quotas:
        pipe.evalsha(LIMIT.sha, 1, keys.limit(quota.scope), str(quota.window_ms))


def refund(pipe: Pipeline, keys: Keys, quotas: Sequence[Quota]) -> None:
    """Put into a pipeline that these requests weren't counted after all: replays are free."""
    for quota in quotas:
        pipe.decr(keys.limit(quota.scope))


def standings_of(quotas: Sequence[Quota], replies: Sequence[Sequence[int]]) -> tuple[Standing, ...]:
    """Return what the counters' replies mean."""
    return tuple(
        Standing(
            limit=quota.limit,
            remaining=max(0, quota.limit - count),
            reset_s=max(0, -(-left_ms // 1000)),
            exceeded=count > quota.limit,
        )
        for quota, (count, left_ms) in zip(quotas, replies, strict=True)
    )


def check(standings: Sequence[Standing]) -> None:
    """Raise RateLimitExceeded, with `standings`, where one of them is used up."""
    for standing in standings:
        if standing.exceeded:
            refused = RateLimitExceeded(standing.limit, standing.reset_s)
            refused.standings = tuple(standings)
            raise refused
