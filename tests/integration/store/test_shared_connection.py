"""The shared connection to Redis: each caller gets its own replies, and the connection recovers from failures."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from synckairos.embedded import Valkey
from synckairos.errors import StoreUnavailable
from synckairos.store.redis_errors import translated_errors
from synckairos.store.shared_connection import RedisPipe
from tests.background_task import start
from tests.waiting import eventually


@pytest.fixture
async def pipe(redis_url: str) -> AsyncIterator[RedisPipe]:
    async with RedisPipe(redis_url, timeout_s=2) as opened:
        yield opened


async def test_each_caller_gets_its_own_reply(pipe: RedisPipe) -> None:
    answers = await asyncio.gather(*(pipe.call("ECHO", str(number)) for number in range(500)))
    assert answers == [str(number).encode() for number in range(500)]


async def test_replies_to_several_commands_come_in_order(pipe: RedisPipe, key_prefix: str) -> None:
    commands = [("SET", key_prefix, 1), ("INCR", key_prefix), ("GET", key_prefix), ("DEL", key_prefix)]
    assert await pipe.call_many(commands) == [b"OK", 2, b"2", 1]


async def test_call_without_commands_returns_no_replies(pipe: RedisPipe) -> None:
    assert await pipe.call_many([]) == []


async def test_error_reply_is_raised_and_the_connection_stays_usable(pipe: RedisPipe, key_prefix: str) -> None:
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        await pipe.call_many([("SET", key_prefix, "text"), ("LPUSH", key_prefix, "x")])
    assert await pipe.call("GET", key_prefix) == b"text"


async def test_reply_of_a_cancelled_caller_is_not_read_by_the_next_caller(pipe: RedisPipe) -> None:
    for number in range(20):
        cancelled = await start(pipe.call("ECHO", "for the cancelled caller"))
        cancelled.cancel()
        assert await pipe.call("ECHO", str(number)) == str(number).encode()


async def test_call_to_a_frozen_server_raises_and_the_connection_recovers(own_valkey: Valkey) -> None:
    async with RedisPipe(own_valkey.url, timeout_s=0.3) as pipe:
        await pipe.call("PING")
        own_valkey.suspend()
        try:
            with pytest.raises((RedisTimeoutError, RedisConnectionError)):
                await pipe.call("PING")
        finally:
            own_valkey.resume()
        assert await ping_until_answered(pipe) == b"PONG"


async def test_connection_to_a_restarted_server_recovers(own_valkey: Valkey) -> None:
    async with RedisPipe(own_valkey.url, timeout_s=0.3) as pipe:
        await pipe.call("SET", "kept", "yes")
        own_valkey.stop()
        with pytest.raises(RedisConnectionError):
            await pipe.call("PING")
        own_valkey.start()
        assert await ping_until_answered(pipe) == b"PONG"
        assert await pipe.call("GET", "kept") == b"yes"


async def test_call_to_a_missing_server_raises_not_connected(tmp_path: Path) -> None:
    async with RedisPipe(f"unix://{tmp_path}/missing", timeout_s=0.1) as pipe:
        with pytest.raises(RedisConnectionError, match="not connected"):
            await pipe.call("PING")


async def test_server_busy_with_a_script_raises_store_unavailable(own_valkey: Valkey) -> None:
    async with RedisPipe(own_valkey.url, timeout_s=10) as busy, RedisPipe(own_valkey.url, timeout_s=10) as pipe:
        await pipe.call("CONFIG", "SET", "busy-reply-threshold", 1)
        looping = asyncio.create_task(busy.call("EVAL", "while true do end", 0))

        async def refusal() -> BaseException | None:
            try:
                with translated_errors():
                    await pipe.call("GET", "anything")
            except StoreUnavailable as unavailable:
                return unavailable.__cause__
            return None

        try:
            assert isinstance(await eventually(refusal), ResponseError)
        finally:
            await pipe.call("SCRIPT", "KILL")
            with pytest.raises(ResponseError):
                await looping
        create_group = ("XGROUP", "CREATE", "stream", "group", "$", "MKSTREAM")
        await pipe.call(*create_group)
        with pytest.raises(ResponseError, match="BUSYGROUP"), translated_errors():
            await pipe.call(*create_group)


async def ping_until_answered(pipe: RedisPipe) -> bytes:
    """Send PING until the connection has recovered. Return the reply."""
    async with asyncio.timeout(10):
        while True:
            try:
                reply: bytes = await pipe.call("PING")
            except (RedisConnectionError, RedisTimeoutError):
                continue
            return reply
