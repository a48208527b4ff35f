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


class RateLimits:
    """Counts requests that don't load a session; those that do count within the load's own trip."""

    def __init__(self, pipe: RedisPipe, keys: Keys) -> None:
        self._pipe = pipe
        self._keys = keys

    async def take(self, quotas: Sequence[Quota]) -> tuple[RateLimitStatus, ...]:
        """Count a request against all its quotas, in one round trip.

        Raises:
            RateLimitExceeded: one of them is used up; carries `standings`.
            StoreUnavailable: Redis doesn't answer.
        """
        if not quotas:
            return ()
        with unavailable_as_named():
            replies = await call_with_limits(self._pipe, count_commands(self._keys, quotas))
        standings = parse_statuses(quotas, replies)
        raise_if_exceeded(standings)
        return standings

    async def give_back(self, quotas: Sequence[Quota]) -> None:
        """Say that a request wasn't counted after all, in one round trip."""
        if quotas:
            with unavailable_as_named():
                await self._pipe.call_many(refund_commands(self._keys, quotas))


def count_commands(keys: Keys, quotas: Sequence[Quota]) -> list[Command]:
    """Return the commands that count a request against these quotas: one reply each, for `standings_of`."""
    return [("EVALSHA", LIMIT.sha, 1, keys.limit(quota.scope), quota.window_ms) for quota in quotas]


def refund_commands(keys: Keys, quotas: Sequence[Quota]) -> list[Command]:
    """Return the commands that say that these requests weren't counted after all: replays are free."""
    return [("DECR", keys.limit(quota.scope)) for quota in quotas]


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


def parse_statuses(quotas: Sequence[Quota], replies: Sequence[Sequence[int]]) -> tuple[RateLimitStatus, ...]:
    """Return what the counters' replies mean."""
    return tuple(
        RateLimitStatus(
            limit=quota.limit,
            remaining=max(0, quota.limit - count),
            reset_s=max(0, -(-left_ms // 1000)),
            exceeded=count > quota.limit,
        )
        for quota, (count, left_ms) in zip(quotas, replies, strict=True)
    )


def raise_if_exceeded(standings: Sequence[RateLimitStatus]) -> None:
    """Raise RateLimitExceeded, with `standings`, where one of them is used up."""
    for standing in standings:
        if standing.exceeded:
            refused = RateLimitExceeded(standing.limit, standing.reset_s)
            refused.standings = tuple(standings)
            raise refused
