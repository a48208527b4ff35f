"""Read cache: answers of Postgres that are kept in Redis until newer versions reach Postgres.

Each participant or session has one hash with an entry for each query. The drain drops the hash when it moves newer
versions to Postgres. That also breaks the leases of readers that query Postgres at that moment. So an older answer is
not kept afterwards. If Redis does not answer, Postgres is queried. The answers are bytes here; the callers know them.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal

from synckairos.errors import StoreUnavailable
from synckairos.store.keys import Keys
from synckairos.store.lua_scripts import LuaScript
from synckairos.store.redis_errors import translated_errors
from synckairos.store.shared_connection import RedisPipe
from synckairos.telemetry.metrics import CACHE_READS

CacheKind = Literal["lists", "events"]
"""`lists` of a participant, or pages of a session's `events`. Events of a live session that is not final bypass it."""

TTL_MS: dict[CacheKind, int] = {"lists": 5 * 60_000, "events": 15 * 60_000}
"""Milliseconds that an answer stays after it was stored."""

USED_TTL_MS = 30 * 60_000
"""Milliseconds that answers stay after their last use."""

MAX_ANSWER_BYTES = 256 << 10
"""Bytes: a larger answer is not kept."""

MAX_ENTRIES = 32
"""Answers for one participant or session."""

_LEASE_MS = 30_000


class ReadCache:
    """The caches. `read` never fails because Redis does not answer."""

    def __init__(self, pipe: RedisPipe, keys: Keys) -> None:
        self._pipe = pipe
        self._keys = keys
        self._get_script = LuaScript("read_cache_get")
        self._put_script = LuaScript("read_cache_put")

    async def read(self, kind: CacheKind, id_: str, query: str, run_query: Callable[[], Awaitable[bytes]]) -> bytes:
        """Return the answer to a query about a participant or session; run the query if the answer is not cached."""
        names, token = [self._keys.read_cache(kind, id_), self._keys.session(id_)], secrets.token_hex(8)
        try:
            with translated_errors():
                outcome, cached = await self._get_script(
                    self._pipe, names, [kind, query, token, _LEASE_MS, USED_TTL_MS]
                )
        except StoreUnavailable:
            outcome = b"bypassed"
        CACHE_READS.labels(kind, outcome.decode()).inc()
        if outcome == b"hit":
            hit: bytes = cached
            return hit
        answer = await run_query()
        if outcome == b"miss" and len(answer) <= MAX_ANSWER_BYTES:
            try:
                with translated_errors():
                    await self._put_script(self._pipe, names[:1], [query, token, answer, TTL_MS[kind], MAX_ENTRIES])
            except StoreUnavailable:
                pass
        return answer

    async def drop(self, session_ids: Sequence[str], participant_ids: Sequence[str]) -> None:
        """Remove all answers about these sessions and participants. One round trip. Raises StoreUnavailable."""
        names: dict[int, list[str]] = {}
        kinds: tuple[tuple[CacheKind, Sequence[str]], ...] = (("events", session_ids), ("lists", participant_ids))
        for kind, ids in kinds:
            for each in ids:
                names.setdefault(self._keys.partition_of(each), []).append(self._keys.read_cache(kind, each))
        with translated_errors():
            await asyncio.gather(*(self._pipe.call("UNLINK", *share) for share in names.values()))
