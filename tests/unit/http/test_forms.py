"""The small parts: negotiation, tables, periods, problems, and the table that routes."""

from typing import Any

import orjson
import pytest

from synckairos.errors import (
    RateLimitExceeded,
    ReplayedRefusal,
    SessionNotFound,
    StoreUnavailable,
    ValidationFailed,
    VersionConflict,
)
from synckairos.http.content_negotiation import preferred_media_type
from synckairos.http.operations import Operation, OperationTable
from synckairos.http.problem_responses import rate_limit_headers, render_internal_error, render_problem
from synckairos.http.request import RestRequest, RestResponse
from synckairos.http.time_ranges import DAY_MS, parse_time_range
from synckairos.store.rate_limits import RateLimitStatus
from synckairos.wire.instants import parse_instant
from synckairos.wire.query_parameters import ParticipantTimeQuery, parse_query
from synckairos.wire.tabular import render_csv, render_ndjson

OFFERED = ("application/json", "text/csv", "application/x-ndjson", "text/event-stream")


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        (None, "application/json"),
        ("", "application/json"),
        ("*/*", "application/json"),
        ("text/csv", "text/csv"),
        ("TEXT/CSV; charset=utf-8", "text/csv"),
        ("text/*", "text/csv"),
        ("application/json;q=0.1, application/x-ndjson", "application/x-ndjson"),
        ("application/ndjson", "application/x-ndjson"),
        ("application/jsonl, application/json;q=0.5", "application/x-ndjson"),
        ("text/*;q=0.5, text/csv;q=0.1, text/event-stream;q=0.4", "text/event-stream"),
        ("text/html, */*;q=0.1", "application/json"),
        ("image/png", "application/json"),
        ("text/csv;q=0", "application/json"),
        ("text/csv;q=oops", "application/json"),
        (";;;,,q=1", "application/json"),
    ],
)
def test_the_client_chooses_the_form(accept: str | None, chosen: str) -> None:
    assert preferred_media_type(accept, OFFERED) == chosen


def test_rows_become_csv_that_no_spreadsheet_runs() -> None:
    rows: list[dict[str, Any]] = [
        {"a": "=1+1", "b": -5, "c": {"x": [1]}, "d": True},
        {"a": 'say "hi", twice', "b": None, "c": orjson.Fragment(b'{"y":2}')},
    ]
    assert render_csv(("a", "b", "c", "d"), rows).decode().splitlines() == [
        "a,b,c,d",
        '\'=1+1,-5,"{""x"":[1]}",true',
        '"say ""hi"", twice",,"{""y"":2}",',
    ]
    assert render_ndjson([{"a": 1}, {"a": orjson.Fragment(b"[2]")}]) == b'{"a":1}\n{"a":[2]}\n'


@pytest.mark.parametrize("beginning", ["=", "+", "-", "@", "\t", "\r", "\n"])
def test_what_a_spreadsheet_would_run_is_defused(beginning: str) -> None:
    assert f"'{beginning}1+1" in render_csv(("a",), [{"a": f"{beginning}1+1"}]).decode()


# -- periods ----------------------------------------------------------------------------------------------------------

NOW_MS = parse_instant("2026-03-29T12:00:00.000Z")


def period(query: bytes) -> tuple[int, int]:
    return parse_time_range(parse_query(ParticipantTimeQuery, query), NOW_MS)


def test_a_period_is_the_last_30_days_where_nothing_is_said() -> None:
    assert period(b"") == (NOW_MS - 30 * DAY_MS, NOW_MS)


def test_instants_and_days_of_a_time_zone_bound_it() -> None:
    assert period(b"from=2026-01-01T00:00:00Z&to=2026-01-01T01:00:00%2B01:00") == (
        parse_instant("2026-01-01T00:00:00Z"),
        parse_instant("2026-01-01T00:00:00Z"),
    )
    assert period(b"from=0&to=1767225600000") == (0, parse_instant("2026-01-01T00:00:00Z"))
    # The day on which Berlin's clocks go forward has 23 hours, and all of it belongs to it.
    began, ended = period(b"from=2026-03-29&to=2026-03-29&tz=Europe/Berlin")
    assert (began, ended - began) == (parse_instant("2026-03-28T23:00:00Z"), 23 * 3_600_000)


