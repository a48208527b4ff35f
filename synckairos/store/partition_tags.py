"""Hash tags of the partitions: how they are chosen for a new store, and the shares that the nodes of a cluster get.

This module is pure: it calculates slots and shares, and does not connect to Redis.
"""

import math
from binascii import crc_hqx
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

SLOTS = 16_384
"""Number of hash slots of a Redis Cluster, from its specification."""


def slot_of_tag(tag: str) -> int:
    """Return the hash slot, from 0, of all keys whose hash tag is `tag`.

    The slot is the CRC16 (XMODEM) of the tag modulo `SLOTS`, as the specification of Redis Cluster says.
    """
    return crc_hqx(tag.encode(), 0) % SLOTS


@lru_cache(maxsize=128)
def number_tags(partitions: int) -> tuple[str, ...]:
    """Return the tags of a store without recorded tags, by partition: the number of each partition, from `0`."""
    return tuple(map(str, range(partitions)))


def choose_balanced_tags(partitions: int) -> tuple[str, ...]:
    """Return one tag for each partition, so that the slots of the tags are evenly spaced.

    `redis-cli --cluster create` gives each of N primaries a contiguous range of slots of the same length. Evenly spaced
    slots have the same number of partitions in each of these ranges, or differ by one: each primary gets
    `partitions / N`, rounded down or up. If `partitions` is not a power of two, the slots are rounded, and a primary
    can get one partition more or less. A tag is the lowest number with its slot. It is not the partition's number. The
    calculation takes about 0.05 s.
    """
    slots = {(2 * partition + 1) * SLOTS // (2 * partitions): partition for partition in range(partitions)}
    tags = [""] * partitions
    number = 0
    while slots:
        partition = slots.pop(slot_of_tag(str(number)), None)
        if partition is not None:
            tags[partition] = str(number)
        number += 1
    return tuple(tags)


def node_ranges(nodes: int) -> list[range]:
    """Return the slots of each primary of a new cluster with `nodes` primaries, as `redis-cli` makes it."""
    ends = [math.floor(node * SLOTS / nodes + 0.5) for node in range(nodes + 1)]  # lround(): halves away from zero
    return [range(first, end) for first, end in pairwise(ends)]


def count_partitions_by_node(tags: Sequence[str], nodes: int) -> list[int]:
    """Return the number of partitions of each primary of a new cluster with `nodes` primaries."""
    slots = [slot_of_tag(tag) for tag in tags]
    return [sum(slot in owned for slot in slots) for owned in node_ranges(nodes)]
