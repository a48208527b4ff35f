"""The choice of the history format: all living instances, and those of the last day, must read packed messages."""

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


async def test_messages_are_packed_if_no_instance_of_an_earlier_release_has_lived_for_a_day(
    pipe: RedisPipe, key_prefix: str
) -> None:
    keys, chosen = Keys(key_prefix), HistoryFormat()
    choice = HistoryFormatChoice(pipe, keys, chosen)
    assert not chosen.is_packed
    await choice.choose()
    assert chosen.is_packed, "no instance lives yet"

    now_ms = int((await pipe.call("TIME"))[0]) * 1_000
    beats = keys.instance_heartbeats
    await pipe.call("ZADD", beats, now_ms, make_instance_name(), now_ms - 60_000, "0123456789abcdef.2")
    await choice.choose()
    assert chosen.is_packed, "the earlier release ended before"

    await pipe.call("ZADD", beats, now_ms + 60_000, "0123456789abcdef.2")
    await choice.choose()
    assert not chosen.is_packed

    await pipe.call("ZREM", beats, "0123456789abcdef.2")
    await choice.choose()
    assert not chosen.is_packed, "a rollback is possible"
    left_s = await pipe.call("TTL", keys.older_instances_seen)
    assert AFTER_OLDER_INSTANCES_S - 60 <= left_s <= AFTER_OLDER_INSTANCES_S

    await pipe.call("DEL", keys.older_instances_seen)
    await choice.choose()
    assert chosen.is_packed


@pytest.mark.parametrize("name", ["0123456789abcdef", "0123456789abcdef.2"], ids=["without a number", "number 2"])
async def test_each_earlier_release_is_recognized(pipe: RedisPipe, key_prefix: str, name: str) -> None:
    keys, chosen = Keys(key_prefix), HistoryFormat()
    now_ms = int((await pipe.call("TIME"))[0]) * 1_000
    await pipe.call("ZADD", keys.instance_heartbeats, now_ms + 60_000, name)
    await HistoryFormatChoice(pipe, keys, chosen).choose()
    assert not chosen.is_packed
