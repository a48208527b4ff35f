"""Somebody's sessions whole: recent ones out of Redis, older ones out of Postgres, what is on its way there; each once.

Where one of the stores is away the other answers as far as it can, and says so.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from operator import attrgetter
from typing import Any, Literal

import orjson

from synckairos.audit.archive import MAX_PAGE, Archive
from synckairos.audit.cursor import parse_key, render_cursor
from synckairos.audit.recent import Place, Recent
from synckairos.audit.records import Page, ParticipantSession
from synckairos.errors import StoreUnavailable
from synckairos.quick import quick
from synckairos.store.aside import Aside
from synckairos.store.outbox import Outbox
from synckairos.store.recent import Key, RecentPage
from synckairos.store.sessions import Stored
from synckairos.wire.entry import OutboxEntry
from synckairos.wire.instant import parse_instant
from synckairos.wire.participation import render_pieces, render_row

DAY_MS = 86_400_000
_HOUR_MS = 3_600_000
_NAMES = tuple(field.name for field in fields(ParticipantSession))

_key = attrgetter("key")
_NIL = "00000000-0000-0000-0000-000000000000"
_ALWAYS_COLD = 2**53 - 1


@quick
@dataclass(frozen=True, slots=True)
class Participation:
    """Somebody's part in a session as it is now: its place in the list, and its row as JSON."""

    key: Key
    row: bytes


@dataclass(frozen=True, slots=True)
class Told:
    """A page of somebody's sessions. `alone` is the one store that answered where the other is away.

    Redis alone tells of what began at `since_ms` or later.
    """

    page: Page[Participation]
    alone: Literal["redis", "postgres"] | None = None
    since_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Glance:
    """What Redis knew of somebody at once: sessions with versions on their way, and a page of recent ones."""

    mentioned: list[str]
    recent: RecentPage | None


