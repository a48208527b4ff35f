"""Rebuild of the deadlines and the set of live sessions from the sessions of a partition.

If a script finds invalid data in one of the two sets, it removes this set and writes a mark. One instance then reads
all sessions of the partition and adds each session to both sets.
"""

from synckairos.errors import InvalidStoredData
from synckairos.session_names import split_session_name
from synckairos.store.keys import Keys
from synckairos.store.lua_scripts import LuaScript
from synckairos.store.redis_errors import translated_errors
from synckairos.store.shared_connection import RedisPipe, raise_if_invalid_data
from synckairos.store.stored_session import SESSION_FIELDS, parse_session_name, parse_stored_session
from synckairos.telemetry.invalid_data import reporting_invalid_data
from synckairos.wire.document_scan import extract_created_at_ms

_PAGE = 200  # keys of one step of SCAN


class SessionIndexRebuilder:
    """Rebuilds the deadlines and the set of live sessions of a partition.

    All methods raise StoreUnavailable if Redis does not answer.
    """

    def __init__(self, pipe: RedisPipe, keys: Keys) -> None:
        self._pipe = pipe
        self._keys = keys
        self._script = LuaScript("session_reindex", allow_oom=True)

    async def is_rebuild_due(self, partition: int) -> bool:
        """Return whether a set of the partition was removed because of invalid data. One round trip."""
        with translated_errors():
            return bool(await self._pipe.call("EXISTS", self._keys.index_rebuild_mark(partition)))

    async def rebuild(self, partition: int) -> int:
        """Add all sessions of a partition to its deadlines and live sessions. Return the number of added sessions.

        The call first removes `Keys.index_rebuild_mark`. If the rebuild fails or is cancelled, the mark is written
        again. If a script removes a set during the rebuild, the script also writes the mark again. In both cases
        `is_rebuild_due` returns True afterwards.
        """
        with translated_errors():
            await self._pipe.call("DEL", self._keys.index_rebuild_mark(partition))
        prefix = self._keys.session_prefix(partition)
        count = 0
        try:
            with translated_errors():
                async for found in self._pipe.scan(f"{prefix}*", _PAGE):
                    count += await self._index(partition, [key[len(prefix.encode()) :] for key in found])
            return count
        except BaseException:
            with translated_errors():
                await self._pipe.call("SET", self._keys.index_rebuild_mark(partition), "1")
            raise

    async def _index(self, partition: int, members: list[bytes]) -> int:
        """Add sessions to the sets, and return the number of added sessions.

        Sessions with invalid data are reported and left out.
        """
        session_names: list[str] = []
        for member in members:
            try:
                with reporting_invalid_data(self._keys.session_prefix(partition)):
                    session_names.append(parse_session_name(member))
            except InvalidStoredData:
                continue
        with translated_errors():
            rows = await self._pipe.call_many_independent(
                [("HMGET", self._keys.session(each), *SESSION_FIELDS) for each in session_names]
            )
        count = 0
        for session_name, row in zip(session_names, rows, strict=True):
            key = self._keys.session(session_name)
            try:
                with reporting_invalid_data(key):
                    stored = parse_stored_session(raise_if_invalid_data(row))
                    if stored is None:
                        continue
                    created_at_ms = extract_created_at_ms(stored.snapshot.document)
            except InvalidStoredData:
                continue
            tenant, _ = split_session_name(session_name)
            names = [self._keys.deadlines(partition), self._keys.live_sessions(partition, tenant), key]
            with translated_errors():
                await self._script(self._pipe, names, [session_name, created_at_ms])
            count += 1
        return count
