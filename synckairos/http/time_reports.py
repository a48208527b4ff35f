"""REST routes of time reports: the time of one participant, and the hours of a team."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

import orjson

from synckairos.errors import StoreUnavailable
from synckairos.history.page_cursor import parse_cursor, render_cursor
from synckairos.history.page_size import cut_to_page
from synckairos.history.reader import HistoryReader
from synckairos.history.records import ReportPosition, TimeReportSpec, UsedTimeBucket
from synckairos.history.time_report import TimeReporter
from synckairos.http.content_negotiation import preferred_media_type
from synckairos.http.large_bodies import respond_with_pieces
from synckairos.http.list_responses import (
    CONTENT_TYPES,
    CSV,
    JSON,
    next_page_link,
    render_json_list,
    render_json_page,
)
from synckairos.http.operations import Operation
from synckairos.http.request_response import RestRequest, RestResponse
from synckairos.http.time_ranges import parse_time_range
from synckairos.limits.client_work_budgets import ClientWorkLimits
from synckairos.limits.work_limits import REPORTS
from synckairos.service.authorization import authorize_hours
from synckairos.service.sessions import Sessions
from synckairos.store.rate_limits import RateLimits
from synckairos.wire import response_models
from synckairos.wire.column_selection import parse_columns, select_columns
from synckairos.wire.query_parameters import (
    LABEL_PREFIX,
    MAX_REPORT_PARTICIPANTS,
    HoursQuery,
    ParticipantTimeQuery,
    TimeReportQuery,
)
from synckairos.wire.tabular import render_csv_pieces

TIME_REPORT_COLUMNS = ("bucket", "key", "time_used_ms", "session_count")

PARTICIPANTS_PER_UNIT = 10
"""Number of participants in a report of hours that cost one unit of work, as a report of one participant does."""

_ROW_BYTES = 100  # approximate bytes of a row without the values of labels


class TimeReportRoutes:
    """REST operations that sum used times from Postgres, and from versions that Postgres does not have yet."""

    def __init__(
        self,
        sessions: Sessions,
        history: HistoryReader,
        time_report: TimeReporter,
        rate_limits: RateLimits,
        work: ClientWorkLimits,
    ) -> None:
        self._sessions = sessions
        self._history = history
        self._time_report = time_report
        self._rate_limits = rate_limits
        self._work = work

    def operations(self) -> list[Operation]:
        """Return the REST operations of this class."""
        tag = "history"
        return [
            Operation(
                "GET", "/v1/participants/{participant_id}/time", "report_participant_time",
                self.report_participant_time,
                "Report the time used by a participant, by session, day, week or month", tag,
                response_model=response_models.TimeBuckets, query_model=ParticipantTimeQuery, media_types=(CSV,),
                refusal_statuses=(431,),
            ),
            Operation(
                "GET", "/v1/hours", "report_hours", self.report_hours,
                "Report the time used by several participants, by session, day, week or month", tag,
                response_model=response_models.HoursPage, query_model=HoursQuery, media_types=(CSV,),
                refusal_statuses=(431,),
            ),
        ]  # fmt: skip

    async def report_participant_time(self, request: RestRequest) -> RestResponse:
        """Answer `GET /v1/participants/{id}/time`: report the used time of a participant."""
        query = request.read_query(ParticipantTimeQuery)
        participant_id = request.path_uuid("participant_id")
        columns = parse_columns(query.columns, TIME_REPORT_COLUMNS)
        now_ms = await self._begin_report(request, 1)
        spec = TimeReportSpec(
            **_range_and_buckets(query, now_ms),
            participant_ids=(participant_id,),
            tenant=request.principal.tenant,
            metadata_key=None if query.group_by is None else query.group_by.removeprefix("metadata."),
        )
        buckets, is_redis_unavailable = await self._time_report.report_used_time(spec)
        rows = [_row(each, ("key",) if query.group_by is not None else ()) for each in buckets]
        return _respond(request, rows, TIME_REPORT_COLUMNS, columns, is_redis_unavailable)

    async def report_hours(self, request: RestRequest) -> RestResponse:
        """Answer `GET /v1/hours`: report the used time of several participants, or of sessions with some labels."""
        query = request.read_query(HoursQuery)
        participant_ids, labels = query.participant_ids, query.labels
        await authorize_hours(request.principal, participant_ids, labels)
        groups = query.groups
        known = ("bucket", *groups, "time_used_ms", "session_count")
        columns = parse_columns(query.columns, known)
        label_keys = tuple(each.removeprefix(LABEL_PREFIX) for each in groups if each.startswith(LABEL_PREFIX))
        after, began_ms = _parse_position(query.cursor, len(label_keys))
        now_ms = await self._begin_report(request, _work_units(participant_ids))
        if began_ms is not None:
            now_ms = min(now_ms, began_ms)  # all pages count until the same instant
        spec = TimeReportSpec(
            **_range_and_buckets(query, now_ms),
            tenant=request.principal.tenant,
            participant_ids=participant_ids,
            labels=labels,
            by_participant="participant_id" in groups,
            label_keys=label_keys,
            after=after,
            limit=query.limit + 1,
        )
        buckets, is_redis_unavailable = await self._time_report.report_used_time(spec)
        page = cut_to_page(buckets, query.limit, _size_bytes)
        next_cursor = _render_position(now_ms, page[-1]) if len(page) < len(buckets) else None
        names = tuple(each for each in groups if each != "participant_id")
        rows = [_row(each, names, with_participant=spec.by_participant) for each in page]
        response = _respond(request, rows, known, columns, is_redis_unavailable, next_cursor=next_cursor, is_page=True)
        response.headers += next_page_link(request, next_cursor)
        return response

    async def _begin_report(self, request: RestRequest, units: int) -> int:
        """Count a request against its limits, and return the present instant in ms since the Unix epoch.

        If Redis is unreachable, the request is not counted against the rate limits, and the instant is that of
        Postgres.

        Raises: RateLimitExceeded, StoreUnavailable if no store answers.
        """
        with suppress(StoreUnavailable):
            await self._rate_limits.count(request.meter)
        self._work.charge(request.principal.limited_client_id, REPORTS, units)
        try:
            return await self._sessions.now_ms()
        except StoreUnavailable:
            return await self._history.now_ms()


def _work_units(participant_ids: Sequence[str] | None) -> int:
    """Return the units of work of a report. A report by labels alone costs as much as one of all participants."""
    count = MAX_REPORT_PARTICIPANTS if participant_ids is None else len(participant_ids)
    return -(-count // PARTICIPANTS_PER_UNIT)


def _range_and_buckets(query: TimeReportQuery, now_ms: int) -> dict[str, Any]:
    """Return the fields of a `TimeReportSpec` that each report has. `now_ms` is the present instant."""
    from_ms, to_ms = parse_time_range(query, now_ms)
    return {
        "from_ms": from_ms,
        "to_ms": to_ms,
        "now_ms": now_ms,
        "tz": query.tz,
        "bucket": query.bucket,
        "week_start": query.week_start or "monday",
        "round_ms": query.round_ms,
        "rounds_up": query.round == "up",
    }


def _row(bucket: UsedTimeBucket, names: Sequence[str], *, with_participant: bool = False) -> dict[str, Any]:
    """Return a row as JSON values. `names` are the names of the keys of the row."""
    row: dict[str, Any] = {"bucket": bucket.bucket}
    if with_participant:
        row["participant_id"] = bucket.participant_id
    row |= zip(names, bucket.keys, strict=True)
    return row | {"time_used_ms": bucket.time_used_ms, "session_count": bucket.session_count}


def _respond(
    request: RestRequest,
    rows: Iterable[dict[str, Any]],
    csv_columns: Sequence[str],
    columns: Sequence[str] | None,
    is_redis_unavailable: bool,
    *,
    next_cursor: str | None = None,
    is_page: bool = False,
) -> RestResponse:
    """Return the response with the rows as JSON or CSV. `columns` are the selected columns, None for all."""
    media_type = preferred_media_type(request.header(b"accept"), (JSON, CSV))
    selected = list(rows if columns is None else select_columns(columns, rows))
    if media_type == CSV:
        pieces = render_csv_pieces(columns or csv_columns, selected)
    elif is_page:
        pieces = render_json_page(map(orjson.dumps, selected), next_cursor)
    else:
        pieces = render_json_list(map(orjson.dumps, selected), b"}")
    response = respond_with_pieces(pieces, len(selected) * _ROW_BYTES, CONTENT_TYPES[media_type])
    response.headers.append((b"vary", b"Accept"))
    if is_redis_unavailable:
        response.headers.append((b"synckairos-history", b"postgres"))
    return response


def _size_bytes(bucket: UsedTimeBucket) -> int:
    return _ROW_BYTES + sum(len(each or "") for each in bucket.keys)


def _render_position(now_ms: int, last: UsedTimeBucket) -> str:
    """Return the cursor after a row of a report that counts until `now_ms` (ms since the Unix epoch)."""
    position = last.position
    return render_cursor(now_ms, position.bucket, position.participant_id, *position.keys)


def _parse_position(cursor: str | None, key_count: int) -> tuple[ReportPosition | None, int | None]:
    """Return the position in a cursor of `_render_position`, and its instant. Return None for both without a cursor.

    Raises: ValidationFailed if the cursor is invalid, or belongs to a report with another number of keys.
    """
    if cursor is None:
        return None, None
    now_ms, bucket, participant_id, *keys = parse_cursor(cursor, int, str, str, *(str,) * key_count)
    return ReportPosition(bucket, participant_id, tuple(keys)), now_ms