class Participations:
    """The sessions of any participant, for `GET /participants/{id}/sessions`."""

    def __init__(self, archive: Archive, outbox: Outbox, recent: Recent, aside: Aside) -> None:
        self._archive = archive
        self._aside = aside
        self._outbox = outbox
        self._recent = recent

    async def glance(self, participant_id: str, *, cursor: str | None, limit: int) -> Glance | None:
        """Look at what Redis has for a page; None where it doesn't answer. One round trip.

        Raises ValidationFailed where the cursor isn't one of ours.
        """
        before = parse_key(cursor)
        try:
            # In this order: what is drained in between is then in both, and in neither never.
            mentioned, recent = await asyncio.gather(
                self._outbox.mentioning(participant_id), self._recent.page(participant_id, before, limit)
            )
        except StoreUnavailable:
            return None
        return Glance(mentioned, recent)

    async def page(
        self, participant_id: str, glance: Glance | None, *, days: int, cursor: str | None = None, limit: int = 50
    ) -> Told:
        """Return a page of the sessions of the last days somebody took part in, newest first, after a glance.

        None that isn't the last is empty; `limit` is 1 to 200. A session whose every version is still on its way is
        found unless the backlog of its partition is beyond 5,000 entries. One round trip to Redis alone where the page
        is recent, was asked for before, and nothing on it is on its way.

        Raises:
            ValidationFailed: the cursor isn't one of ours.
            StoreUnavailable: what is asked for lies in a store that doesn't answer.
        """
        limit = min(limit, MAX_PAGE)
        if glance is None:
            return await self._archived_alone(participant_id, days, cursor, limit)
        while True:
            if glance.recent is None:
                glance = await self._fill(participant_id, glance, cursor, limit)
            told = await self._page(participant_id, glance, days, cursor, limit)
            if told.page.items or told.page.next_cursor is None:
                return told
            # All that was on it was deleted meanwhile.
            cursor = told.page.next_cursor
            glance = await self.glance(participant_id, cursor=cursor, limit=limit)
            if glance is None:
                raise StoreUnavailable

    async def _fill(self, participant_id: str, glance: Glance, cursor: str | None, limit: int) -> Glance:
        """Have Redis know the recent sessions; where somebody else is at it, all is as if it knew none."""
        now_ms = await self._recent.now_ms()
        await self._recent.fill(participant_id, now_ms)
        recent = await self._recent.page(participant_id, parse_key(cursor), limit)
        return Glance(glance.mentioned, recent or RecentPage(now_ms, (), False, _ALWAYS_COLD, {}))

    async def _page(self, participant_id: str, glance: Glance, days: int, cursor: str | None, limit: int) -> Told:
        recent, before = glance.recent, parse_key(cursor)
        assert recent is not None
        since_ms = recent.now_ms - days * DAY_MS
        keys = [key for key in recent.keys if key[0] >= since_ms]
        cold: Page[ParticipantSession] = Page(())
        more, alone = recent.more and len(keys) == len(recent.keys), False
        if not more and since_ms < recent.whole_since_ms:
            seam = (recent.whole_since_ms, _NIL)
            try:
                start = seam if before is None else min(before, seam)
                cold = await self._older(participant_id, since_ms, start, max(1, limit - len(keys)))
            except StoreUnavailable:
                if not keys:
                    raise
                alone = True
        older = {part.session_id: part for part in cold.items}
        more = more or cold.next_cursor is not None or alone
        listed = [*keys, *(part.key for part in cold.items)]
        end = listed[-1] if more else None

        def belongs(key: Key) -> bool:
            return key[0] >= since_ms and (before is None or key < before) and (end is None or key > end)

        on_page = {session_id for _, session_id in listed}
        others = [each for each in glance.mentioned if each not in on_page]
        items: list[Participation] = []
        unready: list[Key] = []
        for key in keys:
            found = recent.looked.get(key[1])
            if isinstance(found, bytes):
                items.append(Participation(key, found))
            else:
                unready.append(key)
        places = await self._recent.look(participant_id, unready, recent.looked, [*older, *others])
        if others:
            known = await self._recent.placed(participant_id, others)
            if since_ms < recent.whole_since_ms and not alone:
                known |= await self._archive.known_parts(participant_id, [each for each in others if each not in known])
            # One that stands on another page isn't told here; one that came to stand on this one since the glance is.
            came = [key for each in others if each in known and belongs(key := (known[each], each))]
            if came:
                places |= await self._recent.look(participant_id, came, {})
                unready += came
            others = [each for each in others if each not in known]
        now_ms = recent.now_ms
        moving = [self._as_it_is(key, places[key[1]], participant_id, now_ms) for key in unready]
        moving += [
            self._as_it_is(part.key, replace(places[part.session_id], part=part), participant_id, now_ms)
            for part in cold.items
        ]
        moving += [self._unarchived(each, places[each].live, None, participant_id, now_ms) for each in others]
        if moving:
            told = await asyncio.gather(*moving) if len(moving) > 1 else [await moving[0]]
            items += [each for each in told if each is not None and (each.key[1] in on_page or belongs(each.key))]
            items.sort(key=_key, reverse=True)
        next_key = end
        if len(items) > limit:
            items = items[:limit]
            next_key = items[-1].key
        page = Page(tuple(items), None if next_key is None else render_cursor(*next_key))
        return Told(page, "redis", recent.whole_since_ms) if alone else Told(page)

    async def _older(self, participant_id: str, since_ms: int, before: Key, limit: int) -> Page[ParticipantSession]:
        """Return a page of what Postgres has before a key, which may be kept for a while."""
        hour_ms = since_ms - since_ms % _HOUR_MS  # the same question for as long
        cursor = render_cursor(*before)

        async def ask() -> bytes:
            page = await self._archive.participant_sessions(
                participant_id, since_ms=hour_ms, cursor=cursor, limit=limit
            )
            return orjson.dumps([page.next_cursor, [_plain(part) for part in page.items]])

        answer = await self._aside.read("lists", participant_id, f"{hour_ms} {cursor} {limit}", ask)
        next_cursor, parts = orjson.loads(answer)
        found = tuple(ParticipantSession(**part | {"metadata": part["metadata"].encode()}) for part in parts)
        items = tuple(part for part in found if part.began_at_ms >= since_ms)
        return Page(items, next_cursor if len(items) == len(found) else None)

    async def _archived_alone(self, participant_id: str, days: int, cursor: str | None, limit: int) -> Told:
        now_ms = await self._archive.now_ms()
        page = await self._archive.participant_sessions(
            participant_id, since_ms=now_ms - days * DAY_MS, cursor=cursor, limit=limit
        )
        items = tuple(_told(_at(part, None, now_ms), synced=True) for part in page.items)
        return Told(Page(items, page.next_cursor), "postgres")

    # -- as it is now -------------------------------------------------------------------------------------------------

    async def _unarchived(
        self, session_id: str, stored: Stored | None, known_ms: int | None, participant_id: str, now_ms: int
    ) -> Participation | None:
        """Return somebody's part in a session of which Postgres didn't know that they took part."""
        if stored is None or stored.deleted or not stored.document:
            return None
        session: dict[str, Any] = orjson.loads(stored.document)
        mine = _part_in(session, participant_id)
        if mine is None:
            return None
        began_ms = known_ms or parse_instant(session["session_started_at"] or session["created_at"])
        part = _as_stored(session, mine, began_at_ms=began_ms)
        waiting = await self._outbox.pending(session_id)
        paused_ms, first_ms = _breaks(waiting)
        if first_ms is not None and waiting[0].version > 1:
            # Whoever joined in the middle sees the breaks before as well.
            paused_ms += await self._archive.breaks_ms(session_id, parse_instant(session["created_at"]), first_ms)
        return _told(_at(replace(part, paused_ms=paused_ms), session, now_ms, participant_id), synced=False)

    async def _as_it_is(self, key: Key, place: Place, participant_id: str, now_ms: int) -> Participation | None:
        """Return somebody's part as it is now; None where the session was deleted."""
        part, stored = place.part, place.live
        if place.row:
            return Participation(key, place.row)
        if part is None:
            # As far as Postgres knows; it may have been made again.
            return await self._unarchived(key[1], stored, key[0], participant_id, now_ms)
        if stored is None:
            return _told(_at(part, None, now_ms), synced=True)
        if stored.epoch == part.epoch and stored.version <= part.version:
            session = orjson.loads(stored.document) if part.status == "running" and stored.document else None
            return _told(_at(part, session, now_ms, participant_id), synced=True)
        if stored.deleted:
            return None
        session = orjson.loads(stored.document)
        # Of somebody who left, the archive has all there is to tell.
        left = {"time_used_ms": part.time_used_ms, "cycle_count": part.cycle_count}
        now = _as_stored(session, _part_in(session, participant_id) or left, began_at_ms=part.began_at_ms)
        later = [
            entry
            for entry in await self._outbox.pending(part.session_id)
            if entry.epoch != part.epoch or entry.version > part.version
        ]
        if not later:
            # Drained since the look.
            part = await self._drained_since(part, participant_id)
        paused_ms, first_ms = _breaks(later)
        if first_ms is not None and part.status == "paused":
            paused_ms += max(0, first_ms - part.at_ms)
        now = replace(now, paused_ms=part.paused_ms + paused_ms)
        return _told(_at(now, session, now_ms, participant_id), synced=False)

    async def _drained_since(self, part: ParticipantSession, participant_id: str) -> ParticipantSession:
        try:
            found = await self._archive.participant_parts(participant_id, [part.session_id])
        except StoreUnavailable:
            return part  # it is only so far back in the outbox that nobody looks there
        return found.get(part.session_id, part)


