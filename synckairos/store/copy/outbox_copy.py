"""Copies the outbox of a store to another Redis, with its counts, its failed entries and its totals.

Entries keep their ids, because sessions and entries refer to entries by their ids. So the target has as many partitions
as the source, or the source has one partition: a stream of the target then gets entries of one stream, in their order.
"""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from synckairos.principal import DEFAULT_TENANT
from synckairos.session_names import split_session_name
from synckairos.store.keys import Keys
from synckairos.store.lua_scripts import LuaScript
from synckairos.store.redis_errors import translated_errors
from synckairos.store.shared_connection import RedisCommand, RedisPipe

BATCH_SIZE = 200
"""Number of entries that one round trip reads."""

IDS_PER_CALL = 2_000
"""Number of ids of entries that one round trip reads."""

_COUNTED = (b"session_id", b"epoch", b"version", b"event", b"state", b"change", b"payload_hash")
"""The fields of an entry whose bytes count, as in `lua/commit.lua`."""


class _CopiedEntry(Struct, frozen=True):
    """Where an entry is in the target, and how many bytes it counts."""

    partition: int
    tenant: str
    size: int


class OutboxCopy:
    """The entries that were copied so far. All methods raise StoreUnavailable if a Redis does not answer."""

    def __init__(
        self, source: RedisPipe, source_keys: Keys, target: RedisPipe, target_keys: Keys, min_entry_bytes: int
    ) -> None:
        """Create the copy. `min_entry_bytes` is that of the outbox limits of the target."""
        self._source = source
        self._source_keys = source_keys
        self._target = target
        self._target_keys = target_keys
        self._min_entry_bytes = min_entry_bytes
        self._ids_script = LuaScript("outbox_entry_ids", uses_one_key=True)
        self._copied: list[dict[bytes, _CopiedEntry]] = [{} for _ in range(source_keys.partitions)]

    async def copy_new_entries(self) -> None:
        """Copy the entries that were added after the last call, and remove those that were drained since then."""
        for partition, copied in enumerate(self._copied):
            await self._copy_from(partition, copied)
            await self._remove_drained(partition, copied)

    async def complete(self) -> None:
        """Copy all that belongs to the entries. Call this behind the fences, after `copy_new_entries`."""
        keys = self._target_keys
        sizes, tenants = [0] * keys.partitions, [dict[str, int]() for _ in range(keys.partitions)]
        for each in (entry for copied in self._copied for entry in copied.values()):
            sizes[each.partition] += each.size
            if each.tenant != DEFAULT_TENANT:
                counts = tenants[each.partition]
                counts[each.tenant] = counts.get(each.tenant, 0) + max(each.size, self._min_entry_bytes)
        commands: list[RedisCommand] = []
        for partition in range(keys.partitions):
            commands.append(("UNLINK", keys.outbox_bytes(partition), keys.outbox_tenants(partition)))
            commands.append(("UNLINK", keys.failed_entries(partition), keys.failed_entry_versions(partition)))
            if sizes[partition]:
                commands.append(("SET", keys.outbox_bytes(partition), sizes[partition]))
            for tenant, size in tenants[partition].items():
                commands.append(("HSET", keys.outbox_tenants(partition), tenant, size))
        with translated_errors():
            await self._target.call_many(commands)
        for partition in range(self._source_keys.partitions):
            await self._copy_failed_entries(partition)

    async def _copy_from(self, partition: int, copied: dict[bytes, _CopiedEntry]) -> None:
        keys = self._source_keys
        while True:
            last = next(reversed(copied), None)
            first = "-" if last is None else b"(" + last
            with translated_errors():
                found = await self._source.call("XRANGE", keys.outbox(partition), first, "+", "COUNT", BATCH_SIZE)
                if found:
                    ids = [entry_id for entry_id, _ in found]
                    indexed = await self._source.call("ZMSCORE", keys.indexed_outbox_entries(partition), *ids)
                    await self._target.call_many(self._writes(found, indexed, copied))
            if len(found) < BATCH_SIZE:
                return

    def _writes(
        self, found: Sequence[Any], indexed: Sequence[bytes | None], copied: dict[bytes, _CopiedEntry]
    ) -> list[RedisCommand]:
        keys, commands = self._target_keys, list[RedisCommand]()
        for (entry_id, flat), score in zip(found, indexed, strict=True):
            fields = dict(zip(flat[::2], flat[1::2], strict=True))
            name = fields.get(b"session_id", b"").decode(errors="replace")
            partition = keys.partition_of(name)
            commands.append(("XADD", keys.outbox(partition), entry_id, *flat))
            if score is not None:
                commands.append(("ZADD", keys.indexed_outbox_entries(partition), score, entry_id))
            size = sum(len(fields.get(each, b"")) for each in _COUNTED)
            copied[entry_id] = _CopiedEntry(partition, _tenant_of(name), size)
        return commands

    async def _remove_drained(self, partition: int, copied: dict[bytes, _CopiedEntry]) -> None:
        keys = self._source_keys
        with translated_errors():
            count = await self._source.call("XLEN", keys.outbox(partition))
            if count == len(copied):
                return
            kept: set[bytes] = set()
            first: bytes | str = "-"
            while True:
                ids = await self._ids_script(self._source, [keys.outbox(partition)], [first, IDS_PER_CALL])
                kept.update(ids)
                if len(ids) < IDS_PER_CALL:
                    break
                first = b"(" + ids[-1]
            drained = [each for each in copied if each not in kept]
            target = self._target_keys
            commands: list[RedisCommand] = []
            for entry_id in drained:
                at = copied.pop(entry_id).partition
                commands.append(("XDEL", target.outbox(at), entry_id))
                commands.append(("ZREM", target.indexed_outbox_entries(at), entry_id))
            if commands:
                await self._target.call_many(commands)

    async def _copy_failed_entries(self, partition: int) -> None:
        source, target = self._source_keys, self._target_keys
        with translated_errors():
            rows, gaps, tally = await self._source.call_many(
                [
                    ("ZRANGE", source.failed_entries(partition), 0, -1, "WITHSCORES"),
                    ("ZRANGE", source.failed_entry_versions(partition), 0, -1),
                    ("HGETALL", source.drain_tally(partition)),
                ]
            )
            ids = [each.decode() for each in rows[::2]]
            hashes = await self._source.call_many([("HGETALL", source.failed_entry(partition, each)) for each in ids])
            commands: list[RedisCommand] = []
            for entry_id, next_ms, flat in zip(ids, rows[1::2], hashes, strict=True):
                fields = dict(zip(flat[::2], flat[1::2], strict=True))
                at = target.partition_of(fields.get(b"session_id", b"").decode(errors="replace"))
                commands.append(("ZADD", target.failed_entries(at), next_ms, entry_id))
                if flat:
                    commands.append(("UNLINK", target.failed_entry(at, entry_id)))
                    commands.append(("HSET", target.failed_entry(at, entry_id), *flat))
            for gap in gaps:
                at = target.partition_of(gap.split(b" ")[0].decode(errors="replace"))
                commands.append(("ZADD", target.failed_entry_versions(at), 0, gap))
            if tally:
                commands.append(("HSET", target.drain_tally(partition), *tally))
            await self._target.call_many(commands)


def _tenant_of(name: str) -> str:
    try:
        return split_session_name(name)[0]
    except ValueError:
        return DEFAULT_TENANT
