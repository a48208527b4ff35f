"""Rate meter: the quotas that one request uses, and the rate-limit status for its response."""

from collections.abc import Sequence
from math import ceil
from typing import Any

from msgspec import Struct

from synckairos.errors import RateLimitExceeded
from synckairos.frozen_replace import replace
from synckairos.limits.token_bucket import TokenBucket
from synckairos.store.keys import Keys
from synckairos.store.rate_quotas import Quota, Rate, replay_rate
from synckairos.store.shared_connection import RedisCommand


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
        """Create the meter of a request with these quotas. Without quotas the request is not limited."""
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

    def count_as_request(self) -> None:
        """Undo `count_as_press` for a press that is not counted yet. The press then uses the general quota."""
        if self._general is not None and self.is_due:
            self.quotas = (self._general,)
            self._general = None

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
            commands.append(("PTTL", self._general.bucket_key(keys)))
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

        The caller must then take the token in Redis, because later calls return None. Return None if the request is not
        a press, or was not counted.

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
        """Mark the request as free, so that it takes no token. `statuses` becomes empty."""
        self.statuses = ()
        self.is_due = False
        self._general = None

    def require_recount(self) -> None:
        """Mark the request as not counted yet, so that the next load counts the request again."""
        self.statuses = ()
        self.is_due = bool(self.quotas)

    def raise_if_exceeded(self) -> None:
        """Raise RateLimitExceeded if a quota in `statuses` is exceeded, otherwise do nothing.

        Sends no command to Redis.
        """
        for status in self.statuses:
            if status.exceeded and status.rate is not None:
                raise RateLimitExceeded(status.rate.description, status.rate.setting, status.wait_ms)