def _plain(part: ParticipantSession) -> dict[str, Any]:
    return {name: getattr(part, name) for name in _NAMES} | {"metadata": part.metadata.decode()}


def _told(part: ParticipantSession, *, synced: bool) -> Participation:
    pieces = render_pieces(
        session_id=part.session_id,
        sync_mode=part.sync_mode,
        status=part.status,
        started_at_ms=part.started_at_ms,
        completed_at_ms=part.completed_at_ms,
        paused_ms=part.paused_ms,
        metadata=part.metadata,
        synced=synced,
    )
    return Participation(part.key, render_row(pieces, b"%d" % part.time_used_ms, b"%d" % part.cycle_count))


def _part_in(session: dict[str, Any], participant_id: str) -> dict[str, Any] | None:
    return next((each for each in session["participants"] if each["participant_id"] == participant_id), None)


def _as_stored(session: dict[str, Any], mine: Mapping[str, Any], *, began_at_ms: int) -> ParticipantSession:
    """Return a part as Redis has it, without its breaks."""
    return ParticipantSession(
        session_id=session["session_id"],
        epoch=session["epoch"],
        version=session["version"],
        sync_mode=session["sync_mode"],
        status=session["status"],
        started_at_ms=_ms(session["session_started_at"]),
        completed_at_ms=_ms(session["session_completed_at"]),
        at_ms=parse_instant(session["updated_at"]),
        time_used_ms=mine["time_used_ms"],
        paused_ms=0,
        cycle_count=mine["cycle_count"],
        metadata=orjson.dumps(session["metadata"]),
        began_at_ms=began_at_ms,
    )


def _at(
    part: ParticipantSession, session: dict[str, Any] | None, now_ms: int, participant_id: str = ""
) -> ParticipantSession:
    """Return a part as of now: with the break under way, and the time that runs, up to the clock's zero."""
    if part.status == "paused":
        return replace(part, paused_ms=part.paused_ms + max(0, now_ms - part.at_ms))
    if session is None or session["active_participant_id"] != participant_id:
        return part
    anchor_ms, deadline_ms = _ms(session["cycle_started_at"]), _ms(session["deadline_at"])
    if part.status != "running" or anchor_ms is None:
        return part
    until_ms = now_ms if deadline_ms is None else min(now_ms, deadline_ms)
    return replace(part, time_used_ms=part.time_used_ms + max(0, until_ms - anchor_ms))


def _breaks(entries: Sequence[OutboxEntry]) -> tuple[int, int | None]:
    """Return how long a session was paused between versions in their order, and when the first took effect."""
    instants: list[int] = [orjson.loads(entry.event)["occurred_at_ms"] for entry in entries]
    statuses = [orjson.loads(entry.state)["status"] for entry in entries]
    pairs = zip(instants, instants[1:], statuses, strict=False)
    paused_ms = sum(max(0, until - at) for at, until, status in pairs if status == "paused")
    return paused_ms, instants[0] if instants else None


def _ms(text: str | None) -> int | None:
    return None if text is None else parse_instant(text)
