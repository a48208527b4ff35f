"""Rate limits: token buckets in Redis, so that all instances use the same buckets.

A request that is not a press takes one token from the general bucket of its client. A press takes one token from the
bucket of its session. Only a press that is refused or changes nothing also takes a token from the general bucket. The
reason is that the limits stop abuse, but must never stop a running session.
"""

import time
from collections.abc import Callable, Sequence
from functools import cache
from math import ceil
from typing import Any

from msgspec import Struct
from redis.exceptions import ResponseError

from synckairos.errors import RateLimitExceeded
from synckairos.frozen_replace import replace
from synckairos.limits.token_bucket import TokenBucket
from synckairos.store.keys import Keys
from synckairos.store.lua_scripts import LuaScript, is_missing_script
from synckairos.store.redis_errors import translated_errors
from synckairos.store.shared_connection import RedisCommand, RedisPipe

TAKE_SCRIPT = LuaScript("rate_limit_take", allow_oom=True)

PRESSES = frozenset({"switch", "pause", "resume"})
"""Commands that participants send while the clock runs. If such a command has to wait, a participant loses time."""


_LARGER_BURSTS_FROM = 30  # presses a second

MAX_LIMITED_CLIENTS = 10_000
"""Maximum number of limited clients that an instance remembers."""


class Rate(Struct, frozen=True):
    """A rate limit: `limit` requests in `period_s` seconds on average, and at most `burst` requests at the same time.

    `unit` is the name of the counted unit. `setting` is the variable that sets the limit.
    """

    name: str
    limit: int
    period_s: int
    burst: int
    unit: str
    setting: str
    script_arguments: tuple[str, str] = ("", "")
    """Duration in µs for one token, and size of the bucket. They are texts, so that a press renders no numbers."""

    @property
    def per_s(self) -> float:
        """Return the number of tokens that a bucket gains per second."""
        return self.limit / self.period_s

    @property
    def description(self) -> str:
        """Return a text for errors: the name, the value and the setting of the rate limit."""
        return f"{self.name} limit of {self.limit:,} {self.unit} ({self.setting})"


def make_rate(name: str, limit: int, period_s: int, burst: int, unit: str, setting: str) -> Rate:
    """Return a rate limit, including the arguments of its script calls."""
    return Rate(name, limit, period_s, burst, unit, setting, (repr(period_s * 1_000_000 / limit), str(burst)))


def general_rate(limit: int) -> Rate:
    """Return the rate limit for all requests of one client: `limit` per minute, with bursts of at most `limit`."""
    return make_rate("general", limit, 60, limit, "requests a minute and client", "RATE_LIMIT_GENERAL")


def switch_rate(limit: int) -> Rate:
    """Return the rate limit for the presses of one session: `limit` per second, with bursts of at most `limit`.

    From the default on, bursts are a third larger, so that 40 bids can arrive together at the end of an auction. A
    smaller limit is strict, as in v2.
    """
    burst = limit + limit // 3 if limit >= _LARGER_BURSTS_FROM else limit
    return make_rate("switch", limit, 1, burst, "presses a second and session", "RATE_LIMIT_SWITCH")


@cache
def replay_rate(general: Rate) -> Rate:
    """Return the rate limit for the replays of one client: two times the general limit.

    A replay takes a token only from the bucket of this rate limit.
    """
    limit = 2 * general.limit
    return make_rate("replay", limit, 60, limit, "replays a minute and client", general.setting)


class Quota(Struct, frozen=True):
    """A rate limit for one client or one session. `owner` identifies the client or session."""

    rate: Rate
    owner: str

    def key(self, keys: Keys) -> str:
        """Return the key of the quota's bucket."""
        return keys.rate_limit_bucket(f"{self.rate.name}:{self.owner}")

    def make_take_tokens_command(self, keys: Keys, tokens: int) -> RedisCommand:
        """Return the Redis command that takes `tokens` tokens from the bucket of the quota.

        If `tokens` is negative, the command gives tokens back.
        """
        return ("EVALSHA", TAKE_SCRIPT.sha, 1, self.key(keys), *self.rate.script_arguments, tokens)


