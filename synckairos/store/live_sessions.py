"""The live sets in Redis: lists and counts of the unfinished sessions of each tenant.

Each tenant has one sorted set for each partition. Commits and restores write the sets.
"""

import asyncio
from collections.abc import Iterator, Sequence

from synckairos.errors import InvalidStoredData
from synckairos.principal import DEFAULT_TENANT
from synckairos.session_names import bare_id, session_name, split_session_name
from synckairos.store.keys import Keys
from synckairos.store.lua_scripts import LuaScript, ScriptCall
from synckairos.store.redis_errors import translated_errors
from synckairos.store.shared_connection import RedisPipe, raise_if_invalid_data
from synckairos.store.stored_session import SESSION_FIELDS, StoredSession, parse_session_name, parse_stored_session
from synckairos.telemetry.invalid_data import PARSE_ERRORS, report_invalid_data, reporting_invalid_data
from synckairos.wire.snapshot import check_stored_document

_BATCH_BYTES = 256 << 10
"""Bytes of documents of live sessions that one round trip loads. A larger document is loaded alone.

All commands of an instance share a connection, so the replies to other commands wait behind these documents.
"""

MAX_COUNTED_SETS = 10_000
"""Maximum number of live sets that one count of all unfinished sessions reads. This takes some ms of Redis."""

MAX_TIES = 500
"""Number of sessions beyond a page of unfinished sessions that are also read.

They can have been created in the same millisecond.
"""


