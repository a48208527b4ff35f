"""Somebody's part in a session as it is now: what Postgres has of it, brought up to what is live and on its way."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from synckairos.errors import StoreUnavailable
from synckairos.fast_dataclass import fast_dataclass
from synckairos.history.participant_sessions.cache import CachedSession
from synckairos.history.reader import HistoryReader
from synckairos.history.records import ParticipantSession
from synckairos.store.outbox import Outbox
from synckairos.store.participant_sessions import ListKey
from synckairos.wire.instants import parse_instant
from synckairos.wire.outbox_entry import OutboxEntry
from synckairos.wire.participant_session_json import render_pieces, render_row
from synckairos.wire.snapshot import Snapshot
from synckairos.wire.v2_session import is_v2_epoch


@fast_dataclass
@dataclass(frozen=True, slots=True)
class ListItem:
    """Somebody's part in a session as it is now: its place in the list, and its row as JSON."""

    key: ListKey
    row: bytes


class LiveItemBuilder:
    """Brings parts up to now. Raises StoreUnavailable where a store that has to be asked doesn't answer."""

    def __init__(self, history: HistoryReader, outbox: Outbox) -> None:
        self._history = history
        self._outbox = outbox

    async def part(self, key: ListKey, place: CachedSession, participant_id: str, now_ms: int) -> ListItem | None:
        """Return somebody's part as it is now; None where the session was deleted."""
        part, stored = place.part, place.live
        if place.row:
            return ListItem(key, place.row)
        if part is None:
            # As far as Postgres knows; it may have been made again.
            return await self.unarchived(key[1], stored, key[0], participant_id, now_ms)
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
            for entry in await self._outbox.session_entries(part.session_id)
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

    async def unarchived(
        self, session_id: str, stored: Snapshot | None, known_ms: int | None, participant_id: str, now_ms: int
    ) -> ListItem | None:
        """Return somebody's part in a session of which Postgres didn't know that they took part."""
        if stored is None or stored.deleted or not stored.document:
            return None
        session: dict[str, Any] = orjson.loads(stored.document)
        mine = _part_in(session, participant_id)
        if mine is None:
            return None
        began_ms = known_ms or parse_instant(session["session_started_at"] or session["created_at"])
        part = _as_stored(session, mine, began_at_ms=began_ms)
        waiting = await self._outbox.session_entries(session_id)
        paused_ms, first_ms = _breaks(waiting)
        if first_ms is not None and waiting[0].version > 1:
            # Whoever joined in the middle sees the breaks before as well.
            paused_ms += await self._history.paused_ms(session_id, parse_instant(session["created_at"]), first_ms)
        return _told(_at(replace(part, paused_ms=paused_ms), session, now_ms, participant_id), synced=False)

    async def _drained_since(self, part: ParticipantSession, participant_id: str) -> ParticipantSession:
        try:
            found = await self._history.participant_sessions_by_id(participant_id, [part.session_id])
        except StoreUnavailable:
            return part  # it is only so far back in the outbox that nobody looks there
        return found.get(part.session_id, part)


def build_item_from_postgres(part: ParticipantSession, now_ms: int) -> ListItem:
    """Return a part as of now as Postgres alone can tell it: without the time that runs."""
    return _told(_at(part, None, now_ms), synced=True)


def _told(part: ParticipantSession, *, synced: bool) -> ListItem:
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
    return ListItem(part.key, render_row(pieces, b"%d" % part.time_used_ms, b"%d" % part.cycle_count))


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
    """Return a part as of now: with the break under way, and the time that runs, up to the clock's zero.

    Nothing runs in a session that was left in v2.
    """
    if part.status == "paused" and not is_v2_epoch(part.epoch):
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
    statuses = [orjson.loads(entry.document)["status"] for entry in entries]
    pairs = zip(instants, instants[1:], statuses, strict=False)
    paused_ms = sum(max(0, until - at) for at, until, status in pairs if status == "paused")
    return paused_ms, instants[0] if instants else None


def _ms(text: str | None) -> int | None:
    return None if text is None else parse_instant(text)
