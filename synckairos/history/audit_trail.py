"""Audit trail of a session: the versions in Postgres, followed by the versions in the outbox."""

from typing import Any

import orjson
from msgspec.structs import fields

from synckairos.history.list_pages import build_trail_page
from synckairos.history.page_cursor import parse_cursor
from synckairos.history.page_size import MAX_PAGE_ITEMS
from synckairos.history.reader import HistoryReader
from synckairos.history.records import Page, TrailEvent
from synckairos.store.outbox import Outbox
from synckairos.store.read_cache import ReadCache
from synckairos.wire.charges_json import charge_rows, parse_charge_rows
from synckairos.wire.outbox_entry import OutboxEntry, stored_charges

_NOT_PLAIN = ("document", "charges", "participant_ids")
_NAMES = tuple(field.name for field in fields(TrailEvent) if field.name not in _NOT_PLAIN)
"""Names of the values of an event in the read cache, in this order, before its charges and its participants.

An event has no document there.
"""


class AuditTrail:
    """Reader of audit trails, for `GET /v1/sessions/{id}/events`."""

    def __init__(self, history: HistoryReader, outbox: Outbox, read_cache: ReadCache) -> None:
        self._history = history
        self._outbox = outbox
        self._read_cache = read_cache

    async def read_page(
        self, session_name: str, *, cursor: str | None = None, limit: int = 50, snapshots: bool = False
    ) -> Page[TrailEvent]:
        """Return a page of a session's audit trail over all its epochs, oldest first.

        `session_name` is the name of the session in its tenant. `cursor` is the `next_cursor` of the previous page;
        None for the first page. `limit` is the maximum number of events, from 1 to 200. If `snapshots` is True, each
        event has the document of its version, and the page also ends with the event at which its documents reach 4 MiB.
        If it is False, the documents are None.

        Each version occurs at most once in the pages. The pages lack outbox entries that Postgres rejected and entries
        that cannot be parsed. They can also lack the oldest versions in the outbox, if the outbox has more than 5,000
        versions or 32 MiB of the session, or entries of an earlier release. If the result has no `next_cursor`, there
        are no further events at this moment. If the first page is empty, neither Postgres nor the outbox has a readable
        version.

        Raises:
            ValidationFailed: The cursor is invalid, or the limit is out of range.
            StoreUnavailable: Redis or Postgres is not reachable.
        """
        # Read the outbox before Postgres. A version that is drained between the two reads is then in both results. In
        # the other order it could be missing in both.
        in_outbox = await self._outbox.read_session_entries(session_name)
        page = await self._page_from_postgres(session_name, cursor, limit, snapshots)
        if page.next_cursor is not None or not in_outbox:
            return page
        known = {(event.epoch, event.version) for event in page.items}
        after = parse_cursor(cursor, int, int, str) if cursor else (-1, 0, "")
        later = [
            trail_event_from_entry(entry, snapshots) for entry in in_outbox if (entry.epoch, entry.version) not in known
        ]
        fresh = sorted((event for event in later if event.sort_key > after), key=lambda event: event.sort_key)
        return build_trail_page(
            sorted([*page.items, *fresh], key=lambda event: event.sort_key), min(limit, MAX_PAGE_ITEMS)
        )

    async def _page_from_postgres(
        self, session_name: str, cursor: str | None, limit: int, snapshots: bool
    ) -> Page[TrailEvent]:
        if snapshots:
            # Such pages are up to some MiB in size: to render and cache them would cost more than to read them again.
            return await self._history.read_events_page(session_name, cursor=cursor, limit=limit, snapshots=True)

        async def query() -> bytes:
            page = await self._history.read_events_page(session_name, cursor=cursor, limit=limit)
            return orjson.dumps([page.next_cursor, [_to_list(event) for event in page.items]])

        # Earlier releases read other keys, because they cannot read events with newer members.
        key = f"{cursor or ''} {limit} participants"
        return await self._read_cache.read_through("events", session_name, key, query, _parse_page)


def _parse_page(answer: bytes) -> Page[TrailEvent]:
    next_cursor, events = orjson.loads(answer)
    return Page(tuple(_from_list(*values) for values in events), next_cursor)


def _to_list(event: TrailEvent) -> list[Any]:
    return [*(getattr(event, name) for name in _NAMES), charge_rows(event.charges), event.participant_ids]


def _from_list(*values: Any) -> TrailEvent:
    *others, charges, participant_ids = values
    members = dict(zip(_NAMES, others, strict=True))
    return TrailEvent(**members, charges=parse_charge_rows(charges), participant_ids=tuple(participant_ids))


def trail_event_from_entry(entry: OutboxEntry, snapshots: bool) -> TrailEvent:
    """Build the audit trail event of an outbox entry.

    If `snapshots` is True, the event has the entry's document, otherwise its `document` is None.

    Raises: ValueError if the event of the entry is not JSON, KeyError if the event lacks its type or instant.
    """
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
        role=fields.get("role"),
        on_behalf_of=fields.get("on_behalf_of"),
        charges=parse_charge_rows(stored_charges(fields)),
        record_name=fields.get("command_id"),
        participant_ids=tuple(fields.get("participant_ids", ())),
    )
