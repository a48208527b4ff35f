"""REST routes of history: lists of sessions, events of a session, and sessions and time report of a participant.

The request's `Accept` header selects JSON, CSV, JSON lines or Server-Sent Events, if the route offers the format.
"""

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from typing import Any
from urllib.parse import parse_qsl, urlencode

import orjson

from synckairos.errors import SessionNotFound, StoreUnavailable, ValidationFailed
from synckairos.history.audit_trail import AuditTrail
from synckairos.history.participant_sessions.pages import ParticipantSessionPage, ParticipantSessions
from synckairos.history.participant_time_report import TimeReporter
from synckairos.history.reader import HistoryReader
from synckairos.history.records import Page, TrailEvent
from synckairos.http.all_sessions_pages import SessionList
from synckairos.http.content_negotiation import preferred_media_type
from synckairos.http.large_bodies import respond_with_pieces
from synckairos.http.live_tail import LiveEventStreams
from synckairos.http.operations import Operation
from synckairos.http.request_response import RestRequest, RestResponse
from synckairos.http.time_ranges import parse_time_range
from synckairos.limits.client_work_budgets import ClientWorkLimits
from synckairos.limits.work_limits import REPORTS
from synckairos.service.authorization import has_session_role
from synckairos.service.sessions import Sessions
from synckairos.store.rate_limits import RateLimits
from synckairos.wire import response_models
from synckairos.wire.event_json import event_columns, event_json
from synckairos.wire.instants import render_instant
from synckairos.wire.query_parameters import EventsQuery, ListQuery, ParticipantSessionsQuery, ParticipantTimeQuery
from synckairos.wire.tabular import render_csv_pieces, render_ndjson_pieces

JSON, CSV, NDJSON, SSE = "application/json", "text/csv", "application/x-ndjson", "text/event-stream"

PARTICIPANT_SESSION_COLUMNS = (
    "session_id", "sync_mode", "status", "started_at", "completed_at", "time_used_ms", "paused_ms", "cycle_count",
    "metadata", "synced",
)  # fmt: skip
_TYPES = {JSON: b"application/json", CSV: b"text/csv; charset=utf-8", NDJSON: b"application/x-ndjson"}
"""The `Content-Type` of each format that is not a stream."""

_TIME_REPORT_ROW_BYTES = 100  # approximate bytes of a row
TIME_REPORT_COLUMNS = ("bucket", "key", "time_used_ms", "session_count")