@pytest.mark.parametrize(
    ("query", "paths"),
    [
        (b"from=2026-02-30", ["from"]),
        (b"from=20260230&to=999999999999999", ["to", "from"]),
        (b"from=yesterday&to=2026-01-01T00:00:00&tz=Mars/Base", ["tz", "to", "from"]),
        (b"from=2026-01-02&to=2026-01-01T00:00:00Z", ["from"]),
        (b"from=2026-01-02&to=2026-01-01", ["from"]),
        (b"to=9999-12-31", ["to"]),
        (b"tz=../../etc/passwd", ["tz"]),
    ],
)
def test_what_is_no_period_is_told(query: bytes, paths: list[str]) -> None:
    with pytest.raises(ValidationFailed) as refused:
        period(query)
    assert [fault["path"] for fault in refused.value.details] == paths


# -- problems ---------------------------------------------------------------------------------------------------------


def test_a_problem_is_both_rfc_9457_and_v2() -> None:
    reply = render_problem(SessionNotFound("s"))
    assert (reply.status, reply.content_type) == (404, b"application/problem+json")
    assert orjson.loads(reply.body) == {
        "type": "about:blank",
        "title": "Not Found",
        "status": 404,
        "detail": "Session s not found",
        "error": {"code": "SESSION_NOT_FOUND", "message": "Session s not found"},
    }


def test_a_conflict_carries_the_winning_state_as_it_is() -> None:
    conflict = VersionConflict(1, 2)
    conflict.document = b'{"version":2}'
    told = orjson.loads(render_problem(conflict).body)["error"]["details"]
    assert told == {"expected_version": 1, "actual_version": 2, "state": {"version": 2}}
    again = ReplayedRefusal(conflict.code, conflict.status, conflict.message, conflict.details)
    again.document = conflict.document
    assert render_problem(again).body == render_problem(conflict).body
    assert (b"idempotency-replayed", b"true") in render_problem(again).headers


def test_whoever_should_come_back_is_told_when() -> None:
    assert (b"retry-after", b"1") in render_problem(StoreUnavailable()).headers
    assert (b"retry-after", b"42") in render_problem(RateLimitExceeded(100, 42)).headers
    assert (b"retry-after", b"1") in render_problem(RateLimitExceeded(100, 0)).headers


def test_nothing_of_a_failure_is_told_outside_dev() -> None:
    try:
        raise RuntimeError("secret")
    except RuntimeError as failure:
        outside, inside = render_internal_error(failure, dev=False), render_internal_error(failure, dev=True)
    assert b"secret" not in outside.body
    assert orjson.loads(outside.body)["error"]["code"] == "INTERNAL_ERROR"
    assert "secret" in orjson.loads(inside.body)["error"]["stack"]


def test_the_tightest_limit_is_shown() -> None:
    general, switch = RateLimitStatus(100, 90, 30), RateLimitStatus(10, 3, 1)
    assert rate_limit_headers((general, switch)) == [
        (b"ratelimit-limit", b"10"),
        (b"ratelimit-remaining", b"3"),
        (b"ratelimit-reset", b"1"),
    ]
    assert rate_limit_headers((RateLimitStatus(100, 0, 30, exceeded=True), RateLimitStatus(10, 0, 1)))[0] == (
        b"ratelimit-limit",
        b"100",
    )
    assert rate_limit_headers(()) == []


# -- the table --------------------------------------------------------------------------------------------------------


async def nothing(call: RestRequest) -> RestResponse:
    return RestResponse()


def operation(method: str, path: str) -> Operation:
    return Operation(method, path, nothing, "", "")


def test_operations_are_found_by_path_and_method() -> None:
    table = OperationTable(
        [
            operation("GET", "/v1/sessions"),
            operation("POST", "/v1/sessions"),
            operation("GET", "/v1/sessions/{session_id}"),
            operation("DELETE", "/v1/sessions/{session_id}/participants/{participant_id}"),
        ]
    )
    assert set(table.find("/v1/sessions")[0]) == {"GET", "POST"}
    methods, texts = table.find("/v1/sessions/abc")
    assert (methods["GET"][1], texts) == (("session_id",), ["abc"])
    methods, texts = table.find("/v1/sessions/abc/participants/def")
    assert (methods["DELETE"][1], texts) == (("session_id", "participant_id"), ["abc", "def"])
    methods, texts = table.find("/v1/sessions/abc/")  # v2 took it so
    assert (methods["GET"][1], texts) == (("session_id",), ["abc"])
    for unknown in (
        "",
        "/",
        "/v1",
        "/v1/sessions/a/b",
        "/v1/sessions/a/participants",
        "/v1/sessions/a//",
        "/v1//",
        "/v1/*",
    ):
        assert table.find(unknown)[0] == {}, unknown


def test_a_route_is_named_as_v2_named_it() -> None:
    path = "/v1/sessions/{session_id}/participants/{participant_id}"
    assert operation("GET", path).route == "/v1/sessions/:id/participants/:pid"
