"""The slots of a Redis Cluster: which slot a command belongs to, and which primary serves each slot.

This module sends no command to Redis.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from msgspec import Struct

from synckairos.store.partition_tags import slot_of_tag
from synckairos.store.shared_connection import RedisCommand

NodeAddress = tuple[str, int]
"""Host and port of a node."""

_KEYLESS = frozenset({"TIME", "PING", "INFO", "ROLE", "CLUSTER", "SCRIPT"})
_GLOB = re.compile(r"[*?\[\\]")


class SlotRange(Struct, frozen=True):
    """Consecutive slots, from `first` to `last`, and the primary that serves them with the number of its replicas."""

    first: int
    last: int
    primary: NodeAddress
    replicas: int


class ClusterView(Struct, frozen=True):
    """The state of a Cluster as one of its nodes knows it.

    `epoch` grows with each failover and with each move of a slot. `is_ok` is False if the node serves no commands,
    because slots have no primary.
    """

    epoch: int
    is_ok: bool
    ranges: tuple[SlotRange, ...]

    @property
    def primaries(self) -> list[NodeAddress]:
        """Return the primaries that serve slots, in the order of their first slots."""
        return list(dict.fromkeys(each.primary for each in sorted(self.ranges, key=lambda each: each.first)))


class Redirect(Struct, frozen=True):
    """A reply that names another node for a command: `MOVED` for good, or `ASK` for this command alone."""

    is_ask: bool
    slot: int
    node: NodeAddress


def parse_cluster_view(info: bytes, slots: Sequence[Any], asked: NodeAddress) -> ClusterView:
    """Parse the replies to CLUSTER INFO and CLUSTER SLOTS of the node `asked`.

    Raises: ValueError, TypeError, LookupError or AttributeError if a reply is not as expected.
    """
    fields = dict(line.split(":", 1) for line in info.decode().split("\r\n") if ":" in line)
    ranges = []
    for first, last, primary, *replicas in slots:
        host = (primary[0] or b"").decode()
        # A node without a known name or address is reached under the address of the node that was asked.
        named = (asked[0] if host in ("", "?") else host, int(primary[1]))
        ranges.append(SlotRange(int(first), int(last), named, len(replicas)))
    return ClusterView(int(fields["cluster_current_epoch"]), fields["cluster_state"] == "ok", tuple(ranges))


def parse_redirect(text: str, asked: NodeAddress) -> Redirect | None:
    """Parse an error reply of the node `asked`: `MOVED 3999 127.0.0.1:6381`. None if it names no other node."""
    match text.split(" "):
        case [("MOVED" | "ASK") as kind, slot, address, *_] if slot.isdigit():
            host, _, port = address.rpartition(":")
            if port.isdigit():
                return Redirect(kind == "ASK", int(slot), (host or asked[0], int(port)))
    return None


def slot_of_command(command: RedisCommand) -> int | None:
    """Return the slot of the first key of a command. None for a command without a key.

    All other keys of the command must be in the same slot. A SCAN whose pattern has a hash tag belongs to the slot of
    that hash tag.
    """
    name = command[0]
    if name in ("EVALSHA", "EVAL"):
        return slot_of_key(str(command[3])) if int(command[2]) else None
    if name == "SCAN":
        return slot_of_pattern(str(command[3])) if len(command) > 3 else None
    if name in _KEYLESS or len(command) < 2:
        return None
    key = command[1]
    return slot_of_key(key.decode(errors="replace") if isinstance(key, bytes) else str(key))


@lru_cache(maxsize=8192)
def slot_of_key(key: str) -> int:
    """Return the slot of a key or of a channel: that of its hash tag, or of the whole name if it has none.

    The hash tag is the text between the first `{` and the next `}`, if it is not empty.
    """
    _, brace, rest = key.partition("{")
    tag, end, _ = rest.partition("}")
    return slot_of_tag(tag if brace and end and tag else key)


def slot_of_pattern(pattern: str) -> int | None:
    """Return the slot of all keys that match a glob-style pattern, None if they can be in several slots."""
    _, _, rest = pattern.partition("{")
    tag, end, _ = rest.partition("}")
    return slot_of_tag(tag) if tag and end and not _GLOB.search(tag) else None
