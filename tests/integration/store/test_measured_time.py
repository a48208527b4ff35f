"""The estimate of the time of Redis before the pub/sub connection runs."""

import math

from synckairos.config import Settings
from synckairos.store.connect import make_redis_client
from synckairos.store.pubsub_connection import PubSubConnection
from synckairos.store.shared_connection import RedisPipe, parse_time_ms


async def test_time_is_measured_before_the_first_heartbeat(settings: Settings) -> None:
    async with (
        RedisPipe(settings.redis_url, settings.redis_timeout_s) as pipe,
        make_redis_client(settings.redis_url, settings.redis_timeout_s) as redis,
    ):
        subscriber = PubSubConnection(redis, pipe, settings.key_prefix, lambda *_: None, lambda *_: None)
        estimate = subscriber.server_time
        assert estimate.error_ms == math.inf
        await subscriber.measure_time()
        error_ms = estimate.error_ms
        assert error_ms < math.inf
        earliest_ms = parse_time_ms(await pipe.call("TIME"))
        estimated_ms = estimate.now_ms()
        latest_ms = parse_time_ms(await pipe.call("TIME"))
        assert earliest_ms - error_ms - 1 <= estimated_ms <= latest_ms + error_ms + 1
