"""A session's trail whole: what Postgres has, and behind it what is still on its way there."""

from dataclasses import fields
from typing import Any

import orjson

from synckairos.history.page_cursor import parse_cursor
from synckairos.history.reader import MAX_PAGE, HistoryReader, build_trail_page
from synckairos.history.records import Page, TrailEvent
from synckairos.store.outbox import Outbox
from synckairos.store.read_cache import ReadCache
from synckairos.wire.outbox_entry import OutboxEntry

_NAMES = tuple(field.name for field in fields(TrailEvent) if field.name != "document")


class AuditTrail:
    """The trail of any session, for `GET /sessions/{id}/events`."""

    def __init__(self, history: HistoryReader, outbox: Outbox, aside: ReadCache) -> None:
        self._history = history
        self._outbox = outbox
        self._aside = aside

    async def page(
        self, session_id: str, *, cursor: str | None = None, limit: int = 50, snapshots: bool = False
    ) -> Page[TrailEvent]:
        """Return a page of the trail over all epochs, oldest first; `limit` is 1 to 200.

        Every committed version is in it once, unless the backlog is beyond 5,000 entries. A page without a
        `next_cursor` is the last for now; an empty one is a session that never was.

        Raises:
            ValidationFailed: the cursor isn't one of ours, or the limit is out of range.
            StoreUnavailable: Redis or Postgres doesn't answer.
        """
        # In this order: what is drained in between is then in both, and in neither never.
        waiting = await self._outbox.session_entries(session_id)
        page = await self._archived(session_id, cursor, limit, snapshots)
        if page.next_cursor is not None or not waiting:
            return page
        known = {(event.epoch, event.version) for event in page.items}
        after = parse_cursor(cursor, int, int, str) if cursor else (-1, 0, "")
        later = [build_trail_event(entry, snapshots) for entry in waiting if (entry.epoch, entry.version) not in known]
        fresh = sorted((event for event in later if event.key > after), key=lambda event: event.key)
        return build_trail_page(sorted([*page.items, *fresh], key=lambda event: event.key), min(limit, MAX_PAGE))

    async def _archived(self, session_id: str, cursor: str | None, limit: int, snapshots: bool) -> Page[TrailEvent]:
        async def ask() -> bytes:
            page = await self._history.events(session_id, cursor=cursor, limit=limit, snapshots=snapshots)
            return orjson.dumps([page.next_cursor, [_plain(event) for event in page.items]])

        question = f"{cursor or ''} {limit} {snapshots:d}"
        next_cursor, events = orjson.loads(await self._aside.read("events", session_id, question, ask))
        return Page(tuple(_event(*plain) for plain in events), next_cursor)


def _plain(event: TrailEvent) -> list[Any]:
    state = None if event.document is None else event.document.decode()
    return [*(getattr(event, name) for name in _NAMES), state]


def _event(*plain: Any) -> TrailEvent:
    *values, state = plain
    event = dict(zip(_NAMES, values, strict=True))
    return TrailEvent(**event, document=None if state is None else state.encode())


def build_trail_event(entry: OutboxEntry, snapshots: bool) -> TrailEvent:
    """Return an outbox entry as the trail shows it."""
    fields: dict[str, Any] = orjson.loads(entry.event)
    return TrailEvent(
        epoch=entry.epoch,
        version=entry.version,
        event_type=fields["event_type"],
        occurred_at_ms=fields["occurred_at_ms"],
        participant_id=fields.get("participant_id"),
        group_id=fields.get("group_id"),
        actor=fields.get("actor"),
        time_used_ms=fields.get("time_used_ms"),
        time_remaining_ms=fields.get("time_remaining_ms"),
        document=entry.document if snapshots else None,
    )
