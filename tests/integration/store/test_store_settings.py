"""Fixed settings of a store: a new store gets balanced hash tags, and a store with data keeps the tags that it has."""

from collections.abc import AsyncIterator

import pytest

from synckairos.admin.outbox_drain import drain_outbox
from synckairos.admin.reshard_check import check_shares
from synckairos.config import Settings
from synckairos.errors import StoreMisconfigured
from synckairos.store.connect import check_store_settings
from synckairos.store.keys import Keys
from synckairos.store.partition_tags import choose_balanced_tags
from synckairos.store.shared_connection import RedisPipe
from synckairos.store.store_generation import Generations
from tests.integration.data_loss import create_started
from tests.integration.parts import open_parts


@pytest.fixture
async def pipe(redis_url: str) -> AsyncIterator[RedisPipe]:
    async with RedisPipe(redis_url, 2) as connection:
        yield connection


async def test_new_store_with_partitions_gets_balanced_tags_and_a_format_of_its_own(
    pipe: RedisPipe, key_prefix: str
) -> None:
    keys = await check_store_settings(pipe, Keys(key_prefix, 64))
    assert keys.tags == choose_balanced_tags(64)
    # Releases that read only the format 1 refuse the store.
    assert await pipe.call("HGET", keys.fixed_settings, "format") == b"2"
    assert await check_store_settings(pipe, Keys(key_prefix, 64)) == keys
    with pytest.raises(StoreMisconfigured, match="SYNCKAIROS_PARTITIONS=64, not 1"):
        await check_store_settings(pipe, Keys(key_prefix))


async def test_new_store_with_one_partition_has_the_format_that_earlier_releases_read(
    pipe: RedisPipe, key_prefix: str
) -> None:
    assert await check_store_settings(pipe, Keys(key_prefix)) == Keys(key_prefix)
    stored = await pipe.call("HGETALL", Keys(key_prefix).fixed_settings)
    assert dict(zip(stored[::2], stored[1::2], strict=True)) == {b"partitions": b"1", b"format": b"1"}


@pytest.mark.parametrize("fields", [("partitions", 4), ("partitions", 4, "format", 1), ("format", 1)])
async def test_store_of_an_earlier_release_keeps_its_tags(
    pipe: RedisPipe, key_prefix: str, fields: tuple[str | int, ...]
) -> None:
    keys = Keys(key_prefix, 4)
    await pipe.call("HSET", keys.fixed_settings, *fields)
    assert (await check_store_settings(pipe, keys)).tags == ("0", "1", "2", "3")
    assert await pipe.call("HGET", keys.fixed_settings, "tags") is None


@pytest.mark.parametrize("tags", [(), choose_balanced_tags(4)], ids=["numbers", "balanced"])
async def test_data_without_settings_keeps_its_tags(pipe: RedisPipe, key_prefix: str, tags: tuple[str, ...]) -> None:
    keys = Keys(key_prefix, 4, tags)
    await Generations(pipe, keys).load_or_create(2)
    await pipe.call("ZADD", keys.running_releases, 1, "server 3.0.0")
    assert await check_store_settings(pipe, Keys(key_prefix, 4)) == keys


@pytest.mark.parametrize("tags", ["", "1 2", "1 1 2 3", "1 2 3 x"])
async def test_invalid_tags_are_refused(pipe: RedisPipe, key_prefix: str, tags: str) -> None:
    keys = Keys(key_prefix, 4)
    await pipe.call("HSET", keys.fixed_settings, "partitions", 4, "format", 2, "tags", tags)
    with pytest.raises(StoreMisconfigured, match="field `tags`"):
        await check_store_settings(pipe, keys)


async def test_shares_are_those_of_the_stored_tags(
    pipe: RedisPipe, redis_url: str, key_prefix: str, settings: Settings
) -> None:
    settings = settings.model_copy(update={"redis_url": redis_url, "key_prefix": key_prefix, "partitions": 64})
    new = await check_shares(settings, [8, 12])
    assert [(each.nodes, max(each.partitions_by_node)) for each in new] == [(8, 8), (12, 6)]
    assert [each.busiest_share for each in new] == [1.0, 1.125]
    await pipe.call("HSET", Keys(key_prefix).fixed_settings, "partitions", 64)
    old = await check_shares(settings, [12])
    assert old[0].busiest_share == pytest.approx(1.69, abs=0.01)


async def test_versions_of_sessions_in_balanced_partitions_reach_postgres(settings: Settings) -> None:
    settings = settings.model_copy(update={"partitions": 64})
    async with open_parts(settings) as parts:
        names = [await create_started(parts) for _ in range(3)]
        keys = parts.store.keys
        assert keys.tags == choose_balanced_tags(64)
        for name in names:
            tag = choose_balanced_tags(64)[keys.partition_of(name)]
            assert await parts.pipe.call("EXISTS", f"{settings.key_prefix}:{{{tag}}}:session:{name}") == 1
        assert await drain_outbox(settings) == 6
        for name in names:
            assert await parts.history.read_newest_unfinished_version(name) is not None
