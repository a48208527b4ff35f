"""Pages of a participant's sessions: recent sessions from Redis, older ones from Postgres, new ones from the outbox.

Each session is on exactly one page. If Redis or Postgres is unreachable, the page has the sessions of the other store,
and its `only_store` is the name of the store that answered.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

import orjson
from msgspec.structs import fields

from synckairos.errors import InvalidStoredData, StoreUnavailable
from synckairos.frozen_replace import replace
from synckairos.history.page_cursor import parse_list_cursor, render_cursor
from synckairos.history.page_size import MAX_PAGE_ITEMS
from synckairos.history.participant_sessions.cache import ParticipantSessionCache
from synckairos.history.participant_sessions.list_item_builder import ListItemBuilder, build_item_from_postgres
from synckairos.history.participant_sessions.page_merge import (
    ListItem,
    OlderSessionsQuery,
    PageRange,
    merge_page,
    select_cached_part,
)
from synckairos.history.reader import HistoryReader
from synckairos.history.records import Page, ParticipantSession
from synckairos.session_names import bare_id
from synckairos.store.outbox import Outbox
from synckairos.store.participant_sessions import CachedPage, ListKey
from synckairos.store.read_cache import ReadCache
from synckairos.telemetry.invalid_data import reporting_invalid_data

DAY_MS = 86_400_000

_HOUR_MS = 3_600_000
_NAMES = tuple(field.name for field in fields(ParticipantSession))
_NEVER_MS = 2**53 - 1  # an instant after all others, so that a cached page that is complete since then lists no session


@dataclass(frozen=True, slots=True)
class ParticipantSessionPage:
    """A page of a participant's sessions.

    - `only_store`: the store from which all items come, because the other store was needed and could not be used. None
      if the page is complete.
    - `since_ms`: if `only_store` is `redis`, Redis lists only sessions whose `began_at_ms` is at least this instant, so
      that older sessions can be missing. Otherwise None. See `ParticipantSession` for `began_at_ms`.
    """

    page: Page[ListItem]
    only_store: Literal["redis", "postgres"] | None = None
    since_ms: int | None = None


@dataclass(frozen=True, slots=True)
class RedisPageData:
    """Result of a look-up in Redis for one page.

    `in_outbox` has the ids of the participant's sessions with versions in the outbox. `recent` is the cached page; None
    if Redis has no complete set of the participant.
    """

    in_outbox: list[str]
    recent: CachedPage | None


@dataclass(frozen=True, slots=True)
class _Sources:
    """The sessions of one page by their source.

    - `recent`: the cached page.
    - `unready`: positions of the cached page whose items must be built.
    - `older`: sessions from Postgres.
    - `in_outbox`: ids of sessions that only the outbox listed.
    """

    recent: CachedPage
    page_range: PageRange
    unready: list[ListKey]
    older: Sequence[ParticipantSession]
    in_outbox: list[str]
    is_postgres_reachable: bool


class ParticipantSessions:
    """Reader of the lists of participants' sessions, for `GET /v1/participants/{id}/sessions`.

    A participant is given by its name in its tenant. All sessions in its list are of the same tenant, so they are given
    by their ids.
    """

    def __init__(
        self, history: HistoryReader, outbox: Outbox, cache: ParticipantSessionCache, read_cache: ReadCache
    ) -> None:
        self._history = history
        self._outbox = outbox
        self._cache = cache
        self._read_cache = read_cache
        self._live_items = ListItemBuilder(history, outbox)

    async def read_page_from_redis(
        self, participant_name: str, *, cursor: str | None, limit: int
    ) -> RedisPageData | None:
        """Read the cached page of a participant and the ids of its sessions in the outbox, in one round trip to Redis.

        `cursor` is the `next_cursor` of the previous page; None for the first page. Return None if Redis is unreachable
        or its data are invalid; invalid data are deleted.

        Raises: ValidationFailed if the cursor is invalid.
        """
        before = parse_list_cursor(cursor)
        try:
            # Redis runs the read of the outbox first. A version that is drained between the two reads is then in both
            # results. In the other order it could be missing in both.
            in_outbox, recent = await asyncio.gather(
                self._outbox.participant_session_names(participant_name),
                self._cache.read_page(participant_name, before, limit),
            )
        except InvalidStoredData:
            with suppress(StoreUnavailable):
                await self._cache.discard_invalid_caches(participant_name, [])
            return None
        except StoreUnavailable:
            return None
        return RedisPageData([*map(bare_id, in_outbox)], recent)

    async def read_page(
        self,
        participant_name: str,
        lookup: RedisPageData | None,
        *,
        days: int,
        cursor: str | None = None,
        limit: int = 50,
    ) -> ParticipantSessionPage:
        """Return a page of a participant's sessions with `began_at_ms` in the last `days` days, newest first.

        `lookup` is the result of `read_page_from_redis` for the same page. If it is None, the page is read from
        Postgres alone. `cursor` is the `next_cursor` of the previous page; None for the first page. `limit` is the
        maximum number of sessions, from 1 to 200. Only the final page can be empty. A session whose versions are all in
        the outbox is missing only if the participant has more than 1,000 such sessions in a partition. If the page is
        cached and the outbox has no versions of its sessions, no further round trip is needed.

        Raises:
            ValidationFailed: The cursor is invalid.
            StoreUnavailable: Redis fails during the call, or Postgres is unreachable and Redis has no session of this
                page.
        """
        limit = min(limit, MAX_PAGE_ITEMS)
        if lookup is None:
            return await self._page_from_postgres(participant_name, days, cursor, limit)
        while True:
            if lookup.recent is None:
                lookup = await self._fill_cache(participant_name, lookup, cursor, limit)
            try:
                with reporting_invalid_data(f":recent:{participant_name}"):
                    page = await self._build_page(participant_name, lookup, days, cursor, limit)
            except InvalidStoredData:
                with suppress(StoreUnavailable):
                    await self._cache.discard_invalid_caches(
                        participant_name, list(lookup.recent.lookups) if lookup.recent else []
                    )
                return await self._page_from_postgres(participant_name, days, cursor, limit)
            if page.page.items or page.page.next_cursor is None:
                return page
            # All sessions of this page were deleted in the meantime. Continue with the next page.
            cursor = page.page.next_cursor
            lookup = await self.read_page_from_redis(participant_name, cursor=cursor, limit=limit)
            if lookup is None:
                raise StoreUnavailable

    async def _fill_cache(
        self, participant_name: str, lookup: RedisPageData, cursor: str | None, limit: int
    ) -> RedisPageData:
        """Fill the cache of a participant and read the cached page again.

        If another reader fills the cache now, return an empty cached page. The caller must then read all sessions from
        Postgres.
        """
        now_ms = await self._cache.redis_now_ms()
        await self._cache.fill_from_postgres(participant_name, now_ms)
        recent = await self._cache.read_page(participant_name, parse_list_cursor(cursor), limit)
        return RedisPageData(lookup.in_outbox, recent or CachedPage(now_ms, (), False, _NEVER_MS, {}))

    async def _build_page(
        self, participant_name: str, lookup: RedisPageData, days: int, cursor: str | None, limit: int
    ) -> ParticipantSessionPage:
        recent, before = lookup.recent, parse_list_cursor(cursor)
        assert recent is not None
        since_ms = recent.now_ms - days * DAY_MS
        selected = select_cached_part(recent, since_ms, before, limit)
        older, is_postgres_reachable = await self._load_older(
            participant_name, since_ms, selected.older, is_required=not selected.keys
        )
        listed = [*selected.keys, *(session.sort_key for session in older.items)]
        has_more = selected.has_more or older.next_cursor is not None or not is_postgres_reachable
        page_range = PageRange(since_ms, before, listed[-1] if has_more else None)
        ready = [ListItem(key, row) for key in selected.keys if isinstance(row := recent.lookups.get(key[1]), bytes)]
        ready_ids = {item.key[1] for item in ready}
        listed_ids = {session_id for _, session_id in listed}
        built = await self._build_items(
            participant_name,
            _Sources(
                recent,
                page_range,
                [key for key in selected.keys if key[1] not in ready_ids],
                older.items,
                [each for each in lookup.in_outbox if each not in listed_ids],
                is_postgres_reachable,
            ),
        )
        items, next_key = merge_page(listed, [*ready, *built], page_range, limit)
        page = Page(items, None if next_key is None else render_cursor(*next_key))
        if is_postgres_reachable:
            return ParticipantSessionPage(page)
        return ParticipantSessionPage(page, "redis", recent.complete_since_ms)

    async def _build_items(self, participant_name: str, sources: _Sources) -> list[ListItem]:
        """Build the items of sessions for which the cache has no complete row."""
        unready, older, in_outbox = sources.unready, sources.older, sources.in_outbox
        if not (unready or older or in_outbox):
            return []
        recent = sources.recent
        live_ids = [*(session.session_id for session in older), *in_outbox]
        cached = await self._cache.load_listed_sessions(participant_name, unready, recent.lookups, live_ids)
        if in_outbox:
            begins = await self._load_begins(participant_name, sources)
            # A session in the outbox can also have a list position. If the position is in the range of this page, but
            # the look-up did not list the session, then the session was drained after the look-up.
            drained = [
                key for each in in_outbox if each in begins and sources.page_range.contains(key := (begins[each], each))
            ]
            if drained:
                cached |= await self._cache.load_listed_sessions(participant_name, drained, {})
                unready = [*unready, *drained]
            in_outbox = [each for each in in_outbox if each not in begins]
        now_ms, build = recent.now_ms, self._live_items
        items = [build.build_item(key, cached[key[1]], participant_name, now_ms) for key in unready]
        items += [
            build.build_item(
                session.sort_key, replace(cached[session.session_id], session=session), participant_name, now_ms
            )
            for session in older
        ]
        items += [
            build.build_unaudited_item(each, cached[each].live, None, participant_name, now_ms) for each in in_outbox
        ]
        built = await asyncio.gather(*items) if len(items) > 1 else [await each for each in items]
        return [each for each in built if each is not None]

    async def _load_begins(self, participant_name: str, sources: _Sources) -> dict[str, int]:
        """Return `began_at_ms` by session id, for sessions in the outbox that Redis or Postgres also lists."""
        begins = await self._cache.load_cached_start_times(participant_name, sources.in_outbox)
        if sources.page_range.since_ms < sources.recent.complete_since_ms and sources.is_postgres_reachable:
            unknown = [each for each in sources.in_outbox if each not in begins]
            begins |= await self._history.participant_sessions.find_starts(participant_name, unknown)
        return begins

    async def _load_older(
        self, participant_name: str, since_ms: int, query: OlderSessionsQuery | None, *, is_required: bool
    ) -> tuple[Page[ParticipantSession], bool]:
        """Return a page of older sessions, and whether Postgres is reachable. `query` None returns an empty page.

        Raises: StoreUnavailable if Postgres is unreachable and `is_required` is True.
        """
        if query is None:
            return Page(()), True
        try:
            return await self._read_older(participant_name, since_ms, query), True
        except StoreUnavailable:
            if is_required:
                raise
            return Page(()), False

    async def _read_older(
        self, participant_name: str, since_ms: int, query: OlderSessionsQuery
    ) -> Page[ParticipantSession]:
        """Return a page of older sessions from the read cache, or from Postgres if the read cache does not have it."""
        hour_ms = since_ms - since_ms % _HOUR_MS  # rounded down to an hour, so that requests share the cached answer
        cursor = render_cursor(*query.before)

        async def run_query() -> bytes:
            page = await self._history.participant_sessions.read_page(
                participant_name, since_ms=hour_ms, cursor=cursor, limit=query.limit
            )
            return orjson.dumps([page.next_cursor, [_to_dict(session) for session in page.items]])

        key = f"{hour_ms} {cursor} {query.limit}"
        found, next_cursor = await self._read_cache.read_through(
            "lists", participant_name, key, run_query, _parse_sessions
        )
        items = tuple(session for session in found if session.began_at_ms >= since_ms)
        return Page(items, next_cursor if len(items) == len(found) else None)

    async def _page_from_postgres(
        self, participant_name: str, days: int, cursor: str | None, limit: int
    ) -> ParticipantSessionPage:
        now_ms = await self._history.now_ms()
        page = await self._history.participant_sessions.read_page(
            participant_name, since_ms=now_ms - days * DAY_MS, cursor=cursor, limit=limit
        )
        items = tuple(build_item_from_postgres(session, now_ms) for session in page.items)
        return ParticipantSessionPage(Page(items, page.next_cursor), "postgres")


def _parse_sessions(answer: bytes) -> tuple[tuple[ParticipantSession, ...], str | None]:
    next_cursor, sessions = orjson.loads(answer)
    return tuple(_from_dict(each) for each in sessions), next_cursor


def _to_dict(session: ParticipantSession) -> dict[str, Any]:
    return {name: getattr(session, name) for name in _NAMES} | {"metadata": session.metadata.decode()}


def _from_dict(values: dict[str, Any]) -> ParticipantSession:
    return ParticipantSession(**values | {"metadata": values["metadata"].encode()})
