"""REST routes of history: lists of sessions, events of a session, and sessions of a participant.

The request's `Accept` header selects JSON, CSV, JSON lines or Server-Sent Events, if the route offers the format.
"""

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from functools import partial
from typing import Any

import orjson

from synckairos.errors import SessionNotFound, StoreUnavailable, ValidationFailed
from synckairos.history.audit_trail import AuditTrail
from synckairos.history.participant_sessions.pages import ParticipantSessionPage, ParticipantSessions
from synckairos.history.records import Page, TrailEvent
from synckairos.http.all_sessions_pages import SessionList
from synckairos.http.content_negotiation import preferred_media_type
from synckairos.http.large_bodies import respond_with_pieces
from synckairos.http.list_responses import CONTENT_TYPES, CSV, JSON, NDJSON, SSE, next_page_link, render_json_page
from synckairos.http.live_tail import LiveEventStreams
from synckairos.http.operations import Operation
from synckairos.http.request_response import RestRequest, RestResponse
from synckairos.limits.client_work_budgets import ClientWorkLimits
from synckairos.limits.work_limits import REPORTS
from synckairos.principal import Role
from synckairos.service.authorization import has_session_role
from synckairos.service.sessions import Sessions
from synckairos.store.rate_limits import RateLimits
from synckairos.wire import response_models
from synckairos.wire.column_selection import parse_columns, select_columns
from synckairos.wire.event_json import event_columns, event_json
from synckairos.wire.instants import render_instant
from synckairos.wire.query_parameters import EventsQuery, ListQuery, ParticipantSessionsQuery
from synckairos.wire.session_view import SessionView
from synckairos.wire.tabular import render_csv_pieces, render_ndjson_pieces

SESSION_COLUMNS = tuple(SessionView.model_fields)
SESSION_CSV_COLUMNS = (
    "session_id", "sync_mode", "status", "version", "created_at", "updated_at", "session_started_at",
    "session_completed_at", "deadline_at", "active_participant_id", "turn_number", "total_time_ms", "time_used_ms",
    "time_remaining_ms", "labels", "metadata",
)  # fmt: skip
"""The columns of a CSV of sessions without selected columns. Any of `SESSION_COLUMNS` can be selected."""

PARTICIPANT_SESSION_COLUMNS = (
    "session_id", "sync_mode", "status", "started_at", "completed_at", "time_used_ms", "paused_ms", "cycle_count",
    "metadata", "synced",
)  # fmt: skip


