"""Copies of members in Redis: the roles of each subject, for the time during which Postgres does not answer.

Each subject has one key. Its value is the copy, the lease of a reader that will store the copy, or a block. A change of
members blocks the key before its transaction, and removes the block after it. So a reader that has read the older rows
can no longer store them: its lease is gone. If the process of a change dies, the block ends by itself, after the
transaction of the change. This module does not parse copies.
"""

import secrets
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import islice

from synckairos.store.keys import Keys
from synckairos.store.lua_scripts import LuaScript, ScriptCall
from synckairos.store.redis_errors import translated_errors
from synckairos.store.shared_connection import RedisPipe

COPY_TTL_MS = 3_600_000
"""Milliseconds that a copy stays after it was stored."""

LEASE_MS = 15_000
"""Milliseconds within which a reader must store its copy."""

BLOCK_MS = 60_000
"""Milliseconds for which no copy is stored if a change does not end. It is above the time limit of a change."""

MAX_COPY_BYTES = 256 << 10
"""Bytes: a larger copy is not stored."""

_KEYS_PER_CALL = 1_000
_LEASE, _BLOCK, _COPY = b"L", b"B", b"C"
"""First byte of each value, which tells the three kinds apart."""


class MemberCopies:
    """The copies of the members of all subjects. All methods raise StoreUnavailable if Redis does not answer."""

    def __init__(self, pipe: RedisPipe, keys: Keys) -> None:
        self._pipe = pipe
        self._keys = keys
        self._put_script = LuaScript("member_copy_put")

    async def read(self, tenant: str, subjects: Sequence[str]) -> dict[str, bytes]:
        """Return the copies of those subjects that have one. One round trip."""
        with translated_errors():
            values = await self._pipe.call_many([("GET", self._key(tenant, each)) for each in subjects])
        found = zip(subjects, values, strict=True)
        return {subject: value[1:] for subject, value in found if value is not None and value[:1] == _COPY}

    async def lease(self, tenant: str, subjects: Sequence[str]) -> dict[str, bytes]:
        """Return leases for the subjects that have no copy, lease or block yet. One round trip.

        Read the members from Postgres only after this call, and pass the leases to `put`.
        """
        leases = {each: _LEASE + secrets.token_hex(8).encode() for each in subjects}
        commands = [("SET", self._key(tenant, each), leases[each], "NX", "PX", LEASE_MS) for each in subjects]
        with translated_errors():
            replies = await self._pipe.call_many(commands)
        return {each: leases[each] for each, reply in zip(subjects, replies, strict=True) if reply is not None}

    async def put(self, tenant: str, copies: Mapping[str, bytes], leases: Mapping[str, bytes]) -> None:
        """Store the copies whose leases still exist. Copies that are too large are left out. One round trip."""
        calls: list[ScriptCall] = [
            ([self._key(tenant, each)], [leases[each], _COPY + copy, COPY_TTL_MS])
            for each, copy in copies.items()
            if each in leases and len(copy) <= MAX_COPY_BYTES
        ]
        if calls:
            with translated_errors():
                await self._put_script.call_many(self._pipe, calls)

    async def block(self, tenant: str, subjects: Collection[str]) -> None:
        """Remove the copies and the leases of subjects, and store no copy until `unblock`, or for `BLOCK_MS`.

        One round trip for 1,000 subjects.
        """
        for part in _parts(subjects):
            with translated_errors():
                await self._pipe.call_many([("SET", self._key(tenant, each), _BLOCK, "PX", BLOCK_MS) for each in part])

    async def unblock(self, tenant: str, subjects: Collection[str]) -> None:
        """Let readers store copies of these subjects again. One round trip for 1,000 subjects."""
        for part in _parts(subjects):
            with translated_errors():
                await self._pipe.call_many([("DEL", self._key(tenant, each)) for each in part])

    def _key(self, tenant: str, subject: str) -> str:
        return self._keys.member_copy(tenant, subject)


def _parts(subjects: Collection[str]) -> Iterator[list[str]]:
    remaining = iter(subjects)
    while part := list(islice(remaining, _KEYS_PER_CALL)):
        yield part
