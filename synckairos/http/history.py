"""What was: lists, a session's events, a participant's sessions and hours, in whichever media_type the client likes."""

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qsl, urlencode

import orjson

from synckairos.errors import SessionNotFound, StoreUnavailable, ValidationFailed
from synckairos.history.audit_trail import AuditTrail
from synckairos.history.participant_sessions.pages import ParticipantSessionPage, ParticipantSessions
from synckairos.history.reader import HistoryReader
from synckairos.history.time_report import TimeReport
from synckairos.http.content_negotiation import preferred_media_type
from synckairos.http.live_tail import LiveTail
from synckairos.http.operations import Operation
from synckairos.http.request import RestRequest, RestResponse
from synckairos.http.session_list import SessionList
from synckairos.http.time_ranges import parse_time_range
from synckairos.service.sessions import Sessions
from synckairos.store.rate_limits import RateLimits
from synckairos.wire import response_models
from synckairos.wire.event_json import EVENT_COLUMNS, event_json
from synckairos.wire.instants import render_instant
from synckairos.wire.query_parameters import EventsQuery, ListQuery, ParticipantSessionsQuery, ParticipantTimeQuery
from synckairos.wire.tabular import render_csv, render_ndjson

JSON, CSV, NDJSON, SSE = "application/json", "text/csv", "application/x-ndjson", "text/event-stream"

PARTICIPANT_SESSION_COLUMNS = (
    "session_id", "sync_mode", "status", "started_at", "completed_at", "time_used_ms", "paused_ms", "cycle_count",
    "metadata", "synced",
)  # fmt: skip
TIME_REPORT_COLUMNS = ("bucket", "key", "time_used_ms", "session_count")


class HistoryRoutes:
    """The operations that read what Postgres remembers, with what is on its way there."""

    def __init__(
        self,
        sessions: Sessions,
        history: HistoryReader,
        listing: SessionList,
        trail: AuditTrail,
        tail: LiveTail,
        participations: ParticipantSessions,
        hours: TimeReport,
        limits: RateLimits,
    ) -> None:
        self._sessions = sessions
        self._history = history
        self._listing = listing
        self._trail = trail
        self._tail = tail
        self._participations = participations
        self._hours = hours
        self._limits = limits

    def operations(self) -> list[Operation]:
        """Return the operations for the table."""
        return [
            Operation(
                "GET", "/v1/sessions", self.list, "List sessions, newest first", "history",
                answer=response_models.SessionPage, query=ListQuery,
            ),
            Operation(
                "GET", "/v1/sessions/{session_id}/events", self.events, "What happened, oldest first", "history",
                answer=response_models.EventPage, query=EventsQuery, refusals=(404,), media_types=(CSV, NDJSON, SSE),
            ),
            Operation(
                "GET", "/v1/participants/{participant_id}/sessions", self.participant_sessions,
                "In which sessions somebody took part", "history",
                answer=response_models.ParticipationPage, query=ParticipantSessionsQuery, media_types=(CSV,),
            ),
            Operation(
                "GET", "/v1/participants/{participant_id}/time", self.participant_time,
                "How long somebody's time ran", "history",
                answer=response_models.TimeBuckets, query=ParticipantTimeQuery, media_types=(CSV,),
            ),
        ]  # fmt: skip

    async def list(self, request: RestRequest) -> RestResponse:
        query = request.read_query(ListQuery)
        await self._limits.take(request.meter)
        page = await self._listing.page(query)
        body = b'{"data":[%b],"next_cursor":%b}' % (b",".join(page.documents), orjson.dumps(page.next_cursor))
        return RestResponse(body, headers=_next_page_link(request, page.next_cursor))

    async def events(self, request: RestRequest) -> RestResponse:
        query = request.read_query(EventsQuery)
        session_id = request.path_uuid("session_id")
        media_type = preferred_media_type(request.header(b"accept"), (JSON, CSV, NDJSON, SSE))
        cursor = query.cursor
        if media_type == SSE and cursor is None:
            cursor = request.header(b"last-event-id") or None
        await self._limits.take(request.meter)
        try:
            page = await self._trail.page(session_id, cursor=cursor, limit=query.limit, snapshots=query.snapshots)
        except ValidationFailed:
            if cursor == query.cursor:
                raise
            raise ValidationFailed.at("Last-Event-ID", "should be the id of an event of this tail") from None
        if not page.items and cursor is None:
            raise SessionNotFound(session_id)
        if media_type == SSE:
            stream = self._tail.stream(session_id, page.items, cursor, query.snapshots)
            return RestResponse(stream=stream, content_type=SSE.encode(), headers=[(b"cache-control", b"no-store")])
        rows = [event_json(event) for event in page.items]
        columns = (*EVENT_COLUMNS, "state") if query.snapshots else EVENT_COLUMNS
        return _page_response(request, media_type, columns, rows, page.next_cursor)

    async def participant_sessions(self, request: RestRequest) -> RestResponse:
        query = request.read_query(ParticipantSessionsQuery)
        participant_id = request.path_uuid("participant_id")
        media_type = preferred_media_type(request.header(b"accept"), (JSON, CSV))
        # Both in one trip: recent history should cost little more than a look at one session.
        _, lookup = await asyncio.gather(
            self._count(request), self._participations.look_up(participant_id, cursor=query.cursor, limit=query.limit)
        )
        told = await self._participations.page(
            participant_id, lookup, days=query.days, cursor=query.cursor, limit=query.limit
        )
        rows = [each.row for each in told.page.items]
        if media_type == CSV:
            response = _csv_response(PARTICIPANT_SESSION_COLUMNS, map(orjson.loads, rows))
        else:
            response = RestResponse(
                b'{"data":[%b],"next_cursor":%b}' % (b",".join(rows), orjson.dumps(told.page.next_cursor))
            )
        response.headers += [*_next_page_link(request, told.page.next_cursor), (b"vary", b"Accept")]
        response.headers += _single_store_header(told)
        return response

    async def _count(self, request: RestRequest) -> None:
        """Count a request that can be answered without Redis; while that is away, nobody counts."""
        with suppress(StoreUnavailable):
            await self._limits.take(request.meter)

    async def participant_time(self, request: RestRequest) -> RestResponse:
        query = request.read_query(ParticipantTimeQuery)
        participant_id = request.path_uuid("participant_id")
        media_type = preferred_media_type(request.header(b"accept"), (JSON, CSV))
        await self._count(request)
        try:
            now_ms = await self._sessions.now_ms()
        except StoreUnavailable:
            now_ms = await self._history.now_ms()
        from_ms, to_ms = parse_time_range(query, now_ms)
        slices, is_redis_away = await self._hours.slices(
            participant_id,
            from_ms=from_ms,
            to_ms=to_ms,
            now_ms=now_ms,
            tz=query.tz,
            bucket=query.bucket,
            metadata_key=None if query.group_by is None else query.group_by.removeprefix("metadata."),
        )
        rows: list[dict[str, Any]] = []
        for each in slices:
            row: dict[str, Any] = {"bucket": each.bucket}
            if query.group_by is not None:
                row["key"] = each.key
            rows.append(row | {"time_used_ms": each.time_used_ms, "session_count": each.session_count})
        response = (
            _csv_response(TIME_REPORT_COLUMNS, rows)
            if media_type == CSV
            else RestResponse(orjson.dumps({"data": rows}))
        )
        response.headers += [(b"vary", b"Accept"), *([(b"synckairos-history", b"postgres")] if is_redis_away else [])]
        return response


