"""The pub/sub connection on a real Redis: faults of the connection end in a reconnection, not in another error."""

import asyncio
from contextlib import suppress

import pytest
from redis.asyncio import Connection
from redis.exceptions import ConnectionError as RedisConnectionError

from synckairos.config import Settings
from synckairos.store.connect import make_redis_client
from synckairos.store.pubsub_connection import PubSubConnection
from synckairos.store.shared_connection import RedisPipe


async def test_connection_that_is_closed_while_a_command_is_written_counts_as_lost(settings: Settings) -> None:
    async with (
        RedisPipe(settings.redis_url, settings.redis_timeout_s) as pipe,
        make_redis_client(settings.redis_url, settings.redis_timeout_s) as redis,
    ):
        subscriber = PubSubConnection(redis, pipe, settings.key_prefix, lambda *_: None, lambda _: None)
        subscriber.subscribe("a")
        connection: Connection = redis.connection_pool.make_connection()
        await connection.connect()
        sending = asyncio.create_task(subscriber._send(connection))
        try:
            await asyncio.sleep(0)  # redis-py has begun a task that writes the command
            await connection.disconnect(nowait=True)
            with pytest.raises(RedisConnectionError):
                async with asyncio.timeout(5):
                    await sending
        finally:
            sending.cancel()
            with suppress(asyncio.CancelledError, RedisConnectionError):
                await sending
            await connection.disconnect(nowait=True)
