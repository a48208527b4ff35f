"""Somebody's sessions whole: what Postgres has of them, and what is still on its way there, each once."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from synckairos.audit.archive import MAX_PAGE, Archive
from synckairos.audit.cursor import parse_cursor, render_cursor
from synckairos.audit.records import Page, ParticipantSession
from synckairos.store.outbox import Outbox
from synckairos.store.sessions import SessionStore, Stored
from synckairos.wire.entry import OutboxEntry
from synckairos.wire.instant import parse_instant


@dataclass(frozen=True, slots=True)
class Participation:
    """Somebody's part in a session as it is now; `synced` where Postgres has that version."""

    part: ParticipantSession
    synced: bool


class Participations:
    """The sessions of any participant, for `GET /participants/{id}/sessions`."""

    def __init__(self, archive: Archive, outbox: Outbox, store: SessionStore) -> None:
        self._archive = archive
        self._outbox = outbox
        self._store = store

    async def page(
        self, participant_id: str, *, since_ms: int, now_ms: int, cursor: str | None = None, limit: int = 50
    ) -> Page[Participation]:
        """Return a page of the sessions somebody took part in that began since an instant, newest first.

        None that isn't the last is empty; `limit` is 1 to 200. A session whose every version is still on its way is
        found unless the backlog of its partition is beyond 5,000 entries.

        Raises:
            ValidationFailed: the cursor isn't one of ours, or the limit is out of range.
            StoreUnavailable: Redis or Postgres doesn't answer.
        """
        while True:
            page = await self._page(participant_id, since_ms, now_ms, cursor, limit)
            if page.items or page.next_cursor is None:
                return page
            # All that was on it was deleted meanwhile.
            cursor = page.next_cursor

    async def _page(
        self, participant_id: str, since_ms: int, now_ms: int, cursor: str | None, limit: int
    ) -> Page[Participation]:
        # In this order: what is drained in between is then in both, and in neither never.
        mentioned = await self._outbox.mentioning(participant_id)
        page = await self._archive.participant_sessions(
            participant_id, since_ms=since_ms, now_ms=now_ms, cursor=cursor, limit=limit
        )
        fresh = await self._fresh(participant_id, mentioned, now_ms)
        before = parse_cursor(cursor, int, str) if cursor else None
        keyed = [
            (key, each)
            for each in fresh
            if (key := _key(each.part))[0] >= since_ms and (before is None or key < before)
        ]
        if page.next_cursor is not None:
            # What is older than the archive's page belongs behind what the archive has next.
            last = _key(page.items[-1])
            keyed = [pair for pair in keyed if pair[0] > last]
        known = await asyncio.gather(*(self._as_it_is(part, participant_id, now_ms) for part in page.items))
        keyed += [(_key(part), each) for part, each in zip(page.items, known, strict=True) if each is not None]
        keyed.sort(key=lambda pair: pair[0], reverse=True)
        limit = min(limit, MAX_PAGE)
        items = keyed[:limit]
        if len(keyed) > limit:
            return Page(tuple(each for _, each in items), render_cursor(*items[-1][0]))
        return Page(tuple(each for _, each in items), page.next_cursor)

    async def _fresh(self, participant_id: str, session_ids: Sequence[str], now_ms: int) -> list[Participation]:
        """Return somebody's parts in those of these sessions in which Postgres doesn't know of them."""
        if not session_ids:
            return []
        known = await self._archive.known_parts(participant_id, session_ids)
        unknown = [session_id for session_id in session_ids if session_id not in known]
        found = await asyncio.gather(*(self._unarchived(each, participant_id, now_ms) for each in unknown))
        return [each for each in found if each is not None]

    async def _unarchived(self, session_id: str, participant_id: str, now_ms: int) -> Participation | None:
        stored = (await self._store.load(session_id)).stored
        if stored is None or stored.deleted:
            return None
        session: dict[str, Any] = orjson.loads(stored.document)
        created_ms = parse_instant(session["created_at"])
        nothing = ParticipantSession(session_id, "", 0, "", "", None, None, 0, 0, 0, {}, created_ms)
        mine = _part_in(session, participant_id)
        if mine is None:
            return None
        part = _as_stored(nothing, stored, session, mine)
        paused_ms = _breaks_ms(await self._outbox.pending(session_id), now_ms)
        began_ms = created_ms if part.started_at_ms is None else part.started_at_ms
        return Participation(replace(part, paused_ms=paused_ms, began_at_ms=began_ms), synced=False)

    async def _as_it_is(self, part: ParticipantSession, participant_id: str, now_ms: int) -> Participation | None:
        """Return an archived part as it is now; None where its session was deleted meanwhile."""
        stored = (await self._store.load(part.session_id)).stored
        if stored is None or (stored.epoch, stored.version) == (part.epoch, part.version):
            return Participation(part, synced=True)
        if stored.deleted:
            return None
        session: dict[str, Any] = orjson.loads(stored.document)
        # Of somebody who left, the archive has all there is to tell.
        left = {"time_used_ms": part.time_used_ms, "cycle_count": part.cycle_count}
        now = _as_stored(part, stored, session, _part_in(session, participant_id) or left)
        later = [
            entry
            for entry in await self._outbox.pending(part.session_id)
            if entry.epoch != part.epoch or entry.version > part.version
        ]
        paused_ms = part.paused_ms + _breaks_ms(later, now_ms)
        if later and part.status == "paused":
            # The archive took the break for one under way: it ended with the next version.
            paused_ms -= now_ms - _at_ms(later[0])
        return Participation(replace(now, paused_ms=max(0, paused_ms)), synced=False)


def _key(part: ParticipantSession) -> tuple[int, str]:
    return part.began_at_ms, part.session_id


def _part_in(session: dict[str, Any], participant_id: str) -> dict[str, Any] | None:
    return next((each for each in session["participants"] if each["participant_id"] == participant_id), None)


def _as_stored(
    part: ParticipantSession, stored: Stored, session: dict[str, Any], mine: dict[str, Any]
) -> ParticipantSession:
    """Return a part as Redis has it; its breaks and its place in the list stay as they were."""
    return replace(
        part,
        epoch=stored.epoch,
        version=stored.version,
        sync_mode=session["sync_mode"],
        status=session["status"],
        started_at_ms=_ms(session["session_started_at"]),
        completed_at_ms=_ms(session["session_completed_at"]),
        time_used_ms=mine["time_used_ms"],
        cycle_count=mine["cycle_count"],
        metadata=session["metadata"],
    )


def _breaks_ms(entries: Sequence[OutboxEntry], now_ms: int) -> int:
    """Return how long a session was paused after versions in their order, the last one's break up to now."""
    instants = [*(_at_ms(entry) for entry in entries), now_ms]
    statuses = (orjson.loads(entry.state)["status"] for entry in entries)
    return sum(
        max(0, until - at)
        for at, until, status in zip(instants, instants[1:], statuses, strict=False)
        if status == "paused"
    )


def _at_ms(entry: OutboxEntry) -> int:
    at_ms: int = orjson.loads(entry.event)["occurred_at_ms"]
    return at_ms


def _ms(text: str | None) -> int | None:
    return None if text is None else parse_instant(text)