def _single_store_header(told: ParticipantSessionPage) -> list[tuple[bytes, bytes]]:
    """Say which store answered alone while the other is away, and how far back that goes."""
    if told.alone is None:
        return []
    since = b"" if told.since_ms is None else b"; since=" + render_instant(told.since_ms).encode()
    return [(b"synckairos-history", told.alone.encode() + since)]


def _page_response(
    request: RestRequest,
    media_type: str,
    columns: Sequence[str],
    rows: Sequence[dict[str, Any]],
    next_cursor: str | None,
) -> RestResponse:
    """Render a page in the media_type asked for; all but JSON tell of the next one in a Link alone."""
    match media_type:
        case "text/csv":
            response = _csv_response(columns, rows)
        case "application/x-ndjson":
            response = RestResponse(render_ndjson(rows), content_type=NDJSON.encode())
        case _:
            response = RestResponse(orjson.dumps({"data": rows, "next_cursor": next_cursor}))
    response.headers += [*_next_page_link(request, next_cursor), (b"vary", b"Accept")]
    return response


def _csv_response(columns: Sequence[str], rows: Iterable[dict[str, Any]]) -> RestResponse:
    return RestResponse(render_csv(columns, rows), content_type=b"text/csv; charset=utf-8")


def _next_page_link(request: RestRequest, next_cursor: str | None) -> list[tuple[bytes, bytes]]:
    if next_cursor is None:
        return []
    pairs = [pair for pair in parse_qsl(request.scope["query_string"].decode("ascii")) if pair[0] != "cursor"]
    query = urlencode([*pairs, ("cursor", next_cursor)])
    return [(b"link", f'<{request.scope["path"]}?{query}>; rel="next"'.encode())]
