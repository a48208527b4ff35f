"""Hash tags of partitions: balanced tags give the nodes of a cluster equal shares, and other tags stay."""

import pytest
from redis.crc import key_slot

from synckairos.store.keys import Keys
from synckairos.store.partition_tags import (
    choose_balanced_tags,
    count_partitions_by_node,
    node_ranges,
    number_tags,
    slot_of_tag,
)


@pytest.mark.parametrize("partitions", [1, 2, 7, 64, 100, 1_000, 16_384])
def test_each_partition_has_a_tag_with_a_slot_of_its_own(partitions: int) -> None:
    tags = choose_balanced_tags(partitions)
    assert len({slot_of_tag(tag) for tag in tags}) == len(tags) == partitions
    assert all(tag.isdigit() for tag in tags)


def test_slots_are_those_of_redis_cluster() -> None:
    keys = Keys("sk", 64, choose_balanced_tags(64))
    for partition, tag in enumerate(keys.tags):
        assert key_slot(keys.outbox(partition).encode()) == slot_of_tag(tag)


@pytest.mark.parametrize(
    ("nodes", "lengths"), [(3, {5461, 5462}), (6, {2730, 2731}), (8, {2048}), (12, {1365, 1366}), (1, {16_384})]
)
def test_ranges_are_those_of_redis_cli(nodes: int, lengths: set[int]) -> None:
    ranges = node_ranges(nodes)
    assert {len(each) for each in ranges} == lengths
    assert [slot for owned in ranges for slot in owned] == list(range(16_384))


@pytest.mark.parametrize("partitions", [2, 7, 64, 100, 1_000, 1_024])
def test_each_node_has_its_share_rounded_down_or_up(partitions: int) -> None:
    # The slots of a power of two are evenly spaced without rounding.
    more = 0 if partitions & (partitions - 1) == 0 else 1
    tags = choose_balanced_tags(partitions)
    for nodes in range(1, min(partitions, 32) + 1):
        counts = count_partitions_by_node(tags, nodes)
        assert sum(counts) == partitions
        assert partitions // nodes - more <= min(counts), (partitions, nodes)
        assert max(counts) <= -(-partitions // nodes) + more, (partitions, nodes)


def test_shares_of_64_partitions() -> None:
    tags = choose_balanced_tags(64)
    assert {nodes: max(count_partitions_by_node(tags, nodes)) for nodes in (3, 6, 8, 12)} == {3: 22, 6: 11, 8: 8, 12: 6}


def test_keys_of_a_store_without_recorded_tags_have_the_number_of_the_partition() -> None:
    assert number_tags(3) == Keys("sk", 3).tags == ("0", "1", "2")
    assert Keys().session("a") == "sk:{0}:session:a"
    assert Keys("sk", 64).outbox(63) == "sk:{63}:outbox"


def test_keys_have_the_tag_of_their_partition() -> None:
    keys = Keys("sk", 2, ("17", "4"))
    assert keys.outbox(0) == "sk:{17}:outbox"
    assert keys.session("a") == f"sk:{{{keys.tags[keys.partition_of('a')]}}}:session:a"
