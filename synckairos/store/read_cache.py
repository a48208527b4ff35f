"""The read cache: answers of Postgres that are kept in Redis until newer versions reach Postgres.

Each participant or session has one hash with one answer for each query. The drain removes the hash when it moves newer
versions to Postgres. This also breaks the leases of readers that query Postgres at that moment. So an older answer is
never stored afterwards. If Redis does not answer, Postgres is queried. This module does not parse the bytes of an
answer; its callers do.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Literal, TypeVar

from synckairos.errors import InvalidStoredData, StoreUnavailable
from synckairos.store.keys import Keys
from synckairos.store.lua_scripts import LuaScript
from synckairos.store.redis_errors import translated_errors
from synckairos.store.shared_connection import RedisPipe
from synckairos.telemetry.invalid_data import reporting_invalid_data
from synckairos.telemetry.metrics import CACHE_READS

T = TypeVar("T")

CacheKind = Literal["lists", "events"]
"""The kind of cached answers: `lists` of a participant, or pages of a session's `events`.

Events of an unfinished session in Redis are never cached.
"""

TTL_MS: dict[CacheKind, int] = {"lists": 5 * 60_000, "events": 15 * 60_000}
"""Milliseconds that an answer stays after it was stored, by kind."""

USED_TTL_MS = 30 * 60_000
"""Milliseconds that the answers about a participant or session stay after their last use."""

MAX_ANSWER_BYTES = 256 << 10
"""Bytes: a larger answer is not stored."""

MAX_ENTRIES = 32
"""Maximum number of answers and leases for one participant or session."""

_LEASE_MS = 30_000


class ReadCache:
    """The read cache of all participants and sessions. If Redis does not answer, `read_through` calls `run_query`."""

    def __init__(self, pipe: RedisPipe, keys: Keys) -> None:
        self._pipe = pipe
        self._keys = keys
        self._get_script = LuaScript("read_cache_get")
        self._put_script = LuaScript("read_cache_put")

    async def read_through(
        self,
        kind: CacheKind,
        name: str,
        query: str,
        run_query: Callable[[], Awaitable[bytes]],
        parse: Callable[[bytes], T],
    ) -> T:
        """Return the parsed answer to a query about a participant or session with the name `name` in its tenant.

        If the answer is not cached, or if Redis does not answer, call `run_query` for the bytes of the answer. The new
        answer is cached, unless it is too large or newer versions have reached Postgres in the meantime. `parse`
        converts the bytes of an answer to the result. If `parse` fails on a cached answer, all cached answers about the
        participant or session are removed, and `run_query` is called.

        Raises: the errors of `run_query`, and of `parse` for a new answer.
        """
        names, token = [self._keys.read_cache(kind, name), self._keys.session(name)], secrets.token_hex(8)
        try:
            with translated_errors():
                outcome, cached = await self._get_script(
                    self._pipe, names, [kind, query, token, _LEASE_MS, USED_TTL_MS]
                )
        except InvalidStoredData:
            outcome = b"bypassed"
            with suppress(StoreUnavailable), translated_errors():
                await self._pipe.call("UNLINK", names[0])
        except StoreUnavailable:
            outcome = b"bypassed"
        CACHE_READS.labels(kind, outcome.decode()).inc()
        if outcome == b"hit":
            try:
                with reporting_invalid_data(names[0]):
                    return parse(cached)
            except InvalidStoredData:
                with suppress(StoreUnavailable):
                    await self.drop([name] if kind == "events" else [], [name] if kind == "lists" else [])
        answer = await run_query()
        if outcome == b"miss" and len(answer) <= MAX_ANSWER_BYTES:
            try:
                with translated_errors():
                    await self._put_script(self._pipe, names[:1], [query, token, answer, TTL_MS[kind], MAX_ENTRIES])
            except StoreUnavailable:
                pass
        return parse(answer)

    async def drop(self, session_names: Sequence[str], participant_names: Sequence[str]) -> None:
        """Remove all answers about these sessions and participants. One round trip.

        Raises: StoreUnavailable if Redis does not answer.
        """
        shares: dict[int, list[str]] = {}
        kinds: tuple[tuple[CacheKind, Sequence[str]], ...] = (("events", session_names), ("lists", participant_names))
        for kind, names in kinds:
            for each in names:
                shares.setdefault(self._keys.partition_of(each), []).append(self._keys.read_cache(kind, each))
        with translated_errors():
            await asyncio.gather(*(self._pipe.call("UNLINK", *share) for share in shares.values()))
