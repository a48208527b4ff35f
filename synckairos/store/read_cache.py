"""Read-aside caches in Redis: answers of Postgres, kept for as long as nothing newer came to it and somebody asks.

One hash for each participant or session, an entry for each question; whoever moves versions to Postgres drops the hash,
and with it the leases of those who are asking just now, so that nothing older is kept after. Where Redis doesn't answer
the question is asked all the same. What an answer says is its asker's business, here it is bytes.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal

from synckairos.errors import StoreUnavailable
from synckairos.store.connect import Script, unavailable_as_named
from synckairos.store.keys import Keys
from synckairos.store.shared_connection import RedisPipe
from synckairos.telemetry.metrics import CACHE_READS

Kind = Literal["lists", "events"]
"""`lists` of a participant, pages of a session's `events`; the latter not while the session is live and not over."""

TTL_MS: dict[Kind, int] = {"lists": 5 * 60_000, "events": 15 * 60_000}
IN_USE_MS = 30 * 60_000
"""How long answers stay from their last use."""

MOST_BYTES = 256 << 10
"""Of an answer; a larger one isn't kept."""

MOST_ENTRIES = 32
"""Answers for one participant or session."""

_LEASE_MS = 30_000


class ReadCache:
    """The caches; never raises for a Redis that doesn't answer."""

    def __init__(self, pipe: RedisPipe, keys: Keys) -> None:
        self._pipe = pipe
        self._keys = keys
        self._take = Script("aside_take")
        self._keep = Script("aside_keep")

    async def read(self, kind: Kind, id_: str, question: str, ask: Callable[[], Awaitable[bytes]]) -> bytes:
        """Return the answer to a question about a participant or session, by asking where it isn't here."""
        names, token = [self._keys.aside(kind, id_), self._keys.session(id_)], secrets.token_hex(8)
        try:
            with unavailable_as_named():
                outcome, answer = await self._take(self._pipe, names, [kind, question, token, _LEASE_MS, IN_USE_MS])
        except StoreUnavailable:
            outcome = b"bypassed"
        CACHE_READS.labels(kind, outcome.decode()).inc()
        if outcome == b"hit":
            kept: bytes = answer
            return kept
        asked = await ask()
        if outcome == b"miss" and len(asked) <= MOST_BYTES:
            try:
                with unavailable_as_named():
                    await self._keep(self._pipe, names[:1], [question, token, asked, TTL_MS[kind], MOST_ENTRIES])
            except StoreUnavailable:
                pass
        return asked

    async def drop(self, session_ids: Sequence[str], participant_ids: Sequence[str]) -> None:
        """Forget what was answered about these. One round trip. Raises StoreUnavailable where Redis doesn't answer."""
        shares: dict[int, list[str]] = {}
        kinds: tuple[tuple[Kind, Sequence[str]], ...] = (("events", session_ids), ("lists", participant_ids))
        for kind, ids in kinds:
            for each in ids:
                shares.setdefault(self._keys.partition_of(each), []).append(self._keys.aside(kind, each))
        with unavailable_as_named():
            await asyncio.gather(*(self._pipe.call("UNLINK", *names) for names in shares.values()))
