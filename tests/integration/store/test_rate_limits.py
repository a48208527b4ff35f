"""Token buckets in Redis: the script and `TokenBucket` have the same arithmetic.

Keys of the first edition are ignored.
"""

import random
from collections.abc import AsyncIterator

import pytest

from synckairos.errors import RateLimitExceeded
from synckairos.limits.token_bucket import TokenBucket
from synckairos.store.keys import Keys
from synckairos.store.rate_limits import RateLimits, run_script_commands
from synckairos.store.rate_meter import RateMeter
from synckairos.store.rate_quotas import Quota, general_rate, make_rate
from synckairos.store.shared_connection import RedisPipe, parse_time_ms
from tests.waiting import eventually

SLOW = make_rate("slow", 1, 1_000_000, 8, "requests", "NONE")
"""A rate limit so slow that its bucket gains no token during a test."""


@pytest.fixture
async def pipe(redis_url: str) -> AsyncIterator[RedisPipe]:
    async with RedisPipe(redis_url, timeout_s=2) as opened:
        yield opened


@pytest.fixture
def keys(key_prefix: str) -> Keys:
    return Keys(key_prefix)


async def take(pipe: RedisPipe, keys: Keys, quota: Quota, tokens: int) -> list[int]:
    """Take tokens from a bucket. Return the reply of the script."""
    (reply,) = await run_script_commands(pipe, [quota.make_take_tokens_command(keys, tokens)])
    assert isinstance(reply, list)
    return reply


async def test_script_and_python_have_the_same_arithmetic(pipe: RedisPipe, keys: Keys) -> None:
    rng, quota, bucket = random.Random(3), Quota(SLOW, "one"), TokenBucket(SLOW.per_s, SLOW.burst)
    for _ in range(200):
        tokens = rng.choice((-2, -1, 0, 1, 1, 2, 3))
        if tokens < 0:
            bucket.return_tokens(-tokens, 0.0)
            taken = True
        else:
            taken = bucket.take(tokens, 0.0)
        reply = await take(pipe, keys, quota, tokens)
        left, wait_s = round(bucket.tokens_left(0.0)), bucket.seconds_until_available(1, 0.0)
        # The bucket in Redis has gained a small part of a token after the first request.
        assert (reply[0], reply[1]) == (int(taken), left), tokens
        assert 0 <= wait_s - reply[2] / 1e6 < 60
        assert 0 <= (SLOW.burst - left) * SLOW.period_s - reply[3] / 1e6 < 60


async def test_bucket_fills_with_the_time_of_redis_and_its_key_expires_when_it_is_full(
    pipe: RedisPipe, keys: Keys
) -> None:
    quota = Quota(general_rate(60), "one")
    key = keys.rate_limit_bucket("general:one")
    now_us = 1000 * parse_time_ms(await pipe.call("TIME"))
    await pipe.call("SET", key, now_us + 20_500_000)  # the same state as after 20.5 tokens were taken at this instant
    taken, remaining, wait_us, debt_us = await take(pipe, keys, quota, 1)
    assert (taken, remaining, wait_us) == (1, 38, 0)
    assert 21_000_000 < debt_us <= 21_500_000
    assert 21_000 < await pipe.call("PTTL", key) <= 21_500
    await take(pipe, keys, quota, -30)
    assert await pipe.call("EXISTS", key) == 0


async def test_bucket_fills_again_at_once_after_the_clock_was_set_back(pipe: RedisPipe, keys: Keys) -> None:
    quota = Quota(make_rate("fast", 1_000, 1, 1, "requests", "NONE"), "one")
    key = keys.rate_limit_bucket("fast:one")
    now_us = 1000 * parse_time_ms(await pipe.call("TIME"))
    await pipe.call("SET", key, now_us + 600_000_000, "PX", 600_000)
    assert await take(pipe, keys, quota, 1) == [0, 0, 1_000, 1_000]

    async def is_taken() -> bool:
        return (await take(pipe, keys, quota, 1))[0] == 1

    await eventually(is_taken)


@pytest.mark.parametrize("value", ["", "nonsense", "-5", "nan", "1e400"])
async def test_bucket_with_other_text_does_not_fail_the_request(pipe: RedisPipe, keys: Keys, value: str) -> None:
    quota = Quota(SLOW, "one")
    await pipe.call("SET", keys.rate_limit_bucket("slow:one"), value)
    assert (await take(pipe, keys, quota, 1))[0] in (0, 1)


async def test_bucket_of_another_type_counts_as_full_and_is_replaced(pipe: RedisPipe, keys: Keys) -> None:
    quota = Quota(SLOW, "one")
    await pipe.call("RPUSH", keys.rate_limit_bucket("slow:one"), "x")
    assert (await take(pipe, keys, quota, 1))[:2] == [1, 7]
    assert (await take(pipe, keys, quota, 1))[:2] == [1, 6]


async def test_counters_of_the_first_edition_stay_unchanged(pipe: RedisPipe, keys: Keys) -> None:
    window = f"{keys.prefix}:{{0}}:limit:general:192.0.2.1"
    await pipe.call("SET", window, 100, "PX", 60_000)
    meter = RateMeter(Quota(general_rate(2), "192.0.2.1"))
    await RateLimits(pipe, keys).count(meter)
    assert meter.statuses[0].remaining == 1
    assert await pipe.call("GET", window) == b"100"


async def test_replay_is_free_until_the_quota_for_replays_is_used_up(pipe: RedisPipe, keys: Keys) -> None:
    limits, general = RateLimits(pipe, keys), general_rate(2)
    for _ in range(4):
        meter = RateMeter(Quota(general, "one"))
        await limits.count(meter)
        await limits.recount_as_replay(meter)
        assert meter.statuses == ()
    meter = RateMeter(Quota(general, "one"))
    await limits.count(meter)
    with pytest.raises(RateLimitExceeded, match="replay limit of 4 replays a minute and client"):
        await limits.recount_as_replay(meter)
    assert (meter.statuses[0].limit, meter.statuses[0].remaining) == (4, 0)


async def test_replay_of_a_limited_client_gives_no_token_back(pipe: RedisPipe, keys: Keys) -> None:
    limits, general = RateLimits(pipe, keys), general_rate(1)
    await limits.count(RateMeter(Quota(general, "one")))
    meter = RateMeter(Quota(general, "one"))
    meter.record_replies(await run_script_commands(pipe, meter.build_count_commands(keys)))
    await limits.recount_as_replay(meter)
    with pytest.raises(RateLimitExceeded):
        await limits.count(RateMeter(Quota(general, "one")))


async def test_uncounted_request_can_be_counted_again(pipe: RedisPipe, keys: Keys) -> None:
    limits, meter = RateLimits(pipe, keys), RateMeter(Quota(general_rate(1), "one"))
    for _ in range(3):
        await limits.count(meter)
        await limits.uncount(meter)
    await limits.count(meter)
    refused = RateMeter(Quota(general_rate(1), "one"))
    with pytest.raises(RateLimitExceeded):
        await limits.count(refused)
    assert 1 <= refused.statuses[0].reset_s <= 60
