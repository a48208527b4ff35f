"""Deletion of the data of one tenant in Redis. Entries in the outbox stay: the drain moves them to Postgres first.

All data of a tenant have names that begin with the tenant and a slash (`session_names.py`). The keys are found by a
search through all keys, so that data without an entry in an index are found too.
"""

import re
from collections.abc import Iterable, Sequence

from synckairos.principal import DEFAULT_TENANT
from synckairos.store.keys import Keys
from synckairos.store.redis_errors import translated_errors
from synckairos.store.shared_connection import Argument, RedisPipe

SCAN_COUNT = 1_000
"""Number of keys or members that one search step reads. Redis handles other commands between two steps."""

_DELETED_AT_ONCE = 500
_GLOB = re.compile(r"([*?\[\]\\^-])")

OutboxEnds = Sequence[str | None]
"""The id of the newest outbox entry of each partition at one instant; None for a partition without entries."""


class TenantData:
    """The data of single tenants in Redis. All methods raise StoreUnavailable if Redis does not answer.

    `tenant` is never the default tenant, whose names have no tenant.
    """

    def __init__(self, pipe: RedisPipe, keys: Keys) -> None:
        self._pipe = pipe
        self._keys = keys

    async def delete(self, tenant: str) -> int:
        """Delete the sessions, lists, presence, caches and failed entries of a tenant, and return their number.

        The number counts keys, and members of keys that all tenants share. Entries in the outbox stay, so that no drain
        is disturbed. Each step is atomic, but not the whole deletion. Data that are written meanwhile can stay.
        """
        if tenant == DEFAULT_TENANT:
            raise ValueError("the data of the default tenant have no names of a tenant")
        deleted = await self._delete_keys(tenant)
        for partition in range(self._keys.partitions):
            deleted += await self._delete_failed_entries(partition, tenant)
            deleted += await self._delete_members(partition, tenant)
        with translated_errors():
            await self._pipe.call("ZREM", self._keys.tenants_with_sessions, tenant)
        return deleted

    async def find_tenants_with_sessions(self, tenants: Sequence[str]) -> list[str]:
        """Return those of `tenants` that have had sessions in Redis since the last deletion. One round trip."""
        if not tenants:
            return []
        with translated_errors():
            scores = await self._pipe.call_many(
                [("ZSCORE", self._keys.tenants_with_sessions, each) for each in tenants]
            )
        return [tenant for tenant, score in zip(tenants, scores, strict=True) if score is not None]

    async def read_outbox_ends(self) -> OutboxEnds:
        """Return the newest entry of each outbox. One round trip."""
        return await self._read_ids("XREVRANGE", "+", "-")

    async def is_drained(self, ends: OutboxEnds) -> bool:
        """Return whether the outboxes have none of the entries up to `ends` any more. One round trip.

        Postgres has these entries then, or they became failed entries.
        """
        oldest = await self._read_ids("XRANGE", "-", "+")
        return all(
            end is None or first is None or _position(first) > _position(end)
            for first, end in zip(oldest, ends, strict=True)
        )

    async def _read_ids(self, command: str, first: str, last: str) -> list[str | None]:
        names = [self._keys.outbox(partition) for partition in range(self._keys.partitions)]
        with translated_errors():
            replies = await self._pipe.call_many([(command, name, first, last, "COUNT", 1) for name in names])
        return [entries[0][0].decode() if entries else None for entries in replies]

    async def _delete_keys(self, tenant: str) -> int:
        # The pattern also finds keys of other tenants, such as those of requests that name this tenant.
        prefix = _GLOB.sub(r"\\\1", self._keys.prefix)
        pattern = f"{prefix}:{{*}}:*{tenant}*"
        is_of_tenant = self._key_pattern(tenant).fullmatch
        deleted = 0
        with translated_errors():
            async for found in self._pipe.scan(pattern, SCAN_COUNT):
                names = [name for name in found if is_of_tenant(name.decode(errors="replace"))]
                # One command for each key, because the keys can be on several nodes of a Cluster.
                for some in _batches(names):
                    deleted += sum(await self._pipe.call_many([("UNLINK", name) for name in some]))
        return deleted

    def _key_pattern(self, tenant: str) -> re.Pattern[str]:
        """Return the pattern of the keys that belong to a tenant alone."""
        name = re.escape(tenant)
        kinds = "|".join(
            (
                # A key that ends with the name of a session or participant, or with a tenant and a subject.
                f"(?:session|history|commands|presence|recent|digest|rows|members|aside-[a-z-]+):{name}/.*",
                f"bucket:[^:/]*:{name}/.*",
                # The scope of a caller begins with the length and the name of its tenant.
                f"reserved:[a-z_]*:::{len(tenant)}:{name}[0-9].*",
                f"live:{name}",
            )
        )
        return re.compile(rf"{re.escape(self._keys.prefix)}:\{{[0-9]+\}}:(?:{kinds})", re.DOTALL)

    async def _delete_members(self, partition: int, tenant: str) -> int:
        """Remove the names of a tenant from the sorted sets of a partition."""
        keys = self._keys
        with translated_errors():
            await self._pipe.call("HDEL", keys.outbox_tenants(partition), tenant)
        deleted = 0
        # All scores of these sets are 0, so their members are in alphabetical order. "0" is the character after "/".
        first, last = f"[{tenant}/", f"({tenant}0"
        for name in (keys.outbox_participants(partition), keys.failed_entry_versions(partition)):
            while found := await self._read(name, first, last, "BYLEX", "LIMIT", 0, _DELETED_AT_ONCE):
                deleted += await self._call_in_batches("ZREM", found, name)
        name, at = keys.deadlines(partition), 0
        while found := await self._read(name, at, at + SCAN_COUNT - 1):
            ours = [each for each in found if each.startswith(f"{tenant}/".encode())]
            deleted += await self._call_in_batches("ZREM", ours, name)
            at += len(found) - len(ours)
        return deleted

    async def _read(self, name: str, *arguments: Argument) -> list[bytes]:
        """Return members of a sorted set. `arguments` are those of ZRANGE."""
        with translated_errors():
            found: list[bytes] = await self._pipe.call("ZRANGE", name, *arguments)
        return found

    async def _delete_failed_entries(self, partition: int, tenant: str) -> int:
        keys, deleted = self._keys, 0
        with translated_errors():
            ids = [each.decode(errors="replace") for each in await self._read(keys.failed_entries(partition), 0, -1)]
            for first in range(0, len(ids), _DELETED_AT_ONCE):
                some = ids[first : first + _DELETED_AT_ONCE]
                names = await self._pipe.call_many_independent(
                    [("HGET", keys.failed_entry(partition, each), "session_id") for each in some]
                )
                ours = [
                    each
                    for each, name in zip(some, names, strict=True)
                    if isinstance(name, bytes) and name.startswith(f"{tenant}/".encode())
                ]
                if ours:
                    await self._pipe.call_many(
                        [
                            ("UNLINK", *(keys.failed_entry(partition, each) for each in ours)),
                            ("ZREM", keys.failed_entries(partition), *ours),
                        ]
                    )
                    deleted += len(ours)
        return deleted

    async def _call_in_batches(self, command: str, arguments: Sequence[bytes], *before: str) -> int:
        """Call a command that returns a number, with some of the arguments each time. Return the sum."""
        total = 0
        for some in _batches(arguments):
            with translated_errors():
                total += await self._pipe.call(command, *before, *some)
        return total


def _batches(items: Sequence[bytes]) -> Iterable[Sequence[bytes]]:
    return (items[first : first + _DELETED_AT_ONCE] for first in range(0, len(items), _DELETED_AT_ONCE))


def _position(entry_id: str) -> tuple[int, int]:
    """Return the two numbers of the id of an outbox entry, which order the entries."""
    ms, _, number = entry_id.partition("-")
    return int(ms), int(number or 0)
