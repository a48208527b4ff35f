"""Builder of list items with current values, from Postgres, the session in Redis, and the outbox."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from synckairos.errors import StoreUnavailable
from synckairos.frozen_replace import replace
from synckairos.history.participant_sessions.cache import ListedSessionData
from synckairos.history.participant_sessions.page_merge import ListItem
from synckairos.history.reader import HistoryReader
from synckairos.history.records import ParticipantSession
from synckairos.history.used_time_reader import running_clock_instants
from synckairos.session_names import bare_id, in_same_tenant
from synckairos.store.outbox import Outbox
from synckairos.store.participant_sessions import ListKey
from synckairos.wire.instants import parse_instant_ms
from synckairos.wire.outbox_entry import OutboxEntry
from synckairos.wire.participant_session_json import render_row, render_row_template
from synckairos.wire.snapshot import SessionSnapshot
from synckairos.wire.v2_state_parser import is_v2_epoch


class ListItemBuilder:
    """Builds items of a participant's list with the values of the present instant.

    Both methods raise StoreUnavailable if a store that they need is unreachable.
    """

    def __init__(self, history: HistoryReader, outbox: Outbox) -> None:
        self._history = history
        self._outbox = outbox

    async def build_item(
        self, key: ListKey, cached: ListedSessionData, participant_name: str, now_ms: int
    ) -> ListItem | None:
        """Build the item of a session that Redis or Postgres lists at the position `key`.

        `cached` is the cached data of the session. `now_ms` is the present instant, ms since the Unix epoch. Return
        None if the session was deleted, or if neither Postgres nor the document of the session lists the participant.
        """
        session, live = cached.session, cached.live
        if cached.row:
            return ListItem(key, cached.row)
        if session is None:
            # Postgres does not list this session for the participant. The session may have been deleted and created
            # again.
            return await self.build_unaudited_item(key[1], live, key[0], participant_name, now_ms)
        if live is None:
            return _render_item(_as_of(session, None, now_ms), synced=True)
        if live.epoch == session.epoch and live.version <= session.version:
            document = orjson.loads(live.document) if session.status == "running" and live.document else None
            return _render_item(_as_of(session, document, now_ms, bare_id(participant_name)), synced=True)
        if live.deleted:
            return None
        return await self._item_of_later_version(session, live, participant_name, now_ms)

    async def build_unaudited_item(
        self, session_id: str, live: SessionSnapshot | None, began_ms: int | None, participant_name: str, now_ms: int
    ) -> ListItem | None:
        """Build the item of a session that Postgres does not list for the participant.

        `live` is the session's snapshot in Redis, None if Redis does not have the session. `began_ms` is the
        `began_at_ms` of the session. If it is None, it is taken from the document. `now_ms` is the present instant. All
        instants are in ms since the Unix epoch. Return None if Redis has no undeleted session, or if the participant is
        not in the session.
        """
        if live is None or live.deleted or not live.document:
            return None
        document: dict[str, Any] = orjson.loads(live.document)
        values = _find_participant(document, bare_id(participant_name))
        if values is None:
            return None
        began_ms = began_ms or parse_instant_ms(document["session_started_at"] or document["created_at"])
        session = _from_document(document, values, began_at_ms=began_ms)
        name = in_same_tenant(participant_name, session_id)
        entries = await self._outbox.read_session_entries(name)
        paused_ms, first_ms = _pauses(entries)
        if first_ms is not None and entries[0].version > 1:
            # The list also counts pauses from the time before the participant joined.
            paused_ms += await self._history.sum_paused_ms(name, parse_instant_ms(document["created_at"]), first_ms)
        if (recorded_ms := _recorded_pause_ms(document)) is not None:
            paused_ms = recorded_ms
        current = _as_of(replace(session, paused_ms=paused_ms), document, now_ms, bare_id(participant_name))
        return _render_item(current, synced=False)

    async def _item_of_later_version(
        self, session: ParticipantSession, live: SessionSnapshot, participant_name: str, now_ms: int
    ) -> ListItem:
        """Build the item of a session of which Redis has a later version (`live`) than Postgres (`session`)."""
        document = orjson.loads(live.document)
        # If the participant was removed, the document has no values of the participant. Use the values in Postgres.
        values = _find_participant(document, bare_id(participant_name))
        values = values or {"time_used_ms": session.time_used_ms, "cycle_count": session.cycle_count}
        current = _from_document(document, values, began_at_ms=session.began_at_ms)
        name = in_same_tenant(participant_name, session.session_id)
        later = [
            entry
            for entry in await self._outbox.read_session_entries(name)
            if entry.epoch != session.epoch or entry.version > session.version
        ]
        if not later:
            # The later versions were drained after the look-up.
            session = await self._read_again(session, participant_name)
        paused_ms, first_ms = _pauses(later)
        if first_ms is not None and session.status == "paused":
            paused_ms += max(0, first_ms - session.at_ms)
        recorded_ms = _recorded_pause_ms(document)
        current = replace(current, paused_ms=session.paused_ms + paused_ms if recorded_ms is None else recorded_ms)
        return _render_item(_as_of(current, document, now_ms, bare_id(participant_name)), synced=False)

    async def _read_again(self, session: ParticipantSession, participant_name: str) -> ParticipantSession:
        try:
            found = await self._history.participant_sessions.read_by_id(participant_name, [session.session_id])
        except StoreUnavailable:
            return session  # the later versions are in the outbox, but among the entries that reads do not cover
        return found.get(session.session_id, session)


def build_item_from_postgres(session: ParticipantSession, now_ms: int) -> ListItem:
    """Build an item from the values in Postgres alone, for use while Redis is unreachable.

    `now_ms` is the present instant. A running pause counts until then. The used time does not include a running turn.
    """
    return _render_item(_as_of(session, None, now_ms), synced=True)


def _render_item(session: ParticipantSession, *, synced: bool) -> ListItem:
    pieces = render_row_template(
        session_id=session.session_id,
        sync_mode=session.sync_mode,
        status=session.status,
        started_at_ms=session.started_at_ms,
        completed_at_ms=session.completed_at_ms,
        paused_ms=session.paused_ms,
        metadata=session.metadata,
        synced=synced,
    )
    return ListItem(session.sort_key, render_row(pieces, b"%d" % session.time_used_ms, b"%d" % session.cycle_count))


def _find_participant(document: dict[str, Any], participant_id: str) -> dict[str, Any] | None:
    return next((each for each in document["participants"] if each["participant_id"] == participant_id), None)


def _from_document(document: dict[str, Any], values: Mapping[str, Any], *, began_at_ms: int) -> ParticipantSession:
    """Build a `ParticipantSession` from a session document. Set `paused_ms` to 0, because the document lacks pauses.

    `values` has the participant's `time_used_ms` and `cycle_count`.
    """
    return ParticipantSession(
        session_id=document["session_id"],
        epoch=document["epoch"],
        version=document["version"],
        sync_mode=document["sync_mode"],
        status=document["status"],
        started_at_ms=_optional_ms(document["session_started_at"]),
        completed_at_ms=_optional_ms(document["session_completed_at"]),
        at_ms=parse_instant_ms(document["updated_at"]),
        time_used_ms=values["time_used_ms"],
        paused_ms=0,
        cycle_count=values["cycle_count"],
        metadata=orjson.dumps(document["metadata"]),
        began_at_ms=began_at_ms,
    )


def _as_of(
    session: ParticipantSession, document: dict[str, Any] | None, now_ms: int, participant_id: str = ""
) -> ParticipantSession:
    """Return a session with the values of the instant `now_ms`.

    Add a running pause to `paused_ms`. If `document` is given and the participant is active, add the running turn to
    `time_used_ms`, at most until the deadline. A session of v2 that was not imported has no running pause.
    """
    if session.status == "paused" and not is_v2_epoch(session.epoch):
        return replace(session, paused_ms=session.paused_ms + max(0, now_ms - session.at_ms))
    if document is None:
        return session
    anchor_ms, deadline_ms = map(_optional_ms, running_clock_instants(document, participant_id))
    if session.status != "running" or anchor_ms is None:
        return session
    until_ms = now_ms if deadline_ms is None else min(now_ms, deadline_ms)
    return replace(session, time_used_ms=session.time_used_ms + max(0, until_ms - anchor_ms))


def _pauses(entries: Sequence[OutboxEntry]) -> tuple[int, int | None]:
    """Return the total pause between the versions in `entries`, and the instant of the first version.

    Both values are in milliseconds. `entries` must be in the order of the versions. The instant is None if there are no
    entries.
    """
    instants: list[int] = [orjson.loads(entry.event)["occurred_at_ms"] for entry in entries]
    statuses = [orjson.loads(entry.document)["status"] for entry in entries]
    pairs = zip(instants, instants[1:], statuses, strict=False)
    paused_ms = sum(max(0, until - at) for at, until, status in pairs if status == "paused")
    return paused_ms, instants[0] if instants else None


def _recorded_pause_ms(document: dict[str, Any]) -> int | None:
    """Return the total of the breaks of a recorded or amended session in ms, None if the clock measured its times."""
    if "breaks" not in document:
        return None
    return sum(parse_instant_ms(each["to"]) - parse_instant_ms(each["from"]) for each in document["breaks"])


def _optional_ms(text: str | None) -> int | None:
    return None if text is None else parse_instant_ms(text)