class HistoryRoutes:
    """REST operations that read history from Postgres, and versions that Postgres does not have yet from the outbox."""

    def __init__(
        self,
        sessions: Sessions,
        session_list: SessionList,
        audit_trail: AuditTrail,
        live_tail: LiveEventStreams,
        participant_sessions: ParticipantSessions,
        rate_limits: RateLimits,
        work: ClientWorkLimits,
    ) -> None:
        self._sessions = sessions
        self._session_list = session_list
        self._audit_trail = audit_trail
        self._live_tail = live_tail
        self._participant_sessions = participant_sessions
        self._rate_limits = rate_limits
        self._work = work

    def operations(self) -> list[Operation]:
        """Return the REST operations of this class."""
        tag = "history"
        return [
            Operation(
                "GET", "/v1/sessions", "list_sessions", self.list_all_sessions, "List sessions, newest first", tag,
                response_model=response_models.SessionPage, query_model=ListQuery, refusal_statuses=(431,),
                media_types=(CSV,),
            ),
            Operation(
                "GET", "/v1/sessions/{session_id}/events", "read_events", self.list_events,
                "List the events of a session, oldest first, or stream them live", tag,
                response_model=response_models.EventPage, query_model=EventsQuery, refusal_statuses=(404, 431),
                media_types=(CSV, NDJSON, SSE),
            ),
            Operation(
                "GET", "/v1/participants/{participant_id}/sessions", "read_participant_sessions",
                self.list_participant_sessions,
                "List the sessions of a participant, newest first", tag,
                response_model=response_models.ParticipationPage, query_model=ParticipantSessionsQuery,
                media_types=(CSV,), refusal_statuses=(431,),
            ),
        ]  # fmt: skip

    async def list_all_sessions(self, request: RestRequest) -> RestResponse:
        """Answer `GET /v1/sessions`: list sessions, newest first."""
        query = request.read_query(ListQuery)
        columns = parse_columns(query.columns, SESSION_COLUMNS)
        media_type = preferred_media_type(request.header(b"accept"), (JSON, CSV))
        await self._rate_limits.count(request.meter)
        page = await self._session_list.read_page(request.principal.tenant, query)
        pieces = _render_rows(page.documents, page.next_cursor, media_type, columns, SESSION_CSV_COLUMNS)
        response = respond_with_pieces(pieces, sum(map(len, page.documents)), CONTENT_TYPES[media_type])
        response.headers += [*next_page_link(request, page.next_cursor), (b"vary", b"Accept")]
        return response

    async def list_events(self, request: RestRequest) -> RestResponse:
        """Answer `GET /v1/sessions/{id}/events`: list the events of a session, oldest first, or stream them live."""
        query = request.read_query(EventsQuery)
        session_id = request.path_uuid("session_id")
        media_type = preferred_media_type(request.header(b"accept"), (JSON, CSV, NDJSON, SSE))
        columns = parse_columns(query.columns, event_columns(query.snapshots))
        if columns is not None and media_type == SSE:
            raise ValidationFailed.at_path("columns", "is not possible for server-sent events")
        cursor = query.cursor
        if media_type == SSE and cursor is None:
            cursor = request.header(b"last-event-id") or None
        await self._rate_limits.count(request.meter)
        role = await self._sessions.require_role(request.principal, session_id, "read_events")
        if media_type == SSE:
            return await self._stream_events(request, session_id, query, cursor, role)
        if query.snapshots or media_type in (CSV, NDJSON):
            self._work.charge(request.principal.limited_client_id, REPORTS)
        session_name = request.name_of(session_id)
        page = await self._audit_trail.read_page(
            session_name, cursor=cursor, limit=query.limit, snapshots=query.snapshots
        )
        if not page.items and cursor is None:
            raise SessionNotFound(session_id)
        shows_actors = has_session_role(role, "read_actors")
        response = respond_with_pieces(
            _render_events(page, media_type, columns, snapshots=query.snapshots, shows_actors=shows_actors),
            sum(len(event.document or b"") for event in page.items),
            CONTENT_TYPES[media_type],
        )
        response.headers += [*next_page_link(request, page.next_cursor), (b"vary", b"Accept")]
        return response

    async def _stream_events(
        self, request: RestRequest, session_id: str, query: EventsQuery, cursor: str | None, role: Role
    ) -> RestResponse:
        """Return a live tail of a session. `cursor` is the query's cursor, or comes from `Last-Event-ID`.

        Raises: SessionNotFound, TooManyConnections, ValidationFailed if the cursor is invalid, StoreUnavailable.
        """
        session_name = request.name_of(session_id)
        with ExitStack() as place:
            place.enter_context(self._live_tail.reserve_place(request.principal))
            try:
                page = await self._live_tail.read_page(session_name, cursor, query.limit, snapshots=query.snapshots)
            except ValidationFailed:
                if cursor == query.cursor:
                    raise
                raise ValidationFailed.at_path(
                    "Last-Event-ID", "should be the id of an event of this session"
                ) from None
            if not page.events and cursor is None:
                raise SessionNotFound(session_id)
            stream = self._live_tail.stream(
                place.pop_all(),
                session_name,
                page,
                cursor,
                snapshots=query.snapshots,
                role=role,
                find_role=partial(self._sessions.find_role, request.principal, session_id)
                if request.principal.depends_on_labels
                else None,
            )
        return RestResponse(stream=stream, content_type=SSE.encode(), headers=[(b"cache-control", b"no-store")])

    async def list_participant_sessions(self, request: RestRequest) -> RestResponse:
        """Answer `GET /v1/participants/{id}/sessions`: list the sessions of a participant, newest first."""
        query = request.read_query(ParticipantSessionsQuery)
        name = request.name_of(request.path_uuid("participant_id"))
        columns = parse_columns(query.columns, PARTICIPANT_SESSION_COLUMNS)
        media_type = preferred_media_type(request.header(b"accept"), (JSON, CSV))
        # Run the rate limit count and the look-up in one round trip to Redis. A page of recent sessions then costs
        # little more than a read of one session.
        _, lookup = await asyncio.gather(
            self._count_if_possible(request),
            self._participant_sessions.read_page_from_redis(name, cursor=query.cursor, limit=query.limit),
        )
        listed = await self._participant_sessions.read_page(
            name, lookup, days=query.days, cursor=query.cursor, limit=query.limit
        )
        rows = [each.row for each in listed.page.items]
        pieces = _render_rows(rows, listed.page.next_cursor, media_type, columns, PARTICIPANT_SESSION_COLUMNS)
        response = respond_with_pieces(pieces, sum(map(len, rows)), CONTENT_TYPES[media_type])
        response.headers += [*next_page_link(request, listed.page.next_cursor), (b"vary", b"Accept")]
        response.headers += _single_store_header(listed)
        return response

    async def _count_if_possible(self, request: RestRequest) -> None:
        """Count a request against its rate limits, or return without a count if Redis is unavailable.

        For requests that can be answered without Redis.

        Raises: RateLimitExceeded if a rate limit is used up.
        """
        with suppress(StoreUnavailable):
            await self._rate_limits.count(request.meter)