class LiveSessions:
    """The unfinished sessions of all tenants. All methods raise StoreUnavailable if Redis does not answer in time."""

    def __init__(self, pipe: RedisPipe, keys: Keys) -> None:
        self._pipe = pipe
        self._keys = keys
        self._remove_evicted_script = LuaScript("live_session_remove_evicted")

    async def count_unfinished(self, tenant: str = DEFAULT_TENANT) -> int:
        """Return the number of unfinished sessions of a tenant, in one round trip.

        The number can include evicted sessions.
        """
        names = [self._keys.live_sessions(partition, tenant) for partition in range(self._keys.partitions)]
        with translated_errors():
            counts = await self._pipe.call_many_independent([("ZCARD", name) for name in names])
        return sum(count for count in counts if isinstance(count, int))

    async def count_unfinished_of_all_tenants(self) -> int:
        """Return the number of unfinished sessions of all tenants, in two round trips.

        The number can include evicted sessions. It lacks tenants beyond `MAX_COUNTED_SETS` live sets.
        """
        count = max(1, MAX_COUNTED_SETS // self._keys.partitions)
        with translated_errors():
            members: list[bytes] = await self._pipe.call("ZRANGE", self._keys.tenants_with_sessions, 0, count - 1)
        tenants = [DEFAULT_TENANT, *(each.decode(errors="replace") for each in members)]
        return sum(await asyncio.gather(*map(self.count_unfinished, tenants)))

    def remember_tenant(self, name: str) -> None:
        """Add the tenant of a session that Redis did not have to the tenants whose sessions are counted.

        The method does not wait for Redis. If the command is lost, the next such session adds the tenant.
        """
        tenant, _ = split_session_name(name)
        if tenant != DEFAULT_TENANT:
            self._pipe.send_unawaited(("ZADD", self._keys.tenants_with_sessions, 0, tenant))

    async def list_live(
        self, limit: int, before: tuple[int, str] | None = None, *, max_bytes: int, tenant: str = DEFAULT_TENANT
    ) -> list[tuple[int, str, StoredSession]]:
        """Return unfinished sessions of a tenant, newest first: created_at_ms, session id, stored session.

        `before` is the sort key (created_at_ms, session id) of the last session on the previous page. The page ends
        after `limit` sessions, or soon after the documents reach `max_bytes` bytes. If the page is empty, there are no
        more sessions. Three round trips, and one more for each further `_BATCH_BYTES` of documents. If the page has
        evicted sessions, they are removed from the list of live sessions in more round trips.
        """
        found: list[tuple[int, str, StoredSession]] = []
        size = 0
        while len(found) < limit and size < max_bytes:
            keys = await self._live_keys(tenant, limit - len(found), before)
            if not keys:
                break
            before = keys[-1]
            sizes = await self._document_sizes([session_name(tenant, each) for _, each in keys])
            for batch in _batches_by_size(keys, sizes):
                if size >= max_bytes:
                    break
                names = {each: session_name(tenant, each) for _, each in batch}
                loaded, evicted = await self._load_live([*names.values()])
                for at_ms, session_id in batch:
                    if (stored := loaded.get(names[session_id])) is not None:
                        found.append((at_ms, session_id, stored))
                        size += len(stored.snapshot.document)
                await self._remove_from_live(tenant, evicted)
        return found

    async def _document_sizes(self, session_names: Sequence[str]) -> list[int]:
        """Return the bytes of each session's document, in one round trip; 0 for evicted and invalid sessions."""
        with translated_errors():
            replies = await self._pipe.call_many_independent(
                [("HSTRLEN", self._keys.session(each), "state") for each in session_names]
            )
        return [reply if isinstance(reply, int) else 0 for reply in replies]

    async def _load_live(self, session_names: Sequence[str]) -> tuple[dict[str, StoredSession], list[str]]:
        """Load sessions, in one round trip. Return the loaded sessions by name, and the names of evicted sessions.

        Sessions with invalid data are reported, and are missing in both results.
        """
        with translated_errors():
            rows = await self._pipe.call_many_independent(
                [("HMGET", self._keys.session(each), *SESSION_FIELDS) for each in session_names]
            )
        loaded: dict[str, StoredSession] = {}
        evicted: list[str] = []
        for name, row in zip(session_names, rows, strict=True):
            try:
                with reporting_invalid_data(self._keys.session(name)):
                    stored = parse_stored_session(raise_if_invalid_data(row))
                    if stored is not None:
                        check_stored_document(bare_id(name), stored.snapshot)
            except InvalidStoredData:
                continue
            if stored is None:
                evicted.append(name)
            else:
                loaded[name] = stored
        return loaded, evicted

    async def _live_keys(self, tenant: str, limit: int, before: tuple[int, str] | None) -> list[tuple[int, str]]:
        """Return at most `limit` sort keys of a tenant's unfinished sessions, newest first.

        A sort key consists of created_at_ms and the session id.
        """
        top = "+inf" if before is None else str(before[0])
        options = ("-inf", "WITHSCORES", "LIMIT", 0, limit + MAX_TIES)
        names = [self._keys.live_sessions(partition, tenant) for partition in range(self._keys.partitions)]
        with translated_errors():
            replies = await self._pipe.call_many_independent(
                [("ZREVRANGEBYSCORE", name, top, *options) for name in names]
            )
        found: list[tuple[int, str]] = []
        for partition, (name, reply) in enumerate(zip(names, replies, strict=True)):
            if isinstance(reply, Exception):
                report_invalid_data(name, reply)
                await self._drop_live_set(partition, name)
                continue
            for member, score in zip(reply[::2], reply[1::2], strict=True):
                try:
                    found.append((int(float(score)), _parse_member(member, tenant)))
                except PARSE_ERRORS as error:
                    report_invalid_data(name, error)
                    with translated_errors():
                        await self._pipe.call("ZREM", name, member)
        return sorted((key for key in found if before is None or key < before), reverse=True)[:limit]

    async def _drop_live_set(self, partition: int, name: str) -> None:
        """Remove the set of live sessions with the key `name`, because its key has data of another type.

        Also write the mark, so that an instance rebuilds the set later.
        """
        with translated_errors():
            await self._pipe.call_many([("DEL", name), ("SET", self._keys.index_rebuild_mark(partition), "1")])

    async def _remove_from_live(self, tenant: str, session_names: Sequence[str]) -> None:
        """Remove evicted sessions from the set of live sessions. The restore of a session adds the session again.

        A session that was restored in the meantime stays in the set.
        """
        keys = self._keys
        calls: list[ScriptCall] = [
            ([keys.live_sessions(keys.partition_of(each), tenant), keys.session(each)], [each])
            for each in session_names
        ]
        with translated_errors():
            await self._remove_evicted_script.call_many(self._pipe, calls)


def _parse_member(member: bytes, tenant: str) -> str:
    """Return the session id in a member of the live set of a tenant.

    Raises: ValueError if the member is not the name of a session of this tenant.
    """
    found, session_id = split_session_name(parse_session_name(member))
    if found != tenant:
        raise ValueError(f"the session is of the tenant {found}")
    return session_id


def _batches_by_size(keys: Sequence[tuple[int, str]], sizes: Sequence[int]) -> Iterator[list[tuple[int, str]]]:
    """Yield the keys in batches. `sizes` has the bytes of their documents. A batch has `_BATCH_BYTES`, or one key."""
    batch: list[tuple[int, str]] = []
    batch_bytes = 0
    for key, size in zip(keys, sizes, strict=True):
        if batch and batch_bytes + size > _BATCH_BYTES:
            yield batch
            batch, batch_bytes = [], 0
        batch.append(key)
        batch_bytes += size
    if batch:
        yield batch
