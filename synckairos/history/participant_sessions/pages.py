"""Somebody's sessions whole: recent ones out of Redis, older ones out of Postgres, what is on its way there; each once.

Where one of the stores is away the other answers as far as it can, and says so.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from operator import attrgetter
from typing import Any, Literal

import orjson

from synckairos.errors import StoreUnavailable
from synckairos.fast_dataclass import fast_dataclass
from synckairos.history.page_cursor import parse_list_cursor, render_cursor
from synckairos.history.participant_sessions.cache import ParticipantSessionCache
from synckairos.history.participant_sessions.live_items import (
    ListItem,
    LiveItemBuilder,
    build_item_from_postgres,
)
from synckairos.history.reader import MAX_PAGE, HistoryReader
from synckairos.history.records import Page, ParticipantSession
from synckairos.store.outbox import Outbox
from synckairos.store.participant_sessions import CachedPage, ListKey
from synckairos.store.read_cache import ReadCache

DAY_MS = 86_400_000
_HOUR_MS = 3_600_000
_NAMES = tuple(field.name for field in fields(ParticipantSession))

_key = attrgetter("key")
_NIL = "00000000-0000-0000-0000-000000000000"
_ALWAYS_COLD = 2**53 - 1


@dataclass(frozen=True, slots=True)
class ParticipantSessionPage:
    """A page of somebody's sessions. `alone` is the one store that answered where the other is away.

    Redis alone tells of what began at `since_ms` or later.
    """

    page: Page[ListItem]
    alone: Literal["redis", "postgres"] | None = None
    since_ms: int | None = None


@dataclass(frozen=True, slots=True)
class PageLookup:
    """What Redis knew of somebody at once: sessions with versions on their way, and a page of recent ones."""

    mentioned: list[str]
    recent: CachedPage | None


@fast_dataclass
@dataclass(frozen=True, slots=True)
class _Span:
    """What a page is of: from before a key, back to its last one where more lies behind, never before an instant."""

    since_ms: int
    before: ListKey | None
    end: ListKey | None

    def has(self, key: ListKey) -> bool:
        return (
            key[0] >= self.since_ms
            and (self.before is None or key < self.before)
            and (self.end is None or key > self.end)
        )


class ParticipantSessions:
    """The sessions of any participant, for `GET /participants/{id}/sessions`."""

    def __init__(
        self, history: HistoryReader, outbox: Outbox, recent: ParticipantSessionCache, aside: ReadCache
    ) -> None:
        self._history = history
        self._aside = aside
        self._outbox = outbox
        self._recent = recent
        self._current = LiveItemBuilder(history, outbox)

    async def look_up(self, participant_id: str, *, cursor: str | None, limit: int) -> PageLookup | None:
        """Look at what Redis has for a page; None where it doesn't answer. One round trip.

        Raises ValidationFailed where the cursor isn't one of ours.
        """
        before = parse_list_cursor(cursor)
        try:
            # In this order: what is drained in between is then in both, and in neither never.
            mentioned, recent = await asyncio.gather(
                self._outbox.sessions_of_participant(participant_id), self._recent.page(participant_id, before, limit)
            )
        except StoreUnavailable:
            return None
        return PageLookup(mentioned, recent)

    async def page(
        self, participant_id: str, lookup: PageLookup | None, *, days: int, cursor: str | None = None, limit: int = 50
    ) -> ParticipantSessionPage:
        """Return a page of the sessions of the last days somebody took part in, newest first, after a lookup.

        None that isn't the last is empty; `limit` is 1 to 200. A session whose every version is still on its way is
        found unless the backlog of its partition is beyond 5,000 entries. One round trip to Redis alone where the page
        is recent, was asked for before, and nothing on it is on its way.

        Raises:
            ValidationFailed: the cursor isn't one of ours.
            StoreUnavailable: what is asked for lies in a store that doesn't answer.
        """
        limit = min(limit, MAX_PAGE)
        if lookup is None:
            return await self._archived_alone(participant_id, days, cursor, limit)
        while True:
            if lookup.recent is None:
                lookup = await self._fill(participant_id, lookup, cursor, limit)
            told = await self._page(participant_id, lookup, days, cursor, limit)
            if told.page.items or told.page.next_cursor is None:
                return told
            # All that was on it was deleted meanwhile.
            cursor = told.page.next_cursor
            lookup = await self.look_up(participant_id, cursor=cursor, limit=limit)
            if lookup is None:
                raise StoreUnavailable

    async def _fill(self, participant_id: str, lookup: PageLookup, cursor: str | None, limit: int) -> PageLookup:
        """Have Redis know the recent sessions; where somebody else is at it, all is as if it knew none."""
        now_ms = await self._recent.now_ms()
        await self._recent.fill(participant_id, now_ms)
        recent = await self._recent.page(participant_id, parse_list_cursor(cursor), limit)
        return PageLookup(lookup.mentioned, recent or CachedPage(now_ms, (), False, _ALWAYS_COLD, {}))

    async def _page(
        self, participant_id: str, lookup: PageLookup, days: int, cursor: str | None, limit: int
    ) -> ParticipantSessionPage:
        recent, before = lookup.recent, parse_list_cursor(cursor)
        assert recent is not None
        since_ms = recent.now_ms - days * DAY_MS
        keys = [key for key in recent.keys if key[0] >= since_ms]
        more, alone = recent.has_more and len(keys) == len(recent.keys), False
        older: Page[ParticipantSession] = Page(())
        if not more and since_ms < recent.complete_since_ms:
            seam = (recent.complete_since_ms, _NIL)
            try:
                start = seam if before is None else min(before, seam)
                older = await self._older(participant_id, since_ms, start, max(1, limit - len(keys)))
            except StoreUnavailable:
                if not keys:
                    raise
                alone = True
        listed = [*keys, *(part.key for part in older.items)]
        more = more or older.next_cursor is not None or alone
        end = listed[-1] if more else None
        items: list[ListItem] = []
        unready: list[ListKey] = []
        for key in keys:
            found = recent.lookups.get(key[1])
            if isinstance(found, bytes):
                items.append(ListItem(key, found))
            else:
                unready.append(key)
        on_page = {session_id for _, session_id in listed}
        others = [each for each in lookup.mentioned if each not in on_page]
        if unready or older.items or others:
            span = _Span(since_ms, before, end)
            moving = await self._moving(participant_id, recent, span, unready, older.items, others, alone)
            items += [each for each in moving if each.key[1] in on_page or span.has(each.key)]
            items.sort(key=_key, reverse=True)
        next_key = end
        if len(items) > limit:
            items = items[:limit]
            next_key = items[-1].key
        page = Page(tuple(items), None if next_key is None else render_cursor(*next_key))
        return (
            ParticipantSessionPage(page, "redis", recent.complete_since_ms) if alone else ParticipantSessionPage(page)
        )

    async def _moving(
        self,
        participant_id: str,
        recent: CachedPage,
        span: _Span,
        unready: list[ListKey],
        older: Sequence[ParticipantSession],
        others: list[str],
        alone: bool,
    ) -> list[ListItem]:
        """Return parts as they are now: of the page what Redis hasn't ready, and of `others` what isn't elsewhere."""
        ids = [*(part.session_id for part in older), *others]
        places = await self._recent.look(participant_id, unready, recent.lookups, ids)
        if others:
            known = await self._recent.placed(participant_id, others)
            if span.since_ms < recent.complete_since_ms and not alone:
                known |= await self._history.known_session_starts(
                    participant_id, [each for each in others if each not in known]
                )
            # One that stands on another page isn't told here; one that came to stand on this one since the lookup is.
            came = [key for each in others if each in known and span.has(key := (known[each], each))]
            if came:
                places |= await self._recent.look(participant_id, came, {})
                unready = [*unready, *came]
            others = [each for each in others if each not in known]
        now_ms, current = recent.now_ms, self._current
        moving = [current.part(key, places[key[1]], participant_id, now_ms) for key in unready]
        moving += [
            current.part(part.key, replace(places[part.session_id], part=part), participant_id, now_ms)
            for part in older
        ]
        moving += [current.unarchived(each, places[each].live, None, participant_id, now_ms) for each in others]
        told = await asyncio.gather(*moving) if len(moving) > 1 else [await each for each in moving]
        return [each for each in told if each is not None]

    async def _older(self, participant_id: str, since_ms: int, before: ListKey, limit: int) -> Page[ParticipantSession]:
        """Return a page of what Postgres has before a key, which may be kept for a while."""
        hour_ms = since_ms - since_ms % _HOUR_MS  # the same question for as long
        cursor = render_cursor(*before)

        async def ask() -> bytes:
            page = await self._history.participant_sessions(
                participant_id, since_ms=hour_ms, cursor=cursor, limit=limit
            )
            return orjson.dumps([page.next_cursor, [_plain(part) for part in page.items]])

        answer = await self._aside.read("lists", participant_id, f"{hour_ms} {cursor} {limit}", ask)
        next_cursor, parts = orjson.loads(answer)
        found = tuple(ParticipantSession(**part | {"metadata": part["metadata"].encode()}) for part in parts)
        items = tuple(part for part in found if part.began_at_ms >= since_ms)
        return Page(items, next_cursor if len(items) == len(found) else None)

    async def _archived_alone(
        self, participant_id: str, days: int, cursor: str | None, limit: int
    ) -> ParticipantSessionPage:
        now_ms = await self._history.now_ms()
        page = await self._history.participant_sessions(
            participant_id, since_ms=now_ms - days * DAY_MS, cursor=cursor, limit=limit
        )
        items = tuple(build_item_from_postgres(part, now_ms) for part in page.items)
        return ParticipantSessionPage(Page(items, page.next_cursor), "postgres")


def _plain(part: ParticipantSession) -> dict[str, Any]:
    return {name: getattr(part, name) for name in _NAMES} | {"metadata": part.metadata.decode()}
