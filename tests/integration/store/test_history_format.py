"""The choice of the history format: all instances of the last day must read packed messages."""

from collections.abc import AsyncIterator

import pytest

from synckairos.store.history_format import AFTER_OLDER_INSTANCES_S, HistoryFormat, HistoryFormatChoice
from synckairos.store.keys import Keys
from synckairos.store.presence import make_instance_name
from synckairos.store.shared_connection import RedisPipe


@pytest.fixture
async def pipe(redis_url: str) -> AsyncIterator[RedisPipe]:
    async with RedisPipe(redis_url, 2) as connection:
        yield connection


class Bench:
    """The choice of one instance on a store whose other instances are the texts of a test."""

    def __init__(self, pipe: RedisPipe, key_prefix: str) -> None:
        self.pipe = pipe
        self.keys = Keys(key_prefix)
        self._chosen = HistoryFormat()
        self._choice = HistoryFormatChoice(pipe, self.keys, self._chosen)

    async def choose(self) -> bool:
        """Choose the format. Return whether messages are packed."""
        await self._choice.choose()
        return self._chosen.is_packed

    async def send_heartbeat(self, name: str, seconds: int) -> None:
        """Store the heartbeat of an instance, `seconds` after the present time of Redis."""
        now_s = int((await self.pipe.call("TIME"))[0])
        await self.pipe.call("ZADD", self.keys.instance_heartbeats, (now_s + seconds) * 1_000, name)


EARLIER = "0123456789abcdef.2"


@pytest.mark.parametrize("seconds", [60, -60], ids=["it lives", "it ended before the upgrade"])
async def test_messages_are_packed_if_no_instance_of_an_earlier_release_has_lived_for_a_day(
    pipe: RedisPipe, key_prefix: str, seconds: int
) -> None:
    bench = Bench(pipe, key_prefix)
    assert await bench.choose(), "no instance lives yet"
    await bench.send_heartbeat(make_instance_name(), 0)
    assert await bench.choose()
    await bench.send_heartbeat(EARLIER, seconds)
    assert not await bench.choose()
    await pipe.call("ZREM", bench.keys.instance_heartbeats, EARLIER)
    assert not await bench.choose(), "a rollback is possible"
    left_s = await pipe.call("TTL", bench.keys.older_instances_seen)
    assert AFTER_OLDER_INSTANCES_S - 60 <= left_s <= AFTER_OLDER_INSTANCES_S
    await pipe.call("DEL", bench.keys.older_instances_seen)
    assert await bench.choose()


@pytest.mark.parametrize("name", ["0123456789abcdef", EARLIER], ids=["without a number", "number 2"])
async def test_each_earlier_release_is_recognized(pipe: RedisPipe, key_prefix: str, name: str) -> None:
    bench = Bench(pipe, key_prefix)
    await bench.send_heartbeat(name, 60)
    assert not await bench.choose()
