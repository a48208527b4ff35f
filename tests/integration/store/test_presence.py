"""Presence with a real store: the living instances, and the counts of each instance."""

from collections.abc import AsyncIterator

import pytest

from synckairos.config import Settings
from synckairos.store.connect import make_redis_client
from synckairos.store.keys import Keys
from synckairos.store.presence import DEAD_AFTER_S, PresenceStore
from synckairos.store.pubsub_connection import PubSubConnection
from synckairos.store.shared_connection import RedisPipe

LONG_AGO_MS = DEAD_AFTER_S * 1000 + 1


class TwoInstances:
    """The presence stores of two instances with the same keys."""

    def __init__(self, settings: Settings, pipe: RedisPipe) -> None:
        self.keys = Keys(settings.key_prefix)
        self.pipe = pipe
        redis = make_redis_client(settings.redis_url, settings.redis_timeout_s)
        subscriber = PubSubConnection(redis, pipe, settings.key_prefix, lambda *_: None, lambda *_: None)
        self.here, self.there = (PresenceStore(pipe, subscriber, self.keys) for _ in range(2))

    async def silence(self, store: PresenceStore) -> None:
        """Move the last heartbeat of an instance so far back that the instance counts as dead."""
        heartbeat_ms = float(await self.pipe.call("ZSCORE", self.keys.instance_heartbeats, store.instance))
        await self.pipe.call("ZADD", self.keys.instance_heartbeats, heartbeat_ms - LONG_AGO_MS, store.instance)


@pytest.fixture
async def two(settings: Settings) -> AsyncIterator[TwoInstances]:
    async with RedisPipe(settings.redis_url, settings.redis_timeout_s) as pipe:
        yield TwoInstances(settings, pipe)


async def test_instance_with_a_heartbeat_counts_as_living(two: TwoInstances) -> None:
    assert (await two.here.send_heartbeat(may_remove_dead=True)).is_new
    assert not (await two.here.send_heartbeat(may_remove_dead=True)).is_new
    assert (await two.there.send_heartbeat(may_remove_dead=True)).living == {two.here.instance, two.there.instance}


async def test_silent_instance_is_removed_only_if_the_caller_requests_it(two: TwoInstances) -> None:
    await two.here.send_heartbeat(may_remove_dead=True)
    await two.there.send_heartbeat(may_remove_dead=True)
    await two.silence(two.there)
    assert two.there.instance in (await two.here.send_heartbeat(may_remove_dead=False)).living
    assert (await two.here.send_heartbeat(may_remove_dead=True)).living == {two.here.instance}
    removed = two.there.instance
    assert (await two.there.send_heartbeat(may_remove_dead=True)).is_new
    assert two.there.instance != removed


async def test_counts_of_a_dead_instance_are_ignored_and_removed(two: TwoInstances) -> None:
    for store, value in ((two.here, b"1"), (two.there, b"2")):
        await store.send_heartbeat(may_remove_dead=True)
        await store.write_counts({"a": value, "b": value})
    expected = {two.here.instance: b"1", two.there.instance: b"2"}
    assert await two.here.read_counts(["a", "b", "c"]) == [expected, expected, {}]
    await two.silence(two.there)
    await two.here.send_heartbeat(may_remove_dead=True)
    assert await two.here.read_counts(["a"]) == [{two.here.instance: b"1"}]
    assert await two.pipe.call("HGETALL", two.keys.presence("a")) == [two.here.instance.encode(), b"1"]


async def test_written_counts_expire(two: TwoInstances) -> None:
    await two.here.write_counts({"a": b"1"})
    assert 0 < await two.pipe.call("TTL", two.keys.presence("a")) <= 300
    await two.here.write_counts({"a": b""})
    assert not await two.pipe.call("EXISTS", two.keys.presence("a"))


async def test_published_message_is_counted(two: TwoInstances) -> None:
    before = (await two.here.send_heartbeat(may_remove_dead=True)).changes
    await two.here.publish_changed_sessions(["a", "b"])
    assert (await two.there.send_heartbeat(may_remove_dead=True)).changes == before + 1
