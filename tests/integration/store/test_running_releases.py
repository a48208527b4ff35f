"""The list of running releases: it has the processes of the last half minute."""

from collections.abc import AsyncIterator

import pytest

from synckairos import __version__
from synckairos.errors import StoreMisconfigured
from synckairos.store.connect import check_store_settings
from synckairos.store.keys import Keys
from synckairos.store.running_releases import RunningReleases
from synckairos.store.shared_connection import RedisPipe
from synckairos.store.store_format import has_newer_format


@pytest.fixture
async def pipe(redis_url: str) -> AsyncIterator[RedisPipe]:
    async with RedisPipe(redis_url, 2) as connection:
        yield connection


async def test_list_has_each_kind_of_process_and_release_until_it_ends(pipe: RedisPipe, key_prefix: str) -> None:
    keys = Keys(key_prefix)
    releases = RunningReleases(pipe, keys)
    assert await releases.read() == []
    await releases.announce("server")
    await releases.announce("worker")
    await releases.announce("server", "2.9.0")
    assert await releases.read() == ["server 2.9.0", f"server {__version__}", f"worker {__version__}"]

    seconds, _ = await pipe.call("TIME")
    await pipe.call("ZADD", keys.running_releases, (int(seconds) - 31) * 1000, "server 2.9.0")
    assert await releases.read() == [f"server {__version__}", f"worker {__version__}"]
    await releases.announce("server")
    assert await pipe.call("ZCARD", keys.running_releases) == 2


async def test_invalid_list_is_dropped(pipe: RedisPipe, key_prefix: str) -> None:
    keys = Keys(key_prefix)
    releases = RunningReleases(pipe, keys)
    await pipe.call("SET", keys.running_releases, "x")
    assert await releases.read() == []
    await releases.announce("server")
    await releases.announce("server")
    assert await releases.read() == [f"server {__version__}"]


async def test_store_of_a_newer_release_is_refused_and_its_format_stays(pipe: RedisPipe, key_prefix: str) -> None:
    keys = Keys(key_prefix)
    await check_store_settings(pipe, keys)
    assert await pipe.call("HGET", keys.fixed_settings, "format") == b"1"
    assert not await has_newer_format(pipe, keys)
    for number, text in ((b"3", "format 3 of a newer release"), (b"x", "not a number")):
        await pipe.call("HSET", keys.fixed_settings, "format", number)
        with pytest.raises(StoreMisconfigured, match=text):
            await check_store_settings(pipe, keys)
        assert await has_newer_format(pipe, keys)
        assert await pipe.call("HGET", keys.fixed_settings, "format") == number
    # A store of an earlier release has no number.
    await pipe.call("HDEL", keys.fixed_settings, "format")
    await check_store_settings(pipe, keys)