class RateLimitStatus(Struct, frozen=True):
    """The status of a quota after a request.

    The bucket has `remaining` tokens of `limit` tokens, and is full again after `reset_s` seconds. If `exceeded` is
    True, the bucket had no token for the request, and has a token after `wait_ms` milliseconds.
    """

    limit: int
    remaining: int
    reset_s: int
    exceeded: bool = False
    wait_ms: int = 0
    rate: Rate | None = None

    @classmethod
    def from_reply(cls, rate: Rate, reply: Sequence[int]) -> "RateLimitStatus":
        """Return the status from the reply of the script that takes one token."""
        taken, remaining, wait_us, debt_us = reply
        wait_ms = 0 if taken else -(-wait_us // 1000)
        return cls(rate.burst, remaining, -(-debt_us // 1_000_000), not taken, wait_ms, rate)

    @classmethod
    def from_ttl(cls, rate: Rate, ttl_ms: int) -> "RateLimitStatus":
        """Return the status after one token is taken from a bucket whose key has the TTL `ttl_ms`.

        This method only calculates the status. The caller must take the token in Redis.

        The bucket is full when its key expires. A key without a TTL is not a bucket, so it counts as a full bucket.
        Redis rounds the TTL up to 1 ms.
        """
        bucket = TokenBucket(rate.per_s, rate.burst, full_at_s=(ttl_ms - 1) / 1000)
        wait_s, taken = bucket.seconds_until_available(1, 0.0), bucket.take(1, 0.0)
        remaining, reset_s = int(bucket.tokens_left(0.0)), ceil(bucket.seconds_until_available(rate.burst, 0.0))
        return cls(rate.burst, remaining, reset_s, not taken, ceil(wait_s * 1000), rate)


class RateMeter:
    """The rate-limit quotas of one request, and the rate-limit status for the response.

    The store writes `statuses` when it counts the request. `statuses` is empty before that, and for a replay. `is_due`
    is True if the request must still be counted.
    """

    __slots__ = ("_general", "_general_ttl_ms", "is_due", "quotas", "statuses")

    def __init__(self, *quotas: Quota) -> None:
        """Take the quotas of the request. Without quotas the request is not limited."""
        self.quotas = quotas
        self.statuses: tuple[RateLimitStatus, ...] = ()
        self.is_due = bool(quotas)
        self._general: Quota | None = None
        """The general quota of a press. Its bucket is read, but no token is taken."""
        self._general_ttl_ms: int | None = None
        """TTL of the general bucket of a press: ms until the bucket is full. Negative if the bucket is full."""

    @classmethod
    def for_press(cls, general: Quota, press: Quota) -> "RateMeter":
        """Return the meter of a press.

        The press takes a token of `press`. A press that is refused or changes nothing also takes a token of `general`.
        """
        meter = cls(general)
        meter.count_as_press(press)
        return meter

    def count_as_press(self, press: Quota) -> None:
        """Count this request as a press: the quota `press` replaces the general quota of this meter, as in `for_press`.

        The general quota must be the only quota of the meter. Without quotas, nothing changes.
        """
        if self.quotas:
            self._general = self.quotas[0]
            self.quotas = (press,)
            self.is_due = True

    @property
    def is_press(self) -> bool:
        """Return whether the request counts as a press, and has taken no token of the general quota yet."""
        return self._general is not None

    @property
    def is_press_of_limited_client(self) -> bool:
        """Return whether the request is a counted press, and the general quota of its client is used up."""
        if self._general is None or self._general_ttl_ms is None:
            return False
        return RateLimitStatus.from_ttl(self._general.rate, self._general_ttl_ms).exceeded

    def build_count_commands(self, keys: Keys) -> list[RedisCommand]:
        """Return the Redis commands that count the request, and set `is_due` to False.

        The caller must send the commands and give the replies to `record_replies`.
        """
        self.is_due = False
        commands = [quota.make_take_tokens_command(keys, 1) for quota in self.quotas]
        if self._general is not None:
            commands.append(("PTTL", self._general.key(keys)))
        return commands

    def record_replies(self, replies: Sequence[Any]) -> None:
        """Store the rate-limit status from the replies to `build_count_commands`.

        An exceeded quota raises no error here; see `raise_if_exceeded`.
        """
        if self._general is not None:
            *replies, self._general_ttl_ms = replies
        self.statuses = tuple(
            RateLimitStatus.from_reply(quota.rate, reply) for quota, reply in zip(self.quotas, replies, strict=True)
        )

    def build_refund_commands(self, keys: Keys) -> list[RedisCommand]:
        """Return the Redis commands that give back the tokens that the request took.

        The result is empty if the request was not counted. Exceeded quotas took no token.
        """
        counted = zip(self.quotas, self.statuses, strict=False)  # no statuses if the request was not counted
        return [quota.make_take_tokens_command(keys, -1) for quota, status in counted if not status.exceeded]

    @property
    def replay_quota(self) -> Quota | None:
        """Return the quota of the client for replays; None if the request is not limited by its client."""
        general = self._general or next((each for each in self.quotas if each.rate.name == "general"), None)
        return None if general is None else Quota(replay_rate(general.rate), general.owner)

    def record_replay(self, quota: Quota, reply: Sequence[int]) -> None:
        """Mark the request as a replay, which takes only a token of the quota for replays.

        `reply` is the reply of the script that took this token.

        Raises: RateLimitExceeded if the quota for replays is used up.
        """
        self.mark_free()
        status = RateLimitStatus.from_reply(quota.rate, reply)
        if status.exceeded:
            self.statuses = (status,)
            self.raise_if_exceeded()

    def take_unpaid_general_quota(self) -> Quota | None:
        """Return the general quota from which a press without an effect must take a token.

        The caller must then take the token in Redis, because later calls return None. Returns None if the request is
        not a press or was not counted.

        If the TTL of the bucket is longer than the time that fills it, the clock of Redis was set back. Then the quota
        is returned even if it is used up, because the script shortens the TTL. After the script call, the caller must
        call `raise_if_exceeded`.

        Raises: RateLimitExceeded if the general quota is used up. The caller must not take a token then.
        """
        quota, self._general = self._general, None
        if quota is None or self._general_ttl_ms is None:
            return None
        self.statuses += (RateLimitStatus.from_ttl(quota.rate, self._general_ttl_ms),)
        if self._general_ttl_ms - 1 <= quota.rate.burst / quota.rate.per_s * 1000:
            self.raise_if_exceeded()
        return quota

    def refuse_uncounted(self, status: RateLimitStatus, wait_ms: int) -> None:
        """Refuse the request without counting the request.

        `status` must be the exceeded status of the client, from `LimitedClients.find`. The next token comes in
        `wait_ms` milliseconds.

        Raises: RateLimitExceeded, always.
        """
        self.is_due = False
        self.statuses = (replace(status, wait_ms=wait_ms),)
        self.raise_if_exceeded()

    def mark_free(self) -> None:
        """Mark the request as free, so that it takes no token. The status for the response becomes empty."""
        self.statuses = ()
        self.is_due = False
        self._general = None

    def require_recount(self) -> None:
        """Mark the request as not counted yet, so that the next load counts the request again."""
        self.statuses = ()
        self.is_due = bool(self.quotas)

    def raise_if_exceeded(self) -> None:
        """Raise RateLimitExceeded if `statuses` has an exceeded quota. Sends no command to Redis."""
        for status in self.statuses:
            if status.exceeded and status.rate is not None:
                raise RateLimitExceeded(status.rate.description, status.rate.setting, status.wait_ms)


class LimitedClients:
    """Clients whose general quota was used up at their last request, until the client gets its next token.

    Each instance remembers these clients in memory, so that it refuses further requests without a round trip.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Take the monotonic clock in seconds."""
        self._clock = clock
        self._limited: dict[str, tuple[RateLimitStatus, float]] = {}

    def note(self, client: str, statuses: Sequence[RateLimitStatus]) -> None:
        """Remember the client if `statuses` has its general quota as exceeded. Call this after each refusal."""
        for status in statuses:
            if status.exceeded and status.rate is not None and status.rate.name == "general":
                self._limited.pop(client, None)  # a key that is set again must be the newest
                self._limited[client] = (status, self._clock() + status.wait_ms / 1000)
                if len(self._limited) > MAX_LIMITED_CLIENTS:
                    del self._limited[next(iter(self._limited))]

    def find(self, client: str) -> tuple[RateLimitStatus, int] | None:
        """Return the status of a limited client, and the milliseconds until its next token.

        Returns None if the client is not limited.
        """
        found = self._limited.get(client)
        if found is None:
            return None
        status, until_s = found
        wait_ms = ceil((until_s - self._clock()) * 1000)
        if wait_ms > 0:
            return status, wait_ms
        del self._limited[client]
        return None


class RateLimits:
    """Counts requests that do not load a session.

    A request that loads a session is counted by `SessionStore.load`, in the same round trip.
    """

    def __init__(self, pipe: RedisPipe, keys: Keys) -> None:
        self._pipe = pipe
        self._keys = keys

    async def count(self, meter: RateMeter) -> None:
        """Count a request against each quota of its meter, in one round trip.

        Raises:
            RateLimitExceeded: a quota is used up. The request has still taken the tokens of its other quotas.
            StoreUnavailable: Redis does not answer. The request was possibly counted.
        """
        if not meter.quotas:
            return
        with translated_errors():
            meter.record_replies(await run_script_commands(self._pipe, meter.build_count_commands(self._keys)))
        meter.raise_if_exceeded()

    async def uncount(self, meter: RateMeter) -> None:
        """Give back the tokens that a request took, in one round trip, and mark the request as not counted yet.

        Call this for a request that will be counted again.

        Raises: StoreUnavailable if Redis does not answer.
        """
        if commands := meter.build_refund_commands(self._keys):
            with translated_errors():
                await run_script_commands(self._pipe, commands)
        meter.require_recount()

    async def count_replay(self, meter: RateMeter) -> None:
        """Count a request that is already counted as a replay instead. See `count_replay_with_pipe`."""
        await count_replay_with_pipe(self._pipe, self._keys, meter)


async def count_replay_with_pipe(pipe: RedisPipe, keys: Keys, meter: RateMeter) -> None:
    """Give back the tokens that a replay took, and take one token of the client's quota for replays.

    One round trip for both. A request that is not limited by its client takes no token.

    Raises:
        RateLimitExceeded: the quota for replays is used up. The other tokens were given back.
        StoreUnavailable: Redis does not answer.
    """
    commands, quota = meter.build_refund_commands(keys), meter.replay_quota
    if quota is not None:
        commands.append(quota.make_take_tokens_command(keys, 1))
    if commands:
        with translated_errors():
            replies = await run_script_commands(pipe, commands)
        if quota is not None:
            meter.record_replay(quota, replies[-1])
    meter.mark_free()


async def run_script_commands(pipe: RedisPipe, commands: list[RedisCommand], *scripts: LuaScript) -> list[Any]:
    """Send commands in one round trip, and return the replies in the order of `commands`.

    The commands can call the token script and the scripts in `scripts`. If Redis lost a script, all scripts are loaded
    and all commands are sent again. So the commands must be safe to repeat.
    """
    try:
        return await pipe.call_many(commands)
    except ResponseError as error:
        if not is_missing_script(error):
            raise
    scripts = (TAKE_SCRIPT, *scripts)
    replies = await pipe.call_many([*(("SCRIPT", "LOAD", script.text) for script in scripts), *commands])
    return replies[len(scripts) :]
