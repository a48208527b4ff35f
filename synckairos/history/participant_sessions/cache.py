"""Recent history of anybody: kept in Redis, filled from Postgres where it isn't there (yet)."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from synckairos.fast_dataclass import fast_dataclass
from synckairos.history.participant_sessions.summary import build_summary, is_gone, participant_part, render_part
from synckairos.history.reader import MAX_PAGE, HistoryReader
from synckairos.history.records import ParticipantSession
from synckairos.store.participant_sessions import (
    SPAN_MS,
    CachedPage,
    CacheLookup,
    ListKey,
    ParticipantSessionStore,
    ReadyRow,
)
from synckairos.wire.snapshot import Snapshot


@fast_dataclass
@dataclass(frozen=True, slots=True)
class CachedSession:
    """A session in somebody's list: the row where nothing moves in it, else their part and the session as it is live.

    `part` is as Postgres has it, None where it has nothing.
    """

    row: ReadyRow = b""
    part: ParticipantSession | None = None
    live: Snapshot | None = None


class ParticipantSessionCache:
    """Recent history. Raises StoreUnavailable where Redis doesn't answer, or Postgres where it has to be asked."""

    def __init__(self, store: ParticipantSessionStore, history: HistoryReader) -> None:
        self._store = store
        self._history = history

    async def now_ms(self) -> int:
        """Return Redis TIME. One round trip."""
        return await self._store.now_ms()

    async def page(self, participant_id: str, before: ListKey | None, limit: int) -> CachedPage | None:
        """Return up to `limit` places before a key out of Redis alone, None where it doesn't know. One round trip."""
        return await self._store.load_page(participant_id, before, limit)

    async def placed(self, participant_id: str, session_ids: Sequence[str]) -> dict[str, int]:
        """Return where those of these sessions stand that Redis knows to be in somebody's list. One round trip."""
        return await self._store.load_start_times(participant_id, session_ids)

    async def fill(self, participant_id: str, now_ms: int) -> None:
        """Have Redis know somebody's recent sessions; does nothing where somebody else does it now.

        Asks Postgres for up to a thousand sessions, once in 30 days without a look at them.
        """
        token = 1 + secrets.randbits(31)
        if not await self._store.lease_set(participant_id, token):
            return
        since_ms = now_ms - SPAN_MS
        most = self._store.max_sessions
        keys = await self._history.participant_session_starts(participant_id, since_ms=since_ms, limit=most + 1)
        if len(keys) > most:
            since_ms = keys[-1][0] + 1
            keys = [key for key in keys if key[0] >= since_ms]
        if await self._store.fill_set(participant_id, token, since_ms, keys):
            await self.look(participant_id, keys, {})

    async def look(
        self,
        participant_id: str,
        keys: Sequence[ListKey],
        looked: Mapping[str, ReadyRow | CacheLookup],
        others: Sequence[str] = (),
    ) -> dict[str, CachedSession]:
        """Look at sessions of somebody's recent list as far as they weren't yet, and at others only as they are live.

        No round trip where all was looked at; else one a partition, all at once, where Redis has all of it.
        """
        unseen = [session_id for _, session_id in keys if session_id not in looked]
        if unseen or others:
            looked = {**looked, **await self._store.look_up(participant_id, [*unseen, *others])}
        places = {session_id: CachedSession(live=_live(looked[session_id])) for session_id in others}
        missing: list[str] = []
        for began_ms, session_id in keys:
            found = looked[session_id]
            if isinstance(found, bytes):
                places[session_id] = CachedSession(found)
            elif found.part is None and (found.summary is None or not is_gone(found.summary)):
                missing.append(session_id)
            else:
                places[session_id] = _place(found, session_id, began_ms)
        if missing:
            parts = await self._refill(participant_id, missing)
            for session_id in missing:
                places[session_id] = CachedSession(part=parts.get(session_id), live=_live(looked[session_id]))
        return places

    async def _refill(self, participant_id: str, session_ids: Sequence[str]) -> dict[str, ParticipantSession]:
        """Ask Postgres for what Redis doesn't have, and keep it there."""
        token = 1 + secrets.randbits(31)
        await self._store.lease_summaries(session_ids, token)
        found: dict[str, ParticipantSession] = {}
        for first in range(0, len(session_ids), MAX_PAGE):
            share = session_ids[first : first + MAX_PAGE]
            found |= await self._history.participant_sessions_by_id(participant_id, share)
        await self._store.fill_summaries(
            token,
            participant_id,
            {
                session_id: (build_summary(part), render_part(part.time_used_ms, part.cycle_count))
                for session_id, part in found.items()
            },
        )
        return found


def _live(found: ReadyRow | CacheLookup) -> Snapshot | None:
    return None if isinstance(found, bytes) else found.live


def _place(found: CacheLookup, session_id: str, began_ms: int) -> CachedSession:
    if found.summary is None or found.part is None or is_gone(found.summary):
        return CachedSession(live=found.live)
    return CachedSession(part=participant_part(found.summary, found.part, session_id, began_ms), live=found.live)