def _single_store_header(listed: ParticipantSessionPage) -> list[tuple[bytes, bytes]]:
    """Return the header `SyncKairos-History` if only one store answered; an empty list if both stores answered.

    The header names the store that answered. If only Redis answered, the header also has the instant `since`. The list
    then contains only sessions that began at this instant or later.
    """
    if listed.only_store is None:
        return []
    since = b"" if listed.since_ms is None else b"; since=" + render_instant(listed.since_ms).encode()
    return [(b"synckairos-history", listed.only_store.encode() + since)]


def _render_rows(
    rows: Iterable[bytes],
    next_cursor: str | None,
    media_type: str,
    columns: tuple[str, ...] | None,
    csv_columns: tuple[str, ...],
) -> Iterator[bytes]:
    """Return the pieces of a page of JSON objects as `media_type`: CSV, or JSON for all other types.

    `columns` are the selected columns. If it is None, JSON has the unchanged objects, and CSV has `csv_columns`.
    """
    if media_type != CSV and columns is None:
        return render_json_page(rows, next_cursor)
    parsed = map(orjson.loads, rows)
    if columns is None:
        return render_csv_pieces(csv_columns, parsed)
    selected = select_columns(columns, parsed)
    if media_type == CSV:
        return render_csv_pieces(columns, selected)
    return render_json_page(map(orjson.dumps, selected), next_cursor)


def _render_events(
    page: Page[TrailEvent], media_type: str, columns: tuple[str, ...] | None, *, snapshots: bool, shows_actors: bool
) -> Iterator[bytes]:
    """Yield the pieces of a page of events as `media_type`: CSV, JSON lines, or JSON for all other types.

    If `shows_actors` is False, the members of `ACTOR_MEMBERS` are absent, and their columns in CSV are empty. A row is
    rendered when its piece is requested. `columns` are the selected columns, None for all.

    Of the three bodies, only JSON contains the cursor of the next page. The caller adds this cursor as the header
    `Link` to the response in every format.
    """
    rows: Iterator[dict[str, Any]] = (event_json(event, shows_actor=shows_actors) for event in page.items)
    if columns is not None:
        rows = select_columns(columns, rows)
    match media_type:
        case "text/csv":
            yield from render_csv_pieces(columns or event_columns(snapshots), rows)
        case "application/x-ndjson":
            yield from render_ndjson_pieces(rows)
        case _:
            yield from render_json_page(map(orjson.dumps, rows), page.next_cursor)
