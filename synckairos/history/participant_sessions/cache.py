"""Cache of participants' recent sessions in Redis. If Redis has no data of a participant, Postgres fills the cache."""

import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress

from msgspec import Struct

from synckairos.errors import StoreUnavailable
from synckairos.history.page_size import MAX_PAGE_ITEMS
from synckairos.history.participant_sessions.summary import (
    build_participant_session,
    build_summary,
    is_deleted,
    render_participant_part,
)
from synckairos.history.reader import HistoryReader
from synckairos.history.records import ParticipantSession
from synckairos.session_names import in_same_tenant
from synckairos.store.participant_sessions import (
    SPAN_MS,
    CachedPage,
    ListKey,
    ListRowParts,
    ParticipantSessionStore,
    RenderedRow,
)
from synckairos.wire.snapshot import SessionSnapshot


class ListedSessionData(Struct, frozen=True):
    """Cached data of one session in a participant's list.

    - `row`: the complete JSON of the item; empty if Redis does not have it. Redis never has it while a clock or a pause
      of the session runs. If `row` is not empty, the other fields are None.
    - `session`: the values from Postgres; None if Postgres does not list the session.
    - `live`: the session's snapshot in Redis; None if Redis does not have the session.
    """

    row: RenderedRow = b""
    session: ParticipantSession | None = None
    live: SessionSnapshot | None = None


class ParticipantSessionCache:
    """Reader of the cache in Redis, which fills missing data from Postgres.

    A participant is given by its name in its tenant. All sessions in its list are of the same tenant, so they are given
    by their ids.
    Methods raise StoreUnavailable if Redis is unreachable, or if Postgres is needed and unreachable.
    """

    def __init__(self, store: ParticipantSessionStore, history: HistoryReader) -> None:
        self._store = store
        self._history = history

    async def redis_now_ms(self) -> int:
        """Return the time of Redis, ms since the Unix epoch. Uses one round trip."""
        return await self._store.now_ms()

    async def read_page(self, participant_name: str, before: ListKey | None, limit: int) -> CachedPage | None:
        """Return a cached page of at most `limit` sessions, newest first, with one round trip.

        `before` is the list position of the last item of the previous page, None for the first page. Return None if
        Redis has no complete set of the participant's sessions.
        """
        return await self._store.load_cached_page(participant_name, before, limit)

    async def discard_invalid_caches(self, participant_name: str, session_ids: Sequence[str]) -> None:
        """Delete the cached data of a participant and of the sessions `session_ids` from Redis.

        Called if some of these data are invalid. Uses one round trip. Later reads fill the cache again from Postgres.
        """
        await self._store.discard_invalid_caches(
            [in_same_tenant(participant_name, each) for each in session_ids], [participant_name]
        )

    async def load_cached_start_times(self, participant_name: str, session_ids: Sequence[str]) -> dict[str, int]:
        """Return `began_at_ms` by session id, for those of `session_ids` that the cached set contains.

        A session that the result lacks is not cached; Postgres can still have the session. Uses one round trip. See
        `ParticipantSession` for `began_at_ms`.
        """
        return await self._store.load_cached_start_times(participant_name, session_ids)

    async def fill_from_postgres(self, participant_name: str, now_ms: int) -> None:
        """Fill the set and the summaries of a participant in Redis from Postgres.

        Do nothing if another reader fills them now, or if Redis accepts no writes. `now_ms` is the present instant in
        ms since the Unix epoch. The set gets the sessions of the last `SPAN_MS`, at most the 1,000 newest. It stays in
        Redis until it is unused for 30 days.
        """
        token = 1 + secrets.randbits(31)
        try:
            if not await self._store.acquire_list_lease(participant_name, token):
                return
        except StoreUnavailable:
            return  # Redis accepts no writes. If it does not answer either, the next read raises.
        since_ms, limit = now_ms - SPAN_MS, self._store.max_sessions
        keys = await self._history.participant_sessions.list_starts(
            participant_name, since_ms=since_ms, limit=limit + 1
        )
        if len(keys) > limit:
            since_ms = keys[-1][0] + 1
            keys = [key for key in keys if key[0] >= since_ms]
        if await self._store.fill_list(participant_name, token, since_ms, keys):
            await self.load_listed_sessions(participant_name, keys, {})

    async def load_listed_sessions(
        self,
        participant_name: str,
        keys: Sequence[ListKey],
        lookups: Mapping[str, RenderedRow | ListRowParts],
        live_ids: Sequence[str] = (),
    ) -> dict[str, ListedSessionData]:
        """Return cached data by session id.

        - `keys`: list positions of sessions for which all data are returned.
        - `lookups`: results of Redis that the caller already has, by session id.
        - `live_ids`: ids of further sessions for which only the snapshot in Redis is returned.

        Uses no round trip if `lookups` has all sessions. Otherwise uses one round trip to each partition, in parallel.
        If Redis lacks summaries, also uses a query of Postgres.
        """
        unknown = [session_id for _, session_id in keys if session_id not in lookups]
        if unknown or live_ids:
            lookups = {**lookups, **await self._store.load_list_rows(participant_name, [*unknown, *live_ids])}
        sessions = {session_id: ListedSessionData(live=_live(lookups[session_id])) for session_id in live_ids}
        missing: list[str] = []
        for began_ms, session_id in keys:
            lookup = lookups[session_id]
            if isinstance(lookup, bytes):
                sessions[session_id] = ListedSessionData(lookup)
            elif lookup.part is None and (lookup.summary is None or not is_deleted(lookup.summary)):
                missing.append(session_id)
            else:
                sessions[session_id] = _from_lookup(lookup, session_id, began_ms)
        if missing:
            found = await self._fill_summaries(participant_name, missing)
            for session_id in missing:
                live = _live(lookups[session_id])
                sessions[session_id] = ListedSessionData(session=found.get(session_id), live=live)
        return sessions

    async def _fill_summaries(self, participant_name: str, session_ids: Sequence[str]) -> dict[str, ParticipantSession]:
        """Read sessions that have no summary from Postgres, store their summaries in Redis, and return the sessions.

        The result is by session id. It lacks sessions that Postgres does not list for the participant.
        """
        token = 1 + secrets.randbits(31)
        with suppress(StoreUnavailable):  # a Redis that accepts no writes keeps no summaries
            await self._store.acquire_summary_leases(participant_name, session_ids, token)
        found: dict[str, ParticipantSession] = {}
        for first in range(0, len(session_ids), MAX_PAGE_ITEMS):
            ids = session_ids[first : first + MAX_PAGE_ITEMS]
            found |= await self._history.participant_sessions.read_by_id(participant_name, ids)
        filled = {
            session_id: (build_summary(session), render_participant_part(session.time_used_ms, session.cycle_count))
            for session_id, session in found.items()
        }
        with suppress(StoreUnavailable):
            await self._store.fill_summaries(token, participant_name, filled)
        return found


def _live(lookup: RenderedRow | ListRowParts) -> SessionSnapshot | None:
    return None if isinstance(lookup, bytes) else lookup.live


def _from_lookup(lookup: ListRowParts, session_id: str, began_ms: int) -> ListedSessionData:
    if lookup.summary is None or lookup.part is None or is_deleted(lookup.summary):
        return ListedSessionData(live=lookup.live)
    session = build_participant_session(lookup.summary, lookup.part, session_id, began_ms)
    return ListedSessionData(session=session, live=lookup.live)
