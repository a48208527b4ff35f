"""The shared connection to Redis: replies in order, nobody's reply for somebody else, faults named and mended."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from synckairos.embedded import Valkey
from synckairos.errors import StoreUnavailable
from synckairos.store.redis_errors import translated_errors
from synckairos.store.shared_connection import RedisPipe
from tests.waiting import eventually


@pytest.fixture
def own_valkey(tmp_path_factory: pytest.TempPathFactory, data_dir: Path) -> Iterator[Valkey]:
    """Give a Valkey that this test may kill and freeze."""
    with Valkey(data_dir / tmp_path_factory.mktemp("pipe").name) as store:
        yield store


@pytest.fixture
async def pipe(redis_url: str) -> AsyncIterator[RedisPipe]:
    async with RedisPipe(redis_url, timeout_s=2) as opened:
        yield opened


async def test_replies_come_to_whoever_asked(pipe: RedisPipe) -> None:
    answers = await asyncio.gather(*(pipe.call("ECHO", str(number)) for number in range(500)))
    assert answers == [str(number).encode() for number in range(500)]


async def test_several_commands_are_answered_in_order(pipe: RedisPipe, key_prefix: str) -> None:
    commands = [("SET", key_prefix, 1), ("INCR", key_prefix), ("GET", key_prefix), ("DEL", key_prefix)]
    assert await pipe.call_many(commands) == [b"OK", 2, b"2", 1]


async def test_no_command_has_no_reply(pipe: RedisPipe) -> None:
    assert await pipe.call_many([]) == []


async def test_a_refusal_is_raised_and_spoils_nothing(pipe: RedisPipe, key_prefix: str) -> None:
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        await pipe.call_many([("SET", key_prefix, "text"), ("LPUSH", key_prefix, "x")])
    assert await pipe.call("GET", key_prefix) == b"text"


async def test_a_caller_that_goes_away_leaves_no_reply_behind(pipe: RedisPipe) -> None:
    for number in range(20):
        gone = asyncio.create_task(pipe.call("ECHO", "for nobody"))
        await asyncio.sleep(0)
        gone.cancel()
        assert await pipe.call("ECHO", str(number)) == str(number).encode()


async def test_a_frozen_server_is_noticed_and_left_for_a_new_connection(own_valkey: Valkey) -> None:
    async with RedisPipe(own_valkey.url, timeout_s=0.3) as pipe:
        await pipe.call("PING")
        own_valkey.suspend()
        try:
            with pytest.raises((RedisTimeoutError, RedisConnectionError)):
                await pipe.call("PING")
        finally:
            own_valkey.resume()
        assert await answered(pipe) == b"PONG"


async def test_a_restarted_server_is_found_again(own_valkey: Valkey) -> None:
    async with RedisPipe(own_valkey.url, timeout_s=0.3) as pipe:
        await pipe.call("SET", "kept", "yes")
        own_valkey.stop()
        with pytest.raises(RedisConnectionError):
            await pipe.call("PING")
        own_valkey.start()
        assert await answered(pipe) == b"PONG"
        assert await pipe.call("GET", "kept") == b"yes"


async def test_a_server_that_was_never_there_is_named(tmp_path: Path) -> None:
    async with RedisPipe(f"unix://{tmp_path}/nobody", timeout_s=0.1) as pipe:
        with pytest.raises(RedisConnectionError, match="not connected"):
            await pipe.call("PING")


async def test_a_server_busy_with_a_script_is_unavailable(own_valkey: Valkey) -> None:
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
        making = ("XGROUP", "CREATE", "stream", "group", "$", "MKSTREAM")
        await pipe.call(*making)
        with pytest.raises(ResponseError, match="BUSYGROUP"), translated_errors():
            await pipe.call(*making)


async def answered(pipe: RedisPipe) -> bytes:
    """Ask until the connection is mended."""
    async with asyncio.timeout(10):
        while True:
            try:
                reply: bytes = await pipe.call("PING")
            except (RedisConnectionError, RedisTimeoutError):
                continue
            return reply