class HistoryRoutes:
    """REST operations that read history from Postgres, and versions that Postgres does not have yet from the outbox."""

    def __init__(
        self,
        sessions: Sessions,
        history: HistoryReader,
        session_list: SessionList,
        audit_trail: AuditTrail,
        live_tail: LiveEventStreams,
        participant_sessions: ParticipantSessions,
        time_report: TimeReporter,
        rate_limits: RateLimits,
        work: ClientWorkLimits,
    ) -> None:
        self._sessions = sessions
        self._history = history
        self._session_list = session_list
        self._audit_trail = audit_trail
        self._live_tail = live_tail
        self._participant_sessions = participant_sessions
        self._time_report = time_report
        self._rate_limits = rate_limits
        self._work = work

    def operations(self) -> list[Operation]:
        """Return the REST operations of this class."""
        tag = "history"
        return [
            Operation(
                "GET", "/v1/sessions", "list_sessions", self.list_all_sessions, "List sessions, newest first", tag,
                response_model=response_models.SessionPage, query_model=ListQuery,
            ),
            Operation(
                "GET", "/v1/sessions/{session_id}/events", "read_events", self.list_events,
                "List the events of a session, oldest first, or stream them live", tag,
                response_model=response_models.EventPage, query_model=EventsQuery, refusal_statuses=(404,),
                media_types=(CSV, NDJSON, SSE),
            ),
            Operation(
                "GET", "/v1/participants/{participant_id}/sessions", "read_participant_sessions",
                self.list_participant_sessions,
                "List the sessions of a participant, newest first", tag,
                response_model=response_models.ParticipationPage, query_model=ParticipantSessionsQuery,
                media_types=(CSV,),
            ),
            Operation(
                "GET", "/v1/participants/{participant_id}/time", "report_participant_time",
                self.report_participant_time,
                "Report the time used by a participant, by session, day or week", tag,
                response_model=response_models.TimeBuckets, query_model=ParticipantTimeQuery, media_types=(CSV,),
            ),
        ]  # fmt: skip

    async def list_all_sessions(self, request: RestRequest) -> RestResponse:
        """Answer `GET /v1/sessions`: list sessions, newest first."""
        query = request.read_query(ListQuery)
        await self._rate_limits.count(request.meter)
        page = await self._session_list.read_page(query)
        pieces = _render_json_page(page.documents, page.next_cursor)
        response = respond_with_pieces(pieces, sum(map(len, page.documents)), _TYPES[JSON])
        response.headers += _next_page_link(request, page.next_cursor)
        return response

    async def list_events(self, request: RestRequest) -> RestResponse:
        """Answer `GET /v1/sessions/{id}/events`: list the events of a session, oldest first, or stream them live."""
        query = request.read_query(EventsQuery)
        session_id = request.path_uuid("session_id")
        media_type = preferred_media_type(request.header(b"accept"), (JSON, CSV, NDJSON, SSE))
        cursor = query.cursor
        if media_type == SSE and cursor is None:
            cursor = request.header(b"last-event-id") or None
        await self._rate_limits.count(request.meter)
        role = await self._sessions.require_role(request.principal, session_id, "read_events")
        shows_actors = has_session_role(role, "read_actors")
        with ExitStack() as place:
            if media_type == SSE:
                place.enter_context(self._live_tail.reserve_place(request.principal))
            elif query.snapshots or media_type in (CSV, NDJSON):
                self._work.charge(request.principal.limited_client_id, REPORTS)
            page = await self._read_events(session_id, query, cursor)
            if media_type == SSE:
                stream = self._live_tail.stream(
                    place.pop_all(),
                    session_id,
                    page.items,
                    cursor,
                    snapshots=query.snapshots,
                    shows_actors=shows_actors,
                )
                return RestResponse(stream=stream, content_type=SSE.encode(), headers=[(b"cache-control", b"no-store")])
        response = respond_with_pieces(
            _render_events(page, media_type, snapshots=query.snapshots, shows_actors=shows_actors),
            sum(len(event.document or b"") for event in page.items),
            _TYPES[media_type],
        )
        response.headers += [*_next_page_link(request, page.next_cursor), (b"vary", b"Accept")]
        return response

    async def _read_events(self, session_id: str, query: EventsQuery, cursor: str | None) -> Page[TrailEvent]:
        """Return the page of events after `cursor`, which is the query's cursor or comes from `Last-Event-ID`.

        Raises: SessionNotFound, ValidationFailed if the cursor is invalid, StoreUnavailable.
        """
        try:
            page = await self._audit_trail.read_page(
                session_id, cursor=cursor, limit=query.limit, snapshots=query.snapshots
            )
        except ValidationFailed:
            if cursor == query.cursor:
                raise
            raise ValidationFailed.at_path("Last-Event-ID", "should be the id of an event of this session") from None
        if not page.items and cursor is None:
            raise SessionNotFound(session_id)
        return page

    async def list_participant_sessions(self, request: RestRequest) -> RestResponse:
        """Answer `GET /v1/participants/{id}/sessions`: list the sessions of a participant, newest first."""
        query = request.read_query(ParticipantSessionsQuery)
        participant_id = request.path_uuid("participant_id")
        media_type = preferred_media_type(request.header(b"accept"), (JSON, CSV))
        # Run the rate limit count and the look-up in one round trip to Redis. A page of recent sessions then costs
        # little more than a read of one session.
        _, lookup = await asyncio.gather(
            self._count_if_possible(request),
            self._participant_sessions.read_page_from_redis(participant_id, cursor=query.cursor, limit=query.limit),
        )
        listed = await self._participant_sessions.read_page(
            participant_id, lookup, days=query.days, cursor=query.cursor, limit=query.limit
        )
        rows = [each.row for each in listed.page.items]
        if media_type == CSV:
            pieces = render_csv_pieces(PARTICIPANT_SESSION_COLUMNS, map(orjson.loads, rows))
        else:
            pieces = _render_json_page(rows, listed.page.next_cursor)
        response = respond_with_pieces(pieces, sum(map(len, rows)), _TYPES[media_type])
        response.headers += [*_next_page_link(request, listed.page.next_cursor), (b"vary", b"Accept")]
        response.headers += _single_store_header(listed)
        return response

    async def _count_if_possible(self, request: RestRequest) -> None:
        """Count a request against its rate limits, or return without a count if Redis is unavailable.

        For requests that can be answered without Redis.

        Raises: RateLimitExceeded if a rate limit is used up.
        """
        with suppress(StoreUnavailable):
            await self._rate_limits.count(request.meter)

    async def report_participant_time(self, request: RestRequest) -> RestResponse:
        """Answer `GET /v1/participants/{id}/time`: report the used time of a participant by session, day or week."""
        query = request.read_query(ParticipantTimeQuery)
        participant_id = request.path_uuid("participant_id")
        media_type = preferred_media_type(request.header(b"accept"), (JSON, CSV))
        await self._count_if_possible(request)
        self._work.charge(request.principal.limited_client_id, REPORTS)
        try:
            now_ms = await self._sessions.now_ms()
        except StoreUnavailable:
            now_ms = await self._history.now_ms()
        from_ms, to_ms = parse_time_range(query, now_ms)
        slices, is_redis_unavailable = await self._time_report.report_used_time(
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
        if media_type == CSV:
            pieces = render_csv_pieces(TIME_REPORT_COLUMNS, rows)
        else:
            pieces = _render_json_list(map(orjson.dumps, rows), b"}")
        response = respond_with_pieces(pieces, len(rows) * _TIME_REPORT_ROW_BYTES, _TYPES[media_type])
        response.headers += [
            (b"vary", b"Accept"),
            *([(b"synckairos-history", b"postgres")] if is_redis_unavailable else []),
        ]
        return response


def _single_store_header(listed: ParticipantSessionPage) -> list[tuple[bytes, bytes]]:
    """Return the header `SyncKairos-History` if only one store answered; an empty list if both stores answered.

    The header names the store that answered. If only Redis answered, the header also has the instant `since`. The list
    then contains only sessions that began at this instant or later.
    """
    if listed.only_store is None:
        return []
    since = b"" if listed.since_ms is None else b"; since=" + render_instant(listed.since_ms).encode()
    return [(b"synckairos-history", listed.only_store.encode() + since)]


def _render_events(page: Page[TrailEvent], media_type: str, *, snapshots: bool, shows_actors: bool) -> Iterator[bytes]:
    """Yield the pieces of a page of events as `media_type`: CSV, JSON lines, or JSON for all other types.

    If `shows_actors` is False, the members of `ACTOR_MEMBERS` are absent, and their columns in CSV are empty. A row is
    rendered when its piece is requested.

    Of the three bodies, only JSON contains the cursor of the next page. The caller adds this cursor as the header
    `Link` to the response in every format.
    """
    rows = (event_json(event, shows_actor=shows_actors) for event in page.items)
    match media_type:
        case "text/csv":
            yield from render_csv_pieces(event_columns(snapshots), rows)
        case "application/x-ndjson":
            yield from render_ndjson_pieces(rows)
        case _:
            yield from _render_json_page(map(orjson.dumps, rows), page.next_cursor)


def _render_json_page(items: Iterable[bytes], next_cursor: str | None) -> Iterator[bytes]:
    """Yield the pieces of the JSON of a page. An item is read when its piece is requested."""
    return _render_json_list(items, b',"next_cursor":%b}' % orjson.dumps(next_cursor))


def _render_json_list(items: Iterable[bytes], end: bytes) -> Iterator[bytes]:
    """Yield the pieces of a JSON object with the items in its member `data`. `end` follows the list."""
    yield b'{"data":['
    separator = b""
    for item in items:
        yield separator + item
        separator = b","
    yield b"]" + end


def _next_page_link(request: RestRequest, next_cursor: str | None) -> list[tuple[bytes, bytes]]:
    if next_cursor is None:
        return []
    pairs = [pair for pair in parse_qsl(request.scope["query_string"].decode("ascii")) if pair[0] != "cursor"]
    query = urlencode([*pairs, ("cursor", next_cursor)])
    return [(b"link", f'<{request.to_public_path(request.scope["path"])}?{query}>; rel="next"'.encode())]
